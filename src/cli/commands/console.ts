/** `sealmesh console`: the link to the console of the node of this machine, with the session that lets it do things there. */
import { spawn } from "node:child_process";
import { MeshError } from "../../base/errors.ts";
import { dataDirFrom } from "../../node/config.ts";
import { readSession } from "../../node/session.ts";
import type { Command } from "../command.ts";
import { addSessionFlags, consoleLink, neededSession, type SessionFlags } from "../local-node.ts";
import { fetchStatus } from "../local-status.ts";
import { printJson, printLine, printNote } from "../output.ts";

/** What has not failed by then has opened something, ms. */
const startedMs = 3_000;

interface OpenFlags extends SessionFlags {
  readonly open?: boolean;
  readonly json?: boolean;
}

export const console: Command = {
  description:
    "Prints the link to the console of the node that runs on this machine. The session in it is a secret for as long as the " +
    "node runs: who has it can invite, pin and stop. Without it the console can be looked at, and no more. With --open other " +
    "users of this machine can read the link in its list of processes: where there are such, print it and paste it.",
  examples: [
    { what: "print the link", line: "sealmesh console" },
    { what: "open it in the browser", line: "sealmesh console --open" },
  ],
  addFlags: (command) =>
    addSessionFlags(command).option("--open", "open it in the browser").option("--json", "one JSON document"),
  run: async (given) => {
    const flags = given as OpenFlags;
    await fetchStatus(flags); // it runs, and is the one whose session this is
    neededSession(flags);
    const directory = dataDirFrom(flags.dataDir);
    const session = readSession(directory);
    if (!session) throw new MeshError("E_INPUT", `the node of ${directory} has just ended`);
    const link = consoleLink(session);
    if (flags.json) printJson({ url: link });
    else printLine(link);
    if (!(flags.open ?? false)) return 0;
    if (!(await opened(link))) {
      throw new MeshError("E_CONFIG", "no browser could be opened from here: open the link by hand");
    }
    printNote("opened in the browser");
    return 0;
  },
};

/** The platform's own way to open a page. @returns false: there is none, or it failed */
function opened(url: string): Promise<boolean> {
  const [program, ...words] =
    process.platform === "darwin" ? ["open"] : process.platform === "win32" ? ["explorer.exe"] : ["xdg-open"];
  return new Promise((resolve) => {
    const child = spawn(program ?? "", [...words, url], { stdio: "ignore", detached: true });
    const settle = (isOpen: boolean): void => {
      clearTimeout(timer);
      child.unref();
      resolve(isOpen);
    };
    // some stay for as long as the browser does
    const timer = setTimeout(() => settle(true), startedMs);
    child.once("error", () => settle(false));
    child.once("exit", (code) => settle(code === 0));
  });
}

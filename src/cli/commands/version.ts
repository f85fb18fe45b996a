/** `sealmesh version`: loads nothing of the node but its number. */
import { version as number } from "../../node/version.ts";
import type { Command } from "../command.ts";
import { printJson, printLine } from "../output.ts";

export const version: Command = {
  description: "Prints the version of sealmesh.",
  examples: [{ what: "for programs", line: "sealmesh version --json" }],
  addFlags: (command) => command.option("--json", "one JSON document, with the platform"),
  run({ json }) {
    const { version: node, platform, arch } = process;
    if (json) printJson({ version: number, node, platform, arch });
    else printLine(`sealmesh ${number}`);
    return Promise.resolve(0);
  },
};

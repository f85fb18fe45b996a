/** `sealmesh status`: what a running node of this machine says about itself and its peers. */
import type { Command } from "../command.ts";
import { addSessionFlags, type SessionFlags } from "../local-node.ts";
import { fetchStatus } from "../local-status.ts";
import { paintFor, printJson, printLine } from "../output.ts";
import { statusText } from "../status-text.ts";
import { widthOf } from "../table.ts";

interface StatusFlags extends SessionFlags {
  readonly verbose?: boolean;
  readonly json?: boolean;
}

export const status: Command = {
  description:
    "Asks a node that runs on this machine for its models, its engines and its peers: how each is reached, what it has " +
    "proven so far and why it is refused. What is in order has one word; --verbose says all. Peers are not asked anew; " +
    "`sealmesh verify ID` asks one.",
  examples: [
    { what: "the node of this machine", line: "sealmesh status" },
    { what: "keys, owner, doors, lists of builds and all peers as well", line: "sealmesh status --verbose" },
    { what: "another one, for programs", line: "sealmesh status --console 3132 --json" },
  ],
  addFlags: (command) =>
    addSessionFlags(command)
      .option("-v, --verbose", "all that the node says")
      .option("--json", "the node's own JSON document"),
  async run(given) {
    const flags = given as StatusFlags;
    const document = await fetchStatus(flags);
    const look = { verbose: flags.verbose ?? false, paint: paintFor(process.stdout), width: widthOf(process.stdout) };
    if (flags.json) printJson(document);
    else printLine(statusText(document, look));
    return 0;
  },
};

/** `sealmesh relay`: a node that carries sealed bytes for the members of a mesh, and does nothing else. */
import { flagsOfAskers } from "../../node/config.ts";
import type { Command } from "../command.ts";
import { addNodeFlags, type NodeProcessFlags } from "../node-flags.ts";

/** Flags that a relay refuses. */
const unused: ReadonlySet<string> = new Set([...Object.values(flagsOfAskers), "--no-relay-traffic"]);

export const relay: Command = {
  description:
    "Joins a mesh and carries, for members without a direct way to a host, what is sealed between them: it has no key to " +
    "it, needs no model and has no API port. It sees who asks which host, sizes and times (docs/relays.md). `sealmesh " +
    "status` shows what it has carried.",
  examples: [
    { what: "on a machine that both sides reach", line: "sealmesh relay --join-file invite.txt --bind 0.0.0.0:4433" },
    { what: "with bounds of its own", line: "sealmesh relay --join-file invite.txt --relay-rate 4 --relay-streams 64" },
    { what: "what it has carried", line: "sealmesh status" },
  ],
  addFlags(command) {
    addNodeFlags(command);
    // still known, so that each is refused by its name; the help speaks of what a relay takes
    for (const option of command.options) if (unused.has(option.long ?? "")) option.hideHelp();
  },
  async run(given, hardening) {
    const { runNode } = await import("../node-process.ts");
    return await runNode("relay", given as Partial<NodeProcessFlags>, hardening);
  },
};

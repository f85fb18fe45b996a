/** `sealmesh demo`: the whole path on one machine. The work is in demo/. */
import type { Command } from "../command.ts";

export const demo: Command = {
  description:
    "Starts three nodes on this machine, each a process with its own state: a host with a tiny model of sealmesh's own, a " +
    "relay, and a client. Asks a question through them, streams the answer, and shows what the relay saw. Needs no " +
    "download and no account, and leaves nothing behind.",
  examples: [
    { what: "a question that the tiny model knows", line: "sealmesh demo" },
    { what: "one of your own", line: 'sealmesh demo --ask "What does a relay see?"' },
    { what: "leave the nodes up and try them", line: "sealmesh demo --keep" },
  ],
  addFlags: (command) =>
    command
      .option("--ask <question>", "what to ask; the model knows about sealmesh only")
      .option("--keep", "leave the nodes up until Control-C, and print their URLs")
      .option("--json", "one JSON document at the end instead of text"),
  async run(flags) {
    const { runDemo } = await import("../demo/run.ts");
    return await runDemo(flags);
  },
};

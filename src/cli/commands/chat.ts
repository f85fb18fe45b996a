/** `sealmesh chat`: a conversation with a model of the mesh, through the node of this machine. The work is in chat/. */
import { MeshError } from "../../base/errors.ts";
import type { Status } from "../../node/status.ts";
import { type Command, takesWord } from "../command.ts";
import { addSessionFlags, type SessionFlags } from "../local-node.ts";
import { fetchStatus } from "../local-status.ts";

interface ChatFlags extends SessionFlags {
  readonly model?: string;
  readonly system?: string;
  readonly json?: boolean;
}

export const chat: Command = {
  description:
    "Asks a model of the mesh through the node that runs on this machine, and writes the answer as it comes; a line under it " +
    "says who answered, over which route, sealed how and proven how. Control-C stops an answer. From a pipe it answers one " +
    "question and ends.",
  examples: [
    { what: "the only model, or one of a list", line: "sealmesh chat" },
    { what: "one by its name", line: 'sealmesh chat demo --system "Answer in one sentence."' },
    { what: "one question", line: 'echo "What is sealmesh?" | sealmesh chat demo' },
    { what: "for programs", line: 'echo "What is sealmesh?" | sealmesh chat demo --json' },
  ],
  addFlags: (command) =>
    addSessionFlags(takesWord(command, "model", "[model]", "a model of the mesh, or auto"))
      .option("--system <text>", "what the model is told before the conversation")
      .option("--json", "one question from stdin, and one JSON document"),
  run: async (given) => {
    const flags = given as ChatFlags;
    const status = await fetchStatus(flags);
    const { findPlace } = await import("../chat/place.ts");
    const place = await findPlace(flags, status);
    const { system } = flags;
    const model = modelFrom(flags.model, status);
    if (process.stdin.isTTY && process.stdout.isTTY && !flags.json) {
      const { converse } = await import("../chat/repl.ts");
      return await converse({ place, model, system, status: () => fetchStatus(flags) });
    }
    if (model === undefined)
      throw new MeshError("E_USAGE", `there are several models, name one: ${status.models.join(", ")}`);
    const { answerOnce } = await import("../chat/once.ts");
    return await answerOnce({ place, model, system, status, json: flags.json ?? false });
  },
};

/** Undefined: there are several, and none was named. @throws E_NO_HOST there are none · E_MODEL nobody has it */
function modelFrom(name: string | undefined, { models }: Status): string | undefined {
  if (name === "auto") return name;
  if (models.length === 0) {
    throw new MeshError("E_NO_HOST", "the mesh has no models: they come with its hosts, see `sealmesh peers`");
  }
  if (name === undefined) return models.length === 1 ? models[0] : undefined;
  if (models.includes(name)) return name;
  throw new MeshError("E_MODEL", `no host of the mesh serves "${name}". There is: ${models.join(", ")}`);
}

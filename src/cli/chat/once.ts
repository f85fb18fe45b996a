/** One question from a pipe, one answer, and the end: `echo question | sealmesh chat MODEL`. */
import { MeshError } from "../../base/errors.ts";
import type { Status } from "../../node/status.ts";
import { paintFor, printJson, printNote } from "../output.ts";
import { askModel, type ChatPlace, type Message } from "./answer.ts";
import { speakable, wordBreaker } from "./lines.ts";
import { answerDocument, answerLine } from "./talk.ts";

/** More than any context takes, characters. */
const longest = 16_777_216;

export interface OnceOptions {
  readonly place: ChatPlace;
  readonly model: string;
  readonly system: string | undefined;
  readonly status: Status;
  readonly json: boolean;
}

/** @throws E_USAGE nothing was asked · as askModel() */
export async function answerOnce({ place, model, system, status, json }: OnceOptions): Promise<number> {
  const question = (await readAll(process.stdin)).trim();
  if (question === "") throw new MeshError("E_USAGE", "nothing was asked: the question comes on stdin");
  const messages: readonly Message[] = [
    ...(system === undefined ? [] : [{ role: "system" as const, content: system }]),
    { role: "user", content: question },
  ];
  let last = "\n";
  const { stdout } = process;
  const broken = stdout.isTTY ? wordBreaker(() => stdout.columns) : (piece: string) => piece;
  const onPiece = (text: string, thinking: boolean): void => {
    if (json || thinking) return;
    const clean = broken(speakable(text));
    last = clean || last;
    process.stdout.write(clean);
  };
  const { signal } = new AbortController();
  try {
    const answer = await askModel({ place, model, messages, onPiece, signal });
    if (json) {
      printJson(answerDocument(model, answer));
      return 0;
    }
    if (!last.endsWith("\n")) process.stdout.write("\n");
    if (process.stderr.isTTY) printNote(paintFor(process.stderr)("dim", answerLine(answer, status.peers)));
    return 0;
  } catch (thrown) {
    if (!json && !last.endsWith("\n")) process.stdout.write("\n");
    throw thrown;
  }
}

async function readAll(input: NodeJS.ReadStream): Promise<string> {
  let text = "";
  for await (const piece of input.setEncoding("utf8")) {
    text += String(piece);
    if (text.length > longest) throw new MeshError("E_INPUT", `a question has at most ${longest} characters`);
  }
  return text;
}

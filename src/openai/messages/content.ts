/**
 * The content blocks of one message, built from the pieces of a chat answer, and the events that tell of them. A whole
 * answer is one piece; so both forms give the same blocks.
 *
 * Events tell one block after the other. Texts and thoughts close when the next block begins; the first call of several
 * stays open to the end, because pieces of parallel calls may come in any order, and what comes after it is told when it
 * is whole. While a piece cannot be told, a `ping` says that the answer goes on.
 */
import { MeshError } from "../../base/errors.ts";
import { isRecord, type Json, parseJsonText } from "../../base/json.ts";
import { answerLimits, type CallPiece, Pieces, tooLong, tooMany } from "../chat-answer.ts";
import type { EmitEvent } from "../chat-stream.ts";
import { newId } from "../ids.ts";

interface Talk {
  readonly kind: "text" | "thinking";
  readonly pieces: Pieces;
}

interface Call {
  readonly kind: "tool_use";
  readonly id: string;
  /** The engine's own id for it; empty until it gives one, and then `id` is ours. */
  given: string;
  readonly name: string;
  /** Its JSON. */
  readonly pieces: Pieces;
}

/** A call whose name has not come yet: no block so far. */
interface NamelessCall {
  readonly kind: "nameless";
  /** Empty when it has not come either. */
  readonly id: string;
  readonly pieces: Pieces;
}

export class Content {
  readonly #emit: EmitEvent;
  readonly #thinking: boolean;
  readonly #blocks: (Talk | Call)[] = [];
  /** By the index that chat gives; of several with one index, the last. */
  readonly #byIndex = new Map<number, Call | NamelessCall>();
  /** Place of the block that is being told; all before it are. */
  #told = -1;
  #room: number = answerLimits.characters;

  /** @param thinking whether the caller sees thoughts */
  constructor(thinking: boolean, emit: EmitEvent) {
    this.#thinking = thinking;
    this.#emit = emit;
  }

  /** Whether a tool is to be used. */
  get calls(): boolean {
    return this.#byIndex.size > 0;
  }

  /** @throws E_ENGINE beyond the bounds of one answer, as all here do */
  thinking(text: string): void {
    if (text === "") return;
    if (this.#thinking) return this.#talk("thinking", text);
    this.#take(text.length);
    this.#emit("ping", {});
  }

  text(text: string): void {
    if (text !== "") this.#talk("text", text);
  }

  call(piece: CallPiece): void {
    this.#take(piece.id.length + piece.name.length + piece.arguments.length);
    const call = this.#callOf(piece);
    if (piece.arguments !== "") this.#add(call, piece.arguments);
  }

  /**
   * Tells what is left. An answer of nothing is one empty text.
   *
   * @param cut the answer ended at its limit: the last call may be incomplete, and is none then
   * @returns   all blocks
   * @throws    E_ENGINE a call without a name, or with an input that is no JSON object
   */
  finish(cut: boolean): readonly Json[] {
    if ([...this.#byIndex.values()].some(({ kind }) => kind === "nameless")) {
      throw new MeshError("E_ENGINE", "The engine called a tool without naming it.");
    }
    if (this.#blocks.length === 0) this.#begin({ kind: "text", pieces: new Pieces() });
    const whole = this.#blocks.map((block) => ({ block, json: wholeBlock(block, cut) }));
    const open = this.#told;
    this.#emit("content_block_stop", { index: open });
    for (const { block, json } of whole.slice(open + 1)) {
      if (!json) continue;
      this.#open(block);
      this.#emit("content_block_stop", { index: this.#told });
    }
    return whole.flatMap(({ json }) => (json ? [json] : []));
  }

  #take(characters: number): void {
    this.#room -= characters;
    if (this.#room < 0) throw tooLong();
  }

  #talk(kind: Talk["kind"], text: string): void {
    this.#take(text.length);
    const last = this.#blocks.at(-1);
    this.#add(last?.kind === kind ? last : this.#begin({ kind, pieces: new Pieces() }), text);
  }

  #add(to: Talk | Call | NamelessCall, text: string): void {
    to.pieces.add(text);
    const open = this.#blocks[this.#told];
    if (open === to) this.#delta(open, text);
    else this.#emit("ping", {});
  }

  #callOf({ index, id, name }: CallPiece): Call | NamelessCall {
    const known = this.#byIndex.get(index);
    if (known?.kind === "tool_use") {
      // some engines give every parallel call the index 0: another id with a name is another call
      const isOther = name !== "" && id !== "" && known.given !== "" && id !== known.given;
      if (!isOther) {
        known.given ||= id;
        return known;
      }
    }
    if (this.#byIndex.size >= answerLimits.items) throw tooMany();
    const early = known?.kind === "nameless" ? known : { id: "", pieces: new Pieces() };
    const given = early.id || id;
    const call: Call | NamelessCall =
      name === ""
        ? { kind: "nameless", id: given, pieces: early.pieces }
        : { kind: "tool_use", id: given || newId("toolu"), given, name, pieces: early.pieces };
    this.#byIndex.set(index, call);
    return call.kind === "tool_use" ? this.#begin(call) : call;
  }

  /** A new block, told at once if the one before it can close. */
  #begin<T extends Talk | Call>(block: T): T {
    if (this.#blocks.length >= answerLimits.items) throw tooMany();
    this.#blocks.push(block);
    const open = this.#blocks[this.#told];
    if (open?.kind === "tool_use") return block;
    if (open) this.#emit("content_block_stop", { index: this.#told });
    this.#open(block);
    return block;
  }

  /** Tells that the next block begins, and what of it is there. */
  #open(block: Talk | Call): void {
    this.#told += 1;
    this.#emit("content_block_start", { index: this.#told, content_block: emptyBlock(block) });
    const text = block.pieces.joined();
    if (text !== "") this.#delta(block, text);
  }

  #delta({ kind }: Talk | Call, text: string): void {
    this.#emit("content_block_delta", { index: this.#told, delta: deltaOf(kind, text) });
  }
}

function deltaOf(kind: (Talk | Call)["kind"], text: string): Json {
  switch (kind) {
    case "text":
      return { type: "text_delta", text };
    case "thinking":
      return { type: "thinking_delta", thinking: text };
    case "tool_use":
      return { type: "input_json_delta", partial_json: text };
  }
}

function emptyBlock(block: Talk | Call): Json {
  return block.kind === "tool_use" ? toolUse(block, {}) : talkBlock(block.kind, "");
}

function talkBlock(kind: Talk["kind"], text: string): Json {
  // nobody here signs what a model thought
  return kind === "thinking" ? { type: kind, thinking: text, signature: "" } : { type: kind, text, citations: null };
}

function toolUse({ id, name }: Call, input: Json): Json {
  return { type: "tool_use", id, name, input };
}

/** Undefined for a call that the end of the answer has cut. @throws E_ENGINE an input that is no JSON object */
function wholeBlock(block: Talk | Call, cut: boolean): Json | undefined {
  const text = block.pieces.joined();
  if (block.kind !== "tool_use") return talkBlock(block.kind, text);
  const input = text.trim() === "" ? {} : parseJsonText(text);
  if (isRecord(input)) return toolUse(block, input);
  if (cut) return undefined;
  throw new MeshError("E_ENGINE", "The model called a tool with an input that is not a JSON object.");
}

/**
 * The output items of one response, built from the pieces of a chat answer, and the events that tell of it. A whole answer
 * is one piece; so both forms give the same items.
 *
 * Reasoning and messages follow one another: each closes when the next item begins. Function calls stay open to the end,
 * because pieces of parallel ones may come in any order.
 *
 * @see engines.md §4.4
 */
import { MeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import { answerLimits, type CallPiece, Pieces, tooLong, tooMany } from "../chat-answer.ts";
import type { EmitEvent } from "../chat-stream.ts";
import { newId } from "../ids.ts";

/** What a token's probability counts as, characters. */
const logprobCharacters = 64;

interface OpenItem {
  readonly id: string;
  /** `output_index`. */
  readonly at: number;
}

interface OpenReasoning extends OpenItem {
  readonly kind: "reasoning";
  readonly text: Pieces;
}

interface OpenMessage extends OpenItem {
  readonly kind: "message";
  readonly done: Json[];
  part: OpenPart | undefined;
}

interface OpenPart {
  readonly kind: "output_text" | "refusal";
  readonly text: Pieces;
  readonly logprobs: Json[];
}

interface OpenCall extends OpenItem {
  readonly kind: "function_call";
  readonly callId: string;
  readonly name: string;
  readonly arguments: Pieces;
}

/** A call whose name has not come yet: not an item so far. */
interface NamelessCall {
  readonly kind: "nameless";
  /** Empty when it has not come either. */
  readonly callId: string;
  readonly arguments: Pieces;
}

export class Output {
  readonly #emit: EmitEvent;
  /** Closed items in their places. */
  readonly #items: Json[] = [];
  /** Items begun. */
  #count = 0;
  #room: number = answerLimits.characters;
  #talk: OpenReasoning | OpenMessage | undefined;
  /** By the index that chat gives; of several with one index, the last. */
  readonly #byIndex = new Map<number, OpenCall | NamelessCall>();
  readonly #calls: OpenCall[] = [];

  constructor(emit: EmitEvent) {
    this.#emit = emit;
  }

  /** @throws E_ENGINE beyond the bounds of one answer, as all here do */
  reasoning(text: string): void {
    if (text === "") return;
    this.#take(text.length);
    const item = this.#talk?.kind === "reasoning" ? this.#talk : this.#openReasoning();
    item.text.add(text);
    this.#emit("response.reasoning_summary_text.delta", { ...summaryPlace(item), delta: text });
  }

  text(text: string, logprobs: readonly Json[]): void {
    if (text === "" && logprobs.length === 0) return;
    this.#take(text.length + logprobs.length * logprobCharacters);
    const { place, part } = this.#part("output_text");
    part.text.add(text);
    for (const logprob of logprobs) part.logprobs.push(logprob);
    this.#emit("response.output_text.delta", { ...place, delta: text, logprobs });
  }

  refusal(text: string): void {
    if (text === "") return;
    this.#take(text.length);
    const { place, part } = this.#part("refusal");
    part.text.add(text);
    this.#emit("response.refusal.delta", { ...place, delta: text });
  }

  call(piece: CallPiece): void {
    this.#take(piece.id.length + piece.name.length + piece.arguments.length);
    const call = this.#callOf(piece);
    if (piece.arguments === "") return;
    call.arguments.add(piece.arguments);
    if (call.kind === "function_call") {
      this.#emit("response.function_call_arguments.delta", { ...place(call), delta: piece.arguments });
    }
  }

  /**
   * Closes what is open. An answer of nothing is one empty message.
   *
   * @param status of the last item; those before it are complete
   * @returns all items
   */
  finish(status: "completed" | "incomplete"): readonly Json[] {
    if ([...this.#byIndex.values()].some(({ kind }) => kind === "nameless")) {
      throw new MeshError("E_ENGINE", "The engine called a function without naming it.");
    }
    if (this.#count === 0) this.#part("output_text");
    const statusAt = (at: number): "completed" | "incomplete" => (at === this.#count - 1 ? status : "completed");
    const open = [...(this.#talk ? [this.#talk] : []), ...this.#calls].toSorted((a, b) => a.at - b.at);
    for (const item of open) {
      if (item.kind === "function_call") this.#closeCall(item, statusAt(item.at));
      else this.#closeTalk(statusAt(item.at));
    }
    return this.#items;
  }

  #take(characters: number): void {
    this.#room -= characters;
    if (this.#room < 0) throw tooLong();
  }

  #place(): number {
    if (this.#count >= answerLimits.items) throw tooMany();
    return this.#count++;
  }

  #openReasoning(): OpenReasoning {
    this.#closeTalk("completed");
    const item: OpenReasoning = { kind: "reasoning", id: newId("rs"), at: this.#place(), text: new Pieces() };
    this.#talk = item;
    this.#added(item, reasoningItem(item, "in_progress", []));
    this.#emit("response.reasoning_summary_part.added", { ...summaryPlace(item), part: summaryPart("") });
    return item;
  }

  /** The open part of this kind, begun if need be. */
  #part(kind: OpenPart["kind"]): { readonly place: Json; readonly part: OpenPart } {
    const item = this.#talk?.kind === "message" ? this.#talk : this.#openMessage();
    if (item.part && item.part.kind !== kind) this.#closePart(item, item.part);
    if (!item.part) {
      item.part = { kind, text: new Pieces(), logprobs: [] };
      this.#emit("response.content_part.added", { ...partPlace(item), part: contentPart(kind, "", []) });
    }
    return { place: partPlace(item), part: item.part };
  }

  #openMessage(): OpenMessage {
    this.#closeTalk("completed");
    const item: OpenMessage = { kind: "message", id: newId("msg"), at: this.#place(), done: [], part: undefined };
    this.#talk = item;
    this.#added(item, messageItem(item, "in_progress"));
    return item;
  }

  #closeTalk(status: "completed" | "incomplete"): void {
    const item = this.#talk;
    this.#talk = undefined;
    if (item?.kind === "reasoning") {
      const text = item.text.joined();
      const where = summaryPlace(item);
      this.#emit("response.reasoning_summary_text.done", { ...where, text });
      this.#emit("response.reasoning_summary_part.done", { ...where, part: summaryPart(text) });
      this.#done(item, reasoningItem(item, status, [summaryPart(text)]));
    } else if (item) {
      if (item.part) this.#closePart(item, item.part);
      this.#done(item, messageItem(item, status));
    }
  }

  #closePart(item: OpenMessage, { kind, text: pieces, logprobs }: OpenPart): void {
    const where = partPlace(item);
    const text = pieces.joined();
    const part = contentPart(kind, text, logprobs);
    if (kind === "output_text") this.#emit("response.output_text.done", { ...where, text, logprobs });
    else this.#emit("response.refusal.done", { ...where, refusal: text });
    this.#emit("response.content_part.done", { ...where, part });
    item.done.push(part);
    item.part = undefined;
  }

  #callOf({ index, id, name }: CallPiece): OpenCall | NamelessCall {
    const known = this.#byIndex.get(index);
    if (known?.kind === "function_call") {
      // some engines give every parallel call the index 0: another id with a name is another call
      const isOther = name !== "" && id !== "" && id !== known.callId;
      if (!isOther) return known;
    }
    if (this.#byIndex.size >= answerLimits.items) throw tooMany();
    const early = known?.kind === "nameless" ? known : { callId: "", arguments: new Pieces() };
    const callId = early.callId || id;
    const call: OpenCall | NamelessCall =
      name === ""
        ? { kind: "nameless", callId, arguments: early.arguments }
        : this.#openCall(callId || newId("call"), name, early.arguments);
    this.#byIndex.set(index, call);
    return call;
  }

  #openCall(callId: string, name: string, begun: Pieces): OpenCall {
    this.#closeTalk("completed");
    const call: OpenCall = {
      kind: "function_call",
      id: newId("fc"),
      at: this.#place(),
      callId,
      name,
      arguments: begun,
    };
    this.#calls.push(call);
    this.#added(call, callItem(call, "in_progress", ""));
    const early = begun.joined();
    if (early !== "") this.#emit("response.function_call_arguments.delta", { ...place(call), delta: early });
    return call;
  }

  #closeCall(call: OpenCall, status: "completed" | "incomplete"): void {
    const text = call.arguments.joined();
    this.#emit("response.function_call_arguments.done", { ...place(call), name: call.name, arguments: text });
    this.#done(call, callItem(call, status, text));
  }

  #added(item: OpenItem, json: Json): void {
    this.#emit("response.output_item.added", { output_index: item.at, item: json });
  }

  #done(item: OpenItem, json: Json): void {
    this.#items[item.at] = json;
    this.#emit("response.output_item.done", { output_index: item.at, item: json });
  }
}

type ItemStatus = "in_progress" | "completed" | "incomplete";

function place({ id, at }: OpenItem): Json {
  return { item_id: id, output_index: at };
}

function summaryPlace(item: OpenReasoning): Json {
  return { ...place(item), summary_index: 0 };
}

function partPlace(item: OpenMessage): Json {
  return { ...place(item), content_index: item.done.length };
}

/** AI SDK and LangChain show summaries only, so that is where the reasoning goes. */
function reasoningItem({ id }: OpenReasoning, status: ItemStatus, summary: readonly Json[]): Json {
  return { id, type: "reasoning", summary, content: [], status };
}

function summaryPart(text: string): Json {
  return { type: "summary_text", text };
}

function messageItem({ id, done }: OpenMessage, status: ItemStatus): Json {
  return { id, type: "message", status, role: "assistant", content: done };
}

function contentPart(kind: OpenPart["kind"], text: string, logprobs: readonly Json[]): Json {
  return kind === "refusal" ? { type: kind, refusal: text } : { type: kind, text, annotations: [], logprobs };
}

function callItem({ id, callId, name }: OpenCall, status: ItemStatus, text: string): Json {
  return { id, type: "function_call", status, call_id: callId, name, arguments: text };
}

/** Probabilities of the tokens of a choice, with all fields that OpenAI's types have. */
export function logprobsOf(choice: Json): readonly Json[] {
  const logprobs = choice["logprobs"];
  const content = isRecord(logprobs) ? logprobs["content"] : undefined;
  if (!Array.isArray(content)) return [];
  return content.filter(isRecord).map((entry) => {
    const top: readonly unknown[] = Array.isArray(entry["top_logprobs"]) ? entry["top_logprobs"] : [];
    return { ...logprob(entry), top_logprobs: top.filter(isRecord).map(logprob) };
  });
}

function logprob(entry: Json): Json {
  const { token, logprob: value, bytes } = entry;
  return {
    token: typeof token === "string" ? token : "",
    bytes: Array.isArray(bytes) ? bytes : [],
    logprob: typeof value === "number" ? value : 0,
  };
}

/**
 * The OpenAI clients of the ecosystem behind one small interface, so that a scenario is written once and asked by each of
 * them in the way its users do it. A driver translates and nothing more: what it gives is what its client showed.
 */
import type { z } from "zod";

/** What all drivers can be asked. */
export interface Question {
  readonly model: string;
  readonly text: string;
  readonly system?: string;
  readonly image?: Image;
  /** Called when the model asks for them, and the results sent, until it asks no more. */
  readonly tools?: Tools;
  /** Of the answer. */
  readonly schema?: z.ZodObject;
  readonly effort?: "low" | "medium" | "high";
  readonly maxTokens?: number;
  readonly temperature?: number;
  readonly stream: boolean;
  readonly signal?: AbortSignal;
  /** Sees every piece of a streamed answer when it comes. */
  readonly onPiece?: (piece: Piece) => void;
}

export type Tools = Readonly<Record<string, Tool>>;

export interface Tool {
  readonly description: string;
  readonly input: z.ZodObject;
  readonly run: (input: Readonly<Record<string, unknown>>) => string;
}

export interface Image {
  readonly type: "image/png";
  readonly base64: string;
}

/** One answer of the model; a question with tools takes several. Ids and times are left out, nothing else. */
export interface Step {
  readonly text: string;
  readonly reasoning: string;
  /** Empty also where the client has no place for it. */
  readonly refusal: string;
  readonly calls: readonly Call[];
  /** What the client made of the text, when a schema was given. */
  readonly parsed?: unknown;
  readonly finish: "stop" | "length" | "tool-calls" | "content-filter" | "unknown";
  readonly usage: Usage | undefined;
  /** As they came; empty when the answer was not streamed. */
  readonly pieces: readonly Piece[];
  /** Types of the Responses API's events, where the client shows them. */
  readonly events?: readonly string[];
}

export type Piece = readonly [kind: "text" | "reasoning" | "refusal" | "arguments", text: string];

export interface Call {
  readonly name: string;
  readonly input: unknown;
}

/** In tokens. What an API does not mention is 0. */
export interface Usage {
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly reasoning: number;
  readonly total: number;
}

/** Where a client is told to go. */
export interface Server {
  /** With `/v1`. */
  readonly baseUrl: string;
  readonly fetch: typeof fetch;
}

export interface Client {
  readonly name: string;
  /** What it speaks to answer questions. */
  readonly api: "chat" | "responses";
  readonly shows: {
    /** How a refusal looks, piece by piece in a stream or not at all. */
    readonly refusal: "pieces" | "whole" | "as text" | "nowhere";
    /** Whether the pieces of a JSON answer reach the caller one by one. */
    readonly jsonPieces: boolean;
    /** Whether the caller can see the events of the Responses API. */
    readonly events: boolean;
  };
  /** Name of the error that a caller gets who aborts a stream, or while waiting for a whole answer. */
  readonly aborted: Readonly<Record<"stream" | "whole", string>>;
  at(server: Server): Asker;
}

/** A client that has been told its server. None repeats a failed request, so that a test sees what happens. */
export interface Asker {
  ask(question: Question): Promise<readonly Step[]>;
  /** Undefined where another driver of the same client does it. */
  readonly embed?: (model: string, texts: readonly string[]) => Promise<readonly (readonly number[])[]>;
  /** The Responses API: each text is sent alone, with the id of the response before it. */
  readonly goOn?: (model: string, texts: readonly string[]) => Promise<readonly Step[]>;
  /** `/v1/completions`, streamed, at temperature 0; gives the text. */
  readonly complete?: (model: string, prompt: string) => Promise<string>;
}

export function dataUrl({ type, base64 }: Image): string {
  return `data:${type};base64,${base64}`;
}

/** The results of calls, in their order. */
export function runTools(tools: Tools, calls: readonly Call[]): readonly string[] {
  return calls.map(({ name, input }) => {
    const tool = tools[name];
    if (!tool) throw new Error(`nobody offered a tool ${name}`);
    return tool.run(tool.input.parse(input));
  });
}

/** Notes the pieces of one step and shows them to the asker. Empty ones are of no meaning. */
export class Pieces {
  readonly list: Piece[] = [];
  readonly #show: Question["onPiece"];

  constructor({ onPiece }: Question) {
    this.#show = onPiece;
  }

  add(kind: Piece[0], text: string | null | undefined): void {
    if (text === undefined || text === null || text === "") return;
    const piece = [kind, text] as const;
    this.list.push(piece);
    this.#show?.(piece);
  }

  /** All of one kind. */
  join(kind: Piece[0]): string {
    return this.list.flatMap(([of, text]) => (of === kind ? [text] : [])).join("");
  }
}

/** What a program would look at. */
export function nameOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  return thrown.name === "Error" ? thrown.constructor.name : thrown.name;
}

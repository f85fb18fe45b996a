/** Types of the scripted engine, engine-process.mjs. */
import type { IncomingHttpHeaders } from "node:http";

/** How an answer goes wrong. `afterTokens` counts deltas of a stream, of any kind. */
export type ScriptedFailure =
  | {
      readonly kind: "status";
      readonly status: number;
      /** A string is sent as it is, anything else as JSON. */
      readonly body: unknown;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Accepts the request and never answers. */
  | { readonly kind: "hang" }
  /** Breaks the connection. */
  | { readonly kind: "cut"; readonly afterTokens: number }
  /** Kills its own process: only where it runs as one. */
  | { readonly kind: "exit"; readonly afterTokens: number }
  /** Leaves the connection open and says nothing more. */
  | { readonly kind: "stall"; readonly afterTokens: number }
  /** `data: {"error": ...}`, then `[DONE]` if asked for. */
  | { readonly kind: "error-event"; readonly afterTokens: number; readonly error: unknown; readonly done?: boolean }
  /** `event: error`. */
  | { readonly kind: "named-error-event"; readonly afterTokens: number; readonly error: unknown }
  /** Ends with `[DONE]`, without a finish reason. */
  | { readonly kind: "no-finish"; readonly afterTokens: number };

export interface ScriptedEngineOptions {
  /** @default "127.0.0.1" */
  host?: string;
  /** @default 0, any free one */
  port?: number;
  /** @default ["scripted"] */
  models?: readonly string[];
  /** Number of words of an answer: "word0 word1 ...". @default 5 */
  tokens?: number;
  /** The answer itself, instead of words. */
  text?: string | undefined;
  /** Pause after each token. @default 0 */
  tokenMs?: number;
  /** Silence before the head of the answer. @default 0 */
  prefillMs?: number;
  /** Instead of words, this much content. @default 0 */
  contentBytes?: number;
  /** Of one delta of it. @default 16384 */
  deltaBytes?: number;
  /** In words of the prompt; more is an overflow. @default 4096 */
  contextSize?: number;
  /** Of the prompt, named in the usage when not 0. @default 0 */
  cachedTokens?: number;
  /**
   * Whether `encoding_format` is honoured or everything is answered in numbers, as some programs do.
   * @default undefined: 501, as llama-server without --embeddings
   */
  embeddings?: "as-asked" | "floats" | undefined;
  slots?: number;
  /** Required as a bearer token. */
  key?: string | undefined;
  /** Answers everything with 503, as llama-server while it loads. */
  loading?: boolean;
  fail?: ScriptedFailure | undefined;
  /** Put into every entry of the model list; can replace fields. */
  extraModelFields?: Readonly<Record<string, unknown>>;
}

/** A request as the scripted engine saw it. Times are Unix ms. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** Its first MiB. */
  readonly body: string;
  readonly bodyBytes: number;
  /** A POST, not a look at the model list. */
  readonly inference: boolean;
  readonly startedAt: number;
  readonly endedAt: number | undefined;
  /** When the caller went away before the answer was complete. */
  readonly disconnectedAt: number | undefined;
  /** Characters of content that the socket has taken so far. */
  readonly contentBytes: number;
  readonly deltas: number;
}

export interface ScriptedEngine {
  /** With `/v1`. */
  readonly url: string;
  readonly port: number;
  /** May be changed while it runs; the next request sees it. */
  readonly options: ScriptedEngineOptions;
  readonly requests: readonly SeenRequest[];
  /** Inference requests that have not ended. */
  readonly running: number;
  /** Breaks all connections. */
  close(): Promise<void>;
}

export function startScriptedEngine(options?: ScriptedEngineOptions): Promise<ScriptedEngine>;

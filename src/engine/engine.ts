/**
 * What runs the model. An engine answers requests of the OpenAI chat surface for the models it lists; it knows nothing of
 * peers, sealing or policy. A new kind is one file with an {@link EngineKind} and one line in registry.ts.
 */
import type { Pieces } from "../base/body.ts";
import type { Log } from "../base/log.ts";
import type { Signal } from "../base/signal.ts";
import type { HardeningReport } from "../harden/report.ts";
import type { ModelKind } from "../wire/record.ts";

/** A model that an engine can answer for right now. */
export interface EngineModel {
  /** Name a client asks for, unique per node. */
  readonly id: string;
  /** Tokens that one request may use, prompt and answer together; undefined when the engine does not say. */
  readonly contextLength: number | undefined;
  /** What it is known to do; undefined when the engine does not say. */
  readonly kinds?: readonly ModelKind[];
}

/** One request to an engine, already checked to name one of its models. */
export interface EngineRequest {
  /** Path of the OpenAI surface: "/v1/chat/completions". */
  readonly path: string;
  /** The JSON body as received, to be passed on unchanged where possible; borrowed. */
  readonly body: Uint8Array;
  /** The same body, parsed. */
  readonly json: Readonly<Record<string, unknown>>;
  /** Who asks: "local", or a peer's endpoint id. State derived from prompts (prefix caches) is kept apart by it. */
  readonly asker: string;
  /** Fires when the caller has gone: the engine must free what the request holds within a second. */
  readonly signal: Signal;
}

/** An HTTP answer whose body is pulled piece by piece; the engine produces no faster than it is read. */
export interface Answer {
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /**
   * Ends normally only when the answer is complete; throws a MeshError when the engine failed on the way. Read once, to
   * the end or until the loop is left; whoever does not read it at all must fire the request's signal.
   */
  readonly body: Pieces;
}

export type EngineState =
  | { readonly kind: "loading"; readonly percent: number | undefined }
  | { readonly kind: "up" }
  | { readonly kind: "down"; readonly why: string };

export interface Engine {
  /** For people and logs: "llama: demo.gguf", "openai-http: http://127.0.0.1:8080/v1". No secrets. */
  readonly name: string;
  /** `embedded` runs in a child process of ours; `external` is a program we only talk to. */
  readonly kind: "embedded" | "external";
  readonly state: EngineState;
  /** Empty unless the state is `up`. */
  readonly models: readonly EngineModel[];
  /** Process id of the embedded engine's child, which sees prompts; undefined for external engines. */
  readonly pid: number | undefined;
  /** What that child found about itself at its start; undefined until it has said so, and for external engines. */
  readonly hardening?: HardeningReport | undefined;
  /** Exchanges running and waiting inside the engine. */
  readonly load: { readonly running: number; readonly waiting: number; readonly slots: number | undefined };
  /**
   * Answers one request. Resolves when the status is known: for a stream, not before the first token.
   * @throws E_INPUT, E_UNSUPPORTED, E_OVERFLOW before work · E_BUSY queue full · E_ENGINE, E_ENGINE_LOST · E_ABORTED
   */
  answer(request: EngineRequest): Promise<Answer>;
  close(): Promise<void>;
}

export interface EngineOptions {
  readonly log: Log;
  /** Called after `state` or `models` changed. */
  readonly onChange: () => void;
}

/** Registry entry: makes an engine from a setting, or says that the setting is not its kind. */
export interface EngineKind<Settings> {
  readonly kind: string;
  /** Starts the engine; resolves when it is up, or as soon as it is known to be down (state says why). */
  start(settings: Settings, options: EngineOptions): Promise<Engine>;
}

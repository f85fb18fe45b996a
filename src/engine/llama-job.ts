/** A request on its way through the embedded engine, on the node's side: between its caller and the child. */
import { abortError } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import type { Signal } from "../base/signal.ts";
import type { FinishReason, Usage } from "../openai/chat.ts";
import type { TextRequest } from "./llama-protocol.ts";

/** Deltas that may be on their way from the child: enough to hide the round trip, few enough to hold. */
export const creditWindow = 64;
const creditBatch = 16;

export interface JobEnd {
  readonly finish: FinishReason;
  readonly usage: Usage;
}

export interface JobHooks {
  /** Lets the child send that many more deltas. */
  credit(credits: number): void;
  abort(): void;
}

/** One request between its caller and the child: what has arrived and was not taken yet, and how it ended. */
export class Job {
  /** In messages to the child; 0 while waiting. */
  id = 0;
  watchdog: NodeJS.Timeout | undefined;
  readonly request: TextRequest;
  readonly asker: string;
  readonly #hooks: JobHooks;
  readonly #signal: Signal;
  readonly #onAbort = (): void => {
    this.fail(toMeshError(abortError(this.#signal), "E_ABORTED"));
    this.#hooks.abort();
  };
  #pieces: string[] = [];
  #taken = 0;
  #end: JobEnd | undefined;
  #failure: MeshError | undefined;
  #wake: (() => void) | undefined;

  constructor(request: TextRequest, asker: string, signal: Signal, hooks: JobHooks) {
    this.request = request;
    this.asker = asker;
    this.#signal = signal;
    this.#hooks = hooks;
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  push(text: string): void {
    this.#pieces.push(text);
    this.#wake?.();
  }

  end(end: JobEnd): void {
    this.#end = end;
    this.#settle();
  }

  fail(error: MeshError): void {
    if (this.#end === undefined) this.#failure ??= error;
    this.#settle();
  }

  #settle(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#wake?.();
  }

  /** Resolves when there is something to take. @throws the failure, as soon as there is one */
  async arrival(): Promise<void> {
    while (this.#failure === undefined && this.#pieces.length === 0 && this.#end === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** All that has arrived; the child may send as much again. */
  take(): { readonly pieces: readonly string[]; readonly end: JobEnd | undefined } {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#taken += pieces.length;
    if (this.#taken >= creditBatch && this.#end === undefined) {
      this.#hooks.credit(this.#taken);
      this.#taken = 0;
    }
    return { pieces, end: this.#end };
  }

  /** The caller has stopped reading. */
  leave(): void {
    if (this.#end === undefined && this.#failure === undefined) {
      this.fail(new MeshError("E_ABORTED", "the caller stopped reading"));
      this.#hooks.abort();
    }
  }
}

/**
 * Keeps this node's evidence fresh: made when the node starts, anew every few minutes and with every new inference key.
 * What cannot be made is said with its reason; a node without evidence goes on.
 */
import type { Collector } from "../attest/collect/collector.ts";
import type { EvidenceItem } from "../attest/evidence.ts";
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { withDeadline } from "../base/deadline.ts";
import { toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

export interface AttesterOptions {
  readonly collectors: readonly Collector[];
  readonly endpointId: EndpointId;
  /** 32 bytes, the key that requests are sealed to now. */
  readonly inferenceKey: () => Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
  /** Longest that hardware may take for one piece, ms. */
  readonly collectMs: number;
}

/** What became of one kind. */
export interface EvidenceState {
  readonly kind: string;
  /** The newest piece; undefined when none could be made so far. */
  readonly item: EvidenceItem | undefined;
  /** 32 bytes, the inference key that it is tied to; undefined without an item. */
  readonly inferenceKey: Uint8Array | undefined;
  /** Why the last attempt failed; undefined when it did not. */
  readonly why: string | undefined;
}

export class Attester {
  readonly #options: AttesterOptions;
  readonly #closing = new AbortController();
  #states: readonly EvidenceState[];
  #refreshing: Promise<void> | undefined;

  constructor(options: AttesterOptions) {
    this.#options = options;
    this.#states = options.collectors.map(({ kind }) => {
      return { kind, item: undefined, inferenceKey: undefined, why: "it is being made" };
    });
  }

  get states(): readonly EvidenceState[] {
    return this.#states;
  }

  /** Makes all kinds anew; one that is under way counts. Never throws: what failed stands in the state and the log. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#collectAll().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#refreshing;
  }

  async #collectAll(): Promise<void> {
    this.#states = await Promise.all(
      this.#options.collectors.map((collector, index) => this.#collect(collector, this.#states[index])),
    );
  }

  async #collect(collector: Collector, before: EvidenceState | undefined): Promise<EvidenceState> {
    const { endpointId, inferenceKey, clock, log, collectMs } = this.#options;
    const { kind } = collector;
    const key = inferenceKey();
    const request = { endpointId, inferenceKey: key, nonce: undefined, issuedAtMs: clock.now() };
    try {
      const { signal } = this.#closing;
      const making = collector.collect(request, { signal });
      const item = await withDeadline(making, { what: `making evidence (${kind})`, ms: collectMs, signal });
      return { kind, item, inferenceKey: key, why: undefined };
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      // the rest of a series says nothing new
      if (!this.#closing.signal.aborted && before?.why !== message) {
        log.write("warn", { event: "evidence-not-made", kind, code, what: message });
      }
      return { kind, item: before?.item, inferenceKey: before?.inferenceKey, why: message };
    }
  }
}

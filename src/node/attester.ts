/**
 * This node's evidence: made when the node starts, anew every few minutes and with every new inference key, and for peers
 * that ask with a nonce; challenges are signed here. What cannot be made is said with its reason; a node without evidence
 * goes on. Hardware may hang: nobody waits for it for long, and it never gets a second question of a sort before it has
 * answered the first.
 */
import type { Collector, EvidenceRequest, KeyLife } from "../attest/collect/collector.ts";
import { type EvidenceItem, evidenceWindow } from "../attest/evidence.ts";
import { verifyEvidence } from "../attest/verify.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal, toBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { abortError, withDeadline } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Signal } from "../base/signal.ts";
import { type Turn, Turns } from "../base/turns.ts";
import type { AttestSource } from "../mesh/attest-serve.ts";
import type { ChallengeProof } from "../wire/attestation.ts";
import { referenceChallengeBytes } from "../wire/challenge.ts";
import { defaults } from "./defaults.ts";

export interface AttesterOptions {
  readonly collectors: readonly Collector[];
  readonly endpointId: EndpointId;
  /** 32 bytes, the key that others seal to now. */
  readonly inferenceKey: () => Uint8Array;
  readonly clock: Clock;
  readonly log: Log;
  /** What evidence says of this node beside its keys, now; anew when that has changed. @default nothing */
  readonly told?: () => Told;
  /** Longest that hardware may take for one piece, ms. */
  readonly collectMs: number;
  /** The same while a peer waits for it, ms. @default defaults.evidenceFreshMs */
  readonly freshMs?: number;
  /** Signatures over one challenge, ms. @default defaults.challengeMs */
  readonly signMs?: number;
  /** The answer where a key is kept, ms. @default defaults.residenceMs */
  readonly residenceMs?: number;
}

export type Told = Pick<EvidenceRequest, "posture" | "measurement">;

/** What became of one kind. */
export interface EvidenceState {
  readonly kind: string;
  /** The newest piece that nobody asked for; undefined when none could be made so far. */
  readonly item: EvidenceItem | undefined;
  /** 32 bytes, the inference key that it is tied to; undefined without an item. */
  readonly inferenceKey: Uint8Array | undefined;
  /** Why the last attempt failed; undefined when it did not. */
  readonly why: string | undefined;
  /** How long the attested key lives; undefined until that is known. */
  readonly keyLife: KeyLife | undefined;
}

/** Whose turn it is when nobody asked. */
const ourselves = "";

export class Attester implements AttestSource {
  readonly #closing = new AbortController();
  readonly #options: AttesterOptions;
  readonly #keepers: readonly Keeper[];

  constructor(options: AttesterOptions) {
    this.#options = options;
    const { evidenceFreshMs: freshMs, challengeMs: signMs, residenceMs } = defaults;
    const { signal } = this.#closing;
    this.#keepers = options.collectors.map(
      (collector) => new Keeper(collector, { freshMs, signMs, residenceMs, told: () => ({}), ...options }, signal),
    );
  }

  get states(): readonly EvidenceState[] {
    return this.#keepers.map(({ state }) => state);
  }

  /** Makes all kinds anew; one that is under way counts. Never throws: what failed stands in the state and the log. */
  async refresh(): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.refresh()));
  }

  /** Makes anew what is older than `ageMs`, or could not be made some time ago. Looked at often: timers stand still in sleep. */
  refreshIfDue(ageMs: number): void {
    for (const keeper of this.#keepers) if (keeper.isDue(ageMs)) void keeper.refresh();
  }

  /** Makes evidence for the inference key that is to be published next. Never throws; one that is under way counts. */
  async prepare(nextKey: Uint8Array): Promise<void> {
    await Promise.all(this.#keepers.map((keeper) => keeper.prepare(nextKey)));
  }

  /** Whether a key can be published without a gap: there is evidence for it wherever there is any at all. */
  isPrepared(nextKey: Uint8Array): boolean {
    return this.#keepers.every((keeper) => keeper.isPrepared(nextKey));
  }

  /** Reference blob for the key of now, for gossip (field 38); undefined where this machine makes none. */
  get blob(): Uint8Array | undefined {
    const state = this.states.find(({ kind }) => kind === "secure-enclave");
    const { inferenceKey } = this.#options;
    return state?.inferenceKey && equal(state.inferenceKey, inferenceKey()) ? state.item?.evidence : undefined;
  }

  async evidence(
    nonce: Uint8Array | undefined,
    signal: Signal,
    holder: string = ourselves,
  ): Promise<readonly EvidenceItem[]> {
    const items = await Promise.all(this.#keepers.map((keeper) => keeper.evidence(nonce, signal, holder)));
    return items.filter((item) => item !== undefined);
  }

  /** @throws E_INPUT nothing here answers questions of this kind · as the hardware does, see Collector · E_TIMEOUT, E_BUSY */
  async answerResidence(
    kind: string,
    question: Uint8Array,
    signal: Signal,
    holder: string = ourselves,
  ): Promise<Uint8Array> {
    const keeper = this.#keepers.find(({ state }) => state.kind === kind);
    if (!keeper) throw new MeshError("E_INPUT", "this node makes no evidence of the kind that was asked about");
    return await keeper.answerResidence(question, signal, holder);
  }

  /**
   * One proof of each collector that signs in time. @throws why the last one did not, when none does: E_TIMEOUT · E_BUSY no
   * evidence yet, or a signature that is under way still hangs · as the hardware does
   */
  async sign(nonce: Uint8Array, signal: Signal, holder: string = ourselves): Promise<readonly ChallengeProof[]> {
    const signed = await Promise.allSettled(this.#keepers.map((keeper) => keeper.sign(nonce, signal, holder)));
    const proofs = signed.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    if (proofs.length > 0) return proofs;
    const reasons = signed.map((outcome) => (outcome.status === "rejected" ? outcome.reason : undefined));
    throw reasons.length > 0
      ? toMeshError(reasons.at(-1))
      : new MeshError("E_BUSY", "this node makes no evidence, so it has no key that signs");
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all(this.#keepers.map((keeper) => keeper.closed()));
    await Promise.allSettled(this.#options.collectors.map((collector) => collector.close?.() ?? Promise.resolve()));
  }
}

/** One collector, and the newest that it has made. */
class Keeper {
  readonly #collector: Collector;
  readonly #options: Required<AttesterOptions>;
  readonly #closing: Signal;
  readonly #collecting: Turns;
  readonly #signing: Turns;
  readonly #residing: Turns;
  #state: EvidenceState;
  /** SEC1, 65 bytes, of the newest piece, asked for or not. */
  #attestedKey: Uint8Array | undefined;
  #refreshing: Promise<void> | undefined;
  /** For the inference key that comes next. */
  #prepared: Made | undefined;
  /** performance.now() when a refresh began last. */
  #triedMs = Number.NEGATIVE_INFINITY;
  #preparing: Promise<void> | undefined;
  /** In the newest piece that nobody asked for. */
  #toldPosture: Uint8Array | undefined;

  constructor(collector: Collector, options: Required<AttesterOptions>, closing: Signal) {
    this.#collector = collector;
    this.#options = options;
    this.#closing = closing;
    this.#collecting = new Turns(options.freshMs);
    this.#signing = new Turns(options.signMs);
    this.#residing = new Turns(options.residenceMs);
    const { kind, keyLife } = collector;
    this.#state = { kind, item: undefined, inferenceKey: undefined, why: "it is being made", keyLife };
  }

  get state(): EvidenceState {
    const made = this.#prepared;
    if (made && equal(made.inferenceKey, this.#options.inferenceKey())) {
      this.#keep(made);
      this.#prepared = undefined;
    }
    return this.#state;
  }

  /** Never throws. */
  async prepare(nextKey: Uint8Array): Promise<void> {
    if (this.#hasFor(nextKey) || this.#collecting.hangs) return;
    this.#preparing ??= this.#prepare(nextKey).finally(() => {
      this.#preparing = undefined;
    });
    await this.#preparing;
  }

  /** Where nothing could be made so far, there is nothing to wait for. */
  isPrepared(nextKey: Uint8Array): boolean {
    return this.state.item === undefined || this.#hasFor(nextKey);
  }

  #hasFor(key: Uint8Array): boolean {
    return [this.state.inferenceKey, this.#prepared?.inferenceKey].some((known) => known && equal(known, key));
  }

  async #prepare(key: Uint8Array): Promise<void> {
    try {
      this.#prepared = await this.#collect({ key, ...this.#own() });
    } catch {
      // the next refresh says why
    }
  }

  isDue(ageMs: number): boolean {
    const { clock, told } = this.#options;
    const now = clock.now();
    const madeMs = this.state.item?.issuedAtMs ?? 0;
    const triedAgoMs = performance.now() - this.#triedMs;
    // a clock that was set back must not keep evidence for long
    const isOld = now - madeMs >= ageMs || madeMs > now + ageMs;
    // beside a record with another posture it would be refused
    const isOther = !isSamePosture(told().posture, this.#toldPosture);
    return (isOld || isOther) && triedAgoMs >= (this.state.why === undefined ? 0 : defaults.evidenceRetryMs);
  }

  /** Never throws. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** Resolves when no refreshing is under way any more. */
  async closed(): Promise<void> {
    await Promise.all([this.#refreshing, this.#preparing]);
  }

  /** Made with the nonce if that works in time, else the newest; never throws unless the signal fires. */
  async evidence(nonce: Uint8Array | undefined, signal: Signal, holder: string): Promise<EvidenceItem | undefined> {
    const { freshMs: ms, inferenceKey, told } = this.#options;
    const { item, inferenceKey: key } = this.state;
    try {
      const takesNonce = this.#collector.takesNonce ?? true;
      if (nonce && takesNonce) return (await this.#collect({ nonce, key: inferenceKey(), ms, signal, holder })).item;
      // what is tied to a key that is no longer published, or tells another posture, counts only as long as there is
      // nothing else
      const isOfNow = item && key && equal(key, inferenceKey()) && isSamePosture(told().posture, this.#toldPosture);
      if (!isOfNow && !this.#collecting.hangs) {
        await withDeadline(this.refresh(), { what: this.#what("making evidence"), ms, signal });
      }
    } catch {
      if (signal.aborted) throw abortError(signal);
    }
    return this.state.item;
  }

  /** @throws E_INPUT · as Turns and the hardware do */
  answerResidence(question: Uint8Array, signal: Signal, holder: string): Promise<Uint8Array> {
    const collector = this.#collector;
    const work = async (): Promise<Uint8Array> => {
      if (collector.answerResidence) return await collector.answerResidence(question, { signal: this.#closing });
      throw new MeshError("E_INPUT", "evidence of this kind says by itself where its key is kept, or nothing can");
    };
    const what = this.#what("answering where the key is kept");
    return this.#residing.run(work, { what, ms: this.#options.residenceMs, signal, holder });
  }

  /** @throws E_BUSY there is no evidence yet · as Turns and the hardware do */
  async sign(nonce: Uint8Array, signal: Signal, holder: string): Promise<ChallengeProof> {
    const attestedKey = this.#attestedKey;
    if (!attestedKey) throw new MeshError("E_BUSY", "no evidence has been made so far, so there is no attested key");
    const message = referenceChallengeBytes(toBase64(attestedKey), nonce);
    const signature = await this.#signing.run(() => this.#collector.sign(message, { signal: this.#closing }), {
      what: this.#what("signing a challenge"),
      ms: this.#options.signMs,
      signal,
      holder,
    });
    return { kind: this.#collector.kind, attestedKey, signature };
  }

  async #refresh(): Promise<void> {
    const { log, inferenceKey } = this.#options;
    const { kind } = this.#collector;
    this.#triedMs = performance.now();
    const collect = (): Promise<Made> => this.#collect({ key: inferenceKey(), ...this.#own() });
    try {
      let made = await collect();
      // a new inference key while that was under way
      if (!equal(made.inferenceKey, inferenceKey())) made = await collect();
      this.#keep(made);
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      // the rest of a series says nothing new
      if (!this.#closing.aborted && this.#state.why !== message) {
        log.write("warn", { event: "evidence-not-made", kind, code, what: message });
      }
      this.#state = { ...this.#state, why: message };
    }
  }

  #keep({ item, inferenceKey, posture }: Made): void {
    const { kind, keyLife } = this.#collector;
    this.#state = { kind, item, inferenceKey, why: undefined, keyLife };
    this.#toldPosture = posture;
  }

  /** How evidence is made that nobody asked for: with all the time there is. */
  #own(): Omit<Turn, "what"> {
    return { holder: ourselves, ms: this.#options.collectMs, signal: this.#closing, patient: true };
  }

  /** @throws as Turns and the hardware do */
  #collect({ nonce, key, ...call }: Collecting): Promise<Made> {
    const { clock, endpointId, told } = this.#options;
    const work = async (): Promise<Made> => {
      const says = told();
      const request: EvidenceRequest = { endpointId, inferenceKey: key, nonce, issuedAtMs: clock.now(), ...says };
      const item = await this.#collector.collect(request, { signal: this.#closing });
      this.#attestedKey = attestedKeyOf(item, clock.now()) ?? this.#attestedKey;
      return { item, inferenceKey: key, posture: says.posture };
    };
    return this.#collecting.run(work, { what: this.#what("making evidence"), ...call });
  }

  #what(doing: string): string {
    return `${doing} (${this.#collector.kind})`;
  }
}

interface Collecting extends Omit<Turn, "what"> {
  readonly nonce?: Uint8Array;
  /** 32 bytes, the inference key that it is to be tied to. */
  readonly key: Uint8Array;
}

interface Made {
  readonly item: EvidenceItem;
  /** 32 bytes that it is tied to. */
  readonly inferenceKey: Uint8Array;
  /** That it tells. */
  readonly posture: Uint8Array | undefined;
}

function isSamePosture(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equal(a, b);
}

/** What the verifier of a kind takes for the attested key; undefined when it takes none. */
function attestedKeyOf(item: EvidenceItem, nowMs: number): Uint8Array | undefined {
  const expected = { endpointId: undefined, inferenceKey: undefined, nonce: undefined };
  return verifyEvidence({ item, expected, roots: [], nowMs, ...evidenceWindow }).claims.attestedKey;
}

/**
 * What this node knows of the evidence of hosts: asks them for it, judges it, asks where its keys are kept, challenges
 * those keys, and compares them with what was pinned. Says what was found, host by host; whether that is enough is for
 * policy/decide. Carries no prompt.
 *
 * A host is asked when somebody needs to know, and from then on with every heartbeat. Three challenges missed in a row, or
 * one wrong signature, and its keys count for nothing until one is answered again.
 *
 * @see docs/wire.md §9 · attestation.md §0
 */
import { randomBytes } from "node:crypto";
import { ChallengeAsk } from "../attest/challenge.ts";
import type { BootCounters, EvidenceItem, KeySeen, Verified } from "../attest/evidence.ts";
import {
  type ChallengeStanding,
  fingerprintOf,
  type HostProof,
  type PieceProof,
  tierOfPiece,
} from "../attest/proof.ts";
import { evidenceKinds } from "../attest/registry.ts";
import { tiers } from "../attest/verdict.ts";
import { verifyEvidence } from "../attest/verify.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { unlessAborted, withDeadline } from "../base/deadline.ts";
import { type MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { comparePins, type PinBook, type ShownValue, withFirstContact } from "../policy/pins.ts";
import { type AskPath, askChallenge, askEvidence } from "./attest-ask.ts";

export interface ProofsOptions {
  readonly self: EndpointId;
  readonly path: AskPath;
  readonly clock: Clock;
  readonly log: Log;
  /** DER certificates that may end a chain. */
  readonly roots: readonly Uint8Array[];
  /** How old evidence may be, and how far its time may lie ahead, ms. */
  readonly maxAgeMs: number;
  readonly aheadMs: number;
  /** From one challenge of a host to the next, ms. */
  readonly challengeIntervalMs: number;
  readonly pins: { readonly book: PinBook; update(change: (book: PinBook) => PinBook): void };
  /** Fingerprints of attested keys that the operator accepts beforehand. */
  readonly acceptedKeys: ReadonlySet<string>;
}

/** So many challenges missed in a row make a key untrusted (protocol.md §8.6). */
const allowedMisses = 3;
/** A host that could not be asked, or did not show enough, is asked again after so long at the earliest, ms. */
const againMs = 1_000;
/** A judgement holds so long before it is made anew, ms: evidence ends to the second, and status looks often. */
const judgedForMs = 250;
/** Hosts that nobody has needed for so long are no longer challenged, ms. */
const neededForMs = 3_600_000;
/** Hosts asked at a time for one request, best first. */
const askedAtOnce = 8;
/** Hosts that something is kept of. Those needed longest ago go first. */
const maxHosts = 1_024;

interface KeptItem {
  readonly item: EvidenceItem;
  readonly nonce: Uint8Array | undefined;
}

interface ChallengeState {
  /** Unix ms; undefined: never. */
  readonly answeredMs: number | undefined;
  /** In a row. */
  readonly misses: number;
  readonly failed: boolean;
}

const neverAsked: ChallengeState = { answeredMs: undefined, misses: 0, failed: false };

/** What is kept of one host. */
interface HostState {
  items: readonly KeptItem[];
  /** The inference key that `items` were asked for. */
  itemsKey: Uint8Array | undefined;
  /** Unix ms when they came. */
  itemsMs: number;
  why: string | undefined;
  /** By attested key and inference key: an answer says that one party holds both. */
  readonly challenges: Map<string, ChallengeState>;
  /** By fingerprint of the attested key. */
  readonly seen: Map<string, KeySeen>;
  neededMs: number;
  /** Not asked again before, unix ms. */
  againAtMs: number;
  running: Promise<void> | undefined;
  judged: { readonly atMs: number; readonly book: PinBook; readonly proof: HostProof } | undefined;
  /** Whether it has been told in the log that its keys count for nothing. */
  distrusted: boolean;
}

export class Proofs {
  readonly #options: ProofsOptions;
  readonly #hosts = new Map<EndpointId, HostState>();
  readonly #closing = new AbortController();
  readonly #startMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProofsOptions) {
    this.#options = options;
    this.#startMs = options.clock.now();
  }

  /** Starts the heartbeat. */
  start(): void {
    const beat = (): void => {
      // jitter keeps nodes that started together from asking together
      const ms = this.#options.challengeIntervalMs * (0.9 + Math.random() * 0.2);
      this.#timer = setTimeout(() => {
        this.#heartbeat();
        beat();
      }, ms);
    };
    beat();
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort();
    await Promise.allSettled([...this.#hosts.values()].map(({ running }) => running ?? Promise.resolve()));
  }

  /** What is known now, without asking anybody. */
  of(id: EndpointId): HostProof {
    const { clock, pins } = this.#options;
    const state = this.#hosts.get(id);
    const now = clock.now();
    const { book } = pins;
    const judged = state?.judged;
    if (judged && judged.book === book && Math.abs(now - judged.atMs) < judgedForMs) return judged.proof;
    const proof = this.#judge(id, state, book, now);
    if (state) state.judged = { atMs: now, book, proof };
    return proof;
  }

  /**
   * Sees to it that enough is known of some hosts: asks those of which too little or nothing recent is known. Resolves as
   * soon as `enough` says so, or when all have been asked.
   *
   * @param hosts best first
   * @throws      E_ABORTED the caller has gone
   */
  async prepare(hosts: readonly EndpointId[], enough: () => boolean, signal: AbortSignal): Promise<void> {
    const asked = hosts.slice(0, askedAtOnce).map((id) => this.#ask(id));
    // a round for each host that comes to an end, and one more after all of them
    const waiting = new Set(asked.filter((work) => work !== undefined));
    for (const work of waiting) void work.finally(() => waiting.delete(work));
    while (!enough() && waiting.size > 0) await unlessAborted(Promise.race(waiting), signal);
  }

  /** Asks one host anew, whatever is known, and resolves when that is done. @throws E_ABORTED */
  async ask(id: EndpointId, signal: AbortSignal): Promise<void> {
    const state = this.#stateOf(id);
    state.againAtMs = 0;
    await unlessAborted(this.#ask(id) ?? Promise.resolve(), signal);
  }

  /** Forgets what a host showed. */
  forget(id: EndpointId): void {
    this.#hosts.delete(id);
  }

  // ---- judging

  #judge(id: EndpointId, state: HostState | undefined, book: PinBook, nowMs: number): HostProof {
    const { acceptedKeys } = this.#options;
    const pieces = this.#itemsOf(id, state).map((kept) => {
      const { claims, verdict, counters } = this.#verify(id, state, kept, nowMs);
      const challenge = this.#challengeStanding(id, state, claims.attestedKey, nowMs);
      return { ...kept, claims, verdict, challenge, counters };
    });
    const shown = pieces.flatMap((piece) => shownBy(piece) ?? []);
    const pins = comparePins(book, id, shown, { sessionStartMs: this.#startMs, acceptedKeys });
    const proofs = pieces.map(({ counters: _counters, ...piece }): PieceProof => {
      const value = shownBy(piece);
      const index = shown.findIndex(({ kind, key }) => kind === value?.kind && key === value.key);
      return { ...piece, pin: pins[index] ?? { standing: "none" } };
    });
    return { pieces: proofs.toSorted((a, b) => worthOf(b) - worthOf(a)), why: state?.why };
  }

  /** What it showed on being asked; until then, the blob that it tells everybody (field 38). */
  #itemsOf(id: EndpointId, state: HostState | undefined): readonly KeptItem[] {
    if (state && state.items.length > 0) return state.items;
    const blob = this.#options.path.mesh.peer(id)?.blob;
    if (!blob) return [];
    return [
      { item: { kind: "secure-enclave", version: 1, evidence: blob, collateral: [], issuedAtMs: 0 }, nonce: undefined },
    ];
  }

  #verify(id: EndpointId, state: HostState | undefined, { item, nonce }: KeptItem, nowMs: number): Verified {
    const { roots, maxAgeMs, aheadMs } = this.#options;
    const expected = { endpointId: id, inferenceKey: this.#inferenceKey(id), nonce };
    const input = { item, expected, roots, nowMs, maxAgeMs, aheadMs };
    const first = verifyEvidence(input);
    const key = first.claims.attestedKey;
    const seen = key && state?.seen.get(fingerprintOf(key));
    // what was seen is kept per key, and the key is known only from evidence whose signature holds
    return seen ? verifyEvidence({ ...input, seen }) : first;
  }

  #inferenceKey(id: EndpointId): Uint8Array | undefined {
    const standing = this.#options.path.mesh.keyStanding(id);
    return standing.kind === "record" || standing.kind === "announced" ? standing.key : undefined;
  }

  #challengeStanding(
    id: EndpointId,
    state: HostState | undefined,
    attestedKey: Uint8Array | undefined,
    nowMs: number,
  ): ChallengeStanding {
    const { path, challengeIntervalMs } = this.#options;
    // field 36 without a record: a node that knows nothing of our streams
    if (path.mesh.keyStanding(id).kind === "announced") return "impossible";
    const inferenceKey = this.#inferenceKey(id);
    if (!attestedKey || !inferenceKey) return "unasked";
    const { answeredMs, misses, failed } =
      state?.challenges.get(challengeName(attestedKey, inferenceKey)) ?? neverAsked;
    if (failed) return "failed";
    if (misses >= allowedMisses) return "missed";
    // after a sleep of this machine no miss was counted, and yet nobody has answered for long
    const validMs = (allowedMisses + 1) * (challengeIntervalMs + path.ms);
    return answeredMs !== undefined && nowMs - answeredMs <= validMs ? "answered" : "unasked";
  }

  // ---- asking

  #stateOf(id: EndpointId): HostState {
    const known = this.#hosts.get(id);
    if (known) return known;
    if (this.#hosts.size >= maxHosts) {
      const [oldest] = [...this.#hosts].toSorted(([, a], [, b]) => a.neededMs - b.neededMs);
      if (oldest) this.#hosts.delete(oldest[0]);
    }
    const state: HostState = {
      items: [],
      itemsKey: undefined,
      itemsMs: 0,
      why: undefined,
      challenges: new Map(),
      seen: new Map(),
      neededMs: 0,
      againAtMs: 0,
      running: undefined,
      judged: undefined,
      distrusted: false,
    };
    this.#hosts.set(id, state);
    return state;
  }

  /** Asks what is missing or old; undefined when nothing is, or when it was just tried. Never throws. */
  #ask(id: EndpointId): Promise<void> | undefined {
    const { clock, path } = this.#options;
    if (this.#closing.signal.aborted || path.mesh.keyStanding(id).kind !== "record") return undefined;
    const state = this.#stateOf(id);
    const now = clock.now();
    state.neededMs = now;
    if (state.running) return state.running;
    if (now < state.againAtMs || !this.#isDue(id, state, now)) return undefined;
    return this.#run(id, state, false);
  }

  #run(id: EndpointId, state: HostState, heartbeat: boolean): Promise<void> {
    const work = this.#learn(id, state, heartbeat).finally(() => {
      state.running = undefined;
      state.judged = undefined;
      state.againAtMs = this.#options.clock.now() + againMs;
      this.#tellTrust(id, state);
    });
    state.running = work;
    return work;
  }

  #heartbeat(): void {
    const { clock, path } = this.#options;
    const now = clock.now();
    for (const [id, state] of this.#hosts) {
      if (!path.mesh.peer(id)) this.#hosts.delete(id);
      else if (!state.running && now - state.neededMs < neededForMs && path.mesh.keyStanding(id).kind === "record") {
        void this.#run(id, state, true);
      }
    }
  }

  #isDue(id: EndpointId, state: HostState, nowMs: number): boolean {
    return (
      this.#wantsItems(id, state, nowMs) ||
      this.of(id).pieces.some((piece) => piece.challenge !== "answered" || this.#wantsResidence(piece))
    );
  }

  /** Evidence is asked for anew at half of its life, so that no request has to wait for it. */
  #wantsItems(id: EndpointId, state: HostState, nowMs: number): boolean {
    const key = this.#inferenceKey(id);
    if (!key || !state.itemsKey || !equal(state.itemsKey, key)) return true;
    if (nowMs - state.itemsMs > this.#options.maxAgeMs / 2) return true;
    return !this.of(id).pieces.some(({ verdict }) => verdict.fresh.outcome === "pass");
  }

  #wantsResidence({ verdict }: PieceProof): boolean {
    return verdict["key-residence"].reason === "not-activated";
  }

  /** One round: evidence when it is due, then the questions that it leaves open. Never throws. */
  async #learn(id: EndpointId, state: HostState, heartbeat: boolean): Promise<void> {
    const { clock } = this.#options;
    try {
      if (this.#wantsItems(id, state, clock.now())) await this.#fetchItems(id, state);
      for (const piece of this.of(id).pieces) {
        if (this.#wantsResidence(piece)) await this.#askResidence(id, state, piece.item);
      }
      const open = this.of(id).pieces.some(({ challenge }) => challenge !== "answered");
      if (heartbeat || open) await this.#challenge(id, state);
      this.#pinFirstContact(id, state);
    } catch (thrown) {
      if (!this.#closing.signal.aborted) state.why = toMeshError(thrown).message;
    }
  }

  async #fetchItems(id: EndpointId, state: HostState): Promise<void> {
    const { clock } = this.#options;
    const inferenceKey = this.#inferenceKey(id);
    if (!inferenceKey) return;
    const nonce = new Uint8Array(randomBytes(32));
    try {
      const { items } = await this.#within(askEvidence(id, { nonce }, this.#options.path, this.#closing.signal));
      state.items = items.map((item) => ({ item, nonce }));
      state.itemsKey = inferenceKey;
      state.itemsMs = clock.now();
      state.why = undefined;
    } catch (thrown) {
      // what it showed before counts for as long as it is fresh
      state.why = toMeshError(thrown).message;
    }
    state.judged = undefined;
    this.#keepCounters(id, state);
  }

  /** The newest counters of each key; evidence behind them is a copy of an older one. */
  #keepCounters(id: EndpointId, state: HostState): void {
    const nowMs = this.#options.clock.now();
    for (const kept of state.items) {
      const { claims, verdict, counters } = this.#verify(id, state, kept, nowMs);
      if (!claims.attestedKey || !counters || verdict.binding.outcome !== "pass") continue;
      if (verdict.fresh.reason !== "counter-went-back") this.#see(state, claims.attestedKey, { counters });
    }
  }

  #see(
    state: HostState,
    attestedKey: Uint8Array,
    seen: { readonly counters?: BootCounters; readonly residenceProof?: Uint8Array },
  ): void {
    const name = fingerprintOf(attestedKey);
    state.seen.set(name, { ...state.seen.get(name), ...seen });
    state.judged = undefined;
  }

  async #askResidence(id: EndpointId, state: HostState, item: EvidenceItem): Promise<void> {
    const kind = evidenceKinds.find((known) => known.kind === item.kind);
    const asked = kind?.residence?.(item, new Uint8Array(randomBytes(32)));
    const key = this.of(id).pieces.find((piece) => piece.item === item)?.claims.attestedKey;
    if (!asked || !key) return;
    const question = { kind: item.kind, question: asked.question };
    const { path } = this.#options;
    const { residenceAnswer } = await this.#within(askEvidence(id, { question }, path, this.#closing.signal));
    if (residenceAnswer && equal(residenceAnswer, asked.answer)) {
      this.#see(state, key, { residenceProof: asked.proof });
    }
  }

  async #challenge(id: EndpointId, state: HostState): Promise<void> {
    const { self, clock, path } = this.#options;
    const inferenceKey = this.#inferenceKey(id);
    const keys = this.of(id).pieces.flatMap(({ claims }) => claims.attestedKey ?? []);
    if (!inferenceKey || keys.length === 0) return;
    const ask = new ChallengeAsk({ verifier: self, host: id, inferenceKey });
    try {
      const reply = await this.#within(askChallenge(id, ask.sealed, path, this.#closing.signal));
      const { held, wrong } = ask.judge(reply);
      const among = (list: readonly Uint8Array[], key: Uint8Array): boolean => list.some((other) => equal(other, key));
      for (const key of keys) {
        const outcome = among(wrong, key) ? "failed" : among(held, key) ? "answered" : "missed";
        this.#count(state, key, inferenceKey, outcome, clock.now());
      }
    } catch (thrown) {
      if (this.#closing.signal.aborted) return;
      for (const key of keys) this.#count(state, key, inferenceKey, "missed", clock.now());
      await this.#refreshKey(id, toMeshError(thrown));
    } finally {
      ask.end();
      state.judged = undefined;
    }
  }

  #count(
    state: HostState,
    attestedKey: Uint8Array,
    inferenceKey: Uint8Array,
    outcome: "answered" | "missed" | "failed",
    nowMs: number,
  ): void {
    const name = challengeName(attestedKey, inferenceKey);
    const before = state.challenges.get(name) ?? neverAsked;
    // of keys that are no longer in use nothing is kept: one host has a few at most
    for (const other of state.challenges.keys()) if (state.challenges.size > 8) state.challenges.delete(other);
    state.challenges.set(
      name,
      outcome === "answered"
        ? { answeredMs: nowMs, misses: 0, failed: false }
        : { ...before, misses: before.misses + 1, failed: before.failed || outcome === "failed" },
    );
  }

  /** A host that does not open what is sealed to its key may have another one by now, of which no gossip has told yet. */
  async #refreshKey(id: EndpointId, failure: MeshError): Promise<void> {
    const { path } = this.#options;
    if (failure.code !== "E_OPEN" && failure.code !== "E_WIRE") return;
    const options = { dialMs: path.dialMs, signal: this.#closing.signal };
    await this.#within(path.mesh.refreshRecord(id, id, options)).catch(() => undefined);
  }

  #pinFirstContact(id: EndpointId, state: HostState): void {
    const { clock, log, pins } = this.#options;
    for (const piece of this.of(id).pieces) {
      const shown = shownBy(piece);
      if (!shown || piece.pin.standing !== "none" || tierOfPiece(piece) === "none") continue;
      try {
        pins.update((book) => withFirstContact(book, id, shown, clock.now()));
        log.write("info", { event: "host-pinned", peer: id, kind: shown.kind, key: shown.key });
      } catch (thrown) {
        const { code, message } = toMeshError(thrown);
        log.write("error", { event: "state-not-kept", code, what: message });
      }
    }
    state.judged = undefined;
  }

  /** Says once that a host's keys count for nothing, and once that they count again. */
  #tellTrust(id: EndpointId, state: HostState): void {
    const pieces = this.of(id).pieces;
    const bad = pieces.find(({ challenge }) => challenge === "missed" || challenge === "failed");
    const distrusted = bad !== undefined || pieces.some(({ pin }) => pin.standing === "disagrees");
    if (distrusted === state.distrusted) return;
    state.distrusted = distrusted;
    const { log } = this.#options;
    if (!distrusted) return log.write("info", { event: "host-trusted", peer: id });
    const reason = bad ? (bad.challenge === "failed" ? "challenge-failed" : "challenge-missed") : "pin-changed";
    log.write("warn", { event: "host-distrusted", peer: id, reason });
  }

  #within<T>(work: Promise<T>): Promise<T> {
    return withDeadline(work, { what: "the host's evidence", ms: this.#options.path.ms, signal: this.#closing.signal });
  }
}

/** What a pin would hold; undefined without a key that signed. */
function shownBy({ item, claims }: Pick<PieceProof, "item" | "claims">): ShownValue | undefined {
  if (!claims.attestedKey) return undefined;
  return { kind: item.kind, key: fingerprintOf(claims.attestedKey), measurement: claims.measurement?.value };
}

function challengeName(attestedKey: Uint8Array, inferenceKey: Uint8Array): string {
  return `${fingerprintOf(attestedKey)} ${fingerprintOf(inferenceKey)}`;
}

function worthOf(piece: PieceProof): number {
  return tiers.indexOf(tierOfPiece(piece));
}

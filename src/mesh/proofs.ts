/**
 * The proof of hosts: asks them for evidence, asks where its keys are kept, challenges those keys, pins them on first
 * contact. What is known of each is kept and judged in known-host.ts; whether it is enough is for policy/decide. Carries
 * no prompt.
 *
 * A host is asked when somebody needs to know, and from then on with every heartbeat. Three challenges missed in a row, or
 * one wrong signature, and its keys count for nothing until one is answered again.
 *
 * @see docs/wire.md §9 · attestation.md §0
 */
import { randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { ChallengeAsk } from "../attest/challenge.ts";
import { type HostProof, type PieceProof, tierOfPiece } from "../attest/proof.ts";
import { evidenceKinds } from "../attest/registry.ts";
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { unlessAborted, unlessLate, withDeadline } from "../base/deadline.ts";
import { type MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Signal } from "../base/signal.ts";
import { type PinBook, pinName, withFirstContact } from "../policy/pins.ts";
import { type AskPath, askChallenge, askEvidence } from "./attest-ask.ts";
import { relaysTo } from "./choose.ts";
import { type HostNow, type JudgeSettings, KnownHost, shownBy } from "./known-host.ts";

export interface ProofsOptions extends Omit<JudgeSettings, "challengeValidMs"> {
  readonly self: EndpointId;
  readonly path: AskPath;
  readonly clock: Clock;
  readonly log: Log;
  /** From one challenge of a host to the next, ms. */
  readonly challengeIntervalMs: number;
  readonly pins: { readonly book: PinBook; update(change: (book: PinBook) => PinBook): void };
  /** Fingerprints of attested keys that the operator accepts beforehand. */
  readonly acceptedKeys: ReadonlySet<string>;
  /** Digests of builds that are accepted, the same set for as long as it is the same. @default no list */
  readonly measurements?: ((nowMs: number) => ReadonlySet<string>) | undefined;
  /** First contacts that one session pins: ids are free to make up, and each pin is a write to disk. @default 1_000 */
  readonly maxFirstContacts?: number;
}

/** A host that could not be asked, or did not show enough, is asked again after so long at the earliest, ms. */
const againMs = 1_000;
/** A judgement holds so long before it is made anew, ms: evidence ends to the second, and each look costs signatures. */
const judgedForMs = 1_000;
/** Hosts that nobody has needed for so long are no longer challenged, ms. */
const neededForMs = 3_600_000;
/** Hosts asked at a time for one request. */
const askedAtOnce = 8;
/** Hosts that something is kept of. Those needed longest ago go first. */
const maxHosts = 1_024;

/** One host, and when it was or may be asked. */
interface Asked {
  readonly known: KnownHost;
  /** Unix ms when somebody needed it last. */
  neededMs: number;
  /** performance.now() before which it is not asked again, for the inference key that it was asked for. */
  againAtMs: number;
  askedFor: Uint8Array | undefined;
  running: Promise<void> | undefined;
  /** Whether it has been told in the log that its keys count for nothing. */
  distrusted: boolean;
}

/** A judgement, and all that it was made from beside what is kept of the host. */
interface Judged extends HostNow {
  readonly book: PinBook;
  readonly proof: HostProof;
}

export class Proofs {
  readonly #options: ProofsOptions;
  readonly #settings: JudgeSettings;
  readonly #hosts = new Map<EndpointId, Asked>();
  /** Of hosts that nobody asked, too: the blobs of a mesh are many signatures. */
  readonly #judged = new Map<EndpointId, Judged>();
  readonly #closing = new AbortController();
  /** Pins that this session has made: they confirm nothing yet. */
  readonly #ofThisSession = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProofsOptions) {
    this.#options = options;
    const { roots, maxAgeMs, aheadMs, challengeIntervalMs, path } = options;
    // long enough for the third miss to be counted
    this.#settings = { roots, maxAgeMs, aheadMs, challengeValidMs: 4 * (challengeIntervalMs + path.ms) };
    // every question under way listens to it
    setMaxListeners(0, this.#closing.signal);
  }

  /** Starts the heartbeat. */
  start(): void {
    // jitter keeps nodes that started together from asking together
    const ms = this.#options.challengeIntervalMs * (0.9 + Math.random() * 0.2);
    this.#timer = setTimeout(() => {
      this.#heartbeat();
      this.start();
    }, ms);
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#closing.abort();
    await Promise.allSettled([...this.#hosts.values()].map(({ running }) => running ?? Promise.resolve()));
  }

  /** What is known now, without asking anybody. */
  of(id: EndpointId): HostProof {
    const { pins, acceptedKeys } = this.#options;
    const host = this.#now(id);
    const { book } = pins;
    const judged = this.#judged.get(id);
    if (judged && judged.book === book && isSame(judged, host)) return judged.proof;
    const known = this.#hosts.get(id)?.known ?? new KnownHost(this.#settings);
    const proof = known.judge(host, book, { ofThisSession: this.#ofThisSession, acceptedKeys });
    if (this.#judged.size >= maxHosts) this.#judged.clear();
    this.#judged.set(id, { ...host, book, proof });
    return proof;
  }

  /**
   * Sees to it that enough is known of some hosts: asks those of which too little or nothing recent is known. Resolves as
   * soon as `enough` says so, when all have been asked, or when no more time is left.
   *
   * @throws E_ABORTED the caller has gone
   */
  async prepare(hosts: readonly EndpointId[], enough: () => boolean, signal: Signal): Promise<void> {
    // those asked longest ago first, or never: hosts that show nothing, or let us wait, must not stand before one that does
    const tried = (id: EndpointId): number => this.#hosts.get(id)?.againAtMs ?? 0;
    const left = hosts.toSorted((a, b) => tried(a) - tried(b));
    const waiting = new Set<Promise<void>>();
    const untilMs = performance.now() + this.#options.path.ms;
    const askNext = (): void => {
      while (waiting.size < askedAtOnce && left.length > 0) {
        const id = left.shift();
        const work = id && this.#ask(id);
        if (!work) continue;
        waiting.add(work);
        void work.then(() => waiting.delete(work));
      }
    };
    for (askNext(); !enough() && waiting.size > 0; askNext()) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0 || (await unlessLate(Promise.race(waiting), leftMs, signal)) === "late") return;
    }
  }

  /** Asks one host anew, whatever is known, and resolves when that is done. @throws E_ABORTED */
  async ask(id: EndpointId, signal: Signal): Promise<void> {
    if (!this.#now(id).hasRecord) return;
    const asked = this.#askedOf(id);
    await unlessAborted(asked.running ?? this.#run(id, asked, "everything"), signal);
  }

  /** Forgets what a host showed. */
  forget(id: EndpointId): void {
    this.#hosts.delete(id);
    this.#judged.delete(id);
  }

  #now(id: EndpointId): HostNow {
    const { path, clock, measurements } = this.#options;
    const standing = path.mesh.keyStanding(id);
    const inferenceKey = standing.kind === "record" || standing.kind === "announced" ? standing.key : undefined;
    const hasRecord = standing.kind === "record";
    const peer = path.mesh.peer(id);
    return {
      id,
      inferenceKey,
      hasRecord,
      blob: peer?.blob,
      posture: hasRecord ? peer?.record?.fields.posture : undefined,
      measurements: measurements?.(clock.now()),
      nowMs: clock.now(),
    };
  }

  // ---- when to ask

  #askedOf(id: EndpointId): Asked {
    const before = this.#hosts.get(id);
    if (before) return before;
    if (this.#hosts.size >= maxHosts) {
      const [oldest] = [...this.#hosts].toSorted(([, a], [, b]) => a.neededMs - b.neededMs);
      if (oldest) this.#hosts.delete(oldest[0]);
    }
    const known = new KnownHost(this.#settings);
    const asked: Asked = {
      known,
      neededMs: 0,
      againAtMs: 0,
      askedFor: undefined,
      running: undefined,
      distrusted: false,
    };
    this.#hosts.set(id, asked);
    return asked;
  }

  /** Asks what is missing or old; undefined when nothing is, or when it was just tried. Never throws. */
  #ask(id: EndpointId): Promise<void> | undefined {
    const host = this.#now(id);
    if (this.#closing.signal.aborted || !host.hasRecord) return undefined;
    const asked = this.#askedOf(id);
    asked.neededMs = host.nowMs;
    if (asked.running) return asked.running;
    const isSoon = asked.askedFor === host.inferenceKey && performance.now() < asked.againAtMs;
    if (isSoon || !this.#isDue(asked, host)) return undefined;
    return this.#run(id, asked, "what is due");
  }

  #isDue({ known }: Asked, host: HostNow): boolean {
    const proof = this.of(host.id);
    return (
      known.wantsItems(host, proof) ||
      proof.pieces.some((piece) => piece.challenge !== "answered" || wantsResidence(piece))
    );
  }

  #heartbeat(): void {
    const now = this.#options.clock.now();
    for (const [id, asked] of this.#hosts) {
      if (!this.#options.path.mesh.peer(id)) this.forget(id);
      else if (!asked.running && now - asked.neededMs < neededForMs && this.#now(id).hasRecord) {
        void this.#run(id, asked, "a challenge");
      }
    }
  }

  /** Never rejects. */
  #run(id: EndpointId, asked: Asked, what: Round): Promise<void> {
    asked.askedFor = this.#now(id).inferenceKey;
    asked.againAtMs = performance.now() + againMs;
    const work = this.#learn(id, asked, what).then(() => {
      asked.running = undefined;
      asked.againAtMs = performance.now() + againMs;
    });
    asked.running = work;
    return work;
  }

  // ---- asking

  /** One round: evidence when it is due, then the questions that it leaves open. Never throws. */
  async #learn(id: EndpointId, { known }: Asked, what: Round): Promise<void> {
    try {
      if (what === "everything" || known.wantsItems(this.#now(id), this.of(id))) await this.#askItems(id, known);
      for (const piece of this.of(id).pieces) if (wantsResidence(piece)) await this.#askResidence(id, known, piece);
      const isOpen = this.of(id).pieces.some(({ challenge }) => challenge !== "answered");
      if (what !== "what is due" || isOpen) await this.#challenge(id, known);
      this.#pinFirstContact(id);
      this.#tellTrust(id);
    } catch (thrown) {
      const { code, message } = toMeshError(thrown); // of what is kept on disk; the others are caught where they are
      this.#options.log.write("error", { event: "state-not-kept", code, what: message });
    }
  }

  async #askItems(id: EndpointId, known: KnownHost): Promise<void> {
    const nonce = new Uint8Array(randomBytes(32));
    const { path } = this.#options;
    try {
      const { items } = await this.#within(askEvidence(id, { nonce }, path, this.#closing.signal));
      known.showed(items, nonce, this.#now(id));
    } catch (thrown) {
      if (!this.#closing.signal.aborted) known.showedNothing(toMeshError(thrown).message);
    }
    this.#judged.delete(id);
  }

  async #askResidence(id: EndpointId, known: KnownHost, { item, claims }: PieceProof): Promise<void> {
    const kind = evidenceKinds.find((other) => other.kind === item.kind);
    const asked = kind?.residence?.(item, new Uint8Array(randomBytes(32)));
    if (!asked || !claims.attestedKey) return;
    const question = { kind: item.kind, question: asked.question };
    const { path } = this.#options;
    const asking = this.#within(askEvidence(id, { question }, path, this.#closing.signal));
    // what a chip does not show stays unknown, and is asked again in the next round
    const { residenceAnswer } = await asking.catch(() => ({ residenceAnswer: undefined }));
    if (!residenceAnswer || !equal(residenceAnswer, asked.answer)) return;
    known.hasResidence(claims.attestedKey, asked.proof);
    this.#judged.delete(id);
  }

  async #challenge(id: EndpointId, known: KnownHost): Promise<void> {
    const { self, clock, path } = this.#options;
    const { inferenceKey } = this.#now(id);
    const keys = this.of(id).pieces.flatMap(({ claims }) => claims.attestedKey ?? []);
    if (!inferenceKey || keys.length === 0) return;
    const ask = new ChallengeAsk({ verifier: self, host: id, inferenceKey });
    try {
      const opens = (reply: Uint8Array): boolean => isAnswer(ask, reply);
      const reply = await this.#within(askChallenge(id, ask.sealed, path, this.#closing.signal, opens));
      const { held, wrong } = ask.judge(reply);
      const among = (list: readonly Uint8Array[], key: Uint8Array): boolean => list.some((other) => equal(other, key));
      for (const key of keys) {
        const outcome = among(wrong, key) ? "failed" : among(held, key) ? "answered" : "missed";
        known.challenged(key, inferenceKey, outcome, clock.now());
      }
      if (held.length > 0 && !keys.some((key) => among(held, key))) known.distrustItems();
    } catch (thrown) {
      if (this.#closing.signal.aborted) return;
      const failure = toMeshError(thrown);
      // its key was not asked; an answer of long ago counts no more in any case
      if (failure.code === "E_BUSY") return;
      for (const key of keys) known.challenged(key, inferenceKey, "missed", clock.now());
      await this.#refreshKey(id, failure);
    } finally {
      ask.end();
      this.#judged.delete(id);
    }
  }

  /** A host that does not open what is sealed to its key may have another one by now, of which no gossip has told yet. */
  async #refreshKey(id: EndpointId, failure: MeshError): Promise<void> {
    const { path } = this.#options;
    if (failure.code !== "E_OPEN" && failure.code !== "E_WIRE") return;
    const options = { dialMs: path.dialMs, signal: this.#closing.signal };
    // a client that asks through relays alone shows itself to no host
    const relays = path.route === "direct" ? [] : relaysTo(path.mesh, id, { roles: path.roles }).slice(0, 1);
    for (const from of path.route === "relay" ? relays : [id, ...relays]) {
      try {
        return await this.#within(path.mesh.refreshRecord(id, from, options));
      } catch {
        continue; // a host that cannot be reached may be known by its relay
      }
    }
  }

  #within<T>(work: Promise<T>): Promise<T> {
    return withDeadline(work, { what: "the host's evidence", ms: this.#options.path.ms, signal: this.#closing.signal });
  }

  // ---- what follows

  /** @throws E_STATE */
  #pinFirstContact(id: EndpointId): void {
    const { clock, log, pins, maxFirstContacts = 1_000 } = this.#options;
    for (const piece of this.of(id).pieces) {
      const shown = shownBy(piece);
      if (!shown || piece.pin.standing !== "none" || tierOfPiece(piece) === "none") continue;
      if (this.#ofThisSession.size >= maxFirstContacts) return;
      const before = pins.book;
      pins.update((book) => withFirstContact(book, id, shown, clock.now()));
      this.#judged.delete(id);
      if (pins.book === before) continue;
      this.#ofThisSession.add(pinName(id, shown.kind));
      log.write("info", { event: "host-pinned", peer: id, kind: shown.kind, key: shown.key });
    }
  }

  /** Says once that a host's keys count for nothing, and once that they count again. */
  #tellTrust(id: EndpointId): void {
    const asked = this.#hosts.get(id);
    const { pieces } = this.of(id);
    const bad = pieces.find(({ challenge }) => challenge === "missed" || challenge === "failed");
    const isChanged = pieces.some(({ pin, challenge }) => pin.standing === "disagrees" && challenge === "answered");
    const distrusted = bad !== undefined || isChanged;
    if (!asked || distrusted === asked.distrusted) return;
    // another inference key, or no evidence any more: then no key counts for nothing, but none counts again either
    if (!distrusted && !pieces.some(({ challenge }) => challenge === "answered")) return;
    asked.distrusted = distrusted;
    const { log } = this.#options;
    if (!distrusted) return log.write("info", { event: "host-trusted", peer: id });
    const reason = bad ? (bad.challenge === "failed" ? "challenge-failed" : "challenge-missed") : "pin-changed";
    log.write("warn", { event: "host-distrusted", peer: id, reason });
  }
}

/** How much is asked in one round. */
type Round = "what is due" | "a challenge" | "everything";

function wantsResidence({ verdict }: PieceProof): boolean {
  return verdict["key-residence"].reason === "not-activated";
}

/** Whether a reply that came through a relay is the host's. */
function isAnswer(ask: ChallengeAsk, reply: Uint8Array): boolean {
  try {
    ask.judge(reply);
    return true;
  } catch {
    return false;
  }
}

/** The mesh gives the same bytes for as long as a key or a blob is the same. */
function isSame(judged: HostNow, host: HostNow): boolean {
  return (
    judged.inferenceKey === host.inferenceKey &&
    judged.hasRecord === host.hasRecord &&
    judged.blob === host.blob &&
    judged.measurements === host.measurements &&
    Math.abs(host.nowMs - judged.nowMs) < judgedForMs
  );
}

/**
 * Hosts for tests of mesh/proofs.ts and mesh/known-host.ts: what they show and answer is a function that a test puts in
 * their place, the streams to them are arrays, and time passes when a test says so. The mesh is the few methods that are
 * asked of it; real ones are met in attest-streams.test.ts and the integration tests.
 */
import { randomBytes } from "node:crypto";
import { onTestFinished, vi } from "vitest";
import { openChallenge } from "../../src/attest/challenge.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import { endpointId, type EndpointId } from "../../src/base/brand.ts";
import { empty, toBase64 } from "../../src/base/bytes.ts";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { MeshError } from "../../src/base/errors.ts";
import type { LogEvent } from "../../src/base/log.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { InferenceKeys } from "../../src/crypto/inference-keys.ts";
import { relayCapability } from "../../src/mesh/choose.ts";
import type { Mesh } from "../../src/mesh/mesh.ts";
import { Proofs, type ProofsOptions } from "../../src/mesh/proofs.ts";
import { emptyPinBook, type PinBook } from "../../src/policy/pins.ts";
import {
  attestCodes,
  type ChallengeReply,
  type ChallengeRequest,
  decodeChallengeRequest,
  decodeEvidenceRequest,
  encodeChallengeReply,
  encodeEvidenceReply,
  type EvidenceReply,
  type EvidenceRequest,
} from "../../src/wire/attestation.ts";
import { referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import { caExtensions, madeCertificate, madeExtensions, madeKey } from "./certificates.ts";
import { blobItem, signDer, signedBlob, signP1363, type TestKey, testKey } from "./evidence.ts";
import * as forger from "./tpm-forger.ts";

export const freshKey = (): TestKey => testKey(randomBytes(32).toString("hex"));
export const freshId = (): EndpointId => endpointId(randomBytes(32).toString("hex"));

// ---- evidence, signed by keys of this program

/** Whom a piece of evidence is for, when it was made and what it says. */
export interface PieceParts {
  readonly key: TestKey;
  readonly id: EndpointId;
  readonly inferenceKey: Uint8Array;
  readonly atMs: number;
  /** Hex. @default none */
  readonly build?: string;
}

export function enclaveItem({ key, id, inferenceKey, atMs, build = "" }: PieceParts): EvidenceItem {
  const timestamp = new Date(atMs).toISOString().replace("Z", "000000+00:00");
  const named = { endpointId: id, inferenceKey: toBase64(inferenceKey), binaryHash: build, timestamp };
  return blobItem(signedBlob(named, key));
}

export function softwareItem({ key, id, inferenceKey, atMs, build }: PieceParts, nonce?: Uint8Array): EvidenceItem {
  const sign = (message: Uint8Array): Uint8Array => signP1363(key, message);
  const bound = { endpointId: id, inferenceKey, attestedKey: key.point, nonce };
  const evidence = signSoftwareEvidence({ ...bound, issuedAtMs: atMs, measurement: build, sign });
  return { kind: "software", version: 1, evidence, collateral: [], issuedAtMs: atMs };
}

export interface TpmParts extends PieceParts {
  readonly nonce?: Uint8Array | undefined;
  /** ms that the chip has run. @default 1_000 */
  readonly chipMs?: number;
  /** Its certificate and key. @default none */
  readonly chip?: Chip;
}

export function tpmItem({ key, id, inferenceKey, atMs, build, nonce, chipMs = 1_000, chip }: TpmParts): EvidenceItem {
  const pair = { privateKey: key.privateKey, x: key.point.slice(1, 33), y: key.point.slice(33) };
  const area = forger.attestationArea(pair);
  const { pcrValues } = forger;
  const statement = { issuedAtMs: atMs, ...(build === undefined ? {} : { measurement: build }) };
  const bound = { endpointId: id, inferenceKey, nonce };
  const extraData = forger.bindingOf(pair, bound, forger.statementOf(atMs, statement));
  const quote = forger.forgedQuote({ area, extraData, pcrValues, clock: BigInt(chipMs) });
  const signature = forger.forgedSignature(pair, quote);
  const vouched = chip ? { collateral: [chip.certificate], endorsementArea: chip.area } : {};
  return forger.forgedItem({ area, quote, signature, pcrValues, ...statement, ...vouched });
}

/** A chip that a maker vouches for. */
export interface Chip {
  /** DER, the maker's. */
  readonly root: Uint8Array;
  readonly certificate: Uint8Array;
  /** Of its endorsement key. */
  readonly area: Uint8Array;
}

export function madeChip(): Chip {
  const maker = madeKey("P-256");
  const endorsement = madeKey("P-256");
  const { x = "", y = "" } = endorsement.publicKey.export({ format: "jwk" });
  const by = { issuer: "maker", signer: maker.privateKey };
  const eku = [madeExtensions.extendedKeyUsage("2.23.133.8.1")];
  return {
    root: madeCertificate({ subject: "maker", spki: maker.spki, extensions: caExtensions(), ...by }),
    certificate: madeCertificate({ subject: "chip", spki: endorsement.spki, extensions: eku, ...by }),
    area: forger.endorsementArea({ x: Buffer.from(x, "base64url"), y: Buffer.from(y, "base64url") }),
  };
}

// ---- hosts

const realNow = performance.now.bind(performance);

/** Unix time that stands still, and performance.now() that goes on; {@link TestClock.pass} moves both. */
export class TestClock implements Clock {
  at: number = Date.now();
  #passedMs = 0;

  constructor() {
    const spy = vi.spyOn(performance, "now").mockImplementation(() => realNow() + this.#passedMs);
    onTestFinished(() => spy.mockRestore());
  }

  /** Lets time pass, not for timers. @default 1_001 so much later a host may be asked again */
  pass(ms = 1_001): void {
    this.at += ms;
    this.#passedMs += ms;
  }

  now(): number {
    return this.at;
  }
}

export const shows = (...items: readonly EvidenceItem[]): EvidenceReply => ({
  code: attestCodes.ok,
  items,
  residenceAnswer: undefined,
});

/** Its hardware does not answer. */
export const unable = { code: attestCodes.unable, items: [], residenceAnswer: undefined, sealed: empty } as const;
export const busy: ChallengeReply = { code: attestCodes.busy, sealed: empty };
/** For a host that lets everybody wait. */
export const never = new Promise<never>(() => undefined);

/** Answers as an honest host with one attested key, until a test replaces what it answers with. */
export class FakeHost {
  readonly id: EndpointId = freshId();
  readonly attested: TestKey = freshKey();
  /** Reference blob of its gossip. */
  blob: Uint8Array | undefined;
  /** It signs none: a reference node. */
  hasRecord = true;
  /** How often it was asked, itself or through a relay. */
  readonly asked = { evidence: 0, residence: 0, challenge: 0 };
  evidence: (request: EvidenceRequest) => EvidenceReply | Promise<EvidenceReply>;
  challenge: (request: ChallengeRequest) => ChallengeReply | Promise<ChallengeReply>;
  #keys = new InferenceKeys({ clock: systemClock });

  constructor(clock: Clock) {
    this.evidence = () => shows(enclaveItem({ ...this.parts, atMs: clock.now() }));
    this.challenge = ({ sealed }) => this.answer(sealed, this.attested);
  }

  /** What its record names. */
  get inferenceKey(): Uint8Array {
    return this.#keys.current.publicKey;
  }

  /** For the makers of evidence. */
  get parts(): Omit<PieceParts, "atMs"> {
    return { key: this.attested, id: this.id, inferenceKey: this.inferenceKey };
  }

  /** From now on it has another inference key, and its record says so. */
  rotate(): void {
    this.#keys = new InferenceKeys({ clock: systemClock });
  }

  /** Signs a challenge with these keys. @throws E_OPEN it is for another host or inference key */
  answer(sealed: Uint8Array, ...keys: readonly TestKey[]): ChallengeReply {
    return this.#answer(sealed, keys, (key, nonce) => referenceChallengeBytes(toBase64(key.point), nonce));
  }

  /** Names its own key, with a signature over something else. */
  answerWrongly(sealed: Uint8Array): ChallengeReply {
    return this.#answer(sealed, [this.attested], () => Uint8Array.of(1));
  }

  #answer(
    sealed: Uint8Array,
    keys: readonly TestKey[],
    toSign: (key: TestKey, nonce: Uint8Array) => Uint8Array,
  ): ChallengeReply {
    const opened = openChallenge(sealed, this.#keys.opening, this.id);
    const proofs = keys.map((key) => {
      return { kind: "any", attestedKey: key.point, signature: signDer(key, toSign(key, opened.nonce)) };
    });
    return { code: attestCodes.ok, sealed: opened.seal(proofs) };
  }

  /** The answer to a frame of stream 0x04 or 0x05. */
  async reply(type: number | undefined, frame: Uint8Array): Promise<Uint8Array> {
    if (type === sealStreams.challenge) {
      this.asked.challenge += 1;
      return encodeChallengeReply(await this.challenge(decodeChallengeRequest(frame)));
    }
    const request = decodeEvidenceRequest(frame);
    this.asked[request.question ? "residence" : "evidence"] += 1;
    return encodeEvidenceReply(await this.evidence(request));
  }

  /** Makes it a relay that passes questions on, to this host only. */
  carriesFor(host: FakeHost): this {
    this.evidence = (request) => host.evidence(request);
    this.challenge = (request) => host.challenge(request);
    return this;
  }
}

/** One question and its reply. */
function streamTo(host: FakeHost): ByteStream {
  let reply: Promise<Uint8Array> | undefined;
  return {
    aborted: new AbortController().signal,
    write: ([type, ...frame]) => {
      // behind the length of the frame
      reply = host.reply(type, Uint8Array.from(frame.slice(4))).then(encodeFrame);
      reply.catch(() => undefined);
      return Promise.resolve();
    },
    finish: () => Promise.resolve(),
    abort: () => undefined,
    read: () => {
      const next = reply;
      reply = undefined;
      return Promise.resolve(next);
    },
  };
}

/** Pins in memory. */
export class FakePins {
  book: PinBook = emptyPinBook;

  update(change: (book: PinBook) => PinBook): void {
    this.book = change(this.book);
  }
}

// ---- the node that asks

export interface WorldOptions extends Partial<Omit<ProofsOptions, "path">> {
  readonly clock: TestClock;
  /** Members that relay, nearest first. @default none */
  readonly relays?: readonly FakeHost[];
  readonly route?: "auto" | "relay";
  /** One question, ms. @default 1_000 */
  readonly askMs?: number;
}

export interface FakeWorld {
  readonly proofs: Proofs;
  /** Members to whom a connection was made, for whatever it was. */
  readonly dialed: readonly EndpointId[];
  readonly events: readonly LogEvent[];
  /** Hosts that the mesh still knows; a test takes out and puts in. */
  readonly members: Map<EndpointId, FakeHost>;
}

/** Proofs of these hosts, closed when the test ends. */
export function worldOf(hosts: readonly FakeHost[], options: WorldOptions): FakeWorld {
  const { clock, relays = [], route = "auto", askMs = 1_000, ...change } = options;
  const members = new Map([...hosts, ...relays].map((host) => [host.id, host]));
  const dialed: EndpointId[] = [];
  const events: LogEvent[] = [];
  const recordOf = (host: FakeHost): unknown =>
    host.hasRecord ? { fields: { capabilities: relays.includes(host) ? [relayCapability] : [] } } : undefined;
  const peerOf = (host: FakeHost): unknown => {
    return { id: host.id, met: true, record: recordOf(host), blob: host.blob, mentionedBy: new Set() };
  };
  const mesh = {
    get peers() {
      return [...members.values()].map(peerOf);
    },
    peer(id: EndpointId) {
      const host = members.get(id);
      return host && peerOf(host);
    },
    keyStanding(id: EndpointId) {
      const host = members.get(id);
      if (!host) return { kind: "unknown" };
      const { inferenceKey: key, hasRecord } = host;
      return hasRecord ? { kind: "record", key, notAfterMs: clock.now() + 1e9 } : { kind: "announced", key };
    },
    openSeal(id: EndpointId) {
      dialed.push(id);
      const host = members.get(id);
      return host ? Promise.resolve(streamTo(host)) : Promise.reject(new MeshError("E_UNREACHABLE", "it is gone"));
    },
    refreshRecord(_owner: EndpointId, from: EndpointId) {
      dialed.push(from);
      return Promise.resolve();
    },
    rttMs: (id: EndpointId) => relays.findIndex((relay) => relay.id === id) * 100,
  };
  const proofs = new Proofs({
    self: freshId(),
    // the rest of a mesh is not asked for
    path: { mesh: mesh as unknown as Mesh, route, dialMs: 500, ms: askMs },
    clock,
    log: { write: (_level, event) => events.push(event) },
    roots: [],
    maxAgeMs: 660_000,
    aheadMs: 30_000,
    challengeIntervalMs: 60_000,
    pins: new FakePins(),
    acceptedKeys: new Set(),
    ...change,
  });
  onTestFinished(() => proofs.close());
  return { proofs, dialed, events, members };
}

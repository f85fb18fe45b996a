/**
 * The serving side of streams 0x04 and 0x05: answers challenges and questions for evidence, and passes both on for
 * members when this node relays. One frame in, one frame out. What is sealed in a challenge stays sealed for a relay;
 * evidence is public. Who makes evidence and signs is an {@link AttestSource}, the node's attester.
 *
 * @see wire.md §9
 */
import { openChallenge } from "../attest/challenge.ts";
import type { EvidenceItem } from "../attest/evidence.ts";
import type { EndpointId } from "../base/brand.ts";
import { empty } from "../base/bytes.ts";
import { withDeadline } from "../base/deadline.ts";
import { toMeshError } from "../base/errors.ts";
import { Places, type PlacesOptions } from "../base/places.ts";
import { Rate, type RateOptions } from "../base/rate.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import type { InferenceKey } from "../crypto/inference-keys.ts";
import { settle, writeTaken } from "../tunnel/lifetime.ts";
import {
  type AttestCode,
  attestCodes,
  type AttestWay,
  type ChallengeProof,
  type ChallengeRequest,
  decodeChallengeRequest,
  decodeEvidenceRequest,
  encodeChallengeReply,
  encodeChallengeRequest,
  encodeEvidenceReply,
  encodeEvidenceRequest,
  type EvidenceRequest,
} from "../wire/attestation.ts";
import { isWithinEvidenceLimits } from "../wire/evidence.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import { sealStreams } from "../wire/stream-types.ts";
import type { StreamHandler } from "./mesh.ts";

/** What this machine can show. Every call ends by itself, also when hardware hangs; a failure is told to nobody but us. */
export interface AttestSource {
  /** Evidence made with the nonce where it can be made now, else the newest there is; empty when there is none. */
  evidence(nonce: Uint8Array | undefined, signal: Signal, holder: string): Promise<readonly EvidenceItem[]>;
  /** @throws MeshError this kind has no such question, or hardware does not answer it */
  answerResidence(kind: string, question: Uint8Array, signal: Signal, holder: string): Promise<Uint8Array>;
  /**
   * Signatures over a challenge's nonce, at least one. @throws MeshError there is no key that signs now
   *
   * @param holder whom the hardware is shared out among, in all three: peers of ours
   */
  sign(nonce: Uint8Array, signal: Signal, holder: string): Promise<readonly ChallengeProof[]>;
}

/** How much of one sort of work is done for peers. */
export interface AttestBounds {
  readonly rate: RateOptions;
  readonly places: PlacesOptions;
}

export interface AttestServeParts {
  readonly self: EndpointId;
  /** Inference keys that open now, newest first. */
  readonly keys: () => readonly InferenceKey[];
  readonly source: AttestSource;
  /**
   * Opens a stream of sealmesh/1 towards a member, type byte not yet written; it gives up by itself. Undefined from it:
   * there is no way. @default nothing is passed on
   */
  readonly reach?: (target: EndpointId, way: PassingOn, signal: Signal) => Promise<ByteStream> | undefined;
  /** Questions to this node of peers, on their own connections. */
  readonly answering: AttestBounds;
  /** The same through relays, per relay: many stand behind one. */
  readonly relayed: AttestBounds;
  /**
   * What is passed on for others, per asker and target: one member must not use up what a host grants a relay. What
   * another relay passes on comes from many, and is bounded as `relayed`.
   */
  readonly carrying: AttestBounds;
  readonly timing: AttestTiming;
  /** ms of a clock that never goes back. @default performance.now */
  readonly now?: () => number;
}

/** Who wants a frame passed on, and how far it may still go. */
export interface PassingOn {
  /** The QUIC peer: never a way to anybody else. */
  readonly from: EndpointId;
  /** Whether one relay more may stand between here and the target. */
  readonly viaRelay: boolean;
}

export interface AttestTiming {
  /** One frame: until it has come, or has been taken, ms. */
  readonly frameMs: number;
  /** One answer of our own, ms. */
  readonly answerMs: number;
  /** The answer of a host that we pass a frame on to, from when it has been reached, ms. */
  readonly carryMs: number;
}

/** One of the two streams. */
interface Talk<Request extends AttestWay> {
  readonly type: number;
  readonly decode: (bytes: Uint8Array) => Request;
  readonly encode: (request: Request) => Uint8Array;
  readonly refusal: (code: AttestCode) => Uint8Array;
  /** Longest reply frame. */
  readonly replyBytes: number;
  /** Reply frame for a request to this node. */
  readonly answer: (request: Request, from: EndpointId, signal: Signal) => Promise<Uint8Array>;
}

export function attestHandlers(parts: AttestServeParts): {
  readonly challenge: StreamHandler;
  readonly evidence: StreamHandler;
} {
  const gates = {
    own: gate(parts.answering, parts),
    relayed: gate(parts.relayed, parts),
    carried: gate(parts.carrying, parts),
    carriedOn: gate(parts.relayed, parts),
  };
  return {
    challenge: (stream, reader, from) => serve(challengeTalk(parts), { stream, reader, from }, gates, parts),
    evidence: (stream, reader, from) => serve(evidenceTalk(parts), { stream, reader, from }, gates, parts),
  };
}

/** Lets a peer in, or not. @returns gives the place back */
type Gate = (holder: string) => (() => void) | undefined;

function gate(bounds: AttestBounds, { now = () => performance.now() }: AttestServeParts): Gate {
  const rate = new Rate(bounds.rate);
  const places = new Places(bounds.places);
  return (holder) => (rate.take(holder, now()) ? places.take(holder) : undefined);
}

interface Gates {
  readonly own: Gate;
  readonly relayed: Gate;
  readonly carried: Gate;
  /** For another relay. */
  readonly carriedOn: Gate;
}

interface Arrived {
  readonly stream: ByteStream;
  readonly reader: StreamReader;
  /** The QUIC peer: who asks, or a relay. */
  readonly from: EndpointId;
}

/** @throws E_TIMEOUT, E_LOST, E_ABORTED of the asker's stream, for the mesh to abort it; all else is said by a code */
async function serve<Request extends AttestWay>(
  talk: Talk<Request>,
  { stream, reader, from }: Arrived,
  gates: Gates,
  parts: AttestServeParts,
): Promise<void> {
  const { self, reach, timing } = parts;
  const say = async (reply: Uint8Array): Promise<void> => {
    await writeTaken(stream, encodeFrame(reply), timing.frameMs);
    await stream.finish();
    settle(stream, reader);
  };
  const refuse = (code: AttestCode): Promise<void> => say(talk.refusal(code));
  const request = await readRequest(talk, reader, timing.frameMs);
  if (!request) return refuse(attestCodes.badRequest);
  const { target = self, hops } = request;
  const own = target === self;
  if (!own && (hops >= limits.relayHops || target === from || !reach)) return refuse(attestCodes.refused);
  const release = own
    ? (hops > 0 ? gates.relayed : gates.own)(from)
    : (hops > 0 ? gates.carriedOn : gates.carried)(`${from} ${target}`);
  if (!release) return refuse(attestCodes.busy);
  try {
    if (own) return await say(await talk.answer(request, from, stream.aborted));
    const reaching = reach?.(target, { from, viaRelay: hops + 1 < limits.relayHops }, stream.aborted);
    if (!reaching) return await refuse(attestCodes.unknownTarget);
    const reply = await passOn(talk, request, reaching, stream.aborted, timing).catch(() => undefined);
    await (reply ? say(reply) : refuse(attestCodes.unreachable));
  } finally {
    release();
  }
}

/** @returns undefined for a frame that cannot be understood */
async function readRequest<Request extends AttestWay>(
  talk: Talk<Request>,
  reader: StreamReader,
  ms: number,
): Promise<Request | undefined> {
  try {
    const what = "a question about evidence";
    return talk.decode(await withDeadline(reader.frame(limits.attestFrameBytes), { what, ms }));
  } catch (thrown) {
    if (toMeshError(thrown).code === "E_WIRE") return undefined;
    throw thrown;
  }
}

/** Relay: the same question with one hop more. @returns the reply frame as it came, which is looked at no further */
async function passOn<Request extends AttestWay>(
  talk: Talk<Request>,
  request: Request,
  reaching: Promise<ByteStream>,
  asker: Signal,
  { frameMs, carryMs }: AttestTiming,
): Promise<Uint8Array> {
  const host = await reaching;
  try {
    const frame = encodeFrame(talk.encode({ ...request, hops: request.hops + 1 }));
    await writeTaken(host, Uint8Array.of(talk.type, ...frame), frameMs);
    await host.finish();
    const reader = new StreamReader(host);
    const answered = reader.frame(talk.replyBytes);
    const reply = await withDeadline(answered, { what: "the host's reply", ms: carryMs, signal: asker });
    settle(host, reader);
    return reply;
  } catch (thrown) {
    host.abort();
    throw thrown;
  }
}

function challengeTalk(parts: AttestServeParts): Talk<ChallengeRequest> {
  const refusal = (code: AttestCode): Uint8Array => encodeChallengeReply({ code, sealed: empty });
  return {
    type: sealStreams.challenge,
    decode: decodeChallengeRequest,
    encode: encodeChallengeRequest,
    refusal,
    replyBytes: limits.attestFrameBytes,
    answer: async (request, from, signal) => {
      const reply = await answerChallenge(request, from, signal, parts);
      return typeof reply === "number" ? refusal(reply) : encodeChallengeReply({ code: attestCodes.ok, sealed: reply });
    },
  };
}

/** @returns the sealed reply, or why there is none */
async function answerChallenge(
  { sealed, hops }: ChallengeRequest,
  from: EndpointId,
  signal: Signal,
  { self, keys, source, timing }: AttestServeParts,
): Promise<Uint8Array | AttestCode> {
  const challenge = unlessThrown(() => openChallenge(sealed, keys(), self));
  if (!challenge) return attestCodes.badRequest;
  try {
    // through a relay the verifier is the challenge's word alone. It may be: whom the answer goes to is settled by the
    // key that it is sealed to, and it says nothing that anybody might not ask for
    if (hops === 0 && challenge.verifier !== from) return attestCodes.refused;
    const signing = source.sign(challenge.nonce, signal, from);
    const proofs = await withDeadline(signing, { what: "signing", ms: timing.answerMs, signal });
    return challenge.seal(proofs);
  } catch (thrown) {
    if (signal.aborted) throw thrown;
    return attestCodes.unable;
  } finally {
    challenge.end();
  }
}

function evidenceTalk(parts: AttestServeParts): Talk<EvidenceRequest> {
  const refusal = (code: AttestCode): Uint8Array =>
    encodeEvidenceReply({ code, items: [], residenceAnswer: undefined });
  return {
    type: sealStreams.evidence,
    decode: decodeEvidenceRequest,
    encode: encodeEvidenceRequest,
    refusal,
    replyBytes: limits.evidenceReplyBytes,
    answer: async (request, from, signal) => {
      const { ms, what } = { ms: parts.timing.answerMs, what: "making evidence" };
      const answering = answerEvidence(request, from, signal, parts.source);
      try {
        return await withDeadline(answering, { what, ms, signal });
      } catch (thrown) {
        if (signal.aborted) throw thrown;
        return refusal(attestCodes.unable);
      }
    },
  };
}

async function answerEvidence(
  { nonce, question }: EvidenceRequest,
  from: EndpointId,
  signal: Signal,
  source: AttestSource,
): Promise<Uint8Array> {
  const [items, answer] = await Promise.all([
    source.evidence(nonce, signal, from),
    // an answer that cannot be given costs the reply nothing but itself
    question && source.answerResidence(question.kind, question.question, signal, from).catch(() => undefined),
  ]);
  const residenceAnswer = answer && answer.length <= limits.residenceBytes ? answer : undefined;
  let fitting = items.filter(isWithinEvidenceLimits).slice(0, limits.evidencePerReply);
  for (;;) {
    const reply = encodeEvidenceReply({ code: attestCodes.ok, items: fitting, residenceAnswer });
    if (reply.length <= limits.evidenceReplyBytes) return reply;
    fitting = fitting.slice(0, -1);
  }
}

function unlessThrown<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    return undefined;
  }
}

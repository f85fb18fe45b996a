/**
 * The asking side of streams 0x04 and 0x05: one frame to a host and its reply, over its own connection or through
 * members that relay. Seals nothing and judges nothing; called by mesh/proofs.ts.
 *
 * @see wire.md §9
 */
import { type EndpointId, shortId } from "../base/brand.ts";
import { abortError, withDeadline } from "../base/deadline.ts";
import { type ErrorCode, MeshError, toMeshError } from "../base/errors.ts";
import type { Signal } from "../base/signal.ts";
import { settle } from "../tunnel/lifetime.ts";
import {
  type AttestCode,
  attestCodes,
  type AttestWay,
  type ChallengeReply,
  decodeChallengeReply,
  decodeEvidenceReply,
  encodeChallengeRequest,
  encodeEvidenceRequest,
  type EvidenceReply,
  type ResidenceAsk,
} from "../wire/attestation.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import { limits } from "../wire/limits.ts";
import { sealStreams } from "../wire/stream-types.ts";
import { type HostLoad, isFar, relaysNaming, relaysTo } from "./choose.ts";
import type { Mesh } from "./mesh.ts";
import type { Roles } from "./roles.ts";

/** How hosts are reached. */
export interface AskPath {
  readonly mesh: Mesh;
  readonly route: "auto" | "direct" | "relay";
  /** One connection, ms. */
  readonly dialMs: number;
  /**
   * Everything, all ways together, ms. A way behind which there are others gets half of what is left; a host whose
   * hardware hangs takes about four seconds to say so.
   */
  readonly ms: number;
  /** @default everybody may carry */
  readonly roles?: Roles | undefined;
  /** Which hosts this node cannot connect to, as exchanges know it too. @default each is tried directly first */
  readonly load?: HostLoad;
  /** Unix ms; @default Date.now */
  readonly now?: () => number;
}

export interface EvidenceAsk {
  /** 32 bytes; undefined: what there is will do. */
  readonly nonce?: Uint8Array;
  readonly question?: ResidenceAsk;
}

/** Relays tried for one question. */
const maxRelays = 3;

/**
 * @param sealed   of attest/challenge.ts, 222 bytes; may go through several relays
 * @param isAnswer whether a reply is the host's; one that is not is a relay's, and the next relay is asked
 * @returns the sealed reply, not yet opened: whoever stands in between may have made it
 * @throws  E_REFUSED the host speaks no challenges, or refuses · E_OPEN it could not open this one · E_BUSY · E_TIMEOUT
 *          also: its hardware does not answer · E_UNREACHABLE · E_LOST · E_WIRE · E_ABORTED the signal fired
 */
export async function askChallenge(
  host: EndpointId,
  sealed: Uint8Array,
  path: AskPath,
  signal: Signal,
  isAnswer: (sealedReply: Uint8Array) => boolean,
): Promise<Uint8Array> {
  const question: Question<ChallengeReply> = {
    type: sealStreams.challenge,
    encode: (way) => encodeChallengeRequest({ ...way, sealed }),
    decode: decodeChallengeReply,
    replyBytes: limits.attestFrameBytes,
    accepts: ({ sealed: reply }) => isAnswer(reply),
    misunderstood: "E_OPEN",
  };
  return (await askHost(host, question, path, signal)).sealed;
}

/** @throws as askChallenge; E_WIRE in the place of E_OPEN */
export function askEvidence(
  host: EndpointId,
  { nonce, question }: EvidenceAsk,
  path: AskPath,
  signal: Signal,
): Promise<EvidenceReply> {
  const asked: Question<EvidenceReply> = {
    type: sealStreams.evidence,
    encode: (way) => encodeEvidenceRequest({ ...way, nonce, question }),
    decode: decodeEvidenceReply,
    accepts: ({ items }) => items.length > 0 || question !== undefined,
    replyBytes: limits.evidenceReplyBytes,
    misunderstood: "E_WIRE",
  };
  return askHost(host, asked, path, signal);
}

interface Question<Reply extends { readonly code: AttestCode }> {
  readonly type: number;
  readonly encode: (way: AttestWay) => Uint8Array;
  readonly decode: (bytes: Uint8Array) => Reply;
  readonly replyBytes: number;
  /** Whether a reply that came through a relay may be the host's; else the next relay is asked. */
  readonly accepts: (reply: Reply) => boolean;
  /** What "bad request" means here. */
  readonly misunderstood: ErrorCode;
}

/** Failures of a connection, after which a relay may know a way. */
const ofTheWay: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["E_UNREACHABLE", "E_LOST", "E_TIMEOUT"]);

async function askHost<Reply extends { readonly code: AttestCode }>(
  host: EndpointId,
  question: Question<Reply>,
  path: AskPath,
  signal: Signal,
): Promise<Reply> {
  const { route, ms, mesh } = path;
  // its protocol has no such streams: it would be asked in vain, and a connection made for nothing
  if (!mesh.peer(host)?.record) {
    throw new MeshError("E_REFUSED", `${shortId(host)} has no signed record, so it answers no challenges`);
  }
  const untilMs = performance.now() + ms;
  const relays = route === "direct" ? [] : relaysInTurn(path, host).slice(0, maxRelays);
  const direct = route === "relay" ? [] : [undefined];
  const now = path.now ?? Date.now;
  const far = path.load && isFar(mesh, host, path.load, now());
  const ways = far ? [...relays, ...direct] : [...direct, ...relays];
  let failure = new MeshError("E_UNREACHABLE", `no relay leads to ${shortId(host)}`);
  for (const [index, relay] of ways.entries()) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) break;
    const withinMs = index === ways.length - 1 ? leftMs : leftMs / 2;
    let reply: Reply;
    try {
      reply = await askBy(relay, host, question, withinMs, path, signal);
    } catch (thrown) {
      if (signal.aborted) throw abortError(signal);
      failure = brokenOff(thrown, host);
      if (!relay && failure.code === "E_UNREACHABLE") path.load?.missed(host, now());
      if (relay || ofTheWay.has(failure.code)) continue;
      throw failure;
    }
    if (reply.code === attestCodes.ok) {
      if (!relay || question.accepts(reply)) return reply;
      failure = new MeshError("E_WIRE", `${shortId(relay)} gave a reply that is not that of ${shortId(host)}`);
      continue;
    }
    failure = errorOf(reply.code, host, relay, question.misunderstood);
    // on its own connection that is the host's word; a relay may say anything, so another one is asked
    if (!relay) break;
  }
  throw failure;
}

/** Those that have named the host first, in another order each time: one that lies must not always be the one asked. */
function relaysInTurn({ mesh, roles }: AskPath, host: EndpointId): readonly EndpointId[] {
  const naming = relaysNaming(mesh, host, { roles });
  const shuffled = naming.map((id) => ({ id, at: Math.random() })).toSorted((a, b) => a.at - b.at);
  return [...shuffled.map(({ id }) => id), ...relaysTo(mesh, host, { roles }).filter((id) => !naming.includes(id))];
}

/** @param relay undefined: over the host's own connection */
async function askBy<Reply extends { readonly code: AttestCode }>(
  relay: EndpointId | undefined,
  host: EndpointId,
  question: Question<Reply>,
  ms: number,
  { mesh, dialMs }: AskPath,
  signal: Signal,
): Promise<Reply> {
  const started = performance.now();
  const stream = await mesh.openSeal(relay ?? host, { dialMs: Math.min(dialMs, ms), signal });
  try {
    const reader = new StreamReader(stream);
    const frame = encodeFrame(question.encode({ target: relay && host, hops: 0 }));
    const exchange = async (): Promise<Uint8Array> => {
      await stream.write(Uint8Array.of(question.type, ...frame));
      await stream.finish();
      return await reader.frame(question.replyBytes);
    };
    const left = Math.max(0, ms - (performance.now() - started));
    const what = `the answer of ${shortId(host)} about its evidence`;
    const reply = question.decode(await withDeadline(exchange(), { what, ms: left, signal }));
    settle(stream, reader);
    return reply;
  } catch (thrown) {
    stream.abort();
    throw thrown;
  }
}

/** A stream that the other side aborts is lost; that nobody aborted here has been seen to. */
function brokenOff(thrown: unknown, host: EndpointId): MeshError {
  const error = toMeshError(thrown, "E_LOST");
  if (error.code !== "E_ABORTED") return error;
  return new MeshError("E_LOST", `${shortId(host)} broke the question about its evidence off`, { cause: error });
}

function errorOf(
  code: AttestCode,
  host: EndpointId,
  relay: EndpointId | undefined,
  misunderstood: ErrorCode,
): MeshError {
  const who = relay ? `${shortId(host)}, through ${shortId(relay)}:` : `${shortId(host)}:`;
  switch (code) {
    case attestCodes.unknownTarget:
      return new MeshError("E_UNREACHABLE", `${who} the relay does not know it`);
    case attestCodes.unreachable:
      return new MeshError("E_UNREACHABLE", `${who} the relay does not reach it`);
    case attestCodes.refused:
      return new MeshError("E_REFUSED", `${who} the question about its evidence was refused`);
    case attestCodes.busy:
      return new MeshError("E_BUSY", `${who} it was asked too often`, { retryAfterSeconds: 1 });
    case attestCodes.badRequest:
      return new MeshError(misunderstood, `${who} the question about its evidence was not understood`);
    case attestCodes.unable:
      return new MeshError("E_TIMEOUT", `${who} its hardware does not answer`);
    case attestCodes.ok:
      return new MeshError("E_BUG", `${who} an answer is no error`);
  }
}

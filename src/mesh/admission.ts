/**
 * Stream 0x06 of "sealmesh/1", both ends: a node that holds an invite is admitted by the member that made it. Four frames on
 * one stream. Who may be admitted is for an {@link Admitter}, built in node/; what becomes of the credential is for the caller.
 *
 *   joiner -> AdmissionRequest  the grant, a nonce          issuer -> AdmissionChallenge  a nonce of its own, or why not
 *   joiner -> AdmissionProof    by the bearer key           issuer -> AdmissionReply      a credential, or why not
 *
 * @see wire.md §10
 */
import { randomBytes } from "node:crypto";
import { type EndpointId, shortId } from "../base/brand.ts";
import { withDeadline } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError, unlessMeshError } from "../base/errors.ts";
import type { Rate } from "../base/rate.ts";
import type { Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import {
  credentialLacks,
  holdsBearer,
  proveBearer,
  type VerifiedCredential,
  type VerifiedGrant,
  verifyCredential,
  verifyGrant,
} from "../crypto/admission.ts";
import { settle, writeTaken } from "../tunnel/lifetime.ts";
import {
  type AdmissionCode,
  admissionCodes,
  type AdmissionContext,
  type AdmissionRefusal,
  type AdmissionRequest,
  decodeAdmissionChallenge,
  decodeAdmissionProof,
  decodeAdmissionReply,
  decodeAdmissionRequest,
  encodeAdmissionChallenge,
  encodeAdmissionProof,
  encodeAdmissionReply,
  encodeAdmissionRequest,
} from "../wire/admission.ts";
import { encodeFrame, StreamReader } from "../wire/frame.ts";
import type { InviteGrant } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { sealStreams } from "../wire/stream-types.ts";

// ---- the node that joins

/** A stream of "sealmesh/1" to the grant's issuer, on a connection that has proven its id; nothing written yet. */
export type OpenAdmission = (signal: Signal) => Promise<ByteStream>;

export interface AskAdmissionParts {
  readonly self: EndpointId;
  readonly granted: InviteGrant;
  /** One answer of the issuer, ms. */
  readonly answerMs: number;
  readonly signal: Signal;
  /** Unix ms. */
  readonly now: () => number;
}

/**
 * @returns a credential of the grant's mesh for this node, verified; it is the caller's to keep
 * @throws  E_INVITE the issuer does not admit us, in a sentence that says why · E_BUSY it has too much to do ·
 *          E_WIRE it does not keep to the protocol, or gave a credential that is none · E_TIMEOUT · E_LOST · E_ABORTED ·
 *          as `open`
 */
export async function askAdmission(
  open: OpenAdmission,
  { self, granted, answerMs, signal, now }: AskAdmissionParts,
): Promise<VerifiedCredential> {
  const stream = await open(signal);
  const reader = new StreamReader(stream);
  const { grant, bytes, bearerSeed } = granted;
  const { issuer } = grant;
  const waiting = { what: `the answer of ${shortId(issuer)} to the invite`, ms: answerMs, signal };
  const next = (): Promise<Uint8Array> => withDeadline(reader.frame(limits.admissionFrameBytes), waiting);
  try {
    const joinerNonce = new Uint8Array(randomBytes(32));
    const request = encodeFrame(encodeAdmissionRequest({ grant: bytes, nonce: joinerNonce }));
    await writeTaken(stream, Uint8Array.of(sealStreams.admission, ...request), answerMs);
    const challenge = decodeAdmissionChallenge(await next());
    if (challenge.code !== admissionCodes.ok) throw refusalError(challenge.code, issuer);
    const context = { joiner: self, issuer, joinerNonce, issuerNonce: challenge.nonce, grant: bytes };
    const proof = encodeFrame(encodeAdmissionProof(proveBearer(bearerSeed, context)));
    await writeTaken(stream, proof, answerMs);
    const reply = decodeAdmissionReply(await next());
    if (reply.code !== admissionCodes.ok) throw refusalError(reply.code, issuer);
    const credential = verifyCredential(reply.credential, { authority: grant.authority, subject: self });
    const lacking = credentialLacks(credential, now(), () => false) ?? strayed(credential, granted);
    if (lacking !== undefined) {
      throw new MeshError("E_WIRE", `the credential that ${shortId(issuer)} gave ${lacking}`);
    }
    await stream.finish();
    settle(stream, reader);
    return credential;
  } catch (thrown) {
    stream.abort();
    throw brokenOff(thrown, issuer);
  }
}

/** What was granted is what must come: another role or grant would be shown to everybody from now on. */
function strayed({ own }: VerifiedCredential, { grant }: InviteGrant): string | undefined {
  if (own.issuer !== grant.issuer || own.grantId !== grant.id) return "does not come from the invite";
  if (own.role !== grant.role || own.delegable !== grant.delegable) return "is not what the invite grants";
  return undefined;
}

/** A stream that the other side aborts is lost; that nobody aborted here has been seen to. */
function brokenOff(thrown: unknown, issuer: EndpointId): MeshError {
  const error = toMeshError(thrown, "E_LOST");
  if (error.code !== "E_ABORTED") return error;
  return new MeshError("E_LOST", `${shortId(issuer)} broke the admission off`, { cause: error });
}

function refusalError(code: AdmissionRefusal, issuer: EndpointId): MeshError {
  const who = shortId(issuer);
  switch (code) {
    case admissionCodes.unknownGrant:
      return new MeshError("E_INVITE", `${who} does not know this invite (any more)`);
    case admissionCodes.expired:
      return new MeshError("E_INVITE", `${who} says that this invite has expired`);
    case admissionCodes.usedUp:
      return new MeshError("E_INVITE", `${who} says that this invite has been used as often as it may be`);
    case admissionCodes.revoked:
      return new MeshError("E_INVITE", `${who} has taken this invite back`);
    case admissionCodes.notProven:
      return new MeshError("E_INVITE", `${who} does not take the invite's secret`);
    case admissionCodes.mayNotInvite:
      return new MeshError("E_INVITE", `${who} may not invite to its mesh, or not in this role`);
    case admissionCodes.busy:
      return new MeshError("E_BUSY", `${who} admits nobody for now`, { retryAfterSeconds: 5 });
    case admissionCodes.badRequest:
      return new MeshError("E_WIRE", `${who} did not understand the admission`);
  }
}

// ---- the member that made the invite

/** Who may be admitted by our grants. */
export interface Admitter {
  /**
   * Whether the grant counts for this node now. Nothing is counted yet.
   * @returns why not; undefined: it does
   */
  look(grant: VerifiedGrant, joiner: EndpointId): AdmissionRefusal | undefined;
  /**
   * Admits. The use is counted, and on disk, when it returns: whoever gets a credential has been counted. The same
   * node again is no further use.
   */
  admit(grant: VerifiedGrant, joiner: EndpointId): VerifiedCredential | AdmissionRefusal;
}

export interface AnswerAdmissionParts {
  readonly self: EndpointId;
  readonly admitter: Admitter;
  readonly rate: Rate;
  /** One frame: until it has come, or has been taken, ms. */
  readonly frameMs: number;
  /** ms of a clock that never goes back. @default performance.now */
  readonly now?: () => number;
  readonly onRefused: (joiner: EndpointId, code: AdmissionRefusal) => void;
}

/** Serves the stream, its type byte taken, for whoever has connected, members or not; `from` is whom the connection has proven. */
export type AnswerAdmission = (stream: ByteStream, reader: StreamReader, from: EndpointId) => Promise<void>;

export function answersAdmission(parts: AnswerAdmissionParts): AnswerAdmission {
  return async (stream, reader, from) => {
    const code = await answerAdmission(stream, reader, from, parts);
    if (code !== admissionCodes.ok) parts.onRefused(from, code);
  };
}

/** @throws E_TIMEOUT, E_LOST, E_ABORTED of the joiner's stream, for the mesh to abort it; all else is said by a code */
async function answerAdmission(
  stream: ByteStream,
  reader: StreamReader,
  from: EndpointId,
  { self, admitter, rate, frameMs, now = () => performance.now() }: AnswerAdmissionParts,
): Promise<AdmissionCode> {
  const say = async (reply: Uint8Array): Promise<void> => writeTaken(stream, encodeFrame(reply), frameMs);
  const end = async (code: AdmissionCode): Promise<AdmissionCode> => {
    await stream.finish();
    settle(stream, reader);
    return code;
  };
  const refuse = async (code: AdmissionRefusal): Promise<AdmissionCode> => {
    await say(encodeAdmissionChallenge({ code })); // an AdmissionReply with this code has the same bytes
    return end(code);
  };
  const isDue = rate.take(from, now());
  const request = await readFrame(reader, frameMs, decodeAdmissionRequest);
  if (!isDue) return refuse(admissionCodes.busy);
  const grant = request && ownGrant(request, self);
  if (request === undefined) return refuse(admissionCodes.badRequest);
  if (grant === undefined) return refuse(admissionCodes.unknownGrant);
  const refusal = admitter.look(grant, from);
  if (refusal !== undefined) return refuse(refusal);

  const issuerNonce = new Uint8Array(randomBytes(32));
  await say(encodeAdmissionChallenge({ code: admissionCodes.ok, nonce: issuerNonce }));
  const proof = await readFrame(reader, frameMs, decodeAdmissionProof);
  if (proof === undefined) return refuse(admissionCodes.badRequest);
  const context: AdmissionContext = {
    joiner: from,
    issuer: self,
    joinerNonce: request.nonce,
    issuerNonce,
    grant: grant.bytes,
  };
  if (!holdsBearer(grant.grant.bearer, context, proof)) return refuse(admissionCodes.notProven);
  // asked again: others may have used it up, or it was taken back, while the proof was on its way
  const admitted = admitter.admit(grant, from);
  if (typeof admitted === "number") return refuse(admitted);
  await say(encodeAdmissionReply({ code: admissionCodes.ok, credential: admitted.bytes }));
  return end(admissionCodes.ok);
}

/** Only what we signed ourselves is looked up. */
function ownGrant({ grant }: AdmissionRequest, self: EndpointId): VerifiedGrant | undefined {
  const verified = unlessMeshError(() => verifyGrant(grant));
  return verified?.grant.issuer === self ? verified : undefined;
}

/** @returns undefined for a frame that cannot be understood */
async function readFrame<T>(
  reader: StreamReader,
  ms: number,
  decode: (bytes: Uint8Array) => T,
): Promise<T | undefined> {
  try {
    return decode(await withDeadline(reader.frame(limits.admissionFrameBytes), { what: "an admission", ms }));
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code === "E_WIRE") return undefined;
    throw thrown;
  }
}

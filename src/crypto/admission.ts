/**
 * Admission to an invite-only mesh: the authority's key, grants, proofs of a bearer key, and credentials, which are chains
 * of signatures from the authority to a node. Whether a grant is used up or taken back is for the node that keeps count.
 *
 * A credential says who let a node in. It does not say that the node is good, or that it is there.
 *
 * @see wire.md §10
 */
import { createHash } from "node:crypto";
import { type AuthorityKey, authorityKey, type EndpointId } from "../base/brand.ts";
import { concat, fromHex, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import {
  type AdmissionContext,
  decodeCredential,
  decodeGrant,
  decodeLink,
  decodeSignedGrant,
  encodeCredential,
  encodeGrant,
  encodeLink,
  encodeSignedGrant,
  type Grant,
  grantSigningBytes,
  type GrantId,
  type Link,
  linkSigningBytes,
  type MemberRole,
  noGrant,
  proofSigningBytes,
  type SignedPart,
} from "../wire/admission.ts";
import { labels } from "../wire/labels.ts";
import { limits } from "../wire/limits.ts";
import { type Identity, identityFrom, verifyByKey, verifySignature } from "./identity.ts";

/** Who made a mesh: admits its first member, and may make it a new credential. */
export interface Authority {
  readonly key: AuthorityKey;
  /** @returns 64 bytes, Ed25519 */
  sign(message: Uint8Array): Uint8Array;
}

/** @param seed 32 bytes, kept */
export function authorityFrom(seed: Uint8Array): Authority {
  const identity = identityFrom(seed);
  return { key: authorityKey(identity.id), sign: (message) => identity.sign(message) };
}

/** @returns 32 hex digits: SHA-256(label || key), the first half */
export function meshIdOf(authority: AuthorityKey): string {
  const digest = createHash("sha256").update(concat([labels.meshId, fromHex(authority, 32)]));
  return toHex(digest.digest().subarray(0, 16));
}

/** Whether a member of this role may let in one of that role: nobody gives more than they have. */
export function mayGive(own: MemberRole, given: MemberRole): boolean {
  return own === "host" || own === given;
}

// ---- grants

export interface VerifiedGrant {
  readonly grant: Grant;
  /** SignedGrant as it came: what a proof is about. */
  readonly bytes: Uint8Array;
}

export function signGrant(identity: Identity, fields: Omit<Grant, "issuer">): VerifiedGrant {
  const grant: Grant = { ...fields, issuer: identity.id };
  const signed = encodeGrant(grant);
  return { grant, bytes: encodeSignedGrant({ signed, signature: identity.sign(grantSigningBytes(signed)) }) };
}

/**
 * Says that its issuer made the grant. Not that the issuer may admit anybody, nor that the grant still counts.
 *
 * @throws E_WIRE malformed, or signed by somebody else than the issuer that it names
 */
export function verifyGrant(bytes: Uint8Array): VerifiedGrant {
  const { signed, signature } = decodeSignedGrant(bytes);
  const grant = decodeGrant(signed);
  if (!verifySignature(grant.issuer, grantSigningBytes(signed), signature)) {
    throw new MeshError("E_WIRE", "the signature of the grant does not hold");
  }
  return { grant, bytes };
}

/** 32-byte public half of a bearer's seed. */
export function bearerKeyOf(seed: Uint8Array): Uint8Array {
  return fromHex(identityFrom(seed).id, 32);
}

/** @returns 64 bytes: whoever has the seed says that this node joins, here and now */
export function proveBearer(seed: Uint8Array, context: AdmissionContext): Uint8Array {
  return identityFrom(seed).sign(proofSigningBytes(context));
}

/** @param bearer public key of the grant */
export function holdsBearer(bearer: Uint8Array, context: AdmissionContext, proof: Uint8Array): boolean {
  return verifyByKey(bearer, proofSigningBytes(context), proof);
}

// ---- credentials

export interface VerifiedCredential {
  /** As it came: shown and passed on byte for byte. */
  readonly bytes: Uint8Array;
  /** From the authority's on, one at least. */
  readonly links: readonly Link[];
  /** The last of them: what the node itself was given. */
  readonly own: Link;
}

export type GivenLink = Pick<Link, "subject" | "role" | "delegable" | "issuedAtMs" | "notAfterMs">;

/** The credential of whoever made the mesh. */
export function firstCredential(authority: Authority, given: GivenLink): VerifiedCredential {
  const link: Link = { ...given, authority: authority.key, issuer: authority.key, grantId: noGrant };
  const bytes = encodeCredential([signLink(link, authority)]);
  return { bytes, links: [link], own: link };
}

/** A credential that was made from another one, and can only be less. */
export interface ExtendOptions {
  /** Of the issuer; delegable, with room for one link more. */
  readonly credential: VerifiedCredential;
  readonly identity: Identity;
  readonly given: GivenLink & Pick<Link, "grantId">;
}

/**
 * Admits `given.subject`; the end is that of the issuer's own credential if that comes first.
 * @throws E_REFUSED the issuer may not admit anybody, or not in this role
 */
export function extendCredential({ credential, identity, given }: ExtendOptions): VerifiedCredential {
  const { own, links } = credential;
  const lacking = mayAdmit(credential, given.role);
  if (lacking !== undefined) throw new MeshError("E_REFUSED", lacking);
  const link: Link = {
    ...given,
    authority: own.authority,
    issuer: identity.id,
    notAfterMs: Math.min(given.notAfterMs, own.notAfterMs),
  };
  const bytes = encodeCredential([...decodeCredential(credential.bytes), signLink(link, identity)]);
  return { bytes, links: [...links, link], own: link };
}

/** Why the holder of a credential cannot admit somebody in this role, as one sentence; undefined: it can. */
export function mayAdmit({ own, links }: VerifiedCredential, role: MemberRole): string | undefined {
  if (!own.delegable) return "this member was admitted without the right to invite others";
  if (!mayGive(own.role, role)) return `a member with role ${own.role} cannot invite a ${role}`;
  if (links.length >= limits.credentialLinks) {
    return `${limits.credentialLinks} members have invited one another up to here: an earlier one has to invite`;
  }
  return undefined;
}

function signLink(link: Link, signer: Pick<Identity, "sign">): SignedPart {
  const signed = encodeLink(link);
  return { signed, signature: signer.sign(linkSigningBytes(signed)) };
}

export interface VerifyOptions {
  readonly authority: AuthorityKey;
  readonly subject: EndpointId;
  /** Links that were found good before. @default every signature is looked at */
  readonly links?: CheckedLinks;
}

/** Links whose signatures hold, by their bytes: who signed stands among them. Those not met for longest go first. */
export class CheckedLinks {
  readonly #most: number;
  readonly #known = new Set<string>();

  constructor(most: number) {
    this.#most = most;
  }

  has(part: SignedPart): boolean {
    const name = nameOf(part);
    if (!this.#known.delete(name)) return false;
    this.#known.add(name);
    return true;
  }

  add(part: SignedPart): void {
    this.#known.add(nameOf(part));
    const [oldest] = this.#known;
    if (this.#known.size > this.#most && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** A signature has 64 bytes here, so that nothing of one part can stand for the other. */
function nameOf({ signed, signature }: SignedPart): string {
  return createHash("sha256").update(signature).update(signed).digest("base64");
}

/**
 * Checks all of a credential that stays as it is: the chain from the authority to `subject`, and its signatures. Times and
 * what was taken back are for {@link credentialLacks}, each time anew.
 *
 * @throws E_WIRE malformed, of another mesh or node, a link that does not follow from the one before, a signature that does
 *         not hold
 */
export function verifyCredential(
  bytes: Uint8Array,
  { authority, subject, links: checked }: VerifyOptions,
): VerifiedCredential {
  const refuse = (why: string, cause?: unknown): MeshError =>
    new MeshError("E_WIRE", `the credential is refused: ${why}`, { cause });
  const parts = linksIn(bytes, refuse);
  let before: Link | undefined;
  for (const { link } of parts) {
    if (link.authority !== authority) throw refuse("it is for another mesh");
    const why = before === undefined ? startsBadly(link) : followsBadly(link, before);
    if (why !== undefined) throw refuse(why);
    before = link;
  }
  if (before?.subject !== subject) throw refuse("it is another node's");
  // the cheap checks first: signatures are what costs
  for (const part of parts) {
    if (checked?.has(part)) continue;
    if (!verifyByKey(fromHex(part.link.issuer, 32), linkSigningBytes(part.signed), part.signature)) {
      throw refuse("a signature in it does not hold");
    }
    checked?.add(part);
  }
  return { bytes, links: parts.map(({ link }) => link), own: before };
}

function linksIn(
  bytes: Uint8Array,
  refuse: (why: string, cause?: unknown) => MeshError,
): readonly (SignedPart & { readonly link: Link })[] {
  try {
    return decodeCredential(bytes).map((part) => ({ ...part, link: decodeLink(part.signed) }));
  } catch (cause) {
    throw refuse("it cannot be read", cause);
  }
}

function startsBadly({ authority, issuer }: Link): string | undefined {
  return issuer === authority ? undefined : "its first link is not the authority's";
}

function followsBadly(link: Link, before: Link): string | undefined {
  if (link.issuer !== before.subject) return "its links do not follow one another";
  if (!before.delegable) return "a member that may not invite has invited";
  if (!mayGive(before.role, link.role)) return "a member has given a role that it did not have";
  if (link.notAfterMs > before.notAfterMs) return "a link outlives the one before";
  return undefined;
}

/** Whether the issuer has taken this grant back, and with it all that was admitted by it. */
export type IsRevoked = (issuer: EndpointId, grant: GrantId) => boolean;

/** Why a verified credential does not count now, for "it ..."; undefined: it does. */
export function credentialLacks(
  { links, own }: VerifiedCredential,
  nowMs: number,
  isRevoked: IsRevoked,
): string | undefined {
  // no link outlives the one before, so the last one's end is the first
  if (nowMs > own.notAfterMs + limits.clockSkewMs) return "has ended";
  if (links.some(({ issuedAtMs }) => issuedAtMs > nowMs + limits.clockSkewMs)) {
    return "was issued in the future; compare the clocks";
  }
  const isTakenBack = grantsOf(links).some(({ issuer, grant }) => isRevoked(issuer, grant));
  return isTakenBack ? "rests on an invite that was taken back" : undefined;
}

/** A grant by which somebody was admitted. */
export interface UsedGrant {
  readonly issuer: EndpointId;
  readonly grant: GrantId;
}

/** The grants on which a credential rests: all links but the authority's. */
export function grantsOf(links: readonly Link[]): readonly UsedGrant[] {
  return links.slice(1).map(({ grantId }, index) => {
    const issuer = links[index]?.subject;
    if (issuer === undefined) throw new MeshError("E_BUG", "a link stands before the first");
    return { issuer, grant: grantId };
  });
}

/**
 * Claims that nodes belong to an owner, made and kept: node-ownership.json in the data directory of the node that shows it. The
 * key that signs them is in owner-key.ts, what one is worth to others is for policy/owners.ts.
 *
 *   {"version", "cert_id", "owner_id", "owner_sign_public_key": hex 32, "node_endpoint_id", "issued_at_unix_ms",
 *    "expires_at_unix_ms", "node_label"?, "hostname_hint"?, "signature": hex 64}
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromHex, toHex } from "../base/bytes.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import { countOf, isRecord, type Json, parseJsonText } from "../base/json.ts";
import { claimVersion } from "../policy/owners.ts";
import { ownershipBytes, type OwnershipClaim, type SignedOwnership } from "../wire/ownership.ts";
import { BookFile, type BookFileOptions, type BookForm } from "./book-file.ts";
import type { OwnerKey } from "./owner-key.ts";

export interface ClaimWishes {
  readonly node: EndpointId;
  readonly nowMs: number;
  readonly lifeMs: number;
  /** For people; everybody who hears of the node reads it. */
  readonly label: string | undefined;
}

/** Under a fresh certificate id. */
export function signClaim(key: OwnerKey, { node, nowMs, lifeMs, label }: ClaimWishes): SignedOwnership {
  const issuedAtMs = BigInt(Math.floor(nowMs));
  const claim: OwnershipClaim = {
    version: claimVersion,
    certId: toHex(new Uint8Array(randomBytes(16))),
    ownerId: key.ownerId,
    ownerKey: key.publicKey,
    node,
    issuedAtMs,
    expiresAtMs: issuedAtMs + BigInt(Math.floor(lifeMs)),
    nodeLabel: label,
    hostnameHint: undefined, // mesh-llm's nodes fill it: a name of the machine that nobody has asked to publish
  };
  return { claim, signature: key.sign(ownershipBytes(claim)) };
}

export type ClaimFile = BookFile<SignedOwnership | undefined>;

const claims: BookForm<SignedOwnership | undefined> = {
  encode: (signed) => (signed ? encodeClaim(signed) : ""),
  decode: (text) => decodeClaim(text),
  empty: undefined,
  says: "who owns this node",
  of: "its owner's claim",
};

/** The claim of the node that has this data directory. @throws E_STATE the file is there and cannot be used */
export function openClaimFile(directory: string, options: BookFileOptions = {}): ClaimFile {
  return new BookFile(join(directory, "node-ownership.json"), claims, options);
}

export function claimJson({ claim, signature }: SignedOwnership): Json {
  return {
    version: claim.version,
    cert_id: claim.certId,
    owner_id: claim.ownerId,
    owner_sign_public_key: toHex(claim.ownerKey),
    node_endpoint_id: claim.node,
    issued_at_unix_ms: Number(claim.issuedAtMs),
    expires_at_unix_ms: Number(claim.expiresAtMs),
    ...(claim.nodeLabel === undefined ? {} : { node_label: claim.nodeLabel }),
    ...(claim.hostnameHint === undefined ? {} : { hostname_hint: claim.hostnameHint }),
    signature: toHex(signature),
  };
}

export function encodeClaim(signed: SignedOwnership): string {
  return `${JSON.stringify(claimJson(signed), null, 2)}\n`;
}

/** A claim has at most limits.ownershipBytes, twice as hex and with names beside it. */
const fileCharacters = 8_192;

/**
 * Members that are not known are skipped. Whether the claim holds is not looked at.
 *
 * @throws E_INPUT no such document
 */
export function decodeClaim(text: string): SignedOwnership {
  const document = text.length <= fileCharacters ? parseJsonText(text) : undefined;
  const signed = isRecord(document) ? unlessMeshError(() => claimFrom(document)) : undefined;
  if (signed) return signed;
  throw new MeshError("E_INPUT", "this is no claim of an owner that `sealmesh owner sign-node` made");
}

function claimFrom(document: Json): SignedOwnership {
  return {
    claim: {
      version: numberIn(document, "version", 0xffff_ffff),
      certId: textIn(document, "cert_id"),
      ownerId: textIn(document, "owner_id"),
      ownerKey: fromHex(textIn(document, "owner_sign_public_key"), 32),
      node: endpointId(textIn(document, "node_endpoint_id")),
      issuedAtMs: BigInt(numberIn(document, "issued_at_unix_ms")),
      expiresAtMs: BigInt(numberIn(document, "expires_at_unix_ms")),
      nodeLabel: optionalIn(document, "node_label"),
      hostnameHint: optionalIn(document, "hostname_hint"),
    },
    signature: fromHex(textIn(document, "signature"), 64),
  };
}

function textIn(document: Json, name: string): string {
  const value = document[name];
  if (typeof value === "string") return value;
  throw new MeshError("E_INPUT", `${name} is no text`);
}

function optionalIn(document: Json, name: string): string | undefined {
  return document[name] === undefined || document[name] === null ? undefined : textIn(document, name);
}

function numberIn(document: Json, name: string, most: number = Number.MAX_SAFE_INTEGER): number {
  const value = countOf(document[name]);
  if (value !== undefined && value <= most) return value;
  throw new MeshError("E_INPUT", `${name} is no number`);
}

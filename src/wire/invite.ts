/**
 * Invite token: base64url, without padding, of the JSON of an EndpointAddress (protocol.md §4) and a member of ours, which
 * reference nodes skip (wire.md §1):
 *
 *   {"id":..., "addrs":[...], "sealmesh":{"policy":{"attested":"vendor","encryption":true},
 *                                         "grant":"<SignedGrant>", "bearer":"<seed>", "name":"poker-night"}}
 *
 * Without a grant it holds no secret: whoever knows it knows where to knock. With one it is a secret: whoever has it can join
 * by it. People paste it, so every way to get it wrong has its own sentence. What needs a key is checked in crypto/invite.ts.
 */
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../base/bytes.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import { isRecord, type Json } from "../base/json.ts";
import { type EndpointAddress, addressJson, decodeAddress } from "./address.ts";
import { decodeGrant, decodeSignedGrant, type Grant } from "./admission.ts";
import { isName } from "./gossip.ts";
import { limits } from "./limits.ts";

/** Tiers of evidence that can be demanded, from the least to the most. What they ask for is for attest/verdict.ts. */
export const demandableTiers = ["key", "pinned", "vendor", "measured"] as const;
export type DemandableTier = (typeof demandableTiers)[number];

/** What a mesh wants of everybody who joins by its invites: each demands as much of hosts itself, or more. */
export interface MinimumPolicy {
  /** The least tier of a host's evidence; undefined: none is asked for. */
  readonly attested: DemandableTier | undefined;
  /** Prompts are sealed or not sent. */
  readonly encryption: boolean;
  /** Hosts must say, signed, that they are hardened. @default false */
  readonly hardened?: boolean;
}

export interface Invite {
  readonly address: EndpointAddress;
  readonly minimum: MinimumPolicy | undefined;
  /** What admits to an invite-only mesh; absent: the mesh is open. */
  readonly granted?: InviteGrant;
  /** Of the mesh, as its members call it. */
  readonly name?: string;
}

/** A grant, and the secret by which it is used. */
export interface InviteGrant {
  readonly grant: Grant;
  /** SignedGrant as it came. */
  readonly bytes: Uint8Array;
  /** 32-byte Ed25519 seed of the bearer key: never logged, never shown but in the invite itself. */
  readonly bearerSeed: Uint8Array;
}

export interface InviteExtra {
  readonly policy?: MinimumPolicy | undefined;
  readonly granted?: Pick<InviteGrant, "bytes" | "bearerSeed"> | undefined;
  readonly name?: string | undefined;
}

/** A policy that asks for nothing is left out. */
export function encodeInvite(address: EndpointAddress, { policy, granted, name }: InviteExtra = {}): string {
  const ours = {
    ...(policy && asksForSomething(policy) ? { policy: policyJson(policy) } : {}),
    ...(granted ? { grant: toBase64Url(granted.bytes), bearer: toBase64Url(granted.bearerSeed) } : {}),
    ...(name === undefined ? {} : { name }),
  };
  const member = Object.keys(ours).length === 0 ? {} : { sealmesh: ours };
  return toBase64Url(utf8(JSON.stringify({ ...addressJson(address), ...member })));
}

export function asksForSomething({ attested, encryption, hardened = false }: MinimumPolicy): boolean {
  return attested !== undefined || encryption || hardened;
}

/** The most that any of them demands, each point by itself. */
export function strictest(minimums: readonly (MinimumPolicy | undefined)[]): MinimumPolicy {
  const ranks = minimums.map((minimum) => (minimum?.attested ? demandableTiers.indexOf(minimum.attested) : -1));
  return {
    attested: demandableTiers[Math.max(-1, ...ranks)],
    encryption: minimums.some((minimum) => minimum?.encryption === true),
    ...(minimums.some((minimum) => minimum?.hardened === true) ? { hardened: true } : {}),
  };
}

/**
 * @param token as pasted; white space around it is ignored
 * @throws      E_INVITE with a sentence that says what is wrong with it
 */
export function decodeInvite(token: string): Invite {
  const { address, ours } = readToken(token);
  const granted = grantedOf(ours, address);
  const name = nameOf(ours);
  return {
    address,
    minimum: minimumOf(ours),
    ...(granted === undefined ? {} : { granted }),
    ...(name === undefined ? {} : { name }),
  };
}

/**
 * Where to knock and what is demanded, and nothing of what admits: a grant and its secret are not looked at, so that they
 * need not even be right to be left behind.
 *
 * @throws as decodeInvite(), but for the grant
 */
export function decodeBareInvite(token: string): Pick<Invite, "address" | "minimum"> {
  const { address, ours } = readToken(token);
  return { address, minimum: minimumOf(ours) };
}

/** @throws E_INVITE */
function readToken(token: string): { readonly address: EndpointAddress; readonly ours: Json } {
  const text = token.trim();
  const complaint = complaintAbout(text);
  if (complaint !== undefined) throw new MeshError("E_INVITE", complaint);

  let bytes: Uint8Array;
  try {
    bytes = fromBase64Url(text);
  } catch (cause) {
    throw new MeshError("E_INVITE", "the invite is cut off or damaged: its last character is not possible", { cause });
  }
  let json: unknown;
  try {
    json = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    const opens = bytes[0] === 0x7b;
    const sentence = opens
      ? "the invite is cut off or damaged: it starts well, but its content is not complete"
      : "this is not an invite: it does not hold an address";
    throw new MeshError("E_INVITE", sentence, { cause });
  }
  return { address: addressOf(bytes), ours: oursOf(json) };
}

function addressOf(bytes: Uint8Array): EndpointAddress {
  try {
    return decodeAddress(bytes);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError("E_INVITE", `the invite holds no usable address: ${detail}`, { cause });
  }
}

/** As it stands in an invite, and in this node's own files. */
export function policyJson({ attested, encryption, hardened = false }: MinimumPolicy): object {
  return { ...(attested === undefined ? {} : { attested }), encryption, ...(hardened ? { hardened } : {}) };
}

/** Members that are not known here are skipped, as a later version may add some. */
function oursOf(json: unknown): Json {
  if (!isRecord(json) || !Object.hasOwn(json, "sealmesh")) return {};
  const { sealmesh } = json;
  if (!isRecord(sealmesh)) throw unknownDemand("it cannot be read");
  return sealmesh;
}

/** Half of what admits is none of it: that the invite came whole is the commonest thing to go wrong. */
function grantedOf(ours: Json, { id }: EndpointAddress): InviteGrant | undefined {
  const hasGrant = Object.hasOwn(ours, "grant");
  const hasBearer = Object.hasOwn(ours, "bearer");
  if (!hasGrant && !hasBearer) return undefined;
  if (!hasBearer)
    throw new MeshError("E_INVITE", "the invite has a grant without its secret: ask for the whole invite");
  if (!hasGrant) throw new MeshError("E_INVITE", "the invite has a secret without its grant: ask for the whole invite");
  const bearerSeed = base64UrlMember(ours["bearer"]);
  if (bearerSeed?.length !== 32) throw new MeshError("E_INVITE", "the invite's secret is damaged: it has not 32 bytes");
  const bytes = base64UrlMember(ours["grant"]);
  const grant = bytes && unlessMeshError(() => decodeGrant(decodeSignedGrant(bytes).signed));
  if (bytes === undefined || grant === undefined) {
    throw new MeshError("E_INVITE", "the invite's grant is damaged, or of a later version: update sealmesh");
  }
  if (grant.issuer !== id) {
    throw new MeshError("E_INVITE", "the invite's grant is of another node than its address: it was put together");
  }
  return { grant, bytes, bearerSeed };
}

function base64UrlMember(value: unknown): Uint8Array | undefined {
  return typeof value === "string" ? unlessMeshError(() => fromBase64Url(value)) : undefined;
}

function nameOf({ name }: Json): string | undefined {
  return typeof name === "string" && name !== "" && isName(name) ? name : undefined;
}

/**
 * Each member of `policy` is a demand, and one that is not understood cannot be met: joining all the same would send
 * prompts where they must not go.
 */
function minimumOf(ours: Json): MinimumPolicy | undefined {
  return Object.hasOwn(ours, "policy") ? policyFrom(ours["policy"]) : undefined;
}

/** @throws E_INVITE a demand that is not understood: going on without it would send prompts where they must not go */
export function policyFrom(policy: unknown): MinimumPolicy {
  if (!isRecord(policy)) throw unknownDemand("it cannot be read");
  const { attested, encryption = false, hardened = false, ...others } = policy;
  if (typeof encryption !== "boolean") throw unknownDemand("`encryption` is neither true nor false");
  if (typeof hardened !== "boolean") throw unknownDemand("`hardened` is neither true nor false");
  const tier = demandableTiers.find((known) => known === attested);
  if (attested !== undefined && tier === undefined)
    throw unknownDemand("it asks for a tier of evidence that this version does not know");
  if (Object.keys(others).length > 0) throw unknownDemand("it asks for something that this version does not know");
  return { attested: tier, encryption, ...(hardened ? { hardened } : {}) };
}

/** Nothing of what stands in the invite goes into the sentence: it comes from somebody else. */
function unknownDemand(why: string): MeshError {
  return new MeshError(
    "E_INVITE",
    `the invite says what its mesh demands of hosts, and ${why}: update sealmesh, or ask for another invite`,
  );
}

/** What can be told from the characters alone; undefined when they could be an invite. */
function complaintAbout(text: string): string | undefined {
  if (text === "") return "the invite is empty";
  if (text.length > limits.tokenBytes) {
    return `an invite has at most ${limits.tokenBytes} characters, this has ${text.length}`;
  }
  if (/^[0-9a-f]{64}$/i.test(text)) return "this is an endpoint id, not an invite: it does not say where the node is";
  if (text.startsWith("{")) return "this is the content of an invite, not its text: paste the token as it was printed";
  if (/^[a-z]+:\/\//i.test(text)) return "this is a URL, not an invite";
  if (/\s/.test(text)) return "the invite has a space or a line break inside: paste it as one word";
  if (text.includes("=")) return "the invite has padding (=), which a token never has";
  if (/[+/]/.test(text)) return "the invite is in the wrong alphabet: a token has - and _ instead of + and /";
  if (!/^[A-Za-z0-9_-]+$/.test(text))
    return "the invite has characters that no token has; was a quote or a dot copied too?";
  if (text.length % 4 === 1) return "the invite is cut off: no token has this length";
  return undefined;
}

/**
 * Events of Nostr and the messages of its relays (NIP-01), as far as listings need them: made, signed, read with bounds,
 * checked. Pure; for discovery/nostr-relay.ts, which carries them, and discovery/nostr.ts.
 *
 *   id  = SHA-256 of the UTF-8 of JSON [0, pubkey, created_at, kind, tags, content]
 *   sig = BIP-340 signature over the id
 *
 * @see github.com/nostr-protocol/nips, 01 and 40
 */
import { createHash } from "node:crypto";
import { hashes, schnorr } from "@noble/secp256k1";
import { equal, fromHex, toHex, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { limits } from "../wire/limits.ts";

export interface NostrEvent extends UnsignedEvent {
  /** 64 hex digits. */
  readonly id: string;
  /** X-only public key, 64 hex digits. */
  readonly pubkey: string;
  /** 128 hex digits. */
  readonly sig: string;
}

export interface UnsignedEvent {
  /** Seconds since 1970. */
  readonly created_at: number;
  readonly kind: number;
  readonly tags: readonly (readonly string[])[];
  readonly content: string;
}

/** What a relay says, of what we ask it for. */
export type RelayMessage =
  | { readonly kind: "event"; readonly subscription: string; readonly event: NostrEvent }
  | { readonly kind: "end"; readonly subscription: string }
  | { readonly kind: "taken"; readonly id: string; readonly ok: boolean };

/** @param secret 32 bytes, borrowed */
export function signEvent(unsigned: UnsignedEvent, secret: Uint8Array): NostrEvent {
  useHash();
  const pubkey = toHex(schnorr.getPublicKey(secret));
  const digest = eventDigest({ ...unsigned, pubkey });
  return { ...unsigned, id: toHex(digest), pubkey, sig: toHex(schnorr.sign(digest, secret)) };
}

/** Whether the id is that of the content, and the signature that of the key. Never throws. */
export function isGenuine(event: NostrEvent): boolean {
  const digest = eventDigest(event);
  if (!equal(digest, fromHex(event.id, 32))) return false;
  useHash();
  try {
    return schnorr.verify(fromHex(event.sig, 64), digest, fromHex(event.pubkey, 32));
  } catch {
    return false; // no point of the curve
  }
}

/** The library brings no hash of its own for calls that do not wait. */
function useHash(): void {
  hashes.sha256 ??= (message) => Uint8Array.from(createHash("sha256").update(message).digest());
}

function eventDigest({
  pubkey,
  created_at,
  kind,
  tags,
  content,
}: UnsignedEvent & Pick<NostrEvent, "pubkey">): Uint8Array {
  const signed = JSON.stringify([0, pubkey, created_at, kind, tags, content]);
  return Uint8Array.from(createHash("sha256").update(utf8(signed)).digest());
}

/** First value of a tag. */
export function tagOf({ tags }: UnsignedEvent, name: string): string | undefined {
  return tags.find(([first]) => first === name)?.[1];
}

/**
 * @param text one message, at most limits.nostrMessageBytes
 * @returns    undefined for messages that we do not ask for, such as NOTICE
 * @throws     E_WIRE not JSON, or not what its first word promises
 */
export function decodeRelayMessage(text: string): RelayMessage | undefined {
  if (text.length > limits.nostrMessageBytes) throw malformed("is too long");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new MeshError("E_WIRE", "a relay's message is not JSON", { cause });
  }
  if (!Array.isArray(json)) throw malformed("is no list");
  const [word, first, second] = json as readonly unknown[];
  switch (word) {
    case "EVENT":
      return { kind: "event", subscription: shortText(first), event: eventFrom(second) };
    case "EOSE":
    case "CLOSED":
      return { kind: "end", subscription: shortText(first) };
    case "OK":
      return { kind: "taken", id: shortText(first), ok: second === true };
    default:
      return undefined;
  }
}

/** Well-formed only: see {@link isGenuine}. @throws E_WIRE */
function eventFrom(value: unknown): NostrEvent {
  if (!isRecord(value)) throw malformed("has no event");
  const { id, pubkey, created_at, kind, tags, content, sig } = value;
  if (typeof content !== "string") throw malformed("has an event without content");
  return {
    id: hex(id, 64),
    pubkey: hex(pubkey, 64),
    created_at: wholeNumber(created_at),
    kind: wholeNumber(kind),
    tags: tagsFrom(tags),
    content,
    sig: hex(sig, 128),
  };
}

/** All of them or none: the signature covers each. */
function tagsFrom(value: unknown): readonly (readonly string[])[] {
  if (!Array.isArray(value) || value.length > limits.nostrTags) throw malformed("has too many tags, or none");
  return value.map((tag: unknown) => {
    const fits = Array.isArray(tag) && tag.length <= limits.nostrTags && tag.every(isTagText);
    if (!fits) throw malformed("has a tag that is none");
    return tag;
  });
}

function isTagText(value: unknown): value is string {
  return typeof value === "string" && value.length <= limits.nostrTagBytes;
}

function hex(value: unknown, digits: number): string {
  if (typeof value !== "string" || value.length !== digits || !/^[0-9a-f]+$/.test(value)) {
    throw malformed("has a field that is not hex");
  }
  return value;
}

function wholeNumber(value: unknown): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw malformed("has a field that is no number");
  return value;
}

function shortText(value: unknown): string {
  if (typeof value !== "string" || value.length > 128) throw malformed("names nothing");
  return value;
}

function malformed(why: string): MeshError {
  return new MeshError("E_WIRE", `a relay's message ${why}`);
}

/**
 * Sealing one exchange: the request to the host's inference key, the response back chunk by chunk.
 *
 *   request   nonce[24] | tag[16] | ciphertext      nonce random, top bit of its last byte set
 *   chunk     nonce[24] | tag[16] | ciphertext      nonce = prefix[16] | u64 LE (index << 1 | final)
 *
 * One key serves both directions (X25519 of the asker's fresh key and the host's inference key). The top bit keeps a
 * request from ever being a valid chunk; the index and the final bit keep chunks from being dropped, repeated,
 * reordered or cut.
 *
 * @see protocol.md §7 · wire.md §4-6
 */
import { equal, readU32le, writeU32le } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { RequestEnvelope } from "../wire/envelope.ts";
import { agreeOnce, type KeyPair, nonceBytes, openBox, randomOctets, sealInto, sharedKey, tagBytes } from "./box.ts";
import type { InferenceKey } from "./inference-keys.ts";
import type { SecretBytes } from "./secret.ts";

const prefixBytes = 16;
/** Bytes before the plaintext of a framed chunk: u32 length, nonce, tag. */
const chunkOverhead = 4 + nonceBytes + tagBytes;

/** How the chunks of a peer are read. Follows from what the peer has shown, never from the bytes (wire.md §5). */
export type ChunkOrder = "indexed" | "unordered";

/** The asker's side of one exchange. Call {@link end} when it is over. */
export class AskerSeal {
  /** Public key that goes into the envelope, 32 bytes. */
  readonly ephemeralKey: Uint8Array;
  readonly #key: SecretBytes;
  readonly #requestNonce: Uint8Array;
  #sealed = false;

  /**
   * @param hostKey inference key of the host, 32 bytes
   * @param options `ephemeral` and `nonce` are fixed by tests only
   * @throws E_KEY when the host's key is of low order
   */
  constructor(hostKey: Uint8Array, options: { ephemeral?: KeyPair; nonce?: Uint8Array } = {}) {
    this.#requestNonce = options.nonce ?? requestNonce();
    const { ephemeralKey, key } = options.ephemeral ? agreeBy(options.ephemeral, hostKey) : agreeOnce(hostKey);
    this.ephemeralKey = ephemeralKey;
    this.#key = key;
  }

  /** Seals the whole HTTP request. @param plaintext its parts, one after the other @throws E_BUG at a second one: nonces serve once */
  sealRequest(...plaintext: readonly Uint8Array[]): RequestEnvelope {
    const length = plaintext.reduce((sum, part) => sum + part.length, 0);
    const ciphertext = new Uint8Array(nonceBytes + tagBytes + length);
    ciphertext.set(this.#requestNonce);
    // in its place: a request may be as large as memory allows
    let at = nonceBytes + tagBytes;
    for (const part of plaintext) {
      ciphertext.set(part, at);
      at += part.length;
    }
    const inside = ciphertext.subarray(nonceBytes + tagBytes);
    sealInto(ciphertext.subarray(nonceBytes), inside, this.#requestNonce, this.#key);
    if (this.#sealed) throw new MeshError("E_BUG", "an exchange seals one request");
    this.#sealed = true;
    return { ephemeralKey: this.ephemeralKey, ciphertext };
  }

  openResponse(order: ChunkOrder): ChunkOpener {
    return new ChunkOpener(this.#key, order, this.#requestNonce);
  }

  /** Erases the exchange's key. */
  end(): void {
    this.#key.wipe();
  }
}

/** Opens the chunks of one response, in order. */
export class ChunkOpener {
  readonly #key: SecretBytes;
  readonly #order: ChunkOrder;
  readonly #requestNonce: Uint8Array;
  #prefix: Uint8Array | undefined;
  #next = 0;
  #final = false;

  constructor(key: SecretBytes, order: ChunkOrder, requestNonce: Uint8Array) {
    this.#key = key;
    this.#order = order;
    this.#requestNonce = requestNonce;
  }

  /** Whether the authenticated last chunk was seen; never in an unordered response. */
  get final(): boolean {
    return this.#final;
  }

  /**
   * Opens one chunk.
   *
   * @param box nonce[24] | tag[16] | ciphertext[n]; borrowed
   * @returns   n bytes of the HTTP response
   * @throws    E_ORDER another index or prefix than the next, or anything after the final chunk · E_OPEN does not verify
   */
  open(box: Uint8Array): Uint8Array {
    const nonce = box.subarray(0, nonceBytes);
    const final = this.#order === "indexed" ? this.#checkIndex(nonce) : this.#refuseReflection(nonce);
    const plaintext = openBox(box.subarray(nonceBytes), nonce, this.#key);
    if (!plaintext) throw new MeshError("E_OPEN", "a chunk of the answer does not open under the host's key");
    this.#prefix ??= nonce.slice(0, prefixBytes);
    this.#next += 1;
    this.#final = final;
    return plaintext;
  }

  /** Call at the end marker. @throws E_TRUNCATED when the final chunk was not seen: somebody cut the answer */
  finish(): void {
    if (this.#order === "indexed" && !this.#final) {
      throw new MeshError("E_TRUNCATED", "the answer ended without the host's final mark: it was cut on the way");
    }
  }

  /** @returns the final bit */
  #checkIndex(nonce: Uint8Array): boolean {
    const wrong = (why: string): MeshError => new MeshError("E_ORDER", `a chunk of the answer is out of order: ${why}`);
    if (this.#final) throw wrong("it comes after the final one");
    if (nonce.length < nonceBytes) throw wrong("its nonce is cut");
    if (this.#prefix && !beginsWith(nonce, this.#prefix)) throw wrong("it belongs to another answer");
    const low = readU32le(nonce, prefixBytes);
    const index = readU32le(nonce, prefixBytes + 4) * 0x8000_0000 + (low >>> 1);
    if (index !== this.#next) throw wrong(`expected number ${this.#next}`);
    return (low & 1) === 1;
  }

  // order cannot be proven for a reference host; at least our own request must not come back as an answer
  #refuseReflection(nonce: Uint8Array): false {
    if (equal(nonce, this.#requestNonce)) throw new MeshError("E_ORDER", "the answer is our own request, sent back");
    return false;
  }
}

/** The host's side of one opened request. Call {@link end} when it is over. */
export class HostSeal {
  /** Inference key that the request was sealed to, 32 bytes; stands in the response header (wire.md §5). */
  readonly hostKey: Uint8Array;
  readonly #key: SecretBytes;
  readonly #prefix: Uint8Array;
  #next = 0;

  constructor(hostKey: Uint8Array, key: SecretBytes, prefix: Uint8Array) {
    this.hostKey = hostKey;
    this.#key = key;
    this.#prefix = prefix;
  }

  /**
   * Seals the next piece of the response.
   *
   * @param plaintext bytes of the HTTP response, may be empty; borrowed
   * @param final     true for the last chunk, once
   * @returns         u32 LE length | nonce | tag | ciphertext, ready to be written
   */
  sealChunk(plaintext: Uint8Array, final: boolean): Uint8Array {
    const framed = new Uint8Array(chunkOverhead + plaintext.length);
    writeU32le(framed, 0, framed.length - 4);
    framed.set(this.#prefix, 4);
    writeCounter(framed, 4 + prefixBytes, this.#next, final);
    sealInto(framed.subarray(4 + nonceBytes), plaintext, framed.subarray(4, 4 + nonceBytes), this.#key);
    this.#next += 1;
    return framed;
  }

  /** Erases the exchange's key. */
  end(): void {
    this.#key.wipe();
  }
}

export interface OpenedRequest {
  /** The HTTP request, head and body. */
  readonly plaintext: Uint8Array;
  /** Whether the nonce carries the mark of wire.md §4; a reference asker's is random. */
  readonly marked: boolean;
  /** The key that it was sealed to. */
  readonly key: InferenceKey;
  readonly seal: HostSeal;
}

/**
 * Opens a request under any of `keys`. Every failure is the same failure: the caller answers all of them with one code.
 *
 * @param options `prefix` (16 bytes) is fixed by tests only
 * @throws E_OPEN
 */
export function openRequest(
  envelope: RequestEnvelope,
  keys: readonly InferenceKey[],
  options: { prefix?: Uint8Array } = {},
): OpenedRequest {
  const nonce = envelope.ciphertext.subarray(0, nonceBytes);
  const box = envelope.ciphertext.subarray(nonceBytes);
  for (const key of keys) {
    const shared = tryShare(key.secretKey, envelope.ephemeralKey);
    const plaintext = shared && openBox(box, nonce, shared);
    if (shared && plaintext) {
      const seal = new HostSeal(key.publicKey, shared, options.prefix ?? responsePrefix(nonce));
      return { plaintext, marked: ((nonce[nonceBytes - 1] ?? 0) & 0x80) !== 0, key, seal };
    }
    shared?.wipe();
  }
  throw new MeshError("E_OPEN", "the request does not open under this node's inference keys");
}

function agreeBy({ publicKey, secretKey }: KeyPair, hostKey: Uint8Array): ReturnType<typeof agreeOnce> {
  try {
    return { ephemeralKey: publicKey, key: sharedKey(secretKey, hostKey) };
  } finally {
    secretKey.wipe();
  }
}

function tryShare(secretKey: SecretBytes, publicKey: Uint8Array): SecretBytes | undefined {
  try {
    return sharedKey(secretKey, publicKey);
  } catch {
    return undefined;
  }
}

function requestNonce(): Uint8Array {
  const nonce = randomOctets(nonceBytes);
  nonce[nonceBytes - 1] = (nonce[nonceBytes - 1] ?? 0) | 0x80;
  return nonce;
}

// a reference asker's nonce is random: were it to begin with our prefix, its box could stand for one of our chunks
function responsePrefix(nonce: Uint8Array): Uint8Array {
  for (;;) {
    const prefix = randomOctets(prefixBytes);
    if (!equal(prefix, nonce.subarray(0, prefixBytes))) return prefix;
  }
}

/** Nonces are no secrets: the first difference may end it. */
function beginsWith(nonce: Uint8Array, prefix: Uint8Array): boolean {
  for (let at = 0; at < prefix.length; at += 1) if (nonce[at] !== prefix[at]) return false;
  return true;
}

/** u64 LE of index << 1 | final; `index` below 2^51, so the top bit is never set. */
function writeCounter(target: Uint8Array, offset: number, index: number, final: boolean): void {
  const value = index * 2 + (final ? 1 : 0);
  writeU32le(target, offset, value % 0x1_0000_0000);
  writeU32le(target, offset + 4, Math.floor(value / 0x1_0000_0000));
}

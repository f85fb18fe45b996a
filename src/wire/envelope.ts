/**
 * Envelope bytes (protocol.md §7.2, §7.4): how a sealed request and the chunks of a sealed response stand on a stream.
 * No key is used here; what is in the boxes is for crypto/ and tunnel/.
 *
 *   request    0xE1 | {"model":"","ephemeral_public_key":"<44 b64>","ciphertext":"<b64>"} | finish
 *              ciphertext, decoded = nonce[24] | tag[16] | encrypted HTTP/1.1 request
 *   response   0xE1 | host inference key[32] | ( u32 LE length | nonce[24] | tag[16] | ciphertext )* | 00 00 00 00 | finish
 */
import {
  concat,
  decodeBase64Into,
  fromBase64,
  fromUtf8,
  latin1,
  readU32le,
  toBase64,
  utf8,
  view,
} from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { StreamReader } from "./frame.ts";
import { type JsonMember, jsonMembers } from "./json-members.ts";
import { limits } from "./limits.ts";
import { envelopeByte } from "./stream-types.ts";

export interface RequestEnvelope {
  /** 32 bytes X25519, made for this one request. */
  readonly ephemeralKey: Uint8Array;
  /** nonce[24] | tag[16] | ciphertext */
  readonly ciphertext: Uint8Array;
}

/** Base64 is converted in slices of this many bytes (a multiple of 3), so that a large body is not copied as text. */
const sliceBytes = 49_152;

/**
 * @param model in clear "for routing"; nothing needs it, so ours is empty
 * @returns     UTF-8 JSON, what follows 0xE1; the member order is the reference's
 */
export function encodeRequestEnvelope(envelope: RequestEnvelope, model = ""): Uint8Array {
  return encodeSealedRequest(envelope, model).subarray(1);
}

/** The same behind its 0xE1, in one piece: all that an asker writes. */
export function encodeSealedRequest({ ephemeralKey, ciphertext }: RequestEnvelope, model = ""): Uint8Array {
  const key = toBase64(ephemeralKey);
  const head = utf8(`\0{"model":${JSON.stringify(model)},"ephemeral_public_key":"${key}","ciphertext":"`);
  head[0] = envelopeByte;
  const tail = utf8('"}');
  const out = new Uint8Array(head.length + 4 * Math.ceil(ciphertext.length / 3) + tail.length);
  out.set(head);
  let at = head.length;
  for (let from = 0; from < ciphertext.length; from += sliceBytes) {
    at += view(out).write(toBase64(ciphertext.subarray(from, from + sliceBytes)), at, "latin1");
  }
  out.set(tail, at);
  return out;
}

/**
 * Any member order; unknown members are ignored, duplicates of ours are an error, as in the reference.
 *
 * @param json what follows 0xE1, at most limits.envelopeBytes; the result shares no memory with it
 * @throws     E_WIRE not such JSON, a member missing or twice, base64 that is not canonical and padded, a key that is
 *             not 32 bytes, a ciphertext without room for nonce and tag
 */
export function decodeRequestEnvelope(json: Uint8Array): RequestEnvelope {
  if (json.length > limits.envelopeBytes) {
    throw new MeshError("E_WIRE", `an envelope has more than ${limits.envelopeBytes} bytes`);
  }
  const members = new Map<string, JsonMember>();
  let extraBytes = 0;
  for (const member of jsonMembers(json, limits.envelopeDepth)) {
    const isOurs = member.name === "model" || member.name === "ephemeral_public_key" || member.name === "ciphertext";
    if (member.name !== "ciphertext") extraBytes += member.value.length;
    if (extraBytes > limits.envelopeExtraBytes)
      throw new MeshError("E_WIRE", "an envelope has too much beside its ciphertext");
    if (!isOurs) {
      parseJson(member.value);
      continue;
    }
    if (members.has(member.name)) throw new MeshError("E_WIRE", `an envelope has "${member.name}" twice`);
    members.set(member.name, member);
  }
  stringBytes(members, "model");
  const ephemeralKey = fromBase64(latin1(stringBytes(members, "ephemeral_public_key")), 32);
  const ciphertext = decodeBase64(stringBytes(members, "ciphertext"));
  if (ciphertext.length < limits.boxOverheadBytes) {
    throw new MeshError("E_WIRE", "the ciphertext of an envelope has no room for nonce and tag");
  }
  return { ephemeralKey, ciphertext };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw new MeshError("E_WIRE", "an envelope is not valid JSON", { cause });
  }
}

/** UTF-8 content of a string member, escapes resolved. */
function stringBytes(members: ReadonlyMap<string, JsonMember>, name: string): Uint8Array {
  const value = members.get(name)?.value;
  if (value === undefined) throw new MeshError("E_WIRE", `an envelope has no "${name}"`);
  if (value[0] !== 0x22) throw new MeshError("E_WIRE", `"${name}" of an envelope is not a string`);
  const content = value.subarray(1, value.length - 1);
  // base64 needs no escapes, so parsing (and copying) 100 MB as text is left to the odd writer that escapes the slash
  if (name === "ciphertext" && !view(content).includes(0x5c)) return content;
  const parsed = parseJson(value);
  return utf8(typeof parsed === "string" ? parsed : "");
}

/** Canonical padded base64 in slices, see {@link sliceBytes}. */
function decodeBase64(text: Uint8Array): Uint8Array {
  if (text.length % 4 !== 0) throw new MeshError("E_WIRE", "expected canonical base64");
  const padding = text.length === 0 ? 0 : Number(text.at(-1) === 0x3d) + Number(text.at(-2) === 0x3d);
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  const sliceText = (sliceBytes / 3) * 4;
  for (let from = 0, to = 0; from < text.length; from += sliceText, to += sliceBytes) {
    // the length of the slice is known, so that padding is refused everywhere but at the end
    const length = Math.min(sliceBytes, out.length - to);
    if (!decodeBase64Into(out.subarray(to, to + length), text.subarray(from, from + sliceText))) {
      throw new MeshError("E_WIRE", "expected canonical base64");
    }
  }
  return out;
}

/** @param hostKey 32 bytes, the key that the request was sealed to · @returns 0xE1 | key */
export function encodeResponseHeader(hostKey: Uint8Array): Uint8Array {
  return concat([Uint8Array.of(envelopeByte), hostKey]);
}

/** What follows the last chunk. Anyone can write it: only the final bit inside the last nonce proves an end. */
export const endMarker: Uint8Array = new Uint8Array(4);

/**
 * @returns the 32-byte key of the response header; it authenticates nothing, only opening chunks does
 * @throws  E_WIRE the peer did not answer with an envelope · E_TRUNCATED the stream ended before byte 33
 */
export async function readResponseHeader(reader: StreamReader): Promise<Uint8Array> {
  const first = await reader.byte();
  if (first !== undefined && first !== envelopeByte) {
    const found = `0x${first.toString(16).padStart(2, "0")}`;
    throw new MeshError("E_WIRE", `the host did not answer sealed: its first byte is ${found}`);
  }
  const key = first === undefined ? undefined : await reader.tryExact(32);
  if (key === undefined) throw new MeshError("E_TRUNCATED", "the stream ended before the header of the sealed answer");
  return key;
}

/** The next chunk as {@link readChunk} gives it, if all of it has been delivered; else nothing is taken. @throws E_WIRE */
export function takeChunk(reader: StreamReader): Uint8Array | "end" | undefined {
  const { waiting } = reader;
  if (waiting.length < 4) return undefined;
  const length = checkedChunkLength(readU32le(waiting, 0));
  if (waiting.length < 4 + length) return undefined;
  const box = reader.take(length, 4);
  return length === 0 ? "end" : box;
}

/** Takes the end marker, if that is what has been delivered next. */
export function takeEnd(reader: StreamReader): boolean {
  const { waiting } = reader;
  if (waiting.length < endMarker.length || readU32le(waiting, 0) !== 0) return false;
  reader.take(endMarker.length);
  return true;
}

/**
 * @returns the box of the next chunk (nonce[24] | tag[16] | ciphertext), or "end" at the marker
 * @throws  E_WIRE a length below 40 or over limits.chunkBytes, before anything of the chunk is read · E_TRUNCATED the
 *          stream ended before the marker
 */
export async function readChunk(reader: StreamReader): Promise<Uint8Array | "end"> {
  if (reader.waiting.length === 0) await reader.peekByte();
  const whole = takeChunk(reader);
  if (whole !== undefined) return whole;
  const header = await reader.tryExact(4);
  if (header === undefined) throw new MeshError("E_TRUNCATED", "the stream ended before the end marker");
  const length = checkedChunkLength(readU32le(header, 0));
  if (length === 0) return "end";
  const box = await reader.tryExact(length);
  if (box === undefined) throw new MeshError("E_TRUNCATED", "the stream ended inside a chunk");
  return box;
}

/** 0 is the end marker. @throws E_WIRE below a box without plaintext, or over the bound */
function checkedChunkLength(length: number): number {
  if (length === 0 || (length >= limits.boxOverheadBytes && length <= limits.chunkBytes)) return length;
  throw new MeshError("E_WIRE", `a chunk of ${length} bytes is not possible`);
}

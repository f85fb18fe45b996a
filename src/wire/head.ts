/**
 * The sealed head (wire.md §4): headers of the HTTP request inside an envelope that say who asks whom, when, and which
 * request this is. Added by ask(), checked and stripped by answer(); codec only, no clock, no key.
 *
 *   signed bytes = "sealmesh-request-v1\0" | to[32] | from[32] | ephemeral key[32] | id[16] | time u64 LE |
 *                  SHA-256( method SP path LF body )
 */
import { createHash } from "node:crypto";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { concat, fromBase64, fromHex, toBase64, toHex, u64le, utf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { labels } from "./labels.ts";
import { limits } from "./limits.ts";

export interface SealedHead {
  readonly version: 1;
  /** 16 random bytes. */
  readonly id: Uint8Array;
  /** Unix ms at the asker. */
  readonly timeMs: number;
  /** The host that the request is sealed to. */
  readonly to: EndpointId;
  /** Who asks. */
  readonly from: EndpointId;
  /** 64 bytes Ed25519, only through a relay: on a direct stream the connection proves the asker. */
  readonly signature: Uint8Array | undefined;
  /**
   * How the asker was admitted (record field 14), only through a relay: a host may not have met who asks. It is signed by
   * itself and names the endpoint id that it is for, so it stands outside of what the signature covers. Absent in an open mesh.
   */
  readonly credential?: Uint8Array | undefined;
}

/** What {@link headSigningBytes} covers. */
export interface HeadSigningInput {
  readonly to: EndpointId;
  readonly from: EndpointId;
  /** 32 bytes, the envelope's own. */
  readonly ephemeralKey: Uint8Array;
  /** 16 bytes. */
  readonly id: Uint8Array;
  readonly timeMs: number;
  /** As on the request line. */
  readonly method: string;
  /** As on the request line, query included. */
  readonly path: string;
  /** Body bytes without transfer coding. */
  readonly body: Uint8Array;
}

/** Header names of the sealed head, lower-case: what answer() strips. */
const sealedHeadNames = {
  version: "x-sealmesh-v",
  id: "x-sealmesh-id",
  time: "x-sealmesh-time",
  to: "x-sealmesh-to",
  from: "x-sealmesh-from",
  signature: "x-sealmesh-sig",
  credential: "x-sealmesh-cred",
} as const;

/** Text of the longest credential. */
const credentialCharacters = 4 * Math.ceil(limits.credentialBytes / 3);

/** @returns header names and values in their order on the wire */
export function sealedHeadFields(head: SealedHead): [name: string, value: string][] {
  const fields: [string, string][] = [
    [sealedHeadNames.version, String(head.version)],
    [sealedHeadNames.id, toHex(head.id)],
    [sealedHeadNames.time, String(head.timeMs)],
    [sealedHeadNames.to, head.to],
    [sealedHeadNames.from, head.from],
  ];
  if (head.signature !== undefined) fields.push([sealedHeadNames.signature, toBase64(head.signature)]);
  if (head.credential !== undefined) fields.push([sealedHeadNames.credential, toBase64(head.credential)]);
  return fields;
}

/**
 * @param headers names in lower case, none twice
 * @returns       undefined when there is none of the headers: a reference client
 * @throws        E_WIRE another version, a part missing (only signature and credential may), or malformed
 */
export function readSealedHead(
  headers: ReadonlyMap<string, string> | Readonly<Record<string, string | undefined>>,
): SealedHead | undefined {
  const get = (name: string): string | undefined => {
    if (isMap(headers)) return headers.get(name);
    return Object.hasOwn(headers, name) ? headers[name] : undefined;
  };
  const values = Object.values(sealedHeadNames).map(get);
  if (values.every((value) => value === undefined)) return undefined;

  const [version, id, time, to, from, signature, credential] = values;
  if (version !== "1") throw new MeshError("E_WIRE", "the sealed head has a version that is not spoken here, only 1");
  if (id === undefined || time === undefined || to === undefined || from === undefined) {
    throw new MeshError("E_WIRE", "the sealed head is incomplete");
  }
  return {
    version: 1,
    id: fromHex(id, 16),
    timeMs: parseTime(time),
    to: endpointId(to),
    from: endpointId(from),
    signature: signature === undefined ? undefined : fromBase64(signature, 64),
    ...(credential === undefined ? {} : { credential: parseCredential(credential) }),
  };
}

function parseCredential(text: string): Uint8Array {
  if (text.length > credentialCharacters || text === "") {
    throw new MeshError("E_WIRE", `a credential in the sealed head has from 1 to ${limits.credentialBytes} bytes`);
  }
  const credential = fromBase64(text);
  // the last group of four may hold up to two bytes more
  if (credential.length > limits.credentialBytes) throw new MeshError("E_WIRE", "a credential is too long");
  return credential;
}

function isMap(
  headers: ReadonlyMap<string, string> | Readonly<Record<string, string | undefined>>,
): headers is ReadonlyMap<string, string> {
  return headers instanceof Map;
}

/** Decimal, no sign and no leading zero. */
function parseTime(text: string): number {
  const time = /^(?:0|[1-9]\d{0,15})$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(time)) throw new MeshError("E_WIRE", "the time in the sealed head is no number of ms");
  return time;
}

/**
 * What the asker's endpoint key signs when a relay is in between.
 *
 * @throws E_WIRE method or path with anything but visible ASCII: its border in the digest would be ambiguous
 */
export function headSigningBytes(input: HeadSigningInput): Uint8Array {
  const { to, from, ephemeralKey, id, timeMs, method, path, body } = input;
  if (!/^[!-~]+$/.test(method) || !/^[!-~]+$/.test(path)) {
    throw new MeshError("E_WIRE", "a request line has visible ASCII only");
  }
  const digest = createHash("sha256")
    .update(utf8(`${method} ${path}\n`))
    .update(body)
    .digest();
  return concat([labels.request, fromHex(to, 32), fromHex(from, 32), ephemeralKey, id, u64le(BigInt(timeMs)), digest]);
}

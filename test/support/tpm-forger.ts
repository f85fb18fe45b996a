/**
 * A program that writes what a TPM would write, with a key of its own: for tests that need no TPM, and for the attacker
 * who has none. The layouts are written out here once more, from the TCG's Part 2, so that the product's own encoder
 * cannot agree with its decoder about something wrong.
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { endpointId } from "../../src/base/brand.ts";
import { evidenceBinding } from "../../src/attest/binding.ts";
import type { EvidenceItem, Expected, VerifyInput } from "../../src/attest/evidence.ts";

const u8 = (value: number): Buffer => Buffer.from([value]);
const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};
const u32le = (value: number): Buffer => u32(value).reverse();
const u64 = (value: bigint): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(value);
  return out;
};
const u64le = (value: bigint): Buffer => u64(value).reverse();
export const sized = (bytes: Uint8Array): Buffer => Buffer.concat([u16(bytes.length), bytes]);
const part = (bytes: Uint8Array): Buffer => Buffer.concat([u32le(bytes.length), bytes]);
const sha256 = (...parts: readonly Uint8Array[]): Buffer => createHash("sha256").update(Buffer.concat(parts)).digest();

export const host = endpointId("ab".repeat(32));
export const inferenceKey: Uint8Array = new Uint8Array(32).fill(7);
/** Time of all forged evidence; before every real clock's now. */
export const issuedAtMs = 1_700_000_000_000;
export const goodAttributes = 0x5_0072;

export interface SoftwareKey {
  readonly privateKey: KeyObject;
  readonly x: Uint8Array;
  readonly y: Uint8Array;
}

export function softwareKey(): SoftwareKey {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { x = "", y = "" } = publicKey.export({ format: "jwk" });
  return { privateKey, x: Buffer.from(x, "base64url"), y: Buffer.from(y, "base64url") };
}

/** TPMT_PUBLIC of a P-256 key that signs with ECDSA and SHA-256. */
export function attestationArea(key: Pick<SoftwareKey, "x" | "y">, attributes: number = goodAttributes): Uint8Array {
  const parameters = ["0010", "0018000b", "0003", "0010"].map((hex) => Buffer.from(hex, "hex"));
  return Buffer.concat([u16(0x23), u16(0x0b), u32(attributes), u16(0), ...parameters, sized(key.x), sized(key.y)]);
}

/** TPMT_PUBLIC of an endorsement key: RSA-2048 with this modulus, or P-256 with these coordinates. */
export function endorsementArea(
  key: { modulus: Uint8Array } | Pick<SoftwareKey, "x" | "y">,
  attributes = 0x3_00b2,
): Uint8Array {
  const isRsa = "modulus" in key;
  const head = [u16(isRsa ? 1 : 0x23), u16(0x0b), u32(attributes), sized(Buffer.alloc(32, 6))];
  const aes = Buffer.from("000600800043", "hex");
  const unique = isRsa ? [u16(2048), u32(0), sized(key.modulus)] : [u16(3), u16(0x10), sized(key.x), sized(key.y)];
  return Buffer.concat([...head, aes, u16(0x10), ...unique]);
}

export interface Forgery {
  readonly area: Uint8Array;
  readonly quote: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly pcrValues: readonly Uint8Array[];
  readonly endorsementArea?: Uint8Array;
  readonly collateral?: readonly Uint8Array[];
  readonly issuedAtMs?: number;
  /** Hex. */
  readonly measurement?: string;
  readonly posture?: Uint8Array;
}

/** What evidence says of its node: the time, and perhaps a build and a posture. */
export function statementOf(
  time: number,
  { measurement = "", posture = Buffer.alloc(0) }: Pick<Forgery, "measurement" | "posture"> = {},
): Uint8Array {
  return Buffer.concat([u64le(BigInt(time)), part(Buffer.from(measurement)), part(posture)]);
}

export function forgedItem(forgery: Forgery): EvidenceItem {
  const { area, quote, signature, pcrValues, collateral = [] } = forgery;
  const time = forgery.issuedAtMs ?? issuedAtMs;
  const parts = [area, quote, signature, Buffer.concat(pcrValues), forgery.endorsementArea ?? Buffer.alloc(0)];
  const evidence = Buffer.concat([statementOf(time, forgery), ...parts].map(part));
  return { kind: "tpm2", version: 1, evidence: new Uint8Array(evidence), collateral, issuedAtMs: time };
}

export interface QuoteFields {
  readonly area: Uint8Array;
  readonly extraData: Uint8Array;
  readonly pcrValues: readonly Uint8Array[];
  readonly magic?: number;
  readonly type?: number;
  /** Handle of the hierarchy that the key is said to be in. */
  readonly parent?: number;
  readonly clock?: bigint;
  readonly resets?: number;
  readonly restarts?: number;
  readonly bank?: number;
  /** How many PCRs the selection names. @default as many as there are values */
  readonly selected?: number;
}

/** TPMS_ATTEST over the first PCRs. */
export function forgedQuote(fields: QuoteFields): Uint8Array {
  const { area, extraData, pcrValues, magic = 0xff54_4347, type = 0x8018, parent = 0x4000_0001 } = fields;
  const { clock = 1_000n, resets = 5, restarts = 0, bank = 0x0b, selected = pcrValues.length } = fields;
  const name = Buffer.concat([u16(0x0b), sha256(area)]);
  const bitmap = Buffer.alloc(3);
  for (let pcr = 0; pcr < selected; pcr += 1) bitmap[pcr >> 3] = (bitmap[pcr >> 3] ?? 0) | (1 << (pcr & 7));
  return Buffer.concat([
    u32(magic),
    u16(type),
    sized(Buffer.concat([u16(0x0b), sha256(u32(parent), name)])),
    sized(extraData),
    u64(clock),
    u32(resets),
    u32(restarts),
    u8(1),
    u64(0x2019_1023n),
    // the selection, and the digest of what was selected
    u32(1),
    u16(bank),
    u8(3),
    bitmap,
    sized(sha256(...pcrValues)),
  ]);
}

/** TPMT_SIGNATURE of a software key. */
export function forgedSignature(key: SoftwareKey, message: Uint8Array): Uint8Array {
  const raw = sign("sha256", message, { key: key.privateKey, dsaEncoding: "ieee-p1363" });
  return Buffer.concat([u16(0x18), u16(0x0b), sized(raw.subarray(0, 32)), sized(raw.subarray(32))]);
}

/** What a quote must have as extra data. */
export function bindingOf(
  key: Pick<SoftwareKey, "x" | "y">,
  { endpointId: id = host, inferenceKey: inference = inferenceKey, nonce }: Partial<Expected> = {},
  statement: Uint8Array = statementOf(issuedAtMs),
): Uint8Array {
  return evidenceBinding({
    endpointId: id,
    inferenceKey: inference,
    attestedKey: Buffer.concat([u8(4), key.x, key.y]),
    nonce: Buffer.concat([part(nonce ?? Buffer.alloc(0)), statement]),
  });
}

export const pcrValues: readonly Uint8Array[] = [1, 2, 3].map((fill) => new Uint8Array(32).fill(fill));

/** Evidence that is right in everything a program can get right. */
export function forge(change: Partial<QuoteFields & { key: SoftwareKey; nonce: Uint8Array }> = {}): EvidenceItem {
  const { key = softwareKey(), nonce, ...fields } = change;
  const area = fields.area ?? attestationArea(key);
  const quote = forgedQuote({ area, extraData: bindingOf(key, { nonce }), pcrValues, ...fields });
  return forgedItem({ area, quote, signature: forgedSignature(key, quote), pcrValues: fields.pcrValues ?? pcrValues });
}

/** A verifier's question about an item, at the moment it was made. */
export function inputFor(item: EvidenceItem, change: Partial<VerifyInput> = {}): VerifyInput {
  return {
    item,
    expected: { endpointId: host, inferenceKey, nonce: undefined },
    roots: [],
    nowMs: item.issuedAtMs,
    maxAgeMs: 660_000,
    aheadMs: 30_000,
    ...change,
  };
}

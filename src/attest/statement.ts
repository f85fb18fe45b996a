/**
 * What a node says of itself inside its evidence, beside its keys: when it was made, which build runs, how its process and
 * machine are set up. Whoever holds the attested key signs it, so it is that party's word and no more; but nobody else can
 * change it, or put it beside other keys. Kinds with a form of their own (the reference's blob) do without.
 *
 *   statement            = issued at u64 LE, Unix ms | p(measurement) | p(posture)       p(x) = u32 LE length | x
 *   nonce of the binding = p(nonce, empty when nobody asked) | statement                 (attest/binding.ts)
 */
import {
  concat,
  empty,
  fromUtf8,
  lengthPrefixed,
  lengthPrefixedReader,
  readU64le,
  u64le,
  utf8,
} from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";

export interface Statement {
  /** Unix ms. */
  readonly issuedAtMs: number;
  /** Digest of the build, lower-case hex; undefined: not told. */
  readonly measurement: string | undefined;
  /** As encoded by whoever measured it; undefined: not told. */
  readonly posture: Uint8Array | undefined;
}

/** Hex digits of the longest digest that is in use. */
const maxMeasurement = 128;
/** A posture has about 200 bytes. */
const maxPostureBytes = 4_096;
/** What {@link encodeStatement} gives at most. */
export const maxStatementBytes: number = 8 + 4 + maxMeasurement + 4 + maxPostureBytes;

export function encodeStatement({ issuedAtMs, measurement = "", posture = empty }: Statement): Uint8Array {
  return concat([u64le(BigInt(issuedAtMs)), lengthPrefixed(utf8(measurement), posture)]);
}

/**
 * There is one way only to write a statement, so that what was decoded can be encoded again.
 *
 * @returns parts that share no memory with `bytes`
 * @throws  E_WIRE a part too long or cut short, something behind the last one, or a measurement that is no hex
 */
export function decodeStatement(bytes: Uint8Array): Statement {
  if (bytes.length < 8) throw malformed();
  const issuedAtMs = Number(readU64le(bytes, 0));
  if (!Number.isSafeInteger(issuedAtMs)) throw malformed();
  const parts = lengthPrefixedReader(bytes, 8, malformed);
  const measurement = fromUtf8(parts.next(maxMeasurement));
  const posture = parts.next(maxPostureBytes);
  parts.end();
  if (!/^(?:[0-9a-f]{2})*$/.test(measurement)) throw malformed();
  return {
    issuedAtMs,
    measurement: measurement === "" ? undefined : measurement,
    posture: posture.length === 0 ? undefined : posture,
  };
}

/** What stands in the place of the nonce in the binding. */
export function boundNonce(nonce: Uint8Array | undefined, statement: Uint8Array): Uint8Array {
  return concat([lengthPrefixed(nonce ?? empty), statement]);
}

function malformed(): MeshError {
  return new MeshError("E_WIRE", "what the evidence says of its node is malformed");
}

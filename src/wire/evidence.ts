/**
 * Evidence as bytes: the reference's blob (field 38, protocol.md §8.2, §8.3) and an item as a JSON file. Read and
 * written only; what a blob is worth is for attest/. A decoder here returns a value or throws E_WIRE.
 *
 *   blob   = {"attestation":{…},"signature":"<base64 DER ECDSA>"}       members in the order of ReferenceAttestation
 *   signed = "mesh-llm-hardware-attestation-v1:" | s(chip) | s(model) | memory u64 | sip u8 | secure boot u8 | rdma u8
 *            | s(endpoint id) | s(inference key) | s(attested key) | s(hash) | s(time)     s(x) = u32 LE length | UTF-8
 *   item   = {"kind":"…","version":1,"evidence":"<base64>","collateral":["<base64>"],"issued_at_ms":0}
 */
import { concat, fromBase64, fromUtf8, lengthPrefixed, toBase64, u64le, utf8 } from "../base/bytes.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { jsonMembers } from "./json-members.ts";
import { evidenceLabels } from "./labels.ts";
import { limits } from "./limits.ts";

/** Brackets inside a member that is not read. */
const extraDepth = 16;
const u64Max = 0xffff_ffff_ffff_ffffn;

export interface EvidenceItem {
  readonly kind: string;
  readonly version: number;
  /** Byte for byte as received: never written anew, also when passed on. */
  readonly evidence: Uint8Array;
  /** Certificates and the like, as its kind defines. */
  readonly collateral: readonly Uint8Array[];
  /** Unix ms, as told beside the evidence and unsigned: a kind that signs its time goes by that alone. */
  readonly issuedAtMs: number;
}

/** All texts exactly as signed: a time or a key written in another way would be other bytes. */
export interface ReferenceAttestation {
  readonly chipName: string;
  readonly hardwareModel: string;
  /** u64. */
  readonly memoryBytes: bigint;
  readonly sip: boolean;
  readonly secureBoot: boolean;
  readonly rdmaDisabled: boolean;
  /** 64 hex digits in a good one. */
  readonly endpointId: string;
  /** Base64 of 32 bytes in a good one. */
  readonly inferenceKey: string;
  /** Base64 of a SEC1 point in a good one. */
  readonly attestedKey: string;
  /** 64 hex digits, or empty. */
  readonly binaryHash: string;
  /** RFC 3339 in a good one. */
  readonly timestamp: string;
}

export interface ReferenceBlob {
  readonly attestation: ReferenceAttestation;
  /** DER ECDSA P-256 over SHA-256 of {@link referenceBlobBytes}. */
  readonly signature: Uint8Array;
}

/** What the attested key signs; hashed once. */
export function referenceBlobBytes(attestation: ReferenceAttestation): Uint8Array {
  const { chipName, hardwareModel, memoryBytes, sip, secureBoot, rdmaDisabled } = attestation;
  const { endpointId, inferenceKey, attestedKey, binaryHash, timestamp } = attestation;
  return concat([
    evidenceLabels.referenceBlob,
    lengthPrefixed(...[chipName, hardwareModel].map(utf8)),
    u64le(memoryBytes),
    Uint8Array.from([sip, secureBoot, rdmaDisabled], Number),
    lengthPrefixed(...[endpointId, inferenceKey, attestedKey, binaryHash, timestamp].map(utf8)),
  ]);
}

/** The blob as the reference writes it, byte for byte. */
export function encodeReferenceBlob({ attestation, signature }: ReferenceBlob): Uint8Array {
  const members = [
    ["chip_name", text(attestation.chipName)],
    ["hardware_model", text(attestation.hardwareModel)],
    ["unified_memory_bytes", attestation.memoryBytes],
    ["sip_enabled", attestation.sip],
    ["secure_boot_enabled", attestation.secureBoot],
    ["rdma_disabled", attestation.rdmaDisabled],
    ["node_endpoint_id", text(attestation.endpointId)],
    ["inference_public_key", text(attestation.inferenceKey)],
    ["se_public_key", text(attestation.attestedKey)],
    ["binary_hash", text(attestation.binaryHash)],
    ["timestamp", text(attestation.timestamp)],
  ] as const;
  const inner = members.map(([name, value]) => `"${name}":${value}`).join(",");
  return utf8(`{"attestation":{${inner}},"signature":"${toBase64(signature)}"}`);
}

/**
 * Unknown members are skipped, as the reference does; a member that comes twice is refused, because another reader
 * might believe the other one.
 *
 * @throws E_WIRE longer than limits.evidenceBytes, not JSON, a member missing, twice or of another type
 */
export function decodeReferenceBlob(bytes: Uint8Array): ReferenceBlob {
  if (bytes.length > limits.evidenceBytes) throw malformed(`it has more than ${limits.evidenceBytes} bytes`);
  const blob = membersOf(bytes);
  const inner = membersOf(blob("attestation"));
  const attestation = {
    chipName: readText(inner("chip_name")),
    hardwareModel: readText(inner("hardware_model")),
    memoryBytes: readU64(inner("unified_memory_bytes")),
    sip: readBoolean(inner("sip_enabled")),
    secureBoot: readBoolean(inner("secure_boot_enabled")),
    rdmaDisabled: readBoolean(inner("rdma_disabled")),
    endpointId: readText(inner("node_endpoint_id")),
    inferenceKey: readText(inner("inference_public_key")),
    attestedKey: readText(inner("se_public_key")),
    binaryHash: readText(inner("binary_hash")),
    timestamp: readText(inner("timestamp")),
  };
  return { attestation, signature: fromBase64(readText(blob("signature"))) };
}

/** An item as one JSON document, for files and third parties. */
export function encodeEvidenceItem({ kind, version, evidence, collateral, issuedAtMs }: EvidenceItem): Uint8Array {
  const document = {
    kind,
    version,
    evidence: toBase64(evidence),
    collateral: collateral.map(toBase64),
    issued_at_ms: issuedAtMs,
  };
  return utf8(JSON.stringify(document));
}

/**
 * @throws E_WIRE longer than limits.evidenceFileBytes, not JSON, a member missing, twice, of another type, or with a
 *         part beyond its bound
 */
export function decodeEvidenceItem(bytes: Uint8Array): EvidenceItem {
  if (bytes.length > limits.evidenceFileBytes) throw malformed(`it has more than ${limits.evidenceFileBytes} bytes`);
  const item = membersOf(bytes);
  const kind = readText(item("kind"));
  if (utf8(kind).length > limits.nameBytes) throw malformed("its kind is no name");
  const collateral = parseJson(item("collateral"));
  if (!Array.isArray(collateral) || collateral.length > limits.collateralPieces) {
    throw malformed(`its collateral is no list of at most ${limits.collateralPieces} texts`);
  }
  const read = {
    kind,
    version: readSafeNumber(item("version")),
    evidence: bounded(readText(item("evidence"))),
    collateral: collateral.map((piece) => bounded(checkText(piece))),
    issuedAtMs: readSafeNumber(item("issued_at_ms")),
  };
  if (!isWithinEvidenceLimits(read)) throw malformed(`its parts have more than ${limits.evidenceItemBytes} bytes`);
  return read;
}

/**
 * Whether an item is inside the bounds that its decoders have, for items that did not come through one.
 */
export function isWithinEvidenceLimits({ evidence, collateral }: EvidenceItem): boolean {
  const parts = [evidence, ...collateral];
  return (
    collateral.length <= limits.collateralPieces &&
    parts.every((part) => part.length <= limits.evidenceBytes) &&
    parts.reduce((sum, part) => sum + part.length, 0) <= limits.evidenceItemBytes
  );
}

/**
 * A time of RFC 3339 in Unix ms; digits below a millisecond are cut off.
 *
 * @returns undefined when the text is no such time or names a day that does not exist
 */
export function rfc3339Ms(time: string): number | undefined {
  const match =
    /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/.exec(time) ?? undefined;
  if (match === undefined) return undefined;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const [fraction = "", sign, offsetHour = "0", offsetMinute = "0"] = match.slice(7);
  // second 60 is a leap second, and counts as the start of the next minute
  if (hour > 23 || minute > 59 || second > 60 || Number(offsetHour) > 23 || Number(offsetMinute) > 59) return undefined;
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  if (date.getUTCMonth() !== month - 1 || date.getUTCDate() !== day) return undefined;
  const localMs = date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + Number(`${fraction}000`.slice(0, 3));
  const offsetMs = (Number(offsetHour) * 60 + Number(offsetMinute)) * 60_000;
  return sign === "-" ? localMs + offsetMs : localMs - offsetMs;
}

function malformed(what: string, cause?: unknown): MeshError {
  return new MeshError("E_WIRE", `the evidence is malformed: ${what}`, { cause });
}

function text(value: string): string {
  return JSON.stringify(value);
}

/** Access to the members of one JSON object, none of which may come twice; a missing one throws. */
function membersOf(bytes: Uint8Array): (name: string) => Uint8Array {
  // the members are cut out unparsed; this makes sure that all of it is JSON, the skipped ones too
  parseJson(bytes);
  const members = new Map<string, Uint8Array>();
  for (const { name, value } of jsonMembers(bytes, extraDepth)) {
    if (members.has(name)) throw malformed("a member comes twice");
    members.set(name, value);
  }
  return (name) => {
    const value = members.get(name);
    if (value === undefined) throw malformed(`it has no ${name}`);
    return value;
  };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw isMeshError(cause) ? cause : malformed("it is not JSON", cause);
  }
}

function readText(value: Uint8Array): string {
  return checkText(parseJson(value));
}

function checkText(value: unknown): string {
  if (typeof value !== "string") throw malformed("a member is no text");
  // half of a surrogate pair has no UTF-8, so two different texts would be the same signed bytes
  if (/\p{Surrogate}/u.test(value)) throw malformed("a text is no Unicode");
  return value;
}

/** Without a detour through a double, which would round beyond 2^53. */
function readU64(value: Uint8Array): bigint {
  const digits = fromUtf8(value);
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(digits) || BigInt(digits) > u64Max) throw malformed("a member is no u64");
  return BigInt(digits);
}

function readSafeNumber(value: Uint8Array): number {
  const number = readU64(value);
  if (number > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed("a number is too large");
  return Number(number);
}

function readBoolean(value: Uint8Array): boolean {
  const parsed = parseJson(value);
  if (typeof parsed !== "boolean") throw malformed("a member is neither true nor false");
  return parsed;
}

function bounded(base64: string): Uint8Array {
  const bytes = fromBase64(base64);
  if (bytes.length > limits.evidenceBytes) throw malformed(`a part has more than ${limits.evidenceBytes} bytes`);
  return bytes;
}

/**
 * Every decoder of wire/ on random bytes, on valid bytes with changes, and on valid bytes cut short: it returns a value
 * or throws a MeshError, and soon. fast-check prints seed and path of a failure; SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { authorityKey, endpointId } from "../../src/base/brand.ts";
import { concat, fromBase64Url, fromHex, fromUtf8, latin1, toBase64Url, toHex, utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { decodeAddress, encodeAddress } from "../../src/wire/address.ts";
import {
  admissionCodes,
  decodeAdmissionChallenge,
  decodeAdmissionProof,
  decodeAdmissionReply,
  decodeAdmissionRequest,
  decodeCredential,
  decodeGrant,
  decodeLink,
  decodeSignedGrant,
  encodeAdmissionChallenge,
  encodeAdmissionProof,
  encodeAdmissionReply,
  encodeAdmissionRequest,
  encodeCredential,
  encodeGrant,
  encodeLink,
  encodeSignedGrant,
  grantId,
} from "../../src/wire/admission.ts";
import { challengeBytes, decodeChallenge } from "../../src/wire/challenge.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  encodeResponseHeader,
  endMarker,
  readChunk,
  readResponseHeader,
} from "../../src/wire/envelope.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import {
  decodeGossip,
  decodePeerDown,
  decodePeerLeaving,
  decodeRouteRequest,
  decodeRouteTable,
  encodeGossip,
  encodePeerDown,
  encodePeerLeaving,
  encodeRouteRequest,
  encodeRouteTable,
} from "../../src/wire/gossip.ts";
import { readSealedHead, sealedHeadFields } from "../../src/wire/head.ts";
import { decodeBareInvite, decodeInvite, encodeInvite } from "../../src/wire/invite.ts";
import { limits } from "../../src/wire/limits.ts";
import { decodePosture, encodePosture, everyDoor } from "../../src/wire/posture.ts";
import { decodeRecord, decodeSignedRecord, encodeRecord, encodeSignedRecord } from "../../src/wire/record.ts";
import {
  decodeRecordReply,
  decodeRecordRequest,
  decodeRelayedOpen,
  decodeRelayOpen,
  decodeRelayReply,
  encodeRecordReply,
  encodeRecordRequest,
  encodeRelayedOpen,
  encodeRelayOpen,
  encodeRelayReply,
  relayCodes,
} from "../../src/wire/relay.ts";
import { fc } from "../support/fast-check.ts";
import { pieces } from "../unit/wire/pieces.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;

const id = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");
const address = { id, relays: ["https://host./"], direct: ["192.0.2.1:4433", "[2001:db8::1]:5678"] };
const key = Uint8Array.from({ length: 32 }, (_, at) => at);

const posture = encodePosture({
  platform: "linux",
  doors: { ...everyDoor("closed"), inspector: "open", swap: "unknown" },
  hardening: true,
  engine: "embedded",
  scrubbed: ["LD_PRELOAD", "NODE_OPTIONS"],
  confidentialVm: "tdx",
  build: "ab".repeat(32),
  runtime: "cd".repeat(32),
});
const record = encodeRecord({
  endpointId: id,
  seq: 9n,
  issuedAtMs: 1_767_225_600_000,
  notAfterMs: 1_767_229_200_000,
  inferenceKey: key,
  keyNotAfterMs: 1_767_229_200_000,
  capabilities: ["relay"],
  posture,
});
const signedRecord = encodeSignedRecord({ signed: record, signature: new Uint8Array(64) });

const gossip = encodeGossip({
  sender: id,
  announcements: [
    {
      id,
      role: "host",
      httpPort: 9337,
      version: "0.65.1",
      hostname: "box",
      models: ["m", "n"],
      runtimes: [{ name: "m", contextLength: 8192, ready: true }],
      address,
      meshId: "mesh",
      inferenceKey: "B6N8vBQgk8i3VdwbEOhstCY3StFqqFPtC9/AsrhtHHw=",
      ownership: utf8("ownership"),
      posture: [fromHex("1001")],
      evidence: utf8("{}"),
      record: signedRecord,
    },
  ],
});

const authority = authorityKey("ab".repeat(32));
const someGrant = grantId("0123456789abcdef".repeat(2));
const link = encodeLink({
  authority,
  subject: id,
  issuer: authority,
  role: "host",
  delegable: true,
  issuedAtMs: 1_767_225_600_000,
  notAfterMs: 1_767_229_200_000,
  grantId: someGrant,
});
const credential = encodeCredential([1, 2].map((fill) => ({ signed: link, signature: new Uint8Array(64).fill(fill) })));
const grant = encodeGrant({
  authority,
  issuer: id,
  id: someGrant,
  role: "client",
  expiresMs: 1_767_225_600_000,
  uses: 3,
  delegable: true,
  bearer: key,
});
const signedGrant = encodeSignedGrant({ signed: grant, signature: new Uint8Array(64) });
const granted = { bytes: signedGrant, bearerSeed: key };

const proven = { signature: new Uint8Array(64), credential: new Uint8Array(100) };
const head = { version: 1, id: key.subarray(16), timeMs: 5, to: id, from: id, ...proven } as const;
const headText = sealedHeadFields(head)
  .map(([name, value]) => `${name}: ${value}`)
  .join("\n");

/** Header lines as a parser would hand them on: the last of equal names. */
function parseHead(bytes: Uint8Array): unknown {
  const lines = latin1(bytes).split("\n");
  return readSealedHead(new Map(lines.map((line) => [line.split(": ")[0] ?? "", line.split(": ")[1] ?? ""])));
}

async function readResponse(bytes: Uint8Array): Promise<unknown> {
  const reader = new StreamReader(pieces(bytes, 7));
  await readResponseHeader(reader);
  for (let count = 0; ; count += 1) if ((await readChunk(reader)) === "end") return count;
}

async function readFrames(bytes: Uint8Array): Promise<unknown> {
  const reader = new StreamReader(pieces(bytes, 3));
  await reader.frame(1_024);
  return reader.end();
}

const boxes = [new Uint8Array(40), new Uint8Array(60).fill(1)].map(encodeFrame);

interface Decoder {
  readonly name: string;
  readonly valid: Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

const decoders: readonly Decoder[] = [
  { name: "invite", valid: utf8(encodeInvite(address)), decode: (bytes) => decodeInvite(latin1(bytes)) },
  { name: "bare invite", valid: utf8(encodeInvite(address)), decode: (bytes) => decodeBareInvite(latin1(bytes)) },
  {
    name: "invite with a policy",
    valid: utf8(encodeInvite(address, { policy: { attested: "vendor", encryption: true } })),
    decode: (bytes) => decodeInvite(latin1(bytes)),
  },
  {
    name: "invite with a grant",
    valid: utf8(encodeInvite(address, { granted, name: "poker-night" })),
    decode: (bytes) => decodeInvite(latin1(bytes)),
  },
  {
    name: "JSON of an invite with a grant",
    valid: fromBase64Url(encodeInvite(address, { granted, name: "poker-night" })),
    decode: (bytes) => decodeInvite(toBase64Url(bytes)),
  },
  { name: "link", valid: link, decode: decodeLink },
  { name: "credential", valid: credential, decode: decodeCredential },
  { name: "grant", valid: grant, decode: decodeGrant },
  { name: "signed grant", valid: signedGrant, decode: decodeSignedGrant },
  {
    name: "admission request",
    valid: encodeAdmissionRequest({ grant: signedGrant, nonce: key }),
    decode: decodeAdmissionRequest,
  },
  {
    name: "admission challenge",
    valid: encodeAdmissionChallenge({ code: admissionCodes.ok, nonce: key }),
    decode: decodeAdmissionChallenge,
  },
  { name: "admission proof", valid: encodeAdmissionProof(new Uint8Array(64)), decode: decodeAdmissionProof },
  {
    name: "admission reply",
    valid: encodeAdmissionReply({ code: admissionCodes.ok, credential }),
    decode: decodeAdmissionReply,
  },
  { name: "address", valid: encodeAddress(address), decode: decodeAddress },
  { name: "gossip frame", valid: gossip, decode: (bytes) => decodeGossip(bytes, id) },
  { name: "route request", valid: encodeRouteRequest(id), decode: decodeRouteRequest },
  {
    name: "route table",
    valid: encodeRouteTable({ entries: [{ id, model: "m" }], meshId: "mesh" }),
    decode: decodeRouteTable,
  },
  { name: "peer down", valid: encodePeerDown(id), decode: decodePeerDown },
  { name: "peer leaving", valid: encodePeerLeaving(id), decode: (bytes) => decodePeerLeaving(bytes, id) },
  { name: "record", valid: record, decode: decodeRecord },
  { name: "signed record", valid: signedRecord, decode: decodeSignedRecord },
  { name: "posture", valid: posture, decode: decodePosture },
  { name: "record request", valid: encodeRecordRequest(id), decode: decodeRecordRequest },
  { name: "record reply", valid: encodeRecordReply([signedRecord]), decode: decodeRecordReply },
  { name: "relay open", valid: encodeRelayOpen({ target: id, hops: 0 }), decode: decodeRelayOpen },
  { name: "relay reply", valid: encodeRelayReply(relayCodes.busy), decode: decodeRelayReply },
  { name: "relayed open", valid: encodeRelayedOpen({ hops: 1 }), decode: decodeRelayedOpen },
  {
    name: "request envelope",
    valid: encodeRequestEnvelope({ ephemeralKey: key, ciphertext: new Uint8Array(64).fill(0xef) }, "m"),
    decode: decodeRequestEnvelope,
  },
  {
    name: "chunk stream",
    valid: concat([encodeResponseHeader(key), ...boxes, endMarker]),
    decode: readResponse,
  },
  { name: "control frame", valid: encodeFrame(key), decode: readFrames },
  { name: "sealed head", valid: utf8(headText), decode: parseHead },
  {
    name: "challenge",
    valid: challengeBytes({ verifier: id, host: id, inferenceKey: key, random: key }),
    decode: decodeChallenge,
  },
];

/** Bytes that matter to somebody: JSON, base64, protobuf tags, lengths. */
const telling = fc.constantFrom(
  0x00,
  0x01,
  0x08,
  0x0a,
  0x12,
  0x22,
  0x2c,
  0x3d,
  0x5b,
  0x5c,
  0x7b,
  0x7d,
  0x7f,
  0x80,
  0xff,
);
const someByte = fc.oneof(telling, fc.integer({ min: 0, max: 255 }));

interface Change {
  readonly kind: "set" | "insert" | "remove" | "repeat";
  readonly at: number;
  readonly byte: number;
  readonly count: number;
}

const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("set", "insert", "remove", "repeat"),
  at: fc.nat(4_096),
  byte: someByte,
  count: fc.integer({ min: 1, max: 40 }),
});

function apply(bytes: Uint8Array, { kind, at: position, byte, count }: Change): Uint8Array {
  const at = bytes.length === 0 ? 0 : position % bytes.length;
  const piece = bytes.subarray(at, at + count);
  switch (kind) {
    case "set":
      return concat([bytes.subarray(0, at), Uint8Array.of(byte), bytes.subarray(at + 1)]);
    case "insert":
      return concat([bytes.subarray(0, at), Uint8Array.of(byte), bytes.subarray(at)]);
    case "remove":
      return concat([bytes.subarray(0, at), bytes.subarray(at + count)]);
    case "repeat":
      return concat([bytes.subarray(0, at), piece, piece, bytes.subarray(at + count)]);
  }
}

/** Runs one case; anything but a value or a MeshError, and anything slow, is a failure. */
async function check(decode: Decoder["decode"], bytes: Uint8Array): Promise<void> {
  const started = performance.now();
  try {
    await decode(bytes);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw new Error(`not a MeshError for ${toHex(bytes)}`, { cause: thrown });
  }
  expect(performance.now() - started).toBeLessThan(caseMs);
}

describe.each(decoders)("$name", ({ decode, valid }) => {
  it("accepts the valid sample", async () => {
    await decode(valid);
  });

  it("random bytes", async () => {
    const random = fc.oneof(
      fc.uint8Array({ maxLength: 512 }),
      fc.array(someByte, { maxLength: 200 }).map((bytes) => Uint8Array.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(random, (bytes) => check(decode, bytes)),
      { numRuns },
    );
  });

  it("valid bytes with changes", async () => {
    const changes = fc.array(change, { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(changes, (list) => check(decode, list.reduce(apply, valid))),
      { numRuns },
    );
  });

  it("valid bytes cut short, anywhere", async () => {
    for (let length = 0; length < valid.length; length += 1) await check(decode, valid.slice(0, length));
  });
});

describe("round trips", () => {
  it("any address", () => {
    const octet = fc.integer({ min: 0, max: 255 });
    const port = fc.integer({ min: 0, max: 65_535 });
    const v4 = fc.tuple(octet, octet, octet, octet, port).map(([a, b, c, d, p]) => `${a}.${b}.${c}.${d}:${p}`);
    const v6 = fc.tuple(fc.ipV6(), port).map(([host, p]) => `[${host}]:${p}`);
    const unique = (source: fc.Arbitrary<string>): fc.Arbitrary<string[]> => fc.uniqueArray(source, { maxLength: 10 });
    fc.assert(
      fc.property(unique(v4), unique(v6), (first, second) => {
        const sample = { id, relays: ["http://r./"], direct: [...first, ...second] };
        expect(decodeAddress(encodeAddress(sample))).toEqual(sample);
        expect(decodeInvite(encodeInvite(sample))).toEqual({ address: sample, minimum: undefined });
      }),
      { numRuns },
    );
  });

  it("any ciphertext and model", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 40, maxLength: 300 }), fc.string({ unit: "grapheme" }), (bytes, model) => {
        const json = encodeRequestEnvelope({ ephemeralKey: key, ciphertext: bytes }, model);
        expect(decodeRequestEnvelope(json)).toEqual({ ephemeralKey: key, ciphertext: bytes });
        expect(JSON.parse(fromUtf8(json))).toMatchObject({ model });
      }),
      { numRuns },
    );
  });
});

describe("the largest inputs that are read", () => {
  const frame = (entry: Uint8Array): Uint8Array =>
    concat([Uint8Array.of(0x08, 1, 0x1a, 32), fromHex(id), Uint8Array.of(0x12, ...varint(entry.length)), entry]);

  function varint(value: number): number[] {
    return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
  }

  /** 8 MiB that repeat `unit`. */
  function full(unit: readonly number[]): Uint8Array {
    const out = new Uint8Array(limits.controlFrameBytes - 1_000);
    for (let at = 0; at < out.length; at += 1) out[at] = unit[at % unit.length] ?? 0;
    return out.subarray(0, out.length - (out.length % unit.length));
  }

  it.each([
    ["empty names", [0x52, 0]],
    ["empty runtimes", [0xda, 0x01, 0]],
    ["unknown numbers", [0xf0, 0x7f, 1]],
    ["empty entries inside", [0x12, 0]],
    ["nothing but continuation", [0xff]],
  ])("a gossip entry of 8 MiB of %s", async (_name, unit) => {
    await check((bytes) => decodeGossip(bytes, id), frame(full(unit)));
    await check((bytes) => decodeGossip(bytes, id), full(unit));
  });

  it("a frame of as many fields as are allowed", async () => {
    const runtimes = concat(Array.from({ length: limits.fieldsPerFrame - 8 }, () => Uint8Array.of(0xda, 0x01, 0)));
    const entry = concat([Uint8Array.of(0x0a, 32), fromHex(id), runtimes]);
    await check((bytes) => decodeGossip(bytes, id), frame(entry));
    expect(decodeGossip(frame(entry), id).announcements[0]?.runtimes).toEqual([]);
  });
});

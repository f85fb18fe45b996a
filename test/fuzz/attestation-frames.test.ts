/**
 * The frames of challenges and evidence, and both ends of a challenge, on random bytes and on valid bytes with changes:
 * a value or a MeshError, soon, and never more than the bounds allow. SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { ChallengeAsk, openChallenge } from "../../src/attest/challenge.ts";
import { endpointId } from "../../src/base/brand.ts";
import { concat, toHex } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { openRequest } from "../../src/crypto/seal.ts";
import {
  attestCodes,
  decodeChallengeAnswer,
  decodeChallengeReply,
  decodeChallengeRequest,
  decodeEvidenceReply,
  decodeEvidenceRequest,
  encodeChallengeAnswer,
  encodeChallengeReply,
  encodeChallengeRequest,
  encodeEvidenceReply,
  encodeEvidenceRequest,
} from "../../src/wire/attestation.ts";
import { limits } from "../../src/wire/limits.ts";
import { codeOf } from "../support/expect-code.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;

const id = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");
const key = Uint8Array.from({ length: 32 }, (_, at) => at);
const proof = { kind: "tpm2", attestedKey: new Uint8Array(65).fill(4), signature: key };
const item = { kind: "tpm2", version: 1, evidence: key, collateral: [key, key], issuedAtMs: 1_767_225_600_000 };
const question = { kind: "tpm2", question: key };

const inferenceKey = { ...generateKeyPair(), createdMs: 0, notAfterMs: 1 };
const ask = new ChallengeAsk({ verifier: id, host: id, inferenceKey: inferenceKey.publicKey });
const sealedReply = openChallenge(ask.sealed, [inferenceKey], id).seal([proof]);

interface Decoder {
  readonly name: string;
  readonly valid: Uint8Array;
  readonly decode: (bytes: Uint8Array) => unknown;
}

const decoders: readonly Decoder[] = [
  {
    name: "challenge request",
    valid: encodeChallengeRequest({ sealed: ask.sealed, target: id, hops: 1 }),
    decode: decodeChallengeRequest,
  },
  {
    name: "challenge reply",
    valid: encodeChallengeReply({ code: attestCodes.ok, sealed: sealedReply }),
    decode: decodeChallengeReply,
  },
  { name: "challenge answer", valid: encodeChallengeAnswer([proof, proof]), decode: decodeChallengeAnswer },
  {
    name: "evidence request",
    valid: encodeEvidenceRequest({ nonce: key, target: id, hops: 0, question }),
    decode: decodeEvidenceRequest,
  },
  {
    name: "evidence reply",
    valid: encodeEvidenceReply({ code: attestCodes.ok, items: [item, item], residenceAnswer: key }),
    decode: decodeEvidenceReply,
  },
  { name: "sealed challenge", valid: ask.sealed, decode: (bytes) => openChallenge(bytes, [inferenceKey], id) },
  { name: "sealed answer", valid: sealedReply, decode: (bytes) => ask.judge(bytes) },
  { name: "answer under the right seal", valid: encodeChallengeAnswer([proof]), decode: judgedUnderSeal },
];

/** What an asker makes of these bytes when the host itself has sealed them. */
function judgedUnderSeal(plaintext: Uint8Array): unknown {
  const envelope = { ephemeralKey: ask.sealed.slice(0, 32), ciphertext: ask.sealed.slice(32) };
  return ask.judge(openRequest(envelope, [inferenceKey]).seal.sealChunk(plaintext, true).subarray(4));
}

/** Protobuf tags of these messages, lengths, and the rest. */
const someByte = fc.oneof(
  fc.constantFrom(0x00, 0x01, 0x08, 0x0a, 0x10, 0x12, 0x18, 0x1a, 0x20, 0x22, 0x28, 0x41, 0x7f, 0x80, 0xff),
  fc.integer({ min: 0, max: 255 }),
);

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
  count: fc.integer({ min: 1, max: 80 }),
});

function apply(bytes: Uint8Array, { kind, at: position, byte, count }: Change): Uint8Array {
  const at = bytes.length === 0 ? 0 : position % bytes.length;
  const [before, piece] = [bytes.subarray(0, at), bytes.subarray(at, at + count)];
  if (kind === "set") return concat([before, Uint8Array.of(byte), bytes.subarray(at + 1)]);
  if (kind === "insert") return concat([before, Uint8Array.of(byte), bytes.subarray(at)]);
  if (kind === "remove") return concat([before, bytes.subarray(at + count)]);
  return concat([before, piece, piece, bytes.subarray(at + count)]);
}

function check(decode: Decoder["decode"], bytes: Uint8Array): void {
  const started = performance.now();
  try {
    decode(bytes);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw new Error(`not a MeshError for ${toHex(bytes)}`, { cause: thrown });
  }
  expect(performance.now() - started).toBeLessThan(caseMs);
}

describe.each(decoders)("$name", ({ decode, valid }) => {
  it("accepts the valid sample", () => {
    expect(decode(valid)).toBeDefined();
  });

  it("random bytes", () => {
    const random = fc.oneof(
      fc.uint8Array({ maxLength: 512 }),
      fc.array(someByte, { maxLength: 200 }).map((bytes) => Uint8Array.from(bytes)),
    );
    fc.assert(
      fc.property(random, (bytes) => check(decode, bytes)),
      { numRuns },
    );
  });

  it("valid bytes with changes", () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (list) => check(decode, list.reduce(apply, valid))),
      { numRuns },
    );
  });

  it("valid bytes cut short, anywhere", () => {
    for (let length = 0; length < valid.length; length += 1) check(decode, valid.slice(0, length));
  });
});

it("no change of a sealed challenge or of its answer opens", () => {
  const flip = fc.record({ at: fc.nat(10_000), bit: fc.nat(7) });
  const flipped = (bytes: Uint8Array, { at, bit }: { at: number; bit: number }): Uint8Array =>
    bytes.map((byte, index) => (index === at % bytes.length ? byte ^ (1 << bit) : byte));
  const codeFor = (run: () => unknown): string => {
    try {
      run();
      return "opened";
    } catch (thrown) {
      return codeOf(thrown);
    }
  };
  fc.assert(
    fc.property(flip, (one) => {
      // the top bit of an X25519 key is ignored by everybody (RFC 7748 §5)
      fc.pre(!(one.at % ask.sealed.length === 31 && one.bit === 7));
      expect(codeFor(() => openChallenge(flipped(ask.sealed, one), [inferenceKey], id))).toBe("E_OPEN");
      expect(codeFor(() => ask.judge(flipped(sealedReply, one)))).toBe("E_OPEN");
    }),
    { numRuns },
  );
});

describe("the largest frames that are read", () => {
  const filled = (bytes: number, unit: readonly number[]): Uint8Array =>
    Uint8Array.from({ length: bytes - (bytes % unit.length) }, (_, at) => unit[at % unit.length] ?? 0);

  it.each([
    ["empty items", [0x0a, 0]],
    ["items with empty collateral", [0x0a, 2, 0x22, 0]],
    ["unknown numbers", [0xf0, 0x7f, 1]],
    ["nothing but continuation", [0xff]],
  ])("%s", (_name, unit) => {
    check(decodeEvidenceReply, filled(limits.evidenceReplyBytes, unit));
    check(decodeChallengeAnswer, filled(limits.challengeSealedBytes, unit));
    check(decodeEvidenceRequest, filled(limits.attestFrameBytes, unit));
  });
});

it("any evidence comes back as it was sent", () => {
  const kind = fc.string({ unit: "grapheme", maxLength: 20 });
  const piece = fc.uint8Array({ maxLength: 100 });
  const items = fc.array(
    fc.record({
      kind,
      version: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      evidence: piece,
      collateral: fc.array(piece, { maxLength: limits.collateralPieces }),
      issuedAtMs: fc.maxSafeNat(),
    }),
    { maxLength: limits.evidencePerReply },
  );
  fc.assert(
    fc.property(items, piece, (list, answer) => {
      const reply = { code: attestCodes.ok, items: list, residenceAnswer: answer.length === 0 ? undefined : answer };
      expect(decodeEvidenceReply(encodeEvidenceReply(reply))).toEqual(reply);
    }),
    { numRuns },
  );
});

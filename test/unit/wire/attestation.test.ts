/** Frames about challenges and evidence: what is refused before anything is made of it. */
import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { empty } from "../../../src/base/bytes.ts";
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
} from "../../../src/wire/attestation.ts";
import { encodeEvidenceItem, type EvidenceItem } from "../../../src/wire/evidence.ts";
import {
  ChallengeReplySchema,
  ChallengeRequestSchema,
  EvidenceReplySchema,
  EvidenceRequestSchema,
} from "../../../src/wire/gen/sealmesh_pb.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";

const target = endpointId("ab".repeat(32));
const of = (length: number): Uint8Array => new Uint8Array(length).fill(7);
const proof = { kind: "tpm2", attestedKey: of(65), signature: of(72) };
const item: EvidenceItem = { kind: "tpm2", version: 1, evidence: of(9), collateral: [of(3)], issuedAtMs: 5 };
const ok = { code: attestCodes.ok, items: [item], residenceAnswer: undefined };
const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

describe("what is refused", () => {
  const way = { target: undefined, hops: 0 };
  const cases: readonly (readonly [string, () => unknown])[] = [
    [
      "a challenge that is too long",
      () => decodeChallengeRequest(encodeChallengeRequest({ ...way, sealed: of(limits.challengeSealedBytes + 1) })),
    ],
    [
      "a target of 31 bytes",
      () =>
        decodeChallengeRequest(toBinary(ChallengeRequestSchema, create(ChallengeRequestSchema, { target: of(31) }))),
    ],
    [
      "a reply that is too long",
      () => decodeChallengeReply(encodeChallengeReply({ code: 0, sealed: of(limits.challengeSealedBytes + 1) })),
    ],
    [
      "a code without a meaning",
      () => decodeChallengeReply(toBinary(ChallengeReplySchema, create(ChallengeReplySchema, { code: 7 }))),
    ],
    ["success with nothing in it", () => decodeChallengeReply(empty)],
    ["a refusal with an answer", () => decodeChallengeReply(encodeChallengeReply({ code: 4, sealed: of(3) }))],
    ["too many proofs", () => decodeChallengeAnswer(encodeChallengeAnswer(times(limits.proofsPerAnswer + 1, proof)))],
    [
      "an attested key of 64 bytes",
      () => decodeChallengeAnswer(encodeChallengeAnswer([{ ...proof, attestedKey: of(64) }])),
    ],
    [
      "a signature that is too long",
      () => decodeChallengeAnswer(encodeChallengeAnswer([{ ...proof, signature: of(limits.proofSignatureBytes + 1) }])),
    ],
    [
      "a kind that is no name",
      () => decodeChallengeAnswer(encodeChallengeAnswer([{ ...proof, kind: "ü".repeat(limits.nameBytes / 2 + 1) }])),
    ],
    [
      "a nonce of 31 bytes",
      () => decodeEvidenceRequest(toBinary(EvidenceRequestSchema, create(EvidenceRequestSchema, { nonce: of(31) }))),
    ],
    [
      "a question that is too long",
      () =>
        decodeEvidenceRequest(
          encodeEvidenceRequest({
            ...way,
            nonce: undefined,
            question: { kind: "tpm2", question: of(limits.residenceBytes + 1) },
          }),
        ),
    ],
    [
      "too many items",
      () => decodeEvidenceReply(encodeEvidenceReply({ ...ok, items: times(limits.evidencePerReply + 1, item) })),
    ],
    [
      "an item with too much collateral",
      () =>
        decodeEvidenceReply(
          encodeEvidenceReply({ ...ok, items: [{ ...item, collateral: times(limits.collateralPieces + 1, of(1)) }] }),
        ),
    ],
    [
      "an item with a part that is too long",
      () =>
        decodeEvidenceReply(
          encodeEvidenceReply({ ...ok, items: [{ ...item, evidence: of(limits.evidenceBytes + 1) }] }),
        ),
    ],
    [
      "a time beyond what a number holds",
      () =>
        decodeEvidenceReply(
          toBinary(EvidenceReplySchema, create(EvidenceReplySchema, { items: [{ kind: "k", issuedAtMs: 2n ** 60n }] })),
        ),
    ],
    [
      "an answer to a question that is too long",
      () => decodeEvidenceReply(encodeEvidenceReply({ ...ok, residenceAnswer: of(limits.residenceBytes + 1) })),
    ],
    ["a refusal with evidence", () => decodeEvidenceReply(encodeEvidenceReply({ ...ok, code: attestCodes.unable }))],
    ["no protobuf", () => decodeEvidenceReply(of(9))],
  ];
  it.each(cases)("%s", (_name, run) => expectCode("E_WIRE", run));
});

describe("what is read", () => {
  it("has room for everything at its bounds", () => {
    const most = { ...proof, kind: "k".repeat(limits.nameBytes), signature: of(limits.proofSignatureBytes) };
    const answer = encodeChallengeAnswer(times(limits.proofsPerAnswer, most));
    expect(answer.length + limits.boxOverheadBytes).toBeLessThanOrEqual(limits.challengeSealedBytes);
    expect(decodeChallengeAnswer(answer)).toHaveLength(limits.proofsPerAnswer);
    const request = encodeChallengeRequest({ sealed: of(limits.challengeSealedBytes), target, hops: 2 ** 32 - 1 });
    expect(request.length).toBeLessThanOrEqual(limits.attestFrameBytes);
    const question = { kind: most.kind, question: of(limits.residenceBytes) };
    const evidence = encodeEvidenceRequest({ nonce: of(32), target, hops: 2 ** 32 - 1, question });
    expect(evidence.length).toBeLessThanOrEqual(limits.attestFrameBytes);
    const full = { ...item, evidence: of(limits.evidenceBytes), collateral: [of(limits.evidenceBytes)] };
    // attestation.md §0: a quote with collateral and event log, and those of eight graphics cards beside it
    const large = { ...item, evidence: of(8_192), collateral: [of(19_456), of(65_536)] };
    const usual = { ...item, evidence: of(4_400), collateral: [of(6_000)] };
    for (const items of [
      [full, { ...large, collateral: [of(19_456)] }, ...times(6, usual)],
      [large, ...times(7, usual)],
    ]) {
      const frame = encodeEvidenceReply({ ...ok, items });
      expect(frame.length).toBeLessThanOrEqual(limits.evidenceReplyBytes);
      expect(decodeEvidenceReply(frame).items).toHaveLength(8);
    }
    expect(encodeEvidenceItem(full).length).toBeLessThanOrEqual(limits.evidenceFileBytes);
    expectCode("E_WIRE", () => {
      const over = { ...full, collateral: [...full.collateral, of(1)] };
      return decodeEvidenceReply(encodeEvidenceReply({ ...ok, items: [over] }));
    });
  });

  it("shares no memory with the frame", () => {
    const frame = encodeEvidenceReply({ ...ok, residenceAnswer: of(4) });
    const reply = decodeEvidenceReply(frame);
    frame.fill(0);
    expect(reply).toEqual({ ...ok, residenceAnswer: of(4) });
    const request = encodeEvidenceRequest({ nonce: of(32), target, hops: 0, question: { kind: "k", question: of(5) } });
    const asked = decodeEvidenceRequest(request);
    request.fill(0);
    expect(asked).toEqual({ nonce: of(32), target, hops: 0, question: { kind: "k", question: of(5) } });
    const answer = encodeChallengeAnswer([proof]);
    const proofs = decodeChallengeAnswer(answer);
    answer.fill(0);
    expect(proofs).toEqual([proof]);
    const challenge = encodeChallengeRequest({ sealed: of(6), target, hops: 1 });
    const read = decodeChallengeRequest(challenge);
    challenge.fill(0);
    expect(read).toEqual({ sealed: of(6), target, hops: 1 });
  });

  it("skips what later versions add", () => {
    const later = Uint8Array.of(0xfa, 0x3e, 2, 1, 2); // field 1007, two bytes
    const frame = encodeChallengeRequest({ sealed: of(6), target, hops: 1 });
    expect(decodeChallengeRequest(Uint8Array.of(...later, ...frame))).toEqual({ sealed: of(6), target, hops: 1 });
  });
});

/** Challenges and evidence as frames: sealed and signed by an independent script, opened and judged by us, and the reverse. */
import { describe, expect, it } from "vitest";
import { ChallengeAsk, openChallenge } from "../../src/attest/challenge.ts";
import { endpointId } from "../../src/base/brand.ts";
import { fromHex, toBase64, toHex } from "../../src/base/bytes.ts";
import { keyPairFrom } from "../../src/crypto/box.ts";
import { AskerSeal } from "../../src/crypto/seal.ts";
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
import { referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { codeOf } from "../support/expect-code.ts";
import vectors from "./sealmesh.json" with { type: "json" };

type Row = (typeof vectors.rows)[number];

const { keys } = vectors;
const host = endpointId(keys.host_id_hex);
const verifier = endpointId(keys.asker_id_hex);
const hostPair = keyPairFrom(fromHex(keys.inference_secret_hex));
const inferenceKey = { ...hostPair, createdMs: 0, notAfterMs: 1 };

function row(name: string): Row {
  const found = vectors.rows.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no row ${name}`);
  return found;
}

const bytes = (from: Row, member: string): Uint8Array =>
  fromHex(String(Object.entries(from).find(([name]) => name === member)?.[1]));
const payload = (from: Row, member: string): Uint8Array => bytes(from, member).subarray(4);
const framed = (frame: Uint8Array): string => toHex(encodeFrame(frame));

/** An asker whose challenge is the script's, byte for byte. */
function scriptedAsk(): ChallengeAsk {
  const ephemeral = keyPairFrom(fromHex(keys.ephemeral_secret_hex));
  const nonce = bytes(row("challenge_sealed"), "sealed_hex").slice(32, 56);
  const seal = new AskerSeal(hostPair.publicKey, { ephemeral, nonce });
  const random = bytes(row("challenge"), "random_hex");
  return new ChallengeAsk({ verifier, host, inferenceKey: hostPair.publicKey }, { random, seal });
}

describe("sealed challenges", () => {
  const challenge = row("challenge_sealed");

  it("are sealed to the same bytes", () => {
    expect(toHex(scriptedAsk().sealed)).toBe(challenge.sealed_hex);
  });

  it("are opened, with the digest that is signed", () => {
    const opened = openChallenge(bytes(challenge, "sealed_hex"), [inferenceKey], host);
    expect(opened.verifier).toBe(verifier);
    expect(toHex(opened.nonce)).toBe(row("challenge").nonce_hex);
    const key = toBase64(bytes(challenge, "attested_key_hex"));
    expect(toHex(referenceChallengeBytes(key, opened.nonce))).toBe(challenge.signed_hex);
  });

  it.each(vectors.rows.filter(({ name }) => name.startsWith("challenge_answer")))("$name: $comment", (answer) => {
    const ask = scriptedAsk();
    const judged = ((): string => {
      try {
        const { held, wrong } = ask.judge(bytes(answer, "sealed_reply_hex"));
        for (const key of [...held, ...wrong]) expect(toHex(key)).toBe(challenge.attested_key_hex);
        return [...held.map(() => "held"), ...wrong.map(() => "wrong")].join() || "none";
      } catch (thrown) {
        return codeOf(thrown);
      }
    })();
    expect(judged).toBe(answer.expect);
  });
});

describe("frames of challenges", () => {
  const vector = row("challenge_sealed");
  const sealed = bytes(vector, "sealed_hex");
  const answer = row("challenge_answer");

  it.each([
    ["request_frame_hex", { sealed, target: undefined, hops: 0 }],
    ["to_relay_frame_hex", { sealed, target: host, hops: 0 }],
    ["from_relay_frame_hex", { sealed, target: host, hops: 1 }],
  ])("%s, both ways", (member, request) => {
    expect(framed(encodeChallengeRequest(request))).toBe(toHex(bytes(vector, member)));
    expect(decodeChallengeRequest(payload(vector, member))).toEqual(request);
  });

  it("replies, both ways", () => {
    const refused = { code: attestCodes.refused, sealed: new Uint8Array(0) };
    expect(framed(encodeChallengeReply(refused))).toBe(vector.refused_frame_hex);
    expect(decodeChallengeReply(payload(vector, "refused_frame_hex"))).toEqual(refused);
    const reply = { code: attestCodes.ok, sealed: bytes(answer, "sealed_reply_hex") };
    expect(framed(encodeChallengeReply(reply))).toBe(answer.reply_frame_hex);
    expect(decodeChallengeReply(payload(answer, "reply_frame_hex"))).toEqual(reply);
  });

  it("the answer under the seal, both ways", () => {
    const proofs = decodeChallengeAnswer(bytes(answer, "answer_hex"));
    expect(proofs).toMatchObject([{ kind: "software", attestedKey: bytes(vector, "attested_key_hex") }]);
    expect(toHex(encodeChallengeAnswer(proofs))).toBe(answer.answer_hex);
  });
});

describe("frames of evidence", () => {
  const vector = row("evidence_frames");
  const run = (first: number, count: number): Uint8Array => Uint8Array.from({ length: count }, (_, at) => first + at);
  const nonce = run(0xc0, 32);
  const question = { kind: "tpm2", question: run(0x11, 30) };

  it.each([
    ["request_frame_hex", { nonce: undefined, target: undefined, hops: 0, question: undefined }],
    ["to_relay_frame_hex", { nonce, target: host, hops: 0, question }],
    ["from_relay_frame_hex", { nonce, target: host, hops: 1, question }],
  ])("%s, both ways", (member, request) => {
    expect(framed(encodeEvidenceRequest(request))).toBe(toHex(bytes(vector, member)));
    expect(decodeEvidenceRequest(payload(vector, member))).toEqual(request);
  });

  it("replies, both ways", () => {
    const item = {
      kind: "tpm2",
      version: 1,
      evidence: run(0x01, 40),
      collateral: [run(0x60, 20), run(0x61, 20)],
      issuedAtMs: 1_767_225_600_000,
    };
    const reply = { code: attestCodes.ok, items: [item], residenceAnswer: run(0x21, 32) };
    expect(framed(encodeEvidenceReply(reply))).toBe(vector.reply_frame_hex);
    expect(decodeEvidenceReply(payload(vector, "reply_frame_hex"))).toEqual(reply);
    const busy = { code: attestCodes.busy, items: [], residenceAnswer: undefined };
    expect(framed(encodeEvidenceReply(busy))).toBe(vector.busy_frame_hex);
    expect(decodeEvidenceReply(payload(vector, "busy_frame_hex"))).toEqual(busy);
  });
});

/** Both ends of a challenge, and everybody who is neither. */
import { describe, expect, it, onTestFinished } from "vitest";
import { type ChallengeJudgement, ChallengeAsk, openChallenge } from "../../../src/attest/challenge.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { concat, toBase64, utf8 } from "../../../src/base/bytes.ts";
import { generateKeyPair } from "../../../src/crypto/box.ts";
import type { InferenceKey } from "../../../src/crypto/inference-keys.ts";
import { AskerSeal, openRequest } from "../../../src/crypto/seal.ts";
import { challengeBytes, referenceChallengeBytes } from "../../../src/wire/challenge.ts";
import { type ChallengeProof, encodeChallengeAnswer } from "../../../src/wire/attestation.ts";
import { signDer, type TestKey, testKey } from "../../support/evidence.ts";
import { expectCode } from "../../support/expect-code.ts";

const verifier = endpointId("11".repeat(32));
const host = endpointId("22".repeat(32));
const other = endpointId("33".repeat(32));

const keyOf = (): InferenceKey => ({ ...generateKeyPair(), createdMs: 0, notAfterMs: 1 });
const current = keyOf();
const previous = keyOf();
const attested = testKey();
const second = testKey("07".repeat(32));

function proofBy(key: TestKey, nonce: Uint8Array, named = key.point): ChallengeProof {
  const signature = signDer(key, referenceChallengeBytes(toBase64(named), nonce));
  return { kind: "software", attestedKey: named, signature };
}

function ask(parts: Partial<ConstructorParameters<typeof ChallengeAsk>[0]> = {}): ChallengeAsk {
  const made = new ChallengeAsk({ verifier, host, inferenceKey: current.publicKey, ...parts });
  onTestFinished(() => made.end());
  return made;
}

/** What the asker makes of an answer with these proofs. */
function judged(asked: ChallengeAsk, prove: (nonce: Uint8Array) => readonly ChallengeProof[]): ChallengeJudgement {
  const opened = openChallenge(asked.sealed, [current, previous], host);
  const reply = opened.seal(prove(opened.nonce));
  opened.end();
  return asked.judge(reply);
}

/** Any plaintext as an asker would seal it. */
function sealedTo(key: InferenceKey, plaintext: Uint8Array, nonce?: Uint8Array): Uint8Array {
  const seal = new AskerSeal(key.publicKey, nonce ? { nonce } : {});
  const { ephemeralKey, ciphertext } = seal.sealRequest(plaintext);
  seal.end();
  return concat([ephemeralKey, ciphertext]);
}

describe("a challenge that its host answers", () => {
  it("has 222 bytes, tells who asks, and another nonce each time", () => {
    const asked = ask();
    expect(asked.sealed).toHaveLength(222);
    const opened = openChallenge(asked.sealed, [current], host);
    expect(opened.verifier).toBe(verifier);
    expect(opened.nonce).toHaveLength(32);
    expect(openChallenge(ask().sealed, [current], host).nonce).not.toEqual(opened.nonce);
  });

  it("shows the keys that sign", () => {
    const { held, wrong } = judged(ask(), (nonce) => [proofBy(attested, nonce), proofBy(second, nonce)]);
    expect(held).toEqual([attested.point, second.point]);
    expect(wrong).toEqual([]);
  });

  it("is opened with the previous inference key too, when it was sealed to that", () => {
    const asked = ask({ inferenceKey: previous.publicKey });
    expect(judged(asked, (nonce) => [proofBy(attested, nonce)]).held).toEqual([attested.point]);
  });

  it("shows nothing when nothing is proved", () => {
    expect(judged(ask(), () => [])).toEqual({ held: [], wrong: [] });
  });
});

describe("a signature that does not hold", () => {
  it.each<readonly [string, (nonce: Uint8Array) => ChallengeProof]>([
    ["of another key", (nonce) => proofBy(second, nonce, attested.point)],
    [
      "over another nonce",
      (nonce) =>
        proofBy(
          attested,
          nonce.map((byte) => byte ^ 1),
        ),
    ],
    [
      "over the nonce without its label",
      (nonce) => ({ ...proofBy(attested, nonce), signature: signDer(attested, nonce) }),
    ],
    ["that is no signature", (nonce) => ({ ...proofBy(attested, nonce), signature: utf8("no") })],
  ])("names its key as wrong: %s", (_name, prove) => {
    const { held, wrong } = judged(ask(), (nonce) => [prove(nonce), proofBy(second, nonce)]);
    expect(held).toEqual([second.point]);
    expect(wrong).toEqual([attested.point]);
  });

  it("by what is no point of the curve counts as wrong too", () => {
    const notOnCurve = attested.point.map((byte, at) => (at === 64 ? byte ^ 1 : byte));
    expect(judged(ask(), (nonce) => [proofBy(attested, nonce, notOnCurve)])).toEqual({ held: [], wrong: [notOnCurve] });
  });

  it("spoils a right one of the same key", () => {
    const judgement = judged(ask(), (nonce) => [proofBy(attested, nonce), proofBy(second, nonce, attested.point)]);
    expect(judgement).toEqual({ held: [], wrong: [attested.point] });
  });
});

describe("what no host answers", () => {
  const challenge = { verifier, host, inferenceKey: current.publicKey, random: new Uint8Array(32) };
  const unmarked = new Uint8Array(24);
  it.each<readonly [string, () => Uint8Array]>([
    ["a challenge to another host", () => ask({ host: other }).sealed],
    ["one sealed to a key that it does not have", () => ask({ inferenceKey: keyOf().publicKey }).sealed],
    [
      "one that names another of its keys than the one it is sealed to",
      () => sealedTo(current, challengeBytes({ ...challenge, inferenceKey: previous.publicKey })),
    ],
    ["any other plaintext", () => sealedTo(current, utf8("POST / HTTP/1.1\r\n\r\n"))],
    ["a nonce of somebody's choice", () => sealedTo(current, new Uint8Array(150))],
    [
      "a challenge with a byte after it",
      () => sealedTo(current, concat([challengeBytes(challenge), Uint8Array.of(0)])),
    ],
    ["a nonce without the mark of a request", () => sealedTo(current, challengeBytes(challenge), unmarked)],
    ["a changed byte", () => ask().sealed.map((byte, at) => (at === 100 ? byte ^ 1 : byte))],
    ["a few bytes", () => new Uint8Array(71)],
    ["nothing", () => new Uint8Array(0)],
  ])("%s", (_name, make) => {
    const sealed = make();
    expectCode("E_OPEN", () => openChallenge(sealed, [current, previous], host));
  });

  it("a challenge for a key that has ended", () => {
    const { sealed } = ask({ inferenceKey: previous.publicKey });
    expectCode("E_OPEN", () => openChallenge(sealed, [current], host));
  });
});

describe("what no asker takes for an answer", () => {
  const answered = (asked: ChallengeAsk): Uint8Array => {
    const opened = openChallenge(asked.sealed, [current], host);
    return opened.seal([proofBy(attested, opened.nonce)]);
  };

  it("the answer to another challenge", () => {
    const reply = answered(ask());
    expectCode("E_OPEN", () => ask().judge(reply));
  });

  it("its own challenge, sent back", () => {
    const asked = ask();
    expectCode("E_OPEN", () => asked.judge(asked.sealed.subarray(32)));
  });

  it("an answer with a changed byte, cut short, or none at all", () => {
    const asked = ask();
    const reply = answered(asked);
    for (const changed of [
      reply.map((byte, at) => (at === 60 ? byte ^ 1 : byte)),
      reply.slice(0, 39),
      new Uint8Array(),
    ]) {
      expectCode("E_OPEN", () => asked.judge(changed));
    }
    expect(asked.judge(reply).held).toHaveLength(1);
  });

  it("a chunk of a longer answer", () => {
    const asked = ask();
    const envelope = { ephemeralKey: asked.sealed.slice(0, 32), ciphertext: asked.sealed.slice(32) };
    const { seal } = openRequest(envelope, [current]);
    const first = seal.sealChunk(encodeChallengeAnswer([]), false).slice(4);
    const next = seal.sealChunk(encodeChallengeAnswer([]), true).slice(4);
    expectCode("E_OPEN", () => asked.judge(first));
    expectCode("E_OPEN", () => asked.judge(next));
  });

  it("bytes under the right seal that are no answer", () => {
    const asked = ask();
    const envelope = { ephemeralKey: asked.sealed.slice(0, 32), ciphertext: asked.sealed.slice(32) };
    const { seal } = openRequest(envelope, [current]);
    const reply = seal.sealChunk(utf8("nonsense"), true).slice(4);
    expectCode("E_WIRE", () => asked.judge(reply));
  });

  it("anything once it has ended", () => {
    const asked = ask();
    const reply = answered(asked);
    asked.end();
    expectCode("E_OPEN", () => asked.judge(reply));
  });
});

it("an asker does not seal to a key of low order", () => {
  expectCode("E_KEY", () => ask({ inferenceKey: new Uint8Array(32) }));
});

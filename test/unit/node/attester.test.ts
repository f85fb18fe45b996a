/** A node's own evidence: kept fresh, tied to the key of now, and honest about what could not be made. */
import { describe, expect, it, onTestFinished } from "vitest";
import type { Collector, EvidenceRequest } from "../../../src/attest/collect/collector.ts";
import type { EvidenceItem } from "../../../src/attest/evidence.ts";
import { signSoftwareEvidence } from "../../../src/attest/kinds/software.ts";
import { verifyEvidence } from "../../../src/attest/verify.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { toBase64 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import { verifyP256 } from "../../../src/crypto/p256.ts";
import { Attester, type Told } from "../../../src/node/attester.ts";
import { referenceChallengeBytes } from "../../../src/wire/challenge.ts";
import { signDer, signP1363, type TestKey, testKey } from "../../support/evidence.ts";
import { rejectsWith } from "../../support/expect-code.ts";

interface Scene {
  readonly attester: Attester;
  readonly asked: EvidenceRequest[];
  readonly events: LogEvent[];
  readonly clock: { ms: number };
  key: Uint8Array;
}

function scene(collect: (request: EvidenceRequest) => Promise<Uint8Array>, told?: () => Told): Scene {
  const asked: EvidenceRequest[] = [];
  const events: LogEvent[] = [];
  const clock = { ms: 1_000 };
  const collector: Collector = {
    kind: "made-up",
    sign: () => Promise.reject(new MeshError("E_BUG", "nobody asks for signatures here")),
    collect: async (request) => {
      asked.push(request);
      const { issuedAtMs } = request;
      return { kind: "made-up", version: 1, evidence: await collect(request), collateral: [], issuedAtMs };
    },
  };
  const made: Scene = {
    asked,
    events,
    clock,
    key: new Uint8Array(32).fill(1),
    attester: new Attester({
      collectors: [collector],
      endpointId: endpointId("aa".repeat(32)),
      inferenceKey: () => made.key,
      clock: { now: () => clock.ms },
      log: { write: (_level, event) => void events.push(event) },
      collectMs: 50,
      ...(told ? { told } : {}),
    }),
  };
  return made;
}

it("makes evidence for the key of now, and anew when asked", async () => {
  const made = scene(({ inferenceKey }) => Promise.resolve(inferenceKey.slice()));
  expect(made.attester.states).toMatchObject([{ kind: "made-up", item: undefined, inferenceKey: undefined }]);
  await made.attester.refresh();
  made.clock.ms = 2_000;
  made.key = new Uint8Array(32).fill(2);
  await made.attester.refresh();
  expect(made.attester.states).toMatchObject([
    { item: { issuedAtMs: 2_000, evidence: made.key }, inferenceKey: made.key, why: undefined },
  ]);
  expect(made.asked.map(({ nonce }) => nonce)).toEqual([undefined, undefined]);
});

it("keeps what it has when the next cannot be made, says why, and says it once", async () => {
  let broken = false;
  const made = scene(() =>
    broken ? Promise.reject(new MeshError("E_LOST", "the chip is gone")) : Promise.resolve(new Uint8Array(3)),
  );
  await made.attester.refresh();
  broken = true;
  await made.attester.refresh();
  await made.attester.refresh();
  expect(made.attester.states).toMatchObject([{ item: { issuedAtMs: 1_000 }, why: "the chip is gone" }]);
  expect(made.events).toEqual([
    { event: "evidence-not-made", kind: "made-up", code: "E_LOST", what: "the chip is gone" },
  ]);
});

it("waits for hardware that hangs only so long, and ends when it is closed", async () => {
  const made = scene(() => new Promise(() => undefined));
  await made.attester.refresh();
  expect(made.attester.states[0]?.why).toMatch(/longer than 50 ms/);
  const hanging = made.attester.refresh();
  await made.attester.close();
  await hanging;
  expect(made.events).toHaveLength(1);
});

describe("what it tells of its node", () => {
  const postures = [Uint8Array.of(1), Uint8Array.of(2)] as const;

  it("stands in each piece as it is then, and a piece that tells something else is made anew", async () => {
    const told = { posture: postures[0], measurement: "ab" };
    const made = scene(
      () => Promise.resolve(new Uint8Array(3)),
      () => told,
    );
    await made.attester.refresh();
    expect(made.asked).toMatchObject([told]);
    made.attester.refreshIfDue(60_000);
    expect(made.asked).toHaveLength(1);
    told.posture = postures[1];
    made.attester.refreshIfDue(60_000);
    await made.attester.refresh();
    expect(made.asked).toMatchObject([{ posture: postures[0] }, { posture: postures[1] }]);
    made.attester.refreshIfDue(60_000);
    expect(made.asked).toHaveLength(2);
  });

  it("is anew in what somebody asks for without a nonce", async () => {
    const told: { posture: Uint8Array } = { posture: postures[0] };
    const made = scene(
      ({ posture }) => Promise.resolve(posture ?? new Uint8Array()),
      () => told,
    );
    await made.attester.refresh();
    told.posture = postures[1];
    const [item] = await made.attester.evidence(undefined, new AbortController().signal);
    expect(item?.evidence).toEqual(postures[1]);
  });
});

describe("what peers ask for", () => {
  const nonce = new Uint8Array(32).fill(9);
  const key = testKey();
  const idle = new AbortController().signal;
  const never = new Promise<never>(() => undefined);

  /** A collector whose pieces are evidence of the kind `software`, and which can be told to hang or to fail. */
  class Chip implements Collector {
    readonly kind = "software";
    readonly calls: string[] = [];
    hanging = false;
    failing = false;
    readonly signing: TestKey;
    readonly #resume: (() => void)[] = [];

    constructor(signing: TestKey = key) {
      this.signing = signing;
    }

    async collect(request: EvidenceRequest): ReturnType<Collector["collect"]> {
      await this.#work(request.nonce ? "asked" : "unasked");
      const { issuedAtMs } = request;
      const sign = (message: Uint8Array): Uint8Array => signP1363(this.signing, message);
      const evidence = signSoftwareEvidence({ ...request, attestedKey: this.signing.point, sign });
      return { kind: this.kind, version: 1, evidence, collateral: [], issuedAtMs };
    }

    async sign(message: Uint8Array): Promise<Uint8Array> {
      await this.#work("sign");
      return signDer(this.signing, message);
    }

    async answerResidence(question: Uint8Array): Promise<Uint8Array> {
      await this.#work("residence");
      return question.toReversed();
    }

    /** Lets everything that hangs come to its end. */
    async resume(): Promise<void> {
      this.hanging = false;
      for (const resume of this.#resume.splice(0)) resume();
      await new Promise((resolve) => setImmediate(resolve));
    }

    async #work(call: string): Promise<void> {
      this.calls.push(call);
      if (this.failing) throw new MeshError("E_LOST", "the chip is gone");
      if (this.hanging) await new Promise<void>((resolve) => this.#resume.push(resolve));
    }
  }

  interface Asked {
    readonly attester: Attester;
    readonly clock: { ms: number };
    key: Uint8Array;
  }

  function attesterOf(collectors: readonly Collector[]): Asked {
    const clock = { ms: 1_000 };
    const made: Asked = {
      clock,
      key: new Uint8Array(32).fill(1),
      attester: new Attester({
        collectors,
        endpointId: endpointId("aa".repeat(32)),
        inferenceKey: () => made.key,
        clock: { now: () => clock.ms },
        log: { write: () => undefined },
        collectMs: 200,
        freshMs: 60,
        signMs: 60,
        residenceMs: 60,
      }),
    };
    onTestFinished(() => made.attester.close());
    return made;
  }

  /** What a verifier finds `binding` to be for this nonce. */
  function bindingOf(item: EvidenceItem | undefined, of: Asked, asked: Uint8Array | undefined): string {
    if (!item) return "missing";
    const expected = { endpointId: endpointId("aa".repeat(32)), inferenceKey: of.key, nonce: asked };
    const { verdict } = verifyEvidence({ item, expected, roots: [], nowMs: of.clock.ms, maxAgeMs: 1e6, aheadMs: 0 });
    return `${verdict.binding.outcome} ${verdict.fresh.reason}`;
  }

  it("evidence is made with the nonce; what nobody asked for stays as it was", async () => {
    const chip = new Chip();
    const asked = attesterOf([chip]);
    await asked.attester.refresh();
    const [before] = asked.attester.states;
    asked.clock.ms = 5_000;
    const [item] = await asked.attester.evidence(nonce, idle);
    expect(bindingOf(item, asked, nonce)).toBe("pass nonce-answered");
    expect(asked.attester.states).toEqual([before]);
    expect(await asked.attester.evidence(undefined, idle)).toEqual([before?.item]);
    expect(chip.calls).toEqual(["unasked", "asked"]);
  });

  it("a collector that fails shows the newest that it has made", async () => {
    const chip = new Chip();
    const asked = attesterOf([chip]);
    await asked.attester.refresh();
    chip.failing = true;
    const [item] = await asked.attester.evidence(nonce, idle);
    expect(bindingOf(item, asked, nonce)).toBe("pass own-time");
  });

  it("one that hangs is waited for once, then passed over at once, and asked again when it has come back", async () => {
    const stuck = new Chip();
    const well = new Chip(testKey("07".repeat(32)));
    const asked = attesterOf([stuck, well]);
    await asked.attester.refresh();
    const kept = asked.attester.states[0]?.item;
    stuck.hanging = true;
    for (let count = 0; count < 4; count += 1) {
      const started = performance.now();
      const [first, second] = await asked.attester.evidence(nonce, idle);
      expect(first).toEqual(kept);
      expect(bindingOf(second, asked, nonce)).toBe("pass nonce-answered");
      if (count > 0) expect(performance.now() - started).toBeLessThan(50);
    }
    expect(stuck.calls).toEqual(["unasked", "asked"]);
    await stuck.resume();
    const [again] = await asked.attester.evidence(nonce, idle);
    expect(bindingOf(again, asked, nonce)).toBe("pass nonce-answered");
  });

  it("hardware gets one question of a sort at a time, and those that gave up are not asked for afterwards", async () => {
    const chip = new Chip();
    const { attester } = attesterOf([chip]);
    await attester.refresh();
    chip.hanging = true;
    const waiting = Array.from({ length: 10 }, () => attester.sign(nonce, idle));
    for (const signing of waiting) await rejectsWith("E_TIMEOUT", signing);
    await rejectsWith("E_BUSY", attester.sign(nonce, idle));
    expect(chip.calls.filter((call) => call === "sign")).toHaveLength(1);
    await chip.resume();
    expect(await attester.sign(nonce, idle)).toHaveLength(1);
    expect(chip.calls.filter((call) => call === "sign")).toHaveLength(2);
  });

  it("several ask at a time and all get their own", async () => {
    const asked = attesterOf([new Chip()]);
    const nonces = Array.from({ length: 5 }, (_, index) => new Uint8Array(32).fill(index));
    const answers = await Promise.all(nonces.map((one) => asked.attester.evidence(one, idle)));
    const found = answers.map(([item], index) => bindingOf(item, asked, nonces[index]));
    expect(found).toEqual(nonces.map(() => "pass nonce-answered"));
  });

  it("a challenge is signed by every key that answers, in the form of the reference", async () => {
    const stuck = new Chip();
    const well = new Chip(testKey("07".repeat(32)));
    const { attester } = attesterOf([stuck, well]);
    await attester.refresh();
    stuck.hanging = true;
    const proofs = await attester.sign(nonce, idle);
    expect(proofs.map(({ attestedKey }) => attestedKey)).toEqual([well.signing.point]);
    const [{ attestedKey: publicKey, signature } = { attestedKey: nonce, signature: nonce }] = proofs;
    const message = referenceChallengeBytes(toBase64(publicKey), nonce);
    expect(verifyP256({ publicKey, message, signature, form: "der" })).toBe(true);
  });

  it("nothing is signed without evidence that names the key, nor without a collector", async () => {
    const chip = new Chip();
    await rejectsWith("E_BUSY", attesterOf([chip]).attester.sign(nonce, idle));
    await rejectsWith("E_BUSY", attesterOf([]).attester.sign(nonce, idle));
    expect(chip.calls).toEqual([]);
  });

  it("evidence for a key that is no longer published is replaced, or shown when nothing newer can be had", async () => {
    const chip = new Chip();
    const asked = attesterOf([chip]);
    await asked.attester.refresh();
    asked.key = new Uint8Array(32).fill(2);
    const [item] = await asked.attester.evidence(undefined, idle);
    expect(bindingOf(item, asked, undefined)).toBe("pass own-time");
    asked.key = new Uint8Array(32).fill(3);
    chip.failing = true;
    expect(await asked.attester.evidence(undefined, idle)).toEqual([item]);
  });

  it("a key that changes while evidence is made gets its own", async () => {
    const chip = new Chip();
    const asked = attesterOf([chip]);
    chip.hanging = true;
    const refreshing = asked.attester.refresh();
    asked.key = new Uint8Array(32).fill(2);
    await chip.resume();
    await refreshing;
    expect(asked.attester.states[0]?.inferenceKey).toEqual(asked.key);
  });

  it("questions where a key is kept go to their kind alone", async () => {
    const { attester } = attesterOf([new Chip()]);
    const question = Uint8Array.of(1, 2, 3);
    expect(await attester.answerResidence("software", question, idle)).toEqual(Uint8Array.of(3, 2, 1));
    await rejectsWith("E_INPUT", attester.answerResidence("tpm2", question, idle));
    const silent = attesterOf([{ kind: "silent", collect: () => never, sign: () => never }]);
    await rejectsWith("E_INPUT", silent.attester.answerResidence("silent", question, idle));
  });

  it("nobody waits for a peer that has gone", async () => {
    const chip = new Chip();
    const { attester } = attesterOf([chip]);
    await attester.refresh();
    chip.hanging = true;
    const gone = new AbortController();
    const asking = [attester.evidence(nonce, gone.signal), attester.sign(nonce, gone.signal)];
    gone.abort();
    for (const work of asking) await rejectsWith("E_ABORTED", work);
  });
});

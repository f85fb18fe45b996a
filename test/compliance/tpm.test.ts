/**
 * Evidence of a TPM 2.0 from end to end: made by the collector in an emulated TPM whose maker has certified it, checked
 * by the verifier. Skipped, and counted as such, where swtpm is not installed.
 */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Collector } from "../../src/attest/collect/collector.ts";
import { activateCredential, readNv, readPublic, withPrimary } from "../../src/attest/collect/tpm/commands.ts";
import { makeCredential } from "../../src/attest/collect/tpm/credential.ts";
import { encodeStatement } from "../../src/attest/statement.ts";
import { decodeTpmEvidence, encodeTpmEvidence } from "../../src/attest/collect/tpm/evidence.ts";
import { attestationTemplate, endorsementKeys } from "../../src/attest/collect/tpm/keys.ts";
import { nameOf } from "../../src/attest/collect/tpm/structures.ts";
import type { EvidenceItem, VerifyInput } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { verifyP256 } from "../../src/crypto/p256.ts";
import { challengeNonce, referenceChallengeBytes } from "../../src/wire/challenge.ts";
import { codeOf, rejectsWith } from "../support/expect-code.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { host, inferenceKey, inputFor } from "../support/tpm-forger.ts";
import { askResidence, collectFrom, collectorFor, withDevice } from "../support/tpm-host.ts";

const standing = { challenged: true, pin: "none" } as const;

describe.skipIf(swtpmMissing !== undefined)("a TPM", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;
  let collector: Collector;

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
    collector = collectorFor(tpm, maker);
  }, 60_000);

  afterAll(() => maker?.close());

  const collect = (from: Collector = collector, nonce?: Uint8Array): Promise<EvidenceItem> => collectFrom(from, nonce);

  function verdictOf(item: EvidenceItem, change: Partial<VerifyInput> = {}): ReturnType<typeof tpm2.verify> {
    return tpm2.verify(inputFor(item, { roots: [maker.root], ...change }));
  }

  test("makes evidence that reaches the tier vendor once its chip has answered", async () => {
    const nonce = new Uint8Array(randomBytes(32));
    const item = await collect(collector, nonce);
    const expected = { endpointId: host, inferenceKey, nonce };
    const seen = await askResidence(collector, item);
    const { claims, verdict } = verdictOf(item, { expected, seen });
    expect(verdict).toMatchObject({
      parse: { outcome: "pass" },
      signature: { outcome: "pass" },
      chain: { outcome: "pass", reason: "chain-holds" },
      revocation: { outcome: "unknown" },
      binding: { outcome: "pass", reason: "bound" },
      fresh: { outcome: "pass", reason: "nonce-answered" },
      "key-residence": { outcome: "pass", reason: "key-in-chip" },
      "device-state": { outcome: "unknown" },
      measurement: { outcome: "unknown" },
    });
    expect(tierOf("tpm2", verdict, standing)).toBe("vendor");
    expect(tierOf("tpm2", verdict, { ...standing, challenged: false })).toBe("none");
    expect(claims.tpmManufacturer).toEqual({ value: "id:00001014", by: "vendor" });
    expect([...(claims.pcrs?.value.keys() ?? [])]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14]);
    expect(claims.pcrs?.by).toBe("vendor");
  });

  test("signs the build and the posture that it was given, and nothing else can be put in their place", async () => {
    const told = { measurement: "ab".repeat(32), posture: Uint8Array.of(8, 1) };
    const request = { endpointId: host, inferenceKey, nonce: undefined, issuedAtMs: Date.now() };
    const item = await collector.collect({ ...request, ...told });
    const { claims, verdict } = verdictOf(item, { measurements: new Set([told.measurement]) });
    expect(claims.measurement).toEqual({ value: told.measurement, by: "self" });
    expect(claims.posture).toEqual({ value: told.posture, by: "self" });
    expect(verdict.measurement).toEqual({ outcome: "pass", reason: "measurement-listed-own-word" });
    const parts = decodeTpmEvidence(item.evidence);
    for (const change of [{ measurement: "cd".repeat(32) }, { posture: Uint8Array.of(8, 0) }, { posture: undefined }]) {
      const statement = encodeStatement({ ...request, ...told, ...change });
      const changed = { ...item, evidence: encodeTpmEvidence({ ...parts, statement }) };
      expect(verdictOf(changed).verdict.binding).toEqual({ outcome: "fail", reason: "binding-differs" });
    }
  });

  test("whose chip was not asked is a key, and its claims its own", async () => {
    const { claims, verdict } = verdictOf(await collect());
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "not-activated" });
    expect(tierOf("tpm2", verdict, standing)).toBe("key");
    expect(claims.tpmManufacturer).toBeUndefined();
    expect(claims.pcrs?.by).toBe("self");
  });

  test("of which no maker is trusted is a key", async () => {
    const item = await collect();
    const seen = await askResidence(collector, item);
    expect(seen.residenceProof).toHaveLength(32);
    const { verdict } = verdictOf(item, { roots: [], seen });
    expect(verdict.chain).toEqual({ outcome: "unknown", reason: "no-roots" });
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "residence-own-word" });
    expect(tierOf("tpm2", verdict, standing)).toBe("key");
  });

  test("the certificate between chip and root may come with the roots instead", async () => {
    const item = await collect();
    const alone = { ...item, collateral: item.collateral.slice(0, 1) };
    expect(verdictOf(alone).verdict.chain).toEqual({ outcome: "unknown", reason: "unknown-root" });
    expect(verdictOf(alone, { roots: [maker.intermediate] }).verdict.chain.outcome).toBe("pass");
  });

  test("without certificates is a key, which its endorsement key answers for all the same", async () => {
    const plain = collectorFor(await maker.makeTpm({ certified: false }), maker);
    const item = await collect(plain);
    expect(item.collateral).toEqual([]);
    expect((await askResidence(plain, item)).residenceProof).toHaveLength(32);
    expect(verdictOf(item).verdict.chain).toEqual({ outcome: "unknown", reason: "no-chain" });
  });

  test("keeps its attested key over a restart, and counts the restart", async () => {
    const before = verdictOf(await collect());
    await tpm.reboot();
    const item = await collect();
    const after = verdictOf(item, before.counters ? { seen: { counters: before.counters } } : {});
    expect(after.claims.attestedKey).toEqual(before.claims.attestedKey);
    expect(after.verdict.fresh.outcome).toBe("unknown");
    expect(((after.counters?.resets ?? 0) - (before.counters?.resets ?? 0)) | 0).toBe(1);
  });

  test("answers a challenge with the attested key", async () => {
    const { attestedKey } = verdictOf(await collect()).claims;
    const nonce = challengeNonce(randomBytes(150));
    const message = referenceChallengeBytes(Buffer.from(attestedKey ?? []).toString("base64"), nonce);
    const signature = await collector.sign(message);
    const check = { publicKey: attestedKey ?? new Uint8Array(0), signature, form: "der" } as const;
    expect(verifyP256({ ...check, message })).toBe(true);
    expect(verifyP256({ ...check, message: Buffer.concat([message, Buffer.of(0)]) })).toBe(false);
  });

  test("opens credentials for every kind of endorsement key", async () => {
    const secret = new Uint8Array(randomBytes(32));
    const kinds = await withDevice(tpm, async (device) => {
      const found: string[] = [];
      for (const endorsement of await endorsementKeys(device)) {
        const answer = await withPrimary(device, attestationTemplate, async (attestationKey) => {
          const name = nameOf(attestationKey.area);
          const credential = makeCredential({ endorsementKey: endorsement.area, name, secret });
          return endorsement.load(device, (endorsementKey) =>
            activateCredential(device, { attestationKey, endorsementKey, credential }),
          );
        });
        expect(Buffer.from(answer as Uint8Array)).toEqual(Buffer.from(secret));
        const { key } = endorsement.area;
        found.push(key.kind === "ec" ? key.curve : key.kind);
      }
      return found;
    });
    expect(kinds).toEqual(["P-384", "rsa"]); // the P-256 one is opened in the test without certificates
  });

  test("is vouched for by any of its certificates", async () => {
    const item = await collect();
    const parts = decodeTpmEvidence(item.evidence);
    for (const { area, certificate = new Uint8Array(0) } of await withDevice(tpm, endorsementKeys)) {
      const evidence = encodeTpmEvidence({ ...parts, endorsementKey: area.bytes });
      const other = { ...item, evidence, collateral: [certificate, maker.intermediate] };
      const residenceProof = tpm2.residence?.(other, new Uint8Array(32))?.proof ?? new Uint8Array(0);
      const { verdict } = verdictOf(other, { seen: { residenceProof } });
      expect(verdict.chain).toEqual({ outcome: "pass", reason: "chain-holds" });
      expect(verdict["key-residence"]).toEqual({ outcome: "pass", reason: "key-in-chip" });
    }
  });

  test("makes the endorsement keys of its certificates from the templates too", async () => {
    // 0x120 EvictControl by the owner: the kept ones go
    await withDevice(tpm, async (device) => {
      for (const handle of ["81010001", "81010016"]) {
        const evict = `8002 00000023 00000120 40000001 ${handle} 00000009 40000009 0000 01 0000 ${handle}`;
        const answer = await device.transmit(Buffer.from(evict.replaceAll(" ", ""), "hex"));
        expect(Buffer.from(answer).toString("hex", 6, 10)).toBe("00000000");
        expect(await readPublic(device, Number.parseInt(handle, 16))).toBeUndefined();
      }
      expect((await endorsementKeys(device)).map(({ area }) => area.key.kind)).toEqual(["ec", "rsa"]);
    });
    const fresh = collectorFor(tpm, maker);
    expect((await askResidence(fresh, await collect(fresh))).residenceProof).toHaveLength(32);
  });

  test("an index that is not there, or too long, reads as nothing", async () => {
    await withDevice(tpm, async (device) => {
      expect(await readNv(device, 0x01c0_0fff, 8_192)).toBeUndefined();
      expect(await readNv(device, 0x01c0_0002, 100)).toBeUndefined();
    });
  });

  test("answers many at once, one after the other", async () => {
    const items = await Promise.all(Array.from({ length: 12 }, () => collect()));
    for (const item of items) expect(verdictOf(item).verdict.binding.outcome).toBe("pass");
  });

  test("more at once than it can answer are turned away", async () => {
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, () => collector.sign(randomBytes(8)).then(() => "signed", codeOf)),
    );
    expect(outcomes.filter((outcome) => outcome === "signed")).toHaveLength(16);
    expect(outcomes.filter((outcome) => outcome === "E_BUSY")).toHaveLength(4);
  });

  test("keys that somebody left in it are thrown out", async () => {
    const leaveKey = (): Promise<void> =>
      withDevice(tpm, (device) => withPrimary(device, attestationTemplate, () => device.close()));
    for (let left = 3; left > 0; left -= 1) await leaveKey();
    await expect(leaveKey()).rejects.toThrow("0x902"); // all places of this TPM are taken
    expect(verdictOf(await collect()).verdict.signature.outcome).toBe("pass");
    await leaveKey();
  });

  test("that hangs is waited for as long as its caller likes, and goes on afterwards", async () => {
    process.kill(tpm.pid(), "SIGSTOP");
    const request = { endpointId: host, inferenceKey, nonce: undefined, issuedAtMs: Date.now() };
    await rejectsWith("E_ABORTED", collector.collect(request, { signal: AbortSignal.timeout(50) }));
    process.kill(tpm.pid(), "SIGCONT");
    expect(verdictOf(await collect()).verdict.signature.outcome).toBe("pass");
  });
});

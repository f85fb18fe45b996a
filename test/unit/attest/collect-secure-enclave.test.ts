/**
 * Evidence of a Secure Enclave from end to end, with a library in C in the place of Apple's: made by the collector,
 * checked by the verifier, and after every test nothing that was made is left and nothing was used wrongly. Skipped, and
 * counted as such, where it cannot be compiled.
 */
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Collector, CollectorSettings, EvidenceRequest } from "../../../src/attest/collect/collector.ts";
import { collectorKinds } from "../../../src/attest/collect/registry.ts";
import { secureEnclaveCollector } from "../../../src/attest/collect/secure-enclave.ts";
import { secureEnclave } from "../../../src/attest/kinds/secure-enclave.ts";
import { tierOf } from "../../../src/attest/verdict.ts";
import { fromBase64, toBase64 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { verifyP256 } from "../../../src/crypto/p256.ts";
import { decodeReferenceBlob, referenceBlobBytes } from "../../../src/wire/evidence.ts";
import { host, inferenceKey, inputFor, issuedAtMs, testKey, withOutcome } from "../../support/evidence.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";
import { macOutputs, recorded } from "../../support/security-framework/mac.ts";
import {
  type MemoryStore,
  memoryStore,
  standIn,
  standInLibraries,
  standInMissing,
} from "../../support/security-framework/stand-in.ts";

const request: EvidenceRequest = { endpointId: host, inferenceKey, nonce: undefined, issuedAtMs };
const message = Uint8Array.of(1, 2, 3);

describe.skipIf(standInMissing !== undefined)("a Secure Enclave", () => {
  const mac = standInMissing === undefined ? standIn() : (undefined as never);
  const open: Collector[] = [];
  let store: MemoryStore;
  let liveBefore: number;

  function collectorWith(settings: CollectorSettings = {}): Collector {
    const collector = secureEnclaveCollector.create({
      appleLibraries: standInLibraries,
      runCommand: recorded().run,
      enclaveKey: store,
      ...settings,
    });
    open.push(collector);
    return collector;
  }

  async function attestedKey(collector: Collector): Promise<string> {
    const { evidence } = await collector.collect(request);
    return decodeReferenceBlob(evidence).attestation.attestedKey;
  }

  async function closeAll(): Promise<void> {
    for (const collector of open.splice(0)) await collector.close?.();
  }

  /** As when the process ends and another one starts. */
  async function restart(settings: CollectorSettings = {}): Promise<Collector> {
    await closeAll();
    return collectorWith(settings);
  }

  beforeEach(() => {
    mac.reset();
    store = memoryStore();
    liveBefore = mac.liveObjects();
  });

  afterEach(async () => {
    await closeAll();
    expect(mac.lastViolation()).toBe("");
    expect(mac.violations()).toBe(0);
    expect(mac.liveObjects() - liveBefore).toBe(0);
  });

  describe("evidence", () => {
    it("holds at the verifier, and shows no more than a blob can", async () => {
      const item = await collectorWith().collect(request);
      expect(item).toMatchObject({ kind: "secure-enclave", version: 1, collateral: [], issuedAtMs });
      const { claims, verdict } = secureEnclave.verify(inputFor(item));
      expect(withOutcome(verdict, "pass")).toEqual(["parse", "signature", "binding", "device-state"]);
      expect(withOutcome(verdict, "fail")).toEqual([]);
      expect(claims).toMatchObject({
        chip: { value: "Apple M4 Max", by: "self" },
        hardwareModel: { value: "Mac16,5" },
        memoryBytes: { value: 68_719_476_736n },
        issuedAtMs: { value: issuedAtMs },
      });
      expect(tierOf("secure-enclave", verdict, { challenged: false, pin: "none" })).toBe("none");
      expect(tierOf("secure-enclave", verdict, { challenged: true, pin: "none" })).toBe("key");
    });

    it("is signed over a message that was hashed once", async () => {
      const { evidence } = await collectorWith().collect(request);
      const { attestation, signature } = decodeReferenceBlob(evidence);
      const once = referenceBlobBytes(attestation);
      const check = { publicKey: fromBase64(attestation.attestedKey), signature, form: "der" } as const;
      expect(verifyP256({ ...check, message: once })).toBe(true);
      const digest = Uint8Array.from(createHash("sha256").update(once).digest());
      expect(verifyP256({ ...check, message: digest })).toBe(false);
    });

    it("is not handed out when the message was hashed twice", async () => {
      const collector = collectorWith();
      mac.setHashesTwice(true);
      await rejectsWith("E_CONFIG", collector.collect(request));
      await rejectsWith("E_CONFIG", collector.sign(message));
    });

    it("has a time with nanoseconds and an offset, as the reference writes it", async () => {
      const { evidence } = await collectorWith().collect(request);
      expect(decodeReferenceBlob(evidence).attestation.timestamp).toBe("2026-05-05T00:00:00.123000000+00:00");
    });

    it("names the build that the node measured, or none", async () => {
      const collector = collectorWith();
      const hashOf = async (measurement?: string): Promise<string> =>
        decodeReferenceBlob((await collector.collect({ ...request, measurement })).evidence).attestation.binaryHash;
      expect([await hashOf("ab".repeat(32)), await hashOf()]).toEqual(["ab".repeat(32), ""]);
    });

    it.each(Object.keys(macOutputs).filter((command) => !command.includes("sysctl")))(
      "says no where %s gives no answer, and asks again after some minutes",
      async (command) => {
        const outputs: Record<string, string> = { ...macOutputs };
        delete outputs[command];
        const { run, asked } = recorded(outputs);
        const collector = collectorWith({ runCommand: run });
        const { verdict } = secureEnclave.verify(inputFor(await collector.collect(request)));
        expect(verdict["device-state"].outcome).toBe("fail");
        await collector.collect(request);
        const times = (): number => asked.filter((one) => one === command).length;
        expect(times()).toBe(1);
        const now = performance.now();
        const later = vi.spyOn(performance, "now").mockImplementation(() => now + 240_000);
        await collector.collect(request).finally(() => later.mockRestore());
        expect(times()).toBe(2);
      },
    );

    it("measures once when everything is known", async () => {
      const { run, asked } = recorded();
      const collector = collectorWith({ runCommand: run });
      await collector.collect(request);
      await collector.collect(request);
      expect(asked.toSorted()).toEqual(Object.keys(macOutputs).toSorted());
    });
  });

  describe("challenges", () => {
    it("are signed by the key of the evidence", async () => {
      const collector = collectorWith();
      const publicKey = fromBase64(await attestedKey(collector));
      const signature = await collector.sign(message);
      expect(verifyP256({ publicKey, message, signature, form: "der" })).toBe(true);
      expect(verifyP256({ publicKey, message: Uint8Array.of(1), signature, form: "der" })).toBe(false);
    });

    it("and evidence that are asked for at once share one key", async () => {
      const collector = collectorWith();
      const keys = await Promise.all([1, 2, 3, 4].map(() => attestedKey(collector)));
      expect(new Set(keys).size).toBe(1);
      expect(mac.calls().split("SecKeyCreateRandomKey").length).toBe(2);
    });
  });

  describe("its key", () => {
    it("is in the keychain of a program with the entitlement, and found there after a restart", async () => {
      const first = collectorWith();
      const key = await attestedKey(first);
      expect([first.keyLife, store.writes]).toEqual(["machine", 0]);
      expect(mac.calls()).toBe(
        "SecItemCopyMatching SecAccessControlCreateWithFlags SecKeyCreateRandomKey SecKeyCopyAttributes " +
          "SecKeyCopyPublicKey SecKeyCopyExternalRepresentation SecKeyCreateSignature",
      );
      const second = await restart();
      expect(await attestedKey(second)).toBe(key);
      expect(second.keyLife).toBe("machine");
      expect(mac.calls().split("SecKeyCreateRandomKey").length).toBe(2);
    });

    it("without the entitlement is kept by its handle, and made again from it after a restart", async () => {
      mac.setEntitled(false);
      const first = collectorWith();
      const key = await attestedKey(first);
      expect([first.keyLife, store.writes]).toEqual(["machine", 1]);
      expect(mac.calls()).toBe(
        "SecItemCopyMatching SecAccessControlCreateWithFlags SecKeyCreateRandomKey SecAccessControlCreateWithFlags " +
          "SecKeyCreateRandomKey SecKeyCopyAttributes SecKeyCopyPublicKey SecKeyCopyExternalRepresentation " +
          "SecKeyCopyAttributes SecKeyCreateSignature",
      );
      const second = await restart();
      expect(await attestedKey(second)).toBe(key);
      expect([second.keyLife, store.writes]).toEqual(["machine", 1]);
      expect(mac.calls()).toMatch(/SecKeyCreateSignature SecKeyCreateWithData SecKeyCopyAttributes/);
    });

    it("is kept with its point before the handle", async () => {
      mac.setEntitled(false);
      const key = await attestedKey(collectorWith());
      expect(toBase64(store.kept?.subarray(0, 65) ?? message)).toBe(key);
      expect(store.kept?.length).toBeGreaterThan(65);
    });

    it.each([
      ["the chip gives no handle", (): void => mac.setHandles(false), true],
      ["there is nowhere to keep it", (): void => undefined, false],
    ])("lives as long as the process where %s, which it says", async (_name, prepare, hasStore) => {
      mac.setEntitled(false);
      prepare();
      const settings = hasStore ? {} : { enclaveKey: undefined as never };
      const first = collectorWith(settings);
      expect(first.keyLife).toBeUndefined();
      const key = await attestedKey(first);
      expect([first.keyLife, store.writes]).toEqual(["process", 0]);
      expect(await attestedKey(first)).toBe(key);
      const second = await restart(settings);
      expect(await attestedKey(second)).not.toBe(key);
    });

    it("that was kept stays the key of a program that has the entitlement later", async () => {
      mac.setEntitled(false);
      const key = await attestedKey(collectorWith());
      mac.setEntitled(true);
      expect(await attestedKey(await restart())).toBe(key);
    });

    it.each([
      ["its chip is another one", (): void => mac.changeChip(), /remove the file enclave-key.* \(macOS error -50\)/],
      [
        "its handle is not heeded",
        (): void => mac.setHeedsHandles(false),
        /remove the file enclave-key.* \(it is another key\)/,
      ],
      [
        "its file is cut",
        (): void => void (store.kept = store.kept?.slice(0, 65)),
        /enclave-key.* \(its file is damaged\)/,
      ],
      ["its file is empty", (): void => void (store.kept = new Uint8Array(0)), /enclave-key.* \(its file is damaged\)/],
      ["its point is none", (): void => void store.kept?.fill(9, 1, 65), /enclave-key.* \(its file is damaged\)/],
      ["it fails", (): void => mac.failNext("SecKeyCreateWithData", -25_308), /enclave-key.* \(macOS error -25308\)/],
    ])("that was kept is not replaced by a new one when %s", async (_name, prepare, sentence) => {
      mac.setEntitled(false);
      await attestedKey(collectorWith());
      const collector = await restart();
      prepare();
      const kept = store.kept;
      await expect(collector.collect(request)).rejects.toThrow(sentence);
      expect([store.kept, store.writes]).toEqual([kept, 1]);
    });

    it("is not made from any other bytes that are kept, and never replaces them", async () => {
      const runs = Math.min(Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300), 1_000);
      const point = fc.constant(testKey().point).map((bytes) => [...bytes]);
      const bytes = fc.uint8Array({ maxLength: 300 });
      const kept = fc.oneof(
        bytes,
        fc.tuple(point, bytes).map(([head, tail]) => Uint8Array.from([...head, ...tail])),
      );
      const property = fc.asyncProperty(kept, async (file) => {
        const damaged = memoryStore(file);
        const collector = collectorWith({ enclaveKey: damaged });
        await rejectsWith("E_CONFIG", collector.sign(message));
        expect([damaged.kept, damaged.writes]).toEqual([file, 0]);
      });
      await fc.assert(property, { numRuns: runs });
      expect(mac.calls()).not.toContain("SecKeyCreateRandomKey");
    });

    it("is not used when its handle could not be kept", async () => {
      mac.setEntitled(false);
      const failing = {
        read: (): undefined => undefined,
        write: (): void => {
          throw new MeshError("E_STATE", "the disk is full");
        },
      };
      await rejectsWith("E_STATE", collectorWith({ enclaveKey: failing }).collect(request));
    });
  });

  describe("fails with a sentence of ours and a number", () => {
    it.each([
      ["SecItemCopyMatching", -25_308, true, "the keychain cannot be searched (macOS error -25308)"],
      ["SecAccessControlCreateWithFlags", -50, true, "the Secure Enclave makes no key (macOS error -50)"],
      ["SecKeyCreateRandomKey", -25_291, true, "the Secure Enclave makes no key (macOS error -25291)"],
      ["SecKeyCreateRandomKey", 0, true, "the Secure Enclave makes no key"],
      ["SecKeyCopyAttributes", 0, true, "the Secure Enclave does not show its key"],
      ["SecKeyCopyPublicKey", 0, true, "the Secure Enclave does not show its key"],
      ["SecKeyCopyExternalRepresentation", -50, true, "the Secure Enclave does not show its key (macOS error -50)"],
      ["SecKeyCreateSignature", -3, true, "the Secure Enclave does not sign (macOS error -3)"],
      ["SecKeyCreateSignature", 0, false, "the Secure Enclave does not sign"],
    ])("when %s fails with %i, and works again afterwards", async (name, code, isEntitled, sentence) => {
      mac.setEntitled(isEntitled);
      const collector = collectorWith();
      mac.failNext(name, code);
      const failed: unknown = await collector.collect(request).catch((thrown: unknown) => thrown);
      expect(failed).toMatchObject({ code: "E_CONFIG", message: sentence });
      expect(secureEnclave.verify(inputFor(await collector.collect(request))).verdict.signature.outcome).toBe("pass");
    });

    it("when the key that was made is in no chip", async () => {
      mac.setHeedsToken(false);
      await expect(collectorWith().collect(request)).rejects.toThrow(
        "macOS gave a key that is not in the Secure Enclave",
      );
    });

    it("when the second try, without the keychain, fails as well", async () => {
      mac.setEntitled(false);
      mac.setChip(false);
      await expect(collectorWith().collect(request)).rejects.toThrow("makes no key (macOS error -25291)");
    });

    it("when there is no chip of Apple's, without a call to its libraries", async () => {
      const outputs = { ...macOutputs, "/usr/sbin/sysctl -n machdep.cpu.brand_string": "Intel(R) Core(TM) i9\n" };
      const collector = collectorWith({ runCommand: recorded(outputs).run });
      await expect(collector.collect(request)).rejects.toThrow(
        "this machine has no chip of Apple's, and so no Secure Enclave that could be used",
      );
      expect(mac.calls()).toBe("");
    });

    it("when its libraries are not there", async () => {
      const appleLibraries = { coreFoundation: "/nowhere/CoreFoundation", security: "/nowhere/Security" };
      await expect(collectorWith({ appleLibraries }).collect(request)).rejects.toThrow(
        "macOS's Security framework cannot be loaded",
      );
    });

    it("when a library is another one", async () => {
      const appleLibraries = { ...standInLibraries, security: "libc.so.6" };
      await rejectsWith("E_CONFIG", collectorWith({ appleLibraries }).collect(request));
    });
  });

  describe("waits", () => {
    it("end when their caller likes, and what was asked ends by itself", async () => {
      const collector = collectorWith();
      await collector.sign(message);
      mac.slowNext("SecKeyCreateSignature", 300);
      await rejectsWith("E_ABORTED", collector.sign(message, { signal: AbortSignal.timeout(20) }));
      expect((await collector.sign(message)).length).toBeGreaterThan(60);
    });

    it("do not hold up the process", async () => {
      const collector = collectorWith();
      await collector.sign(message);
      mac.slowNext("SecKeyCreateSignature", 300);
      let hasEnded = false;
      const signing = collector.sign(message).finally(() => {
        hasEnded = true;
      });
      await new Promise((resolve) => setTimeout(resolve, 10));
      expect(hasEnded).toBe(false);
      await signing;
    });

    it("are bounded in number", async () => {
      const collector = collectorWith();
      const asked = Array.from({ length: 17 }, () => collector.sign(message));
      await rejectsWith("E_BUSY", asked[16] ?? Promise.resolve());
      expect((await Promise.all(asked.slice(0, 16))).length).toBe(16);
    });

    it("are over for good once it is closed", async () => {
      const collector = collectorWith();
      const last = collector.sign(message);
      await collector.close?.();
      expect((await last).length).toBeGreaterThan(60);
      await rejectsWith("E_CLOSED", collector.sign(message));
    });
  });

  it("is asked for by its libraries, or by being on a Mac", () => {
    const kind = collectorKinds.find((known) => known.kind === "secure-enclave");
    expect(kind?.wanted({ appleLibraries: standInLibraries })).toBe(true);
    expect(kind?.wanted({})).toBe(process.platform === "darwin");
  });
});

/** What would be a crash on a Mac, or silently wrong, must not pass in the tests above. */
describe.skipIf(standInMissing !== undefined)("the stand-in", () => {
  const mac = standInMissing === undefined ? standIn() : (undefined as never);
  const object = "void *";
  const release = (ref: unknown): unknown => mac.raw("CFRelease", "void", [object])(ref);
  const sign = (key: unknown, data: unknown): unknown =>
    mac.raw("SecKeyCreateSignature", object, [object, object, object, object])(
      key,
      mac.constant("kSecKeyAlgorithmECDSASignatureMessageX962SHA256"),
      data,
      null,
    );
  const data = (): unknown => mac.raw("CFDataCreate", object, [object, "uint8_t *", "long"])(null, message, 3);
  let live: number;

  beforeEach(() => {
    mac.reset();
    live = mac.liveObjects();
  });

  it("counts what is not released", () => {
    const ref = data();
    expect(mac.liveObjects() - live).toBe(1);
    release(ref);
    expect([mac.liveObjects() - live, mac.violations()]).toEqual([0, 0]);
  });

  it.each<[string, () => unknown, string]>([
    ["a signature without a key", () => sign(null, null), "SecKeyCreateSignature: NULL"],
    ["a signature with what is no key", () => sign(data(), data()), "SecKeyCreateSignature: data"],
    ["NULL that is released", () => release(null), "CFRelease: NULL"],
    ["what was never made", () => release(1234n), "CFRelease: not an object"],
    [
      "an object released twice",
      (): void => {
        const ref = data();
        release(ref);
        release(ref);
      },
      "CFRelease: the object was released before",
    ],
  ])("traps %s", (_name, act, expected) => {
    act();
    expect(mac.violations()).toBeGreaterThan(0);
    expect(mac.lastViolation()).toBe(expected);
  });
});

/**
 * Clocks differ and gossip is slow. A good host must not look forged because of that, and nobody may get through by a
 * clock: time is an input, both bounds are settings, and old is not wrong.
 */
import { describe, expect, it } from "vitest";
import { evidenceWindow, freshByOwnTime } from "../../src/attest/evidence.ts";
import { reasons } from "../../src/attest/reasons.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { verifyEvidence } from "../../src/attest/verify.ts";
import {
  attestByHand,
  blobOf,
  callUntil,
  configFile,
  demandingClient,
  demandsKey,
  enclaveHost,
  freshKey,
  gotPrompt,
  shownOf,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, call } from "../support/raw-peer.ts";
import { blobItem, goodBlob, inputFor, issuedAtMs, withOutcome } from "../support/evidence.ts";

const challenged = { challenged: true, pin: "none" } as const;
const at = (nowMs: number, window = {}): ReturnType<typeof verifyEvidence>["verdict"] =>
  verifyEvidence(inputFor(blobItem(goodBlob), { nowMs, ...window })).verdict;

describe("A8: clocks", () => {
  it("one blob has as many verdicts as there are times to look at it, and only `fresh` differs", () => {
    const verdicts = [-30_001, 0, 660_001].map((age) => at(issuedAtMs + age));
    expect(verdicts.map(({ fresh }) => fresh.outcome)).toEqual(["fail", "unknown", "stale"]);
    const [ahead, good, old] = verdicts.map(({ fresh: _fresh, ...others }) => others);
    expect(ahead).toEqual(good);
    expect(old).toEqual(good);
  });

  it("old is stale and not a failure: nothing in it is wrong, and it is still no tier", () => {
    const verdict = at(issuedAtMs + 660_001);
    expect(withOutcome(verdict, "fail")).toEqual([]);
    expect(withOutcome(verdict, "stale")).toEqual(["fresh"]);
    expect(tierOf("secure-enclave", verdict, challenged)).toBe("none");
  });

  it("a clock that runs ahead is named as that, and a challenge does not mend it", () => {
    const verdict = at(issuedAtMs - 31_000);
    expect(reasons[verdict.fresh.reason]).toContain("compare the clocks");
    expect(tierOf("secure-enclave", verdict, challenged)).toBe("none");
    expect(tierOf("secure-enclave", at(issuedAtMs - 30_000), challenged)).toBe("key");
  });

  it("both bounds are settings", () => {
    expect(at(issuedAtMs - 31_000, { aheadMs: 31_000 }).fresh.reason).toBe("own-time");
    expect(at(issuedAtMs + 3_600_000, { maxAgeMs: 3_600_000 }).fresh.reason).toBe("own-time");
    expect(at(issuedAtMs + 5_001, { maxAgeMs: 5_000 }).fresh.reason).toBe("too-old");
    expect(evidenceWindow).toEqual({ maxAgeMs: 660_000, aheadMs: 30_000 });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, undefined])("a time of %s fails", (time) => {
    const input = { nowMs: issuedAtMs, ...evidenceWindow };
    expect(freshByOwnTime(time, input)).toEqual({ outcome: "fail", reason: "time-unreadable" });
  });

  it("times far outside of any calendar are ahead or old, not an exception", () => {
    expect(at(-8.64e15).fresh.reason).toBe("clock-ahead");
    expect(at(8.64e15).fresh.reason).toBe("too-old");
  });
});

describe("A8: a host whose clock is off", () => {
  it.each<[string, number, string, string]>([
    ["ahead", 40_000, "fresh (clock-ahead)", "compare the clocks"],
    ["behind", -700_000, "stale", "older than allowed"],
  ])(
    "A8: that is too far %s is refused in words that say so, although it answers challenges",
    async (_name, ms, rule, words) => {
      const mesh = attackedMesh();
      const engine = await startEngineServer();
      const { host, enclave } = await enclaveHost(mesh, engine.url);
      enclave.clockAheadMs = ms;
      const client = await demandingClient(mesh, [host]);
      const refused = await call(client);
      expect([refused.status, refused.message]).toEqual([503, expect.stringContaining(rule)]);
      expect(refused.message).toContain(words);
      expect(shownOf(client, host)).toMatchObject({ tier: "none", challenge: "answered" });
      // set right, it counts from the next question on
      enclave.clockAheadMs = 0;
      await callUntil(client, "the clock was set", ({ status }) => status === 200);
      await engine.close();
    },
  );

  it.each([29_000, -600_000])("A8: by %s ms is no matter", async (ms) => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    enclave.clockAheadMs = ms;
    expect((await call(await demandingClient(mesh, [host]))).status).toBe(200);
    await engine.close();
  });

  it("A8: both bounds are settings of whoever asks", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer();
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    enclave.clockAheadMs = 40_000;
    const config = configFile("[policy]\nevidence_ahead = 60\n");
    expect((await call(await demandingClient(mesh, [host], { ...demandsKey, config }))).status).toBe(200);
    await engine.close();
  });
});

describe("A8: slow gossip", () => {
  it("A8: does not make a good host stale: its evidence is fetched from itself when it is needed", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() - 3_600_000 };
    const { evidence } = await blobOf(key, request);
    host.announcements = () => [host.own({ evidence })];
    attestByHand(host, key);
    const client = await demandingClient(mesh, [host]);
    await eventually("the old blob has come", () => shownOf(client, host).evidence[0]?.factors.fresh === "stale");
    expect(host.opened).not.toContain("sealmesh/1 5");
    await call(client);
    expect(host.opened).toContain("sealmesh/1 5");
    expect(shownOf(client, host)).toMatchObject({ tier: "key", allowed: true });
    expect(gotPrompt(host)).toBe(true);
  });
});

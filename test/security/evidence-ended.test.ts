/**
 * Evidence that held when it was looked at, and does not any more: it was taken away, its time passed, its key rotated,
 * or something bad came beside it. A decision of earlier must not outlive what it was made from.
 */
import { describe, expect, it, vi } from "vitest";
import type { CollectorKind } from "../../src/attest/collect/collector.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { toBase64, utf8 } from "../../src/base/bytes.ts";
import type { ExchangeReport } from "../../src/node/exchanges.ts";
import { decodeEvidenceItem, decodeReferenceBlob } from "../../src/wire/evidence.ts";
import {
  attestByHand,
  blobOf,
  callUntil,
  configFile,
  demandingClient,
  demandsKey,
  Enclave,
  enclaveHost,
  everySecond,
  freshKey,
  gotPrompt,
  hostIn,
  shownOf,
  shows,
} from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import { asked, attackedMesh, call, prompt } from "../support/raw-peer.ts";

const shortLived = "[policy]\nevidence_max_age = 2\n";
const gone = (): never => {
  throw new Error("no new evidence can be made");
};

describe("evidence that is taken away", () => {
  it("a host that showed it and shows none any more is refused under --require-attested-hosts", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host]);
    expect((await call(client)).status).toBe(200);
    await host.stop(0);
    const again = { engine: [engine.url], dataDir: host.dataDir, join: [client.invite()] };
    await mesh.start("serve", again, { collectors: [] });
    const before = asked(engine).length;
    const refused = await callUntil(
      client,
      "it is asked anew",
      ({ message }) => message?.includes("no-evidence") ?? false,
    );
    expect([refused.status, refused.code]).toEqual([503, "refused"]);
    expect(asked(engine)).toHaveLength(before);
    await engine.close();
  });

  it("the blob alone taken out of a host's announcement changes nothing: the host is asked for it", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    attestByHand(host, key);
    expect(host.own().evidence).toBeUndefined();
    const client = await demandingClient(mesh, [host]);
    expect(shownOf(client, host).tier).toBe("none");
    await call(client);
    expect(shownOf(client, host)).toMatchObject({ tier: "key", allowed: true });
  });

  it("the inference key taken out of it is no way round: evidence is tied to it, and nothing goes in the clear", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    attestByHand(host, key);
    const blob = await blobOf(key, { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() });
    host.announcements = () => [host.own({ inferenceKey: undefined, record: undefined, evidence: blob.evidence })];
    for (const flags of [demandsKey, { ...demandsKey, acceptUnchallenged: true }]) {
      const client = await demandingClient(mesh, [host], flags);
      const refused = await call(client);
      expect([refused.status, refused.message]).toEqual([503, expect.stringContaining("encryption-required")]);
    }
    expect(gotPrompt(host)).toBe(false);
  });
});

describe("evidence whose time has passed", () => {
  it("a verdict is not kept past it: the next request is refused as stale, by the error and by status", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], { ...demandsKey, config: configFile(shortLived) });
    expect((await call(client)).status).toBe(200);
    enclave.beforeMaking = gone;
    const refused = await callUntil(client, "its time has passed", ({ status }) => status === 503);
    expect(refused.message).toContain("--require-attested-hosts=key: stale");
    const { tier, allowed, challenge, evidence } = shownOf(client, host);
    expect([tier, allowed, challenge]).toEqual(["none", false, "answered"]);
    expect(evidence[0]?.factors.fresh).toBe("stale");
    const prompts = asked(engine).length;
    expect((await call(client)).status).toBe(503);
    expect(asked(engine)).toHaveLength(prompts);
    enclave.beforeMaking = () => undefined;
    await callUntil(client, "it makes new evidence", ({ status }) => status === 200);
    await engine.close();
  });

  it("in mid-stream: the stream goes on to its end, the report says stale, the next request is refused", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ tokens: 30, tokenMs: 100 });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const config = configFile(shortLived);
    const client = await demandingClient(mesh, [host], { ...demandsKey, config, headless: false, console: "0" });
    const answering = call(client, prompt({ stream: true }));
    await eventually("it streams", () => engine.running === 1);
    enclave.beforeMaking = gone;
    const answer = await answering;
    expect([answer.status, answer.whole]).toEqual([200, true]);
    expect(answer.headers.get("x-sealmesh-attested")).toBe("key");
    expect(answer.text).toContain("word29");
    expect(answer.text).toContain("[DONE]");
    const said = await fetch(`${client.consoleUrl}/api/exchanges`);
    const { exchanges } = (await said.json()) as { exchanges: readonly ExchangeReport[] };
    expect(exchanges[0]?.attestation).toMatchObject({ tier: "key", kind: "secure-enclave", at_end: "stale" });
    const next = await call(client);
    expect([next.status, next.message]).toEqual([503, expect.stringContaining("stale")]);
    await engine.close();
  });
});

describe("evidence for a key that rotates", () => {
  it("is made anew for the next inference key, and asked for anew: nobody is refused for long, or sealed to without it", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], { ...demandsKey, config: configFile(everySecond) });
    expect((await call(client)).status).toBe(200);
    const before = (await hostIn(client, host)).inference_key;
    const clock = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 3_600_001);
    host.keys.advance();
    clock.mockRestore();
    const after = toBase64(host.keys.current.publicKey);
    expect(after).not.toBe(before);
    const isTaken = (): boolean => {
      const rotated = host.events.some(({ event }) => event === "key-rotated");
      const { inference_key: published } = host.status();
      return rotated && client.status().peers.some(({ inference_key: known }) => known === published);
    };
    // a request in the very moment of the change may be refused, and none for long
    const refusedMs: number[] = [];
    await callUntil(client, "the next key is in use", ({ status }) => {
      if (status !== 200) refusedMs.push(performance.now());
      return isTaken() && status === 200;
    });
    expect((refusedMs.at(-1) ?? 0) - (refusedMs[0] ?? 0)).toBeLessThan(400);
    const { inference_key: shown, tier, evidence } = await hostIn(client, host);
    expect([shown, tier]).toEqual([after, "key"]);
    const { attestation } = decodeReferenceBlob(decodeEvidenceItem(utf8(JSON.stringify(evidence[0]?.item))).evidence);
    expect([attestation.inferenceKey, attestation.attestedKey]).toEqual([after, toBase64(enclave.key.point)]);
    await engine.close();
  });
});

describe("evidence beside other evidence", () => {
  it.each<[string, (good: EvidenceItem) => EvidenceItem]>([
    ["of a kind that nobody knows", (good) => ({ ...good, kind: "made-up" })],
    ["that is no blob at all", (good) => ({ ...good, evidence: Uint8Array.of(1, 2, 3) })],
    ["of a TPM, malformed", (good) => ({ ...good, kind: "tpm2" })],
    ["with a signature that does not hold", (good) => ({ ...good, evidence: changed(good.evidence) })],
  ])("one bad kind, %s, does not hide a good one", async (_name, spoil) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const key = freshKey();
    attestByHand(host, key, {
      evidence: async () => {
        const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
        const good = await blobOf(key, request);
        return shows(spoil(good), good);
      },
    });
    const client = await demandingClient(mesh, [host]);
    await call(client);
    expect(gotPrompt(host)).toBe(true);
    const { tier, kind, evidence } = shownOf(client, host);
    expect([tier, kind, evidence.length]).toEqual(["key", "secure-enclave", 2]);
  });

  it("a collector that fails does not hide one that works", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const enclave = new Enclave();
    const broken: CollectorKind = {
      kind: "tpm2",
      wanted: () => true,
      create: () => ({
        kind: "tpm2",
        collect: () => Promise.reject(new Error("the TPM is broken")),
        sign: () => Promise.reject(new Error("the TPM is broken")),
      }),
    };
    const host = await mesh.start("serve", { engine: [engine.url] }, { collectors: [broken, enclave] });
    const client = await demandingClient(mesh, [host]);
    const answer = await call(client);
    expect([answer.status, answer.headers.get("x-sealmesh-evidence")]).toEqual([200, "secure-enclave"]);
    await engine.close();
  });
});

function changed(evidence: Uint8Array): Uint8Array {
  const text = Buffer.from(evidence).toString().replace('"Apple M4 Max"', '"Apple M4 Mix"');
  return Uint8Array.from(Buffer.from(text));
}

/** The console port of whole nodes: what it tells as it happens, what can be tried, pinned and asked, and the end. */
import { describe, expect, it, vi } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { consoleOf, type NodeConsole, readerOf } from "../support/console.ts";
import type {
  ConfirmedPinsDocument,
  ExchangeReport,
  ForgottenPinsDocument,
  LogEntry,
  PeerStatus,
  PinsDocument,
  PolicyHost,
  PolicyReport,
  Status,
} from "../../src/node/http/admin.ts";
import { demandingClient, Enclave, enclaveHost, freshKey } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";
import { asked, attackedMesh, call, prompt } from "../support/raw-peer.ts";

const withConsole = { headless: false, console: "0" };

const peerIn = ({ peers }: Status, { endpointId }: TestNode): PeerStatus | undefined =>
  peers.find(({ endpoint_id }) => endpoint_id === endpointId);

describe("the events of a node", () => {
  it("tell of a host that comes, answers and goes, of the way to it, and of what was asked", async () => {
    const mesh = testMesh();
    const engine = await startEngineServer({ text: "In the reeds." });
    const relay = await mesh.start("relay", { name: "relay" });
    const client = await mesh.start("client", { ...withConsole, join: [relay.invite()], route: "relay" });
    const console = consoleOf(client);
    const events = await console.follow("/api/events");
    const first = await events.next<Status>("status");
    expect(first.endpoint_id).toBe(client.endpointId);
    expect(first.token).toBeNull();

    const host = await mesh.start("serve", { engine: [engine.url], join: [relay.invite()], name: "host" });
    const come = await events.until<Status>("status", (status) => peerIn(status, host)?.route === "relay");
    expect(peerIn(come, host)).toMatchObject({ models: ["scripted"], via: relay.endpointId, sealed: "sealed" });
    expect(peerIn(come, relay)).toMatchObject({ relays_for_others: true, running: 0 });

    const answer = await call(client);
    const exchange = await events.next<ExchangeReport>("exchange");
    expect(exchange).toMatchObject({ id: answer.headers.get("x-request-id"), host: host.endpointId, route: "relay" });
    expect(JSON.stringify(exchange)).not.toContain("otter");
    const counted = await events.until<Status>("status", ({ exchanges }) => exchanges.totals.requests === 1);
    expect(counted.exchanges.recent).toEqual([exchange]);

    await host.stop(0);
    await events.until<Status>("status", (status) => peerIn(status, host) === undefined);
    await events.close();
    await engine.close();
  });

  it("tell when a host loses its attestation", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const first = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [first.host], { ...withConsole, requireAttestedHosts: "key" });
    await call(client);
    const events = await consoleOf(client).follow("/api/events");
    const tier = (status: Status): string | undefined => peerIn(status, first.host)?.attestation.tier;
    await events.until<Status>("status", (status) => tier(status) === "key");
    // another machine's key under its name
    await first.host.stop(0);
    const { dataDir } = first.host;
    const flags = { dataDir, join: [client.invite()] };
    const second = await enclaveHost(mesh, engine.url, flags, new Enclave(freshKey()));
    await eventually("the client knows it again", () => client.models().includes("scripted"));
    await call(client);
    const changed = await events.until<Status>(
      "status",
      (status) => peerIn(status, second.host)?.attestation.pin === "disagrees",
    );
    expect(peerIn(changed, second.host)?.attestation).toMatchObject({ allowed: false });
    await events.close();
    await engine.close();
  });
});

describe("what if, and pins", () => {
  interface Scene {
    readonly console: NodeConsole;
    readonly client: TestNode;
    readonly id: EndpointId;
    readonly enclave: Enclave;
    readonly tried: (demand: string) => Promise<PolicyHost | undefined>;
    readonly close: () => Promise<void>;
  }

  async function scene(): Promise<Scene> {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { host, enclave } = await enclaveHost(mesh, engine.url);
    const client = await demandingClient(mesh, [host], withConsole);
    const console = consoleOf(client);
    const tried = async (demand: string): Promise<PolicyHost | undefined> => {
      const { hosts, what_if } = await console.get<PolicyReport>(`/api/policy${demand}`);
      expect(what_if).toBe(demand !== "");
      return hosts.find(({ endpoint_id }) => endpoint_id === host.endpointId);
    };
    return { console, client, id: host.endpointId, enclave, tried, close: () => engine.close() };
  }

  it("say what follows from what is known, and change nothing; a confirmed pin counts at once", async () => {
    const { console, id, enclave, tried, close } = await scene();
    expect(await tried("")).toMatchObject({ decision: "allow", route: "sealed", models: ["scripted"], reasons: [] });
    expect(enclave.asked).toBe(0);
    const unasked = await tried("?require_attested_hosts=key");
    // what it shows in gossip is known, and nobody has challenged it
    expect(unasked).toMatchObject({ decision: "refuse", tier: "none", reasons: [{ rule: "challenge-unanswered" }] });
    expect(enclave.asked).toBe(0);

    await console.get(`/api/attestation/${id}`);
    expect(enclave.asked).toBeGreaterThan(0);
    expect(await tried("?require_attested_hosts=key")).toMatchObject({ decision: "allow", tier: "key" });
    const first = await tried("?require_attested_hosts=pinned");
    expect(first).toMatchObject({
      decision: "refuse",
      tier: "key",
      reasons: [{ rule: "tier-not-reached", code: "pin" }],
    });
    expect(await tried("?require_hardened=1")).toMatchObject({ decision: "refuse" });
    expect(await tried("?require_encryption=1&require_hardened=0")).toMatchObject({ decision: "allow" });

    expect((await console.ask("POST", `/api/pins/${id}`, { key: "0".repeat(32) })).status).toBe(400);
    const { pins: met } = await console.get<PinsDocument>("/api/pins");
    expect(met).toMatchObject([{ endpoint_id: id, key: enclave.fingerprint, confirmed: false }]);
    const made = await console.ask("POST", `/api/pins/${id}`, { key: enclave.fingerprint });
    expect((await made.json()) as ConfirmedPinsDocument).toMatchObject({
      before: [{ confirmed: false }],
      pins: [{ key: enclave.fingerprint, confirmed: true }],
    });
    expect(await tried("?require_attested_hosts=pinned")).toMatchObject({ decision: "allow", tier: "pinned" });
    expect(await tried("")).toMatchObject({ decision: "allow", tier: "pinned" });

    const gone = await console.ask("DELETE", `/api/pins/${id}`);
    expect((await gone.json()) as ForgottenPinsDocument).toMatchObject({ removed: [{ confirmed: true }] });
    expect(await console.get<PinsDocument>("/api/pins")).toEqual({ pins: [] });
    expect(await tried("?require_attested_hosts=key")).toMatchObject({ decision: "refuse" });
    await close();
  });

  it("do not go below what the mesh's invites demand", async () => {
    const mesh = testMesh();
    const founder = await mesh.start("client", { requireAttestedHosts: "key", openMesh: true });
    const client = await mesh.start("client", { ...withConsole, join: [founder.invite()] });
    const console = consoleOf(client);
    const { policy } = await console.get<PolicyReport>("/api/policy");
    const { policy: lower } = await console.get<PolicyReport>("/api/policy?require_attested_hosts=none");
    const { policy: higher } = await console.get<PolicyReport>("/api/policy?require_attested_hosts=vendor");
    expect(lower.require_attested_hosts).toBe(policy.require_attested_hosts);
    expect(higher.require_attested_hosts).toBe("vendor");
    expect(client.status().policy).toEqual(policy);
  });
});

describe("models asked at the console port", () => {
  it("answer as at the API port, streamed, from the mesh", async () => {
    const mesh = testMesh();
    const engine = await startEngineServer({ tokens: 4 });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { ...withConsole, join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const console = consoleOf(client);
    expect(await console.get("/v1/models")).toMatchObject({ data: [{ id: "scripted" }] });
    const answer = await console.ask("POST", "/v1/chat/completions", prompt({ stream: true }));
    expect(answer.headers.get("content-type")).toContain("text/event-stream");
    expect(answer.headers.get("x-sealmesh-host")).toBe(host.endpointId);
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
    const text = await answer.text();
    expect(text).toContain("word3");
    expect(text.trimEnd().endsWith("data: [DONE]")).toBe(true);
    const wrong = await console.ask("POST", "/v1/chat/completions", prompt({ model: "nothing" }));
    expect(wrong.status).toBe(404);
    await engine.close();
  });

  it("are let go when the page closes in mid-answer", async () => {
    const mesh = testMesh();
    const engine = await startEngineServer({ tokens: 100_000, tokenMs: 5 });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { ...withConsole, join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const leaving = new AbortController();
    const answer = await consoleOf(client).ask(
      "POST",
      "/v1/chat/completions",
      prompt({ stream: true }),
      leaving.signal,
    );
    const reader = readerOf(answer);
    await reader.read();
    leaving.abort();
    await eventually("the engine is free", () => asked(engine)[0]?.disconnectedAt !== undefined);
    await eventually("the exchange is over", () => client.status().inflight_requests === 0);
    expect(client.status().exchanges.recent[0]).toMatchObject({ code: "aborted" });
    await engine.close();
  });

  it("are not read faster than the page takes it", async () => {
    const engine = await startEngineServer({ contentBytes: 64 * 1024 * 1024 });
    const node = await testMesh().start("serve", { ...withConsole, engine: [engine.url] });
    const answer = await consoleOf(node).ask("POST", "/v1/chat/completions", prompt({ stream: true }));
    const reader = readerOf(answer);
    await reader.read();
    // what fits into sockets and queues has gone out, and no more
    let before = -1;
    await vi.waitFor(
      () => {
        const sent = asked(engine)[0]?.contentBytes ?? 0;
        const still = sent === before;
        before = sent;
        expect(still).toBe(true);
      },
      { interval: 200, timeout: 10_000 },
    );
    expect(before).toBeLessThan(48 * 1024 * 1024);
    await reader.cancel();
    await engine.close();
  });
});

describe("the log and the end", () => {
  it("are there for who has the session token", async () => {
    const onStopAsked = vi.fn<() => void>();
    const node = await testMesh().start("client", withConsole, undefined, { onStopAsked });
    const console = consoleOf(node);
    const { entries } = await console.get<{ entries: LogEntry[] }>("/api/logs");
    expect(entries.map(({ entry }) => entry)).toEqual(node.events);
    const last = entries.at(-1)?.seq ?? 0;
    const events = await console.follow(`/api/logs/follow?after=${last}`);
    expect((await console.ask("POST", "/api/stop")).status).toBe(202);
    await vi.waitFor(() => expect(onStopAsked).toHaveBeenCalledOnce());
    await node.stop(0);
    const stopped = node.events.at(-1);
    expect(stopped).toEqual({ event: "node-stopped" });
    await events.ended();
  });
});

/**
 * Machines that fail: whatever happens to a host or a relay, the client has a typed answer within
 * 6 s, another host or relay takes over where it may, and the next request works. Real processes, real QUIC.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ExchangeReport } from "../../src/node/exchanges.ts";
import { askRaw, errorEventOf, knowsHosts, pause, readRaw, reportOf, until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";

/** What every failure has to end in, ms. The silence limit is 5 s. */
const endMs = 6_000;
/** Longer than any test waits. */
const foreverMs = 60_000;
/** After this a host in prefill has given its first sign of life, which binds the asker to it, ms. */
const signOfLifeMs = 2_600;

interface Host {
  readonly node: NodeProcess;
  readonly engine: ScriptedEngine;
}

describe("a host that is killed or stopped", () => {
  const hosts = new Map<string, readonly Host[]>();
  let client: NodeProcess;

  beforeAll(async () => {
    client = await startProcess(["client"]);
    for (const model of ["killed-early", "killed-late", "stopped-early", "stopped-late", "stopped-in-prefill"]) {
      const start = (): Promise<Host> => startHost(model, [client]);
      hosts.set(model, await Promise.all([start(), start()]));
    }
    await knowsHosts(client, [...hosts.values()].flat());
  });

  afterAll(() => Promise.all([...hosts.values()].flat().map(({ node }) => node.kill())));

  for (const signal of ["SIGKILL", "SIGSTOP"] as const) {
    const word = signal === "SIGKILL" ? "killed" : "stopped";

    it.concurrent(`is replaced by another one when it is ${word} before the first chunk`, async ({ expect }) => {
      const model = `${word}-early`;
      const { answer, chosen, other } = await inPrefill(model);
      other.engine.options.prefillMs = 0;
      const since = fell(chosen, signal);
      const response = await answer;
      const reading = readRaw(response);
      expect(await reading.end).toBe("whole");
      expect(performance.now() - since).toBeLessThan(endMs);
      expect(response.status).toBe(200);
      expect(reading.text).toContain("word4");
      expect(reading.text.trimEnd()).toMatch(/data: \[DONE\]$/);
      expect(response.headers.get("x-sealmesh-host")).toBe(other.node.ready.endpoint_id);
      expect(response.headers.get("x-sealmesh-attempts")).toBe("2");
      const { attempts, status, code } = await reportOf(client, response);
      expect({ status, code }).toEqual({ status: 200, code: null });
      expect(attempts).toMatchObject([
        { host: chosen.node.ready.endpoint_id, outcome: "E_TIMEOUT", processed: "maybe", reason: expect.any(String) },
        { host: other.node.ready.endpoint_id, outcome: "answered", processed: "yes", reason: null },
      ]);
      await nextWorks(client, model, other);
      chosen.node.signal("SIGCONT");
    });

    it.concurrent(`ends its stream in an error when it is ${word} in mid-stream`, async ({ expect }) => {
      const model = `${word}-late`;
      const pair = hostsOf(model);
      for (const { engine } of pair) Object.assign(engine.options, { tokens: 10_000, tokenMs: 50 });
      const { answer, chosen, other } = await askOneOf(pair, client, model);
      const response = await answer;
      const reading = readRaw(response);
      await until("some words have come", () => reading.text.includes("word5"));
      Object.assign(other.engine.options, { tokens: 5, tokenMs: 0 });
      const since = fell(chosen, signal);
      expect(await reading.end).toBe("broken off");
      expect(performance.now() - since).toBeLessThan(endMs);
      expect(errorEventOf(reading.text)).toMatchObject({ type: "server_error", code: "timeout", param: null });
      expect(reading.text).not.toContain("[DONE]");
      const report = await reportOf(client, response);
      expect(report).toMatchObject({ code: "timeout", host: chosen.node.ready.endpoint_id, sealed: "true" });
      expect(attemptsOf(report)).toEqual([["answered", "yes"]]);
      await nextWorks(client, model, other);
      chosen.node.signal("SIGCONT");
      if (signal === "SIGSTOP") await until("the engine is free", () => chosen.engine.running === 0, 3_000);
    });
  }

  it.concurrent("is not replaced once it has shown that it works on the request", async ({ expect }) => {
    const model = "stopped-in-prefill";
    const { answer, chosen, other } = await inPrefill(model);
    await pause(signOfLifeMs);
    other.engine.options.prefillMs = 0;
    const since = fell(chosen, "SIGSTOP");
    const response = await answer;
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(response.status).toBe(504);
    const { error } = (await response.json()) as { error: { message: string } };
    expect(error).toMatchObject({ type: "server_error", code: "timeout", param: null });
    expect(error.message).toContain("maybe processed");
    expect(other.engine.requests.filter(({ inference }) => inference)).toEqual([]);
    const report = await reportOf(client, response);
    expect(report).toMatchObject({ status: 504, code: "timeout" });
    expect(attemptsOf(report)).toEqual([["E_TIMEOUT", "yes"]]);
    await nextWorks(client, model, other);
    chosen.node.signal("SIGCONT");
    await until("the engine is free", () => chosen.engine.running === 0, 3_000);
  });

  function hostsOf(model: string): readonly Host[] {
    const pair = hosts.get(model);
    if (!pair) throw new Error(`no host has ${model}`);
    return pair;
  }

  /** Asks; `answer` waits for a host that works and has said nothing yet, `other` would be as slow. */
  function inPrefill(model: string): Promise<Chosen> {
    const pair = hostsOf(model);
    for (const { engine } of pair) engine.options.prefillMs = foreverMs;
    return askOneOf(pair, client, model);
  }
});

describe("a relay that is killed", () => {
  const model = "relayed";
  let relays: NodeProcess[];
  let hosts: readonly Host[];
  /** Asks through relays only. */
  let asker: NodeProcess;

  beforeAll(async () => {
    // a mesh of its own, in which nobody else can carry envelopes
    const first = await startProcess(["client"]);
    const joining = ["client", "--join", first.ready.invite];
    relays = [first, ...(await Promise.all([0, 1, 2].map(() => startProcess(joining))))];
    const start = (): Promise<Host> => startHost(model, relays, ["--no-relay-traffic"]);
    hosts = await Promise.all([start(), start()]);
    asker = await startProcess(["client", "--route", "relay", ...invitesOf(relays)]);
    await knowsHosts(asker, hosts, "relay");
    await until("all relays are known", async () => {
      const known = (await asker.status()).peers.filter(({ connected }) => connected);
      return relays.every(({ ready }) => known.some(({ endpoint_id }) => endpoint_id === ready.endpoint_id));
    });
  });

  it("ends a stream that it carries in an error", async () => {
    for (const { engine } of hosts) Object.assign(engine.options, { tokens: 10_000, tokenMs: 50 });
    const response = await askRaw(asker, streamed(model));
    const reading = readRaw(response);
    await until("some words have come", () => reading.text.includes("word5"));
    for (const { engine } of hosts) Object.assign(engine.options, { tokens: 5, tokenMs: 0 });
    const { since } = await killCarrier();
    expect(await reading.end).toBe("broken off");
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(errorEventOf(reading.text)).toMatchObject({ type: "server_error", code: "timeout", param: null });
    expect(reading.text).not.toContain("[DONE]");
    expect(await reportOf(asker, response)).toMatchObject({ code: "timeout", route: "relay", sealed: "true" });
    await nextWorks(asker, model);
  });

  it("is replaced by another one, and so is the host, when it dies before the first chunk", async () => {
    for (const { engine } of hosts) engine.options.prefillMs = foreverMs;
    const { answer, chosen, other } = await askOneOf(hosts, asker, model);
    other.engine.options.prefillMs = 0;
    const { relay, since } = await killCarrier();
    const response = await answer;
    expect(await readRaw(response).end).toBe("whole");
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(response.headers.get("x-sealmesh-host")).toBe(other.node.ready.endpoint_id);
    const { attempts } = await reportOf(asker, response);
    expect(attempts).toMatchObject([
      { host: chosen.node.ready.endpoint_id, relay: relay.ready.endpoint_id, outcome: "E_TIMEOUT", processed: "maybe" },
      { host: other.node.ready.endpoint_id, outcome: "answered", processed: "yes" },
    ]);
    expect(attempts[1]?.relay).not.toBe(relay.ready.endpoint_id);
    chosen.engine.options.prefillMs = 0;
    await nextWorks(asker, model);
  });

  it("is passed over by a request that comes after its death; when it was the last, the error says so", async () => {
    for (const { engine } of hosts) engine.options.prefillMs = 0;
    const before = await carried();
    await nextWorks(asker, model);
    const last = (await carried()).find(({ streams }, index) => streams !== before[index]?.streams);
    await last?.relay.kill();
    await nextWorks(asker, model);

    await Promise.all(relays.map((relay) => relay.kill()));
    const since = performance.now();
    const response = await askRaw(asker, streamed(model));
    expect(performance.now() - since).toBeLessThan(endMs);
    expect([503, 504]).toContain(response.status);
    const { error } = (await response.json()) as { error: { code: string } };
    expect(error).toMatchObject({ type: "server_error", param: null });
    expect(["relay_failed", "host_unreachable", "timeout"]).toContain(error.code);
    expect(await reportOf(asker, response)).toMatchObject({ status: response.status, code: error.code });
  });

  /** Kills the relay that carries a stream now. @returns when, performance.now() */
  async function killCarrier(): Promise<{ relay: NodeProcess; since: number }> {
    const carrier = (await carried()).find(({ running }) => running > 0)?.relay;
    if (!carrier) throw new Error("no relay carries anything");
    relays = relays.filter((relay) => relay !== carrier);
    carrier.signal("SIGKILL");
    return { relay: carrier, since: performance.now() };
  }

  function carried(): Promise<readonly { relay: NodeProcess; streams: number; running: number }[]> {
    return Promise.all(relays.map(async (relay) => ({ relay, ...(await relay.status()).relayed })));
  }
});

function invitesOf(nodes: readonly NodeProcess[]): readonly string[] {
  return nodes.flatMap(({ ready }) => ["--join", ready.invite]);
}

async function startHost(model: string, members: readonly NodeProcess[], flags: readonly string[] = []): Promise<Host> {
  const engine = await startEngineServer({ models: [model] });
  return { engine, node: await startProcess(["serve", "--engine", engine.url, ...invitesOf(members), ...flags]) };
}

function streamed(model: string): object {
  return { model, stream: true, messages: [{ role: "user", content: "Go on" }] };
}

interface Chosen {
  readonly answer: Promise<Response>;
  /** Who got the request, and who did not. */
  readonly chosen: Host;
  readonly other: Host;
}

/** Asks, and waits until one of two hosts has the request. */
async function askOneOf(pair: readonly Host[], node: NodeProcess, model: string): Promise<Chosen> {
  const asked = ({ engine }: Host): number => engine.requests.filter(({ inference }) => inference).length;
  const before = new Map(pair.map((host) => [host, asked(host)]));
  const answer = askRaw(node, streamed(model));
  answer.catch(() => undefined); // for whoever waits for it
  const got = (host: Host): boolean => asked(host) !== before.get(host);
  await until("a host works", () => pair.some(got));
  const [chosen, other] = pair.toSorted((a, b) => Number(got(b)) - Number(got(a)));
  if (!chosen || !other) throw new Error("there are not two hosts");
  return { answer, chosen, other };
}

/** @returns when, performance.now() */
function fell(host: Host, signal: NodeJS.Signals): number {
  host.node.signal(signal);
  return performance.now();
}

function attemptsOf({ attempts }: ExchangeReport): readonly (readonly [string, string])[] {
  return attempts.map(({ outcome, processed }) => [outcome, processed]);
}

/** @param host who has to answer, if it matters */
async function nextWorks(node: NodeProcess, model: string, host?: Host): Promise<void> {
  const since = performance.now();
  const response = await askRaw(node, streamed(model));
  const reading = readRaw(response);
  expect(await reading.end).toBe("whole");
  expect(reading.text.trimEnd()).toMatch(/data: \[DONE\]$/);
  if (host) expect(response.headers.get("x-sealmesh-host")).toBe(host.node.ready.endpoint_id);
  expect(performance.now() - since).toBeLessThan(endMs);
}

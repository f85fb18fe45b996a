/**
 * A network that is cut: client and host reach one another through a UDP forwarder alone, which
 * drops everything from one moment on, and later carries it again.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askRaw, errorEventOf, knowsHosts, readRaw, reportOf, until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";
import { apart, forwardTo, inviteVia, type UdpForwarder } from "../support/udp-forwarder.ts";

/** What every failure has to end in, ms. The silence limit is 5 s. */
const endMs = 6_000;
const model = "far";

describe("a network that is cut", () => {
  let engine: ScriptedEngine;
  let host: NodeProcess;
  let client: NodeProcess;
  let forwarder: UdpForwarder;

  beforeAll(async () => {
    engine = await startEngineServer({ models: [model] });
    // its sockets are looked up from outside, which a hardened process allows to nobody but root
    host = await startProcess(["serve", "--engine", engine.url, "--bind", apart.host, "--no-hardening"]);
    forwarder = await forwardTo(host.pid);
    const invite = inviteVia(host.ready.invite, forwarder.address);
    client = await startProcess(["client", "--join", invite, "--bind", apart.client]);
    await knowsHosts(client, [{ node: host }]);
  });

  afterAll(async () => {
    forwarder?.close();
    await engine?.close();
  });

  it("carries everything while it is whole", async () => {
    const contentBytes = 300_000;
    Object.assign(engine.options, { contentBytes });
    const before = forwarder.bytes;
    const reading = readRaw(await askRaw(client, streamed()));
    expect(await reading.end).toBe("whole");
    expect(forwarder.bytes - before).toBeGreaterThan(contentBytes);
    Object.assign(engine.options, { contentBytes: 0 });
  });

  it("ends a stream in an error within 6 s, refuses what comes meanwhile, and serves again when it heals", async () => {
    Object.assign(engine.options, { tokens: 10_000, tokenMs: 50 });
    const response = await askRaw(client, streamed());
    const reading = readRaw(response);
    await until("some words have come", () => reading.text.includes("word5"));
    forwarder.cut();
    const carried = forwarder.bytes;
    let since = performance.now();
    expect(await reading.end).toBe("broken off");
    expect(performance.now() - since).toBeLessThan(endMs);
    expect(errorEventOf(reading.text)).toMatchObject({ type: "server_error", code: "timeout", param: null });
    expect(reading.text).not.toContain("[DONE]");
    expect(await reportOf(client, response)).toMatchObject({ code: "timeout", sealed: "true", route: "direct" });

    Object.assign(engine.options, { tokens: 5, tokenMs: 0 });
    since = performance.now();
    const meanwhile = await askRaw(client, streamed());
    expect(performance.now() - since).toBeLessThan(endMs);
    expect([503, 504]).toContain(meanwhile.status);
    expect(await meanwhile.json()).toMatchObject({ error: { type: "server_error", param: null } });
    // there was no other way
    expect(forwarder.bytes).toBe(carried);

    forwarder.heal();
    await until("it answers again", async () => {
      const next = await askRaw(client, streamed());
      return (await readRaw(next).end) === "whole" && next.ok;
    });
    await until("the engine is free", () => engine.running === 0);
  });
});

function streamed(): object {
  return { model, stream: true, messages: [{ role: "user", content: "Go on" }] };
}

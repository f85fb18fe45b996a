/** An envelope that was answered once is sent again: by its asker, by the relay that carried it, by another. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { StreamReader } from "../../src/wire/frame.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import {
  asked,
  attackedMesh,
  call,
  readAnswer,
  refusals,
  relayedMesh,
  sealAsk,
  secret,
  sendDirect,
  sendRelayed,
} from "../support/raw-peer.ts";

afterEach(() => vi.restoreAllMocks());

async function isRefused(reader: StreamReader): Promise<void> {
  await expect(reader.read()).rejects.toMatchObject({ code: "E_ABORTED" });
}

describe("R1: a replayed envelope", () => {
  it("R1: by the relay that carried it, by another relay, and as a request of its own: E_REPLAY and E_OPEN", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relay, relayOptions } = await relayedMesh(mesh, engine.url);
    const envelopes: Uint8Array[] = [];
    relayOptions.onEnvelope = (bytes) => envelopes.push(bytes);
    expect((await call(client)).content).toBe("fine");
    const envelope = envelopes[0] ?? new Uint8Array(0);

    await isRefused(await sendRelayed(await relay.dial(host, "sealmesh/1"), envelope));
    const accomplice = await mesh.raw();
    const direct = await accomplice.meet(host);
    await isRefused(await sendRelayed(await accomplice.dial(host, "sealmesh/1"), envelope));
    expect(refusals(host)).toEqual(["E_REPLAY", "E_REPLAY"]);
    await isRefused(await sendDirect(direct, envelope));
    expect(refusals(host).at(-1)).toBe("E_OPEN");

    expect(asked(engine)).toHaveLength(1);
    expect((await call(client)).content).toBe("fine"); // the asker itself is not locked out
    expect(relay.couldRead(secret) || accomplice.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("R1: at the same time as the first, or before it is answered: answered once", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine", prefillMs: 50 });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey);
    const readers = await Promise.all(Array.from({ length: 5 }, () => sendDirect(connection, ask.bytes)));
    const answers = await Promise.allSettled(readers.map((reader) => reader.peekByte()));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(refusals(host)).toEqual(Array.from({ length: 4 }, () => "E_REPLAY"));
    await eventually("the engine was asked", () => asked(engine).length === 1);
    await engine.close();
  });

  it("R1: without a head, as a reference asker sends it: E_REPLAY, whoever brings it", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw({ kind: "reference" });
    const connection = await asker.meet(host);
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { head: "none" });
    expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBe(200);
    await isRefused(await sendDirect(connection, ask.bytes));
    const other = await mesh.raw();
    await isRefused(await sendDirect(await other.meet(host), ask.bytes));
    expect(refusals(host)).toEqual(["E_REPLAY", "E_REPLAY"]);

    // there is no time to go by: it is remembered for as long as the key opens, much longer than the window
    const { createdMs, notAfterMs } = host.keys.current;
    vi.spyOn(Date, "now").mockReturnValue(notAfterMs - 1_000);
    expect(notAfterMs - createdMs).toBeGreaterThan(3_600_000);
    await isRefused(await sendDirect(connection, ask.bytes));
    expect(refusals(host).at(-1)).toBe("E_REPLAY");
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });

  it("R1: one id under two envelopes is answered once", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const head = { id: new Uint8Array(16).fill(7) };
    const [first, second] = [0, 1].map(() =>
      sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { head }),
    ) as [ReturnType<typeof sealAsk>, ReturnType<typeof sealAsk>];
    expect((await readAnswer(await sendDirect(connection, first.bytes), first)).status).toBe(200);
    await isRefused(await sendDirect(connection, second.bytes));
    expect(refusals(host)).toEqual(["E_REPLAY"]);
    // the id belongs to its asker: another one may use the same
    const other = await mesh.raw();
    const third = sealAsk(other.identity, host.endpointId, host.keys.current.publicKey, { head });
    expect((await readAnswer(await sendDirect(await other.meet(host), third.bytes), third)).status).toBe(200);
    await engine.close();
  });

  it("R1: at both ends of the window it is remembered, after it the time refuses it", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const now = Date.now();
    const clock = vi.spyOn(Date, "now").mockReturnValue(now);
    const timeMs = now + 299_000; // as far ahead as it may be: acceptable for almost ten minutes
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { timeMs });
    expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBe(200);
    clock.mockReturnValue(timeMs + 300_000);
    await isRefused(await sendDirect(connection, ask.bytes));
    expect(refusals(host)).toEqual(["E_REPLAY"]);
    clock.mockReturnValue(timeMs + 300_001);
    const late = await readAnswer(await sendDirect(connection, ask.bytes), ask);
    expect(late.status).toBe(425);
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });

  it("R1: after a restart of the host, whose memory is empty: E_OPEN, because its key has gone too", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const first = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const ask = sealAsk(asker.identity, first.endpointId, first.keys.current.publicKey);
    expect((await readAnswer(await sendDirect(await asker.meet(first), ask.bytes), ask)).status).toBe(200);
    await first.stop(0);
    const second = await mesh.start("serve", { engine: [engine.url], dataDir: first.dataDir });
    expect(second.endpointId).toBe(first.endpointId);
    await isRefused(await sendDirect(await asker.meet(second), ask.bytes));
    expect(refusals(second)).toEqual(["E_OPEN"]);
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });
});

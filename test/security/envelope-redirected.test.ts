/** An envelope is carried to where it was not meant, its clear part is changed, or its time is wrong. */
import { describe, expect, it } from "vitest";
import { concat, latin1, utf8 } from "../../src/base/bytes.ts";
import { encodeResponse } from "../../src/tunnel/http.ts";
import { startEngineServer } from "../support/engine-server.ts";
import {
  answerSealed,
  asked,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  outcomes,
  type RawExchange,
  readAnswer,
  refusals,
  relayedMesh,
  sealAsk,
  secret,
  sendDirect,
  sendRelayed,
} from "../support/raw-peer.ts";

describe("R2: what an envelope is bound to", () => {
  it("R2: a head for another host, of another version, or of no known form: refused", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const key = host.keys.current.publicKey;
    const other = (await mesh.raw()).id;
    const asks = [
      sealAsk(asker.identity, other, key), // sealed to this host's key all the same
      sealAsk(asker.identity, other, key, { timeMs: 5 }), // not even the time is told
      sealAsk(asker.identity, host.endpointId, key, { head: { version: 2 as 1 } }),
      sealAsk(asker.identity, host.endpointId, key, { head: { id: new Uint8Array(15) } }),
      sealAsk(asker.identity, host.endpointId, key, { head: "none", headers: [["x-sealmesh-to", host.endpointId]] }),
    ];
    for (const { bytes } of asks) {
      await expect((await sendDirect(connection, bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    }
    expect(refusals(host)).toEqual(["E_OPEN", "E_OPEN", "E_WIRE", "E_WIRE", "E_WIRE"]);
    expect(asked(engine)).toHaveLength(0);
    await engine.close();
  });

  it("R2: a relay carries the envelope to another host: it does not open there", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { client, relay, relayOptions } = await relayedMesh(mesh, engine.url);
    const other = await mesh.start("serve", { engine: [engine.url] });
    await relay.meet(other);
    const toOther = await relay.dial(other, "sealmesh/1");
    relayOptions.onEnvelope = (bytes) => void sendRelayed(toOther, bytes).catch(() => undefined);
    expect((await call(client)).content).toBe("fine");
    expect(refusals(other)).toEqual(["E_OPEN"]);
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });

  it("R2: the clear `model` is sent empty and not read: a relay that changes it changes nothing", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    const models: unknown[] = [];
    relayOptions.changeRequest = (bytes) => {
      const json = JSON.parse(latin1(bytes.subarray(1))) as Record<string, unknown>;
      models.push(json["model"]);
      return concat([bytes.subarray(0, 1), utf8(JSON.stringify({ ...json, model: "evil", encrypted: true }))]);
    };
    expect((await call(client)).content).toBe("fine");
    expect(models).toEqual([""]);
    expect(JSON.parse(asked(engine)[0]?.body ?? "{}")).toMatchObject({ model: "scripted" });
    await engine.close();
  });
});

describe("R2: the time of an envelope", () => {
  it.each([-300_500, 301_000, -10_000_000_000])(
    "R2: %s ms off: a sealed 425 with the host's time, the engine is not asked",
    async (off) => {
      const mesh = attackedMesh();
      const engine = await startEngineServer({ text: "fine" });
      const host = await mesh.start("serve", { engine: [engine.url] });
      const asker = await mesh.raw();
      const connection = await asker.meet(host);
      const key = host.keys.current.publicKey;
      const before = Date.now();
      const late = sealAsk(asker.identity, host.endpointId, key, { timeMs: Math.max(0, before + off) });
      const answer = await readAnswer(await sendDirect(connection, late.bytes), late);
      expect(answer.status).toBe(425);
      expect(answer.text).toContain("E_CLOCK");
      const hostTime = Number(answer.headers["x-sealmesh-time"]);
      expect(hostTime).toBeGreaterThanOrEqual(before);
      expect(asked(engine)).toHaveLength(0);
      const corrected = sealAsk(asker.identity, host.endpointId, key, { timeMs: hostTime });
      expect((await readAnswer(await sendDirect(connection, corrected.bytes), corrected)).status).toBe(200);
      await engine.close();
    },
  );

  const offset = 3_600_000;

  async function skewed(times: number[], patience: number) {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const exchanges: RawExchange[] = [];
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      exchanges.push(exchange);
      times.push(exchange.head?.timeMs ?? 0);
      const tooEarly = encodeResponse(425, { "x-sealmesh-time": String(Date.now() + offset) }, utf8("{}"));
      await answerSealed(stream, exchange, exchanges.length > patience ? chatResponse("fine") : tooEarly);
    };
    return { host, exchanges, client: await clientOf(mesh, [host]) };
  }

  it("R2: the asker corrects its time once, under a fresh key and id", async () => {
    const times: number[] = [];
    const { host, exchanges, client } = await skewed(times, 1);
    expect((await call(client)).content).toBe("fine");
    expect(times).toHaveLength(2);
    expect(Math.abs((times[1] ?? 0) - (times[0] ?? 0) - offset)).toBeLessThan(5_000);
    expect(exchanges[0]?.ephemeralKey).not.toEqual(exchanges[1]?.ephemeralKey);
    expect(exchanges[0]?.head?.id).not.toEqual(exchanges[1]?.head?.id);
    expect(host.couldRead(secret)).toBe(false);
  });

  it("R2: and only once: a host that goes on about the time gets E_CLOCK reported", async () => {
    const times: number[] = [];
    const { client } = await skewed(times, 99);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([425, "E_CLOCK"]);
    expect(outcomes(client)).toEqual(["E_CLOCK"]);
    expect(times).toHaveLength(2);
  });
});

/** A host comes back under the same id with another inference key, and the asker still has the old record. */
import { describe, expect, it } from "vitest";
import { concat, equal } from "../../src/base/bytes.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { encodeRecordReply } from "../../src/wire/relay.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
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
  refusals,
  relayedMesh,
  relayHandler,
  secret,
} from "../support/raw-peer.ts";

describe("F2: the host's key has changed", () => {
  it("F2: a restarted host, reached through a relay that still tells the old key: one refresh, then it works", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { client, host: first, relay } = await relayedMesh(mesh, engine.url);
    expect((await call(client)).content).toBe("fine");
    const stale = relay.entryOf(first.endpointId);
    const oldKey = first.keys.current.publicKey;
    await first.stop(0);
    const second = await mesh.start("serve", { engine: [engine.url], dataDir: first.dataDir });
    expect(second.endpointId).toBe(first.endpointId);
    expect(equal(second.keys.current.publicKey, oldKey)).toBe(false);
    // the relay has met it again, but its gossip is late: it says what it said before
    relay.announcements = () => [stale, relay.own()];
    await relay.meet(second);
    const toHost = await relay.dial(second, "sealmesh/1");
    relay.handlers.relay = relayHandler(() => Promise.resolve(toHost));
    const before = relay.opened.filter((stream) => stream === "sealmesh/1 1").length;

    const answer = await call(client);
    expect([answer.status, answer.content]).toEqual([200, "fine"]);
    expect(answer.headers.get("x-sealmesh-host")).toBe(first.endpointId);
    expect(refusals(second)).toEqual(["E_OPEN"]);
    expect(relay.opened.filter((stream) => stream === "sealmesh/1 1")).toHaveLength(before + 1);
    expect(asked(engine)).toHaveLength(2);
    // the new record is kept: no second refresh
    expect((await call(client)).content).toBe("fine");
    expect(refusals(second)).toEqual(["E_OPEN"]);
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("F2: on its own connection: the record is fetched once and the request sealed once more, once", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const exchanges: RawExchange[] = [];
    let refused = 0;
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key).catch(() => undefined);
      if (!exchange) {
        refused += 1;
        return stream.abort(1);
      }
      exchanges.push(exchange);
      await answerSealed(stream, exchange, chatResponse("fine"));
    };
    const client = await clientOf(mesh, [host]);
    host.key = generateKeyPair();
    expect((await call(client)).content).toBe("fine");
    expect([refused, exchanges.length]).toEqual([1, 1]);
    expect(host.opened.filter((stream) => stream === "sealmesh/1 1")).toHaveLength(1);
    expect((await call(client)).content).toBe("fine");
    expect([refused, exchanges.length]).toEqual([1, 2]);
  });

  it("F2: a host that never opens gets two envelopes, is asked for its record once, and E_OPEN is reported", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) => {
      await reader.readAll(1_000_000, "the request");
      stream.abort(1);
    };
    const client = await clientOf(mesh, [host]);
    const failed = await call(client);
    expect([failed.status, failed.code]).toEqual([502, "cannot_open"]);
    expect(outcomes(client)).toEqual(["E_OPEN"]);
    expect(host.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(2);
    expect(host.opened.filter((stream) => stream === "sealmesh/1 1")).toHaveLength(1);
    expect(host.couldRead(secret)).toBe(false);
  });

  it("F2: what is fetched is believed as little as gossip: a relay's forged or old record changes nothing", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relay, relayOptions } = await relayedMesh(mesh, engine.url);
    const forged = relay.record().bytes;
    relay.handlers.record = async (stream) => {
      const records = [forged, new Uint8Array(7), relay.entryOf(host.endpointId).record ?? forged];
      await stream.write(encodeFrame(encodeRecordReply(records)));
      await stream.finish();
    };
    const sealedTo: boolean[] = [];
    relayOptions.onEnvelope = () => sealedTo.push(true);
    relayOptions.change = async function* (parts, asker) {
      for await (const _ of parts) break;
      asker.abort(1);
      yield concat([]);
    };
    expect((await call(client)).code).toBe("cannot_open");
    expect(sealedTo).toHaveLength(2);
    relayOptions.change = undefined;
    expect((await call(client)).content).toBe("fine");
    expect(relay.couldRead(secret)).toBe(false);
    await eventually("both were opened by the host, none by the relay", () => asked(engine).length >= 1);
    await engine.close();
  });
});

/** Somebody on the way, a relay, learns more than that two endpoints exchange something of a size at a time. */
import { describe, expect, it } from "vitest";
import { fromUtf8, toHex, view } from "../../src/base/bytes.ts";
import type { Flags } from "../../src/node/config.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh } from "../support/mesh.ts";
import { attackedMesh, call, prompt, relayHandler, secret } from "../support/raw-peer.ts";
import { type Crossed, formsIn, found, tapped, ways } from "./search.ts";

const names = ["petrel-small", "petrel-large"] as const;
const hostName = "gannet-under-the-desk";

/** A host with two models and a name, a client, and a raw relay between them that keeps what it carries. */
async function scene({ hostFlags = {}, clientFlags = {} }: { hostFlags?: Flags; clientFlags?: Flags } = {}) {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ models: names, text: "a b c d e", tokenMs: 20 });
  const host = await mesh.start("serve", { engine: [engine.url], name: hostName, ...hostFlags });
  const relay = await mesh.raw();
  await relay.meet(host);
  const toHost = await relay.dial(host, "sealmesh/1");
  relay.announcements = (to) =>
    to === host.endpointId ? [relay.own()] : [relay.entryOf(host.endpointId), relay.own()];
  const envelopes: string[] = [];
  const pieces: Uint8Array[] = [];
  relay.handlers.relay = relayHandler(() => Promise.resolve(toHost), {
    onEnvelope: (bytes) => envelopes.push(fromUtf8(bytes.subarray(1))),
    async *change(parts) {
      for await (const part of parts) {
        pieces.push(part);
        yield part;
      }
    },
  });
  const client = await mesh.start("client", { join: [relay.invite], route: "relay", ...clientFlags });
  await eventually("the client knows the models", () => client.models().length === 2);
  return { engine, host, relay, client, envelopes, pieces };
}

describe("E6: what an observer learns", () => {
  it("E6: the clear part of an envelope is the same three members, and names no model", async () => {
    const { engine, client, envelopes } = await scene();
    for (const model of names) {
      await call(client, prompt({ model }));
      await call(client, prompt({ model, stream: true }));
    }
    expect(envelopes).toHaveLength(4);
    for (const envelope of envelopes) {
      const { model, ephemeral_public_key: key, ciphertext, ...more } = JSON.parse(envelope) as Record<string, string>;
      expect([model, key?.length, more]).toEqual(["", 44, {}]);
      expect(ciphertext).toMatch(/^[0-9A-Za-z+/]+=*$/);
    }
    // nothing repeats: not the key, and no run of the ciphertext
    expect(new Set(envelopes.map((envelope) => envelope.slice(0, 100))).size).toBe(4);
    // names of one length cannot be told apart by the size; whether a stream was asked for can, by its few bytes
    expect(envelopes[0]?.length).toBe(envelopes[2]?.length);
    expect(envelopes[1]?.length).toBe(envelopes[3]?.length);
    await engine.close();
  });

  it("E6: padded requests of different lengths look alike, and are answered as ever", async () => {
    const { engine, client, envelopes } = await scene({ clientFlags: { pad: true } });
    const texts = ["x", "x".repeat(100), "x".repeat(600)];
    for (const content of texts) {
      const answered = await call(client, prompt({ model: names[0], messages: [{ role: "user", content }] }));
      expect([answered.status, answered.content]).toEqual([200, "a b c d e"]);
    }
    expect(new Set(envelopes.map(({ length }) => length)).size).toBe(1);
    expect(engine.requests.filter(({ inference }) => inference).map(({ body }) => body.length)).toEqual([
      1024, 1024, 1024,
    ]);
    await engine.close();
  });

  it("E6: with coalescing there are fewer pieces than tokens, and the same words", async () => {
    const pieces = async (coalesce: string): Promise<number> => {
      const { engine, client, pieces: seen } = await scene({ hostFlags: { coalesce } });
      const answered = await call(client, prompt({ model: names[0], stream: true }));
      expect([answered.whole, answered.text.endsWith("data: [DONE]\n\n")]).toEqual([true, true]);
      await engine.close();
      return seen.length;
    };
    expect(await pieces("500")).toBeLessThan(await pieces("0"));
  });

  it("E6: the relayed streams name the target's id once, and neither models, nor the host's name, nor words", async () => {
    const { engine, host, relay, client } = await scene();
    for (const stream of [false, true]) await call(client, prompt({ model: names[0], stream }));
    const crossed: readonly Crossed[] = relay.tapped.map((entry) => ({ ...entry, node: "relay" }));
    const carried = ways(crossed).filter(({ name }) => name.includes("sealmesh/1"));
    expect(carried.length).toBeGreaterThanOrEqual(8);
    expect(found(carried, [...names, hostName, "petrel", "gannet", secret, "completions", "HTTP/1.1"])).toEqual([]);
    const asking = carried.filter(({ name }) => name === "relay in sealmesh/1 02");
    for (const { bytes } of asking) expect(toHex(bytes).split(host.endpointId)).toHaveLength(2);
    // towards the host, the asker is named inside the seal only
    const telling = carried.filter(({ name }) => name === "relay out sealmesh/1 03");
    expect(telling).toHaveLength(2);
    for (const { bytes } of telling) {
      expect(toHex(bytes)).not.toContain(client.endpointId);
      expect(formsIn(bytes, client.endpointId)).toEqual([]);
    }
    // gossip does name them, by design: the search finds them there
    const gossip = ways(crossed).filter(({ name }) => name.includes("mesh-llm/1 01"));
    for (const word of [names[0], hostName]) expect(found(gossip, [word]).join()).toContain(word);
    await engine.close();
  });

  it("E6: on a direct connection the exchange's stream has the type byte and the envelope, no more", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ models: names });
    const host = await mesh.start("serve", { engine: [engine.url], name: hostName });
    const crossed: Crossed[] = [];
    const client = await testMesh().start("client", { join: [host.invite()] }, tapped(mesh.network, "client", crossed));
    await eventually("the client knows the models", () => client.models().length === 2);
    await call(client, prompt({ model: names[1] }));
    const exchange = ways(crossed).filter(({ name }) => name.endsWith("mesh-llm/1 04"));
    const out = exchange.find(({ name }) => name.includes(" out "));
    expect([...(out?.bytes.subarray(0, 2) ?? [])]).toEqual([0x04, 0xe1]);
    expect(JSON.parse(fromUtf8(out?.bytes.subarray(2) ?? new Uint8Array(0)))).toMatchObject({ model: "" });
    expect(found(exchange, [...names, hostName, secret])).toEqual([]);
    await engine.close();
  });

  it("E6: what does show is what docs/attacks.md says: sizes of prompt and pieces, and their times", async () => {
    const { engine, client, envelopes, pieces } = await scene();
    const content = (length: number): object => ({
      model: names[0],
      messages: [{ role: "user", content: "x".repeat(length) }],
    });
    await call(client, content(1_000));
    await call(client, content(4_000));
    // base64 makes four of three: the length of a prompt can be told to the byte. Without padding; see docs/attacks.md
    expect((envelopes[1]?.length ?? 0) - (envelopes[0]?.length ?? 0)).toBe(4_000);
    pieces.length = 0;
    await call(client, prompt({ model: names[0], stream: true }));
    // header, head of the answer, five words at least, the end, the marker: each word a chunk of its own
    const lengths = pieces.slice(1, -1).map((piece) => view(piece).readUInt32LE(0));
    expect(lengths.length).toBeGreaterThanOrEqual(6);
    expect(lengths.at(-1)).toBe(40);
    await engine.close();
  });
});

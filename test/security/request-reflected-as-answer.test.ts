/** One key serves both directions: a box of one direction is sent as one of the other. */
import { describe, expect, it } from "vitest";
import { concat, utf8 } from "../../src/base/bytes.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  encodeResponseHeader,
  endMarker,
} from "../../src/wire/envelope.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { envelopeByte } from "../../src/wire/stream-types.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import {
  answerHeader,
  attackedMesh,
  call,
  openAsk,
  outcomes,
  refusals,
  relayedMesh,
  secret,
  sendRelayed,
} from "../support/raw-peer.ts";

describe("I3: boxes that change direction", () => {
  it("I3: a relay sends the asker's own request back as the first chunk: E_ORDER", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    let envelope = new Uint8Array(0) as Uint8Array;
    relayOptions.onEnvelope = (bytes) => (envelope = bytes);
    relayOptions.change = async function* () {
      yield encodeResponseHeader(host.keys.current.publicKey);
      yield encodeFrame(decodeRequestEnvelope(envelope.subarray(1)).ciphertext);
      yield endMarker;
    };
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "chunk_order"]);
    expect(outcomes(client)).toEqual(["E_ORDER"]);
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("I3: a reference host sends the request back: E_ORDER", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "reference", role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) => {
      await reader.byte();
      const { ciphertext } = decodeRequestEnvelope(await reader.readAll(1_000_000, "the request"));
      await stream.write(concat([encodeResponseHeader(host.key.publicKey), encodeFrame(ciphertext), endMarker]));
      await stream.finish();
    };
    const client = await mesh.start("client", { join: [host.invite] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    expect((await call(client)).code).toBe("chunk_order");
  });

  it("I3: a relay sends a chunk of the answer to the host as a request: refused, the engine is not asked", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    let envelope = new Uint8Array(0) as Uint8Array;
    const chunks: Uint8Array[] = [];
    relayOptions.onEnvelope = (bytes) => (envelope = bytes);
    relayOptions.change = async function* (parts) {
      for await (const part of parts) {
        chunks.push(part);
        yield part;
      }
    };
    expect((await call(client)).content).toBe("fine");
    const { ephemeralKey } = decodeRequestEnvelope(envelope.subarray(1));
    const connection = await relay.dial(host, "sealmesh/1");
    for (const chunk of chunks.slice(1, -1)) {
      const json = encodeRequestEnvelope({ ephemeralKey, ciphertext: chunk.subarray(4) });
      const reader = await sendRelayed(connection, concat([Uint8Array.of(envelopeByte), json]));
      await expect(reader.read()).rejects.toThrow();
    }
    expect(refusals(host)).toHaveLength(chunks.length - 2);
    for (const code of refusals(host)) expect(["E_WIRE", "E_TRUNCATED"]).toContain(code);
    expect(engine.requests.filter(({ inference }) => inference)).toHaveLength(1);
    await engine.close();
  });

  it("I3: what a host seals first must be a response head: E_WIRE", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      const chunk = exchange.seal.sealChunk(utf8("POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"), true);
      await stream.write(concat([answerHeader(exchange), chunk, endMarker]));
      await stream.finish();
    };
    const client = await mesh.start("client", { join: [host.invite] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "protocol_error"]);
  });
});

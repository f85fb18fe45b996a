/** How strict an answer is read follows from what the peer has shown, never from the bytes that come (wire.md §5). */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { concat, empty, utf8 } from "../../src/base/bytes.ts";
import { type KeyPair, sealInto, sharedKey } from "../../src/crypto/box.ts";
import { encodeResponseHeader, endMarker } from "../../src/wire/envelope.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  attackedMesh,
  call,
  chatResponse,
  openAsk,
  outcomes,
  type RawExchange,
  type RawKind,
  type RawPeer,
  secret,
} from "../support/raw-peer.ts";

/** A chunk as a reference host writes it. */
function randomChunk(key: KeyPair, exchange: RawExchange, plaintext: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(randomBytes(24));
  const box = new Uint8Array(16 + plaintext.length);
  sealInto(box, plaintext, nonce, sharedKey(key.secretKey, exchange.ephemeralKey));
  return encodeFrame(concat([nonce, box]));
}

type Answering = (host: RawPeer, exchange: RawExchange) => readonly Uint8Array[];

async function hostOf(kind: RawKind, answering: Answering): Promise<{ host: RawPeer; client: TestNode }> {
  const mesh = attackedMesh();
  const host = await mesh.raw({ kind, role: "host", models: ["scripted"] });
  host.handlers.http = async (stream, reader) => {
    const exchange = await openAsk(reader, host.key);
    await stream.write(concat([encodeResponseHeader(host.key.publicKey), ...answering(host, exchange)]));
    await stream.finish();
  };
  const client = await mesh.start("client", { join: [host.invite] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, client };
}

const answer = chatResponse("fine");
const head = answer.subarray(0, 20);
const rest = answer.subarray(20);

const random: Answering = (host, exchange) => [
  randomChunk(host.key, exchange, head),
  randomChunk(host.key, exchange, rest),
  endMarker,
];
const indexed: Answering = (_host, { seal }) => [
  seal.sealChunk(head, false),
  seal.sealChunk(rest, false),
  seal.sealChunk(empty, true),
  endMarker,
];

describe("random nonces", () => {
  it("I1: are read from a reference host, whose key stands in field 36 alone", async () => {
    const { host, client } = await hostOf("reference", random);
    const answered = await call(client);
    expect([answered.status, answered.content]).toEqual([200, "fine"]);
    expect(answered.headers.get("x-sealmesh-sealed")).toBe("true");
    expect(host.couldRead(secret)).toBe(false);
  });

  it("I1: are refused from a host with a record: E_ORDER", async () => {
    const { client } = await hostOf("sealing", random);
    expect((await call(client)).code).toBe("chunk_order");
    expect(outcomes(client)).toEqual(["E_ORDER"]);
  });

  it("I1: are refused from a host with a record also after indexed ones: E_ORDER", async () => {
    const { client } = await hostOf("sealing", (host, exchange) => [
      exchange.seal.sealChunk(head, false),
      randomChunk(host.key, exchange, rest),
      endMarker,
    ]);
    expect((await call(client)).code).toBe("chunk_order");
  });

  it("I1: only the first chunk dropped, from a host with a record: E_ORDER, not the laxer reading", async () => {
    const { client } = await hostOf("sealing", (host, exchange) => indexed(host, exchange).slice(1));
    expect((await call(client)).code).toBe("chunk_order");
    const whole = await hostOf("sealing", indexed);
    expect((await call(whole.client)).content).toBe("fine");
  });

  it("I1: only the first chunk dropped, random nonces, from a host with a record: E_ORDER", async () => {
    const { client } = await hostOf("sealing", (host, exchange) => random(host, exchange).slice(1));
    expect((await call(client)).code).toBe("chunk_order");
  });

  it("I4: a reference host's answer without the end marker is E_TRUNCATED all the same", async () => {
    const { client } = await hostOf("reference", (host, exchange) => random(host, exchange).slice(0, -1));
    const cut = await call(client);
    expect(cut.whole && cut.status === 200).toBe(false);
    expect(outcomes(client)).toEqual(["E_TRUNCATED"]);
  });

  it("I1: an indexed answer is read from a reference host too", async () => {
    const { client } = await hostOf("reference", indexed);
    expect((await call(client)).content).toBe("fine");
  });

  it("I2: a chunk after the final one is E_ORDER, bytes after the answer are E_WIRE", async () => {
    const twice = await hostOf("sealing", (_host, { seal }) => [
      seal.sealChunk(answer, true),
      seal.sealChunk(utf8("more"), true),
      endMarker,
    ]);
    await call(twice.client);
    expect(outcomes(twice.client)).toEqual(["E_ORDER"]);
    const longer = await hostOf("sealing", (_host, { seal }) => [
      seal.sealChunk(concat([answer, utf8("more")]), true),
      endMarker,
    ]);
    await call(longer.client);
    expect(outcomes(longer.client)).toEqual(["E_WIRE"]);
  });
});

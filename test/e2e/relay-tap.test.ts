/**
 * What a relay carries is ciphertext, shown on the bytes themselves: the relay is a process of
 * its own that records every byte above QUIC, the host runs in the test's process, which therefore has its keys.
 * Controls show that the search finds what is there and that the recorded bytes are the very request.
 */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { concat, fromUtf8, toHex, view } from "../../src/base/bytes.ts";
import { silentLog } from "../../src/base/log.ts";
import { openRequest } from "../../src/crypto/seal.ts";
import { resolveConfig } from "../../src/node/config.ts";
import { type Node, startNode } from "../../src/node/node.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { bytesSource, readRequest } from "../../src/tunnel/http.ts";
import { decodeRequestEnvelope } from "../../src/wire/envelope.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { limits } from "../../src/wire/limits.ts";
import { decodeRelayOpen } from "../../src/wire/relay.ts";
import { envelopeByte, sealStreams } from "../../src/wire/stream-types.ts";
import { knowsModels, openAiFor, pause, type Reading, readStream, until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, startProcess, tempDir } from "../support/processes.ts";
import { chatResponse, RawPeer } from "../support/raw-peer.ts";
import { findWord, findWords, plantedMisses, readTap, type TappedStream } from "../support/tap-search.ts";

const promptWords = ["Quastenflosser", "krähenfußförmig", "灯台守の手紙", "wombat-4711-umbrella"];
const answerWords = ["Perlmuttknopf", "Straßenlaterne", "прорубь", "zephyr-0815-lagoon"];
const prompt = `Tell me about ${promptWords.join(" and ")} please`;
const answerText = answerWords.join(" ");

let engine: ScriptedEngine;
let host: Node;
let relay: NodeProcess;
let client: NodeProcess;
const relayTap = join(tempDir(), "relay.jsonl");

beforeAll(async () => {
  engine = await startEngineServer({ text: answerText });
  const flags = { port: "0", headless: true, bind: "127.0.0.1:0", dataDir: tempDir(), engine: [engine.url] };
  host = await startNode(resolveConfig("serve", flags), { log: silentLog });
  relay = await startProcess(["client", "--join", host.invite(), "--debug-tap", relayTap]);
  client = await startProcess(["client", "--join", relay.ready.invite, "--route", "relay"]);
  await knowsModels(client, "scripted");
});

afterAll(async () => {
  await host?.stop(0);
  await engine?.close();
});

describe("the bytes that a relay carries", () => {
  const body = JSON.stringify({ model: "scripted", stream: true, messages: [{ role: "user", content: prompt }] });
  let streams: readonly TappedStream[] = [];

  beforeAll(async () => {
    const answer = await fetch(`${client.ready.api_url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const text = await answer.text();
    for (const word of answerWords) expect(text).toContain(word);
    expect(answer.headers.get("x-sealmesh-route")).toBe("relay");
    await until("the relay has counted the exchange", async () => (await relay.status()).relayed.streams === 1);
    streams = readTap(relayTap);
  });

  it("hold no word of prompt or answer in any encoding, in any stream or across them", () => {
    const envelopes = streams.filter(({ alpn, bytes }) => alpn === "sealmesh/1" && bytes.includes(envelopeByte));
    // in from the client, out to the host, and the answer the other way
    expect(envelopes.length).toBeGreaterThanOrEqual(4);
    expect(findWords(streams, [...promptWords, ...answerWords])).toEqual([]);
  });

  it("hold an envelope that opens with the host's key to exactly the request", async () => {
    const asked = streams.filter(
      ({ alpn, openedBy, direction, bytes }) =>
        alpn === "sealmesh/1" && openedBy === "peer" && direction === "in" && bytes[0] === sealStreams.relay,
    );
    expect(asked).toHaveLength(1);
    const reader = new StreamReader(bytesSource(asked[0]?.bytes.subarray(1) ?? new Uint8Array(0)));
    const open = decodeRelayOpen(await reader.frame(limits.relayFrameBytes));
    expect(open).toMatchObject({ target: host.endpointId, hops: 0 });
    expect(await reader.byte()).toBe(envelopeByte);
    const envelope = decodeRequestEnvelope(await reader.readAll(limits.envelopeBytes, "the envelope"));
    const opened = openRequest(envelope, host.keys.opening);
    const request = await readRequest(bytesSource(opened.plaintext));
    opened.seal.end();
    expect(request).toMatchObject({ method: "POST", path: "/v1/chat/completions" });
    // and the usage, which is always asked for
    const sent = { ...(JSON.parse(body) as object), stream_options: { include_usage: true } };
    expect(JSON.parse(fromUtf8(request.body))).toEqual(sent);
    // the relay passed on what it got, byte for byte
    const passedOn = streams.filter(
      ({ openedBy, direction, bytes }) =>
        openedBy === "us" && direction === "out" && bytes[0] === sealStreams.relayed && bytes.includes(envelopeByte),
    );
    expect(passedOn).toHaveLength(1);
    expect(toHex(envelopePart(passedOn[0]))).toBe(toHex(envelopePart(asked[0])));
  });

  it("would have shown the words: the same search finds them in a plain exchange, and in every encoding", async () => {
    const old = await RawPeer.start(irohTransport, { kind: "old", role: "host", models: ["old"] });
    old.handlers.http = async (stream, reader) => {
      await readRequest(reader);
      await stream.write(chatResponse(answerText));
      await stream.finish();
    };
    const tap = join(tempDir(), "client.jsonl");
    const acquainted = await startProcess(["client", "--join", old.invite, "--debug-tap", tap]);
    await knowsModels(acquainted, "old");
    const { data, response } = await openAiFor(acquainted)
      .chat.completions.create({ model: "old", messages: [{ role: "user", content: prompt }] })
      .withResponse();
    expect(data.choices[0]?.message.content).toBe(answerText);
    expect(response.headers.get("x-sealmesh-sealed")).toBe("false");
    const plain = readTap(tap);
    for (const [direction, words] of [
      ["out", promptWords],
      ["in", answerWords],
    ] as const) {
      const bytes = concat(plain.filter((stream) => stream.direction === direction).map((stream) => stream.bytes));
      for (const word of words) expect(findWord(bytes, word)).toContain(`${word} as utf8`);
    }
    await acquainted.kill();

    // and each encoding of each word is found wherever it stands in what the relay carried
    const carried = concat(streams.map(({ bytes }) => bytes));
    expect(plantedMisses(carried, [...promptWords, ...answerWords])).toEqual([]);
  });
});

describe("a relay that is stopped in mid-stream", () => {
  it("stalls the answer, which goes on when the relay does", async () => {
    Object.assign(engine.options, { text: undefined, tokens: 60, tokenMs: 50 });
    const reading = await streamWords();
    await until("some words have come", () => reading.words.length >= 5);
    relay.signal("SIGSTOP");
    await pause(300); // what was on its way arrives
    const before = reading.words.length;
    await pause(2_000);
    expect(reading.words.length).toBe(before);
    expect(before).toBeLessThan(60);
    relay.signal("SIGCONT");
    await until("the answer goes on", () => reading.words.length > before, 3_000);
    expect(await reading.end).toBe("ended");
    expect(reading.words.join("")).toBe(Array.from({ length: 60 }, (_, index) => `word${index}`).join(" "));
  });

  it("ends it with an error within 6 s when the relay stays so, and the host is free once it is back", async () => {
    Object.assign(engine.options, { text: undefined, tokens: 10_000, tokenMs: 50 });
    const reading = await streamWords();
    await until("some words have come", () => reading.words.length >= 5);
    relay.signal("SIGSTOP");
    const stopped = performance.now();
    expect(await reading.end).toMatchObject({ code: "timeout" });
    expect(performance.now() - stopped).toBeLessThan(6_000);
    expect(engine.running).toBe(1); // nobody could tell the host
    relay.signal("SIGCONT");
    await until("the engine is free", () => engine.running === 0, 3_000);

    Object.assign(engine.options, { tokens: 3, tokenMs: 0 });
    const again = await streamWords();
    expect(await again.end).toBe("ended");
    expect(again.words.join("")).toBe("word0 word1 word2");
  });
});

async function streamWords(): Promise<Reading> {
  const messages = [{ role: "user" as const, content: prompt }];
  return readStream(await openAiFor(client).chat.completions.create({ model: "scripted", stream: true, messages }));
}

/** From 0xE1 on: what stands before it is a type byte and a short frame. */
function envelopePart(stream: TappedStream | undefined): Uint8Array {
  const bytes = stream?.bytes ?? new Uint8Array(0);
  return bytes.subarray(5 + view(bytes).readUInt32LE(1));
}

/** A relay cuts an answer, with and without a forged end, and the caller must see that it is cut. */
import { connect } from "node:net";
import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import type { ByteStream } from "../../src/base/stream.ts";
import { endMarker } from "../../src/wire/envelope.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { attackedMesh, call, outcomes, prompt, relayedMesh, type ResponseParts, secret } from "../support/raw-peer.ts";

type Cut = (parts: ResponseParts, asker: ByteStream) => AsyncIterable<Uint8Array>;

/** Header and the first `count` chunks. */
async function* first(parts: ResponseParts, count: number): AsyncGenerator<Uint8Array> {
  let seen = 0;
  for await (const part of parts) {
    if (seen > count) return;
    seen += 1;
    yield part;
  }
}

/** Everything but the final chunk, which carries no bytes of the answer. */
async function* allButFinal(parts: ResponseParts): AsyncGenerator<Uint8Array> {
  let held: Uint8Array[] = [];
  for await (const part of parts) {
    held.push(part);
    if (held.length > 2) yield held.shift()!;
  }
  held = [];
}

const cuts: readonly [string, Cut][] = [
  ["ends the stream cleanly", (parts) => first(parts, 1)],
  [
    "adds the end marker",
    async function* (parts) {
      yield* first(parts, 1);
      yield endMarker;
    },
  ],
  [
    "keeps all bytes of the answer, drops the final mark and adds the end marker",
    async function* (parts) {
      yield* allButFinal(parts);
      yield endMarker;
    },
  ],
  [
    "cuts inside a chunk",
    async function* (parts) {
      let count = 0;
      for await (const part of parts) {
        count += 1;
        yield count === 3 ? part.subarray(0, part.length - 1) : part;
        if (count === 3) return;
      }
    },
  ],
  [
    "resets the stream",
    async function* (parts, asker) {
      yield* first(parts, 1);
      asker.abort();
    },
  ],
];

describe.each([true, false])("an answer with stream: %s that a relay cuts", (stream) => {
  it.each(cuts)("I2, I4: a relay that %s: no clean end", async (_name, cut) => {
    const engine = await startEngineServer({ tokens: 4, tokenMs: 2 });
    const { client, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    relayOptions.change = cut;
    const answer = await call(client, prompt({ stream }));
    expect(answer.whole && answer.status === 200).toBe(false);
    // when every byte of the answer did come, [DONE] is among them; the break after it is what tells
    if (cut !== cuts[2]?.[1]) expect(answer.text).not.toContain("[DONE]");
    if (stream) expect(answer.code).toBe("truncated");
    expect(outcomes(client)).toEqual(["E_TRUNCATED"]);
    expect(engine.requests.filter(({ inference }) => inference)).toHaveLength(1);
    relayOptions.change = undefined;
    expect((await call(client, prompt({ stream }))).whole).toBe(true);
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });
});

describe("a caller of HTTP/1.0, who reads until the connection ends", () => {
  // a clean end of the connection is all that HTTP/1.0 has: only an event can tell
  it("I4: is told in the stream that the answer was cut", async () => {
    const engine = await startEngineServer({ tokens: 4, tokenMs: 2 });
    const { client, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    const body = JSON.stringify(prompt({ stream: true }));
    const answer = async (): Promise<string> => {
      const socket = connect(Number(new URL(client.apiUrl).port), "127.0.0.1");
      socket.write(`POST /v1/chat/completions HTTP/1.0\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      let text = "";
      for await (const piece of socket) text += String(piece);
      return text;
    };
    expect((await answer()).trimEnd().endsWith("data: [DONE]")).toBe(true);
    relayOptions.change = cuts[1]?.[1];
    const cut = await answer();
    expect(cut).toContain('"code":"truncated"');
    expect(cut).not.toContain("[DONE]");
    await engine.close();
  });
});

describe("the official client", () => {
  it("I4: throws on a cut answer, streamed or not, and never takes it for whole", async () => {
    const engine = await startEngineServer({ tokens: 4, tokenMs: 2 });
    const { client, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    const openai = new OpenAI({ baseURL: `${client.apiUrl}/v1`, apiKey: "none", maxRetries: 0 });
    const asked = { model: "scripted", messages: [{ role: "user" as const, content: secret }] };
    const streamed = async (): Promise<string> => {
      let text = "";
      for await (const chunk of await openai.chat.completions.create({ ...asked, stream: true })) {
        text += chunk.choices[0]?.delta.content ?? "";
      }
      return text;
    };
    for (const [, cut] of cuts) {
      relayOptions.change = cut;
      await expect(openai.chat.completions.create(asked)).rejects.toThrow();
      await expect(streamed()).rejects.toThrow();
    }
    relayOptions.change = undefined;
    expect((await openai.chat.completions.create(asked)).choices[0]?.message.content).toBe("word0 word1 word2 word3");
    expect(await streamed()).toBe("word0 word1 word2 word3");
    await engine.close();
  });
});

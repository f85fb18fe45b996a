/**
 * The whole way of an answer: an engine's bytes, cut anywhere, through the host's HTTP surface,
 * sealed, over the in-memory network, opened, and through the client's HTTP surface: what comes out is what went in. The
 * engine is a stand-in that gives its bytes as they are; cleaning up after real ones is engine/openai-http.ts's work.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { concat, utf8 } from "../../src/base/bytes.ts";
import { MeshError } from "../../src/base/errors.ts";
import type { Answer } from "../../src/engine/engine.ts";
import { answer } from "../../src/exchange.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { answeringHost, direct } from "../support/answering.ts";
import { fc } from "../support/fast-check.ts";
import { eventually, testMesh } from "../support/mesh.ts";
import { RawPeer } from "../support/raw-peer.ts";
import { events, startApi } from "../unit/node/api-server.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 100);
const timeoutMs = 30_000 + 100 * numRuns;

// ---- what engines write

const text = fc.oneof(
  { weight: 9, arbitrary: fc.string({ unit: "grapheme", maxLength: 20 }) },
  {
    weight: 9,
    arbitrary: fc.constantFrom("é", "語", "🦦", "👩‍👩‍👧", "\n\n", "\r\n", "data: ", "[DONE]", '"usage":{', "\u2028"),
  },
  // larger than a sealed chunk, and than what a stream takes at once
  { weight: 1, arbitrary: fc.integer({ min: 20_000, max: 60_000 }).map((length) => "水".repeat(length)) },
);
const chunk = fc.record({
  id: fc.constant("chatcmpl-1"),
  choices: fc.array(fc.record({ index: fc.nat(1), delta: fc.record({ content: text }) }), { maxLength: 2 }),
  usage: fc.constantFrom(null, { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }),
});
const event = fc.oneof(
  { weight: 6, arbitrary: chunk.map((value) => `data: ${JSON.stringify(value)}\n\n`) },
  { weight: 1, arbitrary: chunk.map((value) => `data: ${JSON.stringify(value)}\r\n\r\n`) },
  { weight: 1, arbitrary: fc.constantFrom(": ping\n\n", "id: 7\ndata: {}\n\n", "data:{}\n\n") },
);
const stream = fc.array(event, { maxLength: 8 }).map((list) => [...list, "data: [DONE]\n\n"].map(utf8));
const whole = fc.record({ choices: fc.array(fc.record({ message: fc.record({ content: text }) })) });

/** Places to cut at, as shares of the length, and whether each piece comes in a turn of its own. */
const cutting = fc.record({ cuts: fc.array(fc.nat(10_000), { maxLength: 30 }), apart: fc.boolean() });
type Cutting = typeof cutting extends fc.Arbitrary<infer T> ? T : never;

/** What the engine answers next. */
interface Script extends Cutting {
  readonly bytes: Uint8Array;
  readonly contentType: string;
  /** Thrown after the bytes. */
  readonly failure?: MeshError;
}

async function* piecesOf({ bytes, cuts, apart, failure }: Script): AsyncGenerator<Uint8Array> {
  const ends = cuts.map((share) => Math.floor((bytes.length * share) / 10_000)).toSorted((a, b) => a - b);
  let from = 0;
  for (const end of [...ends, bytes.length]) {
    if (apart) await new Promise((resolve) => setImmediate(resolve));
    yield bytes.slice(from, end);
    from = end;
  }
  if (failure) throw failure;
}

// ---- the way

let script: Script;
/** The client's API. */
let url: string;

beforeEach(async () => {
  const engine = {
    answer: (): Promise<Answer> => {
      const { contentType } = script;
      return Promise.resolve({ status: 200, headers: { "content-type": contentType }, body: piecesOf(script) });
    },
  };
  const api = await startApi({ path: engine });
  const network = memoryNetwork();
  const peer = await RawPeer.start(network, { role: "host", models: ["path"] });
  const { parts } = await answeringHost({
    identity: peer.identity,
    serve: api.answerPeer,
  });
  peer.key = parts.keys.current;
  peer.handlers.http = async (bytes, reader, from) => {
    await answer(bytes, reader, direct(from), parts);
  };
  const client = await testMesh().start("client", { join: [peer.invite] }, network);
  await eventually("the client knows the host", () => client.models().includes("path"));
  url = `${client.apiUrl}/v1/chat/completions`;
});

interface Received {
  readonly status: number;
  readonly body: string;
  readonly end: "whole" | "broken off";
}

/** Asks the client; latin1, so that every byte counts. */
async function ask(next: Script): Promise<Received> {
  script = next;
  const messages = [{ role: "user", content: "Go on" }];
  // a caller that asks for the usage gets it as it came
  const streaming = { stream: true, stream_options: { include_usage: true } };
  const asked = { model: "path", messages, ...(next.contentType === events ? streaming : {}) };
  const response = await fetch(url, { method: "POST", body: JSON.stringify(asked) });
  if (response.status === 200) expect(response.headers.get("x-sealmesh-sealed")).toBe("true");
  const parts: Uint8Array[] = [];
  let end: Received["end"] = "whole";
  try {
    for await (const part of response.body ?? []) parts.push(part as Uint8Array);
  } catch {
    end = "broken off";
  }
  return { status: response.status, body: latin1(concat(parts)), end };
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}

describe("an answer on its whole way", () => {
  it(
    "comes out as the engine wrote it: a stream",
    async () => {
      await fc.assert(
        fc.asyncProperty(stream, cutting, async (parts, cut) => {
          const bytes = concat(parts);
          const received = await ask({ ...cut, bytes, contentType: events });
          expect(received).toEqual({ status: 200, body: latin1(bytes), end: "whole" });
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it(
    "comes out as the engine wrote it: a whole one",
    async () => {
      await fc.assert(
        fc.asyncProperty(whole, cutting, async (json, cut) => {
          const bytes = utf8(JSON.stringify(json));
          const received = await ask({ ...cut, bytes, contentType: "application/json" });
          expect(received).toEqual({ status: 200, body: latin1(bytes), end: "whole" });
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );

  it(
    "is the whole events before a failure, then one error event, and no clean end",
    async () => {
      await fc.assert(
        fc.asyncProperty(stream, cutting, fc.nat(10_000), async (parts, cut, share) => {
          const all = concat(parts);
          const bytes = all.subarray(0, Math.floor((all.length * share) / 10_000));
          const failure = new MeshError("E_ENGINE", "the engine broke");
          const { status, body, end } = await ask({ ...cut, bytes, contentType: events, failure });
          const before = parts.map(latin1).filter((_, index) => endOf(parts, index) <= bytes.length);
          const error = /(?:^|\n)data: (\{"error":.*\})\n\n$/.exec(body)?.[1] ?? body;
          expect(JSON.parse(error)).toMatchObject({ error: { code: "engine_error", type: "server_error" } });
          if (status === 200) {
            expect(body.slice(0, -`data: ${error}\n\n`.length)).toBe(before.join(""));
            expect(end).toBe("broken off");
          } else {
            expect({ status, before, end }).toEqual({ status: 502, before: [], end: "whole" });
          }
        }),
        { numRuns },
      );
    },
    timeoutMs,
  );
});

/** Index behind part `index`. */
function endOf(parts: readonly Uint8Array[], index: number): number {
  return concat(parts.slice(0, index + 1)).length;
}

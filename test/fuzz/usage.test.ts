/** Wherever the pieces of an answer are cut, the same bytes come out, and the same account. */
import { describe, expect, it } from "vitest";
import { metered } from "../../src/openai/usage.ts";
import { fc } from "../support/fast-check.ts";

const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom('"choices":[', '{"usage":{', "\\", '\\"usage":{', "data: ", "\n\n", "[DONE]"),
);
const usage = fc.record({ prompt_tokens: fc.nat(9), completion_tokens: fc.nat(9), total_tokens: fc.nat(9) });
const delta = fc.record({ content: text, reasoning_content: text }, { requiredKeys: [] });
const choice = fc.record({ index: fc.nat(2), delta, finish_reason: fc.constantFrom(null, "stop", "length") });
const chunk = fc.record(
  {
    [`x"choices`]: fc.constantFrom([], [1]),
    id: text,
    choices: fc.array(choice, { maxLength: 2 }),
    usage: fc.option(usage, { nil: null }),
    [`x"usage`]: fc.jsonValue({ maxDepth: 1 }),
    nested: fc.record({ choices: fc.jsonValue({ maxDepth: 1 }), usage: fc.jsonValue({ maxDepth: 1 }) }),
  },
  { requiredKeys: [] },
);
/** Members of the same name inside others, before those that count. */
const misleading = chunk.map(({ nested, ...value }) => ({ nested, ...value }));
const line = fc.oneof(
  misleading.map((value) => `data: ${JSON.stringify(value)}\n\n`),
  chunk.map((value) => `data: ${JSON.stringify(value)}\n\n`),
  chunk.map((value) => `data: ${JSON.stringify(value, null, 1).replaceAll("\n", "\ndata: ")}\n\n`),
  fc.constantFrom("data: [DONE]\n\n", ": ping\n\n", "\n", "\r\r\n", 'event: error\ndata: {"error":{}}\n\n', "data: {"),
);
const stream = fc
  .tuple(fc.array(line, { maxLength: 8 }), fc.boolean())
  .map(([lines, returns]) => Buffer.from(returns ? lines.join("").replaceAll("\n", "\r\n") : lines.join("")));

async function pass(
  bytes: Uint8Array,
  cuts: readonly number[],
  contentType: string,
  stripUsage: boolean,
): Promise<{ out: string; account: object }> {
  const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)).toSorted((a, b) => a - b), bytes.length];
  const source = (async function* () {
    for (const [index, end] of places.slice(1).entries()) yield await Promise.resolve(bytes.slice(places[index], end));
  })();
  const { body, account } = metered(source, { contentType, stripUsage, startedMs: 0 });
  const parts: Uint8Array[] = [];
  for await (const piece of body) parts.push(piece);
  const { firstByteMs, firstTokenMs, ...said } = account;
  return {
    out: Buffer.concat(parts).toString("latin1"),
    account: { ...said, byte: firstByteMs !== undefined, token: firstTokenMs !== undefined },
  };
}

const cuts = fc.array(fc.nat(1_500), { maxLength: 40 });

describe("metered", () => {
  it.each([true, false])("of a stream does not depend on the cuts, usage stripped: %s", async (stripUsage) => {
    await fc.assert(
      fc.asyncProperty(stream, cuts, async (bytes, places) => {
        const whole = await pass(bytes, [], "text/event-stream", stripUsage);
        expect(await pass(bytes, places, "text/event-stream", stripUsage)).toEqual(whole);
        if (!stripUsage) expect(whole.out).toBe(bytes.toString("latin1"));
      }),
      { numRuns: 400 },
    );
  });

  it("of a stream does not depend on the cuts, byte by byte", async () => {
    await fc.assert(
      fc.asyncProperty(stream, async (bytes) => {
        const all = Array.from({ length: bytes.length }, (_, index) => index);
        expect(await pass(bytes, all, "text/event-stream", true)).toEqual(
          await pass(bytes, [], "text/event-stream", true),
        );
      }),
      { numRuns: 40 },
    );
  });

  it("of a whole answer does not depend on the cuts, and passes any bytes", async () => {
    const whole = fc.oneof(
      chunk.map((value) => Buffer.from(JSON.stringify(value))),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    );
    await fc.assert(
      fc.asyncProperty(whole, cuts, async (bytes, places) => {
        const once = await pass(bytes, [], "application/json", true);
        expect(once.out).toBe(bytes.toString("latin1"));
        expect(await pass(bytes, places, "application/json", true)).toEqual(once);
      }),
    );
  });

  it("removes every chunk that holds usage alone, and nothing else", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(chunk, { maxLength: 8 }), cuts, async (chunks, places) => {
        const bytes = Buffer.from(chunks.map((value) => `data: ${JSON.stringify(value)}\n\n`).join(""));
        const { out } = await pass(bytes, places, "text/event-stream", true);
        const kept = chunks.filter(({ choices, usage: said }) => !(choices?.length === 0 && said));
        const wanted = kept.map((value) => `data: ${JSON.stringify(value)}\n\n`).join("");
        expect(out).toBe(Buffer.from(wanted).toString("latin1"));
      }),
      { numRuns: 300 },
    );
  });
});

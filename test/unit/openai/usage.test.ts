import { describe, expect, it } from "vitest";
import { type Account, metered, type MeterOptions } from "../../../src/openai/usage.ts";

const head = { id: "chatcmpl-1", object: "chat.completion.chunk", created: 1, model: "m" };
const event = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const chunk = (delta: object, finish: string | null = null, more: object = {}): string =>
  event({ ...head, choices: [{ index: 0, delta, finish_reason: finish }], ...more });
const counts = { prompt_tokens: 11, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } };
const usage = event({ ...head, choices: [], usage: counts });
const done = "data: [DONE]\n\n";
const start = chunk({ role: "assistant", content: "" });

const sse = { contentType: "text/event-stream; charset=utf-8", stripUsage: true, startedMs: 0 };
const json = { contentType: "application/json", stripUsage: true, startedMs: 0 };

/** Pieces as they come out, one entry a piece, and the account at the end. */
async function pass(
  pieces: readonly string[],
  options: Partial<MeterOptions> = {},
): Promise<{ out: string[]; account: Account }> {
  const source = (async function* () {
    for (const piece of pieces) yield await Promise.resolve(new Uint8Array(Buffer.from(piece)));
  })();
  const { body, account } = metered(source, { ...sse, ...options });
  const out: string[] = [];
  for await (const piece of body) out.push(Buffer.from(piece).toString());
  return { out, account };
}

describe("a stream", () => {
  it("gives its tokens and finish reason, and loses nothing but the usage chunk that was not asked for", async () => {
    const pieces = [start, chunk({ content: "a" }), chunk({}, "stop"), usage, done];
    const stripped = await pass(pieces);
    expect(stripped.out).toEqual([start, chunk({ content: "a" }), chunk({}, "stop"), done]);
    expect(stripped.account).toMatchObject({
      promptTokens: 11,
      completionTokens: 3,
      cachedTokens: 4,
      finishReason: "stop",
    });
    const kept = await pass(pieces, { stripUsage: false });
    expect(kept.out).toEqual(pieces);
    expect(kept.account).toMatchObject({ promptTokens: 11, completionTokens: 3 });
  });

  it("drops the usage chunk alone out of a piece with several events", async () => {
    const { out } = await pass([start + chunk({}, "stop") + usage + done]);
    expect(out).toEqual([start + chunk({}, "stop") + done]);
  });

  it("finds the usage chunk cut at any byte, and holds back nothing else", async () => {
    const before = start + chunk({ content: "a" }, "stop");
    for (let at = 1; at < usage.length; at++) {
      const { out, account } = await pass([before + usage.slice(0, at), usage.slice(at) + done]);
      expect(out.join("")).toBe(before + done);
      expect(out[0]).toBe(before);
      expect(account.promptTokens).toBe(11);
    }
  });

  it("passes the beginning of a token's event at once when it can be no usage chunk", async () => {
    const token = chunk({ content: "a long word" });
    const at = token.indexOf("a long") + 3;
    const { out } = await pass([token.slice(0, at), token.slice(at)]);
    expect(out).toEqual([token.slice(0, at), token.slice(at)]);
  });

  it("keeps a chunk that could not be told from a token's when it began, cut or not", async () => {
    const odd = event({ nested: { choices: [1] }, choices: [], usage: counts });
    expect((await pass([odd])).out.join("")).toBe(odd);
    const { out, account } = await pass([odd.slice(0, 40), odd.slice(40)]);
    expect(out.join("")).toBe(odd);
    expect(account.promptTokens).toBe(11);
  });

  it("gives the very same pieces when nothing has to go", async () => {
    const pieces = [start, chunk({ content: "a" })].map((text) => new Uint8Array(Buffer.from(text)));
    const { body } = metered(
      (async function* () {
        for (const piece of pieces) yield await Promise.resolve(piece);
      })(),
      sse,
    );
    const out: Uint8Array[] = [];
    for await (const piece of body) out.push(piece);
    expect(out[0]).toBe(pieces[0]);
    expect(out[1]).toBe(pieces[1]);
  });

  it("takes usage from the finish chunk, where llama-server puts it, and leaves that chunk alone", async () => {
    const last = chunk({}, "length", { usage: counts });
    const { out, account } = await pass([start, last, done]);
    expect(out).toEqual([start, last, done]);
    expect(account).toMatchObject({ promptTokens: 11, finishReason: "length" });
  });

  it("leaves `usage: null` where the engine wrote it", async () => {
    const pieces = [chunk({ content: "a" }, null, { usage: null }), chunk({}, "stop", { usage: null }), usage, done];
    const { out, account } = await pass(pieces);
    expect(out).toEqual([pieces[0], pieces[1], done]);
    expect(account.completionTokens).toBe(3);
  });

  it("does not take content for usage", async () => {
    const said = chunk({ content: '{"choices":[],"usage":{"prompt_tokens":999}}' });
    const { out, account } = await pass([start, said, chunk({}, "stop"), done]);
    expect(out.join("")).toContain(said);
    expect(account.promptTokens).toBeUndefined();
  });

  it.each([
    ["text", chunk({ content: "a" })],
    ["reasoning", chunk({ reasoning_content: "hm" })],
    ["reasoning as Ollama names it", chunk({ reasoning: "hm" })],
    ["a refusal", chunk({ refusal: "no" })],
    ["a tool call", chunk({ tool_calls: [{ index: 0, id: "c", function: { name: "f", arguments: "" } }] })],
    ["completion text", event({ ...head, choices: [{ index: 0, text: "a", finish_reason: null }] })],
    ["an event too long to be read", chunk({ content: "x".repeat(70_000) })],
  ])("knows the first token: %s", async (_what, first) => {
    const { account } = await pass([start, ": ping\n\n", first]);
    expect(account.firstTokenMs).toBeGreaterThan(0);
    expect(account.firstByteMs).toBeLessThanOrEqual(account.firstTokenMs ?? 0);
  });

  it("takes no role, no empty text and no finish for a token", async () => {
    const { account } = await pass([start, chunk({ content: null }), chunk({}, "stop"), usage, done]);
    expect(account.firstTokenMs).toBeUndefined();
    expect(account.firstByteMs).toBeGreaterThan(0);
  });

  it("passes an error event, whole or cut", async () => {
    const failed = event({ error: { message: "m", type: "server_error", param: null, code: "x" } });
    expect((await pass([start, failed])).out).toEqual([start, failed]);
    expect((await pass([failed.slice(0, 9), failed.slice(9)])).out.join("")).toBe(failed);
  });

  it("passes CRLF, comments, and a last event without its blank line", async () => {
    const text = `: hello\r\n\r\n${(start + usage + done).replaceAll("\n", "\r\n")}data: last`;
    const { out, account } = await pass([text]);
    expect(out.join("")).toBe(text.replace(usage.replaceAll("\n", "\r\n"), ""));
    expect(account.promptTokens).toBe(11);
  });

  it("drops a usage chunk that ends the stream without a blank line", async () => {
    const { out, account } = await pass([start, usage.trimEnd()]);
    expect(out.join("")).toBe(start);
    expect(account.promptTokens).toBe(11);
  });

  it("lets a long run of one endless event pass, and counts what follows", async () => {
    const endless = [`data: {"x":"${"y".repeat(50_000)}`, "y".repeat(50_000), '"}\n\n'];
    const { out, account } = await pass([...endless, usage, done]);
    expect(out.join("")).toBe(endless.join("") + done);
    expect(account.promptTokens).toBe(11);
  });

  it.each([[-1], [1.5], ["3"], [1e300]])("believes no count of %j", async (given) => {
    const { account } = await pass([event({ ...head, choices: [], usage: { prompt_tokens: given } })]);
    expect(account.promptTokens).toBeUndefined();
  });
});

describe("a whole answer", () => {
  const answer = { ...head, choices: [{ index: 0, message: { content: "a" }, finish_reason: "stop" }], usage: counts };

  it("is read at its end, in pieces, and passes unchanged", async () => {
    const text = JSON.stringify(answer);
    const { out, account } = await pass([text.slice(0, 30), text.slice(30)], json);
    expect(out).toEqual([text.slice(0, 30), text.slice(30)]);
    expect(account).toMatchObject({ promptTokens: 11, completionTokens: 3, cachedTokens: 4, finishReason: "stop" });
    expect(account.firstTokenMs).toBeUndefined();
  });

  it("of embeddings has prompt tokens alone", async () => {
    const text = JSON.stringify({ object: "list", data: [], usage: { prompt_tokens: 8, total_tokens: 8 } });
    const { account } = await pass([text], json);
    expect(account).toMatchObject({ promptTokens: 8, completionTokens: undefined });
  });

  it("beyond 1 MiB tells its usage when that stands last, and nothing otherwise", async () => {
    const bulk = "x".repeat(300_000);
    const long = [`{"data":"${bulk}`, bulk, bulk, bulk];
    const last = `","usage": {"prompt_tokens":8,"prompt_tokens_details":{"cached_tokens":2}}}`;
    const { out, account } = await pass([...long, last], json);
    expect(out.join("").length).toBe(long.join("").length + last.length);
    expect(account).toMatchObject({ promptTokens: 8, cachedTokens: 2 });
    const two = `","x":{"usage":{"prompt_tokens":1}},"usage":{"prompt_tokens":9}}`;
    expect((await pass([...long, two], json)).account.promptTokens).toBe(9);
    const first = await pass([`{"usage":{"prompt_tokens":8},"data":"${bulk}`, bulk, bulk, bulk, `"}`], json);
    expect(first.account.promptTokens).toBeUndefined();
  });

  it("that is no JSON, or of another type, passes and says nothing", async () => {
    for (const contentType of ["application/json", "text/html", ""]) {
      const { out, account } = await pass(["<html>", '"usage":{"prompt_tokens":8}'], { contentType });
      expect(out).toHaveLength(2);
      expect(account.promptTokens).toBeUndefined();
    }
  });
});

describe("the end", () => {
  /** A source that notes how it ended. */
  function source(pieces: readonly string[], failure?: Error): { body: AsyncIterable<Uint8Array>; ends: string[] } {
    const ends: string[] = [];
    let at = 0;
    const iterator: AsyncIterator<Uint8Array, undefined> = {
      next: () => {
        const piece = pieces[at++];
        if (piece !== undefined) return Promise.resolve({ done: false, value: new Uint8Array(Buffer.from(piece)) });
        return failure ? Promise.reject(failure) : Promise.resolve({ done: true, value: undefined });
      },
      return: () => {
        ends.push("returned");
        return Promise.resolve({ done: true, value: undefined });
      },
    };
    return { body: { [Symbol.asyncIterator]: () => iterator }, ends };
  }

  it("reaches the source when the reader leaves, also before the first piece", async () => {
    const early = source([start]);
    await metered(early.body, sse).body[Symbol.asyncIterator]().return?.();
    expect(early.ends).toEqual(["returned"]);
    const later = source([start, start]);
    for await (const _piece of metered(later.body, sse).body) break;
    expect(later.ends).toEqual(["returned"]);
  });

  it("is the source's failure, after everything complete, without a part of a usage chunk", async () => {
    const failure = new Error("cut");
    const { body } = metered(source([start + usage.slice(0, 20)], failure).body, sse);
    const iterator = body[Symbol.asyncIterator]();
    expect(Buffer.from((await iterator.next()).value ?? []).toString()).toBe(start);
    await expect(iterator.next()).rejects.toBe(failure);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });
});

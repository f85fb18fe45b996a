/** A function as an engine: what it is given, and what becomes of answers that are none. */
import { afterEach, expect, test, vi } from "vitest";
import type { MeshError } from "../../../src/base/errors.ts";
import type { Engine } from "../../../src/engine/engine.ts";
import { startEngine } from "../../../src/engine/registry.ts";
import { ask, complete, quiet, readText } from "../../support/engine-ask.ts";
import { codeOf } from "../../support/expect-code.ts";

type Answer = (request: Request) => Response | Promise<Response>;

const started: Engine[] = [];
afterEach(() => Promise.all(started.splice(0).map((engine) => engine.close())));

async function engineOf(answer: Answer, silenceMs = 5_000): Promise<Engine> {
  const models = [{ id: "mine", contextLength: undefined }];
  const engine = await startEngine({ kind: "function", models, answer, silenceMs }, quiet);
  started.push(engine);
  return engine;
}

const good = { choices: [{ index: 0, message: { role: "assistant", content: "Yes." }, finish_reason: "stop" }] };
const begun = { choices: [{ index: 0, delta: { content: "Ye" }, finish_reason: null }] };
const events = { "content-type": "text/event-stream" };

function failureOf(engine: Engine, body: Record<string, unknown> = {}): Promise<MeshError> {
  return ask(engine, body)
    .then(readText)
    .then(
      (text) => expect.fail(`answered ${text}`),
      (error: MeshError) => error,
    );
}

test("gets a Request with path, body and who asks", async () => {
  const seen: { url: string; asker: string | null; body: unknown; method: string }[] = [];
  const engine = await engineOf(async (request) => {
    const { url, method, headers } = request;
    seen.push({ url, method, asker: headers.get("x-sealmesh-asker"), body: await request.json() });
    return Response.json(good);
  });
  const asker = "ab".repeat(32);
  expect((await complete(engine, { temperature: 0.5 }, { asker })).choices[0].message.content).toBe("Yes.");
  const body = { model: "mine", temperature: 0.5, messages: [{ role: "user", content: "hi" }] };
  expect(seen).toEqual([{ url: "http://engine.invalid/v1/chat/completions", method: "POST", asker, body }]);
});

test("what it throws stays here: a prompt may stand in it", async () => {
  const secret = new Error("cannot answer 'my diary' from /home/me/model");
  for (const answer of [() => Promise.reject(secret), () => thrown(secret)] satisfies Answer[]) {
    const failure = await failureOf(await engineOf(answer));
    expect(failure).toMatchObject({ code: "E_ENGINE", message: "the engine's function failed" });
    expect(failure.cause).toBe(secret);
  }
});

function thrown(error: Error): never {
  throw error;
}

test.each<[string, unknown, RegExp]>([
  ["nothing", undefined, /no Response/],
  ["a string", "Yes.", /no Response/],
  ["an answer object", good, /no Response/],
  ["something like a Response", { status: "200", headers: [], body: null }, /no Response/],
  ["an empty body", new Response(null), /not JSON/],
  ["a page", new Response("<html>"), /not JSON/],
  ["JSON without choices", Response.json({}), /no 'choices'/],
  ["a redirect", new Response(null, { status: 302 }), /status 302/],
])("%s is no answer", async (_what, answer, message) => {
  const failure = await failureOf(await engineOf(() => answer as Response));
  expect(failure).toMatchObject({ code: "E_ENGINE", message: expect.stringMatching(message) });
});

test.each<[string, ReadableStream]>([
  ["strings", ReadableStream.from(["data: {}\n\n"])],
  ["no event", ReadableStream.from([new TextEncoder().encode("Yes.")])],
  ["no end", ReadableStream.from([new TextEncoder().encode(`data: ${JSON.stringify(begun)}\n\n`)])],
])("a stream of %s is no answer", async (_what, stream) => {
  const engine = await engineOf(() => new Response(stream, { headers: events }));
  expect((await failureOf(engine, { stream: true })).code).toBe("E_ENGINE");
});

test("its own errors keep their meaning", async () => {
  const engine = await engineOf(() =>
    Response.json(
      { error: { message: "Too many.", type: "rate_limit_error" } },
      { status: 429, headers: { "retry-after": "7" } },
    ),
  );
  expect(await failureOf(engine)).toMatchObject({ code: "E_BUSY", message: "Too many.", retryAfterSeconds: 7 });
});

test("takes a Response of another copy of undici", async () => {
  const { Response: Other } = (await import("undici")) as unknown as { Response: typeof Response };
  expect(Other).not.toBe(Response);
  const engine = await engineOf(() => Other.json(good));
  expect((await complete(engine)).choices[0].message.content).toBe("Yes.");
});

test("one that hears no signal is left alone, and what it gives too late is thrown away", async () => {
  let finish: (response: Response) => void = () => undefined;
  const cancelled = vi.fn();
  const engine = await engineOf(() => new Promise((resolve) => (finish = resolve)));
  const controller = new AbortController();
  const asking = ask(engine, { stream: true }, { signal: controller.signal }).catch(codeOf);
  await vi.waitFor(() => expect(engine.load.running).toBe(1));
  controller.abort();
  expect(await asking).toBe("E_ABORTED");
  expect(engine.load.running).toBe(0);
  finish(new Response(new ReadableStream({ cancel: cancelled }), { headers: events }));
  await vi.waitFor(() => expect(cancelled).toHaveBeenCalled());
});

test("one that says nothing any more is given up, and its signal fires", async () => {
  let signal: AbortSignal | undefined;
  const engine = await engineOf((request) => {
    ({ signal } = request);
    return new Promise(() => undefined);
  }, 50);
  expect((await failureOf(engine)).code).toBe("E_TIMEOUT");
  expect(signal?.aborted).toBe(true);
});

test("its stream is cancelled when the reader leaves", async () => {
  const cancelled = vi.fn();
  const one = new TextEncoder().encode(
    `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "a" } }] })}\n\n`,
  );
  const stream = new ReadableStream({ pull: (controller) => controller.enqueue(one), cancel: cancelled });
  const engine = await engineOf(() => new Response(stream, { headers: events }));
  for await (const _ of (await ask(engine, { stream: true })).body) break;
  await vi.waitFor(() => expect(cancelled).toHaveBeenCalledOnce());
  expect(engine.load.running).toBe(0);
});

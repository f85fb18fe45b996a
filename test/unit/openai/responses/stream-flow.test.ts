import { expect, test } from "vitest";
import { utf8 } from "../../../../src/base/bytes.ts";
import { responsesStream } from "../../../../src/openai/responses/stream.ts";
import { chat, chunk, done, run, source, usageChunk } from "./chat-stream.ts";
import { newStore, plan } from "./plan.ts";

/** A source that counts its reads and knows when it was left. */
function counted(pieces: readonly string[]) {
  const seen = { reads: 0, left: 0 };
  const inner = source(pieces);
  const iterable = {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        seen.reads += 1;
        return inner.next();
      },
      return: async () => {
        seen.left += 1;
        return inner.return(undefined);
      },
    }),
  };
  return { seen, stream: responsesStream(plan(), iterable, "m", "r", undefined) };
}

test("a piece is read when the one before was taken", async () => {
  const { seen, stream } = counted(chat([{ content: "a" }, { content: "b" }]));
  expect(seen.reads).toBe(0);
  await stream.next();
  expect(seen.reads).toBe(1);
  await stream.next();
  expect(seen.reads).toBe(2);
});

test("leaving closes the source: before the first piece, and in the middle", async () => {
  const unread = counted(chat([]));
  await unread.stream.return(undefined);
  expect(unread.seen).toEqual({ reads: 0, left: 1 });
  const some = counted(chat([{ content: "a" }]));
  for await (const _ of some.stream) break;
  expect(some.seen).toEqual({ reads: 1, left: 1 });
  expect(await some.stream.next()).toEqual({ done: true, value: undefined });
});

test("leaving closes the source while a piece is awaited; what comes then is nothing any more", async () => {
  for (const late of ["a piece", "an error"]) {
    let left = false;
    let settle: (() => void) | undefined;
    const slow = {
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise<IteratorResult<Uint8Array, undefined>>((resolve, reject) => {
            settle = () =>
              late === "a piece" ? resolve({ done: false, value: utf8(chunk({}, "stop")) }) : reject(new Error(late));
          }),
        return: async () => {
          left = true;
          return { done: true as const, value: undefined };
        },
      }),
    };
    const stream = responsesStream(plan(), slow, "m", "r", undefined);
    const awaited = stream.next();
    await stream.return(undefined);
    expect(left).toBe(true);
    settle?.();
    expect(await awaited).toEqual({ done: true, value: undefined });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
  }
});

test("a failure found here leaves the source, and is thrown once", async () => {
  const { seen, stream } = counted([chunk({ content: "a" }), "data: junk\n\n", done]);
  await stream.next();
  await stream.next();
  expect(seen.left).toBe(1);
  await expect(stream.next()).rejects.toMatchObject({ code: "E_ENGINE" });
  expect(await stream.next()).toEqual({ done: true, value: undefined });
});

test("a complete answer is kept, and found by its own id", async () => {
  const store = newStore();
  const { response } = await run(chat([{ content: "hello" }]), { plan: plan({ stream: true }, store), store });
  const next = plan({ input: "more", previous_response_id: response["id"] }, store);
  expect(next.chat["messages"]).toEqual([
    { role: "user", content: "hi" },
    { role: "assistant", content: "hello" },
    { role: "user", content: "more" },
  ]);
  await run([usageChunk, ...chat([])], { plan: plan({ store: false }, store), store });
  expect(store.size.turns).toBe(1);
});

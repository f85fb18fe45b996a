/** Which error answers of a host let another host be asked. */
import { expect, it } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { openAiError } from "../../../src/openai/errors.ts";
import { refusalOf } from "../../../src/openai/refusal.ts";

const body = (value: unknown): Uint8Array => utf8(typeof value === "string" ? value : JSON.stringify(value));

it.each(["E_BUSY", "E_DRAINING", "E_MODEL", "E_UNSUPPORTED", "E_NO_ENGINE", "E_OVERFLOW"] as const)(
  "%s of a host of ours comes back as what it was",
  (code) => {
    const words = code === "E_OVERFLOW" ? "This model's maximum context length is 9 tokens." : "words";
    const sent = openAiError(new MeshError(code, words), "id");
    const refusal = refusalOf(sent.status, sent.body, sent.headers["retry-after"]);
    expect(refusal?.code).toBe(code);
  },
);

it.each(["E_ENGINE", "E_ENGINE_LOST", "E_INPUT", "E_BUG", "E_TIMEOUT", "E_TOO_LARGE"] as const)(
  "%s is the answer: the host may have worked on it, or every other one would say the same",
  (code) => {
    const sent = openAiError(new MeshError(code, "words"), "id");
    expect(refusalOf(sent.status, sent.body, undefined)).toBeUndefined();
  },
);

it("an old host's words for a full context, and any 429, are understood", () => {
  const overflow = { error: "request (3012 tokens) exceeds the available context size (512 tokens)" };
  expect(refusalOf(400, body(overflow), undefined)).toMatchObject({ code: "E_OVERFLOW", param: "messages" });
  expect(refusalOf(429, body("all lanes busy"), "7")).toMatchObject({ code: "E_BUSY", retryAfterSeconds: 7 });
  expect(refusalOf(429, body("{"), "tomorrow")).toMatchObject({ code: "E_BUSY", retryAfterSeconds: undefined });
});

it("a good answer is never one, whatever it says", () => {
  expect(refusalOf(200, body({ error: { code: "rate_limit_exceeded" } }), "1")).toBeUndefined();
  expect(refusalOf(503, body({ error: "all 2 target(s) for model 'm' failed" }), undefined)).toBeUndefined();
});

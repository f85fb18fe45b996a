import { describe, expect, test } from "vitest";
import { type ErrorCode, errorTable, MeshError } from "../../../src/base/errors.ts";
import { openAiError, openAiErrorFields, readUpstreamError } from "../../../src/openai/errors.ts";
import { overflowError } from "../../../src/openai/overflow.ts";
import { fc } from "../../support/fast-check.ts";

describe("openAiError", () => {
  test("every code has a complete error object and its status", () => {
    for (const code of Object.keys(errorTable) as ErrorCode[]) {
      const { status, headers, body } = openAiError(new MeshError(code, "what happened"), "r1");
      expect(status).toBe(errorTable[code].status);
      expect(headers["content-type"]).toBe("application/json");
      const { error } = JSON.parse(Buffer.from(body).toString()) as { error: Record<string, unknown> };
      expect(Object.keys(error)).toEqual(["message", "type", "param", "code"]);
      expect(error).toMatchObject({ type: errorTable[code].type, code: errorTable[code].code, param: null });
    }
  });

  test("carries param and retry-after; a busy host always says when", () => {
    const full = openAiError(new MeshError("E_INPUT", "no", { param: "stop" }), "r1");
    expect(JSON.parse(Buffer.from(full.body).toString())).toMatchObject({ error: { param: "stop" } });
    expect(openAiError(new MeshError("E_BUSY", "full"), "r1").headers["retry-after"]).toBe("1");
    const later = new MeshError("E_NO_HOST", "none", { retryAfterSeconds: 2.2 });
    expect(openAiError(later, "r1").headers["retry-after"]).toBe("3");
  });

  test("tells the client not to repeat what will not change", () => {
    const retried = (code: ErrorCode, options = {}): boolean =>
      openAiError(new MeshError(code, "x", options), "r1").headers["x-should-retry"] !== "false";
    expect(["E_BUSY", "E_LOST", "E_NO_HOST", "E_DRAINING"].map((code) => retried(code as ErrorCode))).not.toContain(
      false,
    );
    expect(
      ["E_REFUSED", "E_INPUT", "E_BUG", "E_REPLAY", "E_ENGINE"].map((code) => retried(code as ErrorCode)),
    ).not.toContain(true);
    expect(retried("E_ENGINE", { retryAfterSeconds: 1 })).toBe(true);
  });

  test("says what to do, once, and nothing twice that came from another node", () => {
    const said = (code: ErrorCode, message: string): string =>
      openAiErrorFields(new MeshError(code, message), "r1").message;
    const { hint } = errorTable.E_BUSY;
    expect(said("E_BUSY", "this host is full")).toBe(`this host is full. ${hint}`);
    expect(said("E_BUSY", "Full!")).toBe(`Full! ${hint}`);
    expect(said("E_BUSY", `this host is full. ${hint}`)).toBe(`this host is full. ${hint}`);
    expect(said("E_BUSY", `this host is full. ${hint} Tried: a.`)).toBe(`this host is full. ${hint} Tried: a.`);
  });

  test("keeps OpenAI's sentence about an overflow as it is, which clients go by", () => {
    const { message, code } = openAiErrorFields(overflowError({ limitTokens: 8, promptTokens: 9 }), "r1");
    expect(code).toBe("context_length_exceeded");
    expect(message).toBe(
      "This model's maximum context length is 8 tokens. However, your messages resulted in 9 tokens. Please reduce the length of the messages.",
    );
  });

  test("a bug keeps its words to itself", () => {
    const text = Buffer.from(openAiError(new MeshError("E_BUG", "/home/me/key is undefined"), "r42").body).toString();
    expect(text).not.toContain("/home");
    expect(text).toContain("r42");
  });
});

describe("readUpstreamError", () => {
  const read = (body: unknown, status = 400) =>
    readUpstreamError(status, Buffer.from(typeof body === "string" ? body : JSON.stringify(body)));

  test.each([
    ["OpenAI's", { error: { message: "m", type: "t", code: "c", param: "p" } }],
    ["flat", { object: "error", message: "m", type: "t", code: "c", param: "p" }],
    [
      "JSON inside a message",
      { error: { message: JSON.stringify({ error: { message: "m", type: "t", code: "c", param: "p" } }) } },
    ],
  ])("reads the shape: %s", (_name, body) => {
    expect(read(body)).toMatchObject({ status: 400, message: "m", type: "t", code: "c", param: "p" });
  });

  test("reads text, FastAPI's details, numbers, and nothing at all", () => {
    expect(read({ error: "Unauthorized" })).toMatchObject({ message: "Unauthorized", code: undefined });
    expect(read({ detail: "Not Found" }).message).toBe("Not Found");
    expect(read({ detail: [{ loc: ["body"], msg: "field required" }] }).message).toBe("field required");
    expect(read({ error: { code: 500, message: "m", n_prompt_tokens: 9, n_ctx: 5 } })).toMatchObject({
      code: "500",
      promptTokens: 9,
      contextTokens: 5,
    });
    expect(read("plain words").message).toBe("plain words");
    expect(read("<html>nginx</html>", 502).message).toMatch(/status 502/);
    expect(read("", 500).message).toMatch(/status 500/);
  });

  test("anything gives a bounded message", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.json(),
          fc.string(),
          fc.jsonValue().map((error) => JSON.stringify({ error })),
        ),
        (text) => {
          const { message } = read(text);
          expect(message.length).toBeGreaterThan(0);
          expect(message.length).toBeLessThanOrEqual(600);
        },
      ),
    );
    expect(read({ error: { message: "x".repeat(10_000), code: "y".repeat(10_000) } }).code?.length).toBe(100);
    expect(read(`${'{"error":'.repeat(5000)}1`).message.length).toBeLessThanOrEqual(600);
  });
});

import { describe, expect, it } from "vitest";
import { foreignCodes, openAiErrorAnswer } from "../../../src/openai/foreign.ts";
import { fc } from "../../support/fast-check.ts";

interface ErrorFields {
  readonly message: string;
  readonly type: string;
  readonly param: unknown;
  readonly code: unknown;
}

function translated(status: number, body: unknown): ErrorFields {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const answer = openAiErrorAnswer(status, new Uint8Array(bytes));
  expect(answer.status).toBe(status);
  return (JSON.parse(Buffer.from(answer.body).toString()) as { error: ErrorFields }).error;
}

describe("an error that is an OpenAI error object", () => {
  it("keeps its words, its code and what else it has", () => {
    const error = { message: "no", type: "own_type", param: "stop", code: "own_code", more: 1 };
    expect(translated(418, { error })).toEqual(error);
  });

  it("gets the members that it lacks", () => {
    expect(translated(500, { error: { message: "no", type: "t" } })).toEqual({
      message: "no",
      type: "t",
      param: null,
      code: null,
    });
  });

  it("is cut where it is endless", () => {
    const { message } = translated(400, { error: { message: "x".repeat(9_000), type: "t" } });
    expect(message).toHaveLength(4_096);
    expect(message.endsWith("…")).toBe(true);
  });

  it("of llama-server for an overflow gets the code that clients know", () => {
    const message = "request (3012 tokens) exceeds the available context size (512 tokens), try increasing it";
    const error = { code: 400, message, type: "exceed_context_size_error", n_prompt_tokens: 3012, n_ctx: 512 };
    expect(translated(400, { error })).toMatchObject({
      message,
      type: "invalid_request_error",
      code: "context_length_exceeded",
    });
  });
});

describe("an error of another shape", () => {
  it.each([
    [400, "invalid_request_error", "invalid_value"],
    [401, "authentication_error", "invalid_api_key"],
    [403, "permission_error", "insufficient_quota"],
    [404, "invalid_request_error", "model_not_found"],
    [413, "invalid_request_error", "payload_too_large"],
    [429, "rate_limit_error", "rate_limit_exceeded"],
    [500, "server_error", "internal_server_error"],
    [501, "invalid_request_error", "unsupported_model_feature"],
    [502, "server_error", "internal_server_error"],
    [503, "server_error", "service_unavailable"],
    [504, "server_error", "timeout"],
  ])("gets type and code from its status: %i", (status, type, code) => {
    expect(translated(status, { error: "said so" })).toEqual({ message: "said so", type, param: null, code });
  });

  it("is read as far as it says something", () => {
    expect(translated(422, { detail: [{ loc: ["body"], msg: "field required" }] }).message).toBe("field required");
    expect(translated(400, { object: "error", message: "flat", param: "n" })).toMatchObject({
      message: "flat",
      param: "n",
    });
    expect(translated(502, "<html><h1>nginx</h1></html>").message).not.toContain("<");
    expect(translated(500, "").message).not.toBe("");
    expect(translated(400, { error: "the prompt is longer than the context length currently available" }).code).toBe(
      "context_length_exceeded",
    );
  });

  it("that is too large is not looked into", () => {
    const error = { message: `secret ${"x".repeat(300_000)}`, type: "t" };
    expect(translated(500, { error })).toMatchObject({ type: "server_error", code: "upstream_error_too_large" });
    expect(translated(500, { error }).message).not.toContain("secret");
  });

  it("is always a complete, bounded error object", () => {
    const body = fc.oneof(
      fc.string(),
      fc.json(),
      fc.jsonValue().map((error) => JSON.stringify({ error })),
      fc.record({ message: fc.string(), type: fc.string() }).map((error) => JSON.stringify({ error })),
    );
    fc.assert(
      fc.property(fc.integer({ min: 400, max: 599 }), body, (status, text) => {
        const error = translated(status, text);
        expect(Object.keys(error)).toEqual(expect.arrayContaining(["message", "type", "param", "code"]));
        expect(error.message.length).toBeGreaterThan(0);
        expect(error.message.length).toBeLessThanOrEqual(4_096);
        expect(error.type).not.toBe("");
      }),
    );
  });

  it("has codes of a bounded set", () => {
    expect(foreignCodes.size).toBe(12);
    expect(foreignCodes).toContain("upstream_error_too_large");
  });
});

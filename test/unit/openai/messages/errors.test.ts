import { describe, expect, test } from "vitest";
import { utf8 } from "../../../../src/base/bytes.ts";
import { type ErrorCode, errorTable, MeshError } from "../../../../src/base/errors.ts";
import { openAiErrorAnswer } from "../../../../src/openai/foreign.ts";
import { messagesError, messagesErrorAnswer } from "../../../../src/openai/messages/errors.ts";
import { overflowError } from "../../../../src/openai/overflow.ts";

const read = (body: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(body));

describe("messagesError", () => {
  test.each<[ErrorCode, number, string]>([
    ["E_INPUT", 400, "invalid_request_error"],
    ["E_UNSUPPORTED", 400, "invalid_request_error"],
    ["E_UNAUTHORIZED", 401, "authentication_error"],
    ["E_FOREIGN", 403, "permission_error"],
    ["E_MODEL", 404, "not_found_error"],
    ["E_NOT_FOUND", 404, "not_found_error"],
    ["E_METHOD", 405, "invalid_request_error"],
    ["E_SLOW", 408, "invalid_request_error"],
    ["E_REPLAY", 409, "api_error"],
    ["E_TOO_LARGE", 413, "request_too_large"],
    ["E_BUSY", 429, "rate_limit_error"],
    ["E_BUG", 500, "api_error"],
    ["E_ENGINE", 502, "api_error"],
    ["E_NO_HOST", 503, "overloaded_error"],
    ["E_DRAINING", 503, "overloaded_error"],
    ["E_REFUSED", 503, "api_error"],
    ["E_TIMEOUT", 504, "timeout_error"],
  ])("%s is %d %s", (code, status, type) => {
    const error = new MeshError(code, "It failed");
    const answer = messagesError(error, "r1");
    expect(answer.status).toBe(status);
    expect(read(answer.body)).toEqual({
      type: "error",
      error: {
        type,
        message: expect.stringContaining(errorTable[code].hint),
        details: { error_code: errorTable[code].code, param: null },
      },
      request_id: "r1",
    });
  });

  test("says as for every client whether another try is worth it", () => {
    expect(messagesError(new MeshError("E_REFUSED", "no"), "r").headers).toMatchObject({ "x-should-retry": "false" });
    const busy = messagesError(new MeshError("E_BUSY", "busy", { retryAfterSeconds: 3 }), "r").headers;
    expect(busy).toEqual({ "content-type": "application/json", "retry-after": "3" });
  });

  test("a thread is refused in the words that let the client go on without", () => {
    const told = (param: string): unknown =>
      read(messagesError(new MeshError("E_UNSUPPORTED", "no", { param }), "r").body);
    const details = { error_code: "thread_unsupported_request", unsupported: [], param: "thread" };
    expect(told("thread")).toMatchObject({ error: { details } });
    expect(told("container")).toMatchObject({ error: { details: { error_code: "unsupported_model_feature" } } });
  });

  test("an overflow has the words by which agents know it, with the numbers where they are known", () => {
    const told = (error: MeshError): unknown => read(messagesError(error, "r").body);
    const counted = { limitTokens: 512, promptTokens: 3_012 };
    expect(told(overflowError(counted))).toMatchObject({
      error: {
        type: "invalid_request_error",
        message: expect.stringMatching(/^prompt is too long: 3012 tokens > 512 maximum\. This model's maximum/),
        details: { error_code: "context_length_exceeded", param: "messages" },
      },
    });
    const uncounted = { limitTokens: undefined, promptTokens: undefined };
    expect(told(overflowError(uncounted))).toMatchObject({
      error: { message: expect.stringMatching(/^prompt is too long\. This model's maximum/) },
    });
  });
});

describe("messagesErrorAnswer", () => {
  const translated = (status: number, given: unknown, headers: Readonly<Record<string, string>> = {}): unknown => {
    const { body } = openAiErrorAnswer(status, utf8(typeof given === "string" ? given : JSON.stringify(given)));
    return read(messagesErrorAnswer(status, headers, body, "r1"));
  };

  test.each<[string, number, unknown, string, unknown]>([
    ["an error object", 429, { error: { message: "slow", type: "t", code: "c" } }, "rate_limit_error", "c"],
    [
      "an overflow",
      400,
      { error: { message: "maximum context length is 8 tokens", type: "x" } },
      "invalid_request_error",
      "context_length_exceeded",
    ],
    ["no JSON", 500, "oops", "api_error", "internal_server_error"],
    ["a page", 502, "<html>", "api_error", "internal_server_error"],
    ["a code that is no word", 400, { error: { message: "m", type: "t", code: 7 } }, "invalid_request_error", 7],
    ["Anthropic's own status", 529, { error: "busy" }, "overloaded_error", "internal_server_error"],
  ])("%s", (_name, status, given, type, code) => {
    expect(translated(status, given)).toMatchObject({
      type: "error",
      error: { type, message: expect.stringMatching(/\w/), details: { error_code: code } },
      request_id: "r1",
    });
  });

  test("a host that says no for good is not overloaded", () => {
    const refused = { error: { message: "no", type: "server_error", code: "refused" } };
    expect(translated(503, refused)).toMatchObject({ error: { type: "overloaded_error" } });
    expect(translated(503, refused, { "x-should-retry": "false" })).toMatchObject({ error: { type: "api_error" } });
  });
});

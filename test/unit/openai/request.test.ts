/** Requests as engines get them: what changes, what keeps its bytes, and what is refused before it is parsed. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { normalisedRequest, parseRequest, requestOf, withModel } from "../../../src/openai/request.ts";
import { limits } from "../../../src/wire/limits.ts";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { fc } from "../../support/fast-check.ts";

const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "hi" }];

/** The E_INPUT that it throws. */
function refusal(run: () => unknown): MeshError {
  try {
    run();
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code === "E_INPUT") return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

function normalised(text: string, path: string = chat) {
  const request = normalisedRequest(path, parseRequest(utf8(text)));
  const sent = fromUtf8(request.bytes);
  // both forms of one request say the same
  expect(JSON.parse(sent)).toEqual(request.json);
  return { ...request, sent };
}

describe("what changes", () => {
  it("nothing, where nothing has to: white space, order, unknown fields and numbers stay as written", () => {
    const text = ` { "model":"m","messages":[{"role":"user","content":"a\\u0062\\"}{"}], "x_new":1.50 , "top_k": 1e1}\n`;
    const { sent, model, stream, stripUsage } = normalised(text);
    expect(sent).toBe(text);
    expect({ model, stream, stripUsage }).toEqual({ model: "m", stream: false, stripUsage: false });
  });

  it.each([
    [{ max_completion_tokens: 7 }, 7],
    [{ max_output_tokens: 7 }, 7],
    [{ max_tokens: 5, max_completion_tokens: 7 }, 7],
    [{ max_completion_tokens: 7, max_output_tokens: 9, max_tokens: 5 }, 9],
    [{ max_tokens: 5, max_completion_tokens: null }, 5],
    [{ max_tokens: 5 }, 5],
    [{ max_completion_tokens: null }, undefined],
  ])("%j becomes max_tokens %s", (fields, expected) => {
    for (const path of [chat, "/v1/completions"]) {
      const { json } = normalised(JSON.stringify({ model: "m", messages, ...fields }), path);
      expect(json).toEqual({ model: "m", messages, ...(expected === undefined ? {} : { max_tokens: expected }) });
    }
  });

  it.each([
    [{ stream: true }, true, { include_usage: true }],
    [{ stream: true, stream_options: null }, true, { include_usage: true }],
    [{ stream: true, stream_options: { include_usage: false, x: 1 } }, true, { include_usage: true, x: 1 }],
    [{ stream: true, stream_options: { include_usage: true } }, false, { include_usage: true }],
    [{ stream: false }, false, undefined],
    [{ stream: null }, false, undefined],
    [{}, false, undefined],
  ])("%j: usage is always asked of a stream, and taken out if it was not asked for", (fields, strip, options) => {
    const { json, stripUsage } = normalised(JSON.stringify({ model: "m", messages, ...fields }));
    expect(json["stream_options"]).toEqual(options);
    expect(stripUsage).toBe(strip);
  });

  it("mesh_hooks goes, however often and however it is spelled", () => {
    const { sent, json } = normalised(
      `{"mesh_hooks":true,"mesh\\u005fhooks":{"a":"}"},"model":"m","messages":${JSON.stringify(messages)},"mesh_hooks":1}`,
    );
    expect(sent).toBe(`{"model":"m","messages":${JSON.stringify(messages)}}`);
    expect(json).not.toHaveProperty("mesh_hooks");
  });

  it("embeddings keep every field", () => {
    const text = `{"model":"m","input":"hi","encoding_format":"base64","max_tokens":"no number","stream":"x"}`;
    expect(normalised(text, "/v1/embeddings").sent).toBe(text);
  });

  it("another model is written in the place of auto", () => {
    const asked = normalised(`{"model":"auto", "messages":${JSON.stringify(messages)}}`);
    const chosen = withModel(asked, 'a "model"');
    expect(JSON.parse(fromUtf8(chosen.bytes))).toEqual({ model: 'a "model"', messages });
    expect(chosen.json).toEqual({ model: 'a "model"', messages });
    expect(withModel(asked, "auto")).toBe(asked);
  });

  it("the bytes and the values of any request agree, and a second time changes nothing", () => {
    const name = fc.constantFrom("max_tokens", "max_completion_tokens", "mesh_hooks", "x", 'a"b\\', "ü", "n,{");
    const fields = fc.dictionary(
      name,
      fc.oneof(
        fc.integer(),
        fc.jsonValue().filter((value) => value === null),
      ),
    );
    fc.assert(
      fc.property(fields, fc.jsonValue(), fc.boolean(), fc.constantFrom(0, 1, 2), (some, value, stream, indent) => {
        const text = JSON.stringify({ model: "m", ...some, value, messages, stream }, null, indent);
        const once = normalised(text);
        const twice = normalised(once.sent);
        expect(twice.sent).toBe(once.sent);
      }),
    );
  });
});

describe("what is refused", () => {
  it.each([
    ["", "valid JSON"],
    ["{", "valid JSON"],
    ["}", "valid JSON"],
    [`{"a":1}}`, "valid JSON"],
    [`{"a":"`, "valid JSON"],
    ["[]", "must be a JSON object"],
    ["null", "must be a JSON object"],
    [`"{}"`, "must be a JSON object"],
    [`{"model":"a","model":"b"}`, "'model' stands twice"],
    [`{"model":"a","m\\u006fdel":"b"}`, "'model' stands twice"],
  ])("%s: %s", (text, message) => {
    expect(refusal(() => parseRequest(utf8(text))).message).toContain(message);
  });

  it("a field that stands twice is named, clean and short", () => {
    const body = `{"a\\u0007":1,"a\\u0007":2}`;
    expect(refusal(() => parseRequest(utf8(body)))).toMatchObject({ code: "E_INPUT", param: "a\ufffd" });
    const long = "k".repeat(1_000);
    expect(refusal(() => parseRequest(utf8(`{"${long}":1,"${long}":2}`))).param).toBe("k".repeat(64));
  });

  it("bytes that are no UTF-8", () => {
    expect(refusal(() => parseRequest(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d))).message).toContain(
      "valid JSON",
    );
  });

  it("deeper than 128 brackets, at once and without a deep stack, and no less", () => {
    const nested = (depth: number): Uint8Array => utf8(`{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`);
    expect(parseRequest(nested(limits.jsonDepth)).json).toHaveProperty("a");
    expect(refusal(() => parseRequest(nested(limits.jsonDepth + 1))).message).toContain("more than 128 brackets");
    expect(refusal(() => parseRequest(utf8("[".repeat(10_000_000)))).message).toContain("more than 128 brackets");
    expect(refusal(() => parseRequest(utf8(`{"a":`.repeat(1_000_000)))).message).toContain("more than 128 brackets");
    // brackets inside strings nest nothing
    expect(parseRequest(utf8(JSON.stringify({ a: '\\"[{'.repeat(1_000) }))).json).toHaveProperty("a");
  });

  it("more values than a request has", () => {
    const list = (count: number): Uint8Array => utf8(`{"a":[${"[],".repeat(count / 2)}0]}`);
    expect(parseRequest(list(limits.jsonValues / 2)).json).toHaveProperty("a");
    expect(refusal(() => parseRequest(list(limits.jsonValues + 2))).message).toContain("values");
  });

  it.each([
    [chat, {}, "model"],
    [chat, { model: "" }, "model"],
    [chat, { model: 7, messages }, "model"],
    ["/v1/embeddings", { input: "hi" }, "model"],
    [chat, { model: "m" }, "messages"],
    [chat, { model: "m", messages: [7] }, "messages[0]"],
    [chat, { model: "m", messages, stream: "yes" }, "stream"],
    ["/v1/completions", { model: "m", stream: 1 }, "stream"],
    ["/v1/completions", { model: "m", stream: true, stream_options: 7 }, "stream_options"],
    [chat, { model: "m", messages, max_completion_tokens: "7" }, "max_completion_tokens"],
    ["/v1/completions", { model: "m", max_output_tokens: 1.5 }, "max_output_tokens"],
  ])("%s with %j: the field is named", (path, json, param) => {
    expect(refusal(() => normalisedRequest(path, requestOf(json))).param).toBe(param);
  });

  it("stays quick with a body full of escapes and quotes", () => {
    const text = JSON.stringify({ a: '\\"'.repeat(2_000_000), b: "\\".repeat(4_000_000) });
    const started = performance.now();
    parseRequest(utf8(text));
    expect(performance.now() - started).toBeLessThan(2_000);
  });
});

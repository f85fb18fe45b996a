import { describe, expect, it } from "vitest";
import { type Json } from "../../../src/base/json.ts";
import { type DeltaPattern, deltaPattern } from "../../../src/openai/delta-pattern.ts";

const chunk = (delta: object, more: object = {}, choice: object = {}): Json => ({
  id: "theirs",
  model: "theirs",
  choices: [{ index: 0, delta, finish_reason: null, ...choice }],
  ...more,
});
const told = (json: Json): string => `data: ${JSON.stringify({ ...json, id: "ours" })}\n\n`;
const patternOf = (json: Json, data = JSON.stringify(json)): DeltaPattern | undefined =>
  deltaPattern(data, json, told(json));

describe("events that differ in their text alone", () => {
  const pattern = patternOf(chunk({ content: " one" }));

  it.each([" two", "", "ä€😀", 'with "quotes"', "back\\slash", "lines\n\t\u0001", '"content":"', '","model":"other'])(
    "are told as if they had been parsed: %j",
    (content) => {
      const next = chunk({ content });
      expect(pattern?.apply(JSON.stringify(next))).toBe(told(next));
    },
  );

  it("hold escapes as they were written", () => {
    const data = JSON.stringify(chunk({ content: "X" })).replace("X", "\\u0041\\/");
    const event = pattern?.apply(data);
    expect(JSON.parse(event?.slice("data: ".length) ?? "")).toMatchObject({
      id: "ours",
      choices: [{ delta: { content: "A/" } }],
    });
  });

  it.each([
    ["another id", JSON.stringify(chunk({ content: "x" }, { id: "another" }))],
    ["a finish", JSON.stringify(chunk({ content: "x" }, {}, { finish_reason: "stop" }))],
    ["more in its delta", JSON.stringify(chunk({ content: "x", role: "assistant" }))],
    ["usage", JSON.stringify(chunk({ content: "x" }, { usage: {} }))],
    ["an error", JSON.stringify({ error: { message: "x" } })],
    ["a raw line break", JSON.stringify(chunk({ content: "X" })).replace("X", "\n")],
    ["an escape that is none", JSON.stringify(chunk({ content: "X" })).replace("X", "\\x")],
    ["half an escape", JSON.stringify(chunk({ content: "X" })).replace("X", "\\u12")],
    ["an escaped end", JSON.stringify(chunk({ content: "X" })).replace("X", "\\")],
    ["a quote that ends it", JSON.stringify(chunk({ content: "X" })).replace("X", '","role":"user')],
    ["an end that is too near", JSON.stringify(chunk({ content: "" })).slice(0, 60)],
    ["a very long text", JSON.stringify(chunk({ content: "x".repeat(20_000) }))],
  ])("are parsed with %s", (_what, data) => {
    expect(pattern?.apply(data)).toBeUndefined();
  });
});

describe("an event is no pattern", () => {
  it.each([
    ["with two choices", { ...chunk({ content: "x" }), choices: [{ delta: { content: "x" } }, { delta: {} }] }],
    ["that finishes", chunk({ content: "x" }, {}, { finish_reason: "length" })],
    ["with usage", chunk({ content: "x" }, { usage: { prompt_tokens: 1 } })],
    ["without text", chunk({ role: "assistant" })],
    ["with a tool call beside its text", chunk({ content: "x", tool_calls: [] })],
    ["with two places for the text", chunk({ content: "x" }, { other: { content: "x" } })],
  ])("%s", (_what, json) => {
    expect(patternOf(json)).toBeUndefined();
  });

  it("where the text stands in another member than it seems", () => {
    const json = chunk({ content: "real" });
    const data = `{"other":{"content":"fake"},${JSON.stringify(json).slice(1).replace('"content"', '"\\u0063ontent"')}`;
    expect(deltaPattern(data, json, told(json))).toBeUndefined();
  });
});

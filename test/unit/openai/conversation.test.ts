/** What is read out of a request for choosing: needs, size, and which conversation it continues. */
import { describe, expect, it } from "vitest";
import { needsOf } from "../../../src/openai/conversation.ts";

const chat = "/v1/chat/completions";
const turn = (...messages: readonly object[]): Record<string, unknown> => ({ model: "m", messages });
const system = { role: "system", content: "Be brief." };
const first = { role: "user", content: "What is a mesh?" };

describe("a conversation", () => {
  it("is the same for all its turns, and another one for another beginning or model", () => {
    const begun = needsOf(chat, turn(system, first)).conversation;
    const later = turn(system, first, { role: "assistant", content: "Nodes." }, { role: "user", content: "More!" });
    expect(needsOf(chat, later).conversation).toBe(begun);
    expect(needsOf(chat, turn(system, { role: "user", content: "What else?" })).conversation).not.toBe(begun);
    expect(needsOf(chat, { ...turn(system, first), model: "other" }).conversation).not.toBe(begun);
  });

  it("goes by the caller's own name for it, if there is one", () => {
    const named = (content: string): string | undefined =>
      needsOf(chat, { ...turn({ role: "user", content }), prompt_cache_key: "k" }).conversation;
    expect(named("a")).toBe(named("b"));
    expect(named("a")).not.toContain("k".repeat(2));
  });

  it("has none without words of a user, and none for embeddings", () => {
    expect(needsOf(chat, turn(system)).conversation).toBeUndefined();
    expect(needsOf("/v1/embeddings", { model: "m", input: "x" }).conversation).toBeUndefined();
  });

  it("does not show what was said", () => {
    expect(needsOf(chat, turn(first)).conversation).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });
});

describe("needs", () => {
  it("are found wherever the parts stand", () => {
    const image = { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } };
    const audio = { type: "input_audio", input_audio: { data: "A".repeat(8_000), format: "wav" } };
    expect(needsOf(chat, turn(first)).kinds).toEqual(["chat"]);
    expect(needsOf(chat, turn({ role: "user", content: [image] })).kinds).toEqual(["chat", "vision"]);
    expect(needsOf(chat, turn({ role: "user", content: [audio, image] })).kinds).toEqual(["chat", "vision", "audio"]);
    expect(needsOf("/v1/embeddings", { input: ["x"] }).kinds).toEqual(["embeddings"]);
    expect(needsOf("/v1/completions", { prompt: "x" }).kinds).toEqual(["text"]);
  });

  it("count text and the answer's limit, not the bytes of images and sounds", () => {
    const content = [
      { type: "text", text: "x".repeat(4_000) },
      { type: "image_url", image_url: { url: `data:image/png;base64,${"A".repeat(100_000)}` } },
      { type: "input_audio", input_audio: { data: "A".repeat(100_000), format: "wav" } },
    ];
    const { tokens } = needsOf(chat, { ...turn({ role: "user", content }), max_tokens: 500 });
    expect(tokens).toBeGreaterThanOrEqual(1_000 + 500);
    expect(tokens).toBeLessThan(2_000);
  });

  it("read a nesting without end, and any JSON, without failing", () => {
    let deep: unknown = "x";
    for (let depth = 0; depth < 100_000; depth += 1) deep = [deep];
    expect(needsOf(chat, { messages: deep }).kinds).toEqual(["chat"]);
    for (const odd of [null, 3, "x", {}, { messages: [null, 3, "x", {}] }]) {
      expect(needsOf(chat, { messages: odd, prompt: odd, input: odd }).tokens).toBeGreaterThan(0);
    }
  });
});

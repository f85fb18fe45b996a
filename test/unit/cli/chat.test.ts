/** `sealmesh chat` without a terminal: what a line means, what may reach the terminal, and what is said of an answer. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Answer, apiError } from "../../../src/cli/chat/answer.ts";
import {
  chatCommands,
  demoQuestions,
  modelMeant,
  readChatLine,
  speakable,
  wordBreaker,
} from "../../../src/cli/chat/lines.ts";
import { answerDocument, answerLine } from "../../../src/cli/chat/talk.ts";
import { fc } from "../../support/fast-check.ts";

describe("a line", () => {
  it.each([
    ["", { kind: "nothing" }],
    ["  \t ", { kind: "nothing" }],
    [" Who? ", { kind: "ask", text: "Who?" }],
    ["/help", { kind: "command", name: "help", rest: "" }],
    ["/model  org/Qwen 3 ", { kind: "command", name: "model", rest: "org/Qwen 3" }],
    ["/quit", { kind: "leave" }],
    ["/exit", { kind: "leave" }],
    ["/?", { kind: "command", name: "help", rest: "" }],
    ["/nope x", { kind: "unknown", name: "nope" }],
    ["/", { kind: "unknown", name: "" }],
    ["//etc/hosts: what is it?", { kind: "ask", text: "/etc/hosts: what is it?" }],
    ["/clear\nand more of a pasted text", { kind: "ask", text: "/clear\nand more of a pasted text" }],
    ["two\nlines", { kind: "ask", text: "two\nlines" }],
  ])("%j", (text, meant) => expect(readChatLine(text)).toEqual(meant));

  it("means something whatever it is", () => {
    const kinds = ["nothing", "ask", "command", "leave", "unknown"];
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(kinds).toContain(readChatLine(text).kind);
      }),
    );
  });

  it("knows each command of /help", () => {
    const kinds = chatCommands.map(({ name }) => readChatLine(`/${name}`).kind);
    expect(kinds).toEqual(["command", "command", "command", "command", "leave"]);
  });
});

describe("a model", () => {
  const names = ["demo", "Qwen3-8B", "qwen3-coder", "7"];
  it.each([
    ["demo", "demo"],
    ["1", "demo"],
    ["4", "7"],
    ["7", "7"],
    ["qwen3-8", "Qwen3-8B"],
    ["qwen", undefined],
    ["5", undefined],
    ["", undefined],
    ["llama", undefined],
  ])("%j means %j", (what, meant) => expect(modelMeant(what, names)).toBe(meant));
});

describe("what a model says", () => {
  it("keeps line breaks and tabs, and nothing else that moves a terminal", () => {
    expect(speakable("a\r\n\tb")).toBe("a\n\tb");
    expect(speakable("\u001b]0;owned\u0007\u009b2J\u202e")).toBe("\ufffd]0;owned\ufffd\ufffd2J\ufffd");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(speakable(text)).not.toMatch(/[^\P{Cc}\n\t]|[\u202a-\u202e\u2066-\u2069]/u);
      }),
    );
  });

  it("is broken between words, also when a word comes in pieces", () => {
    const broken = wordBreaker(() => 13);
    // the last place of a line stays free: terminals differ in what they do there
    expect(["one two thr", "ee four"].map(broken)).toEqual(["one two thr", "e\u001b[4D\u001b[K\nthree four"]);
  });

  it("shows the same words in lines of the terminal's width, however it comes", () => {
    const word = fc.stringMatching(/^[a-z]{1,9}$/);
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 7 }), (words, size) => {
        const text = words.join(" ");
        const broken = wordBreaker(() => 21);
        const pieces = text.match(new RegExp(`.{1,${size}}`, "g")) ?? [];
        const lines = shownBy(pieces.map(broken).join(""));
        expect(lines.join(" ").split(/ +/).filter(Boolean)).toEqual(words);
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(20);
      }),
    );
  });

  /** As a terminal does: back so many places, erase, next line. */
  function shownBy(text: string): string[] {
    const lines = [""];
    for (const [part, back] of text.replaceAll("\u001b[", "⎋").matchAll(/⎋(\d+)D⎋K|\n|[^\n⎋]/g)) {
      const last = lines.pop() ?? "";
      if (back !== undefined) lines.push(last.slice(0, -Number(back)));
      else if (part === "\n") lines.push(last, "");
      else lines.push(last + part);
    }
    return lines;
  }
});

describe("what is said of an answer", () => {
  const id = "ab".repeat(32);
  const answer: Answer = {
    text: "It is.",
    finishReason: "stop",
    model: "demo",
    host: id,
    sealed: "true",
    route: "relay",
    tier: "vendor",
    evidence: "tpm2",
    attempts: 1,
    requestId: "r",
    promptTokens: 3,
    completionTokens: 4,
    firstTokenMs: 12.4,
    ms: 99.6,
    stopped: false,
  };
  const peers = [{ endpoint_id: id, hostname: "gpu-box" }] as never;

  it("is one line: who, over which route, sealed how, proven how, how much and how soon", () => {
    expect(answerLine(answer, peers)).toBe(
      "gpu-box ababababab, relay, sealed, proven: vendor (tpm2); 4 tokens, first after 12 ms",
    );
    const plain = { ...answer, sealed: "false", route: "direct", tier: "none", evidence: null, attempts: 2 };
    expect(answerLine({ ...plain, finishReason: "length", stopped: true }, [])).toBe(
      "ababababab, direct, plain, proven: nothing, 2 hosts tried; 4 tokens, first after 12 ms, stopped, cut off at the most tokens",
    );
    expect(answerLine({ ...answer, sealed: "local", route: "local" }, peers)).toBe(
      "this node, local: the prompt did not leave it; 4 tokens, first after 12 ms",
    );
  });

  it("is a document for programs", () => {
    expect(answerDocument("auto", answer)).toEqual({
      model: "demo",
      answer: "It is.",
      finish_reason: "stop",
      host: id,
      route: "relay",
      sealed: "true",
      tier: "vendor",
      evidence: "tpm2",
      attempts: 1,
      request_id: "r",
      prompt_tokens: 3,
      completion_tokens: 4,
      first_token_ms: 12,
      ms: 100,
    });
  });

  it("keeps the node's own code and sentence of a failure, and its hint once", () => {
    const message = "No. Pick a model that /v1/models lists, or start a host that serves this one.";
    const error = apiError(JSON.stringify({ error: { message, code: "model_not_found" } }), 404);
    expect([error.code, error.message]).toEqual(["E_MODEL", "No."]);
    // what a host says of its failure goes to a terminal, too
    const evil = JSON.stringify({ error: { message: "a\u001b[2Jb\u202ec", code: "engine_error" } });
    expect(apiError(evil, 502).message).toBe("a\ufffd[2Jb\ufffdc");
    expect(apiError("<html>", 502)).toMatchObject({ code: "E_ENGINE", message: "the node answers with status 502" });
  });
});

it("suggests questions that the demo model knows word for word", () => {
  const file = join(import.meta.dirname, "../../../models/demo.json");
  const known = (JSON.parse(readFileSync(file, "utf8")) as { questions: { question: string }[] }).questions;
  const names = known.map(({ question }) => question);
  for (const question of demoQuestions) expect(names).toContain(question);
});

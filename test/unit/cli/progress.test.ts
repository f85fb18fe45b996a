import { describe, expect, it } from "vitest";
import { progressBar, progressOf, type Step } from "../../../src/cli/progress.ts";

/** A terminal, or none, that keeps what is written; time is what the test says. */
function watched(isTTY: boolean, columns = 100) {
  const state = { text: "", nowMs: 0 };
  const stream = {
    isTTY,
    columns,
    write: (text: string | Uint8Array) => {
      state.text += String(text);
      return true;
    },
  };
  const bar = progressBar({ shown: true, stream: stream as never, now: () => state.nowMs });
  return {
    bar,
    at: (ms: number, step: Partial<Step>): void => {
      state.nowMs = ms;
      bar.show({ what: "downloading a.gguf", done: 0, total: 100e6, unit: "bytes", ...step });
    },
    taken: (): string => {
      const { text } = state;
      state.text = "";
      return text;
    },
  };
}

describe("progress on a terminal", () => {
  it("is one line that is written over, with speed and time when they are known", () => {
    const { bar, at, taken } = watched(true);
    at(0, {});
    expect(taken()).toBe("\rdownloading a.gguf  [........................]  0 %\u001b[K");
    at(50, { done: 1e6 }); // too soon
    expect(taken()).toBe("");
    at(2_000, { done: 25e6 });
    expect(taken()).toBe("\rdownloading a.gguf  [######..................]  25 %  12.5 MB/s  6 s left\u001b[K");
    bar.clear();
    expect(taken()).toBe("\r\u001b[K");
    bar.clear();
    expect(taken()).toBe("");
    at(2_010, { done: 25e6 });
    expect(taken()).toContain("25 %"); // drawn again at once
  });

  it("never fills a line, whatever the width", () => {
    const { at, taken } = watched(true, 30);
    at(0, { what: `downloading ${"x".repeat(100)}.gguf` });
    expect(taken().replace("\r", "").replace("\u001b[K", "")).toHaveLength(29);
  });
});

describe("progress elsewhere", () => {
  it("is a plain line every five seconds, and at each new step", () => {
    const { at, taken } = watched(false);
    at(0, { done: 1e6 });
    at(1_000, { done: 2e6 });
    at(4_999, { done: 3e6 });
    at(5_000, { done: 10e6 });
    at(5_100, { what: "checking a.gguf", done: 5e6 });
    expect(taken()).toBe(
      "downloading a.gguf  1 %  1.0 MB of 100.0 MB\n" +
        "downloading a.gguf  10 %  10.0 MB of 100.0 MB  1.8 MB/s  50 s left\n" +
        "checking a.gguf  5 %  5.0 MB of 100.0 MB\n",
    );
  });

  it("says what it knows where no size is told, and what it waits for", () => {
    const { at, taken } = watched(false);
    at(0, { done: 3e6, total: undefined });
    at(6_000, { done: 3e6, total: undefined, note: "nothing listens there; trying again" });
    expect(taken()).toBe("downloading a.gguf  3.0 MB\ndownloading a.gguf  nothing listens there; trying again\n");
  });

  it("says nothing to a program", () => {
    let written = "";
    const stream = { isTTY: false, columns: 80, write: (text: string) => ((written += text), true) };
    const bar = progressBar({ shown: false, stream: stream as never });
    bar.show({ what: "x", done: 1, total: 2, unit: "bytes" });
    bar.clear();
    expect([written, bar.isShown]).toEqual(["", false]);
  });

  it("is read from the log, where there is some", () => {
    expect(progressOf({ event: "engine-loading", engine: "llama: a.gguf", percent: 40 })).toEqual({
      what: "loading llama: a.gguf",
      done: 40,
      total: 100,
      unit: "percent",
    });
    expect(progressOf({ event: "node-stopped" })).toBeUndefined();
  });
});

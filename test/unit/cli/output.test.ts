/** What people and programs read: tables, the format before the flags are known, and the log's sentences. */
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import { jsonLog, prettyLog } from "../../../src/cli/log.ts";
import { formatFromArguments, labelled, printWaiting, reportError, table } from "../../../src/cli/output.ts";

const plain = (_style: string, text: string): string => text;
const peer = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");

function captured(stream: "stdout" | "stderr", run: () => void): string {
  let text = "";
  vi.spyOn(process[stream], "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  run();
  vi.restoreAllMocks();
  return text;
}

afterEach(() => vi.restoreAllMocks());

describe("layout", () => {
  it("aligns columns and leaves no blanks at line ends", () => {
    const rows = [
      ["id", "name"],
      ["677edd9c7a", "host"],
    ];
    expect(table(rows, plain)).toBe("  id          name\n  677edd9c7a  host");
  });

  it("puts further values under the first", () => {
    expect(labelled("models", ["a", "b"], plain)).toBe(`  models${" ".repeat(12)}a\n${" ".repeat(20)}b`);
  });
});

describe("the format before the flags are known", () => {
  it.each([
    { words: ["status", "--json"], format: "json" },
    { words: ["serve", "--log-format", "json"], format: "json" },
    { words: ["serve", "--log-format=json"], format: "json" },
    { words: ["serve", "--name", "json"], format: "pretty" },
    { words: [], format: "pretty" },
  ])("$words: $format", ({ words, format }) => expect(formatFromArguments(words)).toBe(format));
});

describe("reportError", () => {
  it("gives the exit code of the table, and shows a stack for bugs alone", () => {
    const invite = captured("stderr", () => expect(reportError(new MeshError("E_INVITE", "no"), "pretty")).toBe(65));
    expect(invite).toBe("error: no\nhint: Ask for a fresh invite and paste all of it.\n");
    const bug = captured("stderr", () => expect(reportError(new TypeError("oops"), "pretty")).toBe(70));
    expect(bug).toContain("error: oops\n");
    expect(bug).toContain("output.test.ts");
  });

  it("is one JSON document for programs", () => {
    const text = captured("stdout", () => reportError(new MeshError("E_PORT", "taken"), "json"));
    expect(JSON.parse(text)).toMatchObject({
      error: { code: "E_PORT", message: "taken", hint: expect.stringMatching(/./) },
    });
  });
});

describe("the log", () => {
  const events: LogEvent[] = [
    { event: "peer-joined", peer, role: "host", sealed: true },
    { event: "peer-left", peer, reason: "lost" },
    { event: "engine-down", engine: "llama: a.gguf", code: "E_ENGINE", what: "it is broken" },
    { event: "exchange-refused", peer, code: "E_OPEN" },
  ];

  it("is one object a line for programs", () => {
    const lines = captured("stdout", () => {
      for (const event of events) jsonLog.write("info", event);
      printWaiting();
    });
    const parsed = lines
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(parsed).toEqual(events.map((event) => ({ time: expect.stringMatching(/Z$/), level: "info", ...event })));
  });

  it("is printed within a moment, lines together and in their order, and at once when something is wrong", async () => {
    const written: string[] = [];
    const spy = vi.spyOn(process.stdout, "write").mockImplementation((text) => written.push(String(text)) > 0);
    onTestFinished(() => spy.mockRestore());
    const names = (): unknown[] =>
      written.map((text) =>
        text
          .trim()
          .split("\n")
          .map((line) => (JSON.parse(line) as { readonly event: string }).event),
      );
    const [joined, left, down, refused] = events as [LogEvent, LogEvent, LogEvent, LogEvent];
    jsonLog.write("info", joined);
    jsonLog.write("info", left);
    expect(names()).toEqual([]);
    jsonLog.write("warn", down);
    expect(names()).toEqual([["peer-joined", "peer-left", "engine-down"]]);
    jsonLog.write("info", refused);
    await vi.waitFor(() => expect(names()).toHaveLength(2), { timeout: 1_000 });
    expect(names()[1]).toEqual(["exchange-refused"]);
    printWaiting();
    expect(written).toHaveLength(2);
  });

  it("is a sentence a line for people, with short ids and without debug events", () => {
    const log = prettyLog();
    const text = captured("stderr", () => {
      for (const event of events) log.write("warn", event);
      log.write("debug", { event: "node-stopped" });
      log.write("info", { event: "engine-loading", engine: "llama: a.gguf", percent: 10 });
    });
    expect(text.trim().split("\n")).toHaveLength(events.length);
    expect(text).toContain("warning: host 677edd9c7a joined, prompts to it are sealed");
    expect(text).not.toContain(peer);
  });

  it("gives a terminal nothing to act on", () => {
    const what = "it said \u001b[2J\nwarning: all is well\u202e\u009b";
    const text = captured("stderr", () =>
      prettyLog().write("info", { event: "peer-refused", peer, code: "E_KEY", what }),
    );
    expect(text).toMatch(/it said \ufffd\[2J\ufffdwarning: all is well\ufffd\ufffd\n$/);
  });
});

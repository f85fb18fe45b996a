/** The live view: its lines as a function of state and size, and how they change in place on a terminal. */
import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import type { Log } from "../../../src/base/log.ts";
import { LiveScreen } from "../../../src/cli/live-screen.ts";
import { liveLog, type Seen, viewLines, type ViewState } from "../../../src/cli/live-view.ts";
import { textWidth } from "../../../src/cli/table.ts";

const plain = (_style: string, text: string): string => text;
const host = endpointId("ab".repeat(32));

function peer(change: object = {}): object {
  return {
    id: "ababababab",
    endpoint_id: host,
    hostname: "gpu-box",
    role: "Host",
    state: "serving",
    hosted_models: ["demo"],
    rtt_ms: 12.3,
    route: "direct",
    sealed: "sealed",
    attestation: { tier: "vendor", allowed: true, refusal: null },
    ...change,
  };
}

function state(change: { readonly peers?: readonly object[]; readonly seen?: readonly Seen[] } = {}): ViewState {
  const status = {
    peers: change.peers ?? [peer()],
    models: ["demo"],
    engines: [],
    inflight_requests: 2,
    admission: { running: 1, queued: 3, max_running: 4, max_queued: 4 },
    exchanges: { recent: [], totals: { requests: 7, prompt_tokens: 70, completion_tokens: 140 } },
  };
  return { status: status as never, seen: change.seen ?? [], upSeconds: 61 };
}

const asked: Seen = {
  atMs: 0,
  event: "exchange-asked",
  id: "r",
  model: "demo",
  status: 200,
  host,
  sealed: "true",
  route: "relay",
  attempts: 1,
  ms: 420,
};

describe("its lines", () => {
  it("say what runs, who is there, and what was asked last", () => {
    const lines = viewLines(state({ seen: [asked] }), { width: 100, height: 40 }, plain);
    expect(lines.map((line) => line.replace(/\d\d:\d\d:\d\d/, "00:00:00"))).toEqual([
      "  up                61 s",
      "  models            demo",
      "  running           2 requests; engines: 1 running, 3 waiting",
      "  asked here        7 requests, 70 tokens in, 140 out",
      "",
      "1 peer, a host",
      "  id          name     role  models     trip  route   prompts  proven",
      "  ababababab  gpu-box  host  demo      12 ms  direct  sealed   vendor",
      "",
      "  last      what        with     route  prompt     took",
      "  00:00:00  asked demo  gpu-box  relay  sealed   420 ms",
      "",
      "  Control-C stops. Ask: sealmesh chat. Look closer: sealmesh console",
    ]);
  });

  it.each([
    { width: 200, height: 60 },
    { width: 80, height: 24 },
    { width: 60, height: 12 },
    { width: 40, height: 6 },
  ])("keep within $width by $height, however many peers there are", (size) => {
    const peers = Array.from({ length: 200 }, (_, n) =>
      peer({ id: `${n}`.padStart(10, "0"), hostname: "主机".repeat(9) }),
    );
    const lines = viewLines(state({ peers, seen: Array(9).fill(asked) }), size, plain);
    expect(lines.length).toBeLessThan(size.height);
    const widest = Math.max(...lines.map(textWidth));
    // below that even ids, routes and tiers do not fit beside each other
    if (size.width >= 60) expect(widest).toBeLessThan(size.width);
    if (size.height >= 24) expect(lines.join("\n")).toMatch(/and 19\d more: sealmesh peers/);
  });

  it("name what was answered, refused and carried for others", () => {
    const seen: Seen[] = [
      { atMs: 0, event: "exchange-answered", peer: host, whole: false, ms: 5 },
      { atMs: 0, event: "exchange-refused", peer: host, code: "E_OPEN" },
      { atMs: 0, event: "relay-carried", from: host, to: endpointId("cd".repeat(32)), bytes: 9, ms: 8 },
      { ...asked, code: "E_NO_HOST", status: 503, sealed: "none", route: "none" },
    ];
    const text = viewLines(state({ seen }), { width: 100, height: 40 }, plain).join("\n");
    expect(text).toMatch(/answered in part +gpu-box/);
    expect(text).toMatch(/refused: E_OPEN +gpu-box/);
    expect(text).toMatch(/carried +gpu-box to cdcdcdcdcd +relay +sealed/);
    expect(text).toMatch(/asked demo: 503 E_NO_HOST +gpu-box +- +-/);
  });

  it("call an empty mesh empty", () => {
    expect(viewLines(state({ peers: [] }), { width: 80, height: 24 }, plain)).toContain("no peers");
  });
});

/** A terminal that keeps what it is told as lines: just what the screen uses. */
class FakeTerminal extends EventEmitter {
  columns = 20;
  rows = 10;
  lines: string[] = [""];
  cursor = 0;
  hidden = false;
  writes = 0;

  write(text: string): boolean {
    this.writes += 1;
    for (const [part, count, what] of text
      .replaceAll("\u001b[", "⎋")
      .matchAll(/⎋\??(\d*)([A-Za-z])|\r|\n|[^⎋\r\n]+/g)) {
      if (part === "\n") this.lines[++this.cursor] ??= "";
      else if (what === "A") this.cursor -= Number(count);
      else if (what === "J") this.lines.splice(this.cursor, Infinity, "");
      else if (count === "25") this.hidden = what === "l";
      else if (what === undefined && part !== "\r") this.lines[this.cursor] = part;
    }
    return true;
  }
}

describe("on a terminal", () => {
  const started = (): { terminal: FakeTerminal; screen: LiveScreen } => {
    const terminal = new FakeTerminal();
    terminal.write("ready\n");
    return { terminal, screen: new LiveScreen(terminal as never) };
  };

  it("its lines change in place, and nothing is written when nothing has changed", () => {
    const { terminal, screen } = started();
    screen.draw(["one", "two"]);
    screen.draw(["one", "three", "four"]);
    expect(terminal.lines).toEqual(["ready", "one", "three", "four", ""]);
    const { writes } = terminal;
    screen.draw(["one", "three", "four"]);
    expect(terminal.writes).toBe(writes);
    screen.draw(["less"]);
    expect(terminal.lines).toEqual(["ready", "less", ""]);
    screen.close(false);
  });

  it("what is printed stands above them", () => {
    const { terminal, screen } = started();
    screen.draw(["one", "two"]);
    screen.above(() => terminal.write("warning\n"));
    expect(terminal.lines).toEqual(["ready", "warning", "one", "two", ""]);
    screen.close(true);
    expect(terminal.lines).toEqual(["ready", "warning", "one", "two", ""]);
  });

  it("lines that a narrower terminal has broken are taken back whole", () => {
    const { terminal, screen } = started();
    screen.draw(["0123456789abcdef"]);
    terminal.columns = 10;
    terminal.lines = ["ready", "0123456789", "abcdef", ""];
    terminal.cursor = 3;
    screen.draw(["short"]);
    expect(terminal.lines).toEqual(["ready", "short", ""]);
    screen.close(false);
  });

  it("the cursor is hidden while they are there, and back at the end, once", () => {
    const listeners = process.listenerCount("exit");
    const { terminal, screen } = started();
    expect(terminal.hidden).toBe(true);
    screen.draw(["one"]);
    screen.close(false);
    expect(terminal).toMatchObject({ hidden: false, lines: ["ready", ""] });
    screen.draw(["late"]);
    expect(terminal.lines).toEqual(["ready", ""]);
    expect(process.listenerCount("exit")).toBe(listeners);
  });
});

it("the log has all of its lines until the view is there", () => {
  const written: string[] = [];
  const lines: Log = { write: (level, entry) => void written.push(`${level} ${entry.event}`) };
  const log = liveLog(lines);
  log.write("info", { event: "peer-left", peer: host, reason: "left" });
  log.write("warn", { event: "mesh-not-found" });
  expect(written).toEqual(["info peer-left", "warn mesh-not-found"]);
});

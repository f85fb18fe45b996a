/** The gates hold runs to what the project promises, and the page says what they found. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { addRun, lastRun, readRuns } from "../../../bench/history.mjs";
import { allPass, gateCells, type Judged, judged } from "../../../bench/judge.mjs";
import { performanceChart, performanceFiles, performancePage, type Run } from "../../../bench/page.mjs";
import { root, withTempDir } from "../../support/processes.ts";

/** Medians with which every gate passes, but for those that a test changes. */
const good: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  firstTokenAddedMs: { floor: 0.3, peer: 28, direct: 0.6, iroh: 1.4, relay: 2 },
  requests32: { floor: 9_000, peer: 900, direct: 4_000, iroh: 1_000 },
  tokenDelay20Us: { floor: 250, direct: 500 },
  cpuPerTokenUs: { floor: 45, direct: 80 },
  uploadMbs: { direct: 90, iroh: 8, tls: 450 },
  downloadMbs: { direct: 130, iroh: 8, tls: 450 },
  memoryAboveIdleMb: { client: 80, host: 60 },
  slowTokenDelayP99Ms: { floor: 2, direct: 5 },
  startMs: { node: 40, client: 450, version: 85 },
  cpuOfStreamsMs: { 10: 10, 20: 18, 40: 35, 80: 70 },
  cpuOfUploadMs: { 1: 10, 2: 19, 4: 38, 8: 75 },
  cpuOfDownloadMs: { 1: 10, 2: 19, 4: 38, 8: 75 },
  cpuOfPeersMs: { 25: 10, 50: 15, 100: 22, 200: 40 },
};

function rowsOf(change: Readonly<Record<string, Readonly<Record<string, number>>>> = {}, noise = 0): Judged[] {
  return judged((figure, whose) => change[figure]?.[whose] ?? good[figure]?.[whose], noise);
}

const whole = { noPeer: false, isWhole: true };
const missed = (rows: readonly Judged[]): string[] =>
  rows
    .filter(({ outcome }) => outcome !== "pass")
    .map(({ must, figure, whose, than }) => `${must} ${figure} ${whose} ${than}`);

describe("the gates", () => {
  it("cover all seven demands, and a good run passes each", () => {
    const rows = rowsOf();
    expect(new Set(rows.map(({ must }) => must))).toEqual(new Set([1, 2, 3, 4, 5, 6, 7]));
    expect(missed(rows)).toEqual([]);
    expect(allPass(rows, whole)).toBe(true);
  });

  it.each([
    ["more than so many times the floor", { firstTokenAddedMs: { direct: 0.67 } }, "1 firstTokenAddedMs direct floor"],
    ["fewer requests than a share", { requests32: { direct: 2_900 } }, "2 requests32 direct floor"],
    ["more memory than a number", { memoryAboveIdleMb: { host: 101 } }, "5 memoryAboveIdleMb host null"],
    ["a start later than both together", { startMs: { client: 461 } }, "6 startMs client node"],
  ])("%s: that gate is missed, and no other", (_, change, gate) => {
    const rows = rowsOf(change);
    expect(missed(rows)).toEqual([gate]);
    expect(allPass(rows, whole)).toBe(false);
  });

  it("a number that is just allowed passes", () => {
    expect(missed(rowsOf({ startMs: { client: 460 }, memoryAboveIdleMb: { client: 100 } }))).toEqual([]);
  });

  it("growth gets the noise of the run on top, up to a bound, and nothing else does", () => {
    const grown = { cpuOfPeersMs: { 100: 33, 200: 66 } };
    expect(missed(rowsOf(grown))).toEqual(["7 cpuOfPeersMs 100 50"]);
    expect(missed(rowsOf(grown, 0.12))).toEqual([]);
    expect(missed(rowsOf({ cpuOfPeersMs: { 100: 36, 200: 66 } }, 5))).toEqual(["7 cpuOfPeersMs 100 50"]);
    expect(missed(rowsOf({ firstTokenAddedMs: { direct: 0.67 } }, 0.5))).toHaveLength(1);
  });

  it("what was not measured is no pass of a whole run, unless the peer was left out", () => {
    const without = (name: string): Judged[] =>
      judged((figure, whose) => (whose === name ? undefined : good[figure]?.[whose]), 0);
    expect(without("peer").filter(({ outcome }) => outcome === "not measured")).toHaveLength(3);
    expect(allPass(without("peer"), whole)).toBe(false);
    expect(allPass(without("peer"), { ...whole, noPeer: true })).toBe(true);
    expect(allPass(without("iroh"), { ...whole, noPeer: true })).toBe(false);
    expect(allPass(without("iroh"), { noPeer: false, isWhole: false })).toBe(true);
    // a floor that took no time at all says nothing
    expect(rowsOf({ firstTokenAddedMs: { floor: 0 } })[0]).toMatchObject({ outcome: "not measured", ratio: null });
  });

  it("a row says what is held to what: ratios as such, sums and numbers in their unit", () => {
    const rows = rowsOf({ firstTokenAddedMs: { direct: 0.9 } });
    const cells = (figure: string): string[] | undefined => {
      const row = rows.find((one) => one.figure === figure);
      return row && gateCells(row);
    };
    const added = "time to first token, added to the engine's: direct / floor";
    expect(cells("firstTokenAddedMs")).toEqual(["1", added, "3.00", "≤ 2.20", "MISS"]);
    expect(cells("startMs")).toEqual(["6", "start: client / node", "450 ms", "≤ 460 ms", "pass"]);
    expect(cells("memoryAboveIdleMb")?.slice(2)).toEqual(["80.0 MB", "≤ 100 MB", "pass"]);
    expect(cells("requests32")?.slice(2)).toEqual(["0.44", "≥ 0.33", "pass"]);
  });
});

function made(change: Partial<Run> = {}): Run {
  const figures = Object.fromEntries(
    Object.entries(good).map(([name, byWhose]) => [
      name,
      Object.fromEntries(
        Object.entries(byWhose).map(([whose, value]) => [whose, [value / 2, value, value * 2] as const]),
      ),
    ]),
  );
  return {
    at: "2026-01-02T03:04:05.000Z",
    commit: "0123456789ab",
    dirty: false,
    quick: false,
    whole: true,
    seconds: 290,
    machine: { cpu: "A processor", cores: 2, memoryGb: 8, node: "v20.19.0", os: "Linux 6" },
    peer: "1.15.2",
    paths: { direct: "tls", iroh: "quic" },
    noise: { cpuTime: 0.021, wallTime: 0.05 },
    failures: [],
    figures,
    gates: rowsOf(),
    ...change,
  };
}

describe("docs/performance.md", () => {
  it("tells the machine, each gate, each figure and how it grows, and has the notes as they are", () => {
    const page = performancePage(made({ gates: rowsOf({ requests32: { iroh: 800 } }) }), "## Hot path\n\nA note.\n");
    expect(page).toContain("commit `0123456789ab`, 290 s: A processor, 2 cores");
    expect(page).toContain("`direct` over TLS, `iroh` over QUIC (iroh)");
    expect(page).toContain("| 2 | requests, 32 in flight: iroh / peer | 0.89 | ≥ 1.00 | **MISS** |");
    expect(page).toContain("| time to first token, added to the engine's, ms | 0.30 | 28.0 | 0.60 | 1.40 | 2.00 | - |");
    expect(page).toContain("| start, ms | client | 225 | 450 | 900 |");
    expect(page).toContain("|  | 200 | 40.0 | × 1.82 |");
    expect(page).toContain("\n## Hot path\n\nA note.\n\n## Repeat it\n");
  });

  it("has a chart of the run: bars in proportion, their values beside them", () => {
    const chart = performanceChart(made());
    const widths = [...chart.matchAll(/<rect class="(?:ours|other)"[^>]* width="([\d.]+)"/g)].map(([, width]) =>
      Number(width),
    );
    // floor, peer, direct, iroh, relay of the first panel
    expect(widths.slice(0, 5).map((width) => width / (widths[1] ?? 0))).toEqual(
      [0.3, 28, 0.6, 1.4, 2].map((value) => expect.closeTo(value / 28, 1)),
    );
    expect(chart).toContain(">28.0</text>");
    expect(chart).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("says so when there was no run", () => {
    expect(performancePage(undefined, "notes")).toContain("There was no run yet.");
    expect(performanceChart(undefined)).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("is of the last run that was not quick", async () => {
    await withTempDir(async (directory) => {
      mkdirSync(join(directory, "bench"));
      writeFileSync(join(directory, "bench/notes.md"), "notes");
      expect(readRuns(directory)).toEqual([]);
      for (const change of [{ seconds: 1 }, { seconds: 2 }, { seconds: 3, quick: true }])
        addRun(directory, made(change));
      expect(readRuns(directory).map(({ seconds }) => seconds)).toEqual([1, 2, 3]);
      expect(lastRun(readRuns(directory))?.seconds).toBe(2);
      expect(Object.keys(performanceFiles(directory))).toEqual(["docs/performance.md", "docs/images/performance.svg"]);
      writeFileSync(join(directory, "bench/history.jsonl"), "{}\nno JSON\n");
      expect(() => readRuns(directory)).toThrow("bench/history.jsonl:2 is no run");
    });
  });

  it("stands in the project as its history has it", () => {
    for (const [file, text] of Object.entries(performanceFiles(root)))
      expect(readFileSync(join(root, file), "utf8")).toBe(text);
  });
});

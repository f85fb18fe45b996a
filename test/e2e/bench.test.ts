/** The bench as people run it, made small: real processes, real nodes, one round. What its figures are is not asserted. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { afterEach, expect, it } from "vitest";
import type { Run } from "../../bench/page.mjs";
import { descendants } from "../support/e2e.ts";
import { eventually, isRunning, root } from "../support/processes.ts";

type Child = ChildProcessByStdio<null, Readable, Readable>;
const running = new Set<Child>();

afterEach(() => {
  for (const child of running) child.kill("SIGTERM");
});

function bench(...words: readonly string[]): Child {
  const main = join(root, "bench/main.mjs");
  const child = spawn(process.execPath, [main, ...words], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function ended(
  child: Child,
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout, stderr };
}

it("measures hops with nodes and without, and gives one document", async () => {
  const hops = ["engine", "floor", "direct", "plain"];
  const few = ["--quick", "--rounds", "1", "--measure", "first-token", "--json"];
  const { stdout, stderr } = await ended(bench("--only", hops.join(","), ...few));
  expect(stderr).not.toContain("failed");
  const { figures, gates, failures, whole } = JSON.parse(stdout) as Run;
  expect(failures).toEqual([]);
  expect(Object.keys(figures["firstTokenMs"] ?? {})).toEqual(hops);
  for (const values of Object.values(figures["firstTokenMs"] ?? {})) {
    expect(values).toHaveLength(3);
    expect(Math.min(...values)).toBeGreaterThan(0);
  }
  // only what was measured is judged, and such a run is not one for the history
  const judged = gates.filter(({ outcome }) => outcome !== "not measured").map(({ whose, than }) => `${whose}/${than}`);
  expect(judged).toEqual(["direct/floor"]);
  expect(whole).toBe(false);
});

it.skipIf(process.platform !== "linux")("leaves no process behind when it is told to stop", async () => {
  const child = bench("--only", "engine,floor", "--quick");
  const exited = once(child, "exit");
  for await (const line of createInterface({ input: child.stderr })) if (line.includes("round 1")) break;
  const started = descendants(child.pid ?? -1).filter((pid) => pid !== child.pid);
  expect(started.length).toBeGreaterThanOrEqual(3);
  child.kill("SIGINT");
  expect(await exited).toEqual([130, null]);
  await eventually(() => started.every((pid) => !isRunning(pid)));
});

it("says what it did not understand", async () => {
  const wrong = await ended(bench("--only", "flor"));
  expect([wrong.code, wrong.stdout]).toEqual([64, ""]);
  expect(wrong.stderr).toContain("unknown: flor; there is engine, floor");
  const help = await ended(bench("--help"));
  expect([help.code, help.stderr]).toEqual([0, ""]);
  expect(help.stdout).toContain("--quick");
});

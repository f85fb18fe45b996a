/**
 * Many streams at a time: 200 of them at 5 tokens/s for a minute, through one client and one host.
 * None fails, no token is late, every text is the one that the engine wrote, and nothing is left of them in memory: a
 * second minute like the first costs no more.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { knowsModels, pause, residentBytes } from "../support/e2e.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";

const streams = 200;
const tokens = 300;
const tokenMs = 200;
/** From the engine's writing of a token to its arrival. */
const lateMs = 1_000;
const growthBytes = 30_000_000;
/** After the last stream, until memory is looked at: what ends with a stream has ended. */
const settleMs = 5_000;

/** What load-engine.mjs says of a stream; the reader's report of it has the same names. */
interface Stream {
  readonly tokens: number;
  readonly sha256: string;
  readonly lateMs: number;
}

interface Run {
  /** The reader's own longest pause: time that is not the product's. */
  readonly lagMs: number;
  readonly streams: readonly (Stream & { readonly marker: string; readonly end: string })[];
}

describe("200 streams for a minute, twice", () => {
  let engine: { readonly url: string };
  let host: NodeProcess;
  let client: NodeProcess;
  const children: ChildProcess[] = [];
  /** Client and host, after each run. */
  const resident: number[] = [];

  beforeAll(async () => {
    engine = (await say("load-engine.mjs", { tokens, tokenMs })) as typeof engine;
    host = await startProcess(["serve", "--engine", engine.url]);
    client = await startProcess(["client", "--join", host.ready.invite]);
    await knowsModels(client, "load");
  });

  afterAll(() => {
    for (const child of children) child.kill("SIGKILL");
  });

  it.each(["first", "second"])(
    "come whole and in time: the %s run",
    async (prefix) => {
      const started = performance.now();
      const run = (await say("load-reader.mjs", { url: client.ready.api_url, streams, prefix })) as Run;
      expect(performance.now() - started).toBeGreaterThan((tokens - 1) * tokenMs);
      const written = (await (await fetch(new URL("/control", engine.url))).json()) as Readonly<Record<string, Stream>>;
      expect(run.streams).toHaveLength(streams);
      expect(run.streams.filter(({ end }) => end !== "whole")).toEqual([]);
      for (const { marker, tokens: count, sha256 } of run.streams) {
        expect({ marker, count, sha256 }).toEqual({ marker, count: tokens, sha256: written[marker]?.sha256 });
      }
      const latest = Math.max(...run.streams.map((stream) => stream.lateMs));
      expect(latest, `the reader itself paused for ${run.lagMs} ms`).toBeLessThan(lateMs);
      // and the engine kept its pace, so that this was the load
      expect(Math.max(...Object.values(written).map((stream) => stream.lateMs))).toBeLessThan(lateMs);
      await pause(settleMs);
      resident.push(residentBytes(client.pid) + residentBytes(host.pid));
    },
    120_000,
  );

  it("leave nothing behind: the second run ends with hardly more memory than the first", async () => {
    const [first = 0, second = Number.POSITIVE_INFINITY] = resident;
    expect(first).toBeGreaterThan(0);
    expect(second - first).toBeLessThan(growthBytes);
    expect(await host.status()).toMatchObject({ inflight_requests: 0 });
    expect(await client.status()).toMatchObject({ inflight_requests: 0 });
  });

  /** Starts a program of test/support; resolves with the first line that it prints, as JSON. */
  async function say(file: string, options: object): Promise<unknown> {
    const program = join(import.meta.dirname, "../support", file);
    const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ["pipe", "pipe", "inherit"] });
    children.push(child);
    const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
    return JSON.parse(line);
  }
});

import { createHash } from "node:crypto";
import { readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import type { Log, LogEvent } from "../../../src/base/log.ts";
import { Measurements, type MeasurementsOptions } from "../../../src/node/measurements.ts";
import { openState } from "../../../src/node/state.ts";
import { installDir, ownFiles, packageJson, writeFiles } from "../../support/installations.ts";

const open = new Set<Measurements>();
afterEach(async () => {
  for (const each of open) await each.close();
  open.clear();
});

function installed(): string {
  const root = installDir();
  writeFiles(root, {
    ...ownFiles(["a"]),
    "node_modules/a/package.json": packageJson("a", "1.0.0"),
    "node_modules/a/index.js": "x",
  });
  return root;
}

function modelIn(root: string, content = "GGUF"): string {
  const path = join(root, "model.gguf");
  writeFileSync(path, content);
  return path;
}

/** What a state directory does, and the text it holds. */
function memoryCache(text?: string): MeasurementsOptions["cache"] & { text: string | undefined } {
  return {
    text,
    read() {
      return this.text;
    },
    write(next) {
      this.text = next;
    },
  };
}

interface Started {
  readonly measurements: Measurements;
  readonly events: readonly LogEvent[];
  /** Resolves when the state fits, which is looked at after each change. */
  readonly until: (fits: () => boolean) => Promise<void>;
}

function start(options: Partial<MeasurementsOptions>): Started {
  const events: LogEvent[] = [];
  const log: Log = { write: (_, event) => void events.push(event) };
  const waiting = new Set<() => void>();
  const onChange = (): void => {
    for (const look of waiting) look();
  };
  const measurements = new Measurements({ models: [], cache: memoryCache(), log, lookMs: 20, onChange, ...options });
  open.add(measurements);
  return {
    measurements,
    events,
    until: (fits) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (!fits()) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

describe("what a node knows of the files it runs", () => {
  it("is not told by one that runs from its sources: that is no build", async () => {
    const { measurements } = start({});
    expect(await measurements.first).toBeUndefined();
    expect(measurements.measured).toBeUndefined();
    expect(measurements.status()).toMatchObject({
      state: "not-measured",
      why: "this node runs from its sources, not from a build",
      build: null,
      runtime: null,
    });
  });

  it("is known soon after its start, and logged", async () => {
    const { measurements, events } = start({ root: installed() });
    const measured = await measurements.first;
    expect(measurements.measured).toBe(measured);
    const { build = "", runtime = "", files = 0 } = measured ?? {};
    expect(build).toMatch(/^[0-9a-f]{64}$/);
    expect(measurements.status()).toMatchObject({
      state: "measured",
      build,
      runtime,
      engine: null,
      files,
      changed: [],
    });
    expect(events).toEqual([expect.objectContaining({ event: "build-measured", build, runtime, files, what: "" })]);
  });

  it("stays what it was at the start when a file changes, which is told once", async () => {
    const root = installed();
    const { measurements, events, until } = start({ root });
    const before = await measurements.first;
    measurements.begin();
    const changes = (): readonly LogEvent[] => events.filter(({ event }) => event === "build-changed");
    await until(() => measurements.status().looked_at !== null);
    expect(changes()).toEqual([]);
    // with the times it had
    const path = join(root, "node_modules/a/index.js");
    const { atime, mtime } = statSync(path);
    writeFileSync(path, "y");
    utimesSync(path, atime, mtime);
    writeFiles(root, { "dist/new.js": "x" });
    await until(() => measurements.status().changed_files === 2);
    const looked = measurements.status().looked_at;
    await until(() => measurements.status().looked_at !== looked);
    expect(measurements.status().changed).toEqual(["a@1.0.0/index.js", "sealmesh@0.1.0/dist/new.js"]);
    expect(changes().at(-1)).toEqual({
      event: "build-changed",
      files: 2,
      what: "a@1.0.0/index.js, sealmesh@0.1.0/dist/new.js",
    });
    expect(changes().length).toBeLessThanOrEqual(2); // one of the two may have been there first
    expect(measurements.measured).toBe(before);
    expect(measurements.status().build).toBe(before?.build);
    writeFiles(root, { "node_modules/a/index.js": "x" });
    await until(() => measurements.status().changed_files === 1);
  });

  it("names a few of the files that an update changed, and counts the rest", async () => {
    const root = installed();
    const { measurements, until } = start({ root });
    await measurements.first;
    writeFiles(root, Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`dist/${n}.js`, "x"])));
    measurements.begin();
    await until(() => measurements.status().changed_files === 40);
    expect(measurements.status().changed).toHaveLength(16);
  });

  it("ends with the node, in the midst of measuring too", async () => {
    const { measurements } = start({ root: installed() });
    measurements.begin();
    await measurements.close();
    measurements.begin();
    await measurements.close();
  });
});

describe("the digest of a model", () => {
  it("is made once, and taken from the state directory while the file is the same", async () => {
    const root = installed();
    const path = modelIn(root);
    const cache = memoryCache();
    const first = start({ root, models: [path], cache, settledMs: 0 });
    first.measurements.begin();
    await first.until(() => first.measurements.status().models[0]?.sha256 != null);
    expect(first.measurements.status().models).toEqual([
      { file: "model.gguf", sha256: sha256("GGUF"), bytes: 4, why: null },
    ]);
    // a digest that cannot be that of the file shows where it came from
    cache.text = cache.text?.replace(sha256("GGUF"), "ab".repeat(32));
    const second = start({ root, models: [path], cache });
    second.measurements.begin();
    await second.until(() => second.measurements.status().models[0]?.sha256 === "ab".repeat(32));
    // another content of the same size, with the same time
    const { atime, mtime } = statSync(path);
    writeFileSync(path, "FUGG");
    utimesSync(path, atime, mtime);
    const third = start({ root, models: [path], cache });
    third.measurements.begin();
    await third.until(() => third.measurements.status().models[0]?.sha256 === sha256("FUGG"));
  });

  it.each([
    ["no JSON", "{"],
    ["another shape", "[]"],
    ["entries that are none", '{"PATH":{"sha256":"ab","stamp":{}},"x":7,"y":{"sha256":"ab"}}'],
    ["nothing", ""],
  ])("is made anew when what was kept is %s", async (_, text) => {
    const root = installed();
    const path = modelIn(root);
    const cache = memoryCache(text.replace("PATH", path));
    const { measurements, until } = start({ root, models: [path], cache });
    measurements.begin();
    await until(() => measurements.status().models[0]?.sha256 === sha256("GGUF"));
  });

  it("is not kept of a file that was written a moment ago", async () => {
    const root = installed();
    const cache = memoryCache();
    const { measurements, until } = start({ root, models: [modelIn(root)], cache });
    measurements.begin();
    await until(() => measurements.status().models[0]?.sha256 != null);
    expect(cache.text).toBeUndefined();
  });

  it("is not told of a file that was changed before it was known, nor of one that is gone", async () => {
    const root = installed();
    const path = modelIn(root);
    const { measurements, until, events } = start({ root, models: [path, join(root, "gone.gguf")] });
    await measurements.first;
    writeFileSync(path, "changed after it was loaded");
    measurements.begin();
    await until(() => measurements.status().models.every(({ why }) => why !== null));
    expect(measurements.status().models.map(({ sha256: digest }) => digest)).toEqual([null, null]);
    expect(measurements.status().changed).toContain("model model.gguf");
    expect(events).toContainEqual(expect.objectContaining({ event: "build-changed" }));
  });

  it("is kept in a file of the node alone", async () => {
    const root = installed();
    const path = modelIn(root);
    const directory = join(installDir(), "state");
    const state = openState(directory);
    const { measurements, until } = start({ root, models: [path], cache: state.measured, settledMs: 0 });
    measurements.begin();
    await until(() => measurements.status().models[0]?.sha256 != null);
    const kept = join(directory, "measured.json");
    expect(statSync(kept).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(kept, "utf8"))).toMatchObject({ [path]: { sha256: sha256("GGUF") } });
    state.close();
  });
});

import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { toMeshError } from "../../../src/base/errors.ts";
import { downloadModel, type DownloadOptions, type DownloadProgress } from "../../../src/engine/download.ts";
import { modelPath } from "../../../src/engine/download-files.ts";
import { modelSource } from "../../../src/engine/model-source.ts";
import { type ModelServer, type ModelServerOptions, startModelServer } from "../../support/model-server.ts";
import { mountSmallDisk, smallDiskMissing } from "../../support/small-disk.ts";

const demo = Uint8Array.from(readFileSync("models/demo.gguf"));
const sumOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const demoSum = sumOf(demo);

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function serverOf(options: Partial<ModelServerOptions> = {}): Promise<ModelServer> {
  const server = await startModelServer({ content: demo, ...options });
  cleanups.push(() => server.close());
  return server;
}

function cache(): string {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** With tries that follow at once. */
function download(
  address: string,
  options: Partial<DownloadOptions> & Pick<DownloadOptions, "cacheDir">,
  hub?: string,
) {
  return downloadModel(modelSource(address, hub), { retryMs: [1, 1, 1], stallMs: 5_000, ...options });
}

async function failureOf(work: Promise<unknown>): Promise<{ code: string; message: string }> {
  const { code, message } = toMeshError(
    await work.then(
      () => "no failure",
      (thrown: unknown) => thrown,
    ),
  );
  return { code, message };
}

/** Names of all files below. */
function filesIn(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map(({ name }) => name)
    .toSorted();
}

describe("a model that is broken off", () => {
  test("is not taken for whole where nobody says how long it is, but for its checksum", async () => {
    const server = await serverOf({ content: demo.subarray(0, demo.length - 1000), endsByClosing: true });
    const cacheDir = cache();
    for (const name of ["m.gguf", "m-00001-of-00002.gguf"]) {
      const { code, message } = await failureOf(download(`${server.url}/${name}`, { cacheDir }));
      expect(code).toBe("E_INPUT");
      expect(message).toContain("does not say how long it is");
    }
    expect(filesIn(cacheDir).filter((name) => name.endsWith(".gguf"))).toEqual([]);
    server.options.content = demo;
    const sha256 = createHash("sha256").update(demo).digest("hex");
    const [file] = await download(`${server.url}/m.gguf#sha256=${sha256}`, { cacheDir });
    expect(file).toMatchObject({ bytes: demo.length, sha256 });
  });

  test("is gone on with, byte for byte", async () => {
    const server = await serverOf({ cuts: [300_000, 300_000] });
    const cacheDir = cache();
    const [file] = await download(`${server.url}/demo.gguf`, { cacheDir });
    expect(server.requests.map(({ headers }) => [headers.range !== undefined, headers["if-range"]])).toEqual([
      [false, undefined],
      [true, '"one"'],
      [true, '"one"'],
    ]);
    const starts = server.requests.slice(1).map(({ headers }) => Number(/[0-9]+/.exec(headers.range ?? "")?.[0]));
    // what was in flight when the connection broke is lost, the rest is not asked for again
    expect(starts[0]).toBeGreaterThan(0);
    expect(starts[1]).toBeGreaterThan(starts[0] ?? 0);
    expect(sumOf(readFileSync(file.path))).toBe(demoSum);
    expect(file).toMatchObject({ bytes: demo.length, sha256: demoSum, checkedBy: "nobody", fetched: true });
    expect(filesIn(cacheDir)).toEqual(["demo.gguf", "demo.gguf.json"]);
    expect(statSync(file.path).mode & 0o777).toBe(0o600);
  });

  test("is gone on with by the next process, after the first has given up", async () => {
    const server = await serverOf({ cuts: [300_000] });
    const cacheDir = cache();
    const address = `${server.url}/demo.gguf#sha256=${demoSum}`;
    const first = await failureOf(download(address, { cacheDir, retryMs: [] }));
    expect(first).toMatchObject({ code: "E_UNREACHABLE" });
    expect(first.message).toContain("is kept for the next time");
    expect(filesIn(cacheDir)).toEqual(["demo.gguf.part", "demo.gguf.part.json"]);
    const [file] = await download(address, { cacheDir });
    expect(server.requests.at(-1)?.headers.range).toMatch(/^bytes=[1-9][0-9]*-$/);
    expect(file).toMatchObject({ sha256: demoSum, checkedBy: "given" });
  });

  test("begins anew where ranges are not known, and where it has changed meanwhile", async () => {
    const ignoring = await serverOf({ cuts: [300_000], ignoresRange: true });
    const [whole] = await download(`${ignoring.url}/demo.gguf`, { cacheDir: cache() });
    expect(whole.sha256).toBe(demoSum);

    const other = demo.slice();
    other.set([1, 2, 3], demo.length - 3);
    const changing = await serverOf({ cuts: [300_000] });
    const cacheDir = cache();
    const address = `${changing.url}/demo.gguf`;
    await failureOf(download(address, { cacheDir, retryMs: [] }));
    Object.assign(changing.options, { content: other, etag: '"two"' });
    const [changed] = await download(address, { cacheDir });
    expect(sumOf(readFileSync(changed.path))).toBe(sumOf(other));
  });

  test("begins anew when a part is longer than what is there now", async () => {
    const server = await serverOf({ cuts: [demo.length - 1000] });
    const cacheDir = cache();
    const address = `${server.url}/demo.gguf`;
    await failureOf(download(address, { cacheDir, retryMs: [] }));
    const shorter = demo.subarray(0, 1000);
    // the same validator: a place that does not keep its word
    Object.assign(server.options, { content: shorter });
    const [file] = await download(`${address}#sha256=${sumOf(shorter)}`, { cacheDir });
    expect(file.bytes).toBe(1000);
    expect(server.requests.map(({ headers }) => headers.range !== undefined)).toEqual([false, true, false]);
  });

  test("is whole when only its name was missing", async () => {
    const server = await serverOf({ cuts: [300_000] });
    const cacheDir = cache();
    const address = `${server.url}/demo.gguf`;
    await failureOf(download(address, { cacheDir, retryMs: [] }));
    const part = `${modelPath(cacheDir, modelSource(address).files[0].place)}.part`;
    writeFileSync(part, demo);
    const [file] = await download(address, { cacheDir });
    expect(server.requests.at(-1)?.headers.range).toBe(`bytes=${demo.length}-`);
    expect(file.sha256).toBe(demoSum);
  });

  test("is given up after a bounded number of tries, also where every answer begins anew", async () => {
    const cuts = Array.from({ length: 50 }, () => 600_000);
    const server = await serverOf({ cuts, ignoresRange: true });
    const failure = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir: cache() }));
    expect(failure.code).toBe("E_UNREACHABLE");
    expect(server.requests.length).toBeLessThan(10);
  });

  test("is asked for again when nothing comes any more", async () => {
    const server = await serverOf({ stallAfter: 300_000 });
    const told: DownloadProgress[] = [];
    const onProgress = (progress: DownloadProgress): void => void told.push(progress);
    const [file] = await download(`${server.url}/demo.gguf`, { cacheDir: cache(), stallMs: 200, onProgress });
    expect(file.sha256).toBe(demoSum);
    expect(told.find(({ doing }) => doing === "waiting")?.why).toContain("nothing came for 0.2 s");
  });

  test("stops at once when it is told to, and keeps what came", async () => {
    const server = await serverOf({ stallAfter: 300_000 });
    const cacheDir = cache();
    const stop = new AbortController();
    const work = download(`${server.url}/demo.gguf`, { cacheDir, signal: stop.signal, onProgress: () => stop.abort() });
    expect((await failureOf(work)).code).toBe("E_ABORTED");
    expect(filesIn(cacheDir)).toEqual(["demo.gguf.part", "demo.gguf.part.json"]);
  });
});

describe("a model that is not what it should be", () => {
  test("has another checksum: it is deleted", async () => {
    const server = await serverOf();
    const cacheDir = cache();
    const wrong = "0".repeat(64);
    const failure = await failureOf(download(`${server.url}/demo.gguf#sha256=${wrong}`, { cacheDir }));
    expect(failure).toMatchObject({ code: "E_INPUT" });
    expect(failure.message).toContain(`has the SHA-256 ${demoSum}, not ${wrong}: it was deleted`);
    expect(filesIn(cacheDir)).toEqual([]);
  });

  test.each([
    { what: "is a page", content: new TextEncoder().encode("<!doctype html>please log in"), says: "is no GGUF file" },
    { what: "is empty", content: new Uint8Array(0), says: "is no GGUF file" },
    { what: "is cut short there already", content: demo.subarray(0, 400_000), says: "was deleted" },
  ])("$what", async ({ content, says }) => {
    const server = await serverOf({ content, withoutLength: true });
    const cacheDir = cache();
    const failure = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir }));
    expect(failure).toMatchObject({ code: "E_INPUT" });
    expect(failure.message).toContain(says);
    expect(filesIn(cacheDir)).toEqual([]);
  });

  test.each([
    { status: 404, says: "is not there (status 404)", requests: 1 },
    { status: 403, says: "is not for everybody (status 403)", requests: 1 },
    { status: 503, says: "answered with status 503", requests: 4 },
  ])("is answered with $status", async ({ status, says, requests }) => {
    const server = await serverOf({ status });
    const failure = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir: cache() }));
    expect(failure.message).toContain(says);
    expect(server.requests).toHaveLength(requests);
  });

  test("leads in a circle, or to an address that anybody on the way could change", async () => {
    const circle = await serverOf();
    circle.options.redirect = `${circle.url}/demo.gguf`;
    expect((await failureOf(download(`${circle.url}/demo.gguf`, { cacheDir: cache() }))).message).toContain("circle");
    circle.options.redirect = "http://192.0.2.1/demo.gguf";
    expect((await failureOf(download(`${circle.url}/demo.gguf`, { cacheDir: cache() }))).message).toContain("https");
  });
});

describe("without a network", () => {
  test("nobody listens, or the name is not known", async () => {
    const server = await startModelServer({ content: demo });
    await server.close();
    const cacheDir = cache();
    const refused = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir }));
    expect(refused).toMatchObject({ code: "E_UNREACHABLE" });
    expect(refused.message).toContain("nothing listens there");
    const unknown = await failureOf(download("https://models.invalid/demo.gguf", { cacheDir }));
    expect(unknown).toMatchObject({ code: "E_UNREACHABLE" });
    expect(unknown.message).toMatch(/the name is not known|the name cannot be looked up now/);
    expect(filesIn(cacheDir)).toEqual([]);
  });

  test("what is there is used, unless it was changed since", async () => {
    const server = await startModelServer({ content: demo });
    const cacheDir = cache();
    const address = `${server.url}/demo.gguf`;
    const [file] = await download(address, { cacheDir });
    await server.close();
    expect(await download(address, { cacheDir })).toEqual([{ ...file, fetched: false }]);
    expect((await download(`${address}#sha256=${demoSum}`, { cacheDir }))[0].fetched).toBe(false);
    expect((await failureOf(download(`${address}#sha256=${"1".repeat(64)}`, { cacheDir }))).code).toBe("E_UNREACHABLE");
    utimesSync(file.path, 1, 1);
    expect((await failureOf(download(address, { cacheDir }))).code).toBe("E_UNREACHABLE");
  });
});

describe("Hugging Face", () => {
  const address = "hf:org/repo@v1/demo.gguf";

  test("its key and nobody else's word: the checksum comes from there, the bytes from elsewhere without the key", async () => {
    const elsewhere = await serverOf({
      etag: '"storage"',
      cuts: [300_000],
      headers: { "x-linked-etag": "0".repeat(64) },
    });
    const hub = await serverOf({
      redirect: `${elsewhere.url}/blob?sign=1`,
      headers: { "x-linked-etag": `"${demoSum}"`, "x-linked-size": String(demo.length) },
    });
    const cacheDir = cache();
    const [file] = await download(address, { cacheDir, token: "hf_secret" }, hub.url);
    expect(file).toMatchObject({ sha256: demoSum, checkedBy: "hugging-face" });
    expect(file.path).toBe(join(cacheDir, "models/hf/org/repo/v1/demo.gguf"));
    expect(hub.requests.map(({ path, headers }) => [path, headers.authorization])).toEqual([
      ["/org/repo/resolve/v1/demo.gguf", "Bearer hf_secret"],
      ["/org/repo/resolve/v1/demo.gguf", "Bearer hf_secret"],
    ]);
    expect(elsewhere.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined]);
    expect(elsewhere.requests[1]?.headers.range).toMatch(/^bytes=/);
  });

  test("bytes that are not those it names are deleted", async () => {
    const other = demo.slice().fill(7, demo.length - 100);
    const elsewhere = await serverOf({ content: other });
    const hub = await serverOf({ redirect: `${elsewhere.url}/blob`, headers: { "x-linked-etag": demoSum } });
    const cacheDir = cache();
    const failure = await failureOf(download(address, { cacheDir }, hub.url));
    expect(failure.message).toContain(`not ${demoSum}: it was deleted`);
    expect(filesIn(cacheDir)).toEqual([]);
    const given = await failureOf(download(`${address}#sha256=${sumOf(other)}`, { cacheDir }, hub.url));
    expect(given.message).toContain(`has the SHA-256 ${demoSum} there, not`);
  });

  test("says what is to be done where a key is needed, and where it does not help", async () => {
    const hub = await serverOf({ status: 401 });
    const without = await failureOf(download(address, { cacheDir: cache() }, hub.url));
    expect(without.message).toContain("set HF_TOKEN");
    hub.options.status = 403;
    const failure = await failureOf(download(address, { cacheDir: cache(), token: "hf_secret" }, hub.url));
    expect(failure.message).toContain("is not for the key in HF_TOKEN (status 403)");
    expect(failure.message).not.toContain("hf_secret");
  });

  test("all parts of a split model are fetched", async () => {
    const hub = await serverOf({ headers: { "x-linked-etag": demoSum } });
    const cacheDir = cache();
    const files = await download("hf:org/repo/big-00001-of-00003.gguf", { cacheDir }, hub.url);
    expect(files.map(({ path }) => path.slice(-24))).toEqual(
      ["big-00001-of-00003.gguf", "big-00002-of-00003.gguf", "big-00003-of-00003.gguf"].map((name) => `/${name}`),
    );
    expect(hub.requests).toHaveLength(3);
  });
});

describe("two at once", () => {
  test("one downloads, the other waits and finds it", async () => {
    const server = await serverOf({ stallAfter: 300_000 });
    const cacheDir = cache();
    const told: DownloadProgress[] = [];
    const address = `${server.url}/demo.gguf`;
    const both = await Promise.all([
      download(address, { cacheDir, stallMs: 500 }),
      download(address, { cacheDir, stallMs: 500, onProgress: (progress) => void told.push(progress) }),
    ]);
    expect(both.filter(([file]) => file.fetched)).toHaveLength(1);
    expect(both[0][0].path).toBe(both[1][0].path);
    expect(sumOf(readFileSync(both[0][0].path))).toBe(demoSum);
    // the one that broke off, and the one that went on
    expect(server.requests).toHaveLength(2);
    expect(filesIn(cacheDir)).toEqual(["demo.gguf", "demo.gguf.json"]);
  });

  test("what a dead process has left keeps nobody waiting", async () => {
    const server = await serverOf();
    const cacheDir = cache();
    const address = `${server.url}/demo.gguf`;
    const path = modelPath(cacheDir, modelSource(address).files[0].place);
    mkdirSync(dirname(path), { recursive: true });
    const { hostname } = await import("node:os");
    writeFileSync(`${path}.lock`, JSON.stringify({ id: "x", pid: 2 ** 30, machine: hostname() }));
    expect((await download(address, { cacheDir }))[0].fetched).toBe(true);
    rmSync(path);
    // of another machine, and silent for a minute
    writeFileSync(`${path}.lock`, JSON.stringify({ id: "x", pid: 1, machine: "another" }));
    utimesSync(`${path}.lock`, Date.now() / 1000 - 60, Date.now() / 1000 - 60);
    expect((await download(address, { cacheDir }))[0].fetched).toBe(true);
    expect(filesIn(cacheDir)).toEqual(["demo.gguf", "demo.gguf.json"]);
  });
});

describe("a disk", () => {
  test("that has too little room is said before the first byte is written", async () => {
    const server = await serverOf({ headers: { "content-length": String(10 ** 15) } });
    const cacheDir = cache();
    const failure = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir }));
    expect(failure.code).toBe("E_DISK");
    expect(failure.message).toMatch(/1000000\.0 GB are needed and [0-9.]+ [MG]B are free; --cache-dir names/);
    expect(filesIn(cacheDir)).toEqual([]);
  });

  test.skipIf(smallDiskMissing !== undefined)(
    "that is full in the midst of it keeps no half of it as whole",
    async () => {
      const disk = mountSmallDisk(400);
      cleanups.push(() => disk.unmount());
      const server = await serverOf({ withoutLength: true });
      const address = `${server.url}/demo.gguf#sha256=${demoSum}`;
      const failure = await failureOf(download(address, { cacheDir: disk.path }));
      expect(failure.code).toBe("E_DISK");
      expect(failure.message).toContain("its size is not told and 0.0 MB are free");
      expect(filesIn(disk.path)).toEqual(["demo.gguf.part", "demo.gguf.part.json"]);
      server.options.withoutLength = false;
      const known = await failureOf(download(address, { cacheDir: disk.path }));
      expect(known.message).toMatch(/0\.[0-9] MB are needed and 0\.0 MB are free/);
      expect(existsSync(modelPath(disk.path, modelSource(address).files[0].place))).toBe(false);
    },
  );

  test("that leads elsewhere by a link is not written to", async () => {
    const server = await serverOf();
    const [cacheDir, elsewhere] = [cache(), cache()];
    mkdirSync(join(cacheDir, "models"));
    symlinkSync(elsewhere, join(cacheDir, "models/url"));
    const failure = await failureOf(download(`${server.url}/demo.gguf`, { cacheDir }));
    expect(failure).toMatchObject({ code: "E_STATE" });
    expect(filesIn(elsewhere)).toEqual([]);
  });
});

/**
 * Words that stand in one prompt and its answer and nowhere else in the world, sent through two real nodes to a real
 * model: afterwards they are in no file, no output, no page and no variable, also when a process dies in mid-answer.
 * What remains in memory is looked for too, and only told: docs/hardening.md says what that is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bearer, readSession } from "../../src/node/session.ts";
import type { Status } from "../../src/node/status.ts";
import { found, type Way } from "../security/search.ts";
import { abortForCore, allowCores, doorsMissing } from "../support/doors.ts";
import { askRaw, errorEventOf, knowsModels, type RawReading, readRaw, reportOf } from "../support/e2e.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import {
  demoModel,
  eventually,
  isRunning,
  launchProcess,
  type NodeProcess,
  type ProcessOptions,
  type ReadyLine,
  startProcess,
  tempDir,
} from "../support/processes.ts";

const onLinux = process.platform === "linux";
/** Before a hardened process, only root can look into its /proc. */
const looksIntoProcesses = onLinux && process.getuid?.() === 0;
if (!looksIntoProcesses) console.warn("looks into processes for a prompt are skipped: they need Linux and root");

const startedMs = Date.now();
/** Larger files are models and programs, and not written by a node. */
const mostFileBytes = 2 ** 26;
/** Long enough never to be there by chance; of an answer that the model chose, so much is looked for at each end. */
const halfLength = 16;
const answerPiece = 24;

type LogFormat = "json" | "pretty";

/** New ones for every mesh. */
interface Canaries {
  readonly prompt: string;
  readonly system: string;
  /** Stands in the schema that the answer is held to, and so in the answer. */
  readonly answer: string;
}

function newCanaries(): Canaries {
  const one = (): string => randomBytes(halfLength).toString("hex");
  return { prompt: one(), system: one(), answer: one() };
}

function wordsOf({ prompt, system, answer }: Canaries): string[] {
  return [prompt, system, answer].flatMap(halves);
}

/** Each by itself, so that a line that was cut is found as well. */
function halves(canary: string): readonly [string, string] {
  return [canary.slice(0, halfLength), canary.slice(halfLength)];
}

// ---- a host with the embedded engine, and a client

interface Placed extends NodeProcess {
  /** Holds all directories that the process is told of: state, temporary files, home and working directory. */
  readonly place: string;
}

interface Mesh {
  readonly host: Placed;
  readonly client: Placed;
  /** Process of the host's engine. */
  readonly engine: number;
  readonly canaries: Canaries;
}

async function startMesh(model: string, format: LogFormat, ...hostFlags: readonly string[]): Promise<Mesh> {
  const host = await startPlaced(["serve", "--model", model, ...hostFlags], format);
  const client = await startPlaced(["client", "--join", host.ready.invite, "--require-encryption"], format);
  await knowsModels(client, basename(model, ".gguf"));
  return { host, client, engine: await enginePid(host), canaries: newCanaries() };
}

async function enginePid(host: NodeProcess): Promise<number> {
  const pid = (await host.status()).engines[0]?.pid;
  if (typeof pid !== "number") throw new Error("the engine has no process");
  return pid;
}

async function startPlaced(args: readonly string[], format: LogFormat): Promise<Placed> {
  const place = tempDir();
  const [data, tmp, home, cwd] = ["data", "tmp", "home", "cwd"].map((name) => {
    mkdirSync(join(place, name), { mode: 0o700 });
    return join(place, name);
  });
  const elsewhere = Object.keys(process.env).filter((variable) => variable.startsWith("XDG_"));
  const env = { ...Object.fromEntries(elsewhere.map((variable) => [variable, undefined])), TMPDIR: tmp, HOME: home };
  const words = [...args, "--data-dir", data ?? "", "--log-format", format];
  const options = { env, cwd: cwd ?? "" };
  const node = format === "json" ? await startProcess(words, options) : await startPretty(words, options);
  return Object.assign(node, { place });
}

/** What a program reads from the ready line, as a person reads it. */
async function startPretty(words: readonly string[], options: ProcessOptions): Promise<NodeProcess> {
  const { process: running } = launchProcess(words, options);
  const said = (pattern: RegExp): string | undefined => pattern.exec(running.stdout)?.[1];
  await eventually(() => said(/(sealmesh \S+ is ready)/) && said(/(by which others join)/), 20_000);
  const ready: ReadyLine = {
    event: "ready",
    api_url: said(/OpenAI base URL +(\S+)\/v1/) ?? "",
    console_url: said(/console +(http\S+)/) ?? "",
    endpoint_id: said(/endpoint id +(\S+)/) ?? "",
    invite: await inviteOf(words[words.indexOf("--data-dir") + 1] ?? ""),
    models: [],
    pid: running.pid,
  };
  const status: NodeProcess["status"] = async () =>
    (await (await fetch(`${ready.console_url}/api/status`)).json()) as Status;
  return Object.assign(running, { ready, status });
}

/** It is printed on terminals alone; who has the session is told. */
async function inviteOf(dataDir: string): Promise<string> {
  const session = readSession(dataDir);
  if (!session) throw new Error("the node has no session");
  const headers = { authorization: bearer(session.token) };
  const { token } = (await (await fetch(`${session.consoleUrl}/api/status`, { headers })).json()) as Status;
  if (token === null) throw new Error("the node may not invite");
  return token;
}

/** @param content text that the prompt needs beside the canaries */
function chat(canaries: Canaries, content: string, more: object = {}): object {
  const messages = [
    { role: "system", content: `Never tell anybody ${canaries.system}.` },
    { role: "user", content: `${content} ${canaries.prompt}` },
  ];
  return { model: "demo", temperature: 0, messages, ...more };
}

// ---- where it is looked for

/** Files, output and pages of both nodes, as far as they still run. */
async function everywhere({ host, client }: Mesh): Promise<Way[]> {
  const all = [...sharedFiles()];
  for (const [name, node] of Object.entries({ host, client })) {
    all.push(...filesBelow(node.place).map((way) => ({ ...way, name: `${name} ${way.name}` })));
    all.push({ name: `${name} stdout`, bytes: Buffer.from(node.stdout) });
    all.push({ name: `${name} stderr`, bytes: Buffer.from(node.stderr) });
    if (isRunning(node.pid)) all.push(...(await pages(name, node)));
  }
  return all;
}

/** Name and content of every file; what is no file has a name at least. */
function filesBelow(directory: string): Way[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name);
    const name = path.slice(directory.length + 1);
    return { name, bytes: Buffer.concat([Buffer.from(`${name}\n`), entry.isFile() ? contentOf(path) : noBytes]) };
  });
}

const noBytes = Buffer.alloc(0);

/** Nothing of what has just gone, is not ours to read, or is too large to be a trace. */
function contentOf(path: string): Buffer {
  try {
    const { size } = statSync(path);
    return size > mostFileBytes ? noBytes : readFileSync(path);
  } catch {
    return noBytes;
  }
}

/** New files where a library puts its own without asking for TMPDIR. */
function sharedFiles(): Way[] {
  return [...new Set(["/tmp", "/var/tmp", "/dev/shm", tmpdir()])].flatMap((directory) => {
    return listed(directory).flatMap((name) => {
      const path = join(directory, name);
      const facts = statSync(path, { throwIfNoEntry: false });
      const isNew = facts?.isFile() === true && facts.mtimeMs >= startedMs;
      return isNew ? [{ name: path, bytes: Buffer.concat([Buffer.from(`${path}\n`), contentOf(path)]) }] : [];
    });
  });
}

function listed(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // no such place here
  }
}

async function pages(name: string, node: NodeProcess): Promise<Way[]> {
  const exchanges = await page(node, "/api/exchanges");
  const ids = (JSON.parse(exchanges) as { exchanges: { id: string }[] }).exchanges.map(({ id }) => id);
  const paths = ["/api/status", "/metrics", ...ids.map((id) => `/api/exchanges/${id}`)];
  const texts = await Promise.all(paths.map(async (path) => [path, await page(node, path)] as const));
  return [["/api/exchanges", exchanges] as const, ...texts].map(([path, text]) => ({
    name: `${name} ${path}`,
    bytes: Buffer.from(text),
  }));
}

async function page(node: NodeProcess, path: string): Promise<string> {
  return await (await fetch(`${node.ready.console_url}${path}`)).text();
}

/** Variables and words of a process, and the files that it holds open, with those that have no name any more. */
function told(name: string, pid: number): Way[] {
  const facts = ["environ", "cmdline"].map((fact) => ({
    name: `${name} ${fact}`,
    bytes: readFileSync(`/proc/${pid}/${fact}`),
  }));
  const files = listed(`/proc/${pid}/fd`).flatMap((descriptor) => {
    const path = `/proc/${pid}/fd/${descriptor}`;
    const isFile = statSync(path, { throwIfNoEntry: false })?.isFile() === true;
    return isFile ? [{ name: `${name} open file ${descriptor}`, bytes: contentOf(path) }] : [];
  });
  return [...facts, ...files];
}

/** found(), also behind the escapes of JSON and of URLs. */
function traces(all: readonly Way[], words: readonly string[]): string[] {
  const plain = all.map(({ name, bytes }) => {
    const text = Buffer.from(bytes).toString("latin1");
    const unescaped = text
      .replace(/\\+u00([\da-f]{2})|%([\da-f]{2})/gi, (_, json: string | undefined, url: string | undefined) =>
        String.fromCharCode(Number.parseInt(json ?? url ?? "", 16)),
      )
      .replace(/\\(["\\/])/g, "$1");
    return { name: `${name}, unescaped`, bytes: unescaped === text ? noBytes : Buffer.from(unescaped, "latin1") };
  });
  return found([...all, ...plain], words);
}

/** Files that Node, the system or npm writes about the end of a process; not those of others in shared directories. */
function dumps(all: readonly Way[]): string[] {
  const pattern =
    /(^|[/ ])(core([.-]|$)|vgcore|report\.|isolate-|npm-debug)|heapsnapshot|cpuprofile|_logs|crash|\.dmp$/i;
  return all.map(({ name }) => name).filter((name) => !name.startsWith("/") && pattern.test(name));
}

// ---- after an exchange

describe.each(["json", "pretty"] as const)("after exchanges, with a log for %s", (format) => {
  let mesh: Mesh;
  let words: string[];

  beforeAll(async () => {
    mesh = await startMesh(demoModel, format);
    const { client, canaries } = mesh;
    const held = {
      type: "json_schema",
      json_schema: {
        name: "told",
        schema: {
          type: "object",
          properties: { word: { enum: [canaries.answer] } },
          required: ["word"],
          additionalProperties: false,
        },
      },
    };
    for (const stream of [false, true]) {
      const response = await askRaw(client, chat(canaries, "What is it?", { stream, response_format: held }));
      const text = await response.text();
      expect((stream ? textOf(text) : text).includes(canaries.answer)).toBe(true);
      expect(await reportOf(client, response)).toMatchObject({ sealed: "true", route: "direct", status: 200 });
    }
    const free = textOf(await (await askRaw(client, chat(canaries, "What is sealmesh?", { stream: true }))).text());
    expect(free.length).toBeGreaterThan(2 * answerPiece);
    // failures too: more than fits, and no request at all
    const overflow = await askRaw(client, chat(canaries, canaries.prompt.repeat(100)));
    const broken = await askRaw(client, `{"model":"demo","messages":[{"role":"user","content":"${canaries.prompt}"`);
    expect([overflow.status, broken.status]).toEqual([400, 400]);
    words = [...wordsOf(canaries), free.slice(0, answerPiece), free.slice(-answerPiece)];
  });
  afterAll(() => end(mesh));

  it("both nodes are as the product makes them", async () => {
    const { posture, hardening } = await mesh.host.status();
    expect(hardening.on).toBe(true);
    if (onLinux) expect(posture).toMatchObject({ engine: "embedded", says_hardened: true });
  });

  it("no file, no output and no page has any of it", async () => {
    const all = await everywhere(mesh);
    expect(traces(all, words)).toEqual([]);
    expect(dumps(all)).toEqual([]);
    // each kind of place was there and was read; only who asks has exchanges
    const kinds = ["host", "client"].flatMap((node) => {
      const ofNode = ["data/", "/api/status", "/api/exchanges", "/metrics"].map((kind) => `${node} ${kind}`);
      return node === "client" ? [...ofNode, "client /api/exchanges/"] : ofNode;
    });
    const isRead = (kind: string): boolean =>
      all.some(({ name, bytes }) => name.startsWith(kind) && bytes.length > name.length + kind.length);
    expect(kinds.filter((kind) => !isRead(kind))).toEqual([]);
    const log = format === "json" ? "stdout" : "stderr";
    expect(found(all, ["demo"])).toEqual(
      expect.arrayContaining([`host ${log}: demo as utf-8`, `client ${log}: demo as utf-8`]),
    );
  });

  it.skipIf(!looksIntoProcesses)("no variable, no word and no open file of the three processes has any of it", () => {
    const { host, client, engine } = mesh;
    const all = [...told("host", host.pid), ...told("client", client.pid), ...told("engine", engine)];
    expect(traces(all, words)).toEqual([]);
    expect(found(all, ["PATH=", "GGML_NO_BACKTRACE=", "serve", "llama-child"])).toEqual(
      expect.arrayContaining([
        "host environ: PATH= as utf-8",
        "client environ: PATH= as utf-8",
        "engine environ: GGML_NO_BACKTRACE= as utf-8",
        "host cmdline: serve as utf-8",
        "engine cmdline: llama-child as utf-8",
      ]),
    );
  });

  it.skipIf(!looksIntoProcesses)("what is left in memory is told", () => {
    const { host, client, engine, canaries } = mesh;
    const left = Object.entries({ host, client, engine: { pid: engine } }).map(([name, { pid }]) => {
      const times = Object.entries(canaries).map(([of, canary]) => `${of} ${timesInMemory(pid, canary as string)}`);
      return `${name}: ${times.join(", ")}`;
    });
    console.log(`copies in memory after the exchanges (${format}): ${left.join("; ")}`);
    // the search itself sees memory: what the engine was told to load stays there for as long as it runs
    expect(timesInMemory(engine, demoModel)).toBeGreaterThan(0);
  });
});

/** Every content of a streamed answer. */
function textOf(events: string): string {
  const pieces = events.matchAll(/"content":("(?:[^"\\]|\\.)*")/g);
  return [...pieces].map(([, text]) => JSON.parse(text ?? '""') as string).join("");
}

/** In what the process can write: copies as V8 keeps ASCII, and as it keeps other text. */
function timesInMemory(pid: number, word: string): number {
  const needles = [Buffer.from(word), Buffer.from(word, "utf16le")];
  const overlap = 2 * word.length - 1;
  const piece = Buffer.alloc(2 ** 22);
  const memory = openSync(`/proc/${pid}/mem`, "r");
  let times = 0;
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, "utf8").split("\n")) {
      const [, from = "0", to = "0"] = /^([\da-f]+)-([\da-f]+) rw/.exec(line) ?? [];
      const last = Number.parseInt(to, 16);
      let kept = 0;
      for (let at = Number.parseInt(from, 16); at < last;) {
        const length = readMemory(memory, piece, kept, Math.min(piece.length - kept, last - at), at);
        if (length === 0) break;
        const bytes = piece.subarray(0, kept + length);
        // what lies in the kept bytes alone was counted before
        for (const needle of needles) times += timesIn(bytes, needle, Math.max(0, kept - needle.length + 1));
        kept = Math.min(overlap, bytes.length);
        bytes.copyWithin(0, bytes.length - kept);
        at += length;
      }
    }
  } finally {
    closeSync(memory);
  }
  return times;
}

function readMemory(memory: number, into: Buffer, offset: number, length: number, at: number): number {
  try {
    return readSync(memory, into, offset, length, at);
  } catch {
    return 0; // gone since the list was read
  }
}

function timesIn(bytes: Buffer, needle: Buffer, from: number): number {
  let times = 0;
  for (let at = bytes.indexOf(needle, from); at !== -1; at = bytes.indexOf(needle, at + 1)) times += 1;
  return times;
}

// ---- a process that ends in mid-answer

describe("a process that dies in mid-answer", () => {
  let cores: ReturnType<typeof allowCores> | undefined;
  const endless = join(tempDir(), "demo.gguf");

  beforeAll(async () => {
    await writeRandomModel(endless, { contextLength: 8_192 });
    if (doorsMissing === undefined) cores = allowCores();
  });
  afterAll(() => cores?.restore());

  it.each([
    ["SIGABRT", "json"],
    ["SIGSEGV", "pretty"],
  ] as const)("leaves nothing: the engine by %s, then both nodes, with a log for %s", async (signal, format) => {
    const mesh = await startMesh(endless, format);
    const { host, client, engine } = mesh;
    const first = await inMidAnswer(mesh);
    process.kill(engine, signal);
    await first.end;
    expect(errorEventOf(first.text)).toMatchObject({ code: "engine_lost" });
    await eventually(() => /engine-down|is down/.test(host.stdout + host.stderr));
    await expectNothingLeft(mesh, first);

    await eventually(async () => (await enginePid(host).catch(() => engine)) !== engine);
    const again = await enginePid(host);
    const second = await inMidAnswer(mesh);
    const ends = await Promise.all([host.stop("SIGABRT"), client.stop("SIGABRT")]);
    expect(ends).toEqual(ends.map(() => ({ code: null, signal: "SIGABRT" })));
    expect(await second.end).toBe("broken off");
    await eventually(() => !isRunning(again));
    await expectNothingLeft(mesh, second);
  });

  it.skipIf(doorsMissing !== undefined)("and without hardening leaves the prompt in a core file", async () => {
    if (cores === undefined) throw new Error("no core files are collected");
    const mesh = await startMesh(endless, "json", "--no-hardening");
    await inMidAnswer(mesh);
    const core = await abortForCore(mesh.engine, mesh.canaries.prompt, cores.folder);
    expect(core).toEqual({ got: true, why: "a core file" });
    expect(dumps([...filesBelow(cores.folder)])).toEqual([`core.${mesh.engine}`]);
    await end(mesh);
  });

  /** Some of the answer has come, and most of it has not; an engine that has just begun may be given time. */
  async function inMidAnswer({ client, canaries }: Mesh): Promise<RawReading> {
    const body = chat(canaries, "What?", { stream: true, max_tokens: 8_000 });
    const response = await eventually(async () => {
      const answer = await askRaw(client, body);
      if (answer.ok) return answer;
      await answer.text();
      return undefined;
    });
    const reading = readRaw(response);
    await eventually(() => textOf(reading.text).length > 2 * answerPiece);
    return reading;
  }

  async function expectNothingLeft(mesh: Mesh, reading: RawReading): Promise<void> {
    const inCores = cores === undefined ? [] : filesBelow(cores.folder);
    const all = [...(await everywhere(mesh)), ...inCores];
    expect(traces(all, [...wordsOf(mesh.canaries), textOf(reading.text).slice(0, answerPiece)])).toEqual([]);
    expect(dumps(all)).toEqual([]);
    expect(inCores).toEqual([]);
  }
});

async function end({ host, client }: Pick<Mesh, "host" | "client">): Promise<void> {
  await Promise.all([host.kill(), client.kill()]);
}

// ---- the search finds what is there

describe("the search", () => {
  const canary = newCanaries().prompt;
  const [first, second] = halves(canary);
  const json = JSON.stringify({ messages: [{ content: canary }] });
  const escaped = Buffer.from(canary).toString("hex").replaceAll(/../g, "\\u00$&");
  const planted: Readonly<Record<string, string | Buffer>> = {
    text: `it was ${canary}.`,
    "the middle of bytes": Buffer.concat([randomBytes(50_000), Buffer.from(canary), randomBytes(50_000)]),
    JSON: json,
    "JSON in JSON": JSON.stringify({ body: json }),
    "escaped JSON": `{"content":"${escaped}"}`,
    "escaped JSON in JSON": JSON.stringify({ body: `{"content":"${escaped}"}` }),
    "a URL": `/?q=${Buffer.from(canary).toString("hex").replaceAll(/../g, "%$&")}`,
    hex: Buffer.from(json).toString("hex"),
    HEX: Buffer.from(json).toString("hex").toUpperCase(),
    base64: Buffer.from(`.${json}`).toString("base64"),
    "base64, one further": Buffer.from(`..${json}`).toString("base64"),
    base64url: Buffer.from(`...${json}`).toString("base64url"),
    "utf-16": Buffer.from(json, "utf16le"),
    "utf-16 BE": Buffer.from(json, "utf16le").swap16(),
    "utf-16 in base64": Buffer.from(json, "utf16le").toString("base64"),
  };

  it.each(Object.entries(planted))("finds it in a file, as %s", (_, content) => {
    const directory = tempDir();
    mkdirSync(join(directory, "data/deep/er"), { recursive: true });
    writeFileSync(join(directory, "data/deep/er/.hidden"), content);
    const finds = traces(filesBelow(directory), [first, second]);
    expect(finds.filter((find) => find.includes(first))).not.toEqual([]);
    expect(finds.filter((find) => find.includes(second))).not.toEqual([]);
  });

  it("finds half of it, and knows a name from a content", () => {
    const directory = tempDir();
    writeFileSync(join(directory, `${first}.tmp`), "");
    writeFileSync(join(directory, "cut"), canary.slice(0, -1));
    const finds = traces(filesBelow(directory), [first, second]).toSorted();
    expect(finds).toEqual([`${first}.tmp: ${first} as utf-8`, `cut: ${first} as utf-8`].toSorted());
  });

  it("finds it in the machine's own directory of temporary files", () => {
    const path = join(tmpdir(), `sealmesh-planted-${process.pid}`);
    writeFileSync(path, canary);
    try {
      expect(traces(sharedFiles(), [first])).toContain(`${path}: ${first} as utf-8`);
    } finally {
      rmSync(path);
    }
  });

  it("knows what is written about the end of a process by its name", () => {
    const directory = tempDir();
    mkdirSync(join(directory, "home/.npm/_logs"), { recursive: true });
    const files = ["core", "core.123", "report.20260101.1.0.001.json", "Heap.1.heapsnapshot", "isolate-0x1-v8.log"];
    files.push("home/.npm/_logs/1-debug-0.log");
    for (const name of files) writeFileSync(join(directory, name), "");
    writeFileSync(join(directory, "identity"), "");
    const found = dumps(filesBelow(directory));
    expect(found.filter((name) => name !== "home/.npm/_logs").toSorted()).toEqual(files.toSorted());
  });

  it.skipIf(!onLinux)("finds it in variables, words and a file without a name of a process", async () => {
    const path = join(tempDir(), "gone");
    const program = `
      const fs = require("node:fs");
      const file = fs.openSync(${JSON.stringify(path)}, "w+");
      fs.writeSync(file, process.env.PLANTED);
      fs.unlinkSync(${JSON.stringify(path)});
      process.stdout.write("ready");
      process.stdin.resume().once("end", () => process.exit());`;
    const child: ChildProcess = spawn(process.execPath, ["-e", program, canary], {
      env: { PLANTED: canary },
      stdio: ["pipe", "pipe", "inherit"],
    });
    try {
      await new Promise((resolve) => child.stdout?.once("data", resolve));
      const finds = traces(told("it", child.pid ?? 0), [first]).map((find) => find.replace(/\d+:/, "N:"));
      expect(new Set(finds)).toEqual(
        new Set([
          `it environ: ${first} as utf-8`,
          `it cmdline: ${first} as utf-8`,
          `it open file N: ${first} as utf-8`,
        ]),
      );
    } finally {
      child.kill("SIGKILL");
    }
  });
});

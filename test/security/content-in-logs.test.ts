/** Content ends in a log, a status page or a file; or the ways in which an envelope fails to open can be told apart. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { concat, toHex, utf8 } from "../../src/base/bytes.ts";
import type { Log } from "../../src/base/log.ts";
import { jsonLog, prettyLog } from "../../src/cli/log.ts";
import { printWaiting } from "../../src/cli/output.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { type Flags, resolveConfig } from "../../src/node/config.ts";
import { type Node, startNode } from "../../src/node/node.ts";
import type { TransportKind } from "../../src/transport/transport.ts";
import { encodeResponse, readRequest } from "../../src/tunnel/http.ts";
import { decodeInvite } from "../../src/wire/invite.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { type ScriptedEngine, type ScriptedFailure, startEngineServer } from "../support/engine-server.ts";
import { eventually, temporaryDirectory } from "../support/mesh.ts";
import {
  answerSealed,
  attackedMesh,
  type AttackedMesh,
  markedNonce,
  openAsk,
  openWith,
  type RawPeer,
  readAnswer,
  refusals,
  sealAsk,
  type SealedAsk,
  sendDirect,
} from "../support/raw-peer.ts";
import { formsIn } from "./search.ts";

/** Each stands in one kind of place only, so that a find says where it comes from. */
const marks = {
  prompt: "pipistrelle-prompt",
  answer: "capercaillie-answer",
  model: "whimbrel-model",
  path: "guillemot-path",
  query: "fulmar-query",
  header: "dotterel-header",
  key: "razorbill-field",
  broken: "kittiwake-broken-json",
  // words that could be codes
  engine: "turnstone_engine_error",
  host: "phalarope_host_error",
  engineKey: "sandgrouse-engine-key",
  peer: "bustard-from-a-peer",
} as const;

// ---- nodes whose log is what a person and a program would get

interface LoggedNode extends Node {
  readonly dataDir: string;
}

const nodes: LoggedNode[] = [];
let printed = "";

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop(0)));
  vi.restoreAllMocks();
  printed = "";
});

/** Every event in both formats, as the process would print it. */
function bothLogs(): Log {
  const keep = (text: string | Uint8Array): boolean => {
    printed += typeof text === "string" ? text : Buffer.from(text).toString("utf8");
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(keep);
  vi.spyOn(process.stderr, "write").mockImplementation(keep);
  const pretty = prettyLog();
  return {
    write(level, event) {
      jsonLog.write(level, event);
      printWaiting();
      pretty.write(level === "debug" ? "info" : level, event); // as with every level shown
    },
  };
}

async function start(network: TransportKind, mode: "serve" | "client", flags: Flags): Promise<LoggedNode> {
  const dataDir = temporaryDirectory();
  // peers that are played by hand have no credentials
  const usual = { port: "0", console: "0", bind: "127.0.0.1:0", dataDir, openMesh: true };
  const config = resolveConfig(mode, { ...usual, ...flags });
  const node = Object.assign(await startNode(config, { log: bothLogs(), transport: network }), { dataDir });
  nodes.push(node);
  return node;
}

/** Every page of the console, and every file of the state directory: by name and content. */
async function traces(node: LoggedNode): Promise<readonly (readonly [where: string, bytes: Uint8Array])[]> {
  const pages = ["/api/status", "/api/exchanges", "/metrics", "/"].map(async (path) => {
    const text = await (await fetch(`${node.consoleUrl}${path}`)).text();
    return [path, utf8(text)] as const;
  });
  const names = readdirSync(node.dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const files = names.map((entry) => {
    const path = join(entry.parentPath, entry.name);
    return [path, concat([utf8(`${path}\n`), readFileSync(path)])] as const;
  });
  return [...(await Promise.all(pages)), ...files];
}

async function findMarks(): Promise<string[]> {
  const all: (readonly [string, Uint8Array])[] = [["the log", utf8(printed)]];
  for (const node of nodes) all.push(...(await traces(node)));
  return all.flatMap(([where, bytes]) =>
    Object.values(marks).flatMap((mark) => formsIn(bytes, mark).map((form) => `${where}: ${mark} as ${form}`)),
  );
}

// ---- exchanges that end in every way

async function post(
  node: Node,
  body: unknown,
  path = "/v1/chat/completions",
): Promise<{ status: number; text: string }> {
  const answer = await fetch(node.apiUrl + path, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${marks.header}`, "x-mark": marks.header },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text().catch(() => "broken off");
  return { status: answer.status, text };
}

function prompt(more: object = {}): object {
  return { model: "scripted", messages: [{ role: "user", content: marks.prompt }], [marks.key]: 1, ...more };
}

const engineError = {
  message: `cannot do "${marks.prompt}" ${marks.engine}`,
  type: "server_error",
  code: marks.engine,
};
const overflow = {
  code: 400,
  type: "exceed_context_size_error",
  message: `the request "${marks.prompt}" exceeds the available context size ${marks.engine}`,
  n_prompt_tokens: 9_999,
  n_ctx: 4_096,
};

const failures: readonly (readonly [name: string, fail: ScriptedFailure, stream: boolean])[] = [
  ["500", { kind: "status", status: 500, body: { error: engineError } }, false],
  ["400", { kind: "status", status: 400, body: { error: engineError } }, false],
  ["401", { kind: "status", status: 401, body: { error: engineError } }, false],
  ["404", { kind: "status", status: 404, body: { error: engineError } }, false],
  ["413", { kind: "status", status: 413, body: { error: engineError } }, false],
  ["429", { kind: "status", status: 429, body: { error: engineError } }, true],
  ["501", { kind: "status", status: 501, body: { error: engineError } }, true],
  ["503", { kind: "status", status: 503, body: { error: engineError } }, false],
  ["overflow", { kind: "status", status: 400, body: { error: overflow } }, false],
  ["garbage", { kind: "status", status: 200, body: `<html>${marks.prompt} ${marks.engine}` }, false],
  ["a flat error", { kind: "status", status: 500, body: `{"error":"${marks.prompt} ${marks.engine}"}` }, false],
  ["an error event", { kind: "error-event", afterTokens: 1, error: engineError }, true],
  ["a named error event", { kind: "named-error-event", afterTokens: 1, error: engineError }, true],
  ["a cut", { kind: "cut", afterTokens: 1 }, true],
  ["a cut before the head", { kind: "cut", afterTokens: 0 }, false],
  ["no finish", { kind: "no-finish", afterTokens: 1 }, true],
];

async function ownCallers(client: Node, engine: ScriptedEngine): Promise<void> {
  for (const stream of [false, true]) {
    Object.assign(engine.options, { fail: undefined });
    expect((await post(client, prompt({ stream }))).text).toContain(marks.answer);
  }
  for (const [name, fail, stream] of failures) {
    Object.assign(engine.options, { fail });
    const { status, text } = await post(client, prompt({ stream }));
    expect(status === 200 && text.includes("[DONE]") && !text.includes("error"), name).toBe(false);
  }
  Object.assign(engine.options, { fail: undefined });
  const refused: readonly (readonly [number, unknown, string?])[] = [
    [404, prompt({ model: marks.model })],
    [400, `{"model":"scripted","messages":[{"content":"${marks.broken}`],
    [400, `"${marks.broken}"`],
    [400, prompt({ model: [marks.model] })],
    [404, prompt(), `/v1/${marks.path}?q=${marks.query}`],
  ];
  for (const [status, body, path] of refused) {
    const answer = await post(client, body, path);
    expect([answer.status, body, path]).toEqual([status, body, path]);
  }
  // wrong in a way that engines take differently
  for (const odd of [{ messages: marks.broken }, { max_tokens: marks.broken }, { stream: marks.broken }]) {
    await post(client, prompt(odd));
  }
}

describe("E8: no content in logs, status and files", () => {
  it.each(["direct", "relay"])("E8: of exchanges that work, and that fail in every way (%s)", async (route) => {
    const attacked = attackedMesh();
    const engine = await startEngineServer({ text: `${marks.answer} ends`, key: marks.engineKey });
    const engineKeyFile = join(temporaryDirectory(), "key");
    writeFileSync(engineKeyFile, marks.engineKey);
    const host = await start(attacked.network, "serve", { engine: [engine.url], engineKeyFile });
    const relay = await start(attacked.network, "client", { join: [host.invite()] });
    const client = await start(attacked.network, "client", { join: [relay.invite()], route });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    await ownCallers(client, engine);
    await ownCallers(host, engine);
    await fromPeers(attacked, host);
    expect(await findMarks()).toEqual([]);
    // the search sees what there is: exchanges of each kind, in both formats, and the pages
    for (const event of ["exchange-asked", "exchange-answered", "exchange-refused"]) expect(printed).toContain(event);
    for (const sentence of ["answered ", "refused an exchange of", "scripted: 200"])
      expect(printed).toContain(sentence);
    if (route === "relay") expect(printed).toContain("relay-carried");
    expect(formsIn(utf8(printed), "scripted")).toContain("utf-8");
    const [status] = await traces(host);
    expect(formsIn(status?.[1] ?? new Uint8Array(0), "scripted")).toContain("utf-8");
    await engine.close();
  });

  it.each(["sealing", "reference", "old"] as const)("E8: of what a %s host says when it refuses", async (kind) => {
    const attacked = attackedMesh();
    const host = await attacked.raw({ kind, role: "host", models: ["scripted"] });
    const client = await start(attacked.network, "client", { join: [host.invite] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const message = `"${marks.prompt}" is too long for the context ${marks.host}`;
    const bodies = [400, 404, 413, 422, 429, 500, 501, 503].flatMap((status) =>
      ["context_length_exceeded", "model_not_found", "rate_limit_exceeded", marks.host].map((code) => ({
        status,
        code,
      })),
    );
    for (const { status, code } of bodies) {
      const error = { message, type: marks.host, param: marks.host, code };
      const response = encodeResponse(status, { "content-type": "application/json" }, utf8(JSON.stringify({ error })));
      host.handlers.http = async (stream, reader) => {
        if (kind !== "old") return await answerSealed(stream, await openAsk(reader, host.key), response);
        await readRequest(reader);
        await stream.write(response);
        await stream.finish();
      };
      expect((await post(client, prompt())).status).toBeGreaterThanOrEqual(400);
    }
    // what is no answer at all
    for (const junk of [`HTTP/1.1 200 OK\r\n${marks.host}\r\n\r\n`, `HTTP/1.1 299 ${marks.host}\r\n\r\n`, marks.host]) {
      host.handlers.http = async (stream, reader) => {
        if (kind !== "old") return await answerSealed(stream, await openAsk(reader, host.key), utf8(junk));
        await readRequest(reader);
        await stream.write(utf8(junk));
        await stream.finish();
      };
      await post(client, prompt());
    }
    expect(await findMarks()).toEqual([]);
    expect(printed).toContain("exchange-asked");
  });
});

/** What a peer sends to a host that must refuse it, content in every part. */
async function fromPeers(attacked: AttackedMesh, host: LoggedNode): Promise<void> {
  const asker = await attacked.raw();
  const connection = await asker.meet(decodeInvite(host.invite()).address);
  const body = JSON.stringify({ model: "scripted", messages: [{ role: "user", content: marks.peer }] });
  for (const { bytes } of failing(asker, host, body)) {
    await (await sendDirect(connection, bytes)).read().catch(() => undefined);
  }
  // opened, and then no good
  for (const bad of [`{"${marks.peer}`, JSON.stringify({ model: marks.peer }), JSON.stringify(marks.peer)]) {
    const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { body: bad });
    expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBeGreaterThanOrEqual(400);
  }
  const path = `/v1/${marks.path}?${marks.query}`;
  const lost = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { body, path });
  expect((await readAnswer(await sendDirect(connection, lost.bytes), lost)).status).toBe(404);
  // in the clear, and no HTTP
  for (const text of [
    `GET /${marks.path} HTTP/9.9\r\n\r\n`,
    `${marks.peer}\r\n\r\n`,
    `POST / HTTP/1.1\r\n${marks.header}\r\n\r\n`,
  ]) {
    const stream = await openWith(connection, Uint8Array.of(meshStreams.http), utf8(text));
    await stream.finish();
    await stream.read().catch(() => undefined);
  }
}

// ---- openings that fail

const stranger = identityFrom(newIdentitySeed());

/** One envelope each, of much the same size; the replayed one has been answered before. */
function failing(
  asker: RawPeer,
  host: Node,
  body?: string,
  replayed?: SealedAsk,
): { name: string; bytes: Uint8Array }[] {
  const key = host.keys.current.publicKey;
  const said = body === undefined ? {} : { body };
  const seal = (request: Parameters<typeof sealAsk>[3]): Uint8Array =>
    sealAsk(asker.identity, host.endpointId, key, { ...said, ...request }).bytes;
  const good = seal({});
  const text = Buffer.from(good.subarray(1)).toString("utf8");
  const json = JSON.parse(text) as { ephemeral_public_key: string; ciphertext: string };
  const envelope = (change: object): Uint8Array =>
    concat([Uint8Array.of(0xe1), utf8(JSON.stringify({ model: "", ...json, ...change }))]);
  return [
    { name: "wrong key", bytes: sealAsk(asker.identity, host.endpointId, generateKeyPair().publicKey, said).bytes },
    { name: "wrong target", bytes: seal({ head: { to: stranger.id } }) },
    { name: "wrong asker", bytes: seal({ head: { from: stranger.id } }) },
    { name: "unmarked nonce", bytes: seal({ nonce: markedNonce().fill(0, 23) }) },
    { name: "no HTTP inside", bytes: seal({ plaintext: utf8("x".repeat(400)) }) },
    { name: "two lengths", bytes: seal({ headers: [["content-length", "3"]] }) },
    { name: "flipped bit", bytes: envelope({ ciphertext: flipped(json.ciphertext) }) },
    { name: "short box", bytes: envelope({ ciphertext: "AAAA" }) },
    { name: "no base64", bytes: envelope({ ciphertext: json.ciphertext.replace(/^..../, "----") }) },
    { name: "low order", bytes: envelope({ ephemeral_public_key: `${"A".repeat(43)}=` }) },
    { name: "short key", bytes: envelope({ ephemeral_public_key: "AAAA" }) },
    { name: "cut JSON", bytes: good.subarray(0, -10) },
    { name: "garbage", bytes: concat([Uint8Array.of(0xe1), markedNonce(), utf8("y".repeat(400))]) },
    { name: "nothing", bytes: Uint8Array.of(0xe1) },
    ...(replayed ? [{ name: "replay", bytes: replayed.bytes }] : []),
  ];
}

function flipped(base64: string): string {
  const bytes = Buffer.from(base64, "base64");
  bytes.writeUInt8(bytes.readUInt8(60) ^ 1, 60);
  return bytes.toString("base64");
}

describe("E8: openings that fail", () => {
  it("E8: end alike: one code, no byte of answer, and no time that tells them apart", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const replayed = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey);
    expect((await readAnswer(await sendDirect(connection, replayed.bytes), replayed)).status).toBe(200);

    const times = new Map<string, number[]>();
    const ends = new Set<string>();
    const rounds = 25;
    const before = asker.tapped.length;
    for (let round = 0; round < rounds; round += 1) {
      // in another order each time, so that none is always the first
      const all = failing(asker, host, undefined, replayed);
      const turned = [...all.slice(round % all.length), ...all.slice(0, round % all.length)];
      for (const { name, bytes } of turned) {
        const reader = await sendDirect(connection, bytes);
        const started = performance.now();
        const end = await reader.read().then(
          (read) => `bytes: ${toHex(read ?? new Uint8Array(0))}`,
          (thrown: Error) => thrown.message,
        );
        times.set(name, [...(times.get(name) ?? []), performance.now() - started]);
        ends.add(end);
      }
    }
    expect([...ends]).toEqual(["the peer aborted the stream (code 1)"]);
    expect(asker.tapped.slice(before).filter(({ direction }) => direction === "in")).toEqual([]);
    expect(refusals(host)).toHaveLength(rounds * times.size);
    // which it was stands in the host's own log
    expect(refusals(host)).toEqual(expect.arrayContaining(["E_OPEN", "E_WIRE", "E_REPLAY"]));

    // what is found out later takes longer: by a quarter of a millisecond, less than a network's own times vary
    const medians = [...times].map(([name, all]) => [name, all.toSorted((a, b) => a - b)[rounds >> 1] ?? 0] as const);
    const sorted = medians.map(([, ms]) => ms).toSorted((a, b) => a - b);
    expect((sorted.at(-1) ?? 0) - (sorted[0] ?? 0), JSON.stringify(medians)).toBeLessThan(3);
    await engine.close();
  });
});

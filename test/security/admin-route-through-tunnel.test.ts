/** A peer tries what a caller on the host's own machine may do: other routes, other methods, status, the console. */
import { describe, expect, it } from "vitest";
import { concat, latin1, utf8 } from "../../src/base/bytes.ts";
import { encodeRequest, readResponse } from "../../src/tunnel/http.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import type { Alpn } from "../../src/transport/transport.ts";
import { startEngineServer } from "../support/engine-server.ts";
import {
  asked,
  attackedMesh,
  openWith,
  type RawAnswer,
  type RawRequest,
  readAnswer,
  sealAsk,
  sendDirect,
} from "../support/raw-peer.ts";

async function scene() {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const host = await mesh.start("serve", { engine: [engine.url], headless: false, console: "0" });
  const attacker = await mesh.raw();
  const connection = await attacker.meet(host);
  const sealed = async (request: RawRequest): Promise<RawAnswer | undefined> => {
    const ask = sealAsk(attacker.identity, host.endpointId, host.keys.current.publicKey, request);
    return await readAnswer(await sendDirect(connection, ask.bytes), ask).catch(() => undefined);
  };
  return { mesh, engine, host, attacker, connection, sealed };
}

async function textOf(body: AsyncIterable<Uint8Array> | undefined): Promise<string> {
  const pieces: Uint8Array[] = [];
  for await (const piece of body ?? []) pieces.push(piece);
  return latin1(concat(pieces));
}

const forbidden: readonly [string, string][] = [
  ["GET", "/"],
  ["GET", "/api/status"],
  ["GET", "/api/status?x=/v1/models"],
  ["GET", "/v1/models/../../api/status"],
  ["GET", "/v1/models/..%2f..%2fapi%2fstatus"],
  ["GET", "/v1/../api/status"],
  ["GET", "//api/status"],
  ["GET", "/v1/models/%zz"],
  ["GET", "/api/events"],
  ["POST", "/api/runtime/models"],
  ["POST", "/mesh/load"],
  ["POST", "/mesh/drop"],
  ["POST", "/mesh/hook"],
  ["GET", "/metrics"],
  ["GET", "/healthz"],
  ["POST", "/v1/embeddings"],
  ["POST", "/v1/chat/completions/"],
  ["POST", "/V1/CHAT/COMPLETIONS"],
  ["GET", "/v1/chat/completions"],
  ["PUT", "/v1/chat/completions"],
  ["DELETE", "/v1/models/scripted"],
  ["OPTIONS", "/v1/chat/completions"],
  ["CONNECT", "/v1/chat/completions"],
  ["TRACE", "/v1/models"],
  ["post", "/v1/chat/completions"],
];

describe("E1: what a peer reaches", () => {
  it("E1: the models and chat of this machine, and nothing else, sealed or plain", async () => {
    const { engine, host, connection, sealed } = await scene();
    const { endpoint_id } = host.status();
    const token = host.invite();
    for (const [method, path] of forbidden) {
      const request = encodeRequest({ method, path, headers: [], body: utf8("{}") });
      const stream = await openWith(connection, Uint8Array.of(meshStreams.http), request);
      const plain = await readResponse(stream).catch(() => undefined);
      const answer = await sealed({ method, path, body: "{}" });
      for (const status of [plain?.status, answer?.status]) {
        expect(status === undefined || status >= 400, `${method} ${path}: ${status}`).toBe(true);
      }
      for (const text of [answer?.text ?? "", await textOf(plain?.body)]) {
        expect(text).not.toContain(token);
        expect(text).not.toContain(endpoint_id);
      }
      stream.abort();
    }
    expect(asked(engine)).toHaveLength(0);
    const models = await sealed({ method: "GET", path: "/v1/models", body: "" });
    expect(JSON.parse(models?.text ?? "")).toMatchObject({ data: [{ id: "scripted" }] });
    expect((await sealed({}))?.status).toBe(200);
    // the same routes are there for a caller on this machine
    expect((await fetch(`${host.consoleUrl}/api/status`)).status).toBe(200);
    await engine.close();
  });

  it("E1: no header of a peer passes but content-type and accept, and none that speaks for the host comes back", async () => {
    const { engine, sealed } = await scene();
    const headers = [
      ["authorization", "Bearer stolen"],
      ["cookie", "a=b"],
      ["x-forwarded-for", "127.0.0.1"],
      ["origin", "https://evil.example"],
      ["expect", "100-continue"],
      ["upgrade", "websocket"],
      ["x-anything", "1"],
    ] as const;
    const answer = await sealed({ headers });
    expect(answer?.status).toBe(200);
    const [seen] = asked(engine);
    for (const [name] of headers) expect(seen?.headers[name]).toBeUndefined();
    const back = Object.keys(answer?.headers ?? {});
    expect(back.filter((name) => /^(x-sealmesh-|access-control-|set-cookie|x-request-id)/.test(name))).toEqual([]);
    await engine.close();
  });

  it("E1: a second request behind the first inside one envelope is not served", async () => {
    const { engine, sealed } = await scene();
    const body = JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "one" }] });
    const one = encodeRequest({ method: "POST", path: "/v1/chat/completions", headers: [], body: utf8(body) });
    const two = encodeRequest({ method: "POST", path: "/v1/chat/completions", headers: [], body: utf8(body) });
    const plaintext = new Uint8Array([...one, ...two]);
    await sealed({ plaintext });
    expect(asked(engine).length).toBeLessThanOrEqual(1);
    await engine.close();
  });

  it("E1: stage control is not offered, retired and foreign streams are dropped, and the node lives on", async () => {
    const { mesh, engine, host, attacker, connection, sealed } = await scene();
    await expect(attacker.dial(host, "skippy-stage/1" as Alpn)).rejects.toMatchObject({ code: "E_UNREACHABLE" });
    for (const type of [0x02, 0x03, 0x06, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0xff]) {
      const stream = await openWith(connection, Uint8Array.of(type), new Uint8Array(64));
      await stream.read().catch(() => undefined);
    }
    expect((await sealed({}))?.status).toBe(200);
    // before gossip nothing but gossip: a stranger gets no answer at all
    const stranger = await mesh.raw();
    const unmet = await stranger.dial(host, "mesh-llm/1");
    const ask = sealAsk(stranger.identity, host.endpointId, host.keys.current.publicKey);
    await expect((await sendDirect(unmet, ask.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    const relay = await stranger.dial(host, "sealmesh/1");
    for (const type of [0x01, 0x02, 0x03]) {
      const stream = await openWith(relay, Uint8Array.of(type), new Uint8Array(8));
      await expect(stream.read()).rejects.toMatchObject({ code: "E_ABORTED" });
    }
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });
});

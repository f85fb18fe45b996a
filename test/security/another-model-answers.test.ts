/** A model is asked for that nobody serves, or no longer, and another one answers in its place. */
import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { encodeRequest, encodeResponse, readResponse } from "../../src/tunnel/http.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  answerSealed,
  asked,
  attackedMesh,
  call,
  clientOf,
  openAsk,
  openWith,
  prompt,
  type RawPeer,
  readAnswer,
  sealAsk,
  sendDirect,
  sendRelayed,
} from "../support/raw-peer.ts";

/** Names close to "scripted", and some that other programs take as "whatever there is". */
const otherNames = [
  "script",
  "scripted2",
  "Scripted",
  "scripted:latest",
  " scripted",
  "scripted\u0000",
  "default",
  "*",
  "gpt-4o",
];

describe("I5: at the client's node", () => {
  it.each(otherNames)("I5: %j is not found, and nobody is asked", async (model) => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({});
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    for (const node of [client, host]) {
      for (const stream of [false, true]) {
        const answer = await call(node, prompt({ model, stream }));
        expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
        expect(answer.headers.get("x-should-retry")).toBe("false");
      }
      const shown = await fetch(`${node.apiUrl}/v1/models/${encodeURIComponent(model)}`);
      expect(shown.status).toBe(404);
    }
    expect(asked(engine)).toHaveLength(0);
    const fromPeers = host.events.filter(({ event }) => event === "exchange-answered" || event === "exchange-refused");
    expect(fromPeers).toEqual([]);
    await engine.close();
  });
});

interface Refused {
  readonly status: number;
  readonly text: string;
}

/** The same question in each way that a peer has: sealed, sealed through a relay, in the clear. */
async function askEachWay(host: TestNode, asker: RawPeer, model: string): Promise<readonly Refused[]> {
  const connection = await asker.meet(host);
  const body = JSON.stringify(prompt({ model }));
  const key = host.keys.current.publicKey;
  const direct = sealAsk(asker.identity, host.endpointId, key, { body });
  const relayed = sealAsk(asker.identity, host.endpointId, key, { body }, true);
  const headers = [["content-type", "application/json"]] as const;
  const request = encodeRequest({ method: "POST", path: "/v1/chat/completions", headers, body: utf8(body) });
  const plain = await readResponse(await openWith(connection, Uint8Array.of(meshStreams.http), request));
  let text = "";
  for await (const part of plain.body) text += fromUtf8(part);
  return [
    await readAnswer(await sendDirect(connection, direct.bytes), direct),
    await readAnswer(await sendRelayed(await asker.dial(host, "sealmesh/1"), relayed.bytes), relayed),
    { status: plain.status, text },
  ];
}

function expectNotServed(answers: readonly Refused[]): void {
  for (const { status, text } of answers) {
    expect(status).toBe(404);
    expect((JSON.parse(text) as { error: object }).error).toMatchObject({ code: "model_not_found", param: "model" });
  }
}

describe("I5: at the host", () => {
  it("I5: a host of one model, whose engine would answer any name, refuses every other name", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    for (const model of ["other", "Scripted", "scripted:latest"]) expectNotServed(await askEachWay(host, asker, model));
    expect(asked(engine)).toHaveLength(0);
    // the engine itself takes any name
    const bare = await fetch(`${engine.url}/chat/completions`, {
      method: "POST",
      body: JSON.stringify(prompt({ model: "other" })),
    });
    expect([bare.status, asked(engine).length]).toEqual([200, 1]);
    expect((await askEachWay(host, asker, "scripted")).map(({ status }) => status)).toEqual([200, 200, 200]);
    await engine.close();
  });

  it("I5: a model that the engine has dropped is refused, although the engine would answer with what it has", async () => {
    const mesh = attackedMesh();
    const engine: ScriptedEngine = await startEngineServer({ models: ["first", "second"], text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows both", () => client.models().length === 2);
    Object.assign(engine.options, { models: ["second"] });
    await eventually("the host has seen it", () => !host.models().includes("first"), 9_000);
    expectNotServed(await askEachWay(host, await mesh.raw(), "first"));
    await eventually("the client has heard of it", () => !client.models().includes("first"));
    const answer = await call(client, prompt({ model: "first" }));
    expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
    expect(asked(engine)).toHaveLength(0);
    await engine.close();
  });

  it("I5: what a client has not heard of yet, its host says: the caller gets that 404", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["gone", "scripted"] });
    const error = { message: 'the model "gone" is not served here', type: "invalid_request_error", param: "model" };
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      expect(JSON.parse(fromUtf8(exchange.request.body))).toMatchObject({ model: "gone" });
      const body = utf8(JSON.stringify({ error: { ...error, code: "model_not_found" } }));
      await answerSealed(stream, exchange, encodeResponse(404, { "content-type": "application/json" }, body));
    };
    const answer = await call(await clientOf(mesh, [host]), prompt({ model: "gone" }));
    expect([answer.status, answer.code]).toEqual([404, "model_not_found"]);
    expect(answer.message).toContain("not served here");
    expect(host.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(1);
  });

  it("I5: an answer names the host that gave it and the model that was asked for", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ models: ["org/first:Q4", "second"], text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows both", () => client.models().length === 2);
    for (const node of [client, host]) {
      for (const model of ["org/first:Q4", "second"]) {
        for (const stream of [false, true]) {
          const answer = await call(node, prompt({ model, stream }));
          expect([answer.status, answer.headers.get("x-sealmesh-host")]).toEqual([200, host.endpointId]);
          // the engine calls it by the path of a file
          const named = [...answer.text.matchAll(/"model":"([^"]*)"/g)].map(([, name]) => name);
          expect([...new Set(named)]).toEqual([model]);
          expect(asked(engine).at(-1)?.body).toContain(`"model":"${model}"`);
        }
      }
    }
    await engine.close();
  });
});

/** A host is asked for a model that only another host has: it must not pass the opened request on. */
import { describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually } from "../support/mesh.ts";
import {
  asked,
  attackedMesh,
  call,
  openRelay,
  openWith,
  prompt,
  readAnswer,
  sealAsk,
  sendDirect,
} from "../support/raw-peer.ts";
import { readResponse } from "../../src/tunnel/http.ts";
import { encodeRequest } from "../../src/tunnel/http.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";
import { relayCodes } from "../../src/wire/relay.ts";

describe("D5: an opened request stays where it was opened", () => {
  it("D5: a node without the model answers 404 to a peer, although it would ask another host for its own callers", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const middle = await mesh.start("serve", { join: [host.invite()] });
    await eventually("the middle knows the model", () => middle.models().includes("scripted"));
    const asker = await mesh.raw();
    const connection = await asker.meet(middle);

    const ask = sealAsk(asker.identity, middle.endpointId, middle.keys.current.publicKey);
    const sealed = await readAnswer(await sendDirect(connection, ask.bytes), ask);
    expect(sealed.status).toBe(404);
    expect(sealed.text).toContain("model_not_found");
    expect(sealed.text).toContain("not served here");

    const body = utf8(JSON.stringify(prompt()));
    const request = encodeRequest({ method: "POST", path: "/v1/chat/completions", headers: [], body });
    const plain = await readResponse(await openWith(connection, Uint8Array.of(meshStreams.http), request));
    expect(plain.status).toBe(404);

    expect(asked(engine)).toHaveLength(0);
    expect((await call(middle)).content).toBe("fine");
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });

  it("D5: a peer sees only the models of the node that it asks", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({});
    const host = await mesh.start("serve", { engine: [engine.url] });
    const middle = await mesh.start("serve", { join: [host.invite()] });
    await eventually("the middle knows the model", () => middle.models().includes("scripted"));
    const asker = await mesh.raw();
    const models = async (path: string): Promise<string> => {
      const request = { method: "GET", path, body: "" };
      const ask = sealAsk(asker.identity, middle.endpointId, middle.keys.current.publicKey, request);
      return (await readAnswer(await sendDirect(await asker.meet(middle), ask.bytes), ask)).text;
    };
    expect(JSON.parse(await models("/v1/models"))).toMatchObject({ data: [] });
    expect(await models("/v1/models/scripted")).toContain("model_not_found");
    await engine.close();
  });

  it("D5: sealed bytes pass two relays, not three", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({});
    const host = await mesh.start("serve", { engine: [engine.url] });
    const relay = await mesh.start("client", { join: [host.invite()] });
    await eventually("the relay knows the host", () => relay.models().includes("scripted"));
    const asker = await mesh.raw();
    await asker.meet(relay);
    const connection = await asker.dial(relay, "sealmesh/1");
    for (const hops of [2, 3, 255]) {
      expect((await openRelay(connection, host.endpointId, hops)).code).toBe(relayCodes.refused);
    }
    expect((await openRelay(connection, host.endpointId, 0)).code).toBe(relayCodes.ok);
    await engine.close();
  });
});

/** `mesh_hooks` lets a host show parts of a prompt to third nodes in the clear: it must not leave, and must not arrive. */
import { describe, expect, it } from "vitest";
import { fromUtf8 } from "../../src/base/bytes.ts";
import { readRequest } from "../../src/tunnel/http.ts";
import { startEngineServer } from "../support/engine-server.ts";
import {
  answerSealed,
  asked,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  prompt,
  readAnswer,
  sealAsk,
  secret,
  sendDirect,
} from "../support/raw-peer.ts";

describe("D4: mesh_hooks", () => {
  it("D4: are taken out when asking a host that seals", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const bodies: string[] = [];
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      bodies.push(fromUtf8(exchange.request.body));
      await answerSealed(stream, exchange, chatResponse("fine"));
    };
    const client = await clientOf(mesh, [host]);
    expect((await call(client, prompt({ mesh_hooks: true }))).content).toBe("fine");
    expect((await call(client, prompt({ mesh_hooks: { deep: true } }))).content).toBe("fine");
    expect(bodies.map((body) => JSON.parse(body) as object)).toEqual([prompt(), prompt()]);
  });

  it("D4: are taken out when asking in the clear", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    const bodies: string[] = [];
    host.handlers.http = async (stream, reader) => {
      bodies.push(fromUtf8((await readRequest(reader)).body));
      await stream.write(chatResponse("fine"));
      await stream.finish();
    };
    const client = await clientOf(mesh, [host]);
    expect((await call(client, prompt({ mesh_hooks: true }))).content).toBe("fine");
    expect(bodies).toEqual([JSON.stringify(prompt())]);
  });

  it("D4: are taken out when answering, however they are spelled", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const words = JSON.stringify(prompt()).slice(1);
    for (const body of [`{"mesh_hooks":true,${words}`, `{"mesh\\u005fhooks":true,"mesh_hooks":1,${words}`]) {
      const ask = sealAsk(asker.identity, host.endpointId, host.keys.current.publicKey, { body });
      expect((await readAnswer(await sendDirect(connection, ask.bytes), ask)).status).toBe(200);
    }
    expect(asked(engine)).toHaveLength(2);
    for (const { body } of asked(engine)) {
      expect(body).toContain(secret);
      expect(body).not.toMatch(/hooks/);
    }
    await engine.close();
  });

  it("D4: `auto` is not sent on for a host to resolve", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const bodies: string[] = [];
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      bodies.push(fromUtf8(exchange.request.body));
      await answerSealed(stream, exchange, chatResponse("fine"));
    };
    const client = await clientOf(mesh, [host]);
    expect((await call(client, prompt({ model: "" }))).status).toBe(400);
    expect(host.opened).not.toContain("mesh-llm/1 4");
    expect((await call(client, prompt({ model: "auto", mesh_hooks: true }))).content).toBe("fine");
    expect(bodies.map((body) => JSON.parse(body) as object)).toEqual([prompt()]);
  });
});

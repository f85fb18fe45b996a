/** What keeps a node from starting, and what goes wrong inside one. */
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { tapTransport } from "../../src/transport/tap.ts";
import type { TransportKind } from "../../src/transport/transport.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { codeOf } from "../support/expect-code.ts";
import { expectLogged, expectRow } from "../support/expect-row.ts";
import { eventually, temporaryDirectory, testMesh } from "../support/mesh.ts";
import { startModelServer } from "../support/model-server.ts";
import { call, prompt } from "../support/raw-peer.ts";

const outcome = (started: Promise<unknown>): Promise<string> => started.then(() => "started", codeOf);

describe("a node does not start", () => {
  it("E_USAGE: a flag that does not take this", async () => {
    expect(await outcome(testMesh().start("client", { route: "sideways" }))).toBe("E_USAGE");
  });

  it("E_CONFIG: a setting that names what is not there", async () => {
    const engineKeyFile = join(temporaryDirectory(), "missing");
    expect(await outcome(testMesh().start("serve", { engineKeyFile }))).toBe("E_CONFIG");
  });

  it("E_STATE: a data directory that others can write", async () => {
    const dataDir = temporaryDirectory();
    await (await testMesh().start("client", { dataDir })).stop(0);
    chmodSync(dataDir, 0o770);
    expect(await outcome(testMesh().start("client", { dataDir }))).toBe("E_STATE");
  });

  it("E_DISK: a model that is larger than the disk", async () => {
    const headers = { "content-length": String(9e14) };
    const server = await startModelServer({ content: Uint8Array.from([0x47]), headers });
    const flags = { model: [`${server.url}/large.gguf`], cacheDir: temporaryDirectory() };
    expect(await outcome(testMesh().start("serve", flags))).toBe("E_DISK");
    await server.close();
  });

  it("E_PORT: another program has the port", async () => {
    const { port } = new URL((await testMesh().start("client")).apiUrl);
    expect(await outcome(testMesh().start("client", { port }))).toBe("E_PORT");
  });

  it("E_INVITE: half of an invite", async () => {
    const invite = (await testMesh().start("client")).invite();
    const half = invite.slice(0, invite.length / 2);
    expect(await outcome(testMesh().start("client", { join: [half] }))).toBe("E_INVITE");
  });
});

describe("a node that runs", () => {
  it("E_CLOSED: it stops without waiting for the answer that runs", async () => {
    const engine = await startEngineServer({ fail: { kind: "hang" } });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const running = call(node);
    await eventually("the engine works", () => engine.running === 1);
    await node.stop(0);
    expectRow(await running, "E_CLOSED");
    expectLogged(node, "E_CLOSED");
    await engine.close();
  });

  it("E_BUG: a fault of ours tells its words to the log's reader alone", async () => {
    const engine = await startEngineServer();
    const network = memoryNetwork();
    const mesh = testMesh();
    const host = await mesh.start("serve", { engine: [engine.url] }, network);
    let broken = false;
    const faulty: TransportKind = {
      ...network,
      start: async (options) =>
        tapTransport(await network.start(options), () => {
          if (broken) throw new TypeError("a fault in /home/otter/tap.ts");
        }),
    };
    const client = await mesh.start("client", { join: [host.invite()] }, faulty);
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    broken = true;
    const answer = await call(client, prompt());
    broken = false;
    expectRow(answer, "E_BUG");
    expect(answer.message).toContain(answer.headers.get("x-request-id"));
    expect(answer.text).not.toContain("/home");
    expectLogged(client, "E_BUG");
    await engine.close();
  });
});

/** A host answers a sealed request in the clear, as the first draft of the protocol allowed. */
import { describe, expect, it } from "vitest";
import { utf8 } from "../../src/base/bytes.ts";
import { startEngineServer } from "../support/engine-server.ts";
import {
  asked,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  outcomes,
  relayedMesh,
  secret,
} from "../support/raw-peer.ts";

describe("D6: a plaintext reply to a sealed request", () => {
  it.each(["sealing", "reference"] as const)("D6: from a %s host: E_WIRE, nothing of it is shown", async (kind) => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind, role: "host", models: ["scripted"] });
    const old = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) => {
      await openAsk(reader, host.key);
      await stream.write(chatResponse("in the clear"));
      await stream.finish();
    };
    const client = await clientOf(mesh, [host, old]);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "protocol_error"]);
    expect(answer.text).not.toContain("in the clear");
    expect(outcomes(client)).toEqual(["E_WIRE"]);
    // the request was sent once, and in the clear to nobody
    expect(host.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(1);
    expect(old.opened).not.toContain("mesh-llm/1 4");
    expect(host.couldRead(secret) || old.couldRead(secret)).toBe(false);
  });

  it("D6: from a relay: refused; and what is no envelope does not pass a relay of ours in either direction", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const { client, relay, relayOptions } = await relayedMesh(mesh, engine.url);
    relayOptions.change = async function* () {
      yield utf8("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
    };
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "protocol_error"]);
    relayOptions.change = undefined;
    expect((await call(client)).content).toBe("fine");
    expect(relay.couldRead(secret)).toBe(false);
    expect(asked(engine).length).toBeLessThanOrEqual(2);
    await engine.close();
  });

  it("D6: a host that answers 400 like a node that does not know envelopes is not asked again in the clear", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    host.handlers.http = async (stream, reader) => {
      await reader.readAll(1_000_000, "whatever came");
      await stream.write(utf8('HTTP/1.1 400 Bad Request\r\ncontent-length: 17\r\n\r\n{"error":"parse"}'));
      await stream.finish();
    };
    const client = await clientOf(mesh, [host]);
    for (let round = 0; round < 3; round += 1) expect((await call(client)).code).toBe("protocol_error");
    expect(host.couldRead(secret)).toBe(false);
    for (const bytes of host.incoming.filter(([type]) => type === 0x04)) expect(bytes[1]).toBe(0xe1);
  });
});

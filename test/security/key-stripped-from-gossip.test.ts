/** Somebody makes it look as if a host had no inference key, so that the prompt travels in the clear. */
import { rmSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode, temporaryDirectory } from "../support/mesh.ts";
import { readRequest } from "../../src/tunnel/http.ts";
import {
  answerSealed,
  attackedMesh,
  call,
  chatResponse,
  openAsk,
  type RawHandler,
  type RawPeer,
  relayedMesh,
  secret,
} from "../support/raw-peer.ts";

const plainAnswer: RawHandler = async (stream, reader) => {
  await readRequest(reader);
  await stream.write(chatResponse("in the clear"));
  await stream.finish();
};

async function refusedAs(client: TestNode, host: RawPeer): Promise<void> {
  const opened = host.opened.filter((stream) => stream === "mesh-llm/1 4").length;
  const answer = await call(client);
  expect([answer.status, answer.code]).toEqual([503, "refused"]);
  expect(answer.headers.get("x-should-retry")).toBe("false");
  expect(answer.message).toContain("key-withheld");
  expect(host.opened.filter((stream) => stream === "mesh-llm/1 4")).toHaveLength(opened);
  expect(host.couldRead(secret)).toBe(false);
}

describe("D2: a key is stripped", () => {
  it("D2: a third node leaves key and record out of its gossip: the client goes on sealing", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const client = await mesh.start("client", { join: [host.invite()] });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const attacker = await mesh.raw();
    await attacker.meet(host);
    const stripped = { ...attacker.entryOf(host.endpointId), inferenceKey: undefined, record: undefined };
    attacker.announcements = () => [stripped, attacker.own({ hostname: "stripped" })];
    await attacker.meet(client);
    await eventually("the lie has arrived", () =>
      client.status().peers.some(({ hostname }) => hostname === "stripped"),
    );
    const answer = await call(client);
    expect([answer.content, answer.headers.get("x-sealmesh-sealed")]).toEqual(["fine", "true"]);
    expect(attacker.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("D2: the relay itself strips them later: what the owner signed still holds", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relay } = await relayedMesh(attackedMesh(), engine.url);
    const stripped = { ...relay.entryOf(host.endpointId), inferenceKey: undefined, record: undefined };
    relay.announcements = () => [stripped, relay.own({ hostname: "stripped" })];
    await relay.meet(client);
    await eventually("the lie has arrived", () =>
      client.status().peers.some(({ hostname }) => hostname === "stripped"),
    );
    expect((await call(client)).content).toBe("fine");
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it.each(["sealing", "reference"] as const)(
    "D2: a %s host that comes back without its key is refused, also after the client has started anew",
    async (kind) => {
      const mesh = attackedMesh();
      const host = await mesh.raw({ kind, role: "host", models: ["scripted"] });
      host.handlers.http = async (stream, reader) =>
        await answerSealed(stream, await openAsk(reader, host.key), chatResponse("fine"));
      const dataDir = temporaryDirectory();
      const first = await mesh.start("client", { join: [host.invite], dataDir });
      await eventually("the client knows the model", () => first.models().includes("scripted"));
      expect((await call(first)).content).toBe("fine");
      // the same identity, without any key
      host.handlers.http = plainAnswer;
      host.announcements = () => [host.own({ inferenceKey: undefined, record: undefined, hostname: "bare" })];
      await host.meet(first);
      await eventually("the new entry has arrived", () => first.status().peers[0]?.hostname === "bare");
      if (kind === "reference") await refusedAs(first, host);
      await first.stop(0);
      rmSync(`${dataDir}/known-members.json`); // what it signed before has ended by now
      const second = await mesh.start("client", { join: [host.invite], dataDir });
      await eventually("the client knows the model", () => second.models().includes("scripted"));
      await refusedAs(second, host);
      // a client that never saw the key has nothing to hold against it: the memory is what refuses
      const other = await mesh.start("client", { join: [host.invite] });
      await eventually("the client knows the model", () => other.models().includes("scripted"));
      expect((await call(other)).content).toBe("in the clear");
      expect(host.couldRead(secret)).toBe(true);
    },
  );

  it("D2: a record that came by hearsay counts as shown, also after a restart", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const teller = await mesh.raw();
    teller.announcements = () => [host.own(), teller.own()];
    const dataDir = temporaryDirectory();
    const first = await mesh.start("client", { join: [teller.invite], route: "relay", dataDir });
    await eventually("the client knows the model", () => first.models().includes("scripted"));
    await first.stop(0);
    host.handlers.http = plainAnswer;
    host.announcements = () => [host.own({ inferenceKey: undefined, record: undefined })];
    const second = await mesh.start("client", { join: [host.invite], dataDir });
    await eventually("the client knows the model", () => second.models().includes("scripted"));
    await refusedAs(second, host);
  });

  it("D2: a key that appears between the decision and the sending stops a plain request", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    host.handlers.http = plainAnswer;
    const client = await mesh.start("client");
    const connection = await host.meet(client);
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    expect((await call(client)).content).toBe("in the clear");
    // it restarts as a node that seals; the client learns of it on the very connection that it makes to ask
    const readable = host.tapped.length;
    const key = host.own().inferenceKey;
    expect(key).toBeUndefined();
    host.announcements = () => [host.own({ record: host.record().bytes })];
    connection.close();
    const answer = await call(client, {
      model: "scripted",
      messages: [{ role: "user", content: "only for the new key" }],
    });
    expect(answer.status).not.toBe(200);
    expect(host.tapped.length).toBeGreaterThan(readable);
    expect(host.couldRead("only for the new key")).toBe(false);
  });

  it("D2: a client whose memory of shown keys is damaged does not start", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const dataDir = temporaryDirectory();
    const client = await mesh.start("client", { join: [host.invite], dataDir });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    await client.stop(0);
    const { readFileSync, writeFileSync } = await import("node:fs");
    const path = `${dataDir}/shown-keys.json`;
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual({ [host.id]: "record" });
    writeFileSync(path, "{", { mode: 0o600 });
    await expect(mesh.start("client", { join: [host.invite], dataDir })).rejects.toMatchObject({ code: "E_STATE" });
  });
});

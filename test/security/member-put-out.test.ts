/**
 * A member is put out while it is connected, by its invite being taken back: everybody drops it within seconds, with all whom it
 * has invited; it cannot ask any more, directly or through relays, and what it was being answered is broken off.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { admit, closedMesh, inviteOf, isMember, revoke } from "../support/closed-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, call, prompt, readAnswer, sealAsk, sendDirect, sendRelayed } from "../support/raw-peer.ts";

let engine: ScriptedEngine;
beforeEach(async () => {
  engine = await startEngineServer({ text: "fine" });
});
afterEach(() => engine.close());

it("is dropped by all within seconds, with whom it invited, and asks nobody any more by any way", async () => {
  const mesh = closedMesh();
  const founder = await mesh.start("serve", { engine: [engine.url] });
  const other = await mesh.start("serve", { engine: [engine.url], join: [founder.invite()] });
  const invite = await inviteOf(founder);
  const client = await mesh.start("client", { join: [invite.token] });
  const guest = await mesh.start("client", { join: [client.invite()] });
  const staying = await mesh.start("client", { join: [founder.invite()] });
  const hosts = [founder, other];
  const out = [client, guest];
  await eventually("all know all", () =>
    hosts.every((host) => out.every(({ endpointId }) => isMember(host, endpointId))),
  );
  for (const node of [...out, staying]) expect((await call(node)).content).toBe("fine");
  Object.assign(engine.options, { text: "word ".repeat(5_000), tokenMs: 20 });
  const running = call(client, prompt({ stream: true }));
  await eventually("it is being answered", () => engine.running > 0);
  const before = asked(engine).length;

  const startedMs = performance.now();
  await revoke(founder, invite.id);
  const isOut = (host: TestNode): boolean =>
    out.every(({ endpointId }) => host.status().peers.every((peer) => peer.endpoint_id !== endpointId));
  await eventually("all have dropped both", () => [...hosts, staying].every(isOut), 5_000);
  expect(performance.now() - startedMs).toBeLessThan(5_000);
  const brokenOff = await running;
  expect(brokenOff.code).toBeDefined();
  expect(brokenOff.text).not.toContain("[DONE]");
  await eventually("the engine is free", () => engine.running === 0, 2_000);
  Object.assign(engine.options, { text: "fine", tokenMs: 0 });

  for (const node of out) {
    const answer = await call(node);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.content).toBeUndefined();
  }
  expect(asked(engine)).toHaveLength(before);
  expect((await call(staying)).status).toBe(200);
  // and it knows why
  await eventually(
    "it is told",
    () => client.status().mesh.why !== null || client.events.some((event) => event.event === "join-failed"),
    5_000,
  );
});

it("asks through a relay that helps it, with the credential of before, and is refused under the seal", async () => {
  const mesh = closedMesh();
  const host = await mesh.start("serve", { engine: [engine.url] });
  const helper = await mesh.member(host, { role: "relay" });
  await helper.meet(host);
  const invite = await inviteOf(host);

  const member = await mesh.stranger();
  await admit(member, invite.token);
  await member.meet(host);
  const connection = await helper.dial(host, "sealmesh/1");
  const ask = async (): Promise<{ status: number; text: string }> => {
    const sealed = sealAsk(
      member.identity,
      host.endpointId,
      host.keys.current.publicKey,
      { head: { credential: member.credential } },
      true,
    );
    return await readAnswer(await sendRelayed(connection, sealed.bytes), sealed);
  };
  expect((await ask()).status).toBe(200);
  await revoke(host, invite.id);
  expect(await ask()).toMatchObject({ status: 503, text: expect.stringContaining("taken back") });
  await expect(member.meet(host)).rejects.toThrow();
  expect(asked(engine)).toHaveLength(1);
});

it("keeps no answer that runs on an older connection beside its newest", async () => {
  const mesh = closedMesh();
  const host = await mesh.start("serve", { engine: [engine.url] });
  const invite = await inviteOf(host);
  const member = await mesh.stranger();
  await admit(member, invite.token);
  const older = await member.meet(host);
  Object.assign(engine.options, { text: "word ".repeat(5_000), tokenMs: 20 });
  const body = JSON.stringify({ ...prompt(), stream: true });
  const sealed = sealAsk(member.identity, host.endpointId, host.keys.current.publicKey, { body });
  const answer = await sendDirect(older, sealed.bytes);
  await eventually("it is being answered", () => engine.running > 0);
  await member.meet(host);
  await revoke(host, invite.id);
  const read = async (): Promise<void> => {
    while (await answer.read());
  };
  await expect(read()).rejects.toThrow();
  await eventually("the engine is free", () => engine.running === 0, 2_000);
});

/**
 * What goes wrong between asker and host. Bytes that were changed on the way (E_WIRE, E_OPEN, E_ORDER, E_TRUNCATED, E_CLOCK,
 * E_REPLAY) have their tests in test/security, one file an attack.
 */
import { describe, expect, it } from "vitest";
import { expectLogged, expectRow } from "../support/expect-row.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { type AttackedMesh, attackedMesh, call, clientOf, openAsk, type RawPeer } from "../support/raw-peer.ts";

/** A client that has heard of a host of "scripted", by somebody else and with its record; the host itself is away. */
async function clientOfAway(mesh: AttackedMesh, route: string): Promise<TestNode> {
  const host = await mesh.raw({ role: "host", models: ["scripted"] });
  const teller = await mesh.raw();
  const entry = host.own();
  await host.close();
  teller.announcements = () => [entry, teller.own()];
  const client = await mesh.start("client", { join: [teller.invite], route });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return client;
}

/** A sealing host that does `serve` with each request instead of answering. */
async function silentHost(mesh: AttackedMesh, serve: (host: RawPeer) => Promise<void>): Promise<RawPeer> {
  const host = await mesh.raw({ role: "host", models: ["scripted"] });
  host.handlers.http = async (_stream, reader) => {
    await openAsk(reader, host.key);
    await serve(host);
  };
  return host;
}

describe("the way to a host", () => {
  it("E_UNREACHABLE: nobody answers at its address", async () => {
    const client = await clientOfAway(attackedMesh(), "direct");
    expectRow(await call(client), "E_UNREACHABLE");
    expectLogged(client, "E_UNREACHABLE");
  });

  it("E_RELAY: the relay gives up the stream", async () => {
    const client = await clientOfAway(attackedMesh(), "relay");
    expectRow(await call(client), "E_RELAY");
    expectLogged(client, "E_RELAY");
  });

  it("E_TIMEOUT: a host that takes the request and says nothing", async () => {
    const mesh = attackedMesh();
    const client = await clientOf(mesh, [await silentHost(mesh, () => new Promise(() => undefined))]);
    expectRow(await call(client), "E_TIMEOUT");
  });

  it("E_LOST: the connection ends while the host works", async () => {
    const mesh = attackedMesh();
    const client = await clientOf(mesh, [await silentHost(mesh, (host) => host.close())]);
    expectRow(await call(client), "E_LOST");
    expectLogged(client, "E_LOST");
  });

  it("E_KEY: a host signs a key for which every secret is known, and gets no prompt", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    host.key = { ...host.key, publicKey: new Uint8Array(32) };
    const client = await clientOf(mesh, [host]);
    const refused = client.events.flatMap((event) => (event.event === "peer-refused" ? [event] : []));
    expect(refused[0]).toMatchObject({ peer: host.id, code: "E_KEY" });
    expectRow(await call(client), "E_REFUSED");
    expect(host.opened).not.toContain("mesh-llm/1 4");
  });
});

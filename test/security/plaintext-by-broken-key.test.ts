/** A host shows a key or a record that cannot be used, which must mean no route, and never plaintext. */
import { describe, expect, it } from "vitest";
import { fromHex, toBase64 } from "../../src/base/bytes.ts";
import { readRequest } from "../../src/tunnel/http.ts";
import type { Announcement } from "../../src/wire/gossip.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { attackedMesh, call, chatResponse, type RawPeer, secret } from "../support/raw-peer.ts";

const lowOrder = fromHex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
const hour = 3_600_000;

const shows: readonly [string, (host: RawPeer) => Partial<Announcement>][] = [
  ["a key that is no base64", () => ({ inferenceKey: "not a key at all" })],
  ["an empty key", () => ({ inferenceKey: "" })],
  ["a key in base64url", () => ({ inferenceKey: toBase64(new Uint8Array(32).fill(0xff)).replaceAll("/", "_") })],
  ["a key without its padding", (host) => ({ inferenceKey: toBase64(host.key.publicKey).replace("=", "") })],
  ["a key of 31 bytes", (host) => ({ inferenceKey: toBase64(host.key.publicKey.subarray(1)) })],
  ["a key of zeros", () => ({ inferenceKey: toBase64(new Uint8Array(32)) })],
  ["a key of low order", () => ({ inferenceKey: toBase64(lowOrder) })],
  ["a record with a key of low order", (host) => ({ record: host.record({ inferenceKey: lowOrder }).bytes })],
  ["a record without a key", (host) => ({ record: host.record({ inferenceKey: undefined }).bytes })],
  [
    "an expired record",
    (host) => ({
      record: host.record({ issuedAtMs: Date.now() - 2 * hour, notAfterMs: Date.now() - hour }).bytes,
    }),
  ],
  [
    "a record of another clock",
    (host) => ({
      record: host.record({ issuedAtMs: Date.now() + hour, notAfterMs: Date.now() + 2 * hour }).bytes,
    }),
  ],
  ["a record whose key has ended", (host) => ({ record: host.record({ keyNotAfterMs: Date.now() - 1_000 }).bytes })],
  ["a record that is no record", () => ({ record: new Uint8Array([1, 2, 3]) })],
  [
    "a good key beside an expired record",
    (host) => ({
      inferenceKey: toBase64(host.key.publicKey),
      record: host.record({ issuedAtMs: Date.now() - 2 * hour, notAfterMs: Date.now() - hour }).bytes,
    }),
  ],
];

/** A host without key and record but for what `entry` puts in its announcement, and a client that met it. */
async function meetHost(
  entry: (host: RawPeer) => Partial<Announcement>,
): Promise<{ readonly peer: RawPeer; readonly client: TestNode }> {
  const mesh = attackedMesh();
  const peer = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
  const own = peer.own(entry(peer));
  peer.announcements = () => [own];
  peer.handlers.http = async (stream, reader) => {
    await readRequest(reader);
    await stream.write(chatResponse("in the clear"));
    await stream.finish();
  };
  const client = await mesh.start("client", { join: [peer.invite] });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { peer, client };
}

describe("a key that cannot be used", () => {
  it.each(shows)("D1, K4: a host that shows %s is refused; nothing is sent in plain", async (_name, entry) => {
    const { peer, client } = await meetHost(entry);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([503, "refused"]);
    expect(answer.headers.get("x-should-retry")).toBe("false");
    expect(answer.message).toContain(peer.id.slice(0, 10));
    expect(answer.message).toContain("key-withheld");
    expect(peer.opened).not.toContain("mesh-llm/1 4");
    expect(peer.couldRead(secret)).toBe(false);
    const shown = client.status().peers.find(({ endpoint_id }) => endpoint_id === peer.id);
    expect(shown?.sealed).toBe("refused");
  });

  it("D1: a host that never showed any is asked in plain, and the caller is told: what the test looks for can be found", async () => {
    const { peer, client } = await meetHost(() => ({}));
    const answer = await call(client);
    expect([answer.status, answer.content]).toEqual([200, "in the clear"]);
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("false");
    expect(peer.couldRead(secret)).toBe(true);
  });

  it("D1: a host without a key is not asked while another host of the model seals", async () => {
    const mesh = attackedMesh();
    const sealing = await mesh.raw({ role: "host", models: ["scripted"] });
    const old = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    const client = await mesh.start("client", { join: [sealing.invite, old.invite] });
    await eventually("the client knows both", () => client.status().peers.length === 2);
    // the sealing one fails every exchange
    sealing.handlers.http = async (stream) => stream.abort();
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "cannot_open"]);
    expect(old.opened).not.toContain("mesh-llm/1 4");
    expect(old.couldRead(secret) || sealing.couldRead(secret)).toBe(false);
  });

  it("D1: plain is never used through a relay", async () => {
    const mesh = attackedMesh();
    const old = await mesh.raw({ kind: "old", role: "host", models: ["scripted"] });
    const client = await mesh.start("client", { join: [old.invite], route: "relay" });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([503, "refused"]);
    expect(old.couldRead(secret)).toBe(false);
  });
});

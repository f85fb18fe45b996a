/**
 * What a host is said to be, and did not sign as it stands: a made-up field 37, a record that was changed, a record of
 * before, a door left out. Only the newest signed word counts, and what it does not say is not known.
 */
import { describe, expect, it } from "vitest";
import { concat } from "../../src/base/bytes.ts";
import type { PeerStatus } from "../../src/node/status.ts";
import { decodePosture, encodePosture, type Posture } from "../../src/wire/posture.ts";
import { decodeSignedRecord, encodeRecord, encodeSignedRecord } from "../../src/wire/record.ts";
import { gotPrompt } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, attackedMesh, call, clientOf, type RawPeer } from "../support/raw-peer.ts";
import { closedPosture, closedReport, postureWith, tells, withoutDoor } from "../support/postures.ts";

const hardened = { requireHardened: true } as const;
const serving = { role: "host", models: ["scripted"] } as const;

const peerOf = (client: TestNode, host: RawPeer | TestNode): PeerStatus | undefined => {
  const id = "apiUrl" in host ? host.endpointId : host.id;
  return client.status().peers.find(({ endpoint_id }) => endpoint_id === id);
};

/** Asks, and expects that the rule refuses every host and no prompt leaves. */
async function expectRefused(client: TestNode, host: RawPeer, rule: string): Promise<string> {
  const before = host.opened.length;
  const answer = await call(client);
  expect([answer.status, answer.code]).toEqual([503, "refused"]);
  expect(answer.message).toContain(`--require-hardened: ${rule}: `);
  expect(host.opened.slice(before)).not.toContain("mesh-llm/1 4");
  expect(host.couldRead("otter")).toBe(false);
  return answer.message ?? "";
}

describe("A7: field 37 alone", () => {
  it.each(["sealing", "reference"] as const)(
    "of a %s host is shown as unsigned, and counts for nothing",
    async (kind) => {
      const mesh = attackedMesh();
      const host = await mesh.raw({ ...serving, kind });
      tells(host, { gossip: closedPosture() });
      const client = await clientOf(mesh, [host], hardened);
      await expectRefused(client, host, "posture-unsigned");
      expect(peerOf(client, host)?.posture).toMatchObject({ standing: "unsigned", said: { says_hardened: true } });
      expect(gotPrompt(host)).toBe(false);
      const lax = await clientOf(mesh, [host]);
      expect((await call(lax)).content).toBe("fine");
    },
  );

  it("of an old host in the clear does not let a prompt out", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ ...serving, kind: "old" });
    tells(host, { gossip: closedPosture() });
    const client = await clientOf(mesh, [host], hardened);
    await expectRefused(client, host, "posture-unsigned");
  });

  it("about somebody else says nothing at all", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, {});
    const liar = await mesh.raw();
    const posture = [encodePosture(closedPosture())];
    const [own] = host.announcements(liar.id);
    if (!own) throw new Error("it says nothing");
    liar.announcements = () => [{ ...own, posture }, liar.own({ posture })];
    const client = await clientOf(mesh, [liar, host], hardened);
    await expectRefused(client, host, "posture-missing");
    expect(peerOf(client, host)?.posture).toEqual({ standing: "none", said: null, text: null });
  });

  it("that contradicts the record changes nothing: the record is what is signed", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, { record: closedPosture(), gossip: postureWith({ debugger: "open" }) });
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).content).toBe("fine");
    tells(host, { record: postureWith({ debugger: "open" }), gossip: closedPosture() });
    await host.meet(client);
    expect(await expectRefused(client, host, "not-hardened")).toContain("debugger (open)");
  });
});

describe("a record", () => {
  /** A record of the host's with another posture put in, its signature as it was. */
  const forged = (host: RawPeer, posture: Posture): Uint8Array => {
    const { fields, bytes } = host.record({ posture: encodePosture(postureWith({ debugger: "open" })) });
    const { signature } = decodeSignedRecord(bytes);
    return encodeSignedRecord({ signed: encodeRecord({ ...fields, posture: encodePosture(posture) }), signature });
  };

  it("forged to say that its host is hardened is none, and its host is not asked", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    const bytes = forged(host, closedPosture());
    host.announcements = () => [host.own({ record: bytes, posture: [encodePosture(closedPosture())] })];
    const client = await clientOf(mesh, [host], hardened);
    const answer = await call(client);
    expect([answer.status, answer.message]).toEqual([503, expect.stringContaining("key-withheld")]);
    expect(gotPrompt(host)).toBe(false);
  });

  it("forged by a third node does not replace the true one", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, { record: postureWith({ debugger: "open" }) });
    const liar = await mesh.raw();
    liar.announcements = () => [host.own({ record: forged(host, closedPosture()) }), liar.own()];
    const client = await clientOf(mesh, [host, liar], hardened);
    await liar.meet(client);
    await expectRefused(client, host, "not-hardened");
  });

  it("with something behind its posture is not the record that was signed", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    const { bytes } = host.record({ posture: encodePosture(postureWith({ debugger: "open" })) });
    const { signed, signature } = decodeSignedRecord(bytes);
    // a second field 13: of two the last one is read
    const better = encodePosture(closedPosture());
    const more = Uint8Array.of(0x6a, (better.length & 0x7f) | 0x80, better.length >> 7);
    const longer = encodeSignedRecord({ signed: concat([signed, more, better]), signature });
    host.announcements = () => [host.own({ record: longer })];
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).message).toContain("key-withheld");
  });
});

describe("a downgrade", () => {
  it("a newer record that says nothing of it is refused, and the older one does not come back", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, { record: closedPosture() });
    const client = await clientOf(mesh, [host], hardened);
    expect((await call(client)).content).toBe("fine");
    const [before] = host.announcements(client.endpointId);
    tells(host, {});
    await host.meet(client);
    await expectRefused(client, host, "posture-missing");
    // by a third node, and by the host itself
    if (!before) throw new Error("it said nothing");
    const replayer = await mesh.raw();
    replayer.announcements = () => [before, replayer.own()];
    await replayer.meet(client);
    await expectRefused(client, host, "posture-missing");
    host.announcements = () => [before];
    await host.meet(client);
    await expectRefused(client, host, "posture-missing");
  });

  it("a door that is not told is unknown, whatever else is closed", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, { record: withoutDoor(closedPosture(), "inspector") });
    const client = await clientOf(mesh, [host], hardened);
    expect(await expectRefused(client, host, "not-hardened")).toContain("inspector (unknown)");
  });
});

describe("D7: field 37 of our own", () => {
  it("goes to a peer that showed a key or a record on this connection, and to no other", async () => {
    const mesh = attackedMesh();
    const node = await mesh.start("client", {}, { hardening: closedReport() });
    const own = async (kind: "sealing" | "reference" | "old"): Promise<readonly Uint8Array[]> => {
      const peer = await mesh.raw({ kind });
      await peer.meet(node);
      return peer.entryOf(node.endpointId).posture;
    };
    expect(await own("old")).toEqual([]);
    for (const kind of ["reference", "sealing"] as const) {
      const [posture, ...others] = await own(kind);
      expect(others).toEqual([]);
      expect(posture && decodePosture(posture)).toMatchObject({ platform: "linux", hardening: true });
    }
  });

  it("is in no first frame to a peer that has not said yet what it is", async () => {
    const mesh = attackedMesh();
    const peer = await mesh.raw({ kind: "reference" });
    const node = await mesh.start("client", { join: [peer.invite] }, { hardening: closedReport() });
    await eventually("they have met", () => peer.heard.length > 0);
    expect(peer.heard[0]?.announcements.find(({ id }) => id === node.endpointId)?.posture).toEqual([]);
    const connection = await peer.dial(node, "mesh-llm/1");
    await peer.gossip(connection);
    expect(peer.entryOf(node.endpointId).posture).toHaveLength(1);
    // on this connection it takes it back
    await peer.gossip(connection, [peer.own({ inferenceKey: undefined })]);
    expect(peer.entryOf(node.endpointId).posture).toEqual([]);
  });

  it("of a third node is passed on to nobody, its record is", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw(serving);
    tells(host, { record: closedPosture(), gossip: closedPosture() });
    const node = await mesh.start("client", { join: [host.invite] });
    await eventually("they have met", () => node.status().peers.length > 0);
    const other = await mesh.raw();
    await other.meet(node);
    const relayed = other.heard.flatMap(({ announcements }) => announcements).find(({ id }) => id === host.id);
    expect(relayed?.posture).toEqual([]);
    expect(relayed?.record).toEqual(host.announcements(node.endpointId)[0]?.record);
  });
});

it("an honest node in a test, with all doors closed, is asked and says so", async () => {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const host = await mesh.start("serve", { engine: [engine.url] }, { hardening: closedReport() });
  const client = await mesh.start("client", { join: [host.invite()], ...hardened });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  expect((await call(client)).content).toBe("fine");
  expect(asked(engine)).toHaveLength(1);
  expect(peerOf(client, host)?.posture).toMatchObject({ standing: "signed", said: { engine: "external" } });
  await engine.close();
});

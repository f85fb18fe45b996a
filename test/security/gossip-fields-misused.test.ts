/**
 * Peers strip, reorder and misuse the gossip fields around the inference key: out of malice, or because another version of
 * the protocol gives the numbers other meanings (protocol.md §3.3). Over real QUIC, entries written by hand.
 */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { identityFrom } from "../../src/crypto/identity.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";
import { chatAnswer, OldNode } from "../support/old-node.ts";
import { blob, encodeEntry, type Entry, readFields, uint, varint } from "../support/old-node-wire.ts";
import { call, secret } from "../support/raw-peer.ts";
import { ReferenceNode } from "../support/reference-node.ts";

const key = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
const someKey = key(randomBytes(32));
/** A key whose standard, padded and URL-safe forms all differ. */
const awkwardKey = Buffer.alloc(32, 0xfb);
const hardened = Buffer.from("0801100118012001", "hex");
const linux = Buffer.from("10012001", "hex");
const subprotocol = Buffer.concat([blob(1, "stage"), uint(2, 2)]);
const blobJson = '{"attestation":{"chip_name":"x"},"signature":"AA=="}';

/** Its entry without field 36, and that field. */
const stripped = (entry: Entry): Buffer => encodeEntry({ ...entry, key: undefined });
const keyField = (entry: Entry): Buffer => blob(36, entry.key ?? "");
const withKey = (entry: Entry, text: string): Buffer => encodeEntry({ ...entry, key: text });
const and = (...parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);

function fixed64(field: number): Buffer {
  return and(varint((field << 3) | 1), randomBytes(8));
}

function fixed32(field: number): Buffer {
  return and(varint((field << 3) | 5), randomBytes(4));
}

function backwards(entry: Buffer): Buffer {
  const fields = readFields(entry).toReversed();
  return and(
    ...fields.map(({ number, wireType, value, bytes }) => (wireType === 0 ? uint(number, value) : blob(number, bytes))),
  );
}

/** What nodes without build lists send of ours: the record, and whether they are linked with the node. */
const ours = [1000, 1002];

/** Numbers that this version gives no meaning, in all wire types. */
function unknownFields(): Buffer {
  const numbers = Array.from({ length: 1962 }, (_, index) => index + 39).filter(
    (number) => number < 1000 || number > 1003,
  );
  const forms = [(n: number) => uint(n, n), (n: number) => blob(n, "later"), fixed64, fixed32];
  return and(...numbers.map((number) => (forms[number % 4] ?? fixed32)(number)));
}

/**
 * What a client does with such a host: seals to it; asks it in the clear, because it shows no key; refuses it, because what
 * it shows is no key; does not know its model, because it drops the entry; or refuses the whole frame as broken.
 */
type Outcome = "sealed" | "plain" | "refused" | "unknown" | "broken";

type Case = readonly [name: string, outcome: Outcome, entry: (good: Entry) => Buffer];

const cases: readonly Case[] = [
  ["nothing amiss", "sealed", encodeEntry],
  ["36 stripped", "plain", stripped],
  ["fields in reverse order", "sealed", (good) => backwards(encodeEntry(good))],
  ["36 before everything else", "sealed", (good) => and(keyField(good), stripped(good))],
  ["36 twice", "sealed", (good) => and(encodeEntry(good), keyField(good))],
  ["36 twice, the last one is no key", "refused", (good) => and(encodeEntry(good), blob(36, "no key"))],
  ["36 twice, the first one is no key", "sealed", (good) => and(blob(36, "no key"), encodeEntry(good))],
  ["36 as a number", "broken", (good) => and(stripped(good), uint(36, 7))],
  ["36 as 64 bits", "broken", (good) => and(encodeEntry(good), fixed64(36))],
  ["36 as raw bytes that are no text", "broken", (good) => and(stripped(good), blob(36, Buffer.alloc(32, 0xff)))],
  ["36 empty", "refused", (good) => withKey(good, "")],
  ["36 of 31 bytes", "refused", (good) => withKey(good, key(randomBytes(31)))],
  ["36 of 33 bytes", "refused", (good) => withKey(good, key(randomBytes(33)))],
  ["36 without padding", "refused", (good) => withKey(good, key(awkwardKey).replace("=", ""))],
  ["36 in base64url", "refused", (good) => withKey(good, `${awkwardKey.toString("base64url")}=`)],
  ["36 with a blank", "refused", (good) => withKey(good, ` ${someKey}`)],
  ["36 not canonical", "refused", (good) => withKey(good, `${"A".repeat(42)}B=`)],
  ["36 in hex", "refused", (good) => withKey(good, awkwardKey.toString("hex"))],
  ["36 all zero, of low order", "refused", (good) => withKey(good, key(Buffer.alloc(32)))],
  ["36 one, of low order", "refused", (good) => withKey(good, key(Buffer.from([1, ...Buffer.alloc(31)])))],
  ["36 longer than any key", "unknown", (good) => withKey(good, "A".repeat(300))],
  ["36 as JSON of a posture, as the first draft has it", "refused", (good) => withKey(good, '{"sip_enabled":true}')],
  ["35 with a key, as the first draft has it", "plain", (good) => and(stripped(good), blob(35, someKey))],
  ["37 a posture", "sealed", (good) => and(encodeEntry(good), blob(37, hardened))],
  ["37 another posture, its field 1 left out", "sealed", (good) => and(encodeEntry(good), blob(37, linux))],
  [
    "37 the subprotocols of a later version",
    "sealed",
    (good) => and(encodeEntry(good), blob(37, subprotocol), blob(37, subprotocol)),
  ],
  ["37 JSON, as the first draft has it", "sealed", (good) => and(encodeEntry(good), blob(37, '{"sip_enabled":true}'))],
  ["37 garbage", "sealed", (good) => and(encodeEntry(good), blob(37, randomBytes(99)))],
  ["37 garbage, large", "sealed", (good) => and(encodeEntry(good), blob(37, randomBytes(200_000)))],
  ["37 a number", "sealed", (good) => and(encodeEntry(good), uint(37, 2 ** 30))],
  ["37 64 bits, before the key", "sealed", (good) => and(fixed64(37), encodeEntry(good))],
  ["37 32 bits, without a key", "plain", (good) => and(stripped(good), fixed32(37))],
  [
    "37 a thousand times",
    "sealed",
    (good) => and(encodeEntry(good), ...Array.from({ length: 1_000 }, () => blob(37, hardened))),
  ],
  ["38 evidence", "sealed", (good) => and(encodeEntry(good), blob(38, blobJson))],
  ["38 not JSON", "sealed", (good) => and(encodeEntry(good), blob(38, randomBytes(500)))],
  [
    "38 twice, of 60,000 bytes each",
    "sealed",
    (good) => and(encodeEntry(good), blob(38, randomBytes(60_000)), blob(38, randomBytes(60_000))),
  ],
  ["38 huge", "unknown", (good) => and(encodeEntry(good), blob(38, Buffer.alloc(1_000_000, 0x20)))],
  ["38 as a number", "broken", (good) => and(encodeEntry(good), uint(38, 1))],
  [
    "44 and 45 with key and posture, as the third draft has it",
    "plain",
    (good) => and(stripped(good), blob(44, someKey), blob(45, hardened)),
  ],
  ["44 as a number, as later versions have it", "sealed", (good) => and(encodeEntry(good), uint(44, 17))],
  ["unknown fields 39 to 2000", "sealed", (good) => and(unknownFields(), encodeEntry(good), unknownFields())],
  [
    "1000 garbage: it claims to sign records",
    "refused",
    (good) => and(encodeEntry(good), blob(1000, randomBytes(200))),
  ],
  ["1000 as a number", "broken", (good) => and(encodeEntry(good), uint(1000, 1))],
  ["1001 garbage", "sealed", (good) => and(encodeEntry(good), blob(1001, randomBytes(200)))],
  ["1002, of itself", "sealed", (good) => and(encodeEntry(good), uint(1002, 1), uint(1002, 2 ** 30), uint(1002, 0))],
  ["1002 as text", "broken", (good) => and(encodeEntry(good), blob(1002, "yes"))],
  ["1000 empty", "refused", (good) => and(encodeEntry(good), blob(1000, ""))],
  ["a group", "broken", (good) => and(encodeEntry(good), varint((50 << 3) | 3), varint((50 << 3) | 4))],
  ["a field that is cut off", "broken", (good) => and(encodeEntry(good), varint((50 << 3) | 2), varint(100))],
];

/** A few cases at a time run side by side, against one client: each adds to the gossip of all. */
const together = 4;
const groups = Array.from({ length: Math.ceil(cases.length / together) }, (_, index) => {
  const members = cases.slice(index * together, (index + 1) * together);
  return [members.map(([name]) => name).join(" · "), members] as const;
});

/** One exchange, and how it went: seen by the caller, in the status, and at the host. */
async function outcomeOf(client: TestNode, host: OldNode, model: string): Promise<Outcome> {
  const before = host.got.length;
  const answer = await call(client, { model, messages: [{ role: "user", content: secret }] });
  const { sealed } = client.status().peers.find(({ endpoint_id: id }) => id === host.id) ?? {};
  const got = host.got.slice(before).map(({ how }) => how);
  if (answer.status === 404) {
    expect([answer.code, sealed, got]).toEqual(["model_not_found", undefined, []]);
    return "unknown";
  }
  if (answer.status === 502) {
    expect([answer.code, got]).toEqual(["protocol_error", []]);
    return "broken";
  }
  if (answer.status === 503) {
    expect([answer.code, sealed, got]).toEqual(["refused", "refused", []]);
    expect(answer.message).toContain("key-withheld");
    expect(answer.headers.get("x-should-retry")).toBe("false");
    return "refused";
  }
  expect([answer.content, answer.headers.get("x-sealmesh-sealed")]).toEqual(["fine", String(sealed === "sealed")]);
  expect(got).toEqual([sealed]);
  return sealed === "sealed" ? "sealed" : "plain";
}

describe("D8: entries with misused fields", () => {
  it.each(groups)("D8: %s", async (_names, members) => {
    const client = await testMesh().start("client", {}, irohTransport);
    await Promise.all(members.map((member, index) => play(member, client, `m${index}`)));
    expect((await fetch(`${client.apiUrl}/v1/models`)).status).toBe(200);
  });

  async function play([name, outcome, entry]: Case, client: TestNode, model: string): Promise<void> {
    let say: (good: Entry) => Uint8Array = entry;
    const host = await ReferenceNode.start({
      role: "host",
      models: [model],
      serve: (request) => chatAnswer(request, ["fine"]),
      ownEntry: (good) => say(good),
    });
    await host.meet(client.invite()).catch(() => undefined); // a frame that is refused is not answered
    expect(await outcomeOf(client, host, model), name).toBe(outcome === "broken" ? "unknown" : outcome);

    // the same peer with an entry that is right: nothing of before is held against it
    say = encodeEntry;
    await host.meet(client.invite());
    expect(await outcomeOf(client, host, model), `${name}, then right`).toBe("sealed");

    // and now that it has shown a key, the misused entry never leads to the clear
    say = entry;
    await host.meet(client.invite()).catch(() => undefined);
    const after = outcome === "plain" ? "refused" : outcome === "unknown" ? "sealed" : outcome;
    expect(await outcomeOf(client, host, model), `${name}, after a right one`).toBe(after);
    expect(host.got.filter(({ how }) => how === "plain")).toHaveLength(outcome === "plain" ? 1 : 0);
  }

  it("D8: an entry about a third node, misused in every way, does that node no harm", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const mesh = testMesh();
    const own = await mesh.start("serve", { engine: [engine.url] }, irohTransport);
    const client = await mesh.start("client", { join: [own.invite()] }, irohTransport);
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    const teller = await ReferenceNode.start();
    await teller.meet(own.invite());
    await teller.connect(client.invite());
    const about = teller.peers.get(own.endpointId);
    if (!about) throw new Error("nothing heard of the host");
    for (const [name, outcome, entry] of cases) {
      const telling = teller.gossip(client.endpointId, [entry(about), encodeEntry(teller.own())]);
      if (outcome !== "broken") await telling;
      else await telling.catch(() => undefined);
      const standing = client.status().peers.find(({ endpoint_id: id }) => id === own.endpointId);
      expect(standing, name).toMatchObject({ sealed: "sealed", models: ["scripted"] });
    }
    const answer = await call(client);
    expect([answer.content, answer.headers.get("x-sealmesh-sealed")]).toEqual(["fine", "true"]);
    await engine.close();
  });
});

describe("D7: field 37", () => {
  const posture = { number: 37, wireType: 2, bytes: hardened, value: BigInt(hardened.length) };
  const evidence = { number: 38, wireType: 2, bytes: Buffer.from(blobJson), value: BigInt(blobJson.length) };

  it("D7: is sent to those who showed a key, not in a first frame, not when passing entries on", async () => {
    const engine = await startEngineServer({});
    const host = await testMesh().start("serve", { engine: [engine.url] }, irohTransport);
    const reference = await ReferenceNode.start({
      role: "host",
      models: ["m"],
      ownEntry: (good) => encodeEntry({ ...good, evidence: [posture, evidence] }),
    });
    const later = await OldNode.start({ ownEntry: (good) => and(encodeEntry(good), blob(37, subprotocol)) });
    const old = await OldNode.start();
    for (const node of [reference, later, old]) {
      await node.meet(host.invite());
      await node.gossip(host.endpointId); // now that the node has theirs
    }
    const frames = [reference, later, old].flatMap(({ heard }) => heard);
    expect(frames.length).toBeGreaterThanOrEqual(6);
    const sent = frames.flatMap(({ frame }) => frame.fields.flat());
    expect(sent.filter(({ number }) => number === 38)).toEqual([]);
    for (const { heard } of [later, old]) {
      const theirs = heard.flatMap(({ frame }) => frame.fields.flat());
      expect(theirs.filter(({ number }) => number === 37)).toEqual([]);
    }
    // of ours only, and with the reference's own fields in the types that it reads
    const postures = reference.heard.flatMap(({ frame }) =>
      frame.entries.flatMap(({ id }, index) =>
        (frame.fields[index] ?? []).flatMap(({ number, bytes }) => (number === 37 ? [{ id, bytes }] : [])),
      ),
    );
    expect(postures.length).toBeGreaterThan(0);
    for (const { id, bytes } of postures) {
      expect(id).toBe(host.endpointId);
      for (const { number, wireType } of readFields(Buffer.from(bytes))) {
        expect(number < 1000 ? wireType : "ours").toBe(number < 1000 ? (number === 5 ? 2 : 0) : "ours");
        expect(number <= 5 || number >= 1000).toBe(true);
      }
    }
    // 36 goes to everybody, and of another peer as that peer sent it
    for (const node of [reference, later, old]) {
      expect(node.fieldsOf(host.endpointId).some(({ number }) => number === 36)).toBe(true);
    }
    const passedOn = old.heard.flatMap(({ frame }) => frame.entries).filter(({ id }) => id === reference.id);
    expect(passedOn.at(-1)).toMatchObject({ key: reference.publicKey, models: ["m"], evidence: [] });
    // what is ours has a number that no version uses
    const numbers = new Set(sent.map(({ number }) => number));
    expect([...numbers].filter((number) => number > 38)).toEqual(ours);
    await engine.close();
  });

  it("D7: of every version is taken side by side, in one frame", async () => {
    const client = await testMesh().start("client", {}, irohTransport);
    const teller = await ReferenceNode.start();
    await teller.connect(client.invite());
    const items = [
      blob(37, hardened),
      blob(37, linux),
      blob(37, subprotocol),
      blob(37, "{}"),
      uint(37, 1),
      fixed32(37),
    ];
    const ids = items.map((_, index) => identityFrom(new Uint8Array(32).fill(index + 1)).id as string);
    const others = items.map((item, index) => {
      const id = ids[index] ?? "";
      const address = JSON.stringify({ id, addrs: [] });
      return and(encodeEntry({ ...teller.own(), id, role: 2, httpPort: 9337, models: [`m${index}`], address }), item);
    });
    await teller.gossip(client.endpointId, [...others, and(encodeEntry(teller.own()), ...items)]);
    // each is a hint that there is such a node, and what it has to offer is for itself to say
    const named = client.status().peers.filter(({ endpoint_id: id }) => id !== teller.id);
    expect(named.map(({ endpoint_id: id }) => id).toSorted()).toEqual(ids.toSorted());
    expect([client.models(), named.flatMap(({ models }) => models)]).toEqual([[], []]);
    expect(client.status().peers.find(({ endpoint_id: id }) => id === teller.id)).toMatchObject({ sealed: "sealed" });
  });
});

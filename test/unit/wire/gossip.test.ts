import { describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { concat, fromHex, utf8 } from "../../../src/base/bytes.ts";
import { encodeAddress } from "../../../src/wire/address.ts";
import {
  type Announcement,
  decodeGossip,
  decodePeerDown,
  decodePeerLeaving,
  decodeRouteRequest,
  decodeRouteTable,
  encodeGossip,
  encodePeerLeaving,
  encodeRouteRequest,
  encodeRouteTable,
} from "../../../src/wire/gossip.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";
import { bytes, number } from "./protobuf-bytes.ts";

const sender = endpointId("aa".repeat(32));
const other = endpointId("bb".repeat(32));

/** A frame from `sender` with the given entries (the content of field 2 each). */
function frame(entries: readonly Uint8Array[], gen = 1, from: EndpointId = sender): Uint8Array {
  return concat([number(1, gen), ...entries.map((entry) => bytes(2, entry)), bytes(3, fromHex(from))]);
}

/** A host's entry: the given fields after endpoint id, role and port. */
function host(...fields: readonly Uint8Array[]): Uint8Array {
  return concat([bytes(1, fromHex(sender)), number(2, 2), number(3, 9337), ...fields]);
}

function decodeOne(entry: Uint8Array): Announcement | undefined {
  return decodeGossip(frame([entry]), sender).announcements[0];
}

describe("frame checks", () => {
  it("refuses another generation", () => {
    expectCode("E_WIRE", () => decodeGossip(frame([], 2), sender));
    expectCode("E_WIRE", () => decodeGossip(bytes(3, fromHex(sender)), sender));
  });

  it("refuses a sender that is not the peer", () => {
    expectCode("E_WIRE", () => decodeGossip(frame([], 1, other), sender));
    expectCode("E_WIRE", () => decodeGossip(number(1, 1), sender));
  });

  it("refuses the whole frame for an endpoint id that is not 32 bytes", () => {
    expectCode("E_WIRE", () => decodeGossip(frame([host(), bytes(1, new Uint8Array(31))]), sender));
    expectCode("E_WIRE", () => decodeGossip(frame([host(), number(2, 1)]), sender));
  });

  it("refuses the whole frame for a host without port", () => {
    expectCode("E_WIRE", () => decodeGossip(frame([concat([bytes(1, fromHex(sender)), number(2, 2)])]), sender));
  });

  it("refuses a known field with another wire type", () => {
    expectCode("E_WIRE", () => decodeOne(host(bytes(24, "x"))));
    expectCode("E_WIRE", () => decodeOne(host(number(36, 1))));
  });

  it("refuses an inner message that is longer than the outer one", () => {
    const entry = Uint8Array.of(...host(), 0xda, 0x01, 0x7f);
    expectCode("E_WIRE", () => decodeGossip(frame([entry]), sender));
  });

  it("refuses text that is not UTF-8", () => {
    expectCode("E_WIRE", () => decodeOne(host(bytes(4, Uint8Array.of(0xff)))));
  });

  it("refuses more entries than the limit, and more fields than the limit", () => {
    const small = bytes(1, fromHex(other));
    const many = Array.from({ length: limits.announcementsPerFrame + 1 }, () => small);
    expectCode("E_WIRE", () => decodeGossip(frame(many), sender));
    expect(decodeGossip(frame(many.slice(1)), sender).announcements.length).toBe(limits.announcementsPerFrame);
    const fields = new Uint8Array((limits.fieldsPerFrame + 1) * 2);
    for (let at = 0; at < fields.length; at += 2) fields[at] = 0x52;
    expectCode("E_WIRE", () => decodeOne(host(fields)));
  });
});

describe("roles", () => {
  it.each([
    [0, "worker"],
    [1, "worker"],
    [2, "host"],
    [3, "client"],
    [4, "worker"],
    [77, "worker"],
  ])("%i reads as %s", (value, role) => {
    const entry = concat([bytes(1, fromHex(sender)), number(2, value), number(3, 1)]);
    expect(decodeOne(entry)?.role).toBe(role);
  });
});

describe("identity trap: an address that names another id", () => {
  const trap = host(bytes(22, encodeAddress({ id: other, relays: [], direct: ["192.0.2.1:1"] })));

  it("drops that entry only", () => {
    const good = concat([bytes(1, fromHex(other)), number(2, 3)]);
    const { announcements } = decodeGossip(frame([trap, good]), sender);
    expect(announcements.map(({ id }) => id)).toEqual([other]);
  });

  it("an address that does not parse counts as none", () => {
    expect(decodeOne(host(bytes(22, "{not json")))?.address).toBeUndefined();
    expect(decodeOne(host(bytes(22, "")))?.address).toBeUndefined();
    expect(decodeOne(host())).toMatchObject({ id: sender, address: undefined });
  });
});

describe("models: field 24 decides", () => {
  const serving = bytes(10, "assigned");
  const hosted = bytes(23, "hosted");

  it.each([
    ["true believes 23", [serving, hosted, number(24, 1)], ["hosted"]],
    ["true believes an empty 23", [serving, number(24, 1)], []],
    ["false falls back to 10", [serving, hosted, number(24, 0)], ["assigned"]],
    ["absent believes 23 when it is there", [serving, hosted], ["hosted"]],
    ["absent falls back to 10", [serving], ["assigned"]],
  ] as const)("%s", (_name, fields, expected) => {
    expect(decodeOne(host(...fields))?.models).toEqual(expected);
  });

  it("names twice, empty or over-long are skipped, names over the limit dropped", () => {
    const names = ["", "a", "a", "x".repeat(limits.nameBytes + 1), ...Array.from({ length: 400 }, (_, at) => `m${at}`)];
    const models = decodeOne(host(...names.map((name) => bytes(23, name))))?.models ?? [];
    expect(models.length).toBe(limits.modelsPerPeer);
    expect(models.slice(0, 3)).toEqual(["a", "m0", "m1"]);
  });

  it("runtimes are bounded too", () => {
    const runtime = (name: string): Uint8Array => bytes(27, concat([bytes(1, name), number(3, 4096), number(4, 1)]));
    const names = ["", ...Array.from({ length: 400 }, (_, at) => `m${at}`)];
    const runtimes = decodeOne(host(...names.map(runtime)))?.runtimes ?? [];
    expect(runtimes.length).toBe(limits.modelsPerPeer);
    expect(runtimes[0]).toEqual({ name: "m0", contextLength: 4096, ready: true });
  });
});

describe("field 37 means two things", () => {
  const postures = [
    fromHex("08011001180120012a0462626262"),
    fromHex("1001"),
    new Uint8Array(0),
    // MeshSubprotocol {1 "stage", 2 major 2} of 0.66 and later, and #396's JSON
    concat([bytes(1, "stage"), number(2, 2)]),
    utf8('{"sip_enabled":true}'),
    fromHex("ffffff"),
  ];

  it("every content is kept as it came, none breaks the frame", () => {
    const entry = host(...postures.map((item) => bytes(37, item)));
    expect(decodeOne(entry)?.posture).toEqual(postures);
  });

  const fixed32 = Uint8Array.of(0xad, 0x02, 1, 2, 3, 4);
  const fixed64 = Uint8Array.of(0xa9, 0x02, 1, 2, 3, 4, 5, 6, 7, 8);
  const longTag = Uint8Array.of(0xa8, 0x82, 0x00, 5); // 37 with a varint, its tag in three bytes

  it.each([
    ["a number", number(37, 2 ** 40)],
    ["32 bits", fixed32],
    ["64 bits", fixed64],
    ["a number under a tag written at length", longTag],
    ["all of them", concat([fixed64, number(37, 1), fixed32, longTag])],
  ])("sent as %s costs that item, nothing else of the entry or the frame", (_name, item) => {
    const good = bytes(37, fromHex("1001"));
    const entry = host(bytes(23, "a"), good, item, bytes(36, "key"), bytes(38, "{}"));
    const next = concat([bytes(1, fromHex(other)), number(2, 3), item]);
    const { announcements } = decodeGossip(frame([entry, next]), sender);
    expect(announcements[0]).toMatchObject({ id: sender, models: ["a"], inferenceKey: "key", evidence: utf8("{}") });
    expect(announcements[0]?.posture).toEqual([fromHex("1001")]);
    expect(announcements[1]).toMatchObject({ id: other, role: "client", posture: [] });
  });

  it("the frame that came is not written to", () => {
    const came = frame([host(number(37, 1))]);
    const before = came.slice();
    decodeGossip(came, sender);
    expect(came).toEqual(before);
  });

  it("what is cut off in it is still refused", () => {
    expectCode("E_WIRE", () => decodeOne(host(fixed64.subarray(0, 5))));
    expectCode("E_WIRE", () => decodeOne(host(Uint8Array.of(0xab, 0x02, 0xac, 0x02)))); // a group
    expectCode("E_WIRE", () => decodeOne(host(number(37, 1), number(36, 1))));
  });

  it("37 of the frame itself, or inside a field of an entry, is left alone", () => {
    const inner = bytes(27, concat([bytes(1, "m"), number(37, 9), number(3, 4096), number(4, 1)]));
    const whole = concat([number(37, 5), frame([host(inner)])]);
    expect(decodeGossip(whole, sender).announcements[0]?.runtimes).toEqual([
      { name: "m", contextLength: 4096, ready: true },
    ]);
  });

  it("items are bounded", () => {
    const many = Array.from({ length: 40 }, () => bytes(37, "x"));
    expect(decodeOne(host(bytes(37, new Uint8Array(limits.postureBytes + 1)), ...many))?.posture.length).toBe(
      limits.postureItems,
    );
  });
});

describe("fields of other versions", () => {
  it("are skipped: 35, 39 to 52 of later mesh-llm, #556's 44 and 45, numbers from 1003 up", () => {
    const later = Array.from({ length: 14 }, (_, at) => (at % 2 === 0 ? number(39 + at, 7) : bytes(39 + at, "later")));
    const fixed = Uint8Array.of(0xe5, 0x02, 1, 2, 3, 4, 0xe1, 0x02, 1, 2, 3, 4, 5, 6, 7, 8);
    const entry = host(
      bytes(35, "interest"),
      ...later,
      fixed,
      bytes(45, fromHex("0801")),
      bytes(1003, "x"),
      number(1500, 1),
    );
    expect(decodeOne(entry)).toMatchObject({ id: sender, role: "host", models: [] });
    expect(decodeGossip(concat([frame([entry]), bytes(4, "signed"), bytes(5, "")]), sender).announcements.length).toBe(
      1,
    );
  });

  it("groups are refused", () => {
    expectCode("E_WIRE", () => decodeOne(host(Uint8Array.of(0xbb, 0x3e, 0xbc, 0x3e))));
  });
});

describe("bounds of single fields", () => {
  it.each([
    ["version", bytes(4, "x".repeat(limits.nameBytes + 1))],
    ["hostname, counted in UTF-8", bytes(6, "\u20ac".repeat(limits.nameBytes / 2))],
    ["mesh id", bytes(19, "x".repeat(limits.nameBytes + 1))],
    ["key: over-long must not read as no key", bytes(36, "A".repeat(limits.keyTextBytes + 1))],
    ["evidence", bytes(38, new Uint8Array(limits.evidenceBytes + 1))],
    ["record", bytes(1000, new Uint8Array(limits.recordBytes + 1))],
  ])("an over-long %s drops the entry", (_name, field) => {
    expect(decodeOne(host(field))).toBeUndefined();
  });

  it.each([
    ["an escape sequence", "\u001b[2J"],
    ["a line break", "a\nb"],
    ["a delete", "\u007f"],
    ["a C1 control", "\u009b31m"],
    ["a turned direction", "a\u202eb"],
    ["an isolate", "a\u2066b"],
  ])("%s is in no name", (_what, unclean) => {
    const entry = host(bytes(23, "a"), bytes(23, unclean), bytes(23, "b"), bytes(27, bytes(1, unclean)));
    expect(decodeOne(entry)).toMatchObject({ models: ["a", "b"], runtimes: [] });
    for (const field of [4, 6, 19]) expect(decodeOne(host(bytes(field, unclean)))).toBeUndefined();
    const rows = ["a", unclean].map((model) => ({ id: sender, model }));
    const table = decodeRouteTable(encodeRouteTable({ entries: rows, meshId: unclean }));
    expect(table).toEqual({ entries: [{ id: sender, model: "a" }], meshId: undefined });
  });

  it("names in other scripts stay", () => {
    const names = ["Qwen/Qwen3-4B:Q4_K_M", "模型 ひ", "نموذج", "🦦"];
    expect(decodeOne(host(...names.map((name) => bytes(23, name))))?.models).toEqual(names);
  });

  it("a malformed key is handed on as it came", () => {
    expect(decodeOne(host(bytes(36, "no key")))?.inferenceKey).toBe("no key");
    expect(decodeOne(host(bytes(36, "")))?.inferenceKey).toBe("");
    expect(decodeOne(host())?.inferenceKey).toBeUndefined();
  });
});

it("an announcement survives the round trip, and shares no memory with the frame", () => {
  const announcement: Announcement = {
    id: sender,
    role: "host",
    httpPort: 9337,
    version: "0.65.1+sealmesh.0.1.0",
    hostname: "box",
    models: ["a", "b"],
    runtimes: [{ name: "a", contextLength: undefined, ready: false }],
    address: { id: sender, relays: ["https://relay.example./"], direct: ["192.0.2.1:4433", "[2001:db8::1]:4433"] },
    meshId: "mesh",
    inferenceKey: "key",
    ownership: utf8("ownership"),
    posture: [fromHex("1001")],
    evidence: utf8("{}"),
    record: utf8("record"),
  };
  const encoded = encodeGossip({ sender, announcements: [announcement] });
  const decoded = decodeGossip(encoded, sender);
  encoded.fill(0);
  expect(decoded).toEqual({ sender, announcements: [announcement] });
});

describe("small messages", () => {
  it("a route table goes both ways, over-long names are skipped", () => {
    const table = { entries: [{ id: other, model: "m" }], meshId: "mesh" };
    expect(decodeRouteTable(encodeRouteTable(table))).toEqual(table);
    const long = { id: other, model: "x".repeat(limits.nameBytes + 1) };
    expect(decodeRouteTable(encodeRouteTable({ entries: [long], meshId: undefined }))).toEqual({
      entries: [],
      meshId: undefined,
    });
    expectCode("E_WIRE", () => decodeRouteTable(concat([number(3, 1), bytes(1, bytes(1, new Uint8Array(3)))])));
  });

  it("a route request may be anonymous, but not half", () => {
    expect(decodeRouteRequest(encodeRouteRequest(undefined))).toBeUndefined();
    expectCode("E_WIRE", () => decodeRouteRequest(concat([bytes(1, new Uint8Array(16)), number(2, 1)])));
    expectCode("E_WIRE", () => decodeRouteRequest(bytes(1, fromHex(sender))));
  });

  it("nobody says for another that it leaves", () => {
    expect(decodePeerLeaving(encodePeerLeaving(sender), sender)).toBe(sender);
    expectCode("E_WIRE", () => decodePeerLeaving(encodePeerLeaving(other), sender));
  });

  it("peer down needs generation and id", () => {
    expectCode("E_WIRE", () => decodePeerDown(bytes(1, fromHex(other))));
    expectCode("E_WIRE", () => decodePeerDown(number(2, 1)));
  });
});

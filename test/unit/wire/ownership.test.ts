/** Field 28: the reference's bytes for a claim, its protobuf, and its way through gossip. */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { concat, fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { type Announcement, decodeGossip, encodeGossip } from "../../../src/wire/gossip.ts";
import { limits } from "../../../src/wire/limits.ts";
import { decodeOwnership, encodeOwnership, ownershipBytes, type OwnershipClaim } from "../../../src/wire/ownership.ts";
import { expectCode } from "../../support/expect-code.ts";
import vectors from "../../vectors/mesh-llm.json" with { type: "json" };
import { bytes, number } from "./protobuf-bytes.ts";

const vector = vectors.ownership;
const ownerKey = fromHex(vector.owner_sign_public_key_hex);
const node = fromHex(vector.node_endpoint_id_hex);
const signature = fromHex(vector.signature_hex);

const claim: OwnershipClaim = {
  version: 1,
  certId: vector.cert_id,
  ownerId: vector.owner_id_hex,
  ownerKey,
  node: endpointId(vector.node_endpoint_id_hex),
  issuedAtMs: BigInt(vector.issued_at_unix_ms),
  expiresAtMs: BigInt(vector.expires_at_unix_ms),
  nodeLabel: vector.node_label,
  hostnameHint: undefined,
};

/** The protobuf by hand, field by field; some left out or in another form. */
function written(changes: Readonly<Record<number, Uint8Array>> = {}): Uint8Array {
  const fields: Readonly<Record<number, Uint8Array>> = {
    1: number(1, 1),
    2: bytes(2, vector.cert_id),
    3: bytes(3, vector.owner_id_hex),
    4: bytes(4, ownerKey),
    5: bytes(5, node),
    6: number(6, vector.issued_at_unix_ms),
    7: number(7, vector.expires_at_unix_ms),
    8: bytes(8, vector.node_label),
    10: bytes(10, signature),
    ...changes,
  };
  return concat(Object.values(fields));
}

describe("signed bytes", () => {
  it("are the vector's", () => {
    const canonical = ownershipBytes(claim);
    expect(canonical.length).toBe(vector.canonical_len);
    expect(toHex(canonical)).toBe(vector.canonical_hex);
    expect(createHash("sha256").update(canonical).digest("hex")).toBe(vector.canonical_sha256_hex);
  });

  it("tell an absent name from an empty one", () => {
    const forms = [undefined, "", "x"].map((hostnameHint) => toHex(ownershipBytes({ ...claim, hostnameHint })));
    expect(new Set(forms).size).toBe(3);
    expect(forms[1]?.endsWith(`01${"00".repeat(8)}`)).toBe(true);
  });

  it("count lengths in UTF-8", () => {
    const longer = ownershipBytes({ ...claim, nodeLabel: "läbel" });
    expect(longer.length).toBe(vector.canonical_len + 1);
  });
});

describe("protobuf", () => {
  it("is read as the reference writes it, and written the same", () => {
    expect(decodeOwnership(written())).toEqual({ claim, signature });
    expect(encodeOwnership({ claim, signature })).toEqual(written());
  });

  it("shares no memory with what it was read from", () => {
    const source = written();
    const decoded = decodeOwnership(source);
    source.fill(0);
    expect(decoded).toEqual({ claim, signature });
  });

  it("fields of later versions are skipped", () => {
    expect(decodeOwnership(concat([written(), number(11, 7), bytes(12, "later")]))).toEqual({ claim, signature });
  });

  it.each<[string, Uint8Array]>([
    ["a key of 31 bytes", written({ 4: bytes(4, ownerKey.subarray(1)) })],
    ["no key", written({ 4: new Uint8Array() })],
    ["a node id of 33 bytes", written({ 5: bytes(5, concat([node, Uint8Array.of(0)])) })],
    ["a signature of 63 bytes", written({ 10: bytes(10, signature.subarray(1)) })],
    ["no signature", written({ 10: new Uint8Array() })],
    ["a version that is text", written({ 1: bytes(1, "1") })],
    ["a name that is not UTF-8", written({ 8: bytes(8, Uint8Array.of(0xff)) })],
    ["a tail that is cut off", written().subarray(0, -1)],
    ["more bytes than any claim", written({ 8: bytes(8, "x".repeat(limits.ownershipBytes)) })],
    ["more fields than any claim", concat([written(), ...Array.from({ length: 40 }, () => number(11, 1))])],
  ])("%s is refused", (_what, content) => {
    expectCode("E_WIRE", () => decodeOwnership(content));
  });
});

describe("in gossip", () => {
  const sender = endpointId("aa".repeat(32));
  const announcement: Announcement = {
    id: sender,
    role: "worker",
    httpPort: undefined,
    version: undefined,
    hostname: "box",
    models: [],
    runtimes: [],
    address: undefined,
    meshId: undefined,
    inferenceKey: "key",
    ownership: undefined,
    posture: [],
    evidence: undefined,
    record: undefined,
  };
  const through = (ownership: Uint8Array | undefined): Announcement | undefined => {
    const encoded = encodeGossip({ sender, announcements: [{ ...announcement, ownership }] });
    const decoded = decodeGossip(encoded, sender).announcements[0];
    encoded.fill(0);
    return decoded;
  };

  it("a claim comes through byte for byte, whatever it is, and shares no memory with the frame", () => {
    for (const content of [written(), utf8("no claim"), new Uint8Array(limits.ownershipBytes).fill(7)]) {
      expect(through(content)?.ownership).toEqual(content);
    }
    expect(through(undefined)?.ownership).toBeUndefined();
  });

  it("an over-long one is dropped, and nothing else of the entry", () => {
    expect(through(new Uint8Array(limits.ownershipBytes + 1))).toEqual(announcement);
  });

  it("stands in field 28", () => {
    const entry = concat([bytes(1, fromHex(sender)), number(2, 1), bytes(28, written())]);
    const frame = concat([number(1, 1), bytes(2, entry), bytes(3, fromHex(sender))]);
    expect(decodeGossip(frame, sender).announcements[0]?.ownership).toEqual(written());
  });
});

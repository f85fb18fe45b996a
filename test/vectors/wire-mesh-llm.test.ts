/** mesh-llm.json, the parts that are bytes without keys: read, and written again byte for byte. */
import { describe, expect, it } from "vitest";
import { endpointId } from "../../src/base/brand.ts";
import { fromBase64Url, fromHex, fromUtf8, toHex, utf8 } from "../../src/base/bytes.ts";
import { decodeAddress, encodeAddress } from "../../src/wire/address.ts";
import { referenceChallengeBytes } from "../../src/wire/challenge.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  endMarker,
  encodeResponseHeader,
  readChunk,
  readResponseHeader,
} from "../../src/wire/envelope.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import {
  type Announcement,
  decodeGossip,
  decodePeerDown,
  decodePeerLeaving,
  decodeRouteRequest,
  encodeGossip,
  encodePeerDown,
  encodePeerLeaving,
  encodeRouteRequest,
} from "../../src/wire/gossip.ts";
import { decodeInvite, encodeInvite } from "../../src/wire/invite.ts";
import { namedMeshId } from "../../src/wire/mesh-id.ts";
import { envelopeByte, meshStreams } from "../../src/wire/stream-types.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { pieces } from "../unit/wire/pieces.ts";
import vectors from "./mesh-llm.json" with { type: "json" };

const id = endpointId(vectors.endpoint.endpoint_id_hex);
const address = { id, relays: [], direct: ["127.0.0.1:45678"] };

const client: Announcement = {
  id,
  role: "client",
  httpPort: undefined,
  version: "0.65.0",
  hostname: undefined,
  models: [],
  runtimes: [],
  address,
  meshId: undefined,
  inferenceKey: undefined,
  ownership: undefined,
  posture: [],
  evidence: undefined,
  record: undefined,
};

const host: Announcement = {
  ...client,
  role: "host",
  httpPort: vectors.gossip_host_sealed.http_port,
  version: vectors.gossip_host_sealed.version,
  models: ["m"],
  runtimes: [{ name: "m", contextLength: vectors.gossip_host_sealed.context_length, ready: true }],
  inferenceKey: vectors.gossip_host_sealed.field_36_b64,
  posture: [fromHex(vectors.security_posture.hardened_protobuf_hex)],
  evidence: utf8(vectors.attestation_signed.wrapper_json_utf8),
};

/** Stream bytes of one control message: type byte, then the frame. */
function stream(type: number, payload: Uint8Array): string {
  return toHex(Uint8Array.of(type, ...encodeFrame(payload)));
}

async function payload(streamHex: string, type: number): Promise<Uint8Array> {
  const reader = new StreamReader(pieces(fromHex(streamHex), 7));
  expect(await reader.byte()).toBe(type);
  const bytes = await reader.frame(8_388_608);
  await reader.end();
  return bytes;
}

describe("endpoint", () => {
  it("address and token are written as the vector has them", () => {
    expect(fromUtf8(encodeAddress(address))).toBe(vectors.endpoint.endpoint_addr_utf8);
    expect(encodeInvite(address)).toBe(vectors.endpoint.token_b64url);
  });

  it("address and token are read back", () => {
    expect(decodeAddress(utf8(vectors.endpoint.endpoint_addr_utf8))).toEqual(address);
    expect(decodeInvite(vectors.endpoint.token_b64url)).toEqual({ address, minimum: undefined });
  });
});

describe("gossip", () => {
  it.each([
    ["gossip_client", client, vectors.gossip_client.stream_bytes_hex],
    ["gossip_host_sealed", host, vectors.gossip_host_sealed.stream_bytes_hex],
  ] as const)("%s: both ways, byte for byte", async (_name, announcement, expected) => {
    expect(stream(meshStreams.gossip, encodeGossip({ sender: id, announcements: [announcement] }))).toBe(expected);
    const frame = decodeGossip(await payload(expected, meshStreams.gossip), id);
    expect(frame).toEqual({ sender: id, announcements: [announcement] });
  });
});

describe("control_frames", () => {
  const { peer_down_hex, peer_leaving_hex, route_request_hex } = vectors.control_frames;

  it("are written byte for byte", () => {
    expect(stream(meshStreams.peerDown, encodePeerDown(id))).toBe(peer_down_hex);
    expect(stream(meshStreams.peerLeaving, encodePeerLeaving(id))).toBe(peer_leaving_hex);
    expect(stream(meshStreams.routes, encodeRouteRequest(id))).toBe(route_request_hex);
  });

  it("are read back", async () => {
    expect(decodePeerDown(await payload(peer_down_hex, meshStreams.peerDown))).toBe(id);
    expect(decodePeerLeaving(await payload(peer_leaving_hex, meshStreams.peerLeaving), id)).toBe(id);
    expect(decodeRouteRequest(await payload(route_request_hex, meshStreams.routes))).toBe(id);
  });
});

describe("sealed_request", () => {
  const vector = vectors.sealed_request;

  it("is read and written byte for byte", () => {
    const envelope = decodeRequestEnvelope(utf8(vector.json_utf8));
    expect(toHex(envelope.ephemeralKey)).toBe(vector.ephemeral_public_hex);
    expect(toHex(envelope.ciphertext.subarray(0, 24))).toBe(vector.nonce_hex);
    expect(envelope.ciphertext.length).toBe(40 + vector.plaintext_utf8.length);
    expect(fromUtf8(encodeRequestEnvelope(envelope, "m"))).toBe(vector.json_utf8);
    expect(toHex(Uint8Array.of(meshStreams.http, envelopeByte))).toBe(vector.stream_prefix_hex);
  });
});

describe("sealed responses, framing", () => {
  const { sealed_response_one_chunk: one, sealed_response_two_chunks: two, sealed_response_edge_cases: edge } = vectors;

  async function readAll(streamHex: string): Promise<{ key: Uint8Array; boxes: Uint8Array[] }> {
    const reader = new StreamReader(pieces(fromHex(streamHex), 5));
    const key = await readResponseHeader(reader);
    const boxes: Uint8Array[] = [];
    for (;;) {
      const box = await readChunk(reader);
      if (box === "end") return { key, boxes };
      boxes.push(box);
    }
  }

  it.each([
    ["one chunk", one],
    ["two chunks", two],
  ] as const)("%s: both ways", async (_name, vector) => {
    const { key, boxes } = await readAll(vector.stream_bytes_hex);
    expect(toHex(key)).toBe(vectors.sealed_request.host_public_hex);
    expect(boxes.map((box) => toHex(box.subarray(0, 24)))).toEqual(vector.chunks.map((chunk) => chunk.nonce_hex));
    expect(boxes.map((box) => box.length)).toEqual(vector.chunks.map((chunk) => 40 + chunk.plaintext_utf8.length));
    const written = [encodeResponseHeader(key), ...boxes.map(encodeFrame), endMarker];
    expect(written.map(toHex).join("")).toBe(vector.stream_bytes_hex);
  });

  const framing: Readonly<Record<string, "E_WIRE" | "E_TRUNCATED" | number>> = {
    empty_chunk: 1,
    plaintext_reply: "E_WIRE",
    other_header_key: 1,
    no_end_marker: "E_TRUNCATED",
    chunk_len_23: "E_WIRE",
    chunk_len_39: "E_WIRE",
    chunk_len_16777217: "E_WIRE",
    tag_bit_flipped: 1,
    chunks_swapped: 2,
  };

  it.each(edge.cases.map((row) => [row.name, row.stream_bytes_hex] as const))("%s", async (name, streamHex) => {
    const expected = framing[name];
    if (typeof expected === "string") await rejectsWith(expected, readAll(streamHex));
    else expect((await readAll(streamHex)).boxes.length).toBe(expected);
  });

  it("a chunk of forbidden length is refused without reading on", async () => {
    const row = edge.cases.find(({ name }) => name === "chunk_len_16777217");
    const bytes = fromHex(row?.stream_bytes_hex ?? "");
    const reader = new StreamReader({
      read: (() => {
        let isFirst = true;
        return async () => {
          if (!isFirst) throw new Error("read on");
          isFirst = false;
          return bytes;
        };
      })(),
    });
    await readResponseHeader(reader);
    await rejectsWith("E_WIRE", readChunk(reader));
  });
});

describe("challenge", () => {
  it("signed bytes", () => {
    const wrapper = JSON.parse(vectors.attestation_signed.wrapper_json_utf8) as {
      attestation: { se_public_key: string };
    };
    const { nonce_hex, signed_bytes_hex } = vectors.challenge;
    const bytes = referenceChallengeBytes(wrapper.attestation.se_public_key, fromHex(nonce_hex));
    expect(toHex(bytes)).toBe(signed_bytes_hex);
  });
});

describe("token", () => {
  it("holds the same JSON as serialized_addr", () => {
    expect(fromUtf8(fromBase64Url(vectors.endpoint.token_b64url))).toBe(vectors.endpoint.endpoint_addr_utf8);
  });
});

describe("the id of a named mesh", () => {
  it.each(vectors.mesh_id_named)("$name, Nostr key $nostr_pubkey", ({ name, nostr_pubkey: key, mesh_id: expected }) => {
    expect(namedMeshId(name, key ?? undefined)).toBe(expected);
  });
});

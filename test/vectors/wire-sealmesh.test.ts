/** sealmesh.json: the file is what its script writes, and our codecs agree with it, as far as no key is needed. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../src/base/brand.ts";
import { fromHex, fromUtf8, toHex, utf8 } from "../../src/base/bytes.ts";
import { challengeBytes, challengeNonce, decodeChallenge } from "../../src/wire/challenge.ts";
import {
  decodeRequestEnvelope,
  encodeRequestEnvelope,
  encodeResponseHeader,
  endMarker,
  readChunk,
  readResponseHeader,
} from "../../src/wire/envelope.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { headSigningBytes, readSealedHead, sealedHeadFields } from "../../src/wire/head.ts";
import { labels } from "../../src/wire/labels.ts";
import {
  decodeRecord,
  decodeSignedRecord,
  encodeRecord,
  encodeSignedRecord,
  recordSigningBytes,
} from "../../src/wire/record.ts";
import {
  decodeRecordReply,
  decodeRecordRequest,
  decodeRelayedOpen,
  decodeRelayOpen,
  decodeRelayReply,
  encodeRecordReply,
  encodeRecordRequest,
  encodeRelayedOpen,
  encodeRelayOpen,
  encodeRelayReply,
  relayCodes,
} from "../../src/wire/relay.ts";
import { codeOf } from "../support/expect-code.ts";
import { pieces } from "../unit/wire/pieces.ts";
import vectors from "./sealmesh.json" with { type: "json" };

type Row = (typeof vectors.rows)[number];

function row<Name extends string>(name: Name): Row {
  const found = vectors.rows.find((candidate) => candidate.name === name);
  if (found === undefined) throw new Error(`no row ${name}`);
  return found;
}

/** Bytes of a hex member. */
function bytes(from: Row, member: string): Uint8Array {
  return fromHex(String(Object.entries(from).find(([name]) => name === member)?.[1]));
}

const host = endpointId(vectors.keys.host_id_hex);
const asker = endpointId(vectors.keys.asker_id_hex);

it("the script writes the committed file", () => {
  const script = join(import.meta.dirname, "make-sealmesh-vectors.mjs");
  const printed = execFileSync(process.execPath, [script, "--print"], { encoding: "utf8" });
  expect(printed).toBe(readFileSync(join(import.meta.dirname, "sealmesh.json"), "utf8"));
});

describe("records", () => {
  const names = [
    "record",
    "record_with_models",
    "record_with_description",
    "record_without_key",
    "record_not_canonical",
  ];
  it.each(names)("%s is read", (name) => {
    const vector = row(name);
    const parts = decodeSignedRecord(bytes(vector, "signed_record_hex"));
    expect(parts).toEqual({ signed: bytes(vector, "signed_hex"), signature: bytes(vector, "signature_hex") });
    expect(toHex(encodeSignedRecord(parts))).toBe(vector.signed_record_hex);
    const fields = decodeRecord(parts.signed);
    expect(fields).toEqual({
      endpointId: host,
      seq: BigInt(vector.seq_decimal ?? ""),
      issuedAtMs: vector.issued_at_ms,
      notAfterMs: vector.not_after_ms,
      inferenceKey: vector.inference_key_hex === undefined ? undefined : fromHex(vector.inference_key_hex),
      keyNotAfterMs: vector.key_not_after_ms,
      capabilities: vector.capabilities,
      ...(vector.models === undefined ? {} : { models: vector.models }),
      ...(vector.role === undefined ? {} : { role: vector.role }),
      ...(vector.version === undefined ? {} : { version: vector.version }),
      ...(vector.person_name === undefined ? {} : { name: vector.person_name }),
      ...(vector.address_digest_hex === undefined ? {} : { addressDigest: bytes(vector, "address_digest_hex") }),
      ...(vector.credential_hex === undefined ? {} : { credential: bytes(vector, "credential_hex") }),
      ...(vector.revoked_grants_hex === undefined
        ? {}
        : { revokedGrants: vector.revoked_grants_hex.map((id) => fromHex(id, 16)) }),
    });
    const again = toHex(encodeRecord(fields));
    if (name === "record_not_canonical") expect(again).not.toBe(vector.signed_hex);
    else expect(again).toBe(vector.signed_hex);
  });

  it("signing bytes are label and signed bytes", () => {
    const signed = bytes(row("record"), "signed_hex");
    expect(toHex(recordSigningBytes(signed))).toBe(toHex(utf8("sealmesh-record-v1\0")) + toHex(signed));
  });
});

describe("sealed head", () => {
  const vector = row("head_signature");

  it("signing bytes", () => {
    const signing = headSigningBytes({
      to: host,
      from: asker,
      ephemeralKey: bytes(vector, "ephemeral_public_hex"),
      id: bytes(vector, "id_hex"),
      timeMs: vector.time_ms ?? 0,
      method: vector.method ?? "",
      path: vector.path ?? "",
      body: bytes(vector, "body_hex"),
    });
    expect(toHex(signing)).toBe(vector.signing_hex);
    expect(toHex(signing).startsWith(toHex(labels.request))).toBe(true);
  });

  it("fields, both ways", () => {
    const fields = (vector.fields ?? []).map(([name = "", value = ""]) => [name, value] as const);
    const head = readSealedHead(new Map(fields));
    expect(head).toEqual({
      version: 1,
      id: bytes(vector, "id_hex"),
      timeMs: vector.time_ms,
      to: host,
      from: asker,
      signature: bytes(vector, "signature_hex"),
    });
    if (head !== undefined) expect(sealedHeadFields(head)).toEqual(fields);
  });

  it.each(["request_direct", "request_relayed"])("%s, envelope both ways", (name) => {
    const request = row(name);
    const envelope = decodeRequestEnvelope(utf8(request.json_utf8 ?? ""));
    expect(toHex(envelope.ciphertext)).toBe(request.box_hex);
    expect(toHex(envelope.ephemeralKey)).toBe(vectors.keys.ephemeral_public_hex);
    expect(fromUtf8(encodeRequestEnvelope(envelope))).toBe(request.json_utf8);
  });
});

describe("responses, framing", () => {
  const responses = vectors.rows.filter(({ name }) => name.startsWith("response"));

  it.each(responses.map((vector) => [vector.name, vector] as const))("%s", async (_name, vector) => {
    const reader = new StreamReader(pieces(bytes(vector, "stream_bytes_hex"), 11));
    const written = [encodeResponseHeader(await readResponseHeader(reader))];
    const outcome = await (async (): Promise<string> => {
      for (;;) {
        const box = await readChunk(reader);
        if (box === "end") return "ok";
        written.push(encodeFrame(box));
      }
    })().catch(codeOf);
    // order, final bit and tags are not seen here; a missing marker is
    const isCut = vector.name === "response_no_marker" || vector.name === "response_cut_inside";
    expect(outcome).toBe(isCut ? "E_TRUNCATED" : "ok");
    if (!isCut) expect([...written, endMarker].map(toHex).join("")).toBe(vector.stream_bytes_hex);
  });
});

it("challenge, both ways", () => {
  const vector = row("challenge");
  const challenge = {
    verifier: asker,
    host,
    inferenceKey: bytes(vector, "inference_key_hex"),
    random: bytes(vector, "random_hex"),
  };
  expect(toHex(challengeBytes(challenge))).toBe(vector.bytes_hex);
  expect(decodeChallenge(bytes(vector, "bytes_hex"))).toEqual(challenge);
  expect(toHex(challengeNonce(bytes(vector, "bytes_hex")))).toBe(vector.nonce_hex);
});

describe("frames of sealmesh/1", () => {
  const vector = row("frames");
  const record = bytes(row("record"), "signed_record_hex");
  const payload = (member: string): Uint8Array => bytes(vector, member).subarray(4);
  const framed = (bytesToFrame: Uint8Array): string => toHex(encodeFrame(bytesToFrame));

  it("are written byte for byte", () => {
    expect(framed(encodeRecordRequest())).toBe(vector.record_request_own_hex);
    expect(framed(encodeRecordRequest(host))).toBe(vector.record_request_hex);
    expect(framed(encodeRecordReply([record]))).toBe(vector.record_reply_hex);
    expect(framed(encodeRelayOpen({ target: host, hops: 0 }))).toBe(vector.relay_open_hex);
    expect(framed(encodeRelayReply(relayCodes.ok))).toBe(vector.relay_reply_ok_hex);
    expect(framed(encodeRelayReply(relayCodes.busy))).toBe(vector.relay_reply_busy_hex);
    expect(framed(encodeRelayedOpen({ hops: 1 }))).toBe(vector.relayed_open_hex);
  });

  it("are read back", () => {
    expect(decodeRecordRequest(payload("record_request_own_hex"))).toBeUndefined();
    expect(decodeRecordRequest(payload("record_request_hex"))).toBe(host);
    expect(decodeRecordReply(payload("record_reply_hex"))).toEqual([record]);
    expect(decodeRelayOpen(payload("relay_open_hex"))).toEqual({ version: 1, target: host, hops: 0 });
    expect(decodeRelayReply(payload("relay_reply_ok_hex"))).toBe(relayCodes.ok);
    expect(decodeRelayReply(payload("relay_reply_busy_hex"))).toBe(relayCodes.busy);
    expect(decodeRelayedOpen(payload("relayed_open_hex"))).toEqual({ version: 1, hops: 1 });
  });
});

/** The sealed bytes of our own additions, as an independent script made them. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../src/base/brand.ts";
import { concat, fromHex, toHex, utf8 } from "../../src/base/bytes.ts";
import { keyPairFrom } from "../../src/crypto/box.ts";
import { identityFrom, verifySignature } from "../../src/crypto/identity.ts";
import { signRecord, verifyRecord } from "../../src/crypto/record.ts";
import { AskerSeal, openRequest } from "../../src/crypto/seal.ts";
import { bytesSource, readRequest } from "../../src/tunnel/http.ts";
import { uniqueOwnHeaders } from "../../src/tunnel/headers.ts";
import { openedResponse } from "../../src/tunnel/sealed.ts";
import { decodeRequestEnvelope, encodeRequestEnvelope } from "../../src/wire/envelope.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { headSigningBytes, readSealedHead } from "../../src/wire/head.ts";
import { codeOf } from "../support/expect-code.ts";

type Row = Readonly<Record<string, unknown>> & { readonly name: string };
const { keys, rows } = JSON.parse(readFileSync("test/vectors/sealmesh.json", "utf8")) as {
  readonly keys: Readonly<Record<string, string>>;
  readonly rows: readonly Row[];
};
const row = (name: string): Row => rows.find((candidate) => candidate.name === name) ?? { name };
const hex = (owner: Readonly<Record<string, unknown>>, name: string): Uint8Array => fromHex(String(owner[name]));

const host = identityFrom(hex(keys, "host_seed_hex"));
const hostPair = keyPairFrom(hex(keys, "inference_secret_hex"));
const inferenceKey = { ...hostPair, createdMs: 0, notAfterMs: 1 };
const asker = (nonce?: Uint8Array): AskerSeal => {
  const ephemeral = keyPairFrom(hex(keys, "ephemeral_secret_hex"));
  return new AskerSeal(hostPair.publicKey, nonce ? { ephemeral, nonce } : { ephemeral });
};

describe("sealmesh.json, sealed", () => {
  it("the record is signed to the same bytes, and holds until it ends", () => {
    const record = row("record");
    const issuedAtMs = Number(record["issued_at_ms"]);
    const made = signRecord(host, {
      seq: BigInt(String(record["seq_decimal"])),
      issuedAtMs,
      notAfterMs: Number(record["not_after_ms"]),
      inferenceKey: hex(record, "inference_key_hex"),
      keyNotAfterMs: Number(record["key_not_after_ms"]),
      capabilities: record["capabilities"] as string[],
    });
    expect(toHex(made.bytes)).toBe(record["signed_record_hex"]);
    expect(verifyRecord(made.bytes, host.id, issuedAtMs).fields).toEqual(made.fields);
    const bad = made.bytes.slice();
    bad[bad.length - 1] = (bad.at(-1) ?? 0) ^ 1;
    const code = (bytes: Uint8Array, nowMs: number): string => {
      try {
        verifyRecord(bytes, host.id, nowMs);
        return "ok";
      } catch (thrown) {
        return codeOf(thrown);
      }
    };
    expect(code(bad, issuedAtMs)).toBe("E_WIRE");
    expect(code(made.bytes, Number(record["not_after_ms"]))).toBe("ok");
    expect(code(made.bytes, Number(record["not_after_ms"]) + 1)).toBe("E_WIRE");
    expect(code(made.bytes, issuedAtMs - 300_000)).toBe("ok");
    expect(code(made.bytes, issuedAtMs - 300_001)).toBe("E_WIRE");
  });

  it.each(["record", "record_with_description", "record_without_key", "record_not_canonical"])(
    "%s is verified as it came",
    (name) => {
      const record = row(name);
      const bytes = hex(record, "signed_record_hex");
      expect(verifyRecord(bytes, host.id, Number(record["issued_at_ms"])).bytes).toEqual(bytes);
    },
  );

  it.each(["request_direct", "request_relayed"])(
    "%s is sealed to the same bytes, and opened with its head",
    async (name) => {
      const request = row(name);
      const plaintext = hex(request, "plaintext_hex");
      const envelope = asker(hex(request, "nonce_hex")).sealRequest(plaintext);
      expect(new TextDecoder().decode(encodeRequestEnvelope(envelope))).toBe(request["json_utf8"]);
      const opened = openRequest(decodeRequestEnvelope(utf8(String(request["json_utf8"]))), [inferenceKey]);
      expect(opened.plaintext).toEqual(plaintext);
      expect(opened.marked).toBe(true);
      const { method, path, headers, body } = await readRequest(bytesSource(opened.plaintext));
      const head = readSealedHead(uniqueOwnHeaders(headers));
      expect(head?.to).toBe(host.id);
      expect(head?.from).toBe(endpointId(String(keys["asker_id_hex"])));
      expect(head?.signature !== undefined).toBe(name === "request_relayed");
      if (!head?.signature) return;
      const signed = headSigningBytes({ ...head, ephemeralKey: envelope.ephemeralKey, method, path, body });
      expect(verifySignature(head.from, signed, head.signature)).toBe(true);
      signed[signed.length - 1] = (signed.at(-1) ?? 0) ^ 1;
      expect(verifySignature(head.from, signed, head.signature)).toBe(false);
    },
  );

  it("the head's signature is made to the same bytes", () => {
    const vector = row("head_signature");
    const signer = identityFrom(hex(keys, "asker_seed_hex"));
    expect(signer.sign(hex(vector, "signing_hex"))).toEqual(hex(vector, "signature_hex"));
  });

  const responses = rows.filter(({ name }) => name.startsWith("response"));
  it.each(responses)("$name: $comment -> $expect", async (response) => {
    const reader = new StreamReader(bytesSource(hex(response, "stream_bytes_hex")));
    const opener = asker(hex(row("request_direct"), "nonce_hex")).openResponse("indexed");
    const options = { hostKey: hostPair.publicKey, opener, silenceMs: 1_000 };
    const source = openedResponse(reader, options, () => undefined);
    const parts: Uint8Array[] = [];
    let outcome = "ok";
    try {
      for (let bytes = await source.read(); bytes; bytes = await source.read()) parts.push(bytes);
    } catch (thrown) {
      outcome = codeOf(thrown);
    }
    expect(outcome).toBe(response["expect"]);
    if (outcome === "ok") expect(toHex(concat(parts))).toBe((response["plaintexts_hex"] as string[]).join(""));
  });

  it("the response is sealed to the same bytes", () => {
    const response = row("response");
    const request = decodeRequestEnvelope(utf8(String(row("request_direct")["json_utf8"])));
    const { seal } = openRequest(request, [inferenceKey], { prefix: hex(response, "prefix_hex") });
    const plaintexts = (response["plaintexts_hex"] as string[]).map((text) => fromHex(text));
    const chunks = plaintexts.map((plaintext, index) => seal.sealChunk(plaintext, index === plaintexts.length - 1));
    const stream = concat([Uint8Array.of(0xe1), hostPair.publicKey, ...chunks, new Uint8Array(4)]);
    expect(toHex(stream)).toBe(response["stream_bytes_hex"]);
  });
});

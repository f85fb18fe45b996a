/** The sealed bytes of mesh-llm's protocol, reproduced and read through the product's own path. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex, utf8 } from "../../src/base/bytes.ts";
import { keyPairFrom } from "../../src/crypto/box.ts";
import { AskerSeal, openRequest } from "../../src/crypto/seal.ts";
import { bytesSource } from "../../src/tunnel/http.ts";
import { openedResponse } from "../../src/tunnel/sealed.ts";
import { decodeRequestEnvelope, encodeRequestEnvelope } from "../../src/wire/envelope.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { codeOf } from "../support/expect-code.ts";

interface Vectors {
  readonly sealed_request: Readonly<Record<string, string>>;
  readonly sealed_response_one_chunk: Response;
  readonly sealed_response_two_chunks: Response;
  readonly sealed_response_edge_cases: {
    readonly cases: readonly { name: string; stream_bytes_hex: string; expect: string }[];
  };
}
interface Response {
  readonly chunks: readonly { readonly plaintext_utf8: string }[];
  readonly stream_bytes_hex: string;
}

const vectors = JSON.parse(readFileSync("test/vectors/mesh-llm.json", "utf8")) as Vectors;
const request = vectors.sealed_request;
const hostKey = fromHex(request["host_public_hex"] ?? "");

const asker = (): AskerSeal =>
  new AskerSeal(hostKey, {
    ephemeral: keyPairFrom(fromHex(request["ephemeral_secret_hex"] ?? "")),
    nonce: fromHex(request["nonce_hex"] ?? ""),
  });

/** What a reader of a reference host gets, or the code of its error. */
async function read(streamHex: string): Promise<string> {
  const reader = new StreamReader(bytesSource(fromHex(streamHex)));
  const opener = asker().openResponse("unordered");
  const source = openedResponse(reader, { hostKey, opener, silenceMs: 1_000 }, () => undefined);
  const parts: Uint8Array[] = [];
  try {
    for (;;) {
      const bytes = await source.read();
      if (!bytes) return toHex(concat(parts));
      parts.push(bytes);
    }
  } catch (thrown) {
    return codeOf(thrown);
  }
}

describe("mesh-llm.json, sealed", () => {
  it("a request is sealed to the same bytes", () => {
    const envelope = asker().sealRequest(utf8(request["plaintext_utf8"] ?? ""));
    expect(new TextDecoder().decode(encodeRequestEnvelope(envelope, "m"))).toBe(request["json_utf8"]);
  });

  it("a request is opened", () => {
    const envelope = decodeRequestEnvelope(utf8(request["json_utf8"] ?? ""));
    const pair = keyPairFrom(fromHex(request["host_secret_hex"] ?? ""));
    const opened = openRequest(envelope, [{ ...pair, createdMs: 0, notAfterMs: 1 }]);
    expect(new TextDecoder().decode(opened.plaintext)).toBe(request["plaintext_utf8"]);
    expect(opened.marked).toBe(false);
  });

  it.each(["sealed_response_one_chunk", "sealed_response_two_chunks"] as const)("%s is read", async (name) => {
    const { chunks, stream_bytes_hex } = vectors[name];
    expect(await read(stream_bytes_hex)).toBe(toHex(utf8(chunks.map((chunk) => chunk.plaintext_utf8).join(""))));
  });

  const expected: Readonly<Record<string, string>> = {
    empty_chunk: "",
    plaintext_reply: "E_WIRE",
    other_header_key: "E_WIRE",
    no_end_marker: "E_TRUNCATED",
    chunk_len_23: "E_WIRE",
    chunk_len_39: "E_WIRE",
    chunk_len_16777217: "E_WIRE",
    tag_bit_flipped: "E_OPEN",
  };
  it.each(vectors.sealed_response_edge_cases.cases.filter(({ name }) => name in expected))(
    "edge case $name",
    async ({ name, stream_bytes_hex }) => {
      expect(await read(stream_bytes_hex)).toBe(expected[name]);
    },
  );

  it("edge case chunks_swapped: passes from a reference host, whose order proves nothing, and from no other", async () => {
    const { stream_bytes_hex = "" } =
      vectors.sealed_response_edge_cases.cases.find(({ name }) => name === "chunks_swapped") ?? {};
    expect(await read(stream_bytes_hex)).not.toMatch(/^E_/);
    const strict = asker().openResponse("indexed");
    const reader = new StreamReader(bytesSource(fromHex(stream_bytes_hex)));
    const source = openedResponse(reader, { hostKey, opener: strict, silenceMs: 1_000 }, () => undefined);
    expect(await source.read().then(String, codeOf)).toBe("E_ORDER");
  });
});

/** Every decoder of the sealed path above the wire layer, on bytes of all kinds: a value or a typed error, never a hang. */
import { describe, expect, it } from "vitest";
import { concat, equal, utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { AskerSeal, openRequest } from "../../src/crypto/seal.ts";
import { type ByteSource, encodeRequest, encodeResponse, readRequest, readResponse } from "../../src/tunnel/http.ts";
import { openedResponse } from "../../src/tunnel/sealed.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);

/** The bytes in pieces of the given sizes, over and over. */
function inPieces(bytes: Uint8Array, sizes: readonly number[]): ByteSource {
  let at = 0;
  let turn = 0;
  return {
    read() {
      if (at >= bytes.length) return Promise.resolve(undefined);
      const size = sizes[turn++ % sizes.length] ?? 1;
      const piece = bytes.subarray(at, at + size);
      at += piece.length;
      return Promise.resolve(piece);
    },
  };
}

async function drain(source: ByteSource): Promise<Uint8Array> {
  const response = await readResponse(source);
  const parts: Uint8Array[] = [];
  for await (const part of response.body) parts.push(part.slice());
  return concat(parts);
}

/** Runs, and fails on anything but a MeshError. */
async function tolerates(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
  }
}

const pieces = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 });
const headLike = fc
  .array(
    fc.constantFrom(
      "POST / HTTP/1.1",
      "HTTP/1.1 200 OK",
      "\r\n",
      "\n",
      "\r",
      ":",
      " ",
      "content-length: 3",
      "transfer-encoding: chunked",
      "a: b",
      "5",
      "0",
      "abc",
      "\0",
      "ü",
      ";",
    ),
    { maxLength: 25 },
  )
  .map((parts) => utf8(parts.join("")));
const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 400 }), headLike);

/** `bytes` with some of them changed, cut or repeated. */
function mutated(bytes: Uint8Array): fc.Arbitrary<Uint8Array> {
  return fc
    .record({
      flips: fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 3 }),
      cut: fc.option(fc.nat(bytes.length), { nil: undefined }),
      tail: fc.uint8Array({ maxLength: 8 }),
    })
    .map(({ flips, cut, tail }) => {
      const copy = bytes.slice();
      for (const [at, mask] of flips) copy[at] = (copy[at] ?? 0) ^ mask;
      return concat([copy.subarray(0, cut), tail]);
    });
}

describe("HTTP", () => {
  it("a request head and body", async () => {
    const valid = encodeRequest({ method: "POST", path: "/v1/x", headers: [["a", "b"]], body: utf8("hello") });
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyBytes, mutated(valid)), pieces, async (bytes, sizes) => {
        await tolerates(readRequest(inPieces(bytes, sizes)));
      }),
      { numRuns },
    );
  });

  it("a response head and body", async () => {
    const valid = encodeResponse(200, { "content-type": "text/plain" }, utf8("hello"));
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyBytes, mutated(valid)), pieces, async (bytes, sizes) => {
        await tolerates(drain(inPieces(bytes, sizes)));
      }),
      { numRuns },
    );
  });

  it("the same bytes come to the same, value or code, whatever pieces they come in", async () => {
    const outcome = async (work: Promise<unknown>): Promise<unknown> =>
      await work.catch((thrown: unknown) => (isMeshError(thrown) ? thrown.code : Promise.reject(thrown as Error)));
    const request = encodeRequest({ method: "POST", path: "/v1/x", headers: [["a", "b"]], body: utf8("hello") });
    const chunked = utf8("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyBytes, mutated(request), mutated(chunked)), pieces, async (bytes, sizes) => {
        const whole = [Math.max(1, bytes.length)];
        const inOne = await outcome(readRequest(inPieces(bytes, whole)));
        expect(await outcome(readRequest(inPieces(bytes, sizes)))).toEqual(inOne);
        const answer = await outcome(drain(inPieces(bytes, whole)));
        expect(await outcome(drain(inPieces(bytes, sizes)))).toEqual(answer);
      }),
      { numRuns },
    );
  });

  it("a chunked body gives the same bytes whatever pieces it comes in", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 60 })), pieces, async (parts, sizes) => {
        const chunks = parts.map((part) => concat([utf8(`${part.length.toString(16)}\r\n`), part, utf8("\r\n")]));
        const head = utf8("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        const body = await drain(inPieces(concat([head, ...chunks, utf8("0\r\n\r\n")]), sizes));
        expect(equal(body, concat(parts))).toBe(true);
      }),
      { numRuns },
    );
  });
});

describe("sealed", () => {
  const pair = generateKeyPair();
  const keys = [{ ...pair, createdMs: 0, notAfterMs: 1 }];

  it("an envelope that was changed does not open; one that was not does", async () => {
    const asker = new AskerSeal(pair.publicKey);
    const { ephemeralKey, ciphertext } = asker.sealRequest(utf8("POST / HTTP/1.1\r\n\r\n"));
    const whole = concat([ephemeralKey, ciphertext]);
    fc.assert(
      fc.property(mutated(whole), (bytes) => {
        const envelope = { ephemeralKey: bytes.slice(0, 32), ciphertext: bytes.slice(32) };
        // X25519 ignores the top bit of a public key: that one change is none
        const same = concat([envelope.ephemeralKey, envelope.ciphertext]);
        same[31] = ((same[31] ?? 0) & 0x7f) | ((whole[31] ?? 0) & 0x80);
        let opened = false;
        try {
          openRequest(envelope, keys);
          opened = true;
        } catch (thrown) {
          if (!isMeshError(thrown)) throw thrown;
        }
        expect(opened).toBe(same.length === whole.length && equal(same, whole));
      }),
      { numRuns },
    );
  });

  it("an answer that was changed is never read as whole", async () => {
    const asker = new AskerSeal(pair.publicKey);
    const { seal } = openRequest(asker.sealRequest(utf8("x")), keys);
    const answer = utf8("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    const chunks = [seal.sealChunk(answer.subarray(0, 20), false), seal.sealChunk(answer.subarray(20), true)];
    const stream = concat([Uint8Array.of(0xe1), pair.publicKey, ...chunks, new Uint8Array(4)]);
    const read = async (bytes: Uint8Array, sizes: readonly number[]): Promise<Uint8Array> => {
      const reader = new StreamReader(inPieces(bytes, sizes));
      const opener = asker.openResponse("indexed");
      return await drain(
        openedResponse(reader, { hostKey: pair.publicKey, opener, silenceMs: 1_000 }, () => undefined),
      );
    };
    expect(await read(stream, [1])).toEqual(utf8("hello"));
    await fc.assert(
      fc.asyncProperty(mutated(stream), pieces, async (bytes, sizes) => {
        // what follows the end marker is not part of the answer
        const unchanged = equal(bytes.subarray(0, stream.length), stream);
        try {
          await read(bytes, sizes);
          expect(unchanged).toBe(true);
        } catch (thrown) {
          if (!isMeshError(thrown)) throw thrown;
          expect(unchanged).toBe(false);
        }
      }),
      { numRuns },
    );
  });
});

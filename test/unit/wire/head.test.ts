import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { toHex, utf8 } from "../../../src/base/bytes.ts";
import { challengeBytes, decodeChallenge } from "../../../src/wire/challenge.ts";
import { limits } from "../../../src/wire/limits.ts";
import { headSigningBytes, readSealedHead, type SealedHead, sealedHeadFields } from "../../../src/wire/head.ts";
import { expectCode } from "../../support/expect-code.ts";

const to = endpointId("aa".repeat(32));
const from = endpointId("bb".repeat(32));
const head: SealedHead = { version: 1, id: new Uint8Array(16).fill(3), timeMs: 5, to, from, signature: undefined };
const fields = Object.fromEntries(sealedHeadFields(head));

describe("readSealedHead", () => {
  it("reads a map and a plain object", () => {
    expect(readSealedHead(fields)).toEqual(head);
    expect(readSealedHead(new Map(sealedHeadFields(head)))).toEqual(head);
  });

  it("reads the signature of a relayed request", () => {
    const signed = { ...head, signature: new Uint8Array(64).fill(7) };
    expect(readSealedHead(new Map(sealedHeadFields(signed)))).toEqual(signed);
  });

  it("reads a credential of any length up to the bound, and nothing beyond", () => {
    const signed = { ...head, signature: new Uint8Array(64).fill(7) };
    const withCredential = (bytes: number): SealedHead => ({ ...signed, credential: new Uint8Array(bytes).fill(9) });
    for (const bytes of [1, 2, 3, limits.credentialBytes]) {
      expect(readSealedHead(new Map(sealedHeadFields(withCredential(bytes))))).toEqual(withCredential(bytes));
    }
    for (const bytes of [0, limits.credentialBytes + 1, limits.credentialBytes + 2, 60_000]) {
      expectCode("E_WIRE", () => readSealedHead(new Map(sealedHeadFields(withCredential(bytes)))));
    }
  });

  it("is undefined for a reference client, which sends none of it", () => {
    expect(readSealedHead({ host: "x", "x-sealmesh-other": "1" })).toBeUndefined();
    expect(readSealedHead(new Map())).toBeUndefined();
  });

  it.each(Object.keys(fields))("refuses a head without %s", (name) => {
    expectCode("E_WIRE", () => readSealedHead({ ...fields, [name]: undefined }));
  });

  it.each([
    ["x-sealmesh-v", "2"],
    ["x-sealmesh-v", "01"],
    ["x-sealmesh-id", "00"],
    ["x-sealmesh-id", "AA".repeat(16)],
    ["x-sealmesh-time", "-5"],
    ["x-sealmesh-time", "05"],
    ["x-sealmesh-time", "1e3"],
    ["x-sealmesh-time", "9007199254740992"],
    ["x-sealmesh-time", ""],
    ["x-sealmesh-to", "aa"],
    ["x-sealmesh-from", "BB".repeat(32)],
    ["x-sealmesh-cred", ""],
    ["x-sealmesh-cred", "AAA"],
    ["x-sealmesh-cred", "no base64"],
    ["x-sealmesh-sig", ""],
    ["x-sealmesh-sig", "AAAA"],
    ["x-sealmesh-sig", "A".repeat(86)],
  ])("refuses %s: %s", (name, value) => {
    expectCode("E_WIRE", () => readSealedHead({ ...fields, [name]: value }));
  });

  it("refuses a signature alone", () => expectCode("E_WIRE", () => readSealedHead({ "x-sealmesh-sig": "AAAA" })));
});

describe("headSigningBytes", () => {
  const input = {
    to,
    from,
    ephemeralKey: new Uint8Array(32).fill(1),
    id: head.id,
    timeMs: 0x01_02_03_04_05,
    method: "POST",
    path: "/v1/x",
    body: utf8("{}"),
  };

  it("is label, to, from, key, id, time, digest", () => {
    const digest = createHash("sha256").update("POST /v1/x\n{}").digest("hex");
    const label = toHex(utf8("sealmesh-request-v1\0"));
    expect(toHex(headSigningBytes(input))).toBe(
      `${label}${to}${from}${"01".repeat(32)}${"03".repeat(16)}0504030201000000${digest}`,
    );
  });

  it("refuses a request line whose parts could be cut otherwise", () => {
    expectCode("E_WIRE", () => headSigningBytes({ ...input, method: "POST /v1/x\n" }));
    expectCode("E_WIRE", () => headSigningBytes({ ...input, path: "/v1/x\n{}" }));
    expectCode("E_WIRE", () => headSigningBytes({ ...input, path: "" }));
  });
});

describe("decodeChallenge", () => {
  const challenge = { verifier: to, host: from, inferenceKey: new Uint8Array(32), random: new Uint8Array(32).fill(1) };

  it("takes exactly what challengeBytes writes", () => {
    const written = challengeBytes(challenge);
    expect(decodeChallenge(written)).toEqual(challenge);
    expectCode("E_WIRE", () => decodeChallenge(written.subarray(1)));
    expectCode("E_WIRE", () => decodeChallenge(Uint8Array.of(...written, 0)));
    expectCode("E_WIRE", () => decodeChallenge(utf8("POST / HTTP/1.1\r\n\r\n".padEnd(150))));
    written[21] = 1;
    expectCode("E_WIRE", () => decodeChallenge(written));
  });
});

import { describe, expect, it } from "vitest";
import { authorityKey, endpointId } from "../../../src/base/brand.ts";
import { concat, fromHex, toHex } from "../../../src/base/bytes.ts";
import {
  decodeAdmissionChallenge,
  decodeAdmissionProof,
  decodeAdmissionReply,
  decodeAdmissionRequest,
  decodeCredential,
  decodeGrant,
  decodeLink,
  decodeSignedGrant,
  encodeCredential,
  encodeGrant,
  encodeLink,
  encodeSignedGrant,
  type Grant,
  grantId,
  type Link,
  memberRoles,
} from "../../../src/wire/admission.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";
import { bytes, number } from "./protobuf-bytes.ts";

const id = endpointId("aa".repeat(32));
const authority = authorityKey("bb".repeat(32));
const link: Link = {
  authority,
  subject: id,
  issuer: authority,
  role: "host",
  delegable: true,
  issuedAtMs: 5,
  notAfterMs: 6,
  grantId: grantId("01".repeat(16)),
};
const grant: Grant = {
  authority,
  issuer: id,
  id: grantId("01".repeat(16)),
  role: "host",
  expiresMs: 7,
  uses: 4_294_967_295,
  delegable: false,
  bearer: fromHex("cc".repeat(32)),
};
const part = { signed: encodeLink(link), signature: new Uint8Array(64).fill(3) };
const beyond = Uint8Array.of(...Array.from({ length: 9 }, () => 0xff), 0x01);

describe("links and grants", () => {
  it.each(memberRoles)("go both ways as %s", (role) => {
    expect(decodeLink(encodeLink({ ...link, role }))).toEqual({ ...link, role });
    expect(decodeGrant(encodeGrant({ ...grant, role }))).toEqual({ ...grant, role });
  });

  it.each([
    ["no role", []],
    ["a role of a later version", [number(4, 4)]],
    ["an authority of 31 bytes", [number(4, 2), bytes(1, new Uint8Array(31))]],
    ["an id of 15 bytes", [number(4, 2), bytes(8, new Uint8Array(15)), bytes(3, new Uint8Array(15))]],
    ["a time beyond 2^53", [number(4, 2), Uint8Array.of(0x38), beyond, Uint8Array.of(0x28), beyond]],
    ["text for a number", [number(4, 2), bytes(7, "x")]],
  ])("with %s are refused", (_what, fields) => {
    const start = [
      bytes(1, fromHex(authority)),
      bytes(2, fromHex(id)),
      bytes(3, fromHex(id)),
      bytes(8, new Uint8Array(16)),
    ];
    expectCode("E_WIRE", () => decodeLink(concat([...start, ...fields])));
    expectCode("E_WIRE", () => decodeGrant(concat([...start, ...fields])));
  });

  it("keep fields of later versions out of what they say, and in what was signed", () => {
    const later = concat([part.signed, bytes(99, "later")]);
    expect(decodeLink(later)).toEqual(link);
    const [kept] = decodeCredential(encodeCredential([{ ...part, signed: later }]));
    expect(toHex(kept?.signed ?? new Uint8Array())).toBe(toHex(later));
  });
});

describe("credentials", () => {
  it("of as many links as there may be stay far below their bound", () => {
    const full = encodeCredential(Array.from({ length: limits.credentialLinks }, () => part));
    expect(decodeCredential(full)).toHaveLength(limits.credentialLinks);
    expect(full.length * 2).toBeLessThan(limits.credentialBytes);
    expectCode("E_WIRE", () => decodeCredential(concat([full, encodeCredential([part])])));
  });

  it.each([
    ["without a link", new Uint8Array(0)],
    ["with half a signature", encodeCredential([{ ...part, signature: new Uint8Array(32) }])],
    ["that is too long", encodeCredential([{ ...part, signed: new Uint8Array(limits.credentialBytes) }])],
  ])("%s are refused", (_what, encoded) => expectCode("E_WIRE", () => decodeCredential(encoded)));

  it("share no memory with the bytes that they came in", () => {
    const encoded = encodeCredential([part]);
    const decoded = decodeCredential(encoded);
    encoded.fill(0);
    expect(decoded).toEqual([part]);
  });
});

describe("frames", () => {
  const whole = encodeSignedGrant({ signed: encodeGrant(grant), signature: part.signature });

  it("hold a grant and a credential at their bounds", () => {
    expect(whole.length).toBeLessThan(limits.grantBytes);
    expect(limits.admissionFrameBytes).toBeGreaterThan(limits.credentialBytes + 16);
    expectCode("E_WIRE", () => decodeSignedGrant(new Uint8Array(limits.grantBytes + 1)));
  });

  it.each([
    ["a request without a nonce", () => decodeAdmissionRequest(bytes(1, whole))],
    [
      "a grant that is too long",
      () => decodeAdmissionRequest(concat([bytes(1, new Uint8Array(513)), bytes(2, new Uint8Array(32))])),
    ],
    ["a challenge without a nonce", () => decodeAdmissionChallenge(new Uint8Array(0))],
    ["a code without meaning", () => decodeAdmissionChallenge(number(1, 9))],
    ["a proof of 63 bytes", () => decodeAdmissionProof(bytes(1, new Uint8Array(63)))],
    ["a credential that is too long", () => decodeAdmissionReply(bytes(2, new Uint8Array(limits.credentialBytes + 1)))],
  ])("%s is refused", (_what, decode) => expectCode("E_WIRE", decode));
});

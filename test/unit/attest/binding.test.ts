/** The binding: its bytes, put together here a second time by hand, and that each part counts. */
import { createHash } from "node:crypto";
import { expect, it } from "vitest";
import { evidenceBinding, expectedBinding } from "../../../src/attest/binding.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { toHex } from "../../../src/base/bytes.ts";

const parts = {
  endpointId: endpointId("01".repeat(32)),
  inferenceKey: new Uint8Array(32).fill(2),
  attestedKey: new Uint8Array(65).fill(3),
  nonce: new Uint8Array(32).fill(4),
};

function byHand(...fields: readonly string[]): string {
  const domain = Buffer.from("sealmesh-evidence-binding-v1\0").toString("hex");
  const hex =
    domain + fields.map((field) => `${(field.length / 2).toString(16).padStart(2, "0")}000000${field}`).join("");
  return createHash("sha256").update(Buffer.from(hex, "hex")).digest("hex");
}

it("is SHA-256 over the domain and each part behind its length", () => {
  const [id, inference, attested, nonce] = ["01".repeat(32), "02".repeat(32), "03".repeat(65), "04".repeat(32)];
  expect(toHex(evidenceBinding(parts))).toBe(byHand(id, inference, attested, nonce));
  expect(toHex(evidenceBinding({ ...parts, nonce: undefined }))).toBe(byHand(id, inference, attested, ""));
  expect(toHex(evidenceBinding({ ...parts, attestedKey: undefined }))).toBe(byHand(id, inference, "", nonce));
  // computed once with python3's hashlib
  expect(toHex(evidenceBinding(parts))).toBe("c7f944baef057c161087450288b8956822d4a6cf1a561122840aa82a9447b48c");
});

it("changes with every part, and a byte cannot move from one to the next", () => {
  const changed = [
    parts,
    { ...parts, endpointId: endpointId(`${"01".repeat(31)}00`) },
    { ...parts, inferenceKey: new Uint8Array(32) },
    { ...parts, attestedKey: undefined },
    { ...parts, attestedKey: new Uint8Array(33).fill(3) },
    { ...parts, nonce: undefined },
    { ...parts, nonce: new Uint8Array(32) },
    { ...parts, attestedKey: undefined, nonce: parts.attestedKey },
    { ...parts, attestedKey: new Uint8Array(64).fill(3), nonce: Uint8Array.from([3, ...parts.nonce]) },
  ].map((one) => toHex(evidenceBinding(one)));
  expect(new Set(changed).size).toBe(changed.length);
});

it("is not expected of a node or key that is not known", () => {
  const { attestedKey, ...expected } = parts;
  expect(expectedBinding(expected, attestedKey)).toEqual(evidenceBinding(parts));
  expect(expectedBinding({ ...expected, endpointId: undefined }, attestedKey)).toBeUndefined();
  expect(expectedBinding({ ...expected, inferenceKey: undefined }, attestedKey)).toBeUndefined();
});

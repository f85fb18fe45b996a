/** What this node keeps of its admission, read back damaged: a value, or a MeshError, and never more than may stand there. */
import { describe, expect, it } from "vitest";
import { authorityKey, endpointId } from "../../src/base/brand.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { meshIdOf } from "../../src/crypto/admission.ts";
import { inviteOptions } from "../../src/node/http/invites.ts";
import { inviteBook } from "../../src/node/invite-book.ts";
import { decodeMeshes, encodeMeshes } from "../../src/node/mesh-file.ts";
import { grantId } from "../../src/wire/admission.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const authority = authorityKey("ab".repeat(32));
const bytes = new Uint8Array(32).fill(7);

const files = [
  {
    name: "invites.json",
    decode: inviteBook.decode,
    valid: inviteBook.encode({
      grants: [
        {
          id: grantId("01".repeat(16)),
          mesh: "cd".repeat(16),
          role: "host",
          delegable: true,
          createdMs: 1,
          expiresMs: 2,
          uses: 3,
          note: "Ada",
          usedBy: [{ endpoint: endpointId("ef".repeat(32)), atMs: 4 }],
          revokedMs: 5,
          standing: { bytes, bearerSeed: bytes },
        },
      ],
    }),
  },
  {
    name: "mesh.json",
    decode: decodeMeshes,
    valid: encodeMeshes([
      { mode: "invite", id: meshIdOf(authority), name: "team", authority, credential: bytes },
      { mode: "open", id: "0123456789abcdef", name: undefined },
    ]),
  },
  {
    name: "the body of a wish",
    decode: inviteOptions,
    valid: '{"role":"host","uses":3,"expires_seconds":9,"note":"a"}',
  },
];

function outcome(decode: (text: string) => unknown, text: string): void {
  try {
    decode(text);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw new Error(`not a MeshError for ${text}`, { cause: thrown });
  }
}

describe.each(files)("$name", ({ decode, valid }) => {
  it("is read back as it was", () => {
    expect(() => decode(valid)).not.toThrow();
  });

  it("random JSON, and random JSON in the place of each value", () => {
    const value = fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(-1, 1e300, "", "x".repeat(10_000), [], {}, null));
    const places = valid.split(/(?<=[:,[])/u);
    fc.assert(
      fc.property(value, fc.nat(places.length - 1), (other, at) => {
        outcome(decode, JSON.stringify(other) ?? "");
        const changed = places.map((place, index) =>
          index === at ? place.replace(/^[^:,[\]}]+/u, JSON.stringify(other)) : place,
        );
        outcome(decode, changed.join(""));
      }),
      { numRuns },
    );
  });

  it("cut short, anywhere", () => {
    for (let length = 0; length < valid.length; length += 1) outcome(decode, valid.slice(0, length));
  });
});

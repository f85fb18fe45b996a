/**
 * All cases of the files in wycheproof/, and of a directory named by SEALMESH_WYCHEPROOF: each must come out as its
 * file says. wycheproof/README.md says where they come from.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import nacl from "tweetnacl";
import { describe, expect, it } from "vitest";
import { fromHex, toHex, utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { isUsableKey, keyPairFrom, sharedKey } from "../../src/crypto/box.ts";
import { type Curve, ecKey, type Sha2, verifyEcdsa, verifyP256 } from "../../src/crypto/p256.ts";

interface Case {
  readonly tcId: number;
  readonly flags: readonly string[];
  readonly result: "valid" | "invalid" | "acceptable";
}
interface EcdsaCase extends Case {
  readonly msg: string;
  readonly sig: string;
}
interface XdhCase extends Case {
  readonly public: string;
  readonly private: string;
  readonly shared: string;
}
interface EcdsaGroup {
  readonly publicKey: { readonly curve: string; readonly uncompressed: string };
  readonly sha: string;
  readonly tests: readonly EcdsaCase[];
}
interface XdhGroup {
  readonly curve: string;
  readonly tests: readonly XdhCase[];
}
type Vectors = { readonly numberOfTests: number } & (
  | {
      readonly schema: "ecdsa_verify_schema_v1.json" | "ecdsa_p1363_verify_schema_v1.json";
      readonly testGroups: readonly EcdsaGroup[];
    }
  | { readonly schema: "xdh_comp_schema_v1.json"; readonly testGroups: readonly XdhGroup[] }
);

const directories = ["test/vectors/wycheproof", process.env["SEALMESH_WYCHEPROOF"] ?? []].flat();
const curves: Readonly<Record<string, Curve>> = { secp256r1: "P-256", secp384r1: "P-384" };
const hashes: Readonly<Record<string, Sha2>> = { "SHA-256": "sha256", "SHA-384": "sha384" };

function filesOf(directory: string): readonly { readonly name: string; readonly vectors: Vectors }[] {
  const names = readdirSync(directory).filter((name) => name.endsWith(".json"));
  return names.map((name) => ({ name, vectors: JSON.parse(readFileSync(join(directory, name), "utf8")) as Vectors }));
}

/** What a case of a good signature or agreement, and of any other, came to. */
interface Outcome {
  readonly tcId: number;
  readonly outcome: string;
}

function runEcdsa(groups: readonly EcdsaGroup[], form: "der" | "p1363"): Outcome[] {
  return groups.flatMap(({ publicKey, sha, tests }) => {
    const curve = curves[publicKey.curve];
    const hash = hashes[sha];
    if (!curve || !hash) throw new Error(`not run here: ${publicKey.curve} with ${sha}`);
    const sec1 = fromHex(publicKey.uncompressed);
    const compressed = sec1.slice(0, (sec1.length + 1) / 2);
    compressed[0] = 2 + ((sec1.at(-1) ?? 0) & 1);
    return tests.map(({ tcId, msg, sig }) => {
      const rest = { message: fromHex(msg), signature: fromHex(sig), form };
      const holds = [sec1, compressed].map((bytes) => verifyEcdsa({ key: ecKey(bytes, curve), hash, ...rest }));
      if (curve === "P-256") holds.push(verifyP256({ publicKey: sec1, ...rest }));
      return { tcId, outcome: holds.every((one) => one) ? "valid" : holds.some((one) => one) ? "differs" : "invalid" };
    });
  });
}

// a box's key is HSalsa20 of the shared point: worked out from the file's with another implementation of it
const { lowlevel } = nacl as unknown as {
  readonly lowlevel: {
    crypto_core_hsalsa20(out: Uint8Array, input: Uint8Array, key: Uint8Array, constant: Uint8Array): void;
  };
};
function boxKey(point: Uint8Array): string {
  const out = new Uint8Array(32);
  lowlevel.crypto_core_hsalsa20(out, new Uint8Array(16), point, utf8("expand 32-byte k"));
  return toHex(out);
}

function runXdh(groups: readonly XdhGroup[]): Outcome[] {
  return groups.flatMap(({ tests }) =>
    tests.map(({ tcId, public: publicHex, private: secretHex, shared }) => {
      const publicKey = fromHex(publicHex);
      const { secretKey } = keyPairFrom(fromHex(secretHex));
      try {
        const isSame = toHex(sharedKey(secretKey, publicKey).bytes) === boxKey(fromHex(shared));
        return { tcId, outcome: isSame && isUsableKey(publicKey) ? "valid" : "wrong" };
      } catch (error) {
        const isRefused = isMeshError(error) && error.code === "E_KEY" && !isUsableKey(publicKey);
        return { tcId, outcome: isRefused ? "invalid" : String(error) };
      }
    }),
  );
}

function run(vectors: Vectors): Outcome[] {
  switch (vectors.schema) {
    case "ecdsa_verify_schema_v1.json":
      return runEcdsa(vectors.testGroups, "der");
    case "ecdsa_p1363_verify_schema_v1.json":
      return runEcdsa(vectors.testGroups, "p1363");
    case "xdh_comp_schema_v1.json":
      return runXdh(vectors.testGroups);
  }
}

/** Valid or invalid. X25519's "acceptable" must be computed right, and refused when it comes to zero. */
function expected({ result, flags }: Case): string {
  if (flags.includes("ZeroSharedSecret")) return "invalid";
  return result === "acceptable" ? "valid" : result;
}

describe.each(directories)("%s", (directory) => {
  const files = filesOf(directory);

  it("has the three kinds of files", () => {
    expect([...new Set(files.map(({ vectors }) => vectors.schema))].toSorted()).toEqual([
      "ecdsa_p1363_verify_schema_v1.json",
      "ecdsa_verify_schema_v1.json",
      "xdh_comp_schema_v1.json",
    ]);
  });

  it.each(files)("$name: every case comes out as stated", ({ vectors }) => {
    const cases: readonly Case[] = vectors.testGroups.flatMap(({ tests }): readonly Case[] => tests);
    const wanted = cases.map((one) => ({ tcId: one.tcId, outcome: expected(one) }));
    expect(new Set(wanted.map(({ outcome }) => outcome))).toEqual(new Set(["valid", "invalid"]));
    expect(run(vectors)).toEqual(wanted);
    expect(wanted.length).toBe(vectors.numberOfTests);
  });
});

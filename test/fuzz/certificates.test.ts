/**
 * The readers of crypto/ for certificates, keys and signatures on random bytes, on valid ones with changes, and on
 * structures of random elements: they return a value or throw a MeshError, and soon. verifyChain never throws, and never
 * accepts what was changed. fast-check prints seed and path of a failure; SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { concat, equal } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import {
  bitString,
  boolean,
  type Der,
  ecdsaFromDer,
  ecdsaToDer,
  explicit,
  integerBytes,
  octetString,
  oid,
  readDer,
  sequence,
  smallInteger,
  time,
  unsigned,
} from "../../src/crypto/der.ts";
import { ecKeyFromSpki, p256Point, verifyP256 } from "../../src/crypto/p256.ts";
import { chainFailures, parseCertificate, verifyChain } from "../../src/crypto/x509.ts";
import {
  chainKeys,
  der,
  madeCertificate,
  madeChain,
  madeExtensions,
  madeKey,
  pssWith,
} from "../support/certificates.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;
const nowMs = Date.UTC(2026, 10, 21);

const keys = chainKeys();
const rsa = madeKey("rsa");
const chain = madeChain(keys);
const rsaRoot = madeCertificate({
  subject: "rsa",
  issuer: "rsa",
  spki: rsa.spki,
  signer: rsa.privateKey,
  algorithm: pssWith("sha384"),
  extensions: [madeExtensions.authority(true, 3), madeExtensions.extendedKeyUsage("2.23.133.8.1")],
});
const samples = [chain.root, chain.intermediate, chain.leaf, rsaRoot, keys.leaf.spki, rsa.spki];

/** Valid bytes with some changed, put in or left out. */
const changedBytes = fc
  .tuple(
    fc.constantFrom(...samples),
    fc.array(fc.record({ at: fc.nat(5_000), cut: fc.nat(4), put: fc.uint8Array({ maxLength: 4 }) }), { maxLength: 4 }),
  )
  .map(([bytes, changes]) =>
    changes.reduce((now, { at, cut, put }) => {
      const place = at % (now.length + 1);
      return concat([now.subarray(0, place), put, now.subarray(place + cut)]);
    }, bytes),
  );

/** Well-formed DER of any elements: gets past the reader, into what stands behind it. */
const { element } = fc.letrec<{ element: Uint8Array }>((tie) => ({
  element: fc.oneof(
    { depthSize: "small" },
    fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 5, 6, 12, 23, 24, 0x80), fc.uint8Array({ maxLength: 20 }))
      .map(([tag, value]) => der(tag, value)),
    fc.constantFrom(...samples),
    fc
      .tuple(fc.constantFrom(0x30, 0x30, 0x31, 0xa0, 0xa1, 0xa3), fc.array(tie("element"), { maxLength: 6 }))
      .map(([tag, parts]) => der(tag, ...parts)),
  ),
}));

const anyBytes = fc.oneof(fc.uint8Array({ maxLength: 200 }), changedBytes, element);

const walk = (node: Der, visit: (node: Der) => void): void => {
  visit(node);
  for (const child of node.children) walk(child, visit);
};
const onEvery =
  (helper: (node: Der) => unknown) =>
  (bytes: Uint8Array): void =>
    walk(readDer(bytes), (node) => quietly(() => helper(node)));

/** Runs, and lets a MeshError pass. */
function quietly(run: () => unknown): void {
  try {
    run();
  } catch (error) {
    if (!isMeshError(error)) throw error;
  }
}

const readers: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  readDer,
  parseCertificate,
  p256Point,
  ecKeyFromSpki,
  ecdsaToDer,
  ecdsaFromDer: (bytes) => ecdsaFromDer(bytes, 32),
  boolean: onEvery(boolean),
  integerBytes: onEvery(integerBytes),
  unsigned: onEvery(unsigned),
  smallInteger: onEvery(smallInteger),
  bitString: onEvery(bitString),
  octetString: onEvery(octetString),
  oid: onEvery(oid),
  time: onEvery(time),
  sequence: onEvery(sequence),
  explicit: onEvery((node) => explicit(node, 3)),
};

describe.each(Object.entries(readers))("%s", (_, read) => {
  it("returns a value or throws a MeshError, soon", () => {
    fc.assert(
      fc.property(anyBytes, (bytes) => {
        const started = performance.now();
        quietly(() => read(bytes));
        expect(performance.now() - started).toBeLessThan(caseMs);
      }),
      { numRuns },
    );
  });
});

it("what was read is the input, whole", () => {
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      quietly(() =>
        walk(readDer(bytes), ({ tag, contents, bytes: whole }) => expect(der(tag, contents)).toEqual(whole)),
      );
    }),
    { numRuns },
  );
});

it("an ECDSA signature has one DER form", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 64, maxLength: 64 }), (raw) => {
      expect(ecdsaFromDer(ecdsaToDer(raw), 32)).toEqual(raw);
    }),
    { numRuns },
  );
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      quietly(() => expect(ecdsaToDer(ecdsaFromDer(bytes, 32))).toEqual(bytes));
    }),
    { numRuns },
  );
});

it("verifyP256 is false for anything, and never throws", () => {
  fc.assert(
    fc.property(
      anyBytes,
      anyBytes,
      anyBytes,
      fc.constantFrom("der", "p1363"),
      (publicKey, message, signature, form) => {
        expect(verifyP256({ publicKey, message, signature, form })).toBe(false);
      },
    ),
    { numRuns },
  );
});

it("verifyChain never throws, and accepts nothing but the certificates that were issued", () => {
  const issued = [chain.leaf, chain.intermediate];
  const anyCertificate = fc.oneof(anyBytes, fc.constantFrom(...samples));
  fc.assert(
    fc.property(
      anyCertificate,
      fc.array(anyCertificate, { maxLength: 9 }),
      fc.array(anyCertificate, { maxLength: 3 }),
      fc.record({ nowMs: fc.constantFrom(nowMs, 0, Number.NaN), ekuOid: fc.constantFrom(undefined, "2.23.133.8.1") }),
      (leaf, intermediates, roots, { ekuOid, ...options }) => {
        const started = performance.now();
        // the roots are the caller's: one that is made up here vouches for nothing that exists, but for the real one
        const result = verifyChain(leaf, intermediates, [...roots, chain.root], {
          ...options,
          ...(ekuOid === undefined ? {} : { ekuOid }),
        });
        expect(performance.now() - started).toBeLessThan(caseMs);
        if (!result.ok) {
          expect(chainFailures).toContain(result.why);
          return;
        }
        const known = [...issued, ...samples];
        for (const certificate of result.chain.slice(0, -1)) {
          expect(known.some((one) => equal(one, certificate.der))).toBe(true);
        }
        expect(options.nowMs).toBe(nowMs);
      },
    ),
    { numRuns },
  );
});

it("a changed leaf or intermediate is never accepted", () => {
  fc.assert(
    fc.property(changedBytes, fc.boolean(), (bytes, isLeaf) => {
      const [leaf, intermediate] = isLeaf ? [bytes, chain.intermediate] : [chain.leaf, bytes];
      const isWhole = equal(leaf, chain.leaf) && equal(intermediate, chain.intermediate);
      const isCa = equal(leaf, chain.intermediate) || equal(leaf, chain.root); // issued by the root all the same
      expect(verifyChain(leaf, [intermediate], [chain.root], { nowMs }).ok).toBe(isWhole || isCa);
    }),
    { numRuns },
  );
});

import { X509Certificate } from "node:crypto";
import { describe, expect, it } from "vitest";
import { concat, toHex, utf8 } from "../../../src/base/bytes.ts";
import { readDer } from "../../../src/crypto/der.ts";
import {
  type ChainFailure,
  chainFailures,
  type ChainOptions,
  parseCertificate,
  verifyChain,
} from "../../../src/crypto/x509.ts";
import {
  caExtensions,
  type ChainChanges,
  chainKeys,
  derBits,
  derBoolean,
  derContext,
  derInteger,
  derName,
  derNull,
  derOctets,
  derOid,
  derSequence,
  derTime,
  ecdsaWith,
  type MadeAlgorithm,
  madeCertificate,
  madeChain,
  madeExtensions,
  type MadeKey,
  madeKey,
  madeNotAfterMs,
  madeNotBeforeMs,
  pkcs1With,
  pointOf,
  pssWith,
} from "../../support/certificates.ts";
import { expectCode } from "../../support/expect-code.ts";

const nowMs = Date.UTC(2026, 10, 21);
const keys = chainKeys();
const otherKey = madeKey("P-256");
const rsaKey = madeKey("rsa");
const ekuOid = "2.23.133.8.1";
const sanOid = "2.5.29.17";
const good = madeChain(keys);

/** Outcome of a chain that is good but for the changes: "ok" or why not. */
function outcome(changes: ChainChanges, options: Partial<ChainOptions> = {}): "ok" | ChainFailure {
  const { leaf, intermediate, root } = madeChain(keys, changes);
  return outcomeOf(leaf, [intermediate], [root], options);
}

function outcomeOf(
  leaf: Uint8Array,
  intermediates: readonly Uint8Array[],
  roots: readonly Uint8Array[],
  options: Partial<ChainOptions> = {},
): "ok" | ChainFailure {
  const result = verifyChain(leaf, intermediates, roots, { nowMs, ...options });
  return result.ok ? "ok" : result.why;
}

/** Outcome of a leaf that a root of its own issued by `algorithm`. */
function outcomeBy(signer: MadeKey, algorithm: MadeAlgorithm, fields: object = {}): "ok" | ChainFailure {
  const root = { subject: "r", issuer: "r", spki: signer.spki, signer: signer.privateKey, algorithm };
  const leaf = { ...root, subject: "l", spki: keys.leaf.spki, ...fields };
  return outcomeOf(madeCertificate(leaf), [], [madeCertificate({ ...root, extensions: caExtensions() })]);
}

describe("certificate", () => {
  it("is read as OpenSSL reads it", () => {
    for (const bytes of [good.root, good.intermediate, good.leaf]) {
      const ours = parseCertificate(bytes);
      const theirs = new X509Certificate(bytes);
      expect(toHex(ours.serial)).toBe(theirs.serialNumber.toLowerCase());
      expect(ours.notBeforeMs).toBe(Date.parse(theirs.validFrom));
      expect(ours.notAfterMs).toBe(Date.parse(theirs.validTo));
      expect(ours.publicKey.equals(theirs.publicKey)).toBe(true);
      expect(ours.authority !== undefined).toBe(theirs.ca);
    }
  });

  it("gives names, key and extensions as they stand in it", () => {
    const value = utf8("raw, no DER");
    const { leaf } = madeChain(keys, {
      leaf: { extensions: [{ oid: "1.3.6.1.4.1.3704.1.4", value, critical: true }] },
    });
    const certificate = parseCertificate(leaf);
    expect(certificate.subject).toEqual(derName("leaf"));
    expect(certificate.issuer).toEqual(derName("ca"));
    expect(certificate.spki).toEqual(keys.leaf.spki);
    expect(certificate.ecKey?.point).toEqual(pointOf(keys.leaf));
    expect([...certificate.extensions]).toEqual([["1.3.6.1.4.1.3704.1.4", { critical: true, value }]]);
    expect(certificate.der).toEqual(leaf);
  });

  it("has version 1 or 3, nothing after its parts, and one signature algorithm", () => {
    const leaf = { subject: "l", issuer: "r", spki: keys.leaf.spki, signer: keys.root.privateKey };
    expect(parseCertificate(madeCertificate({ ...leaf, version: 0 })).extensions.size).toBe(0);
    const extensions = [madeExtensions.keyUsage("digitalSignature")];
    for (const fields of [
      { version: 0, extensions },
      { version: 1 },
      { version: 1, extensions },
      { version: 3 },
      { after: [derContext(4, derNull())] },
      { extensions, after: [derNull()] },
      { after: [derContext(3, derSequence())] },
      { innerIdentifier: ecdsaWith("sha384").identifier },
    ]) {
      expectCode("E_WIRE", () => parseCertificate(madeCertificate({ ...leaf, ...fields })));
    }
    const whole = madeCertificate(leaf);
    expectCode("E_WIRE", () => parseCertificate(concat([whole, Uint8Array.of(0)])));
    expectCode("E_WIRE", () => parseCertificate(whole.subarray(0, -1)));
  });

  it("has no more members in any part than the part has", () => {
    const members = (bytes: Uint8Array) => readDer(bytes).children.map((child) => child.bytes);
    const [tbs = utf8(""), algorithm = utf8(""), signature = utf8("")] = members(good.leaf);
    const withTbs = (change: (fields: Uint8Array[]) => Uint8Array[]) =>
      derSequence(derSequence(...change(members(tbs))), algorithm, signature);
    expect(parseCertificate(withTbs((fields) => fields)).der).toEqual(good.leaf);
    const extension = derSequence(derOid("1.2.3"), derOctets(utf8("a")), derNull());
    for (const bytes of [
      derSequence(tbs, algorithm, signature, derNull()),
      derSequence(tbs, algorithm),
      withTbs((fields) => fields.with(4, derSequence(...members(fields[4] ?? utf8("")), derTime(nowMs)))),
      withTbs((fields) => fields.with(7, derContext(3, derSequence(extension)))),
      ...[0, 1, 2, 3, 4, 5, 6].map((at) => withTbs((fields) => fields.toSpliced(at, 1))),
    ]) {
      expectCode("E_WIRE", () => parseCertificate(bytes));
    }
  });

  it("refuses an extension twice, and ones that make no sense", () => {
    const unknown = { oid: "1.2.3", value: utf8("a") };
    const authority = (value: Uint8Array) => ({ oid: "2.5.29.19", value });
    for (const extensions of [
      [unknown, unknown],
      [unknown, { ...unknown, value: utf8("b"), critical: true }],
      [madeExtensions.authority(), madeExtensions.authority(false)],
      [madeExtensions.authority(false, 0)],
      [authority(derSequence(derBoolean(true), derInteger(256)))],
      [authority(derSequence(derBoolean(true), derInteger(1), derInteger(1)))],
      [authority(concat([derSequence(), derSequence()]))],
      [{ oid: "2.5.29.15", value: derOctets(utf8("a")) }],
      [{ oid: "2.5.29.37", value: derSequence(derInteger(1)) }],
    ]) {
      expect(outcome({ leaf: { extensions } })).toBe("malformed");
    }
    expect(outcome({ leaf: { extensions: [authority(derSequence(derBoolean(false)))] } })).toBe("ok");
  });

  it("has a key on a named curve, or an RSA key of 2048 to 8192 bits with an ordinary exponent", () => {
    const rsa = (n: bigint, e: bigint, parameters = derNull()) =>
      derSequence(
        derSequence(derOid("1.2.840.113549.1.1.1"), parameters),
        derBits(derSequence(derInteger(n), derInteger(e))),
      );
    const of = (bits: bigint) => 2n ** (bits - 1n) + 1n;
    expect(outcome({ leaf: { spki: rsa(of(2_048n), 65_537n) } })).toBe("ok");
    expect(outcome({ leaf: { spki: rsa(of(8_192n), 3n) } })).toBe("ok");
    for (const spki of [
      rsa(of(2_047n), 65_537n),
      rsa(of(8_193n), 65_537n),
      rsa(of(2_048n) - 1n, 65_537n),
      rsa(of(2_048n), 1n),
      rsa(of(2_048n), 4n),
      rsa(of(2_048n), 2n ** 32n + 1n),
      madeKey("ed25519").spki,
      derSequence(derSequence(derOid("1.2.840.10045.2.1"), derOid("1.3.132.0.10")), derBits(pointOf(keys.leaf))),
      // parameters spelled out
      derSequence(derSequence(derOid("1.2.840.10045.2.1"), derSequence()), derBits(pointOf(keys.leaf))),
    ]) {
      expect(outcome({ leaf: { spki } })).toBe("unsupported-algorithm");
    }
    const offCurve = pointOf(keys.leaf);
    offCurve[64] = (offCurve[64] ?? 0) ^ 1;
    for (const spki of [
      rsa(of(2_048n), 65_537n, derSequence()),
      derSequence(derSequence(derOid("1.2.840.10045.2.1"), derOid("1.2.840.10045.3.1.7")), derBits(offCurve)),
      derSequence(keys.leaf.spki, keys.leaf.spki),
      derSequence(...readDer(rsaKey.spki).children.map(({ bytes }) => bytes), derNull()),
    ]) {
      expect(outcome({ leaf: { spki } })).toBe("malformed");
    }
  });
});

describe("chain", () => {
  it("goes from the leaf to a given root, and says from when to when it holds", () => {
    const notBeforeMs = nowMs - 1_000;
    const notAfterMs = nowMs + 1_000;
    const { leaf, intermediate, root } = madeChain(keys, { leaf: { notBeforeMs }, intermediate: { notAfterMs } });
    const result = verifyChain(leaf, [intermediate], [root], { nowMs });
    expect(result).toMatchObject({ ok: true, notBeforeMs, notAfterMs });
    expect(result.ok && result.chain.map(({ der }) => der)).toEqual([leaf, intermediate, root]);
    expect(result.ok && result.leaf.ecKey?.point).toEqual(pointOf(keys.leaf));
  });

  it("finds its way among certificates in any order, of the same name, and ones not needed", () => {
    const old = madeChain(keys, { intermediate: { notAfterMs: nowMs - 1 } }).intermediate;
    const otherCa = { subject: "ca", issuer: "root", spki: otherKey.spki, signer: keys.root.privateKey };
    const namesake = madeCertificate({ ...otherCa, algorithm: ecdsaWith("sha384"), extensions: caExtensions(0) });
    const { leaf, intermediate, root } = good;
    expect(outcomeOf(leaf, [root, old, namesake, leaf, intermediate], [root])).toBe("ok");
    // of several reasons, the one that got furthest
    expect(outcomeOf(leaf, [root, old, namesake, leaf], [root])).toBe("expired");
    expect(outcomeOf(leaf, [namesake, old], [root])).toBe("expired");
    const otherRoot = { subject: "root", issuer: "root", spki: otherKey.spki, signer: otherKey.privateKey };
    const roots = [madeCertificate({ ...otherRoot, extensions: caExtensions() }), utf8("no certificate"), root];
    expect(outcomeOf(leaf, [intermediate], roots)).toBe("ok");
  });

  it("is found behind certificates that lead in circles", () => {
    const signed = (subject: string, issuer: string, signer: MadeKey, serial: number) =>
      madeCertificate({
        subject,
        issuer,
        spki: otherKey.spki,
        signer: signer.privateKey,
        serial,
        extensions: caExtensions(),
      });
    const circles = [1, 2, 3].map((serial) => signed("c1", "c1", otherKey, serial));
    const line = [signed("c1", "c2", otherKey, 4), signed("c2", "c3", otherKey, 5), signed("c3", "c4", otherKey, 6)];
    const top = signed("c4", "root", keys.root, 7);
    const leaf = signed("leaf", "c1", otherKey, 8);
    expect(outcomeOf(leaf, [...circles, ...line, top], [good.root])).toBe("ok");
    expect(outcomeOf(leaf, [...circles, ...line], [good.root])).toBe("unknown-root");
  });

  it("takes a root from nobody but the caller", () => {
    const { leaf, intermediate, root } = good;
    expect(outcomeOf(leaf, [intermediate, root], [])).toBe("unknown-root");
    expect(outcomeOf(leaf, [], [root])).toBe("unknown-root");
    expect(outcomeOf(leaf, [intermediate], [utf8("no certificate")])).toBe("unknown-root");
    // the same name with another key, and the same key with another name
    const forged = { subject: "root", issuer: "root", spki: otherKey.spki, signer: otherKey.privateKey };
    expect(outcomeOf(leaf, [intermediate, root], [madeCertificate({ ...forged, extensions: caExtensions() })])).toBe(
      "bad-signature",
    );
    expect(outcome({ root: { subject: "Root" } })).toBe("unknown-root");
    expect(outcome({ intermediate: { subject: "CA" } })).toBe("unknown-root");
    expect(outcome({ leaf: { issuer: "CA" } })).toBe("unknown-root");
    expect(outcome({ intermediate: { issuer: "Root" } })).toBe("unknown-root");
    // one whole chain by somebody else, under our names
    const theirs = madeChain({ root: otherKey, intermediate: otherKey, leaf: keys.leaf });
    expect(outcomeOf(theirs.leaf, [theirs.intermediate, theirs.root], [root])).toBe("bad-signature");
  });

  it("needs every signature", () => {
    expect(outcome({ leaf: { signer: otherKey.privateKey } })).toBe("bad-signature");
    expect(outcome({ intermediate: { signer: keys.intermediate.privateKey } })).toBe("bad-signature");
    // the root's own is vouched for by whoever gave the root
    expect(outcome({ root: { signer: otherKey.privateKey } })).toBe("ok");
  });

  it("accepts ECDSA and RSA with SHA-2, and neither SHA-1 nor unusual parameters", () => {
    for (const hash of ["sha256", "sha384", "sha512"] as const) {
      for (const curve of ["P-256", "P-384", "P-521"] as const) {
        expect(outcomeBy(madeKey(curve), ecdsaWith(hash))).toBe("ok");
      }
      expect(outcomeBy(rsaKey, pkcs1With(hash))).toBe("ok");
      expect(outcomeBy(rsaKey, pssWith(hash))).toBe("ok");
    }
    const withNull = { ...ecdsaWith("sha256"), identifier: derSequence(derOid("1.2.840.10045.4.3.2"), derNull()) };
    const withoutNull = { ...pkcs1With("sha256"), identifier: derSequence(derOid("1.2.840.113549.1.1.11")) };
    for (const [key, algorithm] of [
      [keys.leaf, ecdsaWith("sha1")],
      [keys.leaf, withNull],
      [rsaKey, pkcs1With("sha1")],
      [rsaKey, withoutNull],
      [rsaKey, pssWith("sha1")],
      [rsaKey, pssWith("sha256", 20)],
      [rsaKey, pssWith("sha384", 48, "sha256")],
      [rsaKey, { ...pssWith("sha256"), identifier: derSequence(derOid("1.2.840.113549.1.1.10")) }],
    ] as const) {
      expect(outcomeBy(key, algorithm)).toBe("unsupported-algorithm");
    }
  });

  it("reads the parameters of RSA-PSS, all of them", () => {
    const sha256 = derOid("2.16.840.1.101.3.4.2.1");
    const mgf1 = derOid("1.2.840.113549.1.1.8");
    const usual = {
      hash: derSequence(sha256, derNull()),
      mask: derSequence(mgf1, derSequence(sha256, derNull())),
      salt: derInteger(32),
    };
    const by = (changes: Partial<typeof usual>, ...after: Uint8Array[]) => {
      const { hash, mask, salt } = { ...usual, ...changes };
      const members = [derContext(0, hash), derContext(1, mask), derContext(2, salt), ...after];
      const identifier = derSequence(derOid("1.2.840.113549.1.1.10"), derSequence(...members));
      return outcomeBy(rsaKey, { ...pssWith("sha256"), identifier });
    };
    expect(by({})).toBe("ok");
    // vendors write the default, and leave the NULL out
    expect(by({}, derContext(3, derInteger(1)))).toBe("ok");
    expect(by({ hash: derSequence(sha256) })).toBe("ok");
    for (const refused of [
      by({}, derContext(3, derInteger(2))),
      by({}, derContext(3, derInteger(1)), derNull()),
      by({}, derContext(4, derInteger(1))),
      by({ mask: derSequence(derOid("1.2.840.113549.1.1.9"), derSequence(sha256)) }),
      by({ mask: derSequence(mgf1) }),
      by({ mask: derSequence(mgf1, derSequence(derOid("1.3.14.3.2.26"))) }),
      by({ hash: derSequence(sha256, derInteger(1)) }),
      by({ hash: derSequence(sha256, derNull(), derNull()) }),
      by({ salt: derInteger(31) }),
      by({ salt: derNull() }),
    ]) {
      expect(refused).toBe("unsupported-algorithm");
    }
  });

  it("refuses a signature of another kind than the key, and one that names another hash than was used", () => {
    const { identifier } = ecdsaWith("sha256");
    expect(outcomeBy(keys.leaf, { ...ecdsaWith("sha384"), identifier })).toBe("bad-signature");
    expect(outcomeBy(rsaKey, { ...pkcs1With("sha256"), identifier })).toBe("bad-signature");
    expect(outcomeBy(keys.leaf, { ...ecdsaWith("sha256"), identifier: pkcs1With("sha256").identifier })).toBe(
      "bad-signature",
    );
    expect(outcomeBy(rsaKey, { ...pkcs1With("sha256"), identifier: pssWith("sha256").identifier })).toBe(
      "bad-signature",
    );
    expect(outcomeBy(rsaKey, { ...pssWith("sha256"), identifier: pkcs1With("sha256").identifier })).toBe(
      "bad-signature",
    );
  });

  it("holds from the first to the last moment of every certificate in it, and only then", () => {
    const dates = { notBeforeMs: nowMs, notAfterMs: nowMs };
    for (const changes of [{ leaf: dates }, { intermediate: dates }, { root: dates }]) {
      expect(outcome(changes)).toBe("ok");
      expect(outcome(changes, { nowMs: nowMs - 1 })).toBe("not-yet-valid");
      expect(outcome(changes, { nowMs: nowMs + 1 })).toBe("expired");
    }
    expect(outcome({}, { nowMs: madeNotBeforeMs - 1 })).toBe("not-yet-valid");
    expect(outcome({}, { nowMs: madeNotAfterMs + 1 })).toBe("expired");
    expect(outcome({}, { nowMs: Number.NaN })).toBe("not-yet-valid");
    expect(outcome({ leaf: { notAfterMs: Date.UTC(9999, 11, 31, 23, 59, 59) } })).toBe("ok");
  });

  it("says expired only when all else is right", () => {
    const notAfterMs = nowMs - 1;
    expect(outcome({ leaf: { notAfterMs } })).toBe("expired");
    expect(outcome({ leaf: { notAfterMs, signer: otherKey.privateKey } })).toBe("bad-signature");
    expect(outcome({ leaf: { notAfterMs }, intermediate: { extensions: [] } })).toBe("not-a-ca");
    expect(outcome({ leaf: { notAfterMs } }, { ekuOid })).toBe("eku");
    expect(outcome({ leaf: { notAfterMs, extensions: [{ oid: "1.2.3", value: utf8("a"), critical: true }] } })).toBe(
      "critical-extension",
    );
  });

  it("lets only a CA issue, the root included", () => {
    const usage = madeExtensions.keyUsage("keyCertSign");
    for (const extensions of [[], [usage], [madeExtensions.authority(false), usage]]) {
      expect(outcome({ intermediate: { extensions } })).toBe("not-a-ca");
      expect(outcome({ root: { extensions } })).toBe("not-a-ca");
    }
    expect(outcome({ root: { version: 0, extensions: [] } })).toBe("not-a-ca");
    for (const extensions of [
      [madeExtensions.authority()],
      [madeExtensions.authority(), madeExtensions.keyUsage("cRLSign", "digitalSignature")],
      [madeExtensions.authority(), madeExtensions.keyUsage()],
    ]) {
      expect(outcome({ intermediate: { extensions } })).toBe("key-usage");
      expect(outcome({ root: { extensions } })).toBe("key-usage");
    }
  });

  it("is no longer than each CA in it allows", () => {
    expect(outcome({ root: { extensions: caExtensions(1) } })).toBe("ok");
    expect(outcome({ root: { extensions: caExtensions(0) } })).toBe("path-length");
    // a CA that may issue leaves only makes a CA
    const sub = { subject: "sub", issuer: "ca", spki: otherKey.spki, signer: keys.intermediate.privateKey };
    const subCa = madeCertificate({ ...sub, extensions: caExtensions() });
    const end = { subject: "leaf", issuer: "sub", spki: keys.leaf.spki, signer: otherKey.privateKey };
    const leaf = madeCertificate(end);
    expect(outcomeOf(leaf, [subCa, good.intermediate], [good.root])).toBe("path-length");
    const wide = madeChain(keys, { intermediate: { extensions: caExtensions(1) } }).intermediate;
    expect(outcomeOf(leaf, [subCa, wide], [good.root])).toBe("ok");
    // a leaf may not issue at all
    const more = { subject: "more", issuer: "leaf", spki: otherKey.spki, signer: keys.leaf.privateKey };
    expect(outcomeOf(madeCertificate(more), [good.leaf, wide], [good.root])).toBe("not-a-ca");
  });

  it("refuses critical extensions that nobody reads, on every certificate", () => {
    const unknown = { oid: "1.2.3", value: utf8("a"), critical: true };
    const changes = [
      { leaf: { extensions: [unknown] } },
      { intermediate: { extensions: [...caExtensions(), unknown] } },
      { root: { extensions: [...caExtensions(), unknown] } },
    ];
    for (const change of changes) {
      expect(outcome(change)).toBe("critical-extension");
      expect(outcome(change, { allowedCriticalOids: [sanOid] })).toBe("critical-extension");
      expect(outcome(change, { allowedCriticalOids: [sanOid, "1.2.3"] })).toBe("ok");
    }
    expect(outcome({ leaf: { extensions: [{ ...unknown, critical: false }] } })).toBe("ok");
  });

  it("accepts an endorsement-key certificate: empty subject, critical subjectAltName, EKU", () => {
    const maker = derSequence(derName("id:00001014"));
    const extensions = [madeExtensions.extendedKeyUsage(ekuOid), madeExtensions.directoryName(maker)];
    const leaf = { subject: "", spki: rsaKey.spki, extensions };
    expect(outcome({ leaf }, { ekuOid })).toBe("critical-extension");
    expect(outcome({ leaf }, { ekuOid, allowedCriticalOids: [sanOid] })).toBe("ok");
  });

  it("needs the extended key usage that was asked for, and CAs that allow it", () => {
    const { extendedKeyUsage } = madeExtensions;
    const any = "2.5.29.37.0";
    const leaf = { extensions: [extendedKeyUsage("1.2.3", ekuOid)] };
    expect(outcome({ leaf }, { ekuOid })).toBe("ok");
    expect(outcome({ leaf: { extensions: [extendedKeyUsage("1.2.3")] } }, { ekuOid })).toBe("eku");
    expect(outcome({ leaf: { extensions: [extendedKeyUsage(any)] } }, { ekuOid })).toBe("eku");
    expect(outcome({ leaf: { extensions: [] } }, { ekuOid })).toBe("eku");
    const ca = (...usages: string[]) => ({ extensions: [...caExtensions(0), extendedKeyUsage(...usages)] });
    expect(outcome({ leaf, intermediate: ca(any) }, { ekuOid })).toBe("ok");
    expect(outcome({ leaf, intermediate: ca(ekuOid) }, { ekuOid })).toBe("ok");
    expect(outcome({ leaf, intermediate: ca("1.2.3") }, { ekuOid })).toBe("eku");
    // critical: known when it is asked for, else unread
    const critical = { extensions: [{ ...extendedKeyUsage(ekuOid), critical: true }] };
    expect(outcome({ leaf: critical }, { ekuOid })).toBe("ok");
    expect(outcome({ leaf: critical })).toBe("critical-extension");
  });

  it("is at most 8 certificates of at most 16 KiB", () => {
    const { leaf, intermediate, root } = good;
    const seven = Array.from({ length: 7 }, () => intermediate);
    expect(outcomeOf(leaf, seven, [root])).toBe("ok");
    expect(outcomeOf(leaf, [...seven, intermediate], [root])).toBe("limits");
    const padded = (size: number) => {
      const value = new Uint8Array(size);
      return madeChain(keys, { leaf: { extensions: [{ oid: "1.2.3", value }] } }).leaf;
    };
    expect(padded(15_900).length).toBeLessThanOrEqual(16_384);
    expect(outcomeOf(padded(15_900), [intermediate], [root])).toBe("ok");
    expect(outcomeOf(padded(16_384), [intermediate], [root])).toBe("limits");
    expect(outcomeOf(leaf, [new Uint8Array(16_385)], [root])).toBe("limits");
    expect(outcomeOf(leaf, [intermediate, utf8("no certificate")], [root])).toBe("malformed");
  });

  it("is soon refused when every certificate could have issued every other", () => {
    const knot = Array.from({ length: 8 }, () => {
      const key = madeKey("P-256");
      return madeCertificate({
        subject: "x",
        issuer: "x",
        spki: key.spki,
        signer: key.privateKey,
        extensions: caExtensions(),
      });
    });
    const [leaf = utf8(""), ...others] = knot;
    const root = madeCertificate({
      subject: "x",
      issuer: "x",
      spki: otherKey.spki,
      signer: otherKey.privateKey,
      extensions: caExtensions(),
    });
    const started = performance.now();
    expect(outcomeOf(leaf, others, [root])).toBe("bad-signature");
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it("no byte of leaf or intermediate can be changed", () => {
    const { leaf, intermediate, root } = good;
    const changed = (bytes: Uint8Array, at: number, mask: number) =>
      bytes.map((byte, i) => (i === at ? byte ^ mask : byte));
    const accepted: string[] = [];
    for (const mask of [0x01, 0x80]) {
      for (let at = 0; at < leaf.length; at += 1) {
        if (outcomeOf(changed(leaf, at, mask), [intermediate], [root]) === "ok") accepted.push(`leaf ${at} ${mask}`);
      }
      for (let at = 0; at < intermediate.length; at += 1) {
        const outcomeThen = outcomeOf(leaf, [changed(intermediate, at, mask)], [root]);
        if (outcomeThen === "ok") accepted.push(`intermediate ${at} ${mask}`);
      }
    }
    expect(accepted).toEqual([]);
  });

  it("a root whose name or key was changed vouches for nothing", () => {
    const { leaf, intermediate, root } = good;
    const { subject, spki } = parseCertificate(root);
    const text = toHex(root);
    const within = (part: Uint8Array, last: boolean) => {
      const from = (last ? text.lastIndexOf(toHex(part)) : text.indexOf(toHex(part))) / 2;
      return (at: number) => at >= from && at < from + part.length;
    };
    const parts = [within(subject, true), within(spki, false)];
    const accepted: number[] = [];
    for (let at = 0; at < root.length; at += 1) {
      const changed = root.map((byte, i) => (i === at ? byte ^ 0x01 : byte));
      if (outcomeOf(leaf, [intermediate], [changed]) === "ok" && parts.some((isIn) => isIn(at))) accepted.push(at);
    }
    expect(accepted).toEqual([]);
  });
});

it("every reason is listed once, those about dates last", () => {
  expect(new Set(chainFailures).size).toBe(chainFailures.length);
  expect(chainFailures.slice(-2)).toEqual(["not-yet-valid", "expired"]);
});

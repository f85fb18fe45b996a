// Makes made-*.json: cases in the form of Wycheproof's files, by arithmetic of its own. `node make-vectors.mjs` writes
// the same bytes each time. ECDSA: the curve in affine coordinates on BigInt, straight from FIPS 186-5; nothing of
// OpenSSL but SHA-2. X25519: tweetnacl. No line of the product is used.
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import nacl from "tweetnacl";

// ---- P-256

const p = 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n;
const n = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const b = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const G = {
  x: 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  y: 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
};
const infinity = undefined;

const mod = (value, m) => ((value % m) + m) % m;

function inverse(value, m) {
  let [a, c, x, y] = [mod(value, m), m, 1n, 0n];
  while (c > 0n) [a, c, x, y] = [c, a % c, y, x - (a / c) * y];
  if (a !== 1n) throw new Error("no inverse");
  return mod(x, m);
}

function power(base, exponent, m) {
  let [out, factor] = [1n, mod(base, m)];
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) out = (out * factor) % m;
    factor = (factor * factor) % m;
  }
  return out;
}

const negative = (point) => point && { x: point.x, y: mod(-point.y, p) };

function add(P, Q) {
  if (!P) return Q;
  if (!Q) return P;
  if (P.x === Q.x && P.y !== Q.y) return infinity;
  const slope = P.x === Q.x ? (3n * P.x * P.x - 3n) * inverse(2n * P.y, p) : (Q.y - P.y) * inverse(Q.x - P.x, p);
  const x = mod(slope * slope - P.x - Q.x, p);
  return { x, y: mod(slope * (P.x - x) - P.y, p) };
}

function times(scalar, point) {
  let [out, step] = [infinity, point];
  for (let rest = mod(scalar, n); rest > 0n; rest >>= 1n) {
    if (rest & 1n) out = add(out, step);
    step = add(step, step);
  }
  return out;
}

/** The point of the first x from `from` on that is on the curve. */
function pointFrom(from) {
  for (let x = from; ; x += 1n) {
    const square = mod(x ** 3n - 3n * x + b, p);
    const y = power(square, (p + 1n) / 4n, p);
    if (mod(y * y, p) === square) return { x, y };
  }
}

// ---- bytes

const hex = (value, bytes = 32) => value.toString(16).padStart(bytes * 2, "0");
const sha = (name, bytes) => createHash(name).update(bytes).digest();
const number = (bytes) => BigInt(`0x${bytes.toString("hex")}`);
const digest = (message) => number(sha("sha256", message));
/** A number from 1 to n - 1 that the label gives. */
const drawn = (label) => (number(sha("sha512", label)) % (n - 1n)) + 1n;

function der(tag, contents) {
  const length = contents.length / 2;
  return `${tag}${length < 128 ? hex(BigInt(length), 1) : `81${hex(BigInt(length), 1)}`}${contents}`;
}
function derInteger(value) {
  if (value < 0n) {
    let bytes = 1;
    while (-value > 1n << BigInt(8 * bytes - 1)) bytes += 1;
    return der("02", hex((1n << BigInt(8 * bytes)) + value, bytes));
  }
  const text = value.toString(16);
  const even = text.length % 2 === 0 ? text : `0${text}`;
  return der("02", Number.parseInt(even.slice(0, 2), 16) >= 128 ? `00${even}` : even);
}
const derPair = ({ r, s }) => der("30", derInteger(r) + derInteger(s));
const raw = ({ r, s }) => hex(r) + hex(s);

// ---- ECDSA cases: { key, message, comment, flag, result, and r, s or the signature's own bytes }

const message = Buffer.from("sealmesh vectors");

function signed(d, k, text = message) {
  const R = times(k, G);
  const r = mod(R.x, n);
  return { r, s: mod(inverse(k, n) * (digest(text) + r * d), n) };
}

/** The key for which (x of R, s) is valid: nobody knows its secret. */
function keyFor(R, s, text = message) {
  const r = mod(R.x, n);
  return times(inverse(r, n), add(times(s, R), negative(times(digest(text), G))));
}

const shared = [];
const one = (flag, result, comment, key, rs, text = message) =>
  shared.push({ flag, result, comment, key, ...rs, message: text });
const valid = (flag, comment, key, rs, text) => one(flag, "valid", comment, key, rs, text);
const invalid = (flag, comment, key, rs, text) => one(flag, "invalid", comment, key, rs, text);

for (const length of [0, 1, 3, 31, 32, 33, 55, 56, 63, 64, 65, 127, 500]) {
  const d = drawn(`key ${length}`);
  const text = Buffer.alloc(length, `message ${length}`);
  const Q = times(d, G);
  const rs = signed(d, drawn(`nonce ${length}`), text);
  valid("ValidSignature", `${length} bytes of message`, Q, rs, text);
  valid("HighOrLowS", `the other s, ${length} bytes of message`, Q, { r: rs.r, s: n - rs.s }, text);
  invalid("InvalidSignature", "another message", Q, rs, Buffer.concat([text, Buffer.from([0])]));
}

const d = drawn("the key");
const Q = times(d, G);
const good = signed(d, drawn("the nonce"));

for (const [comment, secret] of [
  ["the key is the generator", 1n],
  ["the key is twice the generator", 2n],
  ["the key is the generator's negative", n - 1n],
  ["the secret is (n + 1) / 2", (n + 1n) / 2n],
]) {
  valid("EdgeCasePublicKey", comment, times(secret, G), signed(secret, drawn(comment)));
}
for (const [comment, k] of [
  ["R is the generator", 1n],
  ["R is twice the generator", 2n],
  ["R is the generator's negative", n - 1n],
  ["k is 2^128", 2n ** 128n],
]) {
  valid("ArithmeticError", comment, Q, signed(d, k));
}
for (const s of [1n, 2n, 3n, 2n ** 32n, 2n ** 128n, (n - 1n) / 2n, (n + 1n) / 2n, n - 2n, n - 1n]) {
  valid("SmallRandS", `s = ${hex(s)}`, keyFor(times(drawn(`R ${s}`), G), s), {
    r: mod(times(drawn(`R ${s}`), G).x, n),
    s,
  });
}
for (const [comment, from] of [
  ["r is as small as a point allows", 1n],
  ["r has 17 bytes", 2n ** 128n],
  ["x of R is p - 3 or below", p - 3n - 40n],
  ["x of R is above n: r is x - n", n],
  ["x of R is further above n", n + 2n ** 64n],
  ["r is just below n", n - 40n],
]) {
  const R = pointFrom(from);
  const s = drawn(comment);
  valid("ArithmeticError", comment, keyFor(R, s), { r: mod(R.x, n), s });
}
{
  // r or s with leading zero bytes
  const found = { r: 0, s: 0 };
  for (let k = drawn("short"), R = times(k, G); found.r < 2 || found.s < 2; k += 1n, R = add(R, G)) {
    const r = mod(R.x, n);
    const s = mod(inverse(k, n) * (digest(message) + r * d), n);
    for (const [name, value] of Object.entries({ r, s })) {
      if (value >> 248n !== 0n || found[name] >= 2) continue;
      found[name] += 1;
      valid("MissingZero", `${name} has at most 31 bytes`, Q, { r, s });
    }
  }
}
{
  const k = drawn("duplication");
  const r = mod(times(k, G).x, n);
  const e = digest(message);
  const key = (secret) => times(secret, G);
  valid("PointDuplication", "u1 G = u2 Q: their sum is a doubling", key(mod(e * inverse(r, n), n)), {
    r,
    s: mod(inverse(k, n) * 2n * e, n),
  });
  // R would be infinity, whatever s is
  for (const s of [1n, 2n, drawn("any s"), n - 1n]) {
    invalid("PointDuplication", "u1 G = -u2 Q: their sum is infinity", key(mod(-e * inverse(r, n), n)), { r, s });
  }
}

const order = { 0: 0n, 1: 1n, "n - 1": n - 1n, n, "n + 1": n + 1n, p, "p + 1": p + 1n, "2^256 - 1": 2n ** 256n - 1n };
for (const [name, r] of Object.entries(order)) {
  for (const [other, s] of Object.entries(order)) invalid("InvalidSignature", `r = ${name}, s = ${other}`, Q, { r, s });
  invalid("RangeCheck", `r = ${name}`, Q, { r, s: good.s });
  invalid("RangeCheck", `s = ${name}`, Q, { r: good.r, s: r });
}
{
  const R = pointFrom(n);
  const s = drawn("unreduced");
  invalid("RangeCheck", "r = x of R, not reduced", keyFor(R, s), { r: R.x, s });
  const small = pointFrom(1n);
  invalid("RangeCheck", "r + n", keyFor(small, s), { r: small.x + n, s });
  invalid("RangeCheck", "s + n", keyFor(small, 5n), { r: small.x, s: 5n + n });
}
invalid("ModifiedSignature", "r and s changed places", Q, { r: good.s, s: good.r });
invalid("ModifiedSignature", "n - r", Q, { r: n - good.r, s: good.s });
for (let bit = 0n; bit < 256n; bit += 17n) {
  invalid("ModifiedSignature", `bit ${bit} of r`, Q, { r: good.r ^ (1n << bit), s: good.s });
  invalid("ModifiedSignature", `bit ${bit} of s`, Q, { r: good.r, s: good.s ^ (1n << bit) });
}
invalid("InvalidSignature", "another key", times(d + 1n, G), good);
invalid("InvalidSignature", "the key's negative", negative(Q), good);
invalid("DoubleHash", "the hash was hashed again", Q, signed(d, drawn("double"), sha("sha256", message)));
{
  // SHA-512, cut to the length of the order
  const k = drawn("sha512");
  const r = mod(times(k, G).x, n);
  const s = mod(inverse(k, n) * (number(sha("sha512", message).subarray(0, 32)) + r * d), n);
  invalid("WrongHash", "made over SHA-512", Q, { r, s });
}

// ---- encodings

const r0 = derInteger(good.r);
const s0 = derInteger(good.s);
const body = r0 + s0;
const highR = (() => {
  for (let i = 0; ; i += 1) {
    const rs = signed(d, drawn(`high ${i}`));
    if (rs.r >> 255n && !(rs.s >> 255n)) return rs;
  }
})();
const derOnly = [
  ["BerEncodedSignature", "length of the sequence in long form", `3081${der("30", body).slice(2)}`],
  ["BerEncodedSignature", "length of the sequence with a leading zero", `308200${der("30", body).slice(2)}`],
  ["BerEncodedSignature", "length of r in long form", der("30", `0281${r0.slice(2)}${s0}`)],
  ["BerEncodedSignature", "length of s in long form", der("30", `${r0}0281${s0.slice(2)}`)],
  ["BerEncodedSignature", "a zero before r", der("30", der("02", `0000${hex(good.r)}`) + s0)],
  ["BerEncodedSignature", "a zero before s", der("30", r0 + der("02", `0000${hex(good.s)}`))],
  ["BerEncodedSignature", "indefinite length", `3080${body}0000`],
  ["BerEncodedSignature", "indefinite length without an end", `3080${body}`],
  ["MissingZero", "r as a negative number", der("30", der("02", hex(highR.r)) + derInteger(highR.s))],
  ["InvalidEncoding", "nothing", ""],
  ["InvalidEncoding", "only a tag", "30"],
  ["InvalidEncoding", "an empty sequence", "3000"],
  ["InvalidEncoding", "r alone", der("30", r0)],
  ["InvalidEncoding", "s alone, r empty", der("30", `0200${s0}`)],
  ["InvalidEncoding", "r alone, s empty", der("30", `${r0}0200`)],
  ["InvalidEncoding", "a third number", der("30", `${body}020101`)],
  ["InvalidEncoding", "a null inside", der("30", `${body}0500`)],
  ["InvalidEncoding", "a null in front", der("30", `0500${body}`)],
  ["InvalidEncoding", "bytes after the sequence", `${der("30", body)}00`],
  ["InvalidEncoding", "a null after the sequence", `${der("30", body)}0500`],
  ["InvalidEncoding", "a sequence around it", der("30", der("30", body))],
  ["InvalidEncoding", "without the sequence", body],
  ["InvalidEncoding", "r and s as raw bytes", raw(good)],
  ["InvalidEncoding", "length of the sequence one too small", `30${hex(BigInt(body.length / 2 - 1), 1)}${body}`],
  ["InvalidEncoding", "length of the sequence one too large", `30${hex(BigInt(body.length / 2 + 1), 1)}${body}`],
  ["InvalidEncoding", "length of four octets", `3084ffffffff${body}`],
  [
    "InvalidEncoding",
    "length of 2^64 + the right one",
    `30890100000000000000${hex(BigInt(body.length / 2), 2)}${body}`,
  ],
  ["InvalidEncoding", "a reserved length octet", `30ff${body}`],
  ["InvalidEncoding", "a tag of two octets", `3f30${der("30", body).slice(2)}`],
  ["InvalidTypes", "a set", der("31", body)],
  ["InvalidTypes", "a primitive sequence", der("10", body)],
  ["InvalidTypes", "an octet string", der("04", body)],
  ["InvalidTypes", "r as an octet string", der("30", `04${r0.slice(2)}${s0}`)],
  ["InvalidTypes", "s as a bit string", der("30", `${r0}03${s0.slice(2)}`)],
  ["InvalidTypes", "r as an enumerated value", der("30", `0a${r0.slice(2)}${s0}`)],
  ["InvalidTypes", "s as a constructed integer", der("30", `${r0}22${s0.slice(2)}`)],
  ["InvalidTypes", "r as a real number", der("30", `090380fe01${s0}`)],
  ["InvalidTypes", "s as true", der("30", `${r0}0101ff`)],
  ["RangeCheck", "-r", derPair({ r: -good.r, s: good.s })],
  ["RangeCheck", "-s", derPair({ r: good.r, s: -good.s })],
  ["RangeCheck", "r - n", derPair({ r: good.r - n, s: good.s })],
  ["RangeCheck", "s - n", derPair({ r: good.r, s: good.s - n })],
  ["RangeCheck", "r + n", derPair({ r: good.r + n, s: good.s })],
  ["RangeCheck", "s + n", derPair({ r: good.r, s: good.s + n })],
  ["IntegerOverflow", "r + 2^256", derPair({ r: good.r + 2n ** 256n, s: good.s })],
  ["IntegerOverflow", "s + 2^256", derPair({ r: good.r, s: good.s + 2n ** 256n })],
  ["IntegerOverflow", "r + 2^320", derPair({ r: good.r + 2n ** 320n, s: good.s })],
  ["IntegerOverflow", "s + 2^320", derPair({ r: good.r, s: good.s + 2n ** 320n })],
];
for (let cut = 1; cut < der("30", body).length / 2; cut += 7) {
  derOnly.push(["InvalidEncoding", `cut to ${cut} bytes`, der("30", body).slice(0, cut * 2)]);
}
const p1363Only = [
  ["SignatureSize", "nothing", ""],
  ["SignatureSize", "r alone", hex(good.r)],
  ["SignatureSize", "one byte less", raw(good).slice(0, -2)],
  ["SignatureSize", "one byte more", `${raw(good)}00`],
  ["SignatureSize", "a zero in front", `00${raw(good)}`],
  ["SignatureSize", "numbers of 33 bytes", hex(good.r, 33) + hex(good.s, 33)],
  ["SignatureSize", "numbers of 48 bytes", hex(good.r, 48) + hex(good.s, 48)],
  ["IntegerOverflow", "r + 2^256 in 33 bytes", hex(good.r + 2n ** 256n, 33) + hex(good.s, 33)],
  ["SignatureSize", "numbers without their leading zeros", "0101"],
  ["InvalidEncoding", "DER", derPair(good)],
];

function ecdsaFile(schema, encode, own) {
  const groups = new Map();
  let tcId = 0;
  const fits = ({ r, s }) => r < 2n ** 256n && s < 2n ** 256n;
  const cases = shared.filter((one) => schema !== "p1363" || fits(one)).map((one) => ({ ...one, sig: encode(one) }));
  for (const [flag, comment, sig] of own) cases.push({ flag, comment, sig, key: Q, message, result: "invalid" });
  for (const { key, flag, comment, message: msg, sig, result } of cases) {
    const uncompressed = `04${hex(key.x)}${hex(key.y)}`;
    const group = groups.get(uncompressed) ?? [];
    groups.set(uncompressed, group);
    group.push({ tcId: (tcId += 1), comment, flags: [flag], msg: msg.toString("hex"), sig, result });
  }
  return {
    source: "test/vectors/wycheproof/make-vectors.mjs (curve arithmetic on BigInt)",
    algorithm: "ECDSA",
    schema: `ecdsa_${schema === "p1363" ? "p1363_" : ""}verify_schema_v1.json`,
    numberOfTests: tcId,
    testGroups: [...groups].map(([uncompressed, tests]) => ({
      publicKey: { type: "EcPublicKey", curve: "secp256r1", uncompressed },
      sha: "SHA-256",
      tests,
    })),
  };
}

// ---- X25519

const little = (value) => Buffer.from(hex(value), "hex").reverse().toString("hex");
const prime = 2n ** 255n - 19n;
const top = 2n ** 255n;
const xdh = [];
const secretOf = (label) => sha("sha256", `x25519 ${label}`);
function agreed(flags, comment, secret, publicHex) {
  const publicKey = Buffer.from(publicHex, "hex");
  const out = Buffer.from(nacl.scalarMult(secret, publicKey)).toString("hex");
  const isZero = /^0*$/.test(out);
  xdh.push({
    tcId: xdh.length + 1,
    comment,
    flags: isZero ? [...flags, "ZeroSharedSecret"] : flags,
    public: publicHex,
    private: Buffer.from(secret).toString("hex"),
    shared: out,
    result: flags.includes("Normal") || flags.includes("Ktv") ? "valid" : "acceptable",
  });
}
// what comes out is checked against the RFC below
agreed(
  ["Ktv"],
  "RFC 7748 §5.2, first",
  Buffer.from("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4", "hex"),
  "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
);
for (let i = 0; i < 40; i += 1) {
  const other = Buffer.from(nacl.scalarMult.base(secretOf(`public ${i}`))).toString("hex");
  agreed(["Normal"], "", secretOf(i), other);
  agreed(
    ["NonCanonicalPublic"],
    "the top bit is set, and counts for nothing",
    secretOf(i),
    hex(BigInt(`0x${other}`) | 0x80n),
  );
}
const lowOrder = [
  0n,
  1n,
  prime - 1n,
  325606250916557431795983626356110631294008115727848805560023387167927233504n,
  39382357235489614581723060781553021112529911719440698176882885853963445705823n,
];
for (const u of [...lowOrder, prime, prime + 1n]) {
  for (const value of [u, u + top]) agreed(["LowOrderPublic"], `u = ${value}`, secretOf(`low ${u}`), little(value));
}
for (const u of [2n, 3n, 4n, 9n, 2n ** 128n, prime - 2n, prime + 2n, prime + 9n, top - 1n, 2n ** 256n - 1n]) {
  for (const label of ["a", "b"]) agreed(["SpecialPublicKey"], `u = ${u}`, secretOf(`${label} ${u}`), little(u));
}
for (const [comment, byte] of [
  ["a secret of zeros", 0],
  ["a secret of ones", 0xff],
  ["clamped bits set", 0x07],
]) {
  agreed(["EdgeCasePrivateKey"], comment, Buffer.alloc(32, byte), little(9n));
}

// ---- files

const known = {
  "RFC 7748 §5.2, first": "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
};
for (const { comment, shared: out } of xdh) {
  if (comment in known && known[comment] !== out) throw new Error(`${comment}: ${out}`);
}
const xdhFile = {
  source: "test/vectors/wycheproof/make-vectors.mjs (tweetnacl 1.0.3)",
  algorithm: "XDH",
  schema: "xdh_comp_schema_v1.json",
  numberOfTests: xdh.length,
  testGroups: [{ curve: "curve25519", tests: xdh }],
};
const write = (name, value) => {
  // one case a line
  const text = JSON.stringify(value).replaceAll('{"tcId"', '\n{"tcId"').replaceAll('{"publicKey"', '\n{"publicKey"');
  writeFileSync(join(import.meta.dirname, name), `${text}\n`);
  console.log(`${name}: ${value.numberOfTests} cases`);
};
write("made-ecdsa-p256.json", ecdsaFile("der", derPair, derOnly));
write("made-ecdsa-p256-p1363.json", ecdsaFile("p1363", raw, p1363Only));
write("made-x25519.json", xdhFile);

// Writes sealmesh.json: values for everything that wire.md adds to mesh-llm's protocol. Independent of the product on
// purpose: tweetnacl, node:crypto and protobuf bytes written by hand, nothing from src/. Deterministic, so that a test
// can run it again:   node test/vectors/make-sealmesh-vectors.mjs          rewrites the file
//                     node test/vectors/make-sealmesh-vectors.mjs --print  writes to stdout instead
import { createECDH, createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import nacl from "tweetnacl";

const source = "test/vectors/make-sealmesh-vectors.mjs (tweetnacl 1.0.3, node:crypto)";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const base64 = (bytes) => Buffer.from(bytes).toString("base64");
const text = (value) => Buffer.from(value, "utf8");
const cat = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));
const sha256 = (...parts) =>
  createHash("sha256")
    .update(cat(...parts))
    .digest();
/** count bytes: first, first + 1, ... */
const run = (first, count) => Uint8Array.from({ length: count }, (_, index) => (first + index) & 0xff);

function u32(value) {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

function u64(value) {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
}

function varint(value) {
  const out = [];
  let rest = BigInt(value);
  do {
    const low = Number(rest & 0x7fn);
    rest >>= 7n;
    out.push(rest === 0n ? low : low | 0x80);
  } while (rest !== 0n);
  return Buffer.from(out);
}

const number = (field, value) => cat(varint(field << 3), varint(value));
const bytes = (field, value) => cat(varint((field << 3) | 2), varint(value.length), value);

// the endpoint keys and boxes of mesh-llm.json, and a second node
const host = nacl.sign.keyPair.fromSeed(run(0x09, 32));
const asker = nacl.sign.keyPair.fromSeed(run(0x41, 32));
const hostKey = nacl.box.keyPair.fromSecretKey(run(0x01, 32));
const ephemeral = nacl.box.keyPair.fromSecretKey(run(0x65, 32));
const shared = nacl.box.before(hostKey.publicKey, ephemeral.secretKey);
const now = 1_767_225_600_000;

const keys = {
  host_seed_hex: hex(run(0x09, 32)),
  host_id_hex: hex(host.publicKey),
  asker_seed_hex: hex(run(0x41, 32)),
  asker_id_hex: hex(asker.publicKey),
  inference_secret_hex: hex(run(0x01, 32)),
  inference_public_hex: hex(hostKey.publicKey),
  ephemeral_secret_hex: hex(run(0x65, 32)),
  ephemeral_public_hex: hex(ephemeral.publicKey),
  shared_key_hex: hex(shared),
};

// --- records (wire.md §2)

function recordRow(name, comment, signed, fields) {
  const signature = nacl.sign.detached(cat(text("sealmesh-record-v1\0"), signed), host.secretKey);
  const signedRecord = cat(bytes(1, signed), bytes(2, signature));
  return {
    name,
    source,
    comment,
    ...fields,
    signed_hex: hex(signed),
    signature_hex: hex(signature),
    signed_record_hex: hex(signedRecord),
    expect: "ok",
  };
}

const recordFields = {
  endpoint_id_hex: hex(host.publicKey),
  seq_decimal: String(now + 7),
  issued_at_ms: now,
  not_after_ms: now + 3_600_000,
};
const keyFields = { inference_key_hex: hex(hostKey.publicKey), key_not_after_ms: now + 4_500_000 };
const start = [bytes(1, host.publicKey), number(2, now + 7), number(3, now), number(4, now + 3_600_000)];
const keyPart = [bytes(5, hostKey.publicKey), number(6, now + 4_500_000)];
const capabilities = ["relay", "challenge"];
const capabilityPart = capabilities.map((name) => bytes(7, text(name)));

const models = [
  { name: "small", context: 4_096, busy: true, queue: 2, kinds: ["chat", "vision"] },
  { name: "unsaid", busy: false, queue: 0, kinds: [] },
];
const modelPart = [
  bytes(
    9,
    cat(
      bytes(1, text("small")),
      number(2, 4_096),
      number(3, 1),
      number(4, 2),
      bytes(5, text("chat")),
      bytes(5, text("vision")),
    ),
  ),
  bytes(9, bytes(1, text("unsaid"))),
];

const records = [
  recordRow("record", "a host: fields 1 to 7 in order", cat(...start, ...keyPart, ...capabilityPart), {
    ...recordFields,
    ...keyFields,
    capabilities,
  }),
  recordRow(
    "record_with_models",
    "a host that serves two models, one of them busy with two waiting",
    cat(...start, ...keyPart, ...capabilityPart, ...modelPart),
    { ...recordFields, ...keyFields, capabilities, models },
  ),
  recordRow(
    "record_with_description",
    "a host that says all of itself: role, version, digest of its address, a credential, two grants taken back, a name",
    cat(
      ...start,
      ...keyPart,
      ...capabilityPart,
      number(8, 2),
      ...modelPart,
      bytes(10, text("0.65.1+sealmesh.0.1.0")),
      bytes(11, sha256(text("{}"))),
      bytes(14, text("credential")),
      bytes(15, run(0x10, 16)),
      bytes(15, run(0x20, 16)),
      bytes(16, text("h\u00f4te")),
    ),
    {
      ...recordFields,
      ...keyFields,
      capabilities,
      models,
      role: "host",
      version: "0.65.1+sealmesh.0.1.0",
      address_digest_hex: hex(sha256(text("{}"))),
      credential_hex: hex(text("credential")),
      revoked_grants_hex: [hex(run(0x10, 16)), hex(run(0x20, 16))],
      person_name: "h\u00f4te",
    },
  ),
  recordRow("record_without_key", "a node that answers nothing: no 5 and 6", cat(...start), {
    ...recordFields,
    capabilities: [],
  }),
  recordRow(
    "record_not_canonical",
    "fields backwards, role among them, and the unknown fields 99 and 1500: valid, and kept byte for byte",
    cat(
      bytes(1500, text("later")),
      number(99, 1),
      number(8, 2),
      ...capabilityPart,
      ...keyPart.toReversed(),
      ...start.toReversed(),
    ),
    { ...recordFields, ...keyFields, capabilities, role: "host" },
  ),
];

// --- sealed head and request (wire.md §4)

const requestId = run(0xe0, 16);
const body = text('{"model":"m","messages":[{"role":"user","content":"h\u00e9llo"}]}');
const path = "/v1/chat/completions?a=b";
const headSigning = cat(
  text("sealmesh-request-v1\0"),
  host.publicKey,
  asker.publicKey,
  ephemeral.publicKey,
  requestId,
  u64(now),
  sha256(text(`POST ${path}\n`), body),
);
const headSignature = nacl.sign.detached(headSigning, asker.secretKey);
const headFields = [
  ["x-sealmesh-v", "1"],
  ["x-sealmesh-id", hex(requestId)],
  ["x-sealmesh-time", String(now)],
  ["x-sealmesh-to", hex(host.publicKey)],
  ["x-sealmesh-from", hex(asker.publicKey)],
];
const signedHeadFields = [...headFields, ["x-sealmesh-sig", base64(headSignature)]];

/** Top bit of the last byte set: never a chunk nonce. */
const requestNonce = cat(run(0x20, 23), [0x80 | 0x37]);

function sealedRequest(fields) {
  const plaintext = cat(
    text(`POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`),
    text(`${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`),
    body,
  );
  const box = cat(requestNonce, nacl.box.after(plaintext, requestNonce, shared));
  const json = `{"model":"","ephemeral_public_key":"${base64(ephemeral.publicKey)}","ciphertext":"${base64(box)}"}`;
  return { plaintext_hex: hex(plaintext), nonce_hex: hex(requestNonce), box_hex: hex(box), json_utf8: json };
}

const heads = [
  {
    name: "head_signature",
    source,
    comment: "head of a relayed request: digest over method, path with query, and body",
    id_hex: hex(requestId),
    time_ms: now,
    to_hex: hex(host.publicKey),
    from_hex: hex(asker.publicKey),
    ephemeral_public_hex: hex(ephemeral.publicKey),
    method: "POST",
    path,
    body_hex: hex(body),
    signing_hex: hex(headSigning),
    signature_hex: hex(headSignature),
    fields: signedHeadFields,
    expect: "ok",
  },
  {
    name: "request_direct",
    source,
    comment: "whole request on a direct stream: no signature; request nonce with the top bit of its last byte set",
    ...sealedRequest(headFields),
    expect: "ok",
  },
  {
    name: "request_relayed",
    source,
    comment: "the same through a relay, with the signature of head_signature",
    ...sealedRequest(signedHeadFields),
    expect: "ok",
  },
];

// --- responses (wire.md §5)

const prefix = run(0xb0, 16);
const plaintexts = [
  text("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"),
  text('data: {"choices":[]}\n\ndata: [DONE]\n\n'),
  text(""),
];

const indexed = (index, final, noncePrefix = prefix) =>
  cat(noncePrefix, u64((BigInt(index) << 1n) | (final ? 1n : 0n)));

function chunk(nonce, plaintext) {
  const box = cat(nonce, nacl.box.after(plaintext, nonce, shared));
  return cat(u32(box.length), box);
}

const header = cat([0xe1], hostKey.publicKey);
const end = u32(0);
const [first, second] = plaintexts;
const chunk0 = chunk(indexed(0, false), first);
const chunk1 = chunk(indexed(1, false), second);
const chunk2 = chunk(indexed(2, true), plaintexts[2]);

function response(name, comment, expect, ...parts) {
  return { name, source, comment, stream_bytes_hex: hex(cat(header, ...parts)), expect };
}

function flipTag(framed) {
  const out = Buffer.from(framed);
  out[4 + 24] ^= 1;
  return out;
}

const responses = [
  {
    ...response("response", "three chunks, the last one empty and final", "ok", chunk0, chunk1, chunk2, end),
    prefix_hex: hex(prefix),
    plaintexts_hex: plaintexts.map(hex),
  },
  {
    ...response(
      "response_keep_alive",
      "empty chunks in between are numbered like any other; the final one carries bytes",
      "ok",
      chunk(indexed(0, false), first),
      chunk(indexed(1, false), text("")),
      chunk(indexed(2, false), text("")),
      chunk(indexed(3, true), second),
      end,
    ),
    prefix_hex: hex(prefix),
    plaintexts_hex: [first, text(""), text(""), second].map(hex),
  },
  response("response_first_dropped", "starts with index 1", "E_ORDER", chunk1, chunk2, end),
  response("response_middle_dropped", "index 2 after 0", "E_ORDER", chunk0, chunk2, end),
  response("response_swapped", "index 1 before 0", "E_ORDER", chunk1, chunk0, chunk2, end),
  response("response_repeated", "index 1 twice", "E_ORDER", chunk0, chunk1, chunk1, chunk2, end),
  response("response_after_final", "a chunk after the final one", "E_ORDER", chunk0, chunk1, chunk2, chunk2, end),
  response(
    "response_other_prefix",
    "second chunk from another response under the same key",
    "E_ORDER",
    chunk0,
    chunk(indexed(1, true, run(0xc0, 16)), second),
    end,
  ),
  response("response_not_final", "end marker, but no chunk was final", "E_TRUNCATED", chunk0, chunk1, end),
  response("response_cut_marker_added", "cut after the first chunk, marker added", "E_TRUNCATED", chunk0, end),
  response("response_no_marker", "the stream ends without final chunk and marker", "E_TRUNCATED", chunk0, chunk1),
  response(
    "response_cut_inside",
    "the stream ends inside the second chunk",
    "E_TRUNCATED",
    chunk0,
    chunk1.subarray(0, chunk1.length - 1),
  ),
  response("response_header_only", "nothing after the header but the marker", "E_TRUNCATED", end),
  response(
    "response_random_nonce",
    "a reference host's nonce from a peer with a record",
    "E_ORDER",
    chunk(run(0x80, 24), first),
    end,
  ),
  response(
    "response_request_reflected",
    "a box under the request nonce, sent back as the first chunk",
    "E_ORDER",
    chunk(requestNonce, first),
    end,
  ),
  response("response_tag_flipped", "second chunk with one bit changed", "E_OPEN", chunk0, flipTag(chunk1), chunk2, end),
];

// --- challenge (wire.md §9)

const random = run(0x10, 32);
const challenge = cat(text("sealmesh-challenge-v1\0"), asker.publicKey, host.publicKey, hostKey.publicKey, random);
const challengeNonce = run(0x30, 24);
const challenges = [
  {
    name: "challenge",
    source,
    comment: "plaintext, its SHA-256, and the box of it: box nonce[24] | tag[16] | ciphertext",
    verifier_hex: hex(asker.publicKey),
    host_hex: hex(host.publicKey),
    inference_key_hex: hex(hostKey.publicKey),
    random_hex: hex(random),
    bytes_hex: hex(challenge),
    nonce_hex: hex(sha256(challenge)),
    box_nonce_hex: hex(challengeNonce),
    box_hex: hex(cat(challengeNonce, nacl.box.after(challenge, challengeNonce, shared))),
    expect: "ok",
  },
];

// --- sealed challenges and their frames (wire.md §3, §9), length prefix included

const frame = (payload) => hex(cat(u32(payload.length), payload));

const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const big = (value) => BigInt(`0x${hex(value)}`);

function point(secret) {
  const pair = createECDH("prime256v1");
  pair.setPrivateKey(Buffer.from(secret));
  return pair.getPublicKey();
}

/** base ** exponent mod order. */
function power(base, exponent) {
  let result = 1n;
  for (let rest = exponent, factor = base; rest > 0n; rest >>= 1n, factor = (factor * factor) % order) {
    if (rest & 1n) result = (result * factor) % order;
  }
  return result;
}

function derInteger(value) {
  const digits = value.toString(16);
  const plain = Buffer.from(digits.padStart(digits.length + (digits.length % 2), "0"), "hex");
  const positive = plain[0] >= 0x80 ? cat([0], plain) : plain;
  return cat([2, positive.length], positive);
}

/** ECDSA P-256 with a k that never changes, so that the file does not: good for vectors only. */
function signDer(secret, message) {
  const k = run(0x51, 32);
  const r = big(point(k).subarray(1, 33)) % order;
  const s = (power(big(k), order - 2n) * (big(sha256(message)) + r * big(secret))) % order;
  const parts = cat(derInteger(r), derInteger(s));
  return cat([0x30, parts.length], parts);
}

const attestedSecret = run(0x71, 32);
const attestedKey = point(attestedSecret);
const sealedChallenge = cat(ephemeral.publicKey, requestNonce, nacl.box.after(challenge, requestNonce, shared));
const keyText = text(base64(attestedKey));
const signedByKey = cat(text("mesh-llm-challenge-v1:"), u32(keyText.length), keyText, sha256(challenge));
const proofOver = (message) =>
  cat(bytes(1, text("software")), bytes(2, attestedKey), bytes(3, signDer(attestedSecret, message)));
const firstAndFinal = indexed(0, true);

function challengeAnswer(name, comment, expect, answer, nonce = firstAndFinal) {
  const sealed = cat(nonce, nacl.box.after(answer, nonce, shared));
  return {
    name,
    source,
    comment,
    answer_hex: hex(answer),
    sealed_reply_hex: hex(sealed),
    reply_frame_hex: frame(bytes(1, sealed)),
    expect,
  };
}

const rightAnswer = bytes(1, proofOver(signedByKey));
const sealedChallenges = [
  {
    name: "challenge_sealed",
    source,
    comment: "the challenge sealed as it travels, and its request frame: to the host itself, to a relay, from a relay",
    sealed_hex: hex(sealedChallenge),
    attested_key_hex: hex(attestedKey),
    signed_hex: hex(signedByKey),
    request_frame_hex: frame(bytes(1, sealedChallenge)),
    to_relay_frame_hex: frame(cat(bytes(1, sealedChallenge), bytes(2, host.publicKey))),
    from_relay_frame_hex: frame(cat(bytes(1, sealedChallenge), bytes(2, host.publicKey), number(3, 1))),
    refused_frame_hex: frame(number(2, 3)),
    expect: "ok",
  },
  challengeAnswer("challenge_answer", "one key, which holds", "held", rightAnswer),
  challengeAnswer(
    "challenge_answer_wrong",
    "signed without the reference's label",
    "wrong",
    bytes(1, proofOver(sha256(challenge))),
  ),
  challengeAnswer(
    "challenge_answer_both",
    "the same key twice, one signature of the two is wrong",
    "wrong",
    cat(rightAnswer, bytes(1, proofOver(sha256(challenge)))),
  ),
  challengeAnswer("challenge_answer_none", "nothing is proved", "none", text("")),
  challengeAnswer("challenge_answer_not_final", "without the final bit", "E_OPEN", rightAnswer, indexed(0, false)),
  challengeAnswer(
    "challenge_answer_second",
    "as if a chunk had come before it",
    "E_OPEN",
    rightAnswer,
    indexed(1, true),
  ),
  challengeAnswer(
    "challenge_answer_short_key",
    "an attested key of 33 bytes",
    "E_WIRE",
    bytes(1, cat(bytes(1, text("software")), bytes(2, attestedKey.subarray(0, 33)), bytes(3, text("s")))),
  ),
];

const evidenceItem = cat(
  bytes(1, text("tpm2")),
  number(2, 1),
  bytes(3, run(0x01, 40)),
  bytes(4, run(0x60, 20)),
  bytes(4, run(0x61, 20)),
  number(5, now),
);
const residenceQuestion = cat(bytes(1, text("tpm2")), bytes(2, run(0x11, 30)));
const evidenceFrames = [
  {
    name: "evidence_frames",
    source,
    comment: "evidence request (without a nonce; nonce and question, to and from a relay) and reply (full, busy)",
    evidence_nonce_hex: hex(run(0xc0, 32)),
    request_frame_hex: frame(text("")),
    to_relay_frame_hex: frame(cat(bytes(1, run(0xc0, 32)), bytes(2, host.publicKey), bytes(4, residenceQuestion))),
    from_relay_frame_hex: frame(
      cat(bytes(1, run(0xc0, 32)), bytes(2, host.publicKey), number(3, 1), bytes(4, residenceQuestion)),
    ),
    reply_frame_hex: frame(cat(bytes(1, evidenceItem), bytes(2, run(0x21, 32)))),
    busy_frame_hex: frame(number(3, 4)),
    expect: "ok",
  },
];

// --- admission (wire.md §10)

const authority = nacl.sign.keyPair.fromSeed(run(0x51, 32));
const bearer = nacl.sign.keyPair.fromSeed(run(0x71, 32));
const grantId = run(0xd0, 16);
const tenYears = 315_360_000_000;
const signedPart = (label, signed, key) =>
  cat(bytes(1, signed), bytes(2, nacl.sign.detached(cat(text(label), signed), key.secretKey)));

// role 2 is host, 1 is client; a false `delegable` is written as nothing, and so is a `uses` of 0
const grantSigned = cat(
  bytes(1, authority.publicKey),
  bytes(2, host.publicKey),
  bytes(3, grantId),
  number(4, 1),
  number(5, now + 604_800_000),
  number(6, 5),
  bytes(8, bearer.publicKey),
);
const signedGrant = signedPart("sealmesh-grant-v1\0", grantSigned, host);
const firstLink = cat(
  bytes(1, authority.publicKey),
  bytes(2, host.publicKey),
  bytes(3, authority.publicKey),
  number(4, 2),
  number(5, 1),
  number(6, now),
  number(7, now + tenYears),
  bytes(8, new Uint8Array(16)),
);
const secondLink = cat(
  bytes(1, authority.publicKey),
  bytes(2, asker.publicKey),
  bytes(3, host.publicKey),
  number(4, 1),
  number(6, now + 1_000),
  number(7, now + tenYears),
  bytes(8, grantId),
);
const links = [
  signedPart("sealmesh-credential-v1\0", firstLink, authority),
  signedPart("sealmesh-credential-v1\0", secondLink, host),
];
const credential = cat(...links.map((link) => bytes(1, link)));
const proofSigning = cat(
  text("sealmesh-admission-v1\0"),
  asker.publicKey,
  host.publicKey,
  run(0xa0, 32),
  run(0xb0, 32),
  sha256(signedGrant),
);
const proof = nacl.sign.detached(proofSigning, bearer.secretKey);
const admissions = [
  {
    name: "admission",
    source,
    comment:
      "a host's grant for five clients, the asker's proof and credential, and the four frames of stream 0x06; busy as a reply",
    authority_seed_hex: hex(run(0x51, 32)),
    authority_hex: hex(authority.publicKey),
    mesh_id: hex(sha256(text("sealmesh-mesh-id-v1\0"), authority.publicKey).subarray(0, 16)),
    bearer_seed_hex: hex(run(0x71, 32)),
    grant_id_hex: hex(grantId),
    grant_expires_ms: now + 604_800_000,
    signed_grant_hex: hex(signedGrant),
    first_credential_hex: hex(bytes(1, links[0])),
    credential_hex: hex(credential),
    issued_at_ms: now,
    credential_not_after_ms: now + tenYears,
    joiner_nonce_hex: hex(run(0xa0, 32)),
    issuer_nonce_hex: hex(run(0xb0, 32)),
    proof_signing_hex: hex(proofSigning),
    proof_hex: hex(proof),
    admission_request_hex: frame(cat(bytes(1, signedGrant), bytes(2, run(0xa0, 32)))),
    admission_challenge_hex: frame(bytes(2, run(0xb0, 32))),
    admission_proof_hex: frame(bytes(1, proof)),
    admission_reply_hex: frame(bytes(2, credential)),
    admission_busy_hex: frame(number(1, 7)),
    expect: "ok",
  },
];

// --- frames of sealmesh/1 (wire.md §3), length prefix included

const [{ signed_record_hex }] = records;
const frames = [
  {
    name: "frames",
    source,
    comment: "record request (own, by id) and reply, relay open, relay reply (0 is written as nothing), relayed open",
    record_request_own_hex: frame(Buffer.alloc(0)),
    record_request_hex: frame(bytes(1, host.publicKey)),
    record_reply_hex: frame(bytes(1, Buffer.from(signed_record_hex, "hex"))),
    relay_open_hex: frame(cat(number(1, 1), bytes(2, host.publicKey))),
    relay_reply_ok_hex: frame(Buffer.alloc(0)),
    relay_reply_busy_hex: frame(number(1, 4)),
    relayed_open_hex: frame(cat(number(1, 1), number(2, 1))),
    expect: "ok",
  },
];

const document = {
  note: "Written by make-sealmesh-vectors.mjs, which shares no code with the product. Key suffixes as in mesh-llm.json.",
  keys,
  rows: [
    ...records,
    ...heads,
    ...responses,
    ...challenges,
    ...sealedChallenges,
    ...evidenceFrames,
    ...admissions,
    ...frames,
  ],
};
const output = `${JSON.stringify(document, null, 2)}\n`;
if (process.argv.includes("--print")) process.stdout.write(output);
else writeFileSync(join(import.meta.dirname, "sealmesh.json"), output);

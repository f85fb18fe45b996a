/** `sealmesh verify`: what it prints for good, bad and unreadable files, and the code that it ends with. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command as Commander } from "commander";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { signSoftwareEvidence } from "../../../src/attest/kinds/software.ts";
import { reasons } from "../../../src/attest/reasons.ts";
import { factors } from "../../../src/attest/verdict.ts";
import { fromUtf8, toBase64, utf8 } from "../../../src/base/bytes.ts";
import { commands } from "../../../src/cli/command-list.ts";
import { verify } from "../../../src/cli/commands/verify.ts";
import { factorTexts } from "../../../src/policy/explain.ts";
import { encodeEvidenceItem } from "../../../src/wire/evidence.ts";
import { caExtensions, madeCertificate, madeKey } from "../../support/certificates.ts";
import {
  blobItem,
  goodBlob,
  host,
  inferenceKey,
  issuedAtMs,
  signedBlob,
  signP1363,
  testKey,
} from "../../support/evidence.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { forge, host as tpmHost, inferenceKey as tpmInferenceKey } from "../../support/tpm-forger.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-verify-"));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.restoreAllMocks());

let files = 0;
function file(content: Uint8Array | string): string {
  files += 1;
  const path = join(folder, `${files}.json`);
  writeFileSync(path, content);
  return path;
}

const forHost = { endpoint: host, inferenceKey: toBase64(inferenceKey) };
const at = "2026-05-05T00:01:00Z";

interface Printed {
  readonly code: number;
  readonly text: string;
}

/** What the command prints for the words of a command line, read by commander as main.ts does. */
async function printed(...words: readonly string[]): Promise<Printed> {
  let text = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  let code = -1;
  const program = new Commander().exitOverride();
  const sub = program.command("verify").action(async () => {
    code = await verify.run(sub.opts());
  });
  verify.addFlags(sub);
  try {
    await program.parseAsync(["verify", ...words], { from: "user" });
  } finally {
    vi.restoreAllMocks();
  }
  return { code, text };
}

const all = ["--endpoint", forHost.endpoint, "--inference-key", forHost.inferenceKey, "--at", at] as const;

interface Document {
  readonly kind: string;
  readonly tier: string;
  readonly checked_at: string;
  readonly next_tier: { readonly tier: string; readonly missing: readonly { what: string; sentence: string }[] };
  readonly factors: readonly { factor: string; outcome: string; reason: string; sentence: string }[];
  readonly claims: readonly { claim: string; value: string; by: string }[];
}

async function document(...words: readonly string[]): Promise<Document & { readonly code: number }> {
  const { code, text } = await printed(...words, "--json");
  expect(text.trimEnd().split("\n").length).toBe(1);
  return { code, ...(JSON.parse(text) as Document) };
}

const outcomeOf = ({ factors: rows }: Document, name: string): string | undefined =>
  rows.find(({ factor }) => factor === name)?.reason;

it("is a command of the list", () => expect(commands).toContain(verify));

describe("a good blob", () => {
  it("has one line for each factor, the tier, and what the file cannot show; ends with 0", async () => {
    const { code, text } = await printed(file(goodBlob), ...all);
    expect(code).toBe(0);
    const shown = [...text.matchAll(/^ {2}(\S+) +(?:pass|fail|unknown|stale) {2,}[A-Z].*\.$/gm)].map(
      ([, factor]) => factor,
    );
    expect(shown).toEqual(factors);
    expect(text).toMatch(/^ {2}signature +pass +The attested key signed it\.$/m);
    expect(text).toMatch(/^ {2}key-residence +unknown +Only the signer says/m);
    expect(text).toContain("tier reached: none");
    expect(text).toMatch(/missing for key\n {2}challenge +.*a file cannot hold the answer\.\n/);
    expect(text).toMatch(/^ {2}chip +Apple M4 Max +\(self\)$/m);
    expect(text).toContain("Not yet run on Apple hardware.");
  });

  it("as JSON says the same", async () => {
    const given = await document(file(goodBlob), ...all);
    expect(given).toMatchObject({
      code: 0,
      kind: "secure-enclave",
      tier: "none",
      checked_at: "2026-05-05T00:01:00.000Z",
    });
    expect(given.factors.map(({ factor }) => factor)).toEqual(factors);
    for (const { reason, sentence } of given.factors) expect(sentence).toBe(reasons[reason as keyof typeof reasons]);
    expect(given.factors[0]).toMatchObject({ asks: factorTexts.parse });
    expect(given.next_tier).toMatchObject({ tier: "key", missing: [{ what: "challenge" }] });
    expect(given.claims).toContainEqual({ claim: "memory bytes", value: "68719476736", by: "self" });
    expect(given.claims[0]).toEqual({ claim: "attested key", value: toBase64(testKey().point), by: "signature" });
  });

  it("without node and key compares nothing, and says so; now is the time unless --at says another", async () => {
    const given = await document(file(goodBlob));
    expect(given.code).toBe(0);
    expect([outcomeOf(given, "binding"), outcomeOf(given, "fresh")]).toEqual(["not-compared", "too-old"]);
    expect(given.next_tier.missing.map(({ what }) => what)).toEqual(["binding", "fresh", "challenge"]);
  });
});

describe("ends with 77", () => {
  it.each([
    ["another node", goodBlob, ["--endpoint", "ab".repeat(32)], "binding", "other-node"],
    ["another key", goodBlob, ["--inference-key", toBase64(new Uint8Array(32))], "binding", "other-inference-key"],
    ["ahead of its time", goodBlob, ["--at", "2026-05-04T23:59:30Z"], "fresh", "clock-ahead"],
    ["a flag off", signedBlob({ sip: false }), [], "device-state", "sip-off"],
    ["forged", fromUtf8(goodBlob).replace("Mac16,1", "Mac16,2"), [], "signature", "signature-wrong"],
    ["a blob without its members", '{"attestation":{},"signature":""}', [], "parse", "malformed"],
    ["a blob that is too long", `${fromUtf8(goodBlob)}${" ".repeat(65_536)}`, [], "parse", "too-large"],
  ] as const)("%s", async (_name, content, words, factor, reason) => {
    const given = await document(file(content), ...all, ...words);
    expect([given.code, given.tier, outcomeOf(given, factor)]).toEqual([77, "none", reason]);
    expect(given.next_tier.missing.map(({ what }) => what)).toContain(factor);
  });
});

describe("an item", () => {
  const key = testKey();
  const evidence = signSoftwareEvidence({
    endpointId: host,
    inferenceKey,
    attestedKey: key.point,
    nonce: undefined,
    issuedAtMs,
    sign: (message) => signP1363(key, message),
  });

  it("of the software kind is read, and told that it never gets anywhere", async () => {
    const given = await document(file(encodeEvidenceItem({ ...blobItem(evidence), kind: "software" })), ...all);
    expect([given.code, given.kind, given.tier, outcomeOf(given, "signature")]).toEqual([
      0,
      "software",
      "none",
      "signature-holds",
    ]);
    expect(given.next_tier.missing.map(({ what }) => what)).toEqual(["challenge", "kind"]);
  });

  it("of a TPM shows its registers, on the signer's word, and lacks a maker for `vendor`", async () => {
    const item = forge();
    const words = ["--endpoint", tpmHost, "--inference-key", toBase64(tpmInferenceKey), "--at"] as const;
    const given = await document(file(encodeEvidenceItem(item)), ...words, new Date(item.issuedAtMs).toISOString());
    expect([given.code, given.tier, outcomeOf(given, "binding")]).toEqual([0, "none", "bound"]);
    expect([outcomeOf(given, "chain"), outcomeOf(given, "key-residence")]).toEqual(["no-chain", "residence-own-word"]);
    expect(given.claims).toContainEqual({ claim: "pcr 2", value: "03".repeat(32), by: "self" });
    expect(given.next_tier).toMatchObject({ tier: "key", missing: [{ what: "challenge" }] });
  });

  it("that holds a blob is the same as the blob", async () => {
    const [a, b] = [
      await document(file(encodeEvidenceItem(blobItem(goodBlob))), ...all),
      await document(file(goodBlob), ...all),
    ];
    expect(a).toEqual(b);
  });
});

describe("E_INPUT", () => {
  it.each([
    ["nothing", ""],
    ["no JSON", "evidence"],
    ["no object", "[]"],
    ["another object", '{"kind":"tpm2"}'],
    ["a kind that nobody knows", encodeEvidenceItem({ ...blobItem(goodBlob), kind: "tdx" })],
    ["a version that nobody knows", encodeEvidenceItem({ ...blobItem(goodBlob), version: 2 })],
    ["more than any evidence", " ".repeat(2_097_153)],
  ])("%s", (_name, content) => rejectsWith("E_INPUT", printed(file(content))));

  it("no such file, or a folder", async () => {
    await rejectsWith("E_INPUT", printed(join(folder, "missing")));
    await rejectsWith("E_INPUT", printed(folder));
  });
});

describe("E_USAGE", () => {
  it.each([
    [["--endpoint", "AB".repeat(32)]],
    [["--endpoint", "ab"]],
    [["--inference-key", "AAAA"]],
    [["--inference-key", "no"]],
    [["--at", "yesterday"]],
    [["--at", "2026-02-30T00:00:00Z"]],
  ])("%j", (words) => rejectsWith("E_USAGE", printed(file(goodBlob), ...words)));
});

describe("--roots", () => {
  const maker = madeKey("P-256");
  const names = { subject: "Maker", issuer: "Maker" };
  const der = madeCertificate({ ...names, spki: maker.spki, signer: maker.privateKey, extensions: caExtensions() });
  const pem = `-----BEGIN CERTIFICATE-----\n${toBase64(der)}\n-----END CERTIFICATE-----\n`;

  it.each([
    ["DER", [der]],
    ["PEM", [pem]],
    ["several in one, with text around", [`# makers\n${pem}\n# another\n${pem}`, der]],
  ])("takes %s, and a blob gains nothing by it", async (_name, contents) => {
    const flags = contents.flatMap((content) => ["--roots", file(content)]);
    const given = await document(file(goodBlob), ...all, ...flags);
    expect([given.code, outcomeOf(given, "chain")]).toEqual([0, "not-shown"]);
  });

  it.each([
    ["no certificate", "nothing"],
    ["a broken one", pem.replace(/\n(.{20})/, "\nAAAA$1")],
    ["a broken one in DER", der.subarray(0, -5)],
    ["a good and a broken one", `${pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`],
  ])("refuses %s", (_name, content) => rejectsWith("E_INPUT", printed(file(goodBlob), "--roots", file(content))));
});

it.each([[], ["--json"]])("prints no control character of the evidence %j", async (...words: readonly string[]) => {
  const unclean = "\u001b]0;owned\u0007\u009b2J\u202e\nfake line";
  const blob = signedBlob({ chipName: unclean, hardwareModel: unclean, binaryHash: unclean });
  const { text } = await printed(file(blob), ...words);
  expect(text).toContain("\ufffd]0;owned\ufffd\ufffd2J\ufffd\ufffdfake line");
  expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  expect(text).not.toMatch(/^fake line/m);
  expect(utf8(text).length).toBeGreaterThan(100);
});

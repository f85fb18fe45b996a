/** `sealmesh verify`: what it prints for good, bad and unreadable files, and the code that it ends with. */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command as Commander } from "commander";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { signSoftwareEvidence } from "../../../src/attest/kinds/software.ts";
import { reasons } from "../../../src/attest/reasons.ts";
import { factors } from "../../../src/attest/verdict.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { fromUtf8, toBase64, utf8 } from "../../../src/base/bytes.ts";
import { verify } from "../../../src/cli/commands/verify.ts";
import { attestationReport, type HostKnown } from "../../../src/node/attestation-report.ts";
import { factorTexts } from "../../../src/policy/explain.ts";
import { openPolicy } from "../../../src/policy/policy.ts";
import { encodeEvidenceItem } from "../../../src/wire/evidence.ts";
import { allow, allowUnproven, provenHost } from "../../support/attestation.ts";
import { untold } from "../../support/postures.ts";
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
import { certificate, certificateKey } from "../../support/tls-files.ts";
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
    ["an item that is too long", `${fromUtf8(encodeEvidenceItem(blobItem(goodBlob)))}${" ".repeat(2_097_153)}`],
    ["more than any document", " ".repeat(16_777_217)],
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
    [["--max-age", "0"]],
    [["--max-age", "1d"]],
    [["--max-age", "-5"]],
    [["--console", "3131"]],
    [["--url", "http://127.0.0.1:3131"]],
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

// ---- documents

const judged = { policy: openPolicy, roots: [], window: { maxAgeMs: 660_000, aheadMs: 30_000 }, nowMs: issuedAtMs };
/** Allowed at a tier that no file can show. */
const vectorHost: HostKnown = {
  endpointId: host,
  inferenceKey,
  proof: provenHost({ pin: { standing: "agrees" } }),
  decision: allow({ tier: "pinned" }),
  posture: untold,
};

/** A document as a node writes it. */
function documentText(hosts: readonly HostKnown[] = [vectorHost], window = judged.window): string {
  return JSON.stringify(attestationReport({ ...judged, window, model: "m", hosts, own: undefined }));
}

interface HostsDocument {
  readonly checked_at: string;
  readonly document_checked_at: string;
  readonly window: { readonly max_age_ms: number; readonly ahead_ms: number; readonly from: string };
  readonly words_of_the_document: readonly string[];
  readonly hosts: readonly {
    readonly endpoint_id: string;
    readonly tier: string;
    readonly nodes_word: object;
    readonly evidence: readonly (Document & { readonly nonce: string | null; readonly nodes_word: object })[];
  }[];
}

async function hostsIn(...words: readonly string[]): Promise<HostsDocument & { readonly code: number }> {
  const { code, text } = await printed(...words, "--json");
  return { code, ...(JSON.parse(text) as HostsDocument) };
}

describe("a document of hosts", () => {
  it("is checked piece by piece, and what its node says of challenge and pin raises nothing", async () => {
    const given = await hostsIn(file(documentText()), "--at", at);
    expect(given).toMatchObject({
      code: 0,
      checked_at: "2026-05-05T00:01:00.000Z",
      document_checked_at: "2026-05-05T00:00:00.123Z",
      words_of_the_document: ["endpoint_id", "inference_key"],
    });
    const [one] = given.hosts;
    expect(one).toMatchObject({ endpoint_id: host, tier: "none", nodes_word: { tier: "pinned", allowed: true } });
    const [piece] = one?.evidence ?? [];
    expect(piece).toMatchObject({ tier: "none", nodes_word: { challenge: "answered", pin: "agrees" } });
    expect(piece?.next_tier).toMatchObject({ tier: "key", missing: [{ what: "challenge" }] });
    expect(piece && outcomeOf(piece, "binding")).toBe("bound");
  });

  it("goes by the document's time where that is shorter than usual, and never by a longer one", async () => {
    const within = async (
      maxAgeMs: number,
      later: string,
      ...words: readonly string[]
    ): Promise<readonly unknown[]> => {
      const window = { maxAgeMs, aheadMs: 30_000 };
      const given = await hostsIn(file(documentText([vectorHost], window)), "--at", later, ...words);
      const [piece] = given.hosts[0]?.evidence ?? [];
      return [piece && outcomeOf(piece, "fresh"), given.window.max_age_ms, given.window.from];
    };
    const [soon, later] = ["2026-05-05T00:02:00Z", "2026-05-05T00:30:00Z"];
    expect(await within(660_000, soon)).toEqual(["own-time", 660_000, "usual"]);
    expect(await within(60_000, soon)).toEqual(["too-old", 60_000, "document"]);
    expect(await within(3_600_000, later)).toEqual(["too-old", 660_000, "usual"]);
    expect(await within(3_600_000, later, "--max-age", "1h")).toEqual(["own-time", 3_600_000, "flag"]);
    expect(await within(60_000, soon, "--max-age", "300")).toEqual(["own-time", 300_000, "flag"]);
  });

  it("for people says which time was used, and which its node used", async () => {
    const long = documentText([vectorHost], { maxAgeMs: 3_600_000, aheadMs: 300_000 });
    const { text } = await printed(file(long), "--at", at);
    expect(text).toContain(
      "Taken for recent: up to 660 s old, or 30 s ahead, as usual. The node that wrote it took 3600 s;",
    );
    const words = ["--at", at, "--max-age", "1h"];
    expect((await printed(file(long), ...words)).text).toContain(
      "up to 3600 s old, or 30 s ahead, as --max-age says.\n",
    );
    expect((await printed(file(goodBlob), ...words)).text).toContain("up to 3600 s old");
    const short = documentText([vectorHost], { maxAgeMs: 120_000, aheadMs: 1_000 });
    expect((await printed(file(short), "--at", at)).text).toContain(
      "120 s old, or 1 s ahead, as the node that wrote it",
    );
  });

  it("for people says whose words it went by, and what the node says", async () => {
    const { code, text } = await printed(file(documentText()), "--at", at);
    expect(code).toBe(0);
    expect(text).toContain("attestation of one host, checked as of 2026-05-05T00:01:00.000Z\n");
    expect(text).toContain("--at 2026-05-05T00:00:00.123Z checks as of then.");
    expect(text).toContain("the document's own word for the endpoint id and the inference key. Say what they must be");
    expect(text).toMatch(/^ {2}signature +pass +The attested key signed it\.$/m);
    expect(text).toContain("tier reached: none");
    expect(text).toContain("the node's word, not counted: challenge answered, pin agrees");
    expect(text).toContain("the node's word, not counted: tier pinned, may be asked");
  });

  it("goes by what the caller says instead, where it is said", async () => {
    const given = await hostsIn(file(documentText()), ...all);
    expect([given.code, given.words_of_the_document]).toEqual([0, []]);
    const { text } = await printed(file(documentText()), ...all);
    expect(text).not.toContain("own word for");
  });

  it("ends with 77 when a piece of any host in it is not that host's", async () => {
    const other = { ...vectorHost, endpointId: endpointId("ab".repeat(32)) };
    const given = await hostsIn(file(documentText([vectorHost, other])), "--at", at);
    expect(given.code).toBe(77);
    const bindings = given.hosts.map(({ evidence }) => evidence.map((piece) => outcomeOf(piece, "binding")));
    expect(bindings).toEqual([["bound"], ["other-node"]]);
    // and without that host, as asked for, there is nothing wrong
    expect((await hostsIn(file(documentText([vectorHost, other])), ...all)).code).toBe(0);
  });

  it("ends with 77 when its key is not the one that the caller says", async () => {
    const words = ["--endpoint", host, "--inference-key", toBase64(new Uint8Array(32)), "--at", at];
    const given = await hostsIn(file(documentText()), ...words);
    expect(given.code).toBe(77);
    expect(given.hosts[0]?.evidence.map((piece) => outcomeOf(piece, "binding"))).toEqual(["other-inference-key"]);
  });

  it("with a nonce beside the evidence is compared with it, which does not show that it is no copy", async () => {
    const nonce = new Uint8Array(32).fill(3);
    const item = forge({ nonce });
    const proof = { pieces: provenHost({ item, nonce }).pieces, why: undefined, asked: true };
    const decision = allow({ tier: "vendor" });
    const known = { endpointId: tpmHost, inferenceKey: tpmInferenceKey, proof, decision, posture: untold };
    const then = new Date(item.issuedAtMs).toISOString();
    const given = await hostsIn(file(documentText([known])), "--at", then);
    expect([given.code, given.words_of_the_document.at(-1)]).toEqual([0, "nonce"]);
    const [piece] = given.hosts[0]?.evidence ?? [];
    expect(piece).toMatchObject({ kind: "tpm2", tier: "none", nonce: toBase64(nonce) });
    expect(piece && [outcomeOf(piece, "binding"), outcomeOf(piece, "fresh")]).toEqual(["bound", "own-time"]);
    const forged = documentText([known]).replace(toBase64(nonce), toBase64(new Uint8Array(32)));
    expect((await hostsIn(file(forged), "--at", then)).code).toBe(77);
  });

  it("is checked as far as this build knows the kinds in it", async () => {
    const unknown = provenHost({ item: { ...blobItem(goodBlob), kind: "tdx\u001b" } }).pieces;
    const proof = { pieces: [...vectorHost.proof.pieces, ...unknown], why: undefined, asked: true };
    const given = await hostsIn(file(documentText([{ ...vectorHost, proof }])), "--at", at);
    expect(given.code).toBe(0);
    const [, piece] = given.hosts[0]?.evidence ?? [];
    expect(piece).toMatchObject({ kind: "tdx\ufffd", tier: "none" });
    expect(piece && outcomeOf(piece, "parse")).toBe("unknown-kind");
  });

  it("is E_INPUT when it has nothing that can be checked, or is about others", async () => {
    const nothing = { ...vectorHost, proof: { pieces: [], why: undefined, asked: true }, decision: allowUnproven() };
    const unknown = { ...vectorHost, proof: provenHost({ item: { ...blobItem(goodBlob), kind: "tdx" } }) };
    await rejectsWith("E_INPUT", printed(file(documentText([nothing]))));
    await rejectsWith("E_INPUT", printed(file(documentText([unknown]))));
    await rejectsWith("E_INPUT", printed(file(documentText([]))));
    await rejectsWith("E_INPUT", printed(file(documentText()), "--endpoint", "ab".repeat(32)));
    await rejectsWith("E_INPUT", printed(file(documentText().replace(`"${host}"`, '"host"'))));
  });

  it("shows a host without evidence beside others as having none", async () => {
    const nothing = {
      ...vectorHost,
      endpointId: endpointId("ab".repeat(32)),
      proof: { pieces: [], why: undefined, asked: true },
    };
    const { code, text } = await printed(file(documentText([nothing, vectorHost])), "--at", at);
    expect(code).toBe(0);
    expect(text).toMatch(/^host abab[ab]{60}\n {2}no evidence$/m);
  });
});

/** Runs `work` with a server that answers as `listener` does. */
async function withServer<T>(listener: RequestListener, work: (port: number) => Promise<T>): Promise<T> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    return await work((server.address() as AddressInfo).port);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

describe("an address", () => {
  it("of a document or an item is read like a file", async () => {
    const bodies: Readonly<Record<string, string | Uint8Array>> = {
      "/v1/mesh/attestation/m": documentText(),
      "/blob": goodBlob,
    };
    await withServer(
      ({ url = "" }, response) => void response.end(bodies[url]),
      async (port) => {
        const base = `http://127.0.0.1:${port}`;
        expect((await hostsIn(`${base}/v1/mesh/attestation/m`, "--at", at)).hosts.length).toBe(1);
        expect(await document(`${base}/blob`, ...all)).toEqual(await document(file(goodBlob), ...all));
      },
    );
  });

  it("may lead on at the same host, and to no other", async () => {
    await withServer(
      ({ url, headers }, response) => {
        const there = {
          "/near": "/blob",
          "/far": `http://localhost:${headers.host?.split(":")[1]}/blob`,
          "/round": "/round",
        };
        const location = there[url as keyof typeof there];
        if (location === undefined) response.end(goodBlob);
        else response.writeHead(302, { location }).end();
      },
      async (port) => {
        const base = `http://127.0.0.1:${port}`;
        expect((await printed(`${base}/near`, ...all)).code).toBe(0);
        await rejectsWith("E_INPUT", printed(`${base}/far`));
        await rejectsWith("E_INPUT", printed(`${base}/round`));
      },
    );
  });

  it("with too much, or with something else, is E_INPUT", async () => {
    const much = Buffer.alloc(1_048_576, 0x20);
    let written = 0;
    await withServer(
      ({ url }, response) => {
        if (url === "/missing") return void response.writeHead(404).end(documentText());
        if (url === "/page") return void response.end("<html>");
        const more = (): void => {
          while (!response.destroyed && written < 200) {
            written += 1;
            if (!response.write(much)) return void response.once("drain", more);
          }
          response.end();
        };
        more();
      },
      async (port) => {
        for (const path of ["missing", "page", "endless"]) {
          await rejectsWith("E_INPUT", printed(`http://127.0.0.1:${port}/${path}`));
        }
      },
    );
    expect(written).toBeLessThan(100);
  });

  it("where nobody is, is E_UNREACHABLE; one that is none, E_USAGE", async () => {
    const port = await withServer(
      () => undefined,
      (taken) => Promise.resolve(taken),
    );
    await rejectsWith("E_UNREACHABLE", printed(`http://127.0.0.1:${port}/`));
    await rejectsWith("E_USAGE", printed("http://"));
  });
});

describe("an address over TLS", () => {
  it("with a certificate that nobody here trusts says so, and what to do", async () => {
    const server = createTlsServer({ cert: certificate, key: certificateKey }, (_request, response) => response.end());
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    try {
      const asked = printed(`https://127.0.0.1:${port}/`);
      await expect(asked).rejects.toMatchObject({
        code: "E_UNREACHABLE",
        message: expect.stringMatching(
          /shows a TLS certificate that does not hold here \(\w+\): .*NODE_EXTRA_CA_CERTS/,
        ),
      });
      const peer = printed(host, "--url", `https://127.0.0.1:${port}/`);
      await expect(peer).rejects.toThrow("shows a TLS certificate that does not hold here");
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  it("where plain HTTP is spoken says so", async () => {
    await withServer(
      (_request, response) => void response.end(goodBlob),
      async (port) => {
        await expect(printed(`https://127.0.0.1:${port}/`)).rejects.toThrow(
          "speaks no TLS that can be understood here",
        );
      },
    );
  });
});

it("an address with a password in it is E_USAGE, is not asked, and is not repeated", async () => {
  let requests = 0;
  await withServer(
    (_request, response) => {
      requests += 1;
      response.end(goodBlob);
    },
    async (port) => {
      const place = `http://user:secret@127.0.0.1:${port}/`;
      for (const words of [[place], [host, "--url", place]]) {
        const asked = printed(...words);
        await expect(asked).rejects.toMatchObject({ code: "E_USAGE", message: expect.not.stringContaining("secret") });
        await expect(asked).rejects.toThrow("user name or password");
      }
    },
  );
  expect(requests).toBe(0);
});

it("an address is asked itself: --console belongs to peers", async () => {
  const asked = printed("https://127.0.0.1:1/", "--console", "5");
  await expect(asked).rejects.toMatchObject({ code: "E_USAGE", message: expect.stringContaining("about a peer") });
});

describe("a peer", () => {
  const twin = endpointId(`${host.slice(0, 12)}${"0".repeat(52)}`);
  const status = { peers: [{ endpoint_id: host }, { endpoint_id: twin }, { endpoint_id: 7 }, 8] };
  /** A console that shows the vector's host for `host` and, wrongly, for `twin`. */
  const console: RequestListener = ({ url }, response) => {
    if (url === "/api/status") response.end(JSON.stringify(status));
    else if (url === `/api/attestation/${host}` || url === `/api/attestation/${twin}`) response.end(documentText());
    else response.writeHead(404).end('{"error":{"message":"no","code":"not_found"}}');
  };
  const asked = (what: string, ...words: readonly string[]): Promise<HostsDocument & { readonly code: number }> =>
    withServer(console, (port) => hostsIn(what, "--console", String(port), ...words));

  it("is asked about at the node of this machine, and its evidence is checked again here", async () => {
    const given = await asked(host, "--at", at);
    expect([given.code, given.words_of_the_document]).toEqual([0, ["inference_key"]]);
    expect(given.hosts[0]).toMatchObject({ endpoint_id: host, tier: "none", nodes_word: { tier: "pinned" } });
  });

  it("may be named by its beginning, if only one has it", async () => {
    const given = await asked(host.slice(0, 13), "--at", at);
    expect([given.code, given.hosts[0]?.endpoint_id]).toEqual([0, host]);
    expect(given.words_of_the_document).toEqual(["endpoint_id", "inference_key"]);
    await rejectsWith("E_INPUT", asked(host.slice(0, 12)));
  });

  it("is E_INPUT when the node shows another one for it", async () => {
    await rejectsWith("E_INPUT", asked(twin));
    await rejectsWith("E_INPUT", asked(twin.slice(0, 13)));
  });

  it("that the node does not know is E_NO_HOST", async () => {
    await rejectsWith("E_NO_HOST", asked("ab".repeat(32)));
    await rejectsWith("E_NO_HOST", asked("abababababab"));
  });

  it("without a node on this machine is E_UNREACHABLE", async () => {
    const port = await withServer(console, (taken) => Promise.resolve(taken));
    await rejectsWith("E_UNREACHABLE", printed(host, "--console", String(port)));
  });
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

/** `sealmesh verify`: checks evidence from a file, offline, and says factor by factor what it shows. */
import { X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { Claims } from "../../attest/claims.ts";
import { type EvidenceItem, evidenceWindow, type Expected, type Verified } from "../../attest/evidence.ts";
import { evidenceKinds } from "../../attest/registry.ts";
import { factors, nextTier, type Outcome, type Standing, tierOf } from "../../attest/verdict.ts";
import { verifyEvidence } from "../../attest/verify.ts";
import { endpointId } from "../../base/brand.ts";
import { fromBase64, fromUtf8, toBase64, toHex } from "../../base/bytes.ts";
import { MeshError } from "../../base/errors.ts";
import { isRecord } from "../../base/json.ts";
import { explainLack, explainReason, factorTexts, tierTexts } from "../../policy/explain.ts";
import { decodeEvidenceItem, evidenceFileBytes, rfc3339Ms } from "../../wire/evidence.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { type Command, repeated } from "../command.ts";
import { type Paint, paintFor, printJson, printLine, type Style } from "../output.ts";

/** Certificates of all makers together are far smaller. */
const rootsFileBytes = 1_048_576;
/** A refusal (sysexits EX_NOPERM), like E_REFUSED. */
const refusedExit = 77;
/** A file has nobody to ask, and this command knows no pins. */
const standing: Standing = { challenged: false, pin: "none" };

interface VerifyFlags {
  readonly file: string;
  readonly endpoint?: string;
  readonly inferenceKey?: string;
  readonly at?: string;
  readonly roots?: readonly string[];
  readonly json?: boolean;
}

export const verify: Command = {
  name: "verify",
  summary: "check a host's evidence from a file, offline",
  description:
    "Reads a piece of evidence (the attestation blob of a mesh-llm node, or evidence that sealmesh wrote, as JSON), checks " +
    "it without any network, and says for each factor whether it passes, fails, is stale or cannot be known. A file can " +
    "be a copy: that its key is alive can only be shown to a node that asks. Ends with 77 when a factor fails, and with " +
    "65 when the file is no evidence that this build can read.",
  examples: [
    { what: "what a blob shows by itself", line: "sealmesh verify blob.json" },
    {
      what: "whether it is of this node and for this key",
      line: "sealmesh verify blob.json --endpoint ID --inference-key KEY",
    },
    { what: "as it stood then, for programs", line: "sealmesh verify blob.json --at 2026-05-05T00:05:00Z --json" },
  ],
  addFlags: (command) =>
    command
      .argument("<file>", "evidence as JSON")
      // run() is given options only
      .hook("preAction", (self) => {
        self.setOptionValue("file", self.args[0]);
      })
      .option("--endpoint <id>", "endpoint id that it must be made for, 64 hex digits")
      .option("--inference-key <base64>", "inference key that it must be made for")
      .option("--at <time>", "check as of this time, such as 2026-05-05T00:00:00Z (default: now)")
      .option("--roots <file>", "certificates (PEM or DER) that may end its chain; may be repeated", repeated)
      .option("--json", "one JSON document"),
  async run(given) {
    const flags = given as unknown as VerifyFlags;
    const expected = expectedFrom(flags);
    const nowMs = timeFrom(flags.at);
    const roots = (await Promise.all((flags.roots ?? []).map(readRoots))).flat();
    const item = itemFrom(await readBounded(flags.file, evidenceFileBytes));
    const verified = verifyEvidence({ item, expected, roots, nowMs, ...evidenceWindow });
    if (verified.verdict.parse.reason === "unknown-kind") throw unreadable("this build knows no such kind or version");
    if (flags.json) printJson(documentOf(item, verified, nowMs));
    else printLine(textOf(item, verified, nowMs));
    return factors.some((factor) => verified.verdict[factor].outcome === "fail") ? refusedExit : 0;
  },
};

function expectedFrom({ endpoint, inferenceKey }: VerifyFlags): Expected {
  try {
    return {
      endpointId: endpoint === undefined ? undefined : endpointId(endpoint),
      inferenceKey: inferenceKey === undefined ? undefined : fromBase64(inferenceKey, 32),
      nonce: undefined,
    };
  } catch (cause) {
    throw new MeshError(
      "E_USAGE",
      "--endpoint takes 64 lower-case hex digits, --inference-key 32 bytes as base64: see `sealmesh status` on the host",
      { cause },
    );
  }
}

function timeFrom(at: string | undefined): number {
  const timeMs = at === undefined ? Date.now() : rfc3339Ms(at);
  if (timeMs === undefined)
    throw new MeshError("E_USAGE", `--at takes a time such as 2026-05-05T00:00:00Z, not "${at}"`);
  return timeMs;
}

/** @throws E_INPUT missing, no file, or too large */
async function readBounded(file: string, maxBytes: number): Promise<Uint8Array> {
  let size: number;
  try {
    const status = await stat(file);
    if (status.isFile() && status.size <= maxBytes) return await readFile(file);
    size = status.size;
  } catch (cause) {
    throw new MeshError("E_INPUT", `${file} cannot be read`, { cause });
  }
  throw new MeshError("E_INPUT", `${file} is no file of at most ${maxBytes} bytes (${size})`);
}

/** @throws E_INPUT no certificate in it, or one that cannot be read */
async function readRoots(file: string): Promise<readonly Uint8Array[]> {
  const bytes = await readBounded(file, rootsFileBytes);
  const begin = "-----BEGIN CERTIFICATE-----";
  try {
    // DER starts with the tag of a sequence, PEM never does
    if (bytes[0] === 0x30) return [Uint8Array.from(new X509Certificate(bytes).raw)];
    const certificates = fromUtf8(bytes).split(begin).slice(1);
    if (certificates.length === 0) throw new MeshError("E_INPUT", "it has no certificate");
    return certificates.map((text) => Uint8Array.from(new X509Certificate(begin + text).raw));
  } catch (cause) {
    throw new MeshError("E_INPUT", `${file} holds no certificates as PEM or DER`, { cause });
  }
}

/** A blob is told from an item by its first member; whether it is a good one is for its verifier. */
function itemFrom(bytes: Uint8Array): EvidenceItem {
  let document: unknown;
  try {
    document = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw unreadable("it is not JSON", cause);
  }
  if (isRecord(document) && "attestation" in document) {
    return { kind: "secure-enclave", version: 1, evidence: bytes, collateral: [], issuedAtMs: 0 };
  }
  try {
    return decodeEvidenceItem(bytes);
  } catch (cause) {
    throw unreadable("it is neither an attestation blob nor an item with kind, version and evidence", cause);
  }
}

function unreadable(why: string, cause?: unknown): MeshError {
  return new MeshError("E_INPUT", `this file is no evidence that can be checked: ${why}`, { cause });
}

function documentOf(item: EvidenceItem, { claims, verdict }: Verified, nowMs: number): object {
  const next = nextTier(item.kind, verdict, standing);
  return {
    kind: item.kind,
    version: item.version,
    checked_at: new Date(nowMs).toISOString(),
    tier: tierOf(item.kind, verdict, standing),
    next_tier: next && {
      tier: next.tier,
      missing: next.lacks.map((lack) => ({ what: lack, sentence: explainLack(lack, verdict) })),
    },
    factors: factors.map((factor) => {
      const { outcome, reason } = verdict[factor];
      return { factor, asks: factorTexts[factor], outcome, reason, sentence: explainReason(reason) };
    }),
    claims: claimRows(claims).map(({ claim, value, by }) => ({ claim, value, by })),
    note: noteOf(item.kind),
  };
}

function textOf(item: EvidenceItem, { claims, verdict }: Verified, nowMs: number): string {
  const paint = paintFor(process.stdout);
  const tier = tierOf(item.kind, verdict, standing);
  const next = nextTier(item.kind, verdict, standing);
  const lines = [`${paint("bold", `${item.kind} evidence`)}, checked as of ${new Date(nowMs).toISOString()}`];
  const note = noteOf(item.kind);
  if (note !== null) lines.push(paint("dim", note));
  lines.push("");
  for (const factor of factors) {
    const { outcome, reason } = verdict[factor];
    lines.push(`  ${factor.padEnd(13)}  ${outcomeText(outcome, paint)}  ${explainReason(reason)}`);
  }
  lines.push("", `${paint("bold", `tier reached: ${tier}`)}`);
  lines.push(`  proves: ${tierTexts[tier].proves}`, `  does not prove: ${tierTexts[tier].doesNotProve}`);
  if (next) {
    lines.push("", `missing for ${next.tier}`);
    for (const lack of next.lacks) lines.push(`  ${lack.padEnd(13)}  ${explainLack(lack, verdict)}`);
  }
  const rows = claimRows(claims);
  if (rows.length > 0) {
    lines.push("", "what it says, and on whose word");
    for (const { claim, value, by } of rows) lines.push(`  ${claim.padEnd(16)}  ${value}  ${paint("dim", `(${by})`)}`);
  }
  return lines.join("\n");
}

const outcomeStyles: Readonly<Record<Outcome, Style>> = { pass: "green", fail: "red", unknown: "dim", stale: "yellow" };

function outcomeText(outcome: Outcome, paint: Paint): string {
  return paint(outcomeStyles[outcome], outcome.padEnd(7));
}

function noteOf(kind: string): string | null {
  return evidenceKinds.find((known) => known.kind === kind)?.note ?? null;
}

interface ClaimRow {
  readonly claim: string;
  readonly value: string;
  /** signature: shown by the signature itself · self, vendor: see attest/claims.ts. */
  readonly by: "signature" | "self" | "vendor";
}

/** Claims as text: a signer may put anything into them, so nothing may move the terminal. */
function claimRows({ attestedKey, issuedAtMs, pcrs, ...plain }: Claims): readonly ClaimRow[] {
  const rows: ClaimRow[] = [];
  if (attestedKey) rows.push({ claim: "attested key", value: toBase64(attestedKey), by: "signature" });
  if (issuedAtMs) rows.push({ claim: "issued at", value: timeText(issuedAtMs.value), by: issuedAtMs.by });
  for (const [name, claim] of Object.entries(plain)) {
    const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
    rows.push({ claim: words, value: withoutControls(String(claim.value)), by: claim.by });
  }
  for (const [number, value] of pcrs?.value ?? []) {
    rows.push({ claim: `pcr ${number}`, value: toHex(value), by: pcrs?.by ?? "self" });
  }
  return rows;
}

/** A signed time can be beyond what a date can hold. */
function timeText(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? `${timeMs} ms after 1970` : date.toISOString();
}

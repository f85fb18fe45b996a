/** `sealmesh verify`: checks evidence from a file, an address or a peer, and says factor by factor what it shows. */
import { type EvidenceItem, evidenceWindow, type Expected, type Verified } from "../../attest/evidence.ts";
import { evidenceKinds } from "../../attest/registry.ts";
import { factors, nextTier, type Outcome, type Standing, tierOf, tiers, unknown } from "../../attest/verdict.ts";
import { verifyEvidence } from "../../attest/verify.ts";
import { type EndpointId, endpointId } from "../../base/brand.ts";
import { fromBase64, fromUtf8, toBase64, utf8 } from "../../base/bytes.ts";
import { MeshError } from "../../base/errors.ts";
import { isRecord } from "../../base/json.ts";
import {
  claimRows,
  factorRows,
  isNodeName,
  isReport,
  namedBy,
  readReport,
  type ReadHost,
  type ReadPiece,
  type ReadReport,
  reportBytes,
  timeText,
} from "../../node/attestation-report.ts";
import { readCertificates } from "../../node/certificates.ts";
import { secondsOf } from "../../node/config-kinds.ts";
import { readSmall } from "../../node/own-files.ts";
import { explainLack, explainReason, tierTexts } from "../../policy/explain.ts";
import { decodeEvidenceItem, rfc3339Ms } from "../../wire/evidence.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { type Command, repeated, takesWord } from "../command.ts";
import { fetchBounded } from "../../node/fetch-bounded.ts";
import { addConsoleFlags, askConsole, type ConsoleFlags } from "../local-node.ts";
import { type Paint, paintFor, printJson, printLine, refusedExit, type Style } from "../output.ts";
import { hanging, widthOf, wrapped } from "../table.ts";

/** Whoever is asked may have to ask others first, ms. */
const fetchMs = 30_000;
const defaultSeconds = evidenceWindow.maxAgeMs / 1_000;
/** Nobody is asked here, and this command knows no pins: what others say of both raises nothing. */
const standing: Standing = { challenged: false, pin: "none" };

interface VerifyFlags extends ConsoleFlags {
  readonly what: string;
  readonly endpoint?: string;
  readonly inferenceKey?: string;
  readonly at?: string;
  readonly maxAge?: string;
  readonly roots?: readonly string[];
  readonly json?: boolean;
}

export const verify: Command = {
  description:
    "Reads evidence and checks it without any network: from a file (the attestation blob of a mesh-llm node, evidence that " +
    "sealmesh wrote, or a document of /v1/mesh/attestation/MODEL), from an address where one of these is, or of a peer (its " +
    "endpoint id, or the first 10 digits and more), for which a node that runs on this machine is asked. Says for each " +
    "factor whether it passes, fails, is stale or cannot be known. Evidence can be a copy: that its key is alive can only " +
    "be shown to a node that asks, so what a document says of challenges and pins is told and not counted. Ends with 77 " +
    "when a factor fails, and with 65 when there is no evidence that this build can read.",
  examples: [
    { what: "what a blob shows by itself", line: "sealmesh verify blob.json" },
    {
      what: "whether it is of this node and for this key",
      line: "sealmesh verify blob.json --endpoint ID --inference-key KEY",
    },
    { what: "as it stood then, for programs", line: "sealmesh verify blob.json --at 2026-05-05T00:05:00Z --json" },
    {
      what: "all hosts of a model, as a node on this machine sees them",
      line: "sealmesh verify http://127.0.0.1:9337/v1/mesh/attestation/MODEL --roots makers.pem",
    },
    { what: "a peer of the node on this machine", line: "sealmesh verify 677edd9c7a" },
  ],
  addFlags: (command) =>
    addConsoleFlags(
      takesWord(
        command,
        "what",
        "<what>",
        "a file, an http(s) address, or a peer's endpoint id (a file of that name: ./NAME)",
      )
        .option("--endpoint <id>", "endpoint id that it must be made for, 64 hex digits")
        .option("--inference-key <base64>", "inference key that it must be made for")
        .option("--at <time>", "check as of this time, such as 2026-05-05T00:00:00Z (default: now)")
        .option(
          "--max-age <duration>",
          `how old it may be, such as 90s, 5m or 1h (default: ${defaultSeconds} s, or less where the document says less)`,
        )
        .option("--roots <file>", "certificates (PEM or DER) that may end its chain; may be repeated", repeated),
    ).option("--json", "one JSON document"),
  async run(given) {
    const flags = given as unknown as VerifyFlags;
    const checking: Checking = {
      expected: expectedFrom(flags),
      nowMs: timeFrom(flags.at),
      maxAgeMs: maxAgeFrom(flags.maxAge),
      roots: (flags.roots ?? []).flatMap((file) => readCertificates(file)),
    };
    const subject = subjectIn(await read(flags));
    return subject.kind === "item" ? checkItem(subject.item, checking, flags) : checkReport(subject, checking, flags);
  },
};

/** What evidence is checked with. */
interface Checking {
  readonly expected: Expected;
  readonly nowMs: number;
  /** As the caller says; undefined: the usual one. */
  readonly maxAgeMs: number | undefined;
  /** DER. */
  readonly roots: readonly Uint8Array[];
}

function expectedFrom({ what, endpoint = isWholeId(what) ? what : undefined, inferenceKey }: VerifyFlags): Expected {
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

function isWholeId(what: string): boolean {
  return what.length === 64 && isNodeName(what);
}

function timeFrom(at: string | undefined): number {
  const timeMs = at === undefined ? Date.now() : rfc3339Ms(at);
  if (timeMs === undefined)
    throw new MeshError("E_USAGE", `--at takes a time such as 2026-05-05T00:00:00Z, not "${at}"`);
  return timeMs;
}

/** @throws E_USAGE */
function maxAgeFrom(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = /^[0-9]{1,6}$/.test(text) ? Number(text) : secondsOf(text);
  if (seconds !== undefined && seconds > 0) return seconds * 1_000;
  throw new MeshError("E_USAGE", `--max-age takes a time such as 90s, 5m or 1h, not "${text}"`);
}

/** How old evidence may be, and how far its time may lie ahead. */
interface Window {
  readonly maxAgeMs: number;
  readonly aheadMs: number;
  /** flag: the age is the caller's · document: stricter than usual, as the node that wrote it is · usual: neither. */
  readonly from: "flag" | "document" | "usual";
}

/** A document may ask for less than the usual time. For more, only the caller may: the document may be anybody's. */
function windowFor(maxAgeMs: number | undefined, said?: ReadReport["window"]): Window {
  const aheadMs = Math.min(said?.aheadMs ?? evidenceWindow.aheadMs, evidenceWindow.aheadMs);
  if (maxAgeMs !== undefined) return { maxAgeMs, aheadMs, from: "flag" };
  const window = { maxAgeMs: Math.min(said?.maxAgeMs ?? evidenceWindow.maxAgeMs, evidenceWindow.maxAgeMs), aheadMs };
  const isUsual = window.maxAgeMs === evidenceWindow.maxAgeMs && aheadMs === evidenceWindow.aheadMs;
  return { ...window, from: isUsual ? "usual" : "document" };
}

const windowTexts: Readonly<Record<Window["from"], string>> = {
  flag: "as --max-age says",
  document: "as the node that wrote it takes it",
  usual: "as usual",
};

function windowText({ maxAgeMs, aheadMs, from }: Window, said?: ReadReport["window"]): string {
  const window = `Taken for recent: up to ${maxAgeMs / 1_000} s old, or ${aheadMs / 1_000} s ahead, ${windowTexts[from]}.`;
  if (said === undefined || said.maxAgeMs <= maxAgeMs) return window;
  return `${window} The node that wrote it took ${said.maxAgeMs / 1_000} s; --max-age ${said.maxAgeMs / 1_000}s does too.`;
}

function windowDocument({ maxAgeMs, aheadMs, from }: Window): object {
  return { max_age_ms: maxAgeMs, ahead_ms: aheadMs, from };
}

// ---- where it comes from

/** @throws E_INPUT, E_UNREACHABLE, E_NO_HOST */
async function read(flags: VerifyFlags): Promise<Uint8Array> {
  const { what, console: port, url } = flags;
  if (isNodeName(what)) return utf8(JSON.stringify(await askPeer(what, flags)));
  if (port !== undefined || url !== undefined) {
    const why = "an address and a file are read themselves";
    throw new MeshError("E_USAGE", `--console and --url say which node is asked about a peer; ${why}: leave them out`);
  }
  return /^https?:\/\//i.test(what) ? await readAddress(what) : readSmall(what, reportBytes);
}

async function readAddress(address: string): Promise<Uint8Array> {
  if (!URL.canParse(address)) throw new MeshError("E_USAGE", `${address} is no address`);
  const { status, bytes } = await fetchBounded(new URL(address), { maxBytes: reportBytes, ms: fetchMs });
  if (status === 200) return bytes;
  const advice = status === 401 ? "; fetch it with a key, and verify the file" : "";
  throw new MeshError("E_INPUT", `there is no evidence at this address (status ${status})${advice}`);
}

/** What the node of this machine has seen of a peer; it asks the peer first. */
async function askPeer(what: string, flags: ConsoleFlags): Promise<unknown> {
  const id = isWholeId(what) ? what : await wholeId(what, flags);
  const report = await askConsole(flags, `/api/attestation/${id}`, fetchMs);
  if (report === undefined) throw new MeshError("E_NO_HOST", `the node on this machine knows no peer ${id}`);
  return report;
}

async function wholeId(prefix: string, flags: ConsoleFlags): Promise<EndpointId> {
  const status = await askConsole(flags, "/api/status", fetchMs);
  const peers: readonly unknown[] = isRecord(status) && Array.isArray(status["peers"]) ? status["peers"] : [];
  const ids = peers.flatMap((peer) => (isRecord(peer) ? [String(peer["endpoint_id"])] : []));
  const nodes = ids.filter((id) => /^[0-9a-f]{64}$/.test(id)).map(endpointId);
  const named = namedBy(prefix, { nodes, models: [] });
  if (named.kind === "peer") return named.id;
  if (named.kind === "ambiguous") throw new MeshError("E_INPUT", `several peers begin with ${prefix}: give more of it`);
  throw new MeshError(
    "E_NO_HOST",
    `the node on this machine knows no peer that begins with ${prefix}; a file of this name is ./${prefix}`,
  );
}

type Subject =
  | { readonly kind: "item"; readonly item: EvidenceItem }
  | { readonly kind: "report"; readonly report: ReadReport };

/** A blob, an item and a document are told apart by their members; whether they are good ones is for who reads them. */
function subjectIn(bytes: Uint8Array): Subject {
  let document: unknown;
  try {
    document = JSON.parse(fromUtf8(bytes));
  } catch (cause) {
    throw unreadable("it is not JSON", cause);
  }
  if (isRecord(document) && "attestation" in document) {
    return {
      kind: "item",
      item: { kind: "secure-enclave", version: 1, evidence: bytes, collateral: [], issuedAtMs: 0 },
    };
  }
  try {
    if (isReport(document)) return { kind: "report", report: readReport(document) };
    return { kind: "item", item: decodeEvidenceItem(bytes) };
  } catch (cause) {
    const what = isReport(document)
      ? "a part of the document cannot be read"
      : "it is neither an attestation blob, an item with kind, version and evidence, nor a document of hosts";
    throw unreadable(what, cause);
  }
}

function unreadable(why: string, cause?: unknown): MeshError {
  return new MeshError("E_INPUT", `this is no evidence that can be checked: ${why}`, { cause });
}

// ---- one piece

/** A piece of evidence, checked. */
interface Checked {
  readonly item: EvidenceItem;
  readonly verified: Verified;
}

function checkItem(item: EvidenceItem, checking: Checking, { json }: VerifyFlags): number {
  const { expected, nowMs, roots } = checking;
  const window = windowFor(checking.maxAgeMs);
  const verified = verifyEvidence({ item, expected, roots, nowMs, ...window });
  if (!isKnown(verified)) throw unreadable("this build knows no such kind or version");
  const checked = { item, verified };
  if (json) printJson({ ...pieceDocument(checked), checked_at: timeText(nowMs), window: windowDocument(window) });
  else {
    const paint = paintFor(process.stdout);
    const title = `${pieceTitle(item, paint)}, checked as of ${timeText(nowMs)}`;
    printLine([title, ...dimLines(windowText(window), paint), ...pieceLines(checked, paint)].join("\n"));
  }
  return exitCode([checked]);
}

function isKnown({ verdict }: Verified): boolean {
  return verdict.parse.reason !== "unknown-kind";
}

function exitCode(pieces: readonly Checked[]): number {
  const fails = pieces.some(({ verified }) => factors.some((factor) => verified.verdict[factor].outcome === "fail"));
  return fails ? refusedExit : 0;
}

function pieceDocument({ item, verified: { claims, verdict } }: Checked): object {
  const next = nextTier(item.kind, verdict, standing);
  return {
    kind: withoutControls(item.kind),
    version: item.version,
    tier: tierOf(item.kind, verdict, standing),
    next_tier: next && {
      tier: next.tier,
      missing: next.lacks.map((lack) => ({ what: lack, sentence: explainLack(lack, verdict) })),
    },
    factors: factorRows(verdict),
    claims: claimRows(claims),
    note: noteOf(item.kind),
  };
}

function pieceTitle({ kind }: EvidenceItem, paint: Paint): string {
  return paint("bold", `${withoutControls(kind)} evidence`);
}

function pieceLines({ item, verified: { claims, verdict } }: Checked, paint: Paint): readonly string[] {
  const tier = tierOf(item.kind, verdict, standing);
  const next = nextTier(item.kind, verdict, standing);
  const lines: string[] = [];
  const width = widthOf(process.stdout);
  const note = noteOf(item.kind);
  if (note !== null) lines.push(...dimLines(note, paint));
  lines.push("");
  for (const factor of factors) {
    const { outcome, reason } = verdict[factor];
    const lead = `  ${factor.padEnd(13)}  ${outcomeText(outcome, paint)}  `;
    lines.push(...hanging(lead, 26, explainReason(reason), width));
  }
  lines.push("", `${paint("bold", `tier reached: ${tier}`)}`);
  for (const [lead, text] of [
    ["  proves: ", tierTexts[tier].proves],
    ["  does not prove: ", tierTexts[tier].doesNotProve],
  ] as const) {
    lines.push(...hanging(lead, lead.length, text, width));
  }
  if (next) {
    lines.push("", `missing for ${next.tier}`);
    for (const lack of next.lacks)
      lines.push(...hanging(`  ${lack.padEnd(13)}  `, 17, explainLack(lack, verdict), width));
  }
  const rows = claimRows(claims);
  if (rows.length > 0) {
    lines.push("", "what it says, and on whose word");
    for (const { claim, value, by } of rows) lines.push(`  ${claim.padEnd(16)}  ${value}  ${paint("dim", `(${by})`)}`);
  }
  return lines;
}

/** A remark beside the verdict. */
function dimLines(text: string, paint: Paint): readonly string[] {
  return wrapped(text, widthOf(process.stdout)).map((line) => paint("dim", line));
}

const outcomeStyles: Readonly<Record<Outcome, Style>> = { pass: "green", fail: "red", unknown: "dim", stale: "yellow" };

function outcomeText(outcome: Outcome, paint: Paint): string {
  return paint(outcomeStyles[outcome], outcome.padEnd(7));
}

function noteOf(kind: string): string | null {
  return evidenceKinds.find((known) => known.kind === kind)?.note ?? null;
}

// ---- a document

interface CheckedHost {
  readonly host: ReadHost;
  readonly inferenceKey: Uint8Array | undefined;
  readonly pieces: readonly (Checked & { readonly read: ReadPiece })[];
}

function checkReport({ report }: { report: ReadReport }, checking: Checking, { what, json }: VerifyFlags): number {
  const { expected, nowMs } = checking;
  // whoever answers for a peer must not show another one's
  const beginning = isNodeName(what) ? what : "";
  const meant = report.hosts.filter(
    ({ endpointId: id }) => id === (expected.endpointId ?? id) && id.startsWith(beginning),
  );
  if (meant.length === 0 && report.hosts.length > 0) throw unreadable("it is about other nodes");
  const window = windowFor(checking.maxAgeMs, report.window);
  const hosts = meant.map((host) => checkHost(host, checking, window));
  const pieces = hosts.flatMap((host) => host.pieces);
  if (pieces.length === 0) throw unreadable("no host in it has shown any");
  if (!pieces.some(({ verified }) => isKnown(verified))) throw unreadable("this build knows no kind or version in it");
  if (json) {
    printJson({
      checked_at: timeText(nowMs),
      document_checked_at: report.checkedAtMs === undefined ? null : timeText(report.checkedAtMs),
      window: windowDocument(window),
      nodes_window: report.window ? { max_age_ms: report.window.maxAgeMs, ahead_ms: report.window.aheadMs } : null,
      words_of_the_document: ownWords(expected, hosts),
      hosts: hosts.map(hostDocument),
    });
  } else printLine(reportText(report, hosts, checking, window));
  return exitCode(pieces);
}

function checkHost(host: ReadHost, { expected, nowMs, roots }: Checking, window: Window): CheckedHost {
  const inferenceKey = expected.inferenceKey ?? host.inferenceKey;
  const pieces = host.pieces.map((read) => {
    const { item, nonce } = read;
    const given = { endpointId: host.endpointId, inferenceKey, nonce };
    const { claims, verdict } = verifyEvidence({ item, expected: given, roots, nowMs, ...window });
    // somebody else's question: a copy answers it as well as the original did
    const fresh = verdict.fresh.reason === "nonce-answered" ? unknown("own-time") : verdict.fresh;
    return { read, item, verified: { claims, verdict: { ...verdict, fresh } } };
  });
  return { host, inferenceKey, pieces };
}

/** What evidence was compared with that nobody but the document says. */
function ownWords(expected: Expected, hosts: readonly CheckedHost[]): readonly string[] {
  const words = [
    ...(expected.endpointId === undefined ? ["endpoint_id"] : []),
    ...(expected.inferenceKey === undefined ? ["inference_key"] : []),
  ];
  const asked = hosts.some(({ pieces }) => pieces.some(({ read }) => read.nonce !== undefined));
  return asked ? [...words, "nonce"] : words;
}

/** By the evidence alone. */
function tierOfPieces(pieces: readonly Checked[]): (typeof tiers)[number] {
  const reached = pieces.map(({ item, verified }) => tierOf(item.kind, verified.verdict, standing));
  return tiers.findLast((tier) => reached.includes(tier)) ?? "none";
}

function hostDocument({ host, inferenceKey, pieces }: CheckedHost): object {
  return {
    endpoint_id: host.endpointId,
    inference_key: inferenceKey ? toBase64(inferenceKey) : null,
    tier: tierOfPieces(pieces),
    nodes_word: { tier: host.saidTier ?? null, allowed: host.saidAllowed ?? null },
    evidence: pieces.map((piece) => ({
      ...pieceDocument(piece),
      nonce: piece.read.nonce ? toBase64(piece.read.nonce) : null,
      nodes_word: { challenge: piece.read.saidChallenge ?? null, pin: piece.read.saidPin ?? null },
    })),
  };
}

function reportText(
  { checkedAtMs, window: said }: ReadReport,
  hosts: readonly CheckedHost[],
  { expected, nowMs }: Checking,
  window: Window,
): string {
  const paint = paintFor(process.stdout);
  const count = hosts.length === 1 ? "one host" : `${hosts.length} hosts`;
  const lines = [`${paint("bold", `attestation of ${count}`)}, checked as of ${timeText(nowMs)}`];
  if (checkedAtMs !== undefined) {
    const then = timeText(checkedAtMs);
    lines.push(...dimLines(`The document says that it is of ${then}; --at ${then} checks as of then.`, paint));
  }
  lines.push(...dimLines(windowText(window, said), paint));
  const words = ownWords(expected, hosts).map((word) => wordTexts[word] ?? word);
  if (words.length > 0) {
    const flags = [
      ...(expected.endpointId === undefined ? ["--endpoint"] : []),
      ...(expected.inferenceKey === undefined ? ["--inference-key"] : []),
    ];
    const advice = flags.length > 0 ? ` Say what they must be with ${flags.join(" and ")}.` : "";
    lines.push(...dimLines(`Checked against the document's own word for ${words.join(" and ")}.${advice}`, paint));
  }
  for (const checked of hosts) lines.push("", ...hostLines(checked, paint));
  return lines.join("\n");
}

const wordTexts: Readonly<Record<string, string>> = {
  endpoint_id: "the endpoint id",
  inference_key: "the inference key",
  nonce: "the nonce",
};

function hostLines({ host, pieces }: CheckedHost, paint: Paint): readonly string[] {
  const lines = [paint("bold", `host ${host.endpointId}`)];
  if (pieces.length === 0) lines.push("  no evidence");
  for (const piece of pieces) {
    const { saidChallenge, saidPin } = piece.read;
    lines.push("", pieceTitle(piece.item, paint), ...pieceLines(piece, paint));
    if (saidChallenge !== undefined || saidPin !== undefined) {
      lines.push("", `the node's word, not counted: challenge ${saidChallenge ?? "-"}, pin ${saidPin ?? "-"}`);
    }
  }
  if (host.saidTier !== undefined) {
    const verdict = host.saidAllowed === undefined ? "" : host.saidAllowed ? ", may be asked" : ", refused";
    lines.push("", `the node's word, not counted: tier ${host.saidTier}${verdict}`);
  }
  return lines;
}

/** `sealmesh status`: what a running node of this machine says about itself and its peers. */
import { MeshError, unlessMeshError } from "../../base/errors.ts";
import type { Status } from "../../node/status.ts";
import { withoutControls } from "../../wire/gossip.ts";
import type { Command } from "../command.ts";
import { addSessionFlags, askConsole, consoleUrl, type SessionFlags, sessionHeaders } from "../local-node.ts";
import { counted, labelled, paintFor, printJson, printLine, table } from "../output.ts";
import { policyText } from "../policy-text.ts";

/** A node answers at once, or it is stuck. */
const answerMs = 5_000;

interface StatusFlags extends SessionFlags {
  readonly json?: boolean;
}

export const status: Command = {
  name: "status",
  summary: "show a running node and its peers",
  description:
    "Asks a node that runs on this machine for its models, its engines and its peers: how each is reached, what it has " +
    "proven so far and why it is refused. Peers are not asked anew; `sealmesh verify ID` asks one.",
  examples: [
    { what: "the node with the usual console port", line: "sealmesh status" },
    { what: "another one, for programs", line: "sealmesh status --console 3132 --json" },
  ],
  addFlags: (command) => addSessionFlags(command).option("--json", "the node's own JSON document"),
  async run(given) {
    const flags = given as StatusFlags;
    const document = await fetchStatus(flags);
    if (flags.json) printJson(document);
    else printLine(statusText(document));
    return 0;
  },
};

/** @throws E_UNREACHABLE nobody there, or somebody else */
async function fetchStatus(flags: SessionFlags): Promise<Status> {
  // a status without its invite is one all the same
  const headers = unlessMeshError(() => sessionHeaders(flags));
  const document = await askConsole(flags, "/api/status", answerMs, headers && { headers });
  if (isStatus(document)) return document;
  throw new MeshError("E_UNREACHABLE", `what answers at ${consoleUrl(flags).origin} is no console of a sealmesh node`);
}

/** Enough to know our own document; it is only printed. */
function isStatus(value: unknown): value is Status {
  return (
    typeof value === "object" &&
    value !== null &&
    "endpoint_id" in value &&
    "peers" in value &&
    Array.isArray(value.peers) &&
    "engines" in value &&
    Array.isArray(value.engines) &&
    "exchanges" in value &&
    "mesh" in value &&
    "policy" in value
  );
}

function statusText(document: Status): string {
  const paint = paintFor(process.stdout);
  const { version, name, endpoint_id, node_state, pid, api_port, models, inference_key, engines, peers } = document;
  const { recent, totals } = document.exchanges;
  const lines = [
    `${paint("bold", name ?? "this node")}  ${document.mode === "relay" ? "relay" : node_state}, sealmesh ${version}, process ${pid}`,
    "",
    labelled("OpenAI base URL", [api_port === null ? "none" : `http://127.0.0.1:${api_port}/v1`], paint),
    labelled("endpoint id", [endpoint_id], paint),
    labelled("inference key", [inference_key], paint),
    labelled("owner", [ownerText(document.owner), `asked of peers: ${document.trust_policy}`], paint),
    labelled("mesh", meshLines(document.mesh), paint),
    labelled("models", models.length > 0 ? models : ["none"], paint),
    labelled("asks hosts", [routeText(document.route)], paint),
    labelled("demands", [policyText(document.policy)], paint),
    labelled("relayed", relayedText(document), paint),
    labelled("load", [loadText(document)], paint),
    labelled("hardening", hardeningText(document.hardening), paint),
  ];
  if (document.mesh_name !== null || document.publication_state !== "private") {
    lines.push(
      labelled("mesh", [`${document.mesh_name ?? "no name"}, ${listedText[document.publication_state]}`], paint),
    );
  }
  if (document.measurement) lines.push(labelled("build", buildText(document.measurement), paint));
  if (document.builds) lines.push(labelled("known builds", buildLines(document.builds), paint));
  if (document.evidence.length > 0) lines.push(labelled("evidence", document.evidence.map(evidenceText), paint));
  if (engines.length > 0) lines.push("", paint("bold", "engines"), ...engines.map(engineText));
  lines.push("", paint("bold", "peers"), peers.length > 0 ? peerTable(document) : "  none");
  lines.push(...peers.flatMap(refusalText));
  if (recent.length > 0)
    lines.push("", paint("bold", exchangesHead(totals)), exchangeTable(recent.slice(0, shownExchanges)));
  return lines.join("\n");
}

const listedText = {
  private: "not listed",
  public: "listed: others can find it",
  publish_failed: "to be listed, but nobody takes the listing for now",
} as const;
/** Which mesh, and what this node may do there. */
function meshLines({ mode, id, name, role, may_invite, why }: Status["mesh"]): readonly string[] {
  const which = [name, id].filter((part) => part !== null).join(", ");
  if (mode === "open") return [`open: anybody who has this node's address is a member${which ? ` (${which})` : ""}`];
  const part = role === null ? "" : `, ${role} here, ${may_invite ? "may invite" : "may not invite"}`;
  return [`invite-only: ${which}${part}`, ...(why === null ? [] : [why])];
}

/** Which lists count, how old they are, and what is wrong with where they come from. */
function buildLines({ demanded, lists, sources }: NonNullable<Status["builds"]>): readonly string[] {
  const held = lists.map(({ signer, seq, state, age_seconds: age, builds, revoked, expires, origin }) => {
    const by = signer.length > 40 ? `${signer.slice(0, 40)}...` : signer;
    return `list ${seq} of ${by}: ${state}, ${ageText(age)} old, ${builds} accepted, ${revoked} revoked, ends ${expires} (${origin})`;
  });
  const troubles = sources.flatMap(({ source, why }) => (why === null ? [] : [`${source}: ${why}`]));
  const first = held.length > 0 ? held : ["no list so far"];
  return [...first, ...troubles, ...(demanded ? [] : ["kept for others: nothing is demanded here"])];
}

function ageText(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** What it runs, by its own measuring. */
function buildText({
  state,
  why,
  build,
  platform,
  problems,
  changed_files,
  changed,
}: Status["measurement"]): readonly string[] {
  if (state === "measuring") return ["being measured"];
  if (build === null) return [`not measured: ${why ?? "no reason known"}`];
  const names = `${changed.slice(0, 3).join(", ")}${changed_files > 3 ? ", ..." : ""}`;
  return [
    `${build} (${platform})`,
    ...problems.slice(0, 3),
    ...(changed_files > 0 ? [`${changed_files} changed on disk since: ${names}`] : []),
  ];
}

function evidenceText({ kind, issued_at, why, key_life, note }: Status["evidence"][number]): string {
  const made = issued_at === null ? "none so far" : `made at ${issued_at.slice(11, 19)} UTC`;
  const life = key_life === "process" ? "; its key ends with this process, and pins of it with the key" : "";
  return `${kind}: ${made}${why === null ? "" : ` (${why})`}${life}${note === null ? "" : `. ${note}`}`;
}

/** One line when all is closed that a process can close; otherwise what is not, and why. */
function hardeningText({ on, node, engine, scrubbed }: Status["hardening"]): readonly string[] {
  const lacking = (whose: string, doors: Status["hardening"]["node"]): string[] =>
    Object.entries(doors).flatMap(([door, { state, why }]) =>
      state === "closed" ? [] : [`${whose}${door} ${state}: ${withoutControls(why)}`],
    );
  const open = [...lacking("", node), ...(engine === null ? [] : lacking("engine: ", engine))];
  return [
    `${on ? "on" : "off, or in part"}${open.length === 0 ? ", every door of the process closed" : ""}`,
    ...open,
    ...(scrubbed.length === 0 ? [] : [`taken away at the start: ${withoutControls(scrubbed.join(", "))}`]),
  ];
}

/** Exchanges that a person is shown; `--json` has more. */
const shownExchanges = 5;

function loadText({ admission }: Status): string {
  const { running, max_running, queued, max_queued } = admission;
  return `${running} of ${max_running} places taken, ${queued} of ${max_queued} waiting`;
}

function exchangesHead({ requests, prompt_tokens, completion_tokens }: Status["exchanges"]["totals"]): string {
  return `last exchanges (${requests} in all, ${prompt_tokens} tokens in, ${completion_tokens} out)`;
}

function exchangeTable(recent: Status["exchanges"]["recent"]): string {
  const rows = recent.map(({ time, model, status, code, host, sealed, route, ms, first_token_ms, ...counts }) => [
    time.slice(11, 19),
    model || "-",
    code === null ? `${status}` : `${status} ${code}`,
    host === null ? "-" : route === "local" ? "this node" : host.slice(0, 10),
    route ?? "-",
    sealed === null ? "-" : sealingText[sealed],
    millisecondsText(first_token_ms),
    millisecondsText(ms),
    `${counts.prompt_tokens ?? "-"} / ${counts.completion_tokens ?? "-"}`,
  ]);
  const heads = ["UTC", "model", "answer", "host", "route", "prompt", "first token", "whole", "tokens in / out"];
  return table([heads, ...rows], paintFor(process.stdout));
}

const sealingText = { true: "sealed", false: "plain", local: "stayed here" } as const;

function routeText(route: Status["route"]): string {
  switch (route) {
    case "auto":
      return "directly, else through a relay";
    case "direct":
      return "directly only";
    case "relay":
      return "through a relay only";
  }
}

/** Sums, and then who it was carried for. */
function relayedText({ relayed, relays_for_others: relays }: Status): readonly string[] {
  if (!relays) return ["nothing, as asked"];
  const { streams, onward, bytes, running, broken, refused, max_streams, max_bytes_per_second, peers } = relayed;
  const through = onward === 0 ? "" : ` (${onward} through another relay)`;
  return [
    `${counted(streams, "stream")}${through}, ${bytes} bytes; ${running} running, ${broken} broken off, ${refused} refused`,
    `at most ${max_streams} at a time and ${max_bytes_per_second / 1_000_000} MB a second`,
    ...peers.slice(0, shownRelayed).map((peer) => {
      return `${peer.id}: ${peer.streams_from} from it, ${peer.streams_to} to it, ${peer.bytes_from} bytes out of it, ${peer.bytes_to} into it`;
    }),
  ];
}

/** Members that a person is shown beside what was carried for them; `--json` has more. */
const shownRelayed = 5;

function engineText({ name, state, why, models, running, waiting }: Status["engines"][number]): string {
  if (state === "down") return `  ${name}  down: ${why ?? "no reason known"}`;
  const names = models.map(({ id, context_length: size }) => (size === null ? id : `${id} (${size} tokens)`));
  return `  ${name}  ${state}, ${running} running, ${waiting} waiting${names.length > 0 ? `: ${names.join(", ")}` : ""}`;
}

type Peer = Status["peers"][number];

function millisecondsText(ms: number | null): string {
  if (ms === null) return "-";
  return ms < 1 ? "<1 ms" : `${Math.round(ms)} ms`;
}

function peerTable({ peers }: Status): string {
  const rows = peers.map((peer) => [
    peer.id,
    peer.hostname ?? "-",
    peer.role.toLowerCase(),
    peer.state,
    peer.hosted_models.join(",") || "-",
    millisecondsText(peer.rtt_ms),
    peer.route,
    peer.sealed,
    proofText(peer),
    saidText(peer),
    ownerCell(peer.owner),
    peer.inference_key ?? "-",
  ]);
  const places = ["id", "name", "role", "state", "models", "round trip", "route", "prompts"];
  const heads = [...places, "proven", "says, signed", "owner", "inference key"];
  return table([heads, ...rows], paintFor(process.stdout));
}

/** The tier, and what it rests on. */
function proofText({ attestation: { tier, kind } }: Peer): string {
  return kind === null ? tier : `${tier} (${kind})`;
}

/** Its own word, where it is surely its own. */
function saidText({ posture: { standing, said } }: Peer): string {
  if (standing === "disagrees") return "two things";
  if (standing !== "signed" || said === null) return "-";
  return said.says_hardened ? "hardened" : "not hardened";
}

function ownerText({ status, owner_id: id, expires_at_unix_ms: expires }: Status["owner"]): string {
  if (id === undefined) return status === "unsigned" ? "none" : status;
  const date = new Date(expires ?? Number.NaN);
  return `${id} (${status}${Number.isNaN(date.getTime()) ? "" : `, until ${date.toISOString().slice(0, 10)}`})`;
}

/** The owner by the first digits of its id, as nodes are; what is wrong with a claim that does not count. */
function ownerCell({ status, owner_id: id }: Peer["owner"]): string {
  if (status === "unsigned") return "-";
  return status === "verified" ? (id ?? "").slice(0, 10) : status;
}

/** A peer without models is asked nothing, so nothing is refused. */
function refusalText({ id, hosted_models: models, attestation: { refusal } }: Peer): readonly string[] {
  return refusal === null || models.length === 0 ? [] : [`  ${id} is refused: ${refusal}`];
}

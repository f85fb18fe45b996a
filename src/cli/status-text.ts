/**
 * What `sealmesh status` prints of a node's own document: a summary that fits a screen, in which only what needs somebody's
 * attention is spelled out, and with --verbose all of it. Pure: a document in, text out.
 */
import { shortId } from "../base/brand.ts";
import type { Status } from "../node/status.ts";
import { withoutControls } from "../wire/gossip.ts";
import { exchangesHead, exchangeTable } from "./exchange-text.ts";
import { counted, labelled, type Paint } from "./output.ts";
import { inOrder, peersHead, peerTable, refusalLines } from "./peer-text.ts";
import { policyText } from "./policy-text.ts";
import { wrapped } from "./table.ts";
import { bytesText, durationText, fewOf } from "./words.ts";

export interface StatusLook {
  readonly verbose: boolean;
  readonly paint: Paint;
  /** Places in a line. */
  readonly width: number;
}

/** Lines of each list in the summary; `--verbose` and `sealmesh peers` have more. */
const few = { peers: 5, refusals: 3, exchanges: 3, models: 6, doors: 5, relayed: 5 } as const;

export function statusText(document: Status, { verbose, paint, width }: StatusLook): string {
  const { version, name, node_state, pid, engines, peers } = document;
  const { recent, totals } = document.exchanges;
  const row = (label: string, values: readonly string[]): readonly string[] =>
    values.length === 0 ? [] : [labelled(label, values, paint, width)];
  const lines = [
    `${paint("bold", name ?? "this node")}  ${document.mode === "relay" ? "relay" : node_state}, sealmesh ${version}, process ${pid}`,
    "",
    ...(verbose ? allRows(document, row) : fewRows(document, row, width)),
  ];
  if (engines.length > 0) lines.push("", paint("bold", "engines"), ...engines.map(engineText));
  lines.push("", paint("bold", peersHead(peers)));
  const shown = inOrder(peers).slice(0, verbose ? peers.length : few.peers);
  if (shown.length > 0) lines.push(peerTable(shown, { paint, width }));
  if (shown.length < peers.length) lines.push(`  and ${peers.length - shown.length} more: sealmesh peers`);
  const refusals = refusalLines(inOrder(peers));
  for (const line of refusals.slice(0, verbose ? refusals.length : few.refusals)) {
    lines.push(...wrapped(line, width - 4).map((part, index) => `  ${index === 0 ? "" : "  "}${part}`));
  }
  if (recent.length > 0) {
    const some = recent.slice(0, verbose ? recent.length : few.exchanges);
    lines.push("", paint("bold", exchangesHead(totals)), exchangeTable(some, { paint, width }));
  }
  if (!verbose) lines.push("", paint("dim", "All of it: sealmesh status --verbose. One peer: sealmesh peers ID"));
  return lines.join("\n");
}

/** Places for a label and an endpoint id. */
const wholeIdWidth = 84;

type Row = (label: string, values: readonly string[]) => readonly string[];

/** What is in order has a word; what is not, its sentence. */
function fewRows(document: Status, row: Row, width: number): readonly string[] {
  return [
    ...row("OpenAI base URL", [baseUrl(document)]),
    // whole, unless it would be broken
    ...row("endpoint id", [width < wholeIdWidth ? shortId(document.endpoint_id) : document.endpoint_id]),
    ...row("mesh", meshLines(document)),
    ...row("models", [fewOf(document.models, few.models) || "none"]),
    ...row("demands", [policyText(document.policy)]),
    ...row("load", [loadText(document)]),
    ...row("hardening", doorLines(document.hardening)),
    ...row("relayed", relayedLines(document).slice(0, 1)),
    ...row("evidence", evidenceTroubles(document.evidence)),
    ...row("build", buildTroubles(document.measurement)),
    ...row("known builds", document.builds ? sourceTroubles(document.builds) : []),
  ];
}

function allRows(document: Status, row: Row): readonly string[] {
  const { inference_key, owner, trust_policy, models, measurement, builds } = document;
  return [
    ...row("OpenAI base URL", [baseUrl(document)]),
    ...row("endpoint id", [document.endpoint_id]),
    ...row("inference key", [inference_key]),
    ...row("owner", [ownerText(owner), `asked of peers: ${trust_policy}`]),
    ...row("mesh", meshLines(document)),
    ...row("models", models.length > 0 ? models : ["none"]),
    ...row("asks hosts", [routeText(document.route)]),
    ...row("demands", [policyText(document.policy)]),
    ...row("relayed", relayedLines(document)),
    ...row("load", [loadText(document)]),
    ...row("hardening", hardeningLines(document.hardening)),
    ...row("build", measurement ? buildLines(measurement) : []),
    ...row("known builds", builds ? listLines(builds) : []),
    ...row("evidence", document.evidence.map(evidenceText)),
  ];
}

function baseUrl({ api_port: port }: Status): string {
  return port === null ? "none: a relay asks nobody" : `http://127.0.0.1:${port}/v1`;
}

const listedText = {
  private: "not listed",
  public: "listed: others can find it",
  publish_failed: "to be listed, but nobody takes the listing for now",
} as const;

/** Which mesh, what this node may do there, and whether it can be found. */
function meshLines(document: Status): readonly string[] {
  const { mode, id, name, role, may_invite, why } = document.mesh;
  const which = [name, id].filter((part) => part !== null).join(", ");
  const part = role === null ? "" : `, ${role} here, ${may_invite ? "may invite" : "may not invite"}`;
  const first =
    mode === "open"
      ? `open: anybody who has this node's address is a member${which ? ` (${which})` : ""}`
      : `invite-only: ${which}${part}`;
  const { mesh_name: listed, publication_state: state } = document;
  const found = listed !== null || state !== "private" ? [`${listed ?? "no name"}, ${listedText[state]}`] : [];
  return [first, ...(why === null ? [] : [why]), ...found];
}

function loadText({ admission }: Status): string {
  const { running, max_running, queued, max_queued } = admission;
  return `${running} of ${max_running} places taken, ${queued} of ${max_queued} waiting`;
}

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
function relayedLines({ relayed, relays_for_others: relays }: Status): readonly string[] {
  if (!relays) return ["nothing, as asked"];
  const { streams, onward, bytes, running, broken, refused, max_streams, max_bytes_per_second, peers } = relayed;
  if (streams + refused === 0) return ["nothing so far"];
  const through = onward === 0 ? "" : ` (${onward} through another relay)`;
  return [
    `${counted(streams, "stream")}${through}, ${bytesText(bytes)}; ${running} running, ${broken} broken off, ${refused} refused`,
    `at most ${max_streams} at a time and ${max_bytes_per_second / 1_000_000} MB a second`,
    ...peers.slice(0, few.relayed).map((peer) => {
      const { streams_from: from, streams_to: to } = peer;
      return `${peer.id}: ${from} from it, ${to} to it, ${bytesText(peer.bytes_from)} out of it, ${bytesText(peer.bytes_to)} into it`;
    }),
  ];
}

/** Doors that are not closed, of the node and of its engine. */
function openDoors({ node, engine }: Status["hardening"]): readonly { readonly door: string; readonly what: string }[] {
  const lacking = (whose: string, doors: Status["hardening"]["node"]) =>
    Object.entries(doors).flatMap(([name, { state, why }]) => {
      const door = `${whose}${name}`;
      return state === "closed" ? [] : [{ door, what: `${door} ${state}: ${withoutControls(why)}` }];
    });
  return [...lacking("", node), ...(engine === null ? [] : lacking("engine: ", engine))];
}

/** In the summary: which doors are not closed, by their names. */
function doorLines(hardening: Status["hardening"]): readonly string[] {
  const open = openDoors(hardening).map(({ door }) => door);
  const [first = "", ...others] = hardeningLines(hardening).filter(
    (_line, index) => index === 0 || index > open.length,
  );
  return [open.length === 0 ? first : `${first}; not closed: ${fewOf(open, few.doors)}`, ...others];
}

/** One line when all is closed that a process can close; otherwise what is not, and why. */
function hardeningLines(hardening: Status["hardening"]): readonly string[] {
  const { on, scrubbed } = hardening;
  const open = openDoors(hardening).map(({ what }) => what);
  return [
    `${on ? "on" : "off, or in part"}${open.length === 0 ? ", every door of the process closed" : ""}`,
    ...open,
    ...(scrubbed.length === 0 ? [] : [`taken away at the start: ${withoutControls(scrubbed.join(", "))}`]),
  ];
}

function engineText({ name, state, why, models, running, waiting }: Status["engines"][number]): string {
  if (state === "down") return `  ${name}  down: ${why ?? "no reason known"}`;
  const names = models.map(({ id, context_length: size }) => (size === null ? id : `${id} (${size} tokens)`));
  const serves = names.length > 0 ? `: ${fewOf(names, few.models)}` : "";
  return `  ${name}  ${state}, ${running} running, ${waiting} waiting${serves}`;
}

// ---- builds and evidence of this machine

function ownerText({ status, owner_id: id, expires_at_unix_ms: expires }: Status["owner"]): string {
  if (id === undefined) return status === "unsigned" ? "none" : status;
  const date = new Date(expires ?? Number.NaN);
  return `${id} (${status}${Number.isNaN(date.getTime()) ? "" : `, until ${date.toISOString().slice(0, 10)}`})`;
}

function evidenceText({ kind, issued_at, why, key_life, note }: Status["evidence"][number]): string {
  const made = issued_at === null ? "none so far" : `made at ${issued_at.slice(11, 19)} UTC`;
  const life = key_life === "process" ? "; its key ends with this process, and pins of it with the key" : "";
  return `${kind}: ${made}${why === null ? "" : ` (${why})`}${life}${note === null ? "" : `. ${note}`}`;
}

/** In the summary: that there is some, or why there is none. */
function evidenceTroubles(evidence: Status["evidence"]): readonly string[] {
  return evidence.map(({ kind, issued_at, why }) => {
    return `${kind}: ${issued_at === null ? "none so far" : `made at ${issued_at.slice(11, 19)} UTC`}${why === null ? "" : ` (${why})`}`;
  });
}

/** What it runs, by its own measuring. */
function buildLines(measured: Status["measurement"]): readonly string[] {
  const { state, why, build, platform } = measured;
  if (state === "measuring") return ["being measured"];
  if (build === null) return [`not measured: ${why ?? "no reason known"}`];
  return [`${build} (${platform})`, ...buildTroubles(measured)];
}

/** None for an installation that is whole, and as it was when the node started. */
function buildTroubles(measured: Status["measurement"] | undefined): readonly string[] {
  if (!measured || measured.state === "measuring" || measured.build === null) return [];
  const { problems, changed_files, changed } = measured;
  const names = `${changed.slice(0, 3).join(", ")}${changed_files > 3 ? ", ..." : ""}`;
  return [...problems.slice(0, 3), ...(changed_files > 0 ? [`${changed_files} changed on disk since: ${names}`] : [])];
}

/** Which lists count, how old they are, and what is wrong with where they come from. */
function listLines(builds: NonNullable<Status["builds"]>): readonly string[] {
  const held = builds.lists.map(
    ({ signer, seq, state, age_seconds: age, builds: accepted, revoked, expires, origin }) => {
      const by = signer.length > 40 ? `${signer.slice(0, 40)}...` : signer;
      return `list ${seq} of ${by}: ${state}, ${durationText(age)} old, ${accepted} accepted, ${revoked} revoked, ends ${expires} (${origin})`;
    },
  );
  return [
    ...(held.length > 0 ? held : ["no list so far"]),
    ...troublesOf(builds),
    ...(builds.demanded ? [] : ["kept for others: nothing is demanded here"]),
  ];
}

/** In the summary: how many lists there are, and what is wrong with where they come from. */
function sourceTroubles(builds: NonNullable<Status["builds"]>): readonly string[] {
  const { lists } = builds;
  const inForce = lists.filter(({ state }) => state === "in force").length;
  return [`${counted(lists.length, "list")}, ${inForce} in force`, ...troublesOf(builds)];
}

function troublesOf({ sources }: NonNullable<Status["builds"]>): readonly string[] {
  return sources.flatMap(({ source, why }) => (why === null ? [] : [`${source}: ${why}`]));
}

/** Peers as tables and as one page each, for `peers`, `status` and the live view. Pure: a document in, text out. */
import { shortId } from "../base/brand.ts";
import type { PeerStatus } from "../node/status.ts";
import { counted, labelled, type Paint } from "./output.ts";
import { type Cell, type Column, tableOf, type TableOptions } from "./table.ts";
import { fewOf, millisecondsText, proofText, sealingCell, tierCell } from "./words.ts";

const columns: readonly Column[] = [
  { head: "id" },
  { head: "name", least: 6 },
  { head: "role", drop: 2 },
  { head: "models", least: 8 },
  { head: "trip", drop: 3, right: 7 },
  { head: "route" },
  { head: "prompts" },
  { head: "proven" },
];

/** Hosts that may be asked first, then those that are refused, then the rest; the nearest first. */
export function inOrder(peers: readonly PeerStatus[]): readonly PeerStatus[] {
  const rank = (peer: PeerStatus): number => (isHost(peer) ? (peer.attestation.allowed ? 0 : 1) : 2);
  const far = Number.MAX_SAFE_INTEGER;
  return peers.toSorted((a, b) => rank(a) - rank(b) || (a.rtt_ms ?? far) - (b.rtt_ms ?? far));
}

/** A peer without models is asked nothing, so nothing is refused either. */
export function isHost({ hosted_models: models }: PeerStatus): boolean {
  return models.length > 0;
}

export function peerTable(peers: readonly PeerStatus[], options: TableOptions): string {
  return tableOf(columns, peers.map(peerCells), options);
}

function peerCells(peer: PeerStatus): readonly Cell[] {
  const host = isHost(peer);
  return [
    peer.id,
    peer.hostname ?? "-",
    roleText(peer),
    fewOf(peer.hosted_models, 2) || "-",
    millisecondsText(peer.rtt_ms),
    peer.route,
    host ? sealingCell(peer.sealed) : "-",
    host ? tierCell(peer.attestation.tier) : "-",
  ];
}

/** One word where role and state say the same. */
export function roleText({ role, state, relays_for_others: relays }: PeerStatus): string {
  switch (role) {
    case "Client":
      return "client";
    case "Host":
      return state === "serving" ? "host" : `host, ${state}`;
    case "Worker":
      return state === "standby" && relays ? "relay" : state;
  }
}

/** "3 peers, 2 of them hosts, 1 refused" */
export function peersHead(peers: readonly PeerStatus[]): string {
  if (peers.length === 0) return "no peers";
  const hosts = peers.filter(isHost);
  const refused = hosts.filter(({ attestation }) => !attestation.allowed).length;
  const some = hosts.length === 0 ? "no host" : peers.length === 1 ? "a host" : `${hosts.length} of them hosts`;
  const no = refused === 0 ? "" : peers.length === 1 ? ", refused" : `, ${refused} refused`;
  return `${counted(peers.length, "peer")}, ${some}${no}`;
}

/** What the bytes between this node and a peer go by. */
function pathText(path: PeerStatus["path"]): string {
  switch (path) {
    case null:
      return "nothing: not connected";
    case "tls":
      return "TLS 1.3 over TCP, the direct path";
    case "quic":
      return "QUIC";
    case "iroh-relay":
      return "QUIC, through an iroh relay";
    case "memory":
      return "memory of this process";
  }
}

/** A line for each host that is asked nothing, and why. */
export function refusalLines(peers: readonly PeerStatus[]): readonly string[] {
  return peers
    .filter(isHost)
    .flatMap(({ id, attestation: { refusal } }) => (refusal === null ? [] : [`${id} is refused: ${refusal}`]));
}

/** All that is known of one peer, as a person reads it. */
export function peerPage(peer: PeerStatus, paint: Paint, width: number): string {
  const row = (label: string, ...values: readonly string[]): string => labelled(label, values, paint, width);
  const { id, hostname, version, route, inference_key: key, attestation } = peer;
  const [name, spoken] = [hostname ?? "no name", version === null ? "" : `, sealmesh ${version}`];
  const lines = [
    `${paint("bold", name)}  ${id}  ${roleText(peer)}${spoken}`,
    "",
    row("endpoint id", peer.endpoint_id),
    row("models", ...(peer.model_states.length > 0 ? peer.model_states.map(modelText) : ["none"])),
    row("round trip", millisecondsText(peer.rtt_ms)),
    row("route", peer.via === null ? routeTexts[route] : `relay: through ${shortId(peer.via)}`),
    row("carried by", pathText(peer.path)),
    row("prompts", promptsText(peer)),
    row("inference key", key ?? "none known"),
    row("proven", ...provenLines(attestation)),
    row("says, signed", saidText(peer)),
    ...(peer.build === null ? [] : [row("build", peer.build.text)]),
    row("owner", ownerText(peer.owner)),
  ];
  if (isHost(peer)) lines.push(row("may be asked", attestation.allowed ? "yes" : `no: ${attestation.refusal ?? ""}`));
  return [...lines, "", paint("dim", `Factor by factor: sealmesh verify ${id}`)].join("\n");
}

const routeTexts = {
  direct: "direct",
  relay: "relay: through another member",
  none: "none: it cannot be reached now",
} as const;

function promptsText(peer: PeerStatus): string {
  if (!isHost(peer)) return "none: it serves no model";
  switch (peer.sealed) {
    case "sealed":
      return "sealed to its inference key";
    case "plain":
      return "plain: it has shown no key, so that prompts would go in the clear";
    case "refused":
      return "refused: it gets none";
  }
}

function modelText({ id, context_length: size, busy, queue }: PeerStatus["model_states"][number]): string {
  const parts = [
    ...(size === null ? [] : [counted(size, "token")]),
    ...(busy === null ? [] : [busy ? "busy" : "free"]),
    ...(queue === null || queue === 0 ? [] : [`${queue} waiting`]),
  ];
  return parts.length > 0 ? `${id} (${parts.join(", ")})` : id;
}

function provenLines({ tier, kind, fingerprint, challenge, pin, why }: PeerStatus["attestation"]): readonly string[] {
  return [
    proofText(tier, kind),
    ...(fingerprint === null ? [] : [`key ${fingerprint}`]),
    ...(challenge === null ? [] : [`challenge ${challenge}, pin ${pin ?? "none"}`]),
    ...(why === null ? [] : [why]),
  ];
}

/** Its own word, where it is surely its own. */
function saidText({ posture: { standing, said } }: PeerStatus): string {
  if (standing === "disagrees") return "two things that differ";
  if (standing !== "signed" || said === null) return "nothing";
  return said.says_hardened ? "hardened" : "not hardened";
}

/** The owner by its whole id, or what is wrong with a claim that does not count. */
function ownerText({ status, owner_id: id }: PeerStatus["owner"]): string {
  return status === "unsigned" ? "none" : id === undefined ? status : `${id} (${status})`;
}

/** The console's words and numbers: one place, so that the same thing is called the same everywhere. Pure. */
import type { ExchangeReport, PeerStatus, Status } from "./types.ts";

/** First ten digits, as the commands print them. */
export function shortId(id: string): string {
  return id.slice(0, 10);
}

/** Control and direction marks that a peer's name may carry; the node keeps most of them out already. */
const marks = /[\p{Cc}\p{Cf}]/gu;

/** What a peer is called: its own word for itself, or the beginning of its id. */
export function nameOf(peer: { readonly hostname?: string | null; readonly endpoint_id: string }): string {
  const name = peer.hostname?.replace(marks, "").trim() ?? "";
  return name === "" ? shortId(peer.endpoint_id) : name;
}

export type RoleWord = "host" | "client" | "relay";

/** What a peer does here. A member without a model that asks nothing is there for others. */
export function roleOf({ role, models }: PeerStatus): RoleWord {
  if (role === "Host" || models.length > 0) return "host";
  return role === "Client" ? "client" : "relay";
}

/**
 * How a prompt to a host would travel. unasked, old: nobody has looked whether it shows what is demanded, or not lately; it is
 * asked before a prompt goes there.
 */
export type PeerSealing = "sealed" | "plain" | "refused" | "unasked" | "old";

export function peerSealing({ sealed, attestation }: PeerStatus): PeerSealing {
  if (sealed !== "refused") return sealed;
  return attestation.rule === "not-asked" ? "unasked" : attestation.rule === "stale" ? "old" : "refused";
}

export const peerSealingWords: Readonly<Record<PeerSealing, string>> = {
  sealed: "sealed",
  plain: "plain",
  refused: "refused",
  unasked: "not asked yet",
  old: "proof is old",
};

export const routeWords: Readonly<Record<PeerStatus["route"], string>> = {
  direct: "direct",
  relay: "through a relay",
  none: "no route",
};

/** How the prompt of an exchange travelled. */
export function sealingOf({ sealed }: Pick<ExchangeReport, "sealed">): "sealed" | "plain" | "local" | "none" {
  if (sealed === null) return "none";
  return sealed === "local" ? "local" : sealed === "true" ? "sealed" : "plain";
}

/** While no word of an answer has come. @param sealing none: nobody has taken the prompt yet */
export function waitingWords(sealing: ReturnType<typeof sealingOf>): string {
  const sent = { sealed: "Sealed and sent", plain: "Sent in the clear", local: "Asked on this machine", none: "Sent" };
  return `${sent[sealing]}. Waiting for the first word …`;
}

/** What is certain of a prompt before it is sent: a promise only where the policy lets nothing else happen. */
export function promptWords({ policy, serving_models: own }: Status, model: string): string {
  return policy.require_encryption && !own.includes(model)
    ? "Your prompt is sealed to the host that answers it."
    : "Under each answer stands who gave it, and how your prompt travelled there.";
}

/** The node that this console belongs to. */
export function ownName(status: Status): string {
  return nameOf({ hostname: status.name, endpoint_id: status.endpoint_id });
}

/** The name of any node by its endpoint id, as far as it is known. */
export function nodeName(status: Status | undefined, id: string): string {
  if (status?.endpoint_id === id) return "this node";
  const peer = status?.peers.find(({ endpoint_id }) => endpoint_id === id);
  return peer ? nameOf(peer) : shortId(id);
}

// ---- numbers

/** under 1 ms, 2.4 ms, 12 ms, 1.24 s, 2 min. */
export function duration(ms: number | null): string {
  if (ms === null) return "–";
  if (ms < 1) return "under 1 ms";
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1_000).toFixed(ms < 9_950 ? 2 : 1)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

export function count(value: number | null): string {
  return value === null ? "–" : value.toLocaleString("en-GB");
}

/** "1 host", "2 hosts". */
export function some(value: number, what: string): string {
  return `${count(value)} ${what}${value === 1 ? "" : "s"}`;
}

/** Of an answer, from its first token to its end; null where it is not known or too short to say. */
export function tokensPerSecond({ completion_tokens, first_token_ms, ms }: ExchangeReport): number | null {
  if (completion_tokens === null || first_token_ms === null || completion_tokens < 2 || ms <= first_token_ms)
    return null;
  return ((completion_tokens - 1) * 1_000) / (ms - first_token_ms);
}

/** Hours and minutes here, with seconds. */
export function clockTime(when: string | number): string {
  return new Date(when).toLocaleTimeString("en-GB");
}

/** A day and a time here. */
export function dayTime(when: string | number): string {
  return new Date(when).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

/** "in 6 days", "in 4 min", "in 12 s"; "expired" when it has passed. */
export function timeLeft(untilMs: number, nowMs: number): string {
  const seconds = Math.floor((untilMs - nowMs) / 1_000);
  if (seconds <= 0) return "expired";
  if (seconds < 120) return `${seconds} s left`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min left`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} hours left`;
  return `${Math.floor(seconds / 86_400)} days left`;
}

/**
 * The words of every command for how a prompt travels and what a host has proven, and their colours. One table of words,
 * so that `status`, `peers`, `chat` and the live view say the same thing in the same way.
 */
import type { Tier } from "../attest/verdict.ts";
import type { ExchangeReport } from "../node/exchanges.ts";
import type { PeerStatus } from "../node/status.ts";
import type { Style } from "./output.ts";
import type { Cell } from "./table.ts";

export type SealingWord = "sealed" | "plain" | "local" | "refused";
export type RouteWord = PeerStatus["route"] | "local";

const sealingStyles: Readonly<Record<SealingWord, Style>> = {
  sealed: "green",
  plain: "yellow",
  local: "green",
  refused: "red",
};

export function sealingCell(word: SealingWord | undefined): Cell {
  return word === undefined ? "-" : { text: word, style: sealingStyles[word] };
}

/** A report's and a header's word for it; undefined: the prompt did not leave. */
export function sealingWord(sealed: ExchangeReport["sealed"]): SealingWord | undefined {
  switch (sealed) {
    case "true":
      return "sealed";
    case "false":
      return "plain";
    case "local":
      return "local";
    case null:
      return undefined;
  }
}

export function tierCell(tier: Tier): Cell {
  return tier === "none" ? { text: tier, style: "dim" } : { text: tier, style: "green" };
}

/** How a prompt travelled and to whom, in a line. */
export interface Travelled {
  /** Name and short id, or what else names the host. */
  readonly host: string;
  readonly route: "direct" | "relay" | "local";
  readonly sealing: SealingWord;
  readonly tier: string | undefined;
  /** Of its evidence. */
  readonly kind: string | undefined;
}

/** "gpu-box 677edd9c7a, direct, sealed, proven: vendor (tpm2)" */
export function travelledText({ host, route, sealing, tier, kind }: Travelled): string {
  if (route === "local") return "this node, local: the prompt did not leave it";
  const proven = tier === undefined || tier === "none" ? "proven: nothing" : `proven: ${proofText(tier, kind)}`;
  return [host, route, sealing, proven].join(", ");
}

/** The tier, and what it rests on. */
export function proofText(tier: string, kind: string | null | undefined): string {
  return kind === null || kind === undefined ? tier : `${tier} (${kind})`;
}

export function millisecondsText(ms: number | null): string {
  if (ms === null) return "-";
  if (ms < 1) return "<1 ms";
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${Math.round(ms / 1_000)} s`;
}

/** "12 s", "5 min", "3 h", "4 days". */
export function durationText(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function bytesText(bytes: number): string {
  if (bytes < 1_000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`;
  return bytes < 1e9 ? `${(bytes / 1_000_000).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** The first few of a list, and how many more there are. */
export function fewOf(names: readonly string[], most: number): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}

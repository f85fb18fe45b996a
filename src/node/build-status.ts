/**
 * Known builds as JSON: which lists a node goes by, how old they are, and what they say of the build that a host tells. What
 * a host tells is its own word, signed; every document says so. Pure.
 */
import type { HostFacts } from "../policy/decide.ts";
import { type BuildOutcome, judgeBuild, listRefusals, type ListState, listState, toldBuild } from "../policy/builds.ts";
import type { BuildList } from "../wire/builds.ts";
import type { BuildLists, ListOrigin } from "./build-lists.ts";

/** Null in status where nobody's lists count. */
export interface BuildListsStatus {
  /** Whether hosts must run a build of the lists; false: they are kept and passed on alone. */
  readonly demanded: boolean;
  readonly lists: readonly BuildListStatus[];
  readonly sources: readonly {
    readonly source: string;
    /** ISO 8601, UTC, of the last look that gave a list; null: none has. */
    readonly read_at: string | null;
    /** Why the last look gave nothing, or nothing that was taken. */
    readonly why: string | null;
  }[];
  /** Lists that were not taken, the last ones. */
  readonly refused: readonly {
    /** File, address or endpoint id. */
    readonly from: string;
    readonly reason: string;
    readonly text: string;
    readonly at: string;
  }[];
}

export interface BuildListStatus {
  /** Key, or issuer and identity. */
  readonly signer: string;
  readonly seq: string;
  /** Where it came from in this run; disk: it was known before. */
  readonly origin: ListOrigin;
  readonly state: ListState;
  readonly issued_at: string;
  readonly age_seconds: number;
  readonly not_before: string;
  readonly expires: string;
  readonly builds: number;
  readonly revoked: number;
  readonly note: string | null;
}

/** What the lists say of a host's build; null where nobody's lists count. */
export interface BuildStatus {
  /** 64 hex digits; null: it tells none that is signed. */
  readonly digest: string | null;
  /** The host itself, whatever its evidence proves. */
  readonly by: "self";
  readonly verdict: BuildOutcome;
  /** What the list calls it. */
  readonly version: string | null;
  /** The list that says so; null: none says anything of it. */
  readonly list: { readonly signer: string; readonly seq: string; readonly age_seconds: number } | null;
  /** A sentence. */
  readonly text: string;
}

export function buildListsStatus(builds: BuildLists, demanded: boolean, nowMs: number): BuildListsStatus {
  return {
    demanded,
    lists: builds.lists.map(({ signer, list }) => ({
      signer,
      seq: list.seq.toString(),
      origin: builds.originOf(signer),
      state: listState(list, nowMs),
      issued_at: isoTime(list.issuedAtMs),
      age_seconds: ageSeconds(list, nowMs),
      not_before: isoTime(list.notBeforeMs),
      expires: isoTime(list.expiresMs),
      builds: list.builds.filter(({ revoked }) => !revoked).length,
      revoked: list.builds.filter(({ revoked }) => revoked).length,
      note: list.note ?? null,
    })),
    sources: builds.sources.map(({ source, readMs, why }) => ({
      source,
      read_at: readMs === undefined ? null : isoTime(readMs),
      why: why ?? null,
    })),
    refused: builds.refused.map(({ from, reason, atMs }) => ({
      from,
      reason,
      text: listRefusals[reason],
      at: isoTime(atMs),
    })),
  };
}

export function buildStatus(facts: HostFacts["posture"], builds: BuildLists, nowMs: number): BuildStatus {
  const told = toldBuild(facts);
  const { outcome, version, signer } = judgeBuild(builds.lists, told, nowMs);
  const by = builds.lists.find((list) => list.signer === signer)?.list;
  return {
    digest: told?.digest ?? null,
    by: "self",
    verdict: outcome,
    version: version ?? null,
    list: signer === undefined || !by ? null : { signer, seq: by.seq.toString(), age_seconds: ageSeconds(by, nowMs) },
    text: buildText(told?.digest, outcome, version),
  };
}

const outcomeTexts: Readonly<Record<Exclude<BuildOutcome, "not-told">, string>> = {
  accepted: "which is accepted",
  revoked: "which was revoked",
  "unknown-build": "which is on no list of accepted ones",
  "build-expired": "which is not accepted any more",
  "list-expired": "and no list that says more holds now",
  "not-yet": "which is not accepted yet",
  "no-list": "and there is no list to go by",
};

function buildText(digest: string | undefined, outcome: BuildOutcome, version: string | undefined): string {
  if (outcome === "not-told") return "It says nothing, signed, of the build that it runs.";
  const named = version === undefined ? "" : ` (${version})`;
  return `The host says, signed, that it runs the build ${digest ?? "?"}${named}, ${outcomeTexts[outcome]}.`;
}

function ageSeconds({ issuedAtMs }: BuildList, nowMs: number): number {
  return Math.max(0, Math.round((nowMs - issuedAtMs) / 1_000));
}

/** A list can hold times that no date has. */
export function isoTime(timeMs: number): string {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? `${timeMs} ms after 1970` : date.toISOString();
}

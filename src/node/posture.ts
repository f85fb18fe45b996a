/**
 * This node's posture, put together from what its process and its engines' processes found about themselves, and the
 * posture of any node as a document. Measured in harden/, told in record and evidence; judges nobody.
 */
import { type HardeningReport, platformOf } from "../harden/report.ts";
import { hardenedLacks, type PostureFacts } from "../policy/hardened.ts";
import { explainPosture } from "../policy/explain.ts";
import {
  type Door,
  type DoorState,
  doors,
  everyDoor,
  machineDoors,
  type Posture,
  processDoors,
  worseState,
} from "../wire/posture.ts";

/** An engine that answers prompts now, or may. */
export interface EngineSeen {
  readonly kind: "embedded" | "external";
  /** Whether there is a process that answers: one that is loading or down holds no prompt. */
  readonly up: boolean;
  /** What the child of an embedded engine found about itself; undefined = it has not said. */
  readonly hardening?: HardeningReport | undefined;
}

/** 64 hex digits each. */
export interface BuildDigests {
  readonly build: string;
  readonly runtime: string;
}

export interface PostureParts {
  /** Undefined: nobody looked, as in a node that a program holds in its own process. */
  readonly hardening: HardeningReport | undefined;
  readonly engines: readonly EngineSeen[];
  /** Of what runs; undefined = not measured. */
  readonly measurement: BuildDigests | undefined;
}

/** The worse of the node and of all engines of ours that answer; what nobody has found out is unknown. */
export function postureOf({ hardening, engines, measurement }: PostureParts): Posture {
  const children = engines.filter(({ kind, up }) => kind === "embedded" && up).map((engine) => engine.hardening);
  const processes = [hardening, ...children];
  const found = everyDoor("unknown");
  for (const door of processDoors) {
    found[door] = processes.map((seen) => seen?.process[door].state ?? "unknown").reduce(worseState);
  }
  for (const door of machineDoors) found[door] = hardening?.machine[door].state ?? "unknown";
  return {
    platform: hardening?.platform ?? platformOf(process.platform),
    doors: found,
    hardening: processes.every((seen) => seen?.on === true),
    engine: engineOf(engines),
    scrubbed: [...new Set(processes.flatMap((seen) => seen?.scrubbed ?? []))].toSorted(),
    confidentialVm: hardening?.confidentialVm,
    build: measurement?.build,
    runtime: measurement?.runtime,
  };
}

/** An external engine is told also while it is down: it may come back, and what it sees nobody here knows. */
function engineOf(engines: readonly EngineSeen[]): Posture["engine"] {
  if (engines.some(({ kind }) => kind === "external")) return "external";
  return engines.length > 0 ? "embedded" : "none";
}

// ---- as a document

/** What a node says of itself. */
export interface PostureDocument {
  readonly platform: Posture["platform"];
  readonly hardening: boolean;
  readonly engine: Posture["engine"];
  readonly doors: Readonly<Record<Door, DoorState>>;
  readonly scrubbed: readonly string[];
  readonly confidential_vm: string | null;
  readonly build: string | null;
  readonly runtime: string | null;
  /** Whether all is closed that `hardened` asks for on its platform (docs/hardening.md). */
  readonly says_hardened: boolean;
}

/** The same of a host, and whose word it is. */
export interface PostureStatus {
  /** signed: surely the host's own word, and no more · unsigned: anybody's · disagrees: it says two things · none: nothing */
  readonly standing: PostureFacts["kind"];
  /** What is signed; for `unsigned` what its gossip says, to be shown and nothing else. Null where nothing is known. */
  readonly said: PostureDocument | null;
  readonly text: string | null;
}

export function postureDocument(posture: Posture): PostureDocument {
  const { platform, hardening, engine, scrubbed, confidentialVm, build, runtime } = posture;
  return {
    platform,
    hardening,
    engine,
    doors: Object.fromEntries(doors.map((door) => [door, posture.doors[door]])) as Record<Door, DoorState>, // as they are listed
    scrubbed,
    confidential_vm: confidentialVm ?? null,
    build: build ?? null,
    runtime: runtime ?? null,
    says_hardened: hardenedLacks(posture).length === 0,
  };
}

/** @param inGossip field 37 on the host's own connection */
export function postureStatus(facts: PostureFacts, inGossip: Posture | undefined): PostureStatus {
  const said = facts.kind === "signed" ? facts.posture : facts.kind === "unsigned" ? inGossip : undefined;
  return { standing: facts.kind, said: said ? postureDocument(said) : null, text: explainPosture(facts) ?? null };
}

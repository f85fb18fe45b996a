/** What this node and its embedded engines did to close themselves, as a part of /api/status: each door with its sentence. */
import {
  type DoorReport,
  type HardeningReport,
  type MachineDoors,
  type ProcessDoors,
  type StepReport,
  withoutReport,
} from "../harden/report.ts";
import { worseState } from "../wire/posture.ts";
import type { EngineSeen } from "./posture.ts";

export interface HardeningStatus {
  /** Whether all of it is wanted; false with --no-hardening, and with a step that the configuration leaves out. */
  readonly on: boolean;
  /** By the names below [hardening] in the configuration file, with - for _. */
  readonly steps: readonly StepReport[];
  readonly node: ProcessDoors;
  /** The worst of the embedded engines' processes, door by door; null: there is none that has said anything. */
  readonly engine: ProcessDoors | null;
  readonly machine: MachineDoors;
  /** Dangerous variables and flags of the starter that were taken away. */
  readonly scrubbed: readonly string[];
}

/** @param hardening undefined: nobody looked */
export function hardeningStatus(
  hardening: HardeningReport | undefined,
  engines: readonly EngineSeen[],
): HardeningStatus {
  const { on, steps, process, machine, scrubbed } = hardening ?? withoutReport();
  const reports = engines.flatMap((engine) => (engine.hardening ? [engine.hardening.process] : []));
  const [first, ...others] = reports;
  return { on, steps, node: process, engine: first ? others.reduce(worse, first) : null, machine, scrubbed };
}

function worse(a: ProcessDoors, b: ProcessDoors): ProcessDoors {
  const pick = (one: DoorReport, other: DoorReport): DoorReport =>
    worseState(one.state, other.state) === one.state ? one : other;
  return {
    environment: pick(a.environment, b.environment),
    arguments: pick(a.arguments, b.arguments),
    "core-dumps": pick(a["core-dumps"], b["core-dumps"]),
    debugger: pick(a.debugger, b.debugger),
    inspector: pick(a.inspector, b.inspector),
    privileges: pick(a.privileges, b.privileges),
    "memory-lock": pick(a["memory-lock"], b["memory-lock"]),
  };
}

/**
 * What hardening did and what it found: a report of one process and its machine, as data. Made by harden.ts; sent to the
 * parent as it is by the engine's child; shown by status, and turned into the posture that peers see. No effect, no I/O.
 */
import type { DoorState, MachineDoor, PosturePlatform, ProcessDoor } from "../wire/posture.ts";

export interface DoorReport {
  readonly state: DoorState;
  /** Our own short sentence. */
  readonly why: string;
}

export type ProcessDoors = Readonly<Record<ProcessDoor, DoorReport>>;
export type MachineDoors = Readonly<Record<MachineDoor, DoorReport>>;

/** What can be switched off by itself, below [hardening] in the configuration file (with _ for -). */
export const stepNames = ["environment", "core-dumps", "debugger", "inspector", "privileges"] as const;
export type StepName = (typeof stepNames)[number];

/** Whether each step is wanted. */
export type HardeningSteps = Readonly<Record<StepName, boolean>>;

export const everyStep: HardeningSteps = steps(true);
export const noStep: HardeningSteps = steps(false);

export interface StepReport {
  readonly name: StepName;
  readonly applied: boolean;
  readonly why: string;
}

export interface HardeningReport {
  readonly platform: PosturePlatform;
  /** Whether every step is wanted: false with --no-hardening, and when the configuration file leaves one out. */
  readonly on: boolean;
  readonly process: ProcessDoors;
  readonly machine: MachineDoors;
  /** Names of dangerous variables and flags that the starter had set and that were taken away; sorted. */
  readonly scrubbed: readonly string[];
  /** "sev-snp", "tdx", "none"; undefined = not known. The system's word, proof of nothing. */
  readonly confidentialVm: string | undefined;
  readonly steps: readonly StepReport[];
}

export function closed(why: string): DoorReport {
  return { state: "closed", why };
}

export function open(why: string): DoorReport {
  return { state: "open", why };
}

export function unknown(why: string): DoorReport {
  return { state: "unknown", why };
}

/** All doors of a process with the same answer, to start from. */
export function everyProcessDoor(report: DoorReport): ProcessDoors {
  return {
    environment: report,
    arguments: report,
    "core-dumps": report,
    debugger: report,
    inspector: report,
    privileges: report,
    "memory-lock": report,
  };
}

/** The same for what is read of the machine. */
export function everyMachineDoor(report: DoorReport): MachineDoors {
  return {
    "ptrace-scope": report,
    swap: report,
    "core-pattern": report,
    lockdown: report,
    "secure-boot": report,
    sip: report,
    rdma: report,
    "hardened-runtime": report,
  };
}

/** Of a node that another program has started in its own process: nothing was done, and nothing was looked at. */
export function withoutReport(): HardeningReport {
  return {
    platform: platformOf(process.platform),
    on: false,
    process: everyProcessDoor(unknown("the node runs inside another program, which was not looked at")),
    machine: everyMachineDoor(unknown("not looked at")),
    scrubbed: [],
    confidentialVm: undefined,
    steps: stepNames.map((name) => ({ name, applied: false, why: "the node runs inside another program" })),
  };
}

export function platformOf(name: NodeJS.Platform): PosturePlatform {
  return name === "linux" || name === "darwin" || name === "win32" ? name : "other";
}

function steps(wanted: boolean): HardeningSteps {
  return { environment: wanted, "core-dumps": wanted, debugger: wanted, inspector: wanted, privileges: wanted };
}

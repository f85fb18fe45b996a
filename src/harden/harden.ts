/**
 * What a process that holds prompts does to itself, first thing: closes what it can close, and says what it found. The same
 * for the node and for the process of its embedded engine. What it must have been started with is start.ts's.
 */
import { macDoors, macMachine, applyOnMac } from "./platform/darwin.ts";
import {
  applyOnLinux,
  coreDumpsDoor,
  debuggerDoor,
  endWithParent,
  linuxMachine,
  memoryLockDoor,
  privilegesDoor,
  threadStatuses,
} from "./platform/linux.ts";
import { loadNative, type Native } from "./platform/native.ts";
import {
  closed,
  type DoorReport,
  everyMachineDoor,
  type HardeningReport,
  type HardeningSteps,
  open,
  platformOf,
  type ProcessDoors,
  type StepName,
  stepNames,
  type StepReport,
  unknown,
} from "./report.ts";
import { type Inheritance, isInspected, lookAtStart, ownNodeFlags } from "./start.ts";

export interface HardenSettings {
  /** false: --no-hardening. */
  readonly wanted: boolean;
  readonly steps: HardeningSteps;
  /** What the start before took away. */
  readonly scrubbed: readonly string[];
  /** Of the engine's process: that of the node, with which it ends. */
  readonly parent?: number;
  /** Variables that it was given by us. */
  readonly variables?: readonly string[];
  /** Whether keys are kept in it. */
  readonly keys: boolean;
}

/** What was true at the start, for looking again. One per process, as what it describes is. */
interface Known {
  readonly settings: HardenSettings;
  readonly native: Native | undefined;
  readonly start: Inheritance;
  /** macOS: PT_DENY_ATTACH has worked. */
  readonly denied: boolean;
}
let known: Known | undefined;

/**
 * Applies the steps and looks at the process; the machine is asked by {@link withMachine}. Without koffi what needs system
 * calls is not done, and unknown.
 */
export function hardenSelf(settings: HardenSettings): HardeningReport {
  const { steps, parent } = settings;
  if (steps.inspector) keepInspectorClosed();
  // before its own /proc is no longer its own
  const start = lookAtStart(settings.variables);
  const native = stepNames.some((name) => steps[name]) ? loadNative() : undefined;
  let denied = false;
  if (native !== undefined && process.platform === "linux") {
    applyOnLinux(steps, native);
    if (parent !== undefined && !endWithParent(native, parent)) process.kill(process.pid, "SIGKILL");
  }
  if (native !== undefined && process.platform === "darwin") denied = applyOnMac(steps, native);
  known = { settings, native, start, denied };
  const doors = processDoors(known);
  return {
    platform: platformOf(process.platform),
    on: settings.wanted && stepNames.every((name) => steps[name]),
    process: doors,
    machine: everyMachineDoor(unknown("not asked by this process")),
    scrubbed: settings.scrubbed,
    confidentialVm: undefined,
    steps: stepNames.map((name) => stepReport(name, settings, doors)),
  };
}

/** The same report with the doors of now: a key is locked in memory later, and a debugger may come. */
export function lookAgain(report: HardeningReport): HardeningReport {
  return known === undefined ? report : { ...report, process: processDoors(known) };
}

/** The same report with what the machine says of itself. On macOS its tools are run, which takes up to seconds. */
export async function withMachine(report: HardeningReport): Promise<HardeningReport> {
  if (process.platform === "linux") {
    const { doors, confidentialVm } = linuxMachine();
    return { ...report, machine: doors, confidentialVm };
  }
  if (process.platform === "darwin") return { ...report, machine: await macMachine(known?.native) };
  return { ...report, machine: everyMachineDoor(unknown("nothing is asked on this system")) };
}

// ---- doors

function processDoors({ settings, native, start, denied }: Known): ProcessDoors {
  const own = {
    environment: environmentDoor(start),
    arguments: argumentsDoor(start, settings.steps),
    inspector: inspectorDoor(),
  };
  const keyless = settings.keys ? undefined : closed("this process holds no keys");
  if (process.platform === "linux") {
    const threads = threadStatuses();
    return {
      ...own,
      debugger: debuggerDoor(native, threads),
      "core-dumps": coreDumpsDoor(native),
      privileges: privilegesDoor(threads),
      "memory-lock": keyless ?? memoryLockDoor(),
    };
  }
  if (process.platform === "darwin") {
    return {
      ...own,
      ...macDoors(native, denied),
      privileges: unknown("macOS has no such thing"),
      "memory-lock": keyless ?? unknown("what is locked cannot be read"),
    };
  }
  const none = unknown("nothing is done or asked on this system");
  return { ...own, debugger: none, "core-dumps": none, privileges: none, "memory-lock": keyless ?? none };
}

function environmentDoor({ variables: { dangerous, others }, hidden }: Inheritance): DoorReport {
  if (dangerous.length > 0) return open(`set by the starter: ${dangerous.slice(0, 16).join(", ")}`);
  if (hidden) return unknown("the kernel's list of its variables cannot be read");
  return others.length === 0
    ? closed("only variables that a node may keep")
    : unknown(`${others.length} variables that are not known here were left`);
}

function argumentsDoor({ flags: { foreign } }: Inheritance, { inspector }: HardeningSteps): DoorReport {
  if (foreign.length > 0) return open(`flags of Node from the starter: ${foreign.slice(0, 16).join(", ")}`);
  return closed(inspector ? "no flags of Node but our own" : "no flags of Node");
}

/** As long as a program listens to SIGUSR1, Node does not open the inspector at it. */
function keepInspectorClosed(): void {
  if (process.platform !== "win32" && process.listenerCount("SIGUSR1") === 0) process.on("SIGUSR1", ignore);
  if (process.report !== undefined) {
    process.report.reportOnSignal = false;
    process.report.reportOnUncaughtException = false;
  }
}

function ignore(): void {
  // being there is its work
}

let everInspected = false;

function inspectorDoor(): DoorReport {
  everInspected ||= isInspected();
  if (everInspected) return open("the inspector was opened, and may have been used");
  if (!process.features.inspector) return closed("Node was built without an inspector");
  if (process.platform === "win32") return unknown("another process of the same user may open it");
  if (process.report?.reportOnSignal) return open("a signal makes Node write a report");
  if (process.execArgv.includes("--disable-sigusr1")) return closed("SIGUSR1 does not open it (--disable-sigusr1)");
  if (process.listenerCount("SIGUSR1") === 0) return open("SIGUSR1 opens it");
  return ownNodeFlags().every((flag) => process.execArgv.includes(flag))
    ? closed("SIGUSR1 does not open it: it is listened to, and could not listen anywhere before")
    : closed("SIGUSR1 does not open it since it is listened to");
}

/** The door that a step is there to close. */
const doorsOfSteps: Readonly<Record<StepName, readonly (keyof ProcessDoors)[]>> = {
  environment: ["environment", "arguments"],
  "core-dumps": ["core-dumps"],
  debugger: ["debugger"],
  inspector: ["inspector"],
  privileges: ["privileges"],
};

function stepReport(name: StepName, { wanted, steps }: HardenSettings, doors: ProcessDoors): StepReport {
  if (!wanted) return { name, applied: false, why: "switched off by --no-hardening" };
  const setting = name.replace("-", "_");
  if (!steps[name]) return { name, applied: false, why: `switched off by ${setting} = false below [hardening]` };
  const reports = doorsOfSteps[name].map((door) => doors[door]);
  const lacking = reports.find(({ state }) => state !== "closed");
  return { name, applied: lacking === undefined, why: lacking?.why ?? reports.map(({ why }) => why).join("; ") };
}

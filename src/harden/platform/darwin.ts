/**
 * macOS: ptrace(PT_DENY_ATTACH), the flags of the running program's signature, and what the system's own tools say of the
 * machine, read as strictly as evidence reads them. Tried with a stand-in library and recorded outputs; not yet run on
 * hardware.
 *
 * @see attest/collect/apple/facts.ts · XNU bsd/sys/codesign.h
 */
import { existsSync } from "node:fs";
import { parseRdma, parseSecureBoot, parseSip, type RunCommand, runCommand } from "../../attest/collect/apple/facts.ts";
import {
  closed,
  type DoorReport,
  everyMachineDoor,
  type HardeningSteps,
  type MachineDoors,
  open,
  unknown,
} from "../report.ts";
import type { Native } from "./native.ts";

/** Flags of a signature: CS_GET_TASK_ALLOW, CS_RUNTIME, CS_DEBUGGED. */
const taskAllowed = 0x4;
const hardenedRuntime = 0x10000;
const debugged = 0x10000000;

export interface MacDoors {
  readonly debugger: DoorReport;
  readonly "core-dumps": DoorReport;
}

/**
 * A debugger that is attached already ends the process here: that is how macOS refuses.
 * @returns whether nobody may attach from now on
 */
export function applyOnMac(steps: HardeningSteps, native: Native): boolean {
  if (steps["core-dumps"]) native.forbidCoreFiles();
  return steps.debugger && native.denyAttach();
}

export function macDoors(native: Native | undefined, denied: boolean): MacDoors {
  if (native === undefined) {
    const without = unknown("it was not asked: that needs koffi, and a step that loads it");
    return { debugger: without, "core-dumps": without };
  }
  return { debugger: debuggerDoor(native.signingFlags(), denied), "core-dumps": coreDumpsDoor(native) };
}

function debuggerDoor(flags: number | undefined, denied: boolean): DoorReport {
  // the system remembers that a debugger was there, also when it has gone
  if (flags !== undefined && (flags & debugged) !== 0) return open("a debugger is or was attached to this process");
  return denied ? closed("ptrace(PT_DENY_ATTACH)") : open("debuggers of the same user may attach to this process");
}

function coreDumpsDoor(native: Native): DoorReport {
  const forbidden = native.coreFilesForbidden();
  if (forbidden === undefined) return unknown("the limit of core files cannot be read");
  return forbidden ? closed("the limit of core files is 0") : open("the limit of core files is not 0");
}

/** What the system's tools are asked with. */
export interface MacTools {
  readonly run: RunCommand;
  readonly exists: (path: string) => boolean;
}

const rdmaTool = "/usr/bin/rdma_ctl";

export async function macMachine(
  native: Native | undefined,
  { run, exists }: MacTools = { run: runCommand, exists: existsSync },
): Promise<MachineDoors> {
  const hasRdma = exists(rdmaTool);
  const [sip, boot, rdma] = await Promise.all([
    run("/usr/bin/csrutil", ["status"]),
    run("/usr/sbin/system_profiler", ["-json", "SPiBridgeDataType"]),
    hasRdma ? run(rdmaTool, ["status"]) : undefined,
  ]);
  return {
    ...everyMachineDoor(unknown("macOS has no such thing")),
    // memory that leaves for the disk is always encrypted there, but nothing here has measured it
    swap: unknown("macOS encrypts its swap; this was not measured"),
    sip: door(parseSip(sip), "system integrity protection", "csrutil"),
    "secure-boot": door(parseSecureBoot(boot), "full security at boot", "system_profiler"),
    rdma: hasRdma ? rdmaDoor(parseRdma(rdma)) : unknown("there is no rdma_ctl, so nothing says that it is off"),
    "hardened-runtime": hardenedRuntimeDoor(native?.signingFlags()),
  };
}

function door(on: boolean | undefined, what: string, tool: string): DoorReport {
  if (on === undefined) return unknown(`${tool} said nothing that is known here`);
  return on ? closed(`${what} is on`) : open(`${what} is off, or a part of it`);
}

function rdmaDoor(off: boolean | undefined): DoorReport {
  if (off === undefined) return unknown("rdma_ctl said nothing that is known here");
  return off ? closed("remote memory access is off") : open("remote memory access is on");
}

function hardenedRuntimeDoor(flags: number | undefined): DoorReport {
  if (flags === undefined) return unknown("the signature of the running program cannot be read");
  if ((flags & hardenedRuntime) === 0) return open("the program is not signed for the hardened runtime");
  return (flags & taskAllowed) === 0
    ? closed("signed for the hardened runtime")
    : open("signed so that debuggers may attach (get-task-allow)");
}

/**
 * Linux: what a process does to itself with prctl, and what /proc and /sys say of it and of the machine. Everything is read
 * below a root that tests replace. What cannot be read is unknown, never good.
 *
 * @see prctl(2), proc(5), Documentation/admin-guide/LSM/Yama.rst of the kernel
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  closed,
  type DoorReport,
  everyMachineDoor,
  type HardeningSteps,
  type MachineDoors,
  open,
  unknown,
} from "../report.ts";
import { type Native, prctlOptions } from "./native.ts";

/** SIGKILL, for the death of the parent. */
const killSignal = 9;

/** Has no effect on what it does not concern: also called where nothing is wanted. */
export function applyOnLinux(steps: HardeningSteps, native: Native): void {
  // all threads at once: the mark stands on the memory that they share
  if (steps.debugger) {
    native.prctl(prctlOptions.setDumpable, 0);
    native.prctl(prctlOptions.setPtracer, 0);
  }
  if (steps["core-dumps"]) native.forbidCoreFiles();
}

/**
 * Ends this process with the thread that started it, however that ends.
 * @returns false: the parent had gone already
 */
export function endWithParent(native: Native, parent: number): boolean {
  native.prctl(prctlOptions.setDeathSignal, killSignal);
  return process.ppid === parent;
}

/** Names of the variables that the kernel handed to this program, whatever has become of them; undefined: not readable. */
export function startingVariables(root: string = "/"): readonly string[] | undefined {
  const text = read(root, "proc/self/environ");
  return text
    ?.split("\0")
    .filter((entry) => entry !== "")
    .map((entry) => entry.replace(/=.*$/s, ""));
}

/** Whether the process, all its threads, can gain no privileges by what it starts. */
export function privilegesDoor(threads: readonly string[] = threadStatuses()): DoorReport {
  if (threads.length === 0) return unknown("the threads of this process cannot be read");
  const without = threads.filter((status) => statusFact(status, "NoNewPrivs") !== 1).length;
  return without === 0
    ? closed(`no_new_privs on all ${threads.length} threads`)
    : open(`${without} of ${threads.length} threads could gain privileges`);
}

export function debuggerDoor(native: Native | undefined, threads: readonly string[]): DoorReport {
  const tracer = threads.map((status) => statusFact(status, "TracerPid") ?? Number.NaN).find((pid) => pid !== 0);
  if (tracer !== undefined) return open(`process ${tracer} traces this one`);
  if (native === undefined)
    return unknown(
      "nobody traces this process; whether one may was not asked: that needs koffi, and a step that loads it",
    );
  return native.prctl(prctlOptions.getDumpable, 0) === 0
    ? closed("not dumpable, and nobody traces it: other processes of its user can neither attach nor read its memory")
    : open("dumpable: other processes of its user can attach to it and read its memory");
}

export function coreDumpsDoor(native: Native | undefined, root: string = "/"): DoorReport {
  const limits = /^Max core file size +(\S+) +(\S+)/m.exec(read(root, "proc/self/limits") ?? "");
  if (limits === null) return unknown("the limits of this process cannot be read");
  if (limits[1] !== "0" || limits[2] !== "0") return open("the limit of core files is not 0");
  const dumpable = native?.prctl(prctlOptions.getDumpable, 0);
  if (dumpable === 0) return closed("the limit of core files is 0, and the process is not dumpable");
  if (isPipe(read(root, corePattern)))
    return open("a program receives cores, whatever the limit is (kernel.core_pattern)");
  return closed("the limit of core files is 0");
}

/** Closed once some memory is locked: keys live in such memory, and a limit too low leaves it unlocked without a word. */
export function memoryLockDoor(root: string = "/"): DoorReport {
  const locked = statusFact(read(root, "proc/self/status") ?? "", "VmLck");
  if (locked === undefined) return unknown("what is locked cannot be read");
  return locked > 0
    ? closed(`${locked} kB are locked, the inference keys among them`)
    : open("nothing is locked: keys may be written to swap (ulimit -l)");
}

const corePattern = "proc/sys/kernel/core_pattern";

function isPipe(pattern: string | undefined): boolean {
  return pattern?.startsWith("|") ?? false;
}

/** What the kernel says of each thread, for both doors of it: with dozens of threads this takes ms. One that has just ended is none. */
export function threadStatuses(root: string = "/"): readonly string[] {
  const folder = "proc/self/task";
  return list(root, folder).flatMap((thread) => read(root, join(folder, thread, "status")) ?? []);
}

function statusFact(status: string, name: string): number | undefined {
  const value = new RegExp(`^${name}:\\s+([0-9]+)`, "m").exec(status)?.[1];
  return value === undefined ? undefined : Number(value);
}

// ---- the machine

export interface LinuxMachine {
  readonly doors: MachineDoors;
  /** "sev-snp", "tdx" or "none"; undefined = not known. */
  readonly confidentialVm: string | undefined;
}

export function linuxMachine(root: string = "/"): LinuxMachine {
  return {
    doors: {
      ...everyMachineDoor(unknown("Linux has no such thing")),
      "ptrace-scope": ptraceScope(read(root, "proc/sys/kernel/yama/ptrace_scope")),
      swap: swap(read(root, "proc/swaps")),
      "core-pattern": corePatternDoor(read(root, corePattern)),
      lockdown: lockdown(read(root, "sys/kernel/security/lockdown")),
      "secure-boot": secureBoot(root),
    },
    confidentialVm: confidentialVm(root),
  };
}

function ptraceScope(text: string | undefined): DoorReport {
  const scope = text?.trim();
  if (scope === undefined) return unknown("the kernel has no Yama, or hides it");
  if (scope === "0") return open("processes of one user may trace one another (kernel.yama.ptrace_scope = 0)");
  return ["1", "2", "3"].includes(scope)
    ? closed(`kernel.yama.ptrace_scope = ${scope}`)
    : unknown("kernel.yama.ptrace_scope has a value that is not known here");
}

function swap(text: string | undefined): DoorReport {
  const lines = text?.trimEnd().split("\n");
  if (!lines?.[0]?.startsWith("Filename")) return unknown("/proc/swaps cannot be read");
  return lines.length === 1
    ? closed("there is no swap")
    : open(`${lines.length - 1} in use: prompts may be written to it; whether it is encrypted is not known here`);
}

function corePatternDoor(text: string | undefined): DoorReport {
  const pattern = text?.trim();
  if (pattern === undefined || pattern === "") return unknown("kernel.core_pattern cannot be read");
  if (isPipe(pattern)) return open("cores go to a program, which the limit of core files does not hold back");
  return pattern.startsWith("/")
    ? closed("cores go to one folder, within the limit of core files")
    : closed("cores go to the working directory, within the limit of core files");
}

function lockdown(text: string | undefined): DoorReport {
  const mode = /\[(none|integrity|confidentiality)\]/.exec(text ?? "")?.[1];
  if (mode === undefined) return unknown("the kernel has no lockdown, or hides it");
  return mode === "none" ? open("kernel lockdown is off") : closed(`kernel lockdown: ${mode}`);
}

/** Four bytes of attributes, then the value. */
const efiValueAt = 4;

function secureBoot(root: string): DoorReport {
  const variable = (name: string): number | undefined =>
    readBytes(root, `sys/firmware/efi/efivars/${name}`)?.[efiValueAt];
  const on = variable("SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
  if (on === undefined) return unknown("the firmware's variable is not there, or hidden");
  if (on === 0) return open("secure boot is off");
  if (on !== 1) return unknown("the firmware's variable has a value that is not known here");
  // shim's own switch, by which what it starts goes unchecked
  return variable("MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23") === 1
    ? open("secure boot is on, but shim does not check what it starts")
    : closed("secure boot is on");
}

function confidentialVm(root: string): string | undefined {
  const devices = list(root, "sys/devices/virtual/misc");
  if (devices.includes("tdx_guest")) return "tdx";
  if (devices.includes("sev-guest") || list(root, "dev").includes("sev-guest")) return "sev-snp";
  const flags = /^flags\s*:(.*)$/m.exec(read(root, "proc/cpuinfo") ?? "")?.[1]?.split(/\s+/);
  if (flags?.includes("tdx_guest")) return "tdx";
  // a virtual machine without the driver may be either
  return flags === undefined || flags.includes("hypervisor") ? undefined : "none";
}

// ---- files

function read(root: string, path: string): string | undefined {
  try {
    return readFileSync(join(root, path), "latin1");
  } catch {
    return undefined;
  }
}

function readBytes(root: string, path: string): Uint8Array | undefined {
  try {
    return readFileSync(join(root, path));
  } catch {
    return undefined;
  }
}

function list(root: string, path: string): readonly string[] {
  try {
    return readdirSync(join(root, path));
  } catch {
    return [];
  }
}

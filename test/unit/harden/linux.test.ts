import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  coreDumpsDoor,
  debuggerDoor,
  linuxMachine,
  memoryLockDoor,
  privilegesDoor,
  threadStatuses,
  startingVariables,
} from "../../../src/harden/platform/linux.ts";
import type { Native } from "../../../src/harden/platform/native.ts";

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), "sealmesh-root-"))));
afterEach(() => rmSync(root, { recursive: true }));

function put(path: string, content: string | Uint8Array): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function dumpable(value: number): Native {
  return { prctl: () => value } as unknown as Native;
}

describe("doors of a process", () => {
  it("has no privileges to gain when none of its threads has", () => {
    expect(privilegesDoor(threadStatuses(root))).toMatchObject({ state: "unknown" });
    put("proc/self/task/1/status", "Name:\tnode\nNoNewPrivs:\t1\n");
    expect(privilegesDoor(threadStatuses(root))).toMatchObject({ state: "closed" });
    put("proc/self/task/2/status", "Name:\tnode\nNoNewPrivs:\t0\n");
    expect(privilegesDoor(threadStatuses(root))).toEqual({
      state: "open",
      why: "1 of 2 threads could gain privileges",
    });
    put("proc/self/task/2/status", "Name:\tnode\n");
    expect(privilegesDoor(threadStatuses(root))).toMatchObject({ state: "open" });
  });

  it("is closed to debuggers when it is not dumpable and none is there", () => {
    put("proc/self/task/1/status", "TracerPid:\t0\n");
    expect(debuggerDoor(undefined, threadStatuses(root))).toMatchObject({ state: "unknown" });
    expect(debuggerDoor(dumpable(1), threadStatuses(root))).toMatchObject({ state: "open" });
    expect(debuggerDoor(dumpable(2), threadStatuses(root))).toMatchObject({ state: "open" });
    expect(debuggerDoor(dumpable(0), threadStatuses(root))).toMatchObject({ state: "closed" });
    put("proc/self/task/7/status", "TracerPid:\t41\n");
    expect(debuggerDoor(dumpable(0), threadStatuses(root))).toEqual({
      state: "open",
      why: "process 41 traces this one",
    });
  });

  it("leaves no core: both limits, and no program that gets cores in spite of them", () => {
    const limits = (soft: string, hard: string): void =>
      put("proc/self/limits", `Limit   Soft Limit  Hard Limit  Units\nMax core file size  ${soft}  ${hard}  bytes\n`);
    expect(coreDumpsDoor(dumpable(0), root)).toMatchObject({ state: "unknown" });
    limits("0", "unlimited");
    expect(coreDumpsDoor(dumpable(0), root)).toMatchObject({ state: "open" });
    limits("0", "0");
    expect(coreDumpsDoor(undefined, root)).toMatchObject({ state: "closed" });
    put("proc/sys/kernel/core_pattern", "|/usr/lib/systemd/systemd-coredump %P\n");
    expect(coreDumpsDoor(dumpable(1), root)).toMatchObject({ state: "open" });
    expect(coreDumpsDoor(undefined, root)).toMatchObject({ state: "open" });
    expect(coreDumpsDoor(dumpable(0), root)).toMatchObject({ state: "closed" });
  });

  it("locks memory when some is locked", () => {
    expect(memoryLockDoor(root)).toMatchObject({ state: "unknown" });
    put("proc/self/status", "VmLck:\t       0 kB\n");
    expect(memoryLockDoor(root)).toMatchObject({ state: "open" });
    put("proc/self/status", "VmLck:\t       8 kB\n");
    expect(memoryLockDoor(root)).toMatchObject({ state: "closed" });
  });

  it("knows what it was started with, also what has been hidden since", () => {
    expect(startingVariables(root)).toBeUndefined();
    put("proc/self/environ", "PATH=/bin\0LD_PRELOAD=a=b\nc\0EMPTY=\0");
    expect(startingVariables(root)).toEqual(["PATH", "LD_PRELOAD", "EMPTY"]);
  });
});

describe("the machine", () => {
  const state = (door: "ptrace-scope" | "swap" | "core-pattern" | "lockdown" | "secure-boot"): string =>
    linuxMachine(root).doors[door].state;

  it("says nothing where there is nothing to read", () => {
    const { doors, confidentialVm } = linuxMachine(root);
    expect(new Set(Object.values(doors).map((door) => door.state))).toEqual(new Set(["unknown"]));
    expect(confidentialVm).toBeUndefined();
  });

  it.each([
    ["0\n", "open"],
    ["1\n", "closed"],
    ["3\n", "closed"],
    ["4\n", "unknown"],
    ["", "unknown"],
  ])("Yama %j: %s", (text, expected) => {
    put("proc/sys/kernel/yama/ptrace_scope", text);
    expect(state("ptrace-scope")).toBe(expected);
  });

  it.each([
    ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n", "closed"],
    ["Filename\tType\tSize\tUsed\tPriority\n/dev/dm-1 partition 100 0 -2\n", "open"],
    ["", "unknown"],
  ])("swap %j: %s", (text, expected) => {
    put("proc/swaps", text);
    expect(state("swap")).toBe(expected);
  });

  it.each([
    ["core\n", "closed"],
    ["/var/cores/core.%p\n", "closed"],
    ["|/usr/share/apport/apport %p\n", "open"],
    ["\n", "unknown"],
  ])("core_pattern %j: %s", (text, expected) => {
    put("proc/sys/kernel/core_pattern", text);
    expect(state("core-pattern")).toBe(expected);
  });

  it.each([
    ["none [integrity] confidentiality\n", "closed"],
    ["none integrity [confidentiality]\n", "closed"],
    ["[none] integrity confidentiality\n", "open"],
    ["none integrity confidentiality\n", "unknown"],
  ])("lockdown %j: %s", (text, expected) => {
    put("sys/kernel/security/lockdown", text);
    expect(state("lockdown")).toBe(expected);
  });

  it.each([
    [[6, 0, 0, 0, 1], undefined, "closed"],
    [[6, 0, 0, 0, 0], undefined, "open"],
    [[6, 0, 0, 0, 1], [6, 0, 0, 0, 1], "open"],
    [[6, 0, 0, 0, 1], [6, 0, 0, 0, 0], "closed"],
    [[6, 0, 0, 0], undefined, "unknown"],
    [[6, 0, 0, 0, 2], undefined, "unknown"],
  ])("SecureBoot %j, shim's switch %j: %s", (value, shim, expected) => {
    put("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", new Uint8Array(value));
    if (shim) {
      put("sys/firmware/efi/efivars/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23", new Uint8Array(shim));
    }
    expect(state("secure-boot")).toBe(expected);
  });

  it.each([
    ["sys/devices/virtual/misc/tdx_guest/dev", "", "tdx"],
    ["sys/devices/virtual/misc/sev-guest/dev", "", "sev-snp"],
    ["dev/sev-guest", "", "sev-snp"],
    ["proc/cpuinfo", "flags\t\t: fpu tdx_guest hypervisor\n", "tdx"],
    // of a host that could run such guests
    ["proc/cpuinfo", "flags\t\t: fpu sev sev_es sev_snp\n", "none"],
    ["proc/cpuinfo", "flags\t\t: fpu hypervisor\n", undefined],
  ])("confidential by %s %j: %s", (path, content, expected) => {
    put(path, content);
    expect(linuxMachine(root).confidentialVm).toBe(expected);
  });
});

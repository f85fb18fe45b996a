/** macOS by a stand-in library and recorded outputs: not yet run on hardware. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import { afterAll, describe, expect, it } from "vitest";
import { applyOnMac, macDoors, macMachine } from "../../../src/harden/platform/darwin.ts";
import { loadNative, type Native } from "../../../src/harden/platform/native.ts";
import { everyStep, noStep } from "../../../src/harden/report.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-mac-"));
afterAll(() => rmSync(folder, { recursive: true }));
const library = join(folder, "libSystem.so");
const source = join(import.meta.dirname, "../../support/doors-mac.c");
const compiled = spawnSync("cc", [
  "-shared",
  "-fPIC",
  "-O1",
  "-Wall",
  "-Werror",
  "-fno-builtin",
  "-o",
  library,
  source,
]);
const missing = compiled.error !== undefined;
if (missing) console.warn("tests of hardening on macOS are skipped: no C compiler: apt-get install -y gcc libc6-dev");

/** CS_RUNTIME, CS_GET_TASK_ALLOW, CS_DEBUGGED. */
const runtime = 0x10000;
const taskAllowed = 0x4;
const debugged = 0x10000000;

const recorded: Readonly<Record<string, string>> = {
  "/usr/bin/csrutil": "System Integrity Protection status: enabled.\n",
  "/usr/sbin/system_profiler": '{"SPiBridgeDataType":[{"ibridge_secure_boot":"Full Security"}]}',
  "/usr/bin/rdma_ctl": "disabled\n",
};

function tools(outputs: Readonly<Record<string, string>>): Parameters<typeof macMachine>[1] {
  return { run: (path) => Promise.resolve(outputs[path]), exists: (path) => path in outputs };
}

describe("tools of macOS", () => {
  it("close the doors by the expected words alone", async () => {
    const doors = await macMachine(undefined, tools(recorded));
    expect(doors).toMatchObject({
      sip: { state: "closed" },
      "secure-boot": { state: "closed" },
      rdma: { state: "closed" },
      "hardened-runtime": { state: "unknown" },
      "ptrace-scope": { state: "unknown" },
    });
  });

  it.each([
    ["/usr/bin/csrutil", "System Integrity Protection status: enabled (Custom Configuration).\n", "sip", "open"],
    ["/usr/bin/csrutil", "System Integrity Protection status: disabled.\n", "sip", "open"],
    ["/usr/bin/csrutil", "not enabled\n", "sip", "unknown"],
    ["/usr/bin/rdma_ctl", "enabled\n", "rdma", "open"],
    ["/usr/bin/rdma_ctl", "it is disabled, or so\n", "rdma", "unknown"],
  ] as const)("%s: %j", async (tool, output, door, state) => {
    const doors = await macMachine(undefined, tools({ ...recorded, [tool]: output }));
    expect(doors[door].state).toBe(state);
  });

  it("tells a tool that is missing from one that says something else", async () => {
    const { "/usr/bin/rdma_ctl": _, ...without } = recorded;
    const missingTool = (await macMachine(undefined, tools(without))).rdma;
    const otherWords = (await macMachine(undefined, tools({ ...recorded, "/usr/bin/rdma_ctl": "?" }))).rdma;
    expect(missingTool).toEqual({ state: "unknown", why: "there is no rdma_ctl, so nothing says that it is off" });
    expect(otherWords).toEqual({ state: "unknown", why: "rdma_ctl said nothing that is known here" });
  });
});

describe.skipIf(missing)("system calls of macOS", () => {
  function mac(flags: number, results: { ptrace?: number; csops?: number } = {}): Native {
    koffi.load(library).func("standin_reset", "void", ["uint32_t", "int", "int"])(
      flags,
      results.ptrace ?? 0,
      results.csops ?? 0,
    );
    const native = loadNative("darwin", library);
    if (native === undefined) throw new Error("the stand-in cannot be loaded");
    return native;
  }
  const saw = (name: string): unknown => koffi.load(library).func(name, "int", [])();

  it("denies debuggers and core files", async () => {
    const native = mac(runtime);
    expect(macDoors(native, false)).toMatchObject({ debugger: { state: "open" }, "core-dumps": { state: "open" } });
    expect(applyOnMac(everyStep, native)).toBe(true);
    expect({ denied: saw("standin_denied"), resource: saw("standin_resource") }).toEqual({ denied: 1, resource: 4 });
    expect(macDoors(native, true)).toMatchObject({ debugger: { state: "closed" }, "core-dumps": { state: "closed" } });
    expect((await macMachine(native, tools(recorded)))["hardened-runtime"].state).toBe("closed");
  });

  it("does nothing that is not wanted", () => {
    const native = mac(runtime);
    expect(applyOnMac(noStep, native)).toBe(false);
    expect({ denied: saw("standin_denied"), resource: saw("standin_resource") }).toEqual({ denied: 0, resource: -1 });
  });

  it("does not take a refusal for success", async () => {
    const native = mac(runtime, { ptrace: -1, csops: -1 });
    expect(macDoors(native, applyOnMac(everyStep, native)).debugger.state).toBe("open");
    expect((await macMachine(native, tools(recorded)))["hardened-runtime"].state).toBe("unknown");
  });

  it("knows a program that debuggers may attach to, or have", async () => {
    const allowed = mac(runtime | taskAllowed);
    expect((await macMachine(allowed, tools(recorded)))["hardened-runtime"].state).toBe("open");
    expect((await macMachine(mac(0), tools(recorded)))["hardened-runtime"].state).toBe("open");
    expect(macDoors(mac(runtime | debugged), true).debugger.state).toBe("open");
  });
});

describe("without koffi", () => {
  it("says that it is not known", () => {
    expect(macDoors(undefined, false)).toMatchObject({
      debugger: { state: "unknown" },
      "core-dumps": { state: "unknown" },
    });
  });
});

/** What each check of `sealmesh doctor` makes of what it has seen, and how all of them are run. */
import { describe, expect, it } from "vitest";
import { MeshError } from "../../../../src/base/errors.ts";
import { type Check, type CheckState, type Finding, ok, runChecks } from "../../../../src/cli/doctor/check.ts";
import { checks } from "../../../../src/cli/doctor/checks.ts";
import { type DoctorContext, type RunningNode, shownPath } from "../../../../src/cli/doctor/context.ts";
import { judgeClock, judgeDirectory } from "../../../../src/cli/doctor/machine.ts";
import { judgeEngine, judgeGraphics } from "../../../../src/cli/doctor/models.ts";
import { judgeNetwork, judgePorts, judgeRelays } from "../../../../src/cli/doctor/network.ts";
import { judgeNode, judgeNodeVersion, judgeSettings } from "../../../../src/cli/doctor/node.ts";
import { judgeChip, judgeHardening } from "../../../../src/cli/doctor/protection.ts";
import { closed, everyProcessDoor, open } from "../../../../src/harden/report.ts";
import { version } from "../../../../src/node/version.ts";

type Status = RunningNode["status"];
const engineUp: Status["engines"][number] = {
  name: "demo",
  kind: "embedded",
  state: "up",
  why: null,
  pid: 7,
  models: [{ id: "demo", context_length: 512 }],
  running: 0,
  waiting: 0,
};
const engineDown: Status["engines"][number] = { ...engineUp, state: "down", why: "it ended", models: [] };
const doors = everyProcessDoor(closed("closed"));
const status = (over: Partial<Status> = {}): Status => ({
  version,
  pid: 4711,
  mode: "serve",
  api_port: 9337,
  models: ["demo"],
  engines: [engineUp],
  peers: [],
  hardening: { on: true, steps: [], node: doors, engine: null, machine: {} as never, scrubbed: [] },
  evidence: [],
  ...over,
});
const running = (over: Partial<Status> = {}, ready = true): Parameters<typeof judgeNode>[0] => ({
  running: { status: status(over), ready },
  session: true,
});
const refused = { role: "Host", attestation: { allowed: false, refusal: "stale: \u001b[2Jits own time" } } as never;

const machine = { native: true, platform: "linux" as const, machine: { swap: closed("none") }, running: undefined };
const chip = { platform: "linux" as const, arch: "x64", device: undefined, set: undefined };
const device = { path: "/dev/tpmrm0", allowed: true };
const directory = { path: "/d", mode: 0o700, usable: true, wide: [], freeBytes: 1e12 };
const now = Date.UTC(2026, 5, 1);

/** Name of the check, what it saw, what it says, and words of its sentence or its advice. */
const cases: readonly (readonly [string, () => Finding, CheckState, string])[] = [
  ["node", () => judgeNode({ running: undefined, session: false }), "skip", "sealmesh serve"],
  ["node", () => judgeNode({ running: undefined, session: true }), "warn", "does not answer"],
  ["node", () => judgeNode(running()), "ok", "process 4711"],
  ["node", () => judgeNode(running({ engines: [engineDown] }, false)), "warn", "no engine is up"],
  ["node", () => judgeNode(running({ mode: "client", engines: [] }, false)), "warn", "no host is there"],
  ["node", () => judgeNode(running({ mode: "relay", engines: [], api_port: null }, false)), "ok", "relay"],
  ["node", () => judgeNode(running({ peers: [refused] })), "warn", "1 host refused: stale"],
  ["node", () => judgeNode(running({ version: "0.0.1" })), "warn", "start the node again"],
  ["settings", () => judgeSettings({}), "ok", "config show"],
  [
    "settings",
    () => judgeSettings(new MeshError("E_CONFIG", "c.toml: did you mean port?")),
    "fail",
    "did you mean port?",
  ],
  ["node-version", () => judgeNodeVersion("24.1.0"), "ok", "24.1.0"],
  ["node-version", () => judgeNodeVersion("20.19.0"), "warn", "no security fixes"],
  ["node-version", () => judgeNodeVersion("20.18.9"), "fail", "older than 20.19"],
  ["clock", () => judgeClock({ nowMs: now, movedMs: 1, followed: true }), "ok", "2026-06-01T00:00:00Z"],
  ["clock", () => judgeClock({ nowMs: now, movedMs: 0, followed: false }), "warn", "set-ntp"],
  ["clock", () => judgeClock({ nowMs: now, movedMs: -9_000, followed: true }), "warn", "moved by -9 s"],
  ["clock", () => judgeClock({ nowMs: now, movedMs: 0, followed: undefined }), "skip", "cannot be known"],
  ["clock", () => judgeClock({ nowMs: 0, movedMs: 0, followed: true }), "fail", "1970"],
  ["data-directory", () => judgeDirectory(directory), "ok", "alone"],
  ["data-directory", () => judgeDirectory({ ...directory, mode: undefined }), "ok", "will be made"],
  ["data-directory", () => judgeDirectory({ ...directory, freeBytes: 5e6 }), "warn", "5 MB free"],
  ["data-directory", () => judgeDirectory({ ...directory, usable: false }), "fail", "cannot be written"],
  ["data-directory", () => judgeDirectory({ ...directory, mode: 0o770 }), "fail", "chmod 700 '/d'"],
  ["data-directory", () => judgeDirectory({ ...directory, wide: ["key"] }), "fail", "chmod 600 '/d/key'"],
  ["ports", () => judgePorts([{ what: "API", port: 1, held: undefined, ours: false }]), "ok", "API 1 free"],
  ["ports", () => judgePorts([{ what: "API", port: 1, held: "EADDRINUSE", ours: true }]), "ok", "held by our node"],
  ["ports", () => judgePorts([]), "ok", "the system's choice"],
  ["ports", () => judgePorts([{ what: "UDP", port: 1, held: "EADDRINUSE", ours: false }]), "fail", "--bind"],
  ["ports", () => judgePorts([{ what: "API", port: 80, held: "EACCES", ours: false }]), "fail", "EACCES"],
  ["local-network", () => judgeNetwork([{ name: "eth0", why: undefined }]), "ok", "eth0"],
  ["local-network", () => judgeNetwork([{ name: "eth0", why: "ENODEV" }]), "warn", "ENODEV"],
  ["local-network", () => judgeNetwork([]), "warn", "no network"],
  ["iroh-relays", () => judgeRelays("none"), "skip", "none is set"],
  ["iroh-relays", () => judgeRelays("default"), "skip", "not asked"],
  ["iroh-relays", () => judgeRelays([{ host: "a", why: undefined }]), "ok", "1 iroh relay answers: a"],
  [
    "iroh-relays",
    () =>
      judgeRelays([
        { host: "a", why: undefined },
        { host: "b", why: "b is away" },
      ]),
    "warn",
    "1 of 2 do not answer: b is away",
  ],
  ["iroh-relays", () => judgeRelays([{ host: "b", why: "b is away" }]), "fail", "firewall"],
  ["engine", () => engine({ embedded: "3.21.1" }), "ok", "node-llama-cpp 3.21.1"],
  ["engine", () => engine({ found: [ollama] }), "ok", "ollama at 127.0.0.1:11434"],
  ["engine", () => engine({ running: [engineUp], mode: "serve" }), "ok", "demo is up, 1 model"],
  ["engine", () => engine({}), "warn", "client or relay"],
  ["engine", () => engine({ found: [{ ...ollama, needsKey: true }] }), "warn", "--engine-key-file"],
  ["engine", () => engine({ running: [engineDown], mode: "serve" }), "fail", "demo is down: it ended"],
  ["engine", () => engine({ silent: ["a:1"] }), "fail", "nothing answers at a:1"],
  ["graphics", () => judgeGraphics({ platform: "linux", arch: "x64", devices: [] }), "skip", "none seen"],
  [
    "graphics",
    () => judgeGraphics({ platform: "linux", arch: "x64", devices: [{ name: "/dev/nvidia0", allowed: true }] }),
    "ok",
    "seen: /dev/nvidia0",
  ],
  [
    "graphics",
    () => judgeGraphics({ platform: "linux", arch: "x64", devices: [{ name: "/dev/kfd", allowed: false }] }),
    "warn",
    "render,video",
  ],
  ["graphics", () => judgeGraphics({ platform: "darwin", arch: "arm64", devices: [] }), "ok", "Metal"],
  ["hardening", () => judgeHardening(machine), "ok", "can close itself"],
  ["hardening", () => judgeHardening({ ...machine, machine: { swap: open("2 in use") } }), "warn", "swap (2 in use)"],
  ["hardening", () => judgeHardening({ ...machine, native: false }), "warn", "koffi"],
  [
    "hardening",
    () => judgeHardening({ ...machine, running: { on: false, node: doors, engine: null } }),
    "warn",
    "--no-hardening",
  ],
  [
    "hardening",
    () =>
      judgeHardening({
        ...machine,
        running: { on: true, node: doors, engine: { ...doors, debugger: open("anybody") } },
      }),
    "warn",
    "debugger (anybody)",
  ],
  ["hardening", () => judgeHardening({ ...machine, platform: "win32" }), "skip", "peers are told"],
  ["security-chip", () => judgeChip(chip), "skip", "no TPM"],
  ["security-chip", () => judgeChip({ ...chip, device }), "ok", "--tpm /dev/tpmrm0"],
  ["security-chip", () => judgeChip({ ...chip, device, set: "/dev/tpmrm0" }), "ok", "set and allowed"],
  ["security-chip", () => judgeChip({ ...chip, device: { ...device, allowed: false } }), "warn", "tss"],
  ["security-chip", () => judgeChip({ ...chip, set: "/dev/tpm7" }), "fail", "/dev/tpm7"],
  ["security-chip", () => judgeChip({ ...chip, set: "127.0.0.1:2321" }), "skip", "emulator"],
  ["security-chip", () => judgeChip({ ...chip, platform: "darwin", arch: "arm64" }), "ok", "not yet run on hardware"],
];

const ollama = { kind: "ollama" as const, baseUrl: "http://127.0.0.1:11434/v1", needsKey: false };
function engine(over: Partial<Parameters<typeof judgeEngine>[0]>): Finding {
  return judgeEngine({ running: undefined, mode: undefined, found: [], silent: [], embedded: undefined, ...over });
}

describe("a judgement", () => {
  it.each(cases)("%s: %o is %s, and says %j", (_name, judge, state, words) => {
    const finding = judge();
    expect(finding.state).toBe(state);
    expect(`${finding.seen} ${finding.todo ?? ""}`).toContain(words);
    expect(finding.seen).not.toContain("\u001b");
    // what is not well says what to do, and what fails how the command ends
    if (state === "warn" || state === "fail") expect(finding.todo).toBeTruthy();
    expect(finding.code !== undefined).toBe(state === "fail");
  });

  it("of every check is tried: well, and not well", () => {
    const states = (wanted: readonly CheckState[]): ReadonlySet<string> =>
      new Set(cases.flatMap(([name, , state]) => (wanted.includes(state) ? [name] : [])));
    const names = new Set(checks.map(({ name }) => name));
    expect(states(["ok"])).toEqual(names);
    expect(states(["warn", "fail"])).toEqual(names);
  });
});

describe("a run", () => {
  const context = {} as DoctorContext;
  const one = (name: string, run: Check["run"]): Check => ({ name, run });

  it("goes on side by side, keeps the order, and bounds each check", async () => {
    const waiting: (readonly string[])[] = [];
    let ended = false;
    const never = one("never", async (_context, signal) => {
      signal.addEventListener("abort", () => (ended = true));
      return await new Promise(() => undefined);
    });
    const reports = await runChecks(
      [
        never,
        one("fine", () => Promise.resolve(ok("well"))),
        one("broken", () => {
          throw new Error("no such tool");
        }),
      ],
      context,
      { checkMs: 50, onProgress: (names) => waiting.push(names) },
    );
    expect(reports.map(({ name, state, seen }) => [name, state, seen])).toEqual([
      ["never", "warn", "could not be found out within 0.05 s"],
      ["fine", "ok", "well"],
      ["broken", "warn", "could not be found out: no such tool"],
    ]);
    expect(ended).toBe(true);
    expect(waiting.at(-1)).toEqual([]);
    expect(waiting[0]).toContain("never");
  });

  it("names no home directory", () => {
    const home = process.env["HOME"] ?? "/nowhere";
    expect(shownPath(`${home}/.local/state/sealmesh`)).toBe("~/.local/state/sealmesh");
    expect(shownPath("/var/lib/sealmesh")).toBe("/var/lib/sealmesh");
    expect(judgeSettings(new MeshError("E_CONFIG", `${home}/.config/x: bad`)).seen).toBe("~/.config/x: bad");
  });
});

/** Checks of `sealmesh doctor`: clock and data directory. */
import { accessSync, constants, existsSync, lstatSync, readdirSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { runCommand } from "../../attest/collect/apple/facts.ts";
import { shellQuoted } from "../../node/own-files.ts";
import { type Check, check, fail, type Finding, ok, skip, warn } from "./check.ts";
import { type DoctorContext, shownPath } from "./context.ts";

// ---- clock

export interface ClockSeen {
  readonly nowMs: number;
  /** How far the wall clock was moved while the doctor looked, ms. */
  readonly movedMs: number;
  /** The system's word whether it follows a time server; undefined: it does not say. */
  readonly followed: boolean | undefined;
}

/** This version is not older: a clock that is, is wrong. */
const notBeforeMs = Date.UTC(2026, 0, 1);
/** Peers refuse what differs by more, and a doctor takes seconds, ms. */
const mostMovedMs = 2_000;

export const clock: Check = check("clock", lookAtClock, judgeClock);

async function lookAtClock({ started }: DoctorContext): Promise<ClockSeen> {
  // systemd's word, whoever sets the clock; nothing else can be known without asking others
  const said = process.platform === "linux" ? await timedate() : undefined;
  const nowMs = Date.now();
  const movedMs = nowMs - started.wallMs - (performance.now() - started.steadyMs);
  return { nowMs, movedMs, followed: said === "yes" ? true : said === "no" ? false : undefined };
}

async function timedate(): Promise<string | undefined> {
  if (!existsSync("/run/systemd/system")) return undefined;
  return (await runCommand("/usr/bin/timedatectl", ["show", "--property=NTPSynchronized", "--value"]))?.trim();
}

export function judgeClock({ nowMs, movedMs, followed }: ClockSeen): Finding {
  const shown = new Date(nowMs).toISOString().replace(/\.\d+Z$/, "Z");
  const set = "let it follow a time server: `timedatectl set-ntp true` on most Linux systems";
  if (nowMs < notBeforeMs) return fail("E_CLOCK", `${shown} is in the past: peers refuse what this machine seals`, set);
  if (Math.abs(movedMs) > mostMovedMs) {
    return warn(`was moved by ${Math.round(movedMs / 1_000)} s while it was looked at`, set);
  }
  if (followed === false) return warn(`${shown}, and the system says that it follows no time server`, set);
  if (followed) return ok(`${shown}, and the system says that it follows a time server`);
  return skip(
    `${shown}; whether that is right cannot be known without asking others`,
    "compare it with a clock that you trust",
  );
}

// ---- data directory

export interface DirectorySeen {
  readonly path: string;
  /** Undefined: it is not there yet. */
  readonly mode: number | undefined;
  /** Whether it is ours, and can be written; of one that is not there, whether it could be made. */
  readonly usable: boolean;
  /** Files in it that others can read or write. */
  readonly wide: readonly string[];
  readonly freeBytes: number | undefined;
}

/** Pins, invites and lists of a large mesh are a few megabytes. */
const enoughBytes = 100_000_000;

export const dataDirectory: Check = check("data-directory", lookAtDirectory, judgeDirectory);

function lookAtDirectory({ dataDir: path }: DoctorContext): DirectorySeen {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  let existing = path;
  while (!existsSync(existing) && dirname(existing) !== existing) existing = dirname(existing);
  const owner = process.getuid?.();
  const windows = process.platform === "win32";
  const wide = (name: string): boolean =>
    ((lstatSync(join(path, name), { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0;
  const readable = stats !== undefined && mayWrite(path);
  return {
    path,
    mode: windows ? undefined : stats && stats.mode & 0o777,
    usable: mayWrite(existing) && (stats === undefined || owner === undefined || owner === stats.uid),
    wide: readable && !windows ? readdirSync(path).filter(wide) : [],
    freeBytes: freeOf(existing),
  };
}

function mayWrite(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function freeOf(path: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

export function judgeDirectory({ path, mode, usable, wide, freeBytes }: DirectorySeen): Finding {
  const shown = shownPath(path);
  const another = "name another one with --data-dir, or run as its owner";
  if (!usable) return fail("E_STATE", `${shown} cannot be written by this user`, another);
  if (mode !== undefined && (mode & 0o022) !== 0) {
    return fail("E_STATE", `${shown} can be written by others`, `chmod 700 ${shellQuoted(path)}`);
  }
  const [first] = wide;
  if (first !== undefined) {
    const files = wide.map((name) => shellQuoted(join(path, name)));
    return fail(
      "E_STATE",
      `${shown} has files that others can read, ${first} for one`,
      `chmod 600 ${files.slice(0, 8).join(" ")}`,
    );
  }
  const free = freeBytes === undefined ? "" : `, ${sizeText(freeBytes)} free`;
  if (freeBytes !== undefined && freeBytes < enoughBytes) {
    return warn(`${shown}${free}: when the disk is full, pins and invites cannot be written`, "make room on that disk");
  }
  return ok(mode === undefined ? `${shown} will be made${free}` : `${shown} is this user's alone${free}`);
}

function sizeText(bytes: number): string {
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${Math.round(bytes / 1e9)} GB`;
}

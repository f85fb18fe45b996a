/** systemd's own checker of units, where it is installed, and a stand-in for systemctl that writes down what it was told. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Why units cannot be checked here; undefined when they can. */
export const systemdAnalyzeMissing: string | undefined = spawnSync("systemd-analyze", ["--version"]).error
  ? "systemd-analyze is not installed: apt-get install -y systemd"
  : undefined;
if (systemdAnalyzeMissing !== undefined) console.warn(`units are not checked: ${systemdAnalyzeMissing}`);

/** What the checker says of a unit; empty: nothing is wrong with it. @param folder of the test, empty */
export function complaintsAbout(unit: string, scope: "user" | "system", folder: string): string {
  const file = join(folder, "sealmesh.service");
  writeFileSync(file, unit);
  const flags = scope === "user" ? ["--user"] : [];
  const { stdout, stderr, status } = spawnSync("systemd-analyze", ["verify", ...flags, file], {
    encoding: "utf8",
    env: { ...process.env, XDG_RUNTIME_DIR: folder },
  });
  return status === 0 ? `${stdout}${stderr}`.trim() : `${status}: ${stdout}${stderr}`;
}

export interface StandIn {
  /** To stand first in $PATH. */
  readonly folder: string;
  /** Arguments of each call so far. */
  readonly calls: () => readonly string[];
}

/** @param fails the call that contains this text ends with 1 and a sentence */
export function standInSystemctl(base: string, fails = "no such call"): StandIn {
  const folder = join(base, "bin");
  const told = join(base, "calls");
  mkdirSync(folder, { recursive: true });
  const script = `#!/bin/sh\necho "$*" >> '${told}'\ncase "$*" in *"${fails}"*) echo "Unit is masked." >&2; exit 1;; esac\n`;
  writeFileSync(join(folder, "systemctl"), script);
  chmodSync(join(folder, "systemctl"), 0o755);
  return { folder, calls: () => (existsSync(told) ? readFileSync(told, "utf8").trim().split("\n") : []) };
}

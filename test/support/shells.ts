/** Shells that completion is tried in: real ones, where they are installed. */
import { spawnSync } from "node:child_process";

export type ShellName = "bash" | "zsh" | "fish";

/** Why a shell's tests cannot run here; undefined when they can. */
export function shellMissing(shell: ShellName): string | undefined {
  if (!spawnSync(shell, ["--version"]).error) return undefined;
  console.warn(`completion in ${shell} is not tried: apt-get install -y ${shell}`);
  return `${shell} is not installed`;
}

/** What a shell prints that runs this text, without anybody's settings. @throws Error it ends with a failure, or says anything on stderr */
export function runShell(shell: ShellName, text: string, cwd?: string): string {
  const flags = { bash: ["--norc", "--noprofile"], zsh: ["-f"], fish: ["--no-config"] }[shell];
  const { status, stdout, stderr } = spawnSync(shell, [...flags, "-c", text], {
    encoding: "utf8",
    cwd,
    timeout: 10_000,
  });
  if (status !== 0 || stderr !== "") throw new Error(`${shell} ended with ${status}: ${stderr}${stdout}`);
  return stdout;
}

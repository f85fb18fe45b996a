/** A disk that is soon full: a tmpfs of Linux. Needs root, and a machine that allows mounts. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Why there is none here; undefined when there is one. */
export const smallDiskMissing: string | undefined = missing();
if (smallDiskMissing !== undefined) console.warn(`tests with a full disk are skipped: ${smallDiskMissing}`);

function missing(): string | undefined {
  if (process.platform !== "linux") return "there is no tmpfs here";
  try {
    mountSmallDisk(64).unmount();
    return undefined;
  } catch {
    return "this machine allows no mounts (root is needed)";
  }
}

/** @throws Error it cannot be mounted */
export function mountSmallDisk(kib: number): { readonly path: string; unmount(): void } {
  const path = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${kib}k,mode=700`, "sealmesh-test", path]);
  const unmount = (): void => {
    if (status === 0) spawnSync("umount", ["--lazy", path]);
    rmSync(path, { recursive: true, force: true });
  };
  if (status !== 0) {
    unmount();
    throw new Error("mount failed");
  }
  return { path, unmount };
}

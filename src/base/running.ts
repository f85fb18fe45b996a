/** Whether a process of this machine is there. */
import { systemCode } from "./errors.ts";

/** @returns true also for one that belongs to somebody else; false for what is no process id */
export function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return systemCode(thrown) === "EPERM";
  }
}

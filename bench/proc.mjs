// What Linux tells of processes: CPU time and resident memory, also of hardened ones, which tell it to everybody. Elsewhere, or of
// a process that has gone, undefined.
import { readdirSync, readFileSync } from "node:fs";

/** Of /proc/PID/task/TID/schedstat: "ns on a CPU, ns waited, times". @returns ns */
export function runNsOf(schedstat) {
  return Number(schedstat.slice(0, schedstat.indexOf(" ")));
}

/** Of /proc/PID/stat: user and system time; the name in it may hold spaces and brackets. @returns ns, of ticks of 10 ms */
export function ticksNsOf(stat) {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10_000_000;
}

/** Of /proc/PID/status. @returns bytes; undefined for a process that has ended */
export function residentBytesOf(status) {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1_024;
}

/**
 * CPU time of processes so far, ns, all their threads together. From schedstat, which counts in ns; where the kernel does not
 * keep it, from the ticks of stat.
 */
export function cpuNs(pids) {
  try {
    return pids.reduce((sum, pid) => sum + (threadsNs(pid) || ticksNsOf(readFileSync(`/proc/${pid}/stat`, "utf8"))), 0);
  } catch {
    return undefined;
  }
}

export function residentBytes(pid) {
  try {
    return residentBytesOf(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return undefined;
  }
}

function threadsNs(pid) {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += runNsOf(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8"));
    } catch {
      // it has ended since, or the kernel keeps none
    }
  }
  return sum;
}

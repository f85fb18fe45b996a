/**
 * What a check of `sealmesh doctor` is, and how all of them are run: side by side, each within its time. A check looks (which may ask the
 * machine) and judges what it saw (which asks nobody), so that each judgement can be tried without such a machine.
 */
import { unlessLate } from "../../base/deadline.ts";
import { type ErrorCode, toMeshError } from "../../base/errors.ts";
import type { DoctorContext } from "./context.ts";

/** skip: there is nothing to look at here, or it cannot be known. */
export type CheckState = "ok" | "warn" | "fail" | "skip";

export interface Finding {
  readonly state: CheckState;
  /** What was seen, in a sentence without secrets and addresses of people. */
  readonly seen: string;
  /** What to do about it. */
  readonly todo?: string;
  /** Of a failure: its row says how the command ends. */
  readonly code?: ErrorCode;
}

export interface Check {
  readonly name: string;
  readonly run: (context: DoctorContext, signal: AbortSignal) => Promise<Finding>;
}

export interface CheckReport extends Finding {
  readonly name: string;
  readonly ms: number;
}

export interface RunOptions {
  /** Longest time of one check, ms. @default 6000 */
  readonly checkMs?: number;
  /** Told whenever one has ended, with the names of those that have not. */
  readonly onProgress?: (waiting: readonly string[]) => void;
}

/** A check of what `look` sees. */
export function check<Seen>(
  name: string,
  look: (context: DoctorContext, signal: AbortSignal) => Seen | Promise<Seen>,
  judge: (seen: Seen) => Finding,
): Check {
  return { name, run: async (context, signal) => judge(await look(context, signal)) };
}

/** All checks, in their order. One that fails to look, or takes too long, says so and keeps no other from its answer. */
export async function runChecks(
  checks: readonly Check[],
  context: DoctorContext,
  { checkMs = 6_000, onProgress }: RunOptions = {},
): Promise<readonly CheckReport[]> {
  const waiting = new Set(checks.map(({ name }) => name));
  return await Promise.all(
    checks.map(async (one) => {
      const started = performance.now();
      const finding = await runOne(one, context, checkMs);
      waiting.delete(one.name);
      onProgress?.([...waiting]);
      return { name: one.name, ...finding, ms: Math.round(performance.now() - started) };
    }),
  );
}

async function runOne(one: Check, context: DoctorContext, ms: number): Promise<Finding> {
  const ending = new AbortController();
  try {
    // a look that throws at once is a look that failed, too
    const outcome = await unlessLate(
      Promise.resolve().then(() => one.run(context, ending.signal)),
      ms,
    );
    if (outcome !== "late") return outcome.value;
    return { state: "warn", seen: `could not be found out within ${ms / 1_000} s` };
  } catch (thrown) {
    return { state: "warn", seen: `could not be found out: ${toMeshError(thrown).message}` };
  } finally {
    ending.abort();
  }
}

export function ok(seen: string, todo?: string): Finding {
  return { state: "ok", seen, ...(todo === undefined ? {} : { todo }) };
}

export function warn(seen: string, todo: string): Finding {
  return { state: "warn", seen, todo };
}

export function fail(code: ErrorCode, seen: string, todo: string): Finding {
  return { state: "fail", seen, todo, code };
}

export function skip(seen: string, todo?: string): Finding {
  return { state: "skip", seen, ...(todo === undefined ? {} : { todo }) };
}

/**
 * One process at a time downloads a file: a lock beside it, which its holder touches as long as it lives. What a dead process
 * has left is taken over: at once on this machine, elsewhere (a cache on a shared disk) when it was not touched for a while.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { sleep } from "../base/deadline.ts";
import { systemCode } from "../base/errors.ts";
import { isRecord, parseJsonText } from "../base/json.ts";
import { isRunning } from "../base/running.ts";
import { fileError } from "./download-files.ts";

export interface Lock {
  release(): Promise<void>;
}

/** Between two signs of life, and how old the last one of a holder may be, ms. */
const touchMs = 2_000;
const staleMs = 20_000;
/** From one look at a lock that somebody holds to the next, ms. */
const lookMs = 300;

/**
 * Waits until nobody else holds it.
 * @param onWait called once, when there is somebody to wait for
 * @throws E_ABORTED, or what the signal says · E_STATE, E_DISK
 */
export async function takeLock(path: string, signal: AbortSignal | undefined, onWait: () => void): Promise<Lock> {
  const own = JSON.stringify({ id: randomUUID(), pid: process.pid, machine: hostname() });
  for (let waited = false; ; waited = true) {
    if (await made(path, own)) return holding(path, own);
    const held = await readFile(path, "utf8").catch(() => "");
    if (await isStale(path, held)) {
      await takeAway(path, held);
      continue;
    }
    if (!waited) onWait();
    await sleep(lookMs, signal);
  }
}

async function made(path: string, own: string): Promise<boolean> {
  try {
    await writeFile(path, own, { flag: "wx", mode: 0o600 });
    return true;
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    throw fileError(cause, path);
  }
}

function holding(path: string, own: string): Lock {
  const timer = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, touchMs);
  timer.unref();
  return {
    async release() {
      clearInterval(timer);
      if ((await readFile(path, "utf8").catch(() => "")) === own) await rm(path, { force: true });
    },
  };
}

async function isStale(path: string, held: string): Promise<boolean> {
  const json = parseJsonText(held);
  const pid = isRecord(json) && json["machine"] === hostname() ? json["pid"] : undefined;
  if (typeof pid === "number" && Number.isSafeInteger(pid) && pid > 0 && !isRunning(pid)) return true;
  const touched = (await stat(path).catch(() => undefined))?.mtimeMs;
  return touched !== undefined && Date.now() - touched > staleMs;
}

/** Two may try at once: whoever finds that he took another one than he had read puts it back. */
async function takeAway(path: string, held: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
    if ((await readFile(aside, "utf8")) !== held) await link(aside, path).catch(() => undefined);
  } catch {
    // somebody else was faster
  } finally {
    await rm(aside, { force: true });
  }
}

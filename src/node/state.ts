/**
 * The node's state directory: what must outlive the process. Nothing else in the product writes files.
 *
 *   <data dir>/            0700 when made here; writable by its owner alone in any case
 *     key                  0600  identity: 32-byte Ed25519 seed as 64 hex digits
 *     record-seq           0600  number of the last signed record (wire.md §2)
 *     shown-keys.json      0600  peers that ever showed an inference key: {"<endpoint id>": "key" | "record"}
 *     lock                 0600  the process that uses the directory: its id and when it started
 *
 * Wider modes are refused: whoever can read `key`, or replace it, can be this node.
 */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromHex, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { newIdentitySeed } from "../crypto/identity.ts";
import type { Shown } from "../mesh/membership.ts";

export interface State {
  readonly directory: string;
  /** 32-byte Ed25519 seed. */
  readonly identitySeed: Uint8Array;
  readonly shown: ReadonlyMap<EndpointId, Shown>;
  /** On disk when it returns. */
  rememberShown(news: ReadonlyMap<EndpointId, Shown>): void;
  /** max(last + 1, now), kept on disk before it is returned. */
  nextRecordSeq(nowMs: number): bigint;
  /** Gives the directory free for another process. */
  close(): void;
}

/** Peers remembered at most: 100 bytes each on disk. The oldest go first. */
const shownLimit = 20_000;

/**
 * Opens the directory, making what is not there.
 * @throws E_STATE not writable, wider modes than 0700/0600, unreadable content, or in use by another process
 */
export function openState(directory: string): State {
  makeDirectory(directory);
  const release = lock(join(directory, "lock"));
  try {
    const identitySeed = readIdentity(join(directory, "key"));
    const shown = readShown(join(directory, "shown-keys.json"));
    return {
      directory,
      identitySeed,
      shown,
      rememberShown(news): void {
        for (const [id, what] of news) {
          shown.delete(id);
          shown.set(id, what);
        }
        for (const oldest of shown.keys()) {
          if (shown.size <= shownLimit) break;
          shown.delete(oldest);
        }
        writeAtomic(join(directory, "shown-keys.json"), JSON.stringify(Object.fromEntries(shown)));
      },
      nextRecordSeq: (nowMs) => nextSeq(join(directory, "record-seq"), nowMs),
      close: release,
    };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unusable(directory, `cannot be made (${systemCode(cause)})`, cause);
  }
  refuseWide(directory, 0o755, 0o700); // a service manager may have made it readable
}

/** @param advised mode to set instead, when it is not the widest allowed one */
function refuseWide(path: string, allowed: number, advised: number = allowed): void {
  if (process.platform === "win32") return; // modes mean nothing there
  const actual = statSync(path).mode & 0o777;
  if ((actual & ~allowed) === 0) return;
  throw unusable(
    path,
    `has mode ${actual.toString(8)}: others can get at it. Run: chmod ${advised.toString(8)} ${path}`,
  );
}

function readIdentity(path: string): Uint8Array {
  const text = readOwn(path);
  if (text === undefined) {
    const seed = newIdentitySeed();
    writeAtomic(path, `${toHex(seed)}\n`);
    return seed;
  }
  try {
    return fromHex(text.trim(), 32);
  } catch (cause) {
    throw unusable(path, "does not hold 64 hex digits. Move it away and a new identity is made", cause);
  }
}

function readShown(path: string): Map<EndpointId, Shown> {
  const text = readOwn(path);
  if (text === undefined) return new Map();
  try {
    const entries = Object.entries(JSON.parse(text) as Record<string, unknown>);
    return new Map(entries.map(([id, shown]) => [endpointId(id), shown === "record" ? "record" : "key"]));
  } catch (cause) {
    // forgetting it would let somebody strip the key of a peer that has shown one
    throw unusable(
      path,
      "is damaged. It says which peers have shown an inference key; restore it, or move it away",
      cause,
    );
  }
}

function nextSeq(path: string, nowMs: number): bigint {
  const text = readOwn(path)?.trim() ?? "0";
  if (!/^[0-9]{1,19}$/.test(text)) throw unusable(path, "does not hold a number");
  const last = BigInt(text);
  const next = last + 1n > BigInt(nowMs) ? last + 1n : BigInt(nowMs);
  writeAtomic(path, `${next}\n`);
  return next;
}

function lock(path: string): () => void {
  for (let round = 0; round < 2; round += 1) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, `${process.pid} ${startOf(process.pid)}\n`);
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (cause) {
      if (systemCode(cause) !== "EEXIST") throw unusable(path, `cannot be written (${systemCode(cause)})`, cause);
      const [id = "", start] = readFileSync(path, "utf8").trim().split(" ");
      const owner = Number(id);
      // an id may be another process's by now, after a restart of the machine for one
      if (owner !== process.pid && isRunning(owner) && startOf(owner) === start) {
        throw unusable(path, `says that process ${owner} uses this directory. Give this node its own with --data-dir`);
      }
      rmSync(path, { force: true }); // its process is gone
    }
  }
  throw unusable(path, "is taken by another node that is starting");
}

function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return systemCode(thrown) === "EPERM";
  }
}

/** When a process started, in ticks since the machine did; "unknown" where the system does not say. */
function startOf(pid: number): string {
  try {
    // the second field is the program's name in parentheses and may hold anything
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(")").at(-1)?.trim().split(" ");
    return fields?.[19] ?? "unknown";
  } catch {
    return "unknown";
  }
}

/** Content of a file of ours, undefined when there is none. */
function readOwn(path: string): string | undefined {
  try {
    refuseWide(path, 0o600);
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return undefined;
    if (cause instanceof MeshError) throw cause;
    throw unusable(path, `cannot be read (${systemCode(cause)})`, cause);
  }
}

/** Whole or not at all: a temporary file beside it, then a rename. */
function writeAtomic(path: string, text: string): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    writeFileSync(temporary, text, { mode: 0o600, flush: true });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw unusable(path, `cannot be written (${systemCode(cause)})`, cause);
  }
}

function unusable(path: string, why: string, cause?: unknown): MeshError {
  return new MeshError("E_STATE", `${path} ${why}.`, { cause });
}

function systemCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
}

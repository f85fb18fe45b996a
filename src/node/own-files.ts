/**
 * Files of the data directory: read and written whole, and ours alone. Wider modes are refused: whoever can read the key,
 * or replace what we believe of others, can speak for this node or turn it. For state.ts, pin-store.ts and `sealmesh trust`.
 */
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { MeshError } from "../base/errors.ts";

/** @throws E_STATE it cannot be made, or others can write to it */
export function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unusable(directory, `cannot be made (${systemCode(cause)})`, cause);
  }
  refuseWide(directory, 0o755, 0o700); // a service manager may have made it readable
}

/** Text of a file of ours, undefined when there is none. @throws E_STATE wider than 0600, or unreadable */
export function readOwn(path: string): string | undefined {
  const bytes = readOwnBytes(path);
  return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
}

/** The same as bytes. */
export function readOwnBytes(path: string): Uint8Array | undefined {
  try {
    refuseWide(path, 0o600);
    return Uint8Array.from(readFileSync(path));
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return undefined;
    if (cause instanceof MeshError) throw cause;
    throw unusable(path, `cannot be read (${systemCode(cause)})`, cause);
  }
}

/** Whole or not at all, 0600: a temporary file beside it, then a rename. @throws E_STATE */
export function writeAtomic(path: string, content: string | Uint8Array): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    writeFileSync(temporary, content, { mode: 0o600, flush: true });
    renameSync(temporary, path);
  } catch (cause) {
    rmSync(temporary, { force: true });
    throw unusable(path, `cannot be written (${systemCode(cause)})`, cause);
  }
}

/**
 * Makes a file that must not be there yet, 0600.
 * @returns false when it is there
 * @throws  E_STATE
 */
export function writeNew(path: string, text: string): boolean {
  let file: number;
  try {
    file = openSync(path, "wx", 0o600);
  } catch (cause) {
    if (systemCode(cause) === "EEXIST") return false;
    throw unusable(path, `cannot be written (${systemCode(cause)})`, cause);
  }
  try {
    writeFileSync(file, text);
  } finally {
    closeSync(file);
  }
  return true;
}

export function isRunning(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return systemCode(thrown) === "EPERM";
  }
}

export function unusable(path: string, why: string, cause?: unknown): MeshError {
  return new MeshError("E_STATE", `${path} ${why}.`, { cause });
}

export function systemCode(thrown: unknown): string {
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "unknown";
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

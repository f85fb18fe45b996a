/**
 * Files of the data directory: read and written whole, and ours alone. Wider modes are refused: whoever can read the key,
 * or replace what we believe of others, can speak for this node or turn it. For state.ts, book-file.ts and `sealmesh trust`.
 * Beside it the one way in which a file that an operator names is read: whole, and no more of it than was expected.
 */
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  type Stats,
  writeFileSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { concat } from "../base/bytes.ts";
import { MeshError, systemCode } from "../base/errors.ts";

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

/**
 * Whole or not at all, 0600: a temporary file beside it, then a rename.
 * @param lasting whether it must outlive a failure of the machine, for which the disk is waited for
 * @throws E_STATE
 */
export function writeAtomic(path: string, content: string | Uint8Array, lasting = true): void {
  const temporary = `${path}.${process.pid}.new`;
  try {
    writeFileSync(temporary, content, { mode: 0o600, flush: lasting });
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

export function unusable(path: string, why: string, cause?: unknown): MeshError {
  return new MeshError("E_STATE", `${path} ${why}.`, { cause });
}

export interface SmallFile {
  /** Whether it may be a pipe, such as `<(command)`; reading one waits for whoever writes it. @default false */
  readonly pipe?: boolean;
  /** Whether it says what is trusted: nobody but root and we may be able to change it. @default false */
  readonly trusted?: boolean;
}

/**
 * @param most bytes
 * @throws     E_INPUT in one sentence that begins with the path: no such file, larger, or one that others can change
 */
export function readSmall(path: string, most: number, { pipe = false, trusted = false }: SmallFile = {}): Uint8Array {
  const refusal = (why: string, cause?: unknown): MeshError => new MeshError("E_INPUT", `${path} ${why}`, { cause });
  let file: number | undefined;
  try {
    // a pipe without a writer would keep us waiting; Windows has none of these and not the flag
    file = openSync(path, constants.O_RDONLY | (pipe ? 0 : (constants.O_NONBLOCK ?? 0)));
    const status = fstatSync(file);
    if (!status.isFile() && !(pipe && !status.isDirectory())) throw refusal("is no file");
    const open = trusted && process.platform !== "win32" ? openToOthers(path, status) : undefined;
    if (open !== undefined) throw refusal(open);
    const bytes = readAtMost(file, most + 1);
    if (bytes.length > most) throw refusal(`has more than ${most} bytes, the most that is read`);
    return bytes;
  } catch (cause) {
    if (cause instanceof MeshError) throw cause;
    throw refusal(`cannot be read (${systemCode(cause)})`, cause);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function readAtMost(file: number, most: number): Uint8Array {
  const pieces: Uint8Array[] = [];
  for (let left = most; left > 0;) {
    const piece = new Uint8Array(Math.min(left, 65_536));
    const length = readSync(file, piece);
    if (length === 0) break;
    pieces.push(piece.subarray(0, length));
    left -= length;
  }
  return concat(pieces);
}

const othersWrite = 0o022;
const sticky = 0o1000;

/** How somebody else could change what the file says, or put another one in its place; undefined: nobody can. */
function openToOthers(path: string, status: Stats): string | undefined {
  if (!isTrusted(status))
    return `belongs to user ${status.uid}, who can change what this node trusts. ${chownHint(path)}`;
  if ((status.mode & othersWrite) !== 0) return `${writable(status)}. Run: chmod go-w ${shellQuoted(path)}`;
  // where it is named, and where a link leads
  for (const folder of new Set([dirname(resolve(path)), dirname(realpathSync(path))])) {
    const holding = statSync(folder);
    const where = `is in ${folder}, which`;
    if (!isTrusted(holding)) return `${where} belongs to user ${holding.uid}, who can replace it. ${chownHint(folder)}`;
    // with the sticky bit, as /tmp has it, others cannot replace what is ours
    if ((holding.mode & othersWrite) !== 0 && (holding.mode & sticky) === 0) {
      return `${where} ${writable(holding)}. Run: chmod go-w ${shellQuoted(folder)}`;
    }
  }
  return undefined;
}

function isTrusted({ uid }: Stats): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function writable({ mode }: Stats): string {
  return `has mode ${(mode & 0o777).toString(8)}: others can write into it what this node trusts`;
}

function chownHint(path: string): string {
  return `Run: chown ${process.geteuid?.() ?? 0} ${shellQuoted(path)}`;
}

/** One word for a shell, whatever stands in it. */
export function shellQuoted(text: string): string {
  return process.platform === "win32" ? `"${text}"` : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** @param advised mode to set instead, when it is not the widest allowed one */
function refuseWide(path: string, allowed: number, advised: number = allowed): void {
  if (process.platform === "win32") return; // modes mean nothing there
  const actual = statSync(path).mode & 0o777;
  if ((actual & ~allowed) === 0) return;
  throw unusable(
    path,
    `has mode ${actual.toString(8)}: others can get at it. Run: chmod ${advised.toString(8)} ${shellQuoted(path)}`,
  );
}

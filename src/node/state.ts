/**
 * The node's state directory: what must outlive the process. Nothing else in the product writes files unasked.
 *
 *   <data dir>/            0700 when made here; writable by its owner alone in any case
 *     key                  0600  identity: 32-byte Ed25519 seed as 64 hex digits
 *     record-seq           0600  number of the last signed record (wire.md §2)
 *     shown-keys.json      0600  peers that ever showed an inference key: {"<endpoint id>": "key" | "record"}
 *     pins.json            0600  attested keys of peers, from first contact or by the operator (policy/pins.ts), and what
 *                                the operator had forgotten; also written by `sealmesh trust`
 *     pins.json.lock       0600  the process that writes pins.json, for the time of one write
 *     node-ownership.json  0600  its owner's claim, of itself or `sealmesh owner` (node/owner-claim.ts)
 *     trusted-owners.json  0600  owners that are trusted, and what was revoked; also written by `sealmesh owner`
 *     owner-key.json       0600  the owner's key, where `sealmesh owner init` put it here
 *     builds.json          0600  newest list of known builds of each signer (node/build-lists.ts)
 *     enclave-key          0600  Apple's form of the attested key: of use on this machine's chip alone, to any process there
 *     nostr.key            0600  what this node signs its listings with (docs/discovery.md), 64 hex digits; made when needed
 *     measured.json        0600  digests of models, with what their files looked like (node/measurements.ts)
 *     udp-port             0600  of the last start: taken again, so that known addresses stay true
 *     known-members.json   0600  members to look for after a restart (node/known-members.ts)
 *     mesh.json            0600  meshes that this node belongs to, with its credentials (node/mesh-file.ts)
 *     mesh-authority       0600  of a mesh that was made here: 32-byte Ed25519 seed as 64 hex digits
 *     invites.json         0600  grants issued here, who was admitted by them, the secret of the standing one (node/invite-book.ts)
 *     invites.json.lock    0600  as that of the pins
 *     revoked-grants.json  0600  grants that other members took back (node/revoked-grants.ts)
 *     session              0600  session token of the console while the node runs (node/session.ts)
 *     lock                 0600  the process that uses the directory: its id and when it started
 *
 * Wider modes are refused: whoever can read `key`, or replace it, can be this node.
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromHex, toHex } from "../base/bytes.ts";
import { type MeshError, systemCode } from "../base/errors.ts";
import { isRunning } from "../base/running.ts";
import { identityFrom, newIdentitySeed } from "../crypto/identity.ts";
import type { Shown } from "../mesh/membership.ts";
import { makeDirectory, readOwn, readOwnBytes, unusable, writeAtomic, writeNew } from "./own-files.ts";
import { PinStore } from "./pin-store.ts";

export interface State {
  readonly directory: string;
  /** 32-byte Ed25519 seed. */
  readonly identitySeed: Uint8Array;
  readonly shown: ReadonlyMap<EndpointId, Shown>;
  /** On disk when it returns. */
  rememberShown(news: ReadonlyMap<EndpointId, Shown>): void;
  /**
   * Peers that the operator had forgotten (`sealmesh trust forget`) since the last call: out of `shown` and out of the
   * pins' list of them when it returns. What else remembers them is for the caller to clear.
   */
  takeForgotten(): readonly EndpointId[];
  readonly pins: PinStore;
  /** Whatever the platform keeps of the attested key (Secure Enclave). */
  readonly enclaveKey: { read(): Uint8Array | undefined; write(bytes: Uint8Array): void };
  /** Of the last start; a file that cannot be read counts as none. @throws E_STATE it cannot be written */
  readonly udpPort: { read(): number | undefined; write(port: number): void };
  /** Text of known-members.json. @throws E_STATE */
  readonly knownMembers: { read(): string | undefined; write(text: string): void };
  /** Secret key of 32 bytes for listings, made at the first call. @throws E_STATE */
  readonly nostrKey: () => Uint8Array;
  /** Text of measured.json. @throws E_STATE */
  readonly measured: { read(): string | undefined; write(text: string): void };
  /** max(last + 1, now), kept on disk before it is returned. */
  nextRecordSeq(nowMs: number): bigint;
  /** Gives the directory free for another process. */
  close(): void;
}

/** Peers remembered at most: 100 bytes each on disk. The oldest go first. */
const shownLimit = 20_000;

/**
 * Opens the directory, making what is not there. `onDamaged` is told when pins become unreadable while the node runs.
 * @throws E_STATE not writable, wider modes than 0700/0600, unreadable content, or in use by another process
 */
export function openState(directory: string, onDamaged?: (error: MeshError) => void): State {
  makeDirectory(directory);
  const release = lock(join(directory, "lock"));
  try {
    const identitySeed = readSecret(join(directory, "key"));
    const shown = new ShownKeys(join(directory, "shown-keys.json"));
    // a first contact can be pinned in the next round: nothing here waits long for another process
    const pins = new PinStore(join(directory, "pins.json"), { lockMs: 50, ...(onDamaged ? { onDamaged } : {}) });
    const takeForgotten = (): readonly EndpointId[] => dropForgotten(pins, shown);
    takeForgotten(); // while no node was running
    const enclaveKeyPath = join(directory, "enclave-key");
    const udpPortPath = join(directory, "udp-port");
    const knownPath = join(directory, "known-members.json");
    const measuredPath = join(directory, "measured.json");
    return {
      directory,
      identitySeed,
      shown: shown.all,
      pins,
      takeForgotten,
      rememberShown: (news) => shown.remember(news),
      enclaveKey: {
        read: () => readOwnBytes(enclaveKeyPath),
        write: (bytes) => writeAtomic(enclaveKeyPath, bytes),
      },
      udpPort: {
        read: () => portFrom(readOwn(udpPortPath)),
        write: (port) => writeAtomic(udpPortPath, `${port}\n`, false),
      },
      knownMembers: { read: () => readOwn(knownPath), write: (text) => writeAtomic(knownPath, text) },
      nostrKey: () => readSecret(join(directory, "nostr.key")),
      measured: { read: () => readOwn(measuredPath), write: (text) => writeAtomic(measuredPath, text) },
      nextRecordSeq: (nowMs) => nextSeq(join(directory, "record-seq"), nowMs),
      close: release,
    };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/**
 * What `sealmesh trust forget` recorded, carried out at once when no node uses the directory.
 *
 * @returns false: a node runs there, which does so itself within a few seconds
 * @throws  E_STATE
 */
export function carryOutForgotten(directory: string, pins: PinStore): boolean {
  const release = takeLock(join(directory, "lock"));
  if (typeof release === "number") return false;
  try {
    dropForgotten(pins, new ShownKeys(join(directory, "shown-keys.json")));
    return true;
  } finally {
    release();
  }
}

/**
 * The list is emptied as it is carried out: carried out again at a later start, it would forget what a peer has shown
 * since, and with it that the key of that peer cannot be stripped.
 */
function dropForgotten(pins: PinStore, shown: ShownKeys): readonly EndpointId[] {
  if (pins.book.forgotten.size === 0) return [];
  let ids: readonly EndpointId[] = [];
  pins.update((book) => {
    ids = [...book.forgotten.keys()];
    shown.forget(ids);
    return { ...book, forgotten: new Map() };
  });
  return ids;
}

/** shown-keys.json and what stands in it. */
class ShownKeys {
  readonly #path: string;
  readonly #shown: Map<EndpointId, Shown>;

  constructor(path: string) {
    this.#path = path;
    this.#shown = readShown(path);
  }

  get all(): ReadonlyMap<EndpointId, Shown> {
    return this.#shown;
  }

  remember(news: ReadonlyMap<EndpointId, Shown>): void {
    for (const [id, what] of news) {
      this.#shown.delete(id);
      this.#shown.set(id, what);
    }
    for (const oldest of this.#shown.keys()) {
      if (this.#shown.size <= shownLimit) break;
      this.#shown.delete(oldest);
    }
    this.#write();
  }

  forget(ids: readonly EndpointId[]): void {
    const known = ids.filter((id) => this.#shown.delete(id));
    if (known.length > 0) this.#write();
  }

  #write(): void {
    writeAtomic(this.#path, JSON.stringify(Object.fromEntries(this.#shown)));
  }
}

/** The endpoint id of the node that has this directory; undefined: none has so far. @throws E_STATE */
export function endpointIdIn(directory: string): EndpointId | undefined {
  const path = join(directory, "key");
  const text = readOwn(path);
  return text === undefined ? undefined : identityFrom(seedOf(text, path)).id;
}

/** 32 random bytes that are this node's alone: those of the file, which is made when there is none. */
function readSecret(path: string): Uint8Array {
  const text = readOwn(path);
  if (text === undefined) {
    const seed = newIdentitySeed();
    writeAtomic(path, `${toHex(seed)}\n`);
    return seed;
  }
  return seedOf(text, path);
}

/** @throws E_STATE */
function seedOf(text: string, path: string): Uint8Array {
  try {
    return fromHex(text.trim(), 32);
  } catch (cause) {
    throw unusable(path, "does not hold 64 hex digits. Move it away and a new identity is made", cause);
  }
}

function portFrom(text = ""): number | undefined {
  const port = Number(text.trim());
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
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

/** @throws E_STATE it is in use, or cannot be locked */
function lock(path: string): () => void {
  const taken = takeLock(path);
  if (typeof taken !== "number") return taken;
  throw unusable(path, `says that process ${taken} uses this directory. Give this node its own with --data-dir`);
}

/** Locks that this process has itself: a program may run several nodes. */
const held = new Set<string>();

/** @returns what gives the lock back, or the process that has it */
function takeLock(path: string): (() => void) | number {
  if (held.has(path)) return process.pid;
  for (let round = 0; round < 2; round += 1) {
    if (writeNew(path, `${process.pid} ${startOf(process.pid)}\n`)) {
      held.add(path);
      return () => {
        held.delete(path);
        rmSync(path, { force: true });
      };
    }
    const [id = "", start] = contentOf(path).trim().split(" ");
    const owner = Number(id);
    // an id may be another process's by now, after a restart of the machine for one
    if (owner !== process.pid && isRunning(owner) && startOf(owner) === start) return owner;
    rmSync(path, { force: true }); // its process is gone
  }
  throw unusable(path, "is taken by another node that is starting");
}

/** Empty when its process has just given it back. */
function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    if (systemCode(cause) === "ENOENT") return "";
    throw unusable(path, `cannot be read (${systemCode(cause)})`, cause);
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

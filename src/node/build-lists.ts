/**
 * The lists of known builds of a running node: read from files and addresses at start and again later, heard in gossip, kept
 * on disk, so that no restart goes back to an older one. Whose signature counts and what follows is in policy/builds.ts.
 *
 *   file or address    one line: "sealmesh-builds-v1:" and base64 of the SignedBuildList; # begins a line for people
 *   builds.json        {"lists": [base64 of a SignedBuildList, ...]}, 0600: the newest of each signer
 */
import { statSync } from "node:fs";
import { fromBase64, fromUtf8, toBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import type { Log } from "../base/log.ts";
import {
  acceptedDigests,
  type AcceptedBuilds,
  type BuildVerdict,
  judgeBuild,
  type ListBook,
  type ListRefusal,
  listRefusals,
  listState,
  type ListTaken,
  nextChange,
  type ListTrust,
  readBuildList,
  takeBuildList,
  type ToldBuild,
  type VerifiedBuildList,
} from "../policy/builds.ts";
import { decodeSignedBuildList } from "../wire/builds.ts";
import { limits } from "../wire/limits.ts";
import type { BuildSettings } from "./build-settings.ts";
import { fetchBounded } from "./fetch-bounded.ts";
import { readOwn, readSmall, unusable, writeAtomic } from "./own-files.ts";

export type BuildSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "url"; readonly url: string };

/** Where a list came from. */
export type ListOrigin = BuildSource["kind"] | "gossip" | "disk";

export interface BuildListsOptions {
  readonly trust: ListTrust;
  readonly sources: readonly BuildSource[];
  /** builds.json of the state directory. */
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** A newer list counts from now on. */
  readonly onNews?: (origin: ListOrigin) => void;
  readonly timing?: Partial<BuildListTiming>;
}

export interface BuildListTiming {
  /** From one look at an address to the next, and after one that failed, ms. */
  readonly urlMs: number;
  readonly urlRetryMs: number;
  /** From one look at a file's date to the next, ms. */
  readonly fileMs: number;
  /** Longest answer of an address, ms. */
  readonly fetchMs: number;
}

/** An hour, as a list is for days; a minute after a failure. A file's date costs nothing to look at. */
const buildListTiming: BuildListTiming = { urlMs: 3_600_000, urlRetryMs: 60_000, fileMs: 5_000, fetchMs: 10_000 };

const prefix = "sealmesh-builds-v1:";
/** Base64 of the largest list, and some lines for people. */
const textBytes = 131_072;
/** builds.json holds lists of signers that are not trusted any more, so that taking them back in does not go back. */
const maxKept = 16;
/** Refused lists that status tells of: the last ones. */
const maxRefusals = 8;

/** What became of one file or address. */
export interface SourceState {
  readonly source: string;
  /** Unix ms of the last look that gave a list that can be used; undefined: none has. */
  readonly readMs: number | undefined;
  /** Why the last look gave nothing, or nothing new. */
  readonly why: string | undefined;
}

/** A list that was not taken. */
export interface RefusedList {
  readonly from: string;
  readonly reason: ListRefusal;
  readonly atMs: number;
}

interface Watched {
  readonly source: BuildSource;
  readMs: number | undefined;
  why: string | undefined;
  /** performance.now() of the next look. */
  nextMs: number;
  /** Of the file that was read last. */
  mark: string | undefined;
  running: boolean;
}

/** Whose lists count, by the settings. @throws E_CONFIG the Sigstore root cannot be used */
export async function listTrust({ keys, sigstore }: Pick<BuildSettings, "keys" | "sigstore">): Promise<ListTrust> {
  const trusted = new Set(keys);
  if (!sigstore) return { keys: trusted, sigstore: undefined };
  // many packages, which nobody else needs at a start
  const { sigstoreSigner } = await import("../policy/sigstore.ts");
  return { keys: trusted, sigstore: sigstoreSigner(sigstore) };
}

/** @returns the text of a file that holds a list */
export function buildListText(bytes: Uint8Array): string {
  return `# a signed list of builds: \`sealmesh builds show FILE\`\n${prefix}${toBase64(bytes)}\n`;
}

/** @returns the SignedBuildList in a file's text, undefined when the file holds something else · @throws E_WIRE */
export function buildListIn(text: string): Uint8Array | undefined {
  const line = text.split(/\r?\n/).find((one) => one.startsWith(prefix));
  return line === undefined ? undefined : fromBase64(line.slice(prefix.length).trim());
}

/** @param options pipe: whether it may be one, which is waited for · @throws E_INPUT it cannot be read, or holds no list */
export function readBuildListFile(path: string, { pipe = true }: { readonly pipe?: boolean } = {}): Uint8Array {
  return listIn(readSmall(path, textBytes, { pipe }), path);
}

function listIn(bytes: Uint8Array, where: string): Uint8Array {
  let list: Uint8Array | undefined;
  try {
    list = buildListIn(fromUtf8(bytes));
  } catch (cause) {
    throw new MeshError("E_INPUT", `${where} holds no signed list of builds that can be read`, { cause });
  }
  if (list === undefined) throw new MeshError("E_INPUT", `${where} holds no signed list of builds`);
  return list;
}

export class BuildLists implements AcceptedBuilds {
  readonly #options: BuildListsOptions;
  readonly #timing: BuildListTiming;
  readonly #sources: readonly Watched[];
  readonly #closing = new AbortController();
  readonly #refused = new Map<string, RefusedList>();
  readonly #origins = new Map<string, ListOrigin>();
  #book: ListBook = new Map();
  /** On disk, of signers that are not trusted now. */
  #others: readonly string[] = [];
  #digests: ReadonlySet<string> = new Set();
  /** For which lists and times they were made: they are asked for with every request, for every host. */
  #digestsOf: { readonly book: ListBook; readonly fromMs: number; readonly untilMs: number } | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #fetching = new Set<Promise<void>>();

  /**
   * @throws E_STATE builds.json is damaged · E_CONFIG a file that cannot be read, is no list, or is signed by somebody else
   *         than the operator says; an older list than the one on disk is none of these, and is told in status
   */
  constructor(options: BuildListsOptions) {
    this.#options = options;
    this.#timing = { ...buildListTiming, ...options.timing };
    const fresh = { readMs: undefined, why: undefined, nextMs: 0, mark: undefined, running: false };
    this.#sources = options.sources.map((source) => ({ source, ...fresh }));
    this.#load();
    for (const watched of this.#sources) if (watched.source.kind === "file") this.#readFirst(watched, watched.source);
  }

  /** Looks at files and addresses from now on. @returns when every address has been asked once */
  async start(): Promise<void> {
    this.look();
    const first = [...this.#fetching];
    this.#timer = setInterval(() => this.look(), this.#timing.fileMs);
    await Promise.allSettled(first);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await Promise.allSettled(this.#fetching);
  }

  // ---- what they say

  judge(build: ToldBuild | undefined, nowMs: number): BuildVerdict {
    return judgeBuild(this.lists, build, nowMs);
  }

  digests(nowMs: number): ReadonlySet<string> {
    const made = this.#digestsOf;
    if (made?.book === this.#book && nowMs >= made.fromMs && nowMs < made.untilMs) return this.#digests;
    const now = acceptedDigests(this.lists, nowMs);
    this.#digestsOf = { book: this.#book, fromMs: nowMs, untilMs: nextChange(this.lists, nowMs) };
    const same = now.size === this.#digests.size && [...now].every((digest) => this.#digests.has(digest));
    if (!same) this.#digests = now;
    return this.#digests;
  }

  get lists(): readonly VerifiedBuildList[] {
    return [...this.#book.values()];
  }

  /** For gossip: the newest of each signer, byte for byte, the newest of all last. */
  get newest(): readonly Uint8Array[] {
    return this.lists.toSorted((a, b) => a.list.issuedAtMs - b.list.issuedAtMs).map(({ bytes }) => bytes);
  }

  originOf(signer: string): ListOrigin {
    return this.#origins.get(signer) ?? "disk";
  }

  get sources(): readonly SourceState[] {
    return this.#sources.map(({ source, readMs, why }) => ({ source: nameOf(source), readMs, why }));
  }

  /** The last ones, oldest first. */
  get refused(): readonly RefusedList[] {
    return [...this.#refused.values()];
  }

  // ---- what comes in

  /**
   * Lists that a peer passes on.
   * @param from its endpoint id, for the log
   * @returns    whether one of them is news, to be passed on
   */
  hear(lists: readonly Uint8Array[], from: string): boolean {
    return lists
      .slice(-limits.buildListsPerFrame)
      .map((bytes) => this.#take(bytes, "gossip", from))
      .some(({ kind }) => kind === "taken");
  }

  /** Reads what has changed and fetches what is due. Never throws. */
  look(): void {
    const now = performance.now();
    for (const watched of this.#sources) {
      const { source } = watched;
      if (source.kind === "file") this.#lookAtFile(watched, source.path);
      else if (now >= watched.nextMs && !watched.running) {
        const work = this.#fetch(watched, source.url).finally(() => this.#fetching.delete(work));
        this.#fetching.add(work);
      }
    }
  }

  #take(bytes: Uint8Array, origin: ListOrigin, from: string): ListTaken {
    const { trust, clock, log, onNews } = this.#options;
    const taken = takeBuildList(this.#book, bytes, trust, clock.now());
    if (taken.kind === "refused") this.#refuse(taken.reason, taken.why, origin, from);
    if (taken.kind !== "taken") return taken;
    const { signer, list } = taken.list;
    this.#book = taken.book;
    this.#origins.set(signer, origin);
    this.#keep();
    const revoked = list.builds.filter((build) => build.revoked).length;
    const seq = list.seq.toString();
    log.write("info", { event: "build-list-taken", signer, seq, origin, builds: list.builds.length, revoked });
    if (listState(list, clock.now()) !== "in force")
      log.write("warn", { event: "build-list-not-in-force", signer, seq });
    onNews?.(origin);
    return taken;
  }

  /** Logged once for each sender and reason: a peer that lags behind says the same every minute. */
  #refuse(reason: ListRefusal, why: string | undefined, origin: ListOrigin, from: string): void {
    const name = `${from} ${reason}`;
    const known = this.#refused.delete(name);
    this.#refused.set(name, { from, reason, atMs: this.#options.clock.now() });
    const [oldest] = this.#refused.keys();
    if (this.#refused.size > maxRefusals && oldest !== undefined) this.#refused.delete(oldest);
    // a file or a peer that has not heard of the newest list is nothing to worry about
    const level = reason === "rolled-back" || reason === "unknown-signer" ? "info" : "warn";
    if (!known) {
      const what = [listRefusals[reason], ...(why === undefined ? [] : [`(${why})`])].join(" ");
      this.#options.log.write(level, { event: "build-list-refused", origin, from, reason, what });
    }
  }

  // ---- files and addresses

  /** @throws E_CONFIG */
  #readFirst(watched: Watched, { path }: Extract<BuildSource, { kind: "file" }>): void {
    const { trust, clock } = this.#options;
    try {
      watched.mark = markOf(path);
      const bytes = readBuildListFile(path);
      const read = readBuildList(bytes, trust, clock.now());
      if (read.kind === "refused") throw new MeshError("E_INPUT", `${path}: ${refusalText(read)}`);
      this.#taken(watched, bytes);
    } catch (cause) {
      throw new MeshError("E_CONFIG", `--allow-builds: ${toMeshError(cause).message}`, { cause });
    }
  }

  #lookAtFile(watched: Watched, path: string): void {
    try {
      const mark = markOf(path);
      if (mark === watched.mark) return;
      watched.mark = mark;
      // a pipe put in its place would keep the whole node waiting
      this.#taken(watched, readBuildListFile(path, { pipe: false }));
    } catch (thrown) {
      this.#failed(watched, thrown);
    }
  }

  async #fetch(watched: Watched, url: string): Promise<void> {
    const { fetchMs, urlMs, urlRetryMs } = this.#timing;
    watched.running = true;
    try {
      const options = { maxBytes: textBytes, ms: fetchMs, signal: this.#closing.signal };
      const { status, bytes } = await fetchBounded(new URL(url), options);
      if (this.#closing.signal.aborted) return;
      if (status !== 200) throw new MeshError("E_UNREACHABLE", `${url} answers with status ${status}`);
      this.#taken(watched, listIn(bytes, url));
      watched.nextMs = performance.now() + urlMs;
    } catch (thrown) {
      if (!this.#closing.signal.aborted) this.#failed(watched, thrown);
      watched.nextMs = performance.now() + urlRetryMs;
    } finally {
      watched.running = false;
    }
  }

  #taken(watched: Watched, bytes: Uint8Array): void {
    const { source } = watched;
    const taken = this.#take(bytes, source.kind, nameOf(source));
    if (taken.kind !== "refused") watched.readMs = this.#options.clock.now();
    watched.why = taken.kind === "refused" ? refusalText(taken) : undefined;
  }

  /** What was known before goes on counting until it expires. */
  #failed(watched: Watched, thrown: unknown): void {
    const { code, message } = toMeshError(thrown);
    if (watched.why === message) return;
    watched.why = message;
    this.#options.log.write("warn", { event: "build-list-not-read", code, what: message });
  }

  // ---- disk

  /** @throws E_STATE */
  #load(): void {
    const { path, trust } = this.#options;
    const text = readOwn(path);
    if (text === undefined) return;
    const others: string[] = [];
    const book = new Map<string, VerifiedBuildList>();
    for (const kept of keptIn(text, path)) {
      const bytes = fromBase64(kept);
      const read = readBuildList(bytes, trust, undefined);
      if (read.kind === "good") {
        // two of one signer: an identity that now stands for what were several
        const known = book.get(read.list.signer);
        if (!known || known.list.seq < read.list.list.seq) book.set(read.list.signer, read.list);
      } else if (read.reason === "malformed" || (read.reason === "signature-wrong" && !isSigstore(bytes))) {
        throw damaged(path);
      }
      // other keys or other roots than before: it counts for nothing now, and may again
      else others.push(kept);
    }
    this.#book = book;
    this.#others = others;
  }

  /** A disk that is full keeps nothing from counting now; after a restart the older list would count again. */
  #keep(): void {
    const { path, log } = this.#options;
    const lists = [...this.#others, ...this.lists.map(({ bytes }) => toBase64(bytes))].slice(-maxKept);
    try {
      writeAtomic(path, `${JSON.stringify({ lists })}\n`);
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      log.write("error", { event: "state-not-kept", code, what: message });
    }
  }
}

function keptIn(text: string, path: string): readonly string[] {
  try {
    const document: unknown = JSON.parse(text);
    const lists: unknown = isRecord(document) ? document["lists"] : undefined;
    if (!Array.isArray(lists) || !lists.every((list) => typeof list === "string")) throw damaged(path);
    for (const list of lists) fromBase64(list);
    return lists;
  } catch (cause) {
    throw damaged(path, cause);
  }
}

function damaged(path: string, cause?: unknown): MeshError {
  const what = "is damaged. It says which lists of builds were the newest; restore it, or move it away to start anew";
  return unusable(path, what, cause);
}

function isSigstore(bytes: Uint8Array): boolean {
  return decodeSignedBuildList(bytes).seal.kind === "sigstore";
}

function refusalText({ reason, why }: { readonly reason: ListRefusal; readonly why?: string }): string {
  return why === undefined ? listRefusals[reason] : `${listRefusals[reason].replace(/\.$/, "")}: ${why}.`;
}

function nameOf(source: BuildSource): string {
  return source.kind === "file" ? source.path : source.url;
}

/** Changes whenever the file does; undefined when there is none. */
function markOf(path: string): string | undefined {
  const status = statSync(path, { throwIfNoEntry: false, bigint: true });
  return status && `${status.ino} ${status.size} ${status.mtimeNs}`;
}

/** What all checks of `sealmesh doctor` start from: the settings of this machine, and the node that runs here, if one does. */
import { homedir } from "node:os";
import { type MeshError, toMeshError, unlessMeshError } from "../../base/errors.ts";
import { dataDirFrom, type Flags, type NodeConfig, resolveConfig } from "../../node/config.ts";
import { defaults } from "../../node/defaults.ts";
import { fetchBounded } from "../../node/fetch-bounded.ts";
import { readSession } from "../../node/session.ts";
import type { Status } from "../../node/status.ts";
import { askConsole } from "../local-node.ts";

/** A node answers at once, or it is stuck, ms; one that loads a model on a small machine needs a moment. */
const answerMs = 4_000;
const readyBytes = 4_096;

/** The parts of a status that checks speak of. */
export type SeenStatus = Pick<
  Status,
  "version" | "pid" | "mode" | "api_port" | "models" | "engines" | "peers" | "hardening" | "evidence"
>;

export interface RunningNode {
  readonly status: SeenStatus;
  /** Whether it could answer a request now. */
  readonly ready: boolean;
}

export interface DoctorContext {
  readonly dataDir: string;
  /** What `serve` would start with, or why it would not. */
  readonly config: NodeConfig | MeshError;
  /** Port of the console that was asked; undefined: there is none. */
  readonly consolePort: number | undefined;
  readonly running: RunningNode | undefined;
  /** A session of a node is on disk. */
  readonly session: boolean;
  /** Wall clock and the clock that only goes forward, when the doctor came, ms. */
  readonly started: { readonly wallMs: number; readonly steadyMs: number };
}

export interface DoctorFlags extends Pick<Flags, "dataDir" | "config" | "console"> {
  readonly url?: string;
}

export async function doctorContext(flags: DoctorFlags): Promise<DoctorContext> {
  const { dataDir: given, config: file } = flags;
  const dataDir = dataDirFrom(given);
  const started = { wallMs: Date.now(), steadyMs: performance.now() };
  const config = settingsOr({ ...(file === undefined ? {} : { config: file }), dataDir });
  const session = unlessMeshError(() => readSession(dataDir));
  const port = flags.console ?? (flags.url === undefined ? portOf(session?.consoleUrl, config) : undefined);
  const where = flags.url === undefined ? { console: port ?? `${defaults.consolePort}` } : { url: flags.url };
  return {
    dataDir,
    config,
    consolePort: port === undefined ? undefined : Number(port),
    running: await runningNode(where),
    session: session !== undefined,
    started,
  };
}

function settingsOr(flags: Flags): NodeConfig | MeshError {
  try {
    return resolveConfig("serve", flags);
  } catch (thrown) {
    return toMeshError(thrown);
  }
}

/** The port of a node that has said so, else of one that would be started. */
function portOf(consoleUrl: string | undefined, config: NodeConfig | MeshError): string {
  if (consoleUrl !== undefined) return new URL(consoleUrl).port;
  const set = config instanceof Error ? undefined : config.console?.port;
  return `${set || defaults.consolePort}`;
}

async function runningNode(where: { console: string } | { url: string }): Promise<RunningNode | undefined> {
  try {
    const document = await askConsole(where, "/api/status", answerMs);
    if (!isStatus(document)) return undefined;
    const base = "url" in where ? where.url : `http://127.0.0.1:${where.console}`;
    const { status } = await fetchBounded(new URL("/readyz", base), { maxBytes: readyBytes, ms: answerMs });
    return { status: document, ready: status === 200 };
  } catch {
    return undefined; // nobody there, or nobody of ours
  }
}

function isStatus(value: unknown): value is SeenStatus {
  const lists = ["peers", "engines", "models", "evidence"] as const;
  if (typeof value !== "object" || value === null || !("pid" in value && "hardening" in value)) return false;
  return lists.every((name) => Array.isArray(new Map(Object.entries(value)).get(name)));
}

/** A path as people of this machine write it: whose home it is, is nobody else's business. */
export function shownPath(path: string): string {
  const home = homedir();
  return home !== "/" && (path === home || path.startsWith(`${home}/`)) ? `~${path.slice(home.length)}` : path;
}

/** The same for a sentence with paths in it. */
export function withoutHome(text: string): string {
  const home = homedir();
  return home === "/" || home === "" ? text : text.replaceAll(`${home}/`, "~/");
}

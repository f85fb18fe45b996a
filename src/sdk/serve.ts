/**
 * serve(): a host inside this process, with an engine behind a URL or one that is a function of the program. The node is the
 * same as that of `sealmesh serve`, without ports of its own for callers, and without what that command does to close its
 * process: peers are told that nothing is known of it. It holds the process open until it is closed.
 */
import { MeshError } from "../base/errors.ts";
import { isName } from "../wire/gossip.ts";
import { type EngineSetting, type Flags, type NodeConfig } from "../node/config.ts";
import { defaults } from "../node/defaults.ts";
import type { MemberOptions, Tier } from "./options.ts";
import { checked, given, memberFlags } from "./settings.ts";
import { type Inside, startInside } from "./start.ts";

/** What the mesh is told of a model of this host. */
export interface ModelOffer {
  /** What clients ask for; up to 256 bytes. */
  readonly id: string;
  /** Tokens that one request may use, prompt and answer together. @default nothing is said */
  readonly contextLength?: number;
  /** What it can do; vision and audio mean chat with such parts. @default nothing is said */
  readonly kinds?: readonly ("chat" | "vision" | "audio" | "embeddings")[];
}

/** An OpenAI-compatible server; it lists its models itself. */
export interface UrlEngine {
  /** Such as "http://127.0.0.1:11434/v1". */
  readonly url: string;
  /** Sent as a bearer token. */
  readonly key?: string;
}

export interface ServeOptions extends MemberOptions {
  /**
   * What answers: a server behind a URL, or a function. The function gets each request as POST to /v1/chat/completions,
   * /v1/completions or /v1/embeddings with an OpenAI body, and answers in OpenAI's form: JSON, or an event stream where the body
   * has `stream: true`. `request.signal` fires when the caller has gone; the header `x-sealmesh-asker` is an endpoint id, or
   * "local". The stream is pulled no faster than it is read. What the function throws is not passed on.
   */
  readonly engine: UrlEngine | ((request: Request) => Response | Promise<Response>);
  /** Of a function: one at least. */
  readonly models?: readonly ModelOffer[];
  /** Exchanges that the engine answers at a time, and that may wait. @default 512 and 256 */
  readonly maxRunning?: number;
  readonly maxQueued?: number;
  /** Whoever has this node's address is a member. @default false: only who has an invite */
  readonly openMesh?: boolean;
  /** What those who join by this node's invites must demand of hosts at least. @default nothing */
  readonly inviteRequires?: readonly ("encryption" | "hardened" | Exclude<Tier, "none">)[];
}

/** A host, from inside a program. */
export interface Host {
  /** Of this node, 64 hex digits. */
  readonly endpointId: string;
  /** What its engine answers for now. */
  readonly models: readonly string[];
  /** Admits further nodes to the mesh: a secret. @throws E_REFUSED this node may not invite others */
  invite(): string;
  status(): HostStatus;
  /** Sends new requests away, lets running ones finish for so long, and leaves the mesh. @default 30000 ms */
  close(options?: { readonly drainMs?: number }): Promise<void>;
  /** The same as close(). */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface HostStatus {
  readonly engine: "loading" | "up" | "down";
  /** Why it is down. */
  readonly why: string | undefined;
  /** Exchanges on the engine, and waiting for a place there. */
  readonly running: number;
  readonly queued: number;
  /** Endpoint ids of the members that this node knows. */
  readonly peers: readonly string[];
}

/**
 * Starts a host: a mesh of its own, or a member of the one that its invites or its directory name.
 * @throws a MeshError: E_USAGE, E_CONFIG, E_INPUT, E_INVITE with the option's name · E_STATE the directory cannot be used · and
 *         the signal's reason
 */
export async function serve(options: ServeOptions): Promise<Host> {
  const engine = engineOf(options);
  const inside = await startInside({
    options,
    config: (dataDir): NodeConfig => ({ ...checked("serve", hostFlags(options), dataDir), engines: [engine] }),
    needsMesh: false,
  });
  return new RunningHost(inside);
}

function hostFlags(options: ServeOptions): Flags {
  const { engine, maxRunning, maxQueued, openMesh, inviteRequires } = options;
  return {
    ...memberFlags(options),
    ...given<Flags>({
      engine: typeof engine === "function" ? undefined : [engine.url],
      maxRunning: maxRunning === undefined ? undefined : String(maxRunning),
      maxQueued: maxQueued === undefined ? undefined : String(maxQueued),
      openMesh,
      inviteRequires,
    }),
  };
}

/** @throws E_INPUT */
function engineOf({ engine, models = [] }: ServeOptions): EngineSetting {
  if (typeof engine !== "function") {
    if (models.length > 0) throw wrong("models belong to a function: a server behind a URL lists its own");
    return { kind: "openai-http", url: engine.url, key: engine.key };
  }
  if (models.length === 0) throw wrong("models: a function answers for one model at least");
  const names = new Set(models.map(({ id }) => id));
  if (names.size < models.length) throw wrong("models: two of them have the same id");
  const offered = models.map(({ id, contextLength, kinds }) => {
    if (id === "" || !isName(id)) throw wrong("models: an id has 1 to 256 bytes without control characters");
    if (contextLength !== undefined && !(Number.isInteger(contextLength) && contextLength > 0)) {
      throw wrong("models: contextLength is a whole number of tokens");
    }
    return { id, contextLength, ...(kinds ? { kinds } : {}) };
  });
  return { kind: "function", models: offered, answer: engine };
}

function wrong(message: string): MeshError {
  return new MeshError("E_INPUT", message);
}

class RunningHost implements Host {
  readonly #inside: Inside;

  constructor(inside: Inside) {
    this.#inside = inside;
  }

  get endpointId(): string {
    return this.#inside.node.endpointId;
  }

  get models(): readonly string[] {
    return this.#inside.node.status().hosted_models;
  }

  invite(): string {
    return this.#inside.node.invite();
  }

  status(): HostStatus {
    const { engines, admission, peers } = this.#inside.node.status();
    const [engine] = engines;
    return {
      engine: engine?.state ?? "down",
      why: engine?.why ?? undefined,
      running: admission.running,
      queued: admission.queued,
      peers: peers.map(({ endpoint_id }) => endpoint_id),
    };
  }

  close({ drainMs = defaults.drainMs }: { readonly drainMs?: number } = {}): Promise<void> {
    return this.#inside.close(drainMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

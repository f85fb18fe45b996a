/**
 * connect(): a client of a mesh inside this process. The node is the same as that of `sealmesh client`, without ports, without
 * settings from outside, and without anything of the process: no signal, no exit, no output. It holds the process open
 * until it is closed, as a database connection does.
 */
import { endpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import type { Flags } from "../node/config.ts";
import type { Node } from "../node/node.ts";
import { baseUrl, fetchOf } from "./fetch.ts";
import type { MemberOptions, Tier } from "./options.ts";
import type { Answered, PendingReport } from "./report.ts";
import { Reports } from "./reports.ts";
import { checked, given, memberFlags } from "./settings.ts";
import { type Inside, orAborted, startInside } from "./start.ts";

/** Which mesh, and what must be true of a host before a prompt leaves. Invites may demand more; the stricter counts. */
export interface ConnectOptions extends MemberOptions {
  /** The least tier of a host's evidence; true: "key". @default nothing is demanded */
  readonly requireAttestedHosts?: boolean | Exclude<Tier, "none">;
  /** Certificates of makers that may end a chain of evidence: files, PEM or DER. @default none */
  readonly trustRoots?: readonly string[];
  /** Refuses hosts that take prompts in the clear only. @default false */
  readonly requireEncryption?: boolean;
  /** Refuses hosts that do not say, signed, that they are closed to others. @default false */
  readonly requireHardened?: boolean;
  /** The only hosts that may be asked, by endpoint id. @default all */
  readonly allowHosts?: readonly string[];
  /** How hosts are reached: directly, through relays, or whichever works. @default "auto" */
  readonly route?: "auto" | "direct" | "relay";
  /** Pads requests before they are sealed, to hide their length. @default false */
  readonly pad?: boolean;
  /** false: resolves although no member could be reached so far, and goes on trying. @default true: rejects then */
  readonly waitForMesh?: boolean;
}

export interface SignalOptions {
  readonly signal?: AbortSignal;
}

/** A mesh, from inside a program. */
export interface Mesh {
  /** For any OpenAI client: `new OpenAI({ baseURL: mesh.baseURL, apiKey: "unused", fetch: mesh.fetch })`. Needs no `this`. */
  readonly fetch: typeof fetch;
  /** Leads nowhere without {@link Mesh.fetch}: a client that lacks it fails, and sends no prompt anywhere. */
  readonly baseURL: string;
  /** Of this node, 64 hex digits. */
  readonly endpointId: string;
  /** Models of the mesh, as they are known now. */
  models(options?: SignalOptions): Promise<readonly MeshModel[]>;
  /**
   * Which hosts of a model would be asked, or whether a host would, and why. Asks them for evidence where that is demanded.
   * @param what a model, an endpoint id, or its first ten digits at least
   * @throws E_MODEL nobody is meant
   */
  explain(what: string, options?: SignalOptions): Promise<Explanation>;
  /** What became of the exchange of an answer: who answered, proven how, sealed how, on which way, with which tokens. */
  report(answer: Answered, options?: SignalOptions): PendingReport;
  /** Breaks off what runs and leaves the mesh. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface MeshModel {
  readonly id: string;
  /** Tokens that one request may use, prompt and answer together: the most that a host gives; undefined: nobody says. */
  readonly contextLength: number | undefined;
  /** Endpoint ids of the hosts that have it; whether they may be asked is for {@link Mesh.explain} to say. */
  readonly hosts: readonly string[];
}

export interface Explanation {
  readonly what: string;
  readonly kind: "peer" | "model";
  readonly hosts: readonly ExplainedHost[];
}

export interface ExplainedHost {
  readonly endpointId: string;
  readonly name: string | undefined;
  readonly models: readonly string[];
  readonly allowed: boolean;
  readonly tier: Tier | undefined;
  /** How a prompt would travel; undefined: not at all. */
  readonly sealed: "sealed" | "plain" | "local" | undefined;
  /** A few sentences, for people. */
  readonly text: string;
}

/**
 * Joins a mesh as a client.
 * @throws a MeshError: E_INVITE, E_USAGE, E_CONFIG with the option's name · E_STATE the directory cannot be used ·
 *         E_UNREACHABLE nobody of the mesh answers · and the signal's reason
 */
export async function connect(options: ConnectOptions): Promise<Mesh> {
  const reports = new Reports();
  const inside = await startInside({
    options,
    config: (dataDir) => checked("client", clientFlags(options), dataDir),
    needsMesh: options.waitForMesh ?? true,
    onAsked: (report) => reports.ended(report),
  });
  return new ConnectedMesh(inside, reports);
}

function clientFlags(options: ConnectOptions): Flags {
  const {
    requireAttestedHosts: tier,
    trustRoots,
    requireEncryption,
    requireHardened,
    allowHosts,
    route,
    pad,
  } = options;
  return {
    ...memberFlags(options),
    ...given<Flags>({
      requireAttestedHosts: tier === false ? undefined : tier,
      trustRoots,
      requireEncryption,
      requireHardened,
      allowHosts,
      route,
      pad,
    }),
  };
}

class ConnectedMesh implements Mesh {
  readonly fetch: typeof fetch;
  readonly baseURL = baseUrl;
  readonly #inside: Inside;
  readonly #reports: Reports;

  constructor(inside: Inside, reports: Reports) {
    const { node } = inside;
    this.#inside = inside;
    this.#reports = reports;
    this.fetch = fetchOf(node, (response) => {
      reports.begun(response, (host) =>
        node.verdict(endpointId(host)).map(({ factor, outcome, sentence }) => ({ factor, outcome, sentence })),
      );
    });
  }

  get endpointId(): string {
    return this.#node.endpointId;
  }

  get #node(): Node {
    return this.#inside.node;
  }

  async models({ signal }: SignalOptions = {}): Promise<readonly MeshModel[]> {
    signal?.throwIfAborted();
    const { models, peers } = this.#node.status();
    return models.map((id) => {
      const having = peers.filter(({ role, models: served }) => role === "Host" && served.includes(id));
      const told = having.flatMap(({ model_states }) => model_states.filter((model) => model.id === id));
      const windows = told.flatMap(({ context_length: length }) => length ?? []);
      return {
        id,
        contextLength: windows.length > 0 ? Math.max(...windows) : undefined,
        hosts: having.map(({ endpoint_id }) => endpoint_id),
      };
    });
  }

  async explain(what: string, { signal }: SignalOptions = {}): Promise<Explanation> {
    const explaining = this.#node.explain(what, signal ?? new AbortController().signal);
    const report = await orAborted(explaining, signal);
    if (!report) throw new MeshError("E_MODEL", "this is neither a model nor a node of this mesh");
    const hosts = report.hosts.map(({ endpoint_id, hostname, models, allowed, tier, route, text }) => ({
      endpointId: endpoint_id,
      name: hostname ?? undefined,
      models,
      allowed,
      tier: tier ?? undefined,
      sealed: sealings[route ?? "none"],
      text,
    }));
    return { what: report.what, kind: report.kind, hosts };
  }

  report(answer: Answered, { signal }: SignalOptions = {}): PendingReport {
    return this.#reports.of(answer, signal);
  }

  close(): Promise<void> {
    return this.#inside.close(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const sealings = { sealed: "sealed", plain: "plain", local: "local", none: undefined } as const;

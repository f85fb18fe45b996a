/**
 * A mesh of eight processes that loses half of its network and gets it back: hosts and clients on both sides, and one host
 * that is restarted meanwhile at another address. What carries their bytes is the test's: support/udp-fabric.ts, or network
 * namespaces.
 */
import { expect } from "vitest";
import type { Status } from "../../src/node/status.ts";
import { pause, until } from "./e2e.ts";
import { startEngineProcess } from "./engine-server.ts";
import { type NodeProcess, startProcess, tempDir } from "./processes.ts";

/** Where a node runs. */
export interface DrillPlace {
  readonly flags: readonly string[];
  /** Words before the command; see ProcessOptions. */
  readonly within?: readonly string[];
  /** As global fetch, to a port of that place. */
  readonly fetch: (
    url: string,
    init?: { method: string; headers: Record<string, string>; body: string },
  ) => Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly text: () => Promise<string>;
}

export interface DrillNetwork {
  /** For a node that starts, at an address that no node had before. */
  place(node: string): Promise<DrillPlace>;
  /** Gives a node that runs another address, where such a thing can be done. */
  move?(node: string): Promise<void>;
  cut(first: readonly string[], second: readonly string[]): void;
  heal(): void;
}

export const hosts = ["host1", "host2", "host3"] as const;
export const clients = ["client1", "client2", "client3"] as const;
const names = [...hosts, "relay", ...clients, "client4"] as const;
type Name = (typeof names)[number];

/** Hosts and clients on both sides; the node that everybody's invite names is on the first. */
export const halves: readonly [readonly Name[], readonly Name[]] = [
  ["host1", "relay", "client1", "client2"],
  ["host2", "host3", "client3", "client4"],
];
/** Restarted while half of the mesh is away, the node of its invite among it. */
const restarted = "host3";
/** Goes to another address as it runs. */
const moved = "client4";

/** Whom a node has met is on its disk by then (keepAfterMs in mesh/membership.ts): the one that is killed finds its way back by it. */
const keptMs = 3_500;

/** Full length under `npm run drill`. */
export const isFull = process.env["SEALMESH_DRILL"] === "full";
/** The task's times: a network that is away for 90 s, and answers within 30 s of its return. */
export const healMs = 30_000;

export class Drill {
  readonly #network: DrillNetwork;
  /** Processes that have ended, for a failure to tell. */
  readonly #ends: string[] = [];
  readonly #nodes = new Map<Name, { node: NodeProcess; place: DrillPlace; dataDir: string }>();

  constructor(network: DrillNetwork) {
    this.#network = network;
  }

  get nodes(): readonly { readonly name: Name; readonly node: NodeProcess }[] {
    return [...this.#nodes].map(([name, { node }]) => ({ name, node }));
  }

  /** One creates the mesh, the others join it by the creator's invite. */
  async start(): Promise<void> {
    await this.#start("host1", []);
    const joining = ["--join", this.#of("host1").node.ready.invite ?? ""];
    for (const some of [names.slice(1, 4), names.slice(4)]) {
      await Promise.all(some.map((name) => this.#start(name, joining)));
    }
  }

  /** Every pair of nodes is linked, but for clients among themselves. */
  async whole(ms = 30_000): Promise<void> {
    await until("all are linked", async () => (await this.#unlinked()).length === 0, ms).catch(async () => {
      throw new Error(`not linked after ${ms} ms: ${(await this.#unlinked()).join(", ")}`);
    });
  }

  /** Which names in `of` a node says it is connected with. */
  async connected(name: Name, of: readonly Name[]): Promise<readonly Name[]> {
    const { peers } = await this.status(name);
    const ids = new Set<string>(peers.flatMap((peer) => (peer.connected ? [peer.endpoint_id] : [])));
    return of.filter((other) => ids.has(this.#of(other).node.ready.endpoint_id));
  }

  /** Resolves when all bytes between clients and hosts go by TLS, or none do, as the clients say. */
  async onPath(path: "tls" | "quic", ms = healMs): Promise<void> {
    const isOn = async (client: Name): Promise<boolean> => {
      const { peers } = await this.status(client);
      const ids = hosts.map((host) => this.#of(host).node.ready.endpoint_id as string);
      const isTls = (id: string): boolean => peers.some((peer) => peer.endpoint_id === id && peer.path === "tls");
      return path === "tls" ? ids.every(isTls) : !ids.some(isTls);
    };
    await until(`all go by ${path}`, async () => (await Promise.all(clients.map(isOn))).every(Boolean), ms).catch(
      async () => {
        const rows = await Promise.all(
          clients.map(async (client) => {
            const { peers } = await this.status(client);
            return hosts.map((host) => {
              const peer = peers.find(({ endpoint_id: id }) => id === this.#of(host).node.ready.endpoint_id);
              return `${client} ${host} ${peer?.path ?? "none"}${peer?.connected ? "" : ", not connected"}`;
            });
          }),
        );
        throw new Error(`not all go by ${path} after ${ms} ms: ${rows.flat().join("; ")}`);
      },
    );
  }

  async status(name: Name): Promise<Status> {
    const { node, place } = this.#of(name);
    return JSON.parse(await (await place.fetch(`${node.ready.console_url}/api/status`)).text()) as Status;
  }

  /**
   * Asks for a streamed chat answer.
   * @param bytes of the answer at least
   * @returns "answered" when the whole of it came, or what came in its place
   */
  async ask(client: Name, host: Name, { bytes = 0, ms = 10_000 } = {}): Promise<string> {
    const { node, place } = this.#of(client);
    const content = `Repeat: ${"x".repeat(Math.max(bytes, 5))}`;
    const body = JSON.stringify({ model: `model-${host}`, stream: true, messages: [{ role: "user", content }] });
    const headers = { "content-type": "application/json" };
    const asked = (async () => {
      const answer = await place.fetch(`${node.ready.api_url}/v1/chat/completions`, { method: "POST", headers, body });
      const text = await answer.text();
      if (answer.status === 200 && text.trimEnd().endsWith("[DONE]") && text.length > bytes) return "answered";
      return `${answer.status} ${text.slice(0, 200)}`;
    })().catch((thrown: unknown) => `${String(thrown)} ${thrown instanceof Error ? String(thrown.cause) : ""}`);
    return await Promise.race([asked, pause(ms).then(() => `nothing within ${ms} ms`)]);
  }

  /**
   * Cuts the mesh in two, restarts a host at a new address in one half, and sees to it that links are lost and both halves
   * go on. @param ms that it lasts at least
   */
  async partition(ms: number): Promise<void> {
    const [first, second] = halves;
    await pause(keptMs);
    this.#network.cut(first, second);
    const since = performance.now();
    const { node, dataDir } = this.#of(restarted);
    await node.kill();
    const back = await this.#start(restarted, [], dataDir);
    expect(back.ready.endpoint_id).toBe(node.ready.endpoint_id);
    await this.#network.move?.(moved);
    await this.#apart();
    const rest = ms - (performance.now() - since);
    if (rest > 0) await pause(rest);
  }

  /** Nobody is linked across any more, and nobody is answered across; both halves go on by themselves. */
  async #apart(): Promise<void> {
    const [first, second] = halves;
    const across = async (name: Name): Promise<readonly string[]> =>
      (await this.connected(name, first.includes(name) ? second : first)).map((other) => `${name} ${other}`);
    const isLost = async (): Promise<boolean> => (await Promise.all(names.map(across))).flat().length === 0;
    await until("the halves have lost each other", isLost, 60_000);
    const near = [
      ["client1", "host1"],
      ["client3", "host2"],
      ["client3", restarted],
    ] as const;
    const far = [
      ["client1", "host2"],
      ["client2", restarted],
      ["client3", "host1"],
    ] as const;
    await Promise.all([
      ...near.map(async ([client, host]) => {
        const got: string[] = [];
        const isAnswered = async (): Promise<boolean> => got[got.push(await this.ask(client, host)) - 1] === "answered";
        await until("it is answered", isAnswered, 20_000).catch(() => {
          const ended = this.#ends.join(", ");
          throw new Error(`${client} has no answer of ${host}: ${got.join(" · ")}\nended: ${ended}`);
        });
      }),
      ...far.map(async ([client, host]) => expect(await this.ask(client, host)).not.toBe("answered")),
    ]);
  }

  /** Heals, and asks from every client for every host's model until all have answered. @returns ms for each pair */
  async healed(): Promise<ReadonlyMap<string, number>> {
    this.#network.heal();
    const since = performance.now();
    const pairs = [...clients, "client4" as const].flatMap((client) => hosts.map((host) => ({ client, host })));
    const times = new Map<string, number>();
    const last = new Map<string, string>();
    await Promise.all(
      pairs.map(async ({ client, host }) => {
        while (performance.now() - since < healMs) {
          const answer = await this.ask(client, host);
          last.set(`${client} ${host}`, answer);
          if (answer === "answered") return times.set(`${client} ${host}`, performance.now() - since);
          await pause(200);
        }
        return times;
      }),
    );
    const missing = pairs.filter(({ client, host }) => !times.has(`${client} ${host}`));
    if (missing.length > 0) {
      const why = missing.map(({ client, host }) => `${client} ${host}: ${last.get(`${client} ${host}`)}`);
      throw new Error(`no answer within ${healMs} ms of healing:\n${why.join("\n")}\nended: ${this.#ends.join(", ")}`);
    }
    return times;
  }

  async #start(name: Name, joining: readonly string[], dataDir = tempDir()): Promise<NodeProcess> {
    const place = await this.#network.place(name);
    const { within = [] } = place;
    const mode = name.startsWith("host") ? "serve" : name === "relay" ? "relay" : "client";
    // sockets are looked up from outside, which a hardened process allows to nobody but root
    const words = [mode, ...place.flags, ...joining, "--data-dir", dataDir, "--no-hardening"];
    if (mode === "serve") {
      const engine = await startEngineProcess({ models: [`model-${name}`], contextSize: 1_000_000 }, within);
      words.push("--engine", engine.url);
    }
    const node = await startProcess(words, { within, readyMs: 60_000 });
    void node.exited.then(({ code, signal }) => this.#ends.push(`${name} ${node.pid}: ${code ?? signal}`));
    this.#nodes.set(name, { node, place, dataDir });
    return node;
  }

  async #unlinked(): Promise<readonly string[]> {
    const missing = await Promise.all(
      names.map(async (name) => {
        const isClient = name.startsWith("client");
        const wanted = names.filter((other) => other !== name && !(isClient && other.startsWith("client")));
        const linked = await this.connected(name, wanted);
        return wanted.filter((other) => !linked.includes(other)).map((other) => `${name} ${other}`);
      }),
    );
    return missing.flat();
  }

  #of(name: Name): { node: NodeProcess; place: DrillPlace; dataDir: string } {
    const found = this.#nodes.get(name);
    if (!found) throw new Error(`${name} does not run`);
    return found;
  }
}

/** For a person to read, and to keep. */
export function tableOf(times: ReadonlyMap<string, number>): string {
  const rows = [...times].map(([pair, ms]) => `  ${pair.padEnd(16)} ${(ms / 1_000).toFixed(1).padStart(5)} s`);
  return `first streamed answer after healing:\n${rows.join("\n")}`;
}

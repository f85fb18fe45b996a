/**
 * A network for many nodes of one machine, of which every datagram passes through this file: each node is alone in a cell
 * (cells.ts) that has nothing but its loopback, where the porter stands for all others, under the addresses that these tell
 * of themselves. Every pair of nodes has a link that loses, delays and can be cut, and counts what it has carried.
 *
 *     cell of A:  node A 127.0.0.1:P  ->  127.1.0.B:4433 porter  ->  here  ->  porter 127.1.0.A:4433  ->  127.0.0.1:Q node B  :cell of B
 */
import { readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { type Cell, openCell } from "./cells.ts";

export interface FabricOptions {
  /** Of a hundred datagrams, so many are lost. */
  readonly lossPercent: number;
  /** One way, ms. */
  readonly delayMs: number;
}

/** Of one pair, both ways together. */
export interface LinkCount {
  readonly carried: number;
  readonly bytes: number;
  readonly lost: number;
  /** While the link was cut. */
  readonly refused: number;
}

/** Where one start of a node is attached. */
export interface FabricPort {
  readonly cell: Cell;
  /** For `sealmesh`. */
  readonly flags: readonly string[];
}

type Counting = { -readonly [Name in keyof LinkCount]: LinkCount[Name] };

/** Where nodes can be: enough for all of a test, and one more for each restart. */
const places = Array.from({ length: 16 }, (_, index) => `127.1.0.${index + 1}`);
const outerPort = 4433;

export class UdpFabric {
  readonly #options: FabricOptions;
  /** By index in `places`; a restarted node has a second one. */
  readonly #ports: { readonly node: string; readonly porter: Socket }[] = [];
  readonly #cells = new Map<string, Cell>();
  readonly #links = new Map<string, Counting>();
  #groups: readonly ReadonlySet<string>[] = [];
  #random = 20_260_101;

  constructor(options: FabricOptions) {
    this.#options = options;
  }

  /** A place for a node that starts, at an address of its own. A node that starts again stays in its cell. */
  async attach(node: string): Promise<FabricPort> {
    const cell = this.#cells.get(node) ?? (await openCell(places));
    this.#cells.set(node, cell);
    const index = this.#ports.length;
    const innerPort = 20_000 + index;
    const porter = cell.open(`udp 127.0.0.1:${innerPort}`);
    this.#ports.push({ node, porter });
    let held = Buffer.alloc(0);
    porter.on("data", (bytes: Buffer) => {
      held = Buffer.concat([held, bytes]);
      while (held.length >= 3 && held.length >= 3 + held.readUInt16LE()) {
        const end = 3 + held.readUInt16LE();
        this.#carry(held.subarray(3, end), index, held[2] ?? 0);
        held = held.subarray(end);
      }
    });
    const outer = `${places[index]}:${outerPort}`;
    return { cell, flags: ["--bind", `127.0.0.1:${innerPort}`, "--advertise", outer] };
  }

  /** Nothing passes between these groups any more; whoever is in none of them reaches all. */
  cut(...groups: readonly (readonly string[])[]): void {
    this.#groups = groups.map((group) => new Set(group));
  }

  heal(): void {
    this.#groups = [];
  }

  count(a: string, b: string): LinkCount {
    return { ...this.#link(a, b) };
  }

  /** Of each cell, the interfaces that it has: nothing but "lo", or there would be other ways. */
  interfaces(): ReadonlyMap<string, readonly string[]> {
    return new Map([...this.#cells].map(([node, { pid }]) => [node, interfacesOf(pid)]));
  }

  async close(): Promise<void> {
    for (const { porter } of this.#ports) porter.destroy();
    await Promise.all([...this.#cells.values()].map((cell) => cell.close()));
  }

  #carry(message: Uint8Array, fromIndex: number, toIndex: number): void {
    const from = this.#ports[fromIndex];
    const to = this.#ports[toIndex];
    if (!from || !to || from.node === to.node) return;
    const link = this.#link(from.node, to.node);
    if (this.#isCut(from.node, to.node)) {
      link.refused += 1;
      return;
    }
    if (this.#chance() * 100 < this.#options.lossPercent) {
      link.lost += 1;
      return;
    }
    link.carried += 1;
    link.bytes += message.length;
    const framed = Buffer.alloc(3 + message.length);
    framed.writeUInt16LE(message.length);
    framed[2] = fromIndex;
    framed.set(message, 3);
    setTimeout(() => {
      // what is on its way when the link is cut is gone with it
      if (!this.#isCut(from.node, to.node) && to.porter.writable) to.porter.write(framed);
    }, this.#options.delayMs);
  }

  #isCut(a: string, b: string): boolean {
    const groupOf = (node: string): number => this.#groups.findIndex((group) => group.has(node));
    const [first, second] = [groupOf(a), groupOf(b)];
    return first >= 0 && second >= 0 && first !== second;
  }

  #link(a: string, b: string): Counting {
    const key = a < b ? `${a} ${b}` : `${b} ${a}`;
    const link = this.#links.get(key) ?? { carried: 0, bytes: 0, lost: 0, refused: 0 };
    this.#links.set(key, link);
    return link;
  }

  /** The same in every run. */
  #chance(): number {
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 4_294_967_296;
  }
}

/** Network interfaces that a process sees. */
export function interfacesOf(pid: number): readonly string[] {
  const rows = readFileSync(`/proc/${pid}/net/dev`, "utf8").trim().split("\n").slice(2);
  return rows.map((row) => row.split(":")[0]?.trim() ?? "");
}

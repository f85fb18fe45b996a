/**
 * A local network of cells (cells.ts): each has an Ethernet of its own, whose other end is a port of a bridge in a cell
 * that nobody else is in. Two halves of it are two bridges. Needs root; loss and delay only where the kernel has netem.
 */
import { type Cell, cellsMissing, openCell } from "./cells.ts";

export class BridgedCells {
  readonly #hub: Cell;
  readonly #cells = new Map<string, { readonly cell: Cell; readonly port: string; address: string }>();
  /** Whether the network loses a datagram in ten and takes 50 ms for each. */
  readonly isLossy: boolean;
  #addresses = 0;

  private constructor(hub: Cell, isLossy: boolean) {
    this.#hub = hub;
    this.isLossy = isLossy;
  }

  /** Undefined: this machine has no such networks. */
  static async open(): Promise<BridgedCells | undefined> {
    if (cellsMissing !== undefined || process.getuid?.() !== 0) return undefined;
    const hub = await openCell();
    try {
      for (const bridge of ["whole", "rest"]) {
        hub.ip(`link add ${bridge} type bridge`);
        hub.ip(`link set ${bridge} up`);
      }
      return new BridgedCells(hub, hub.try("tc qdisc add dev whole root netem delay 1ms"));
    } catch {
      await hub.close();
      return undefined;
    }
  }

  /** A cell for a node, or the one that it has, at an address that nobody had before. */
  async attach(node: string): Promise<Cell> {
    const known = this.#cells.get(node);
    const cell = known?.cell ?? (await openCell());
    const port = known?.port ?? `port${this.#cells.size}`;
    if (!known) {
      this.#hub.ip(`link add ${port} type veth peer name eth0 netns ${cell.pid}`);
      this.#hub.ip(`link set ${port} master whole up`);
      cell.ip("link set eth0 up");
      if (this.isLossy) this.#hub.try(`tc qdisc add dev ${port} root netem loss 10% delay 50ms`);
      if (this.isLossy) cell.try("tc qdisc add dev eth0 root netem loss 10% delay 50ms");
    }
    if (known) cell.ip(`address del ${known.address}/24 dev eth0`);
    this.#addresses += 1;
    const address = `10.78.0.${this.#addresses}`;
    cell.ip(`address add ${address}/24 dev eth0`);
    this.#cells.set(node, { cell, port, address });
    return cell;
  }

  cut(nodes: readonly string[]): void {
    this.#plug(nodes, "rest");
  }

  heal(): void {
    this.#plug([...this.#cells.keys()], "whole");
  }

  async close(): Promise<void> {
    await Promise.all([...this.#cells.values()].map(({ cell }) => cell.close()));
    await this.#hub.close();
  }

  #plug(nodes: readonly string[], bridge: string): void {
    for (const node of nodes) {
      const port = this.#cells.get(node)?.port;
      if (port !== undefined) this.#hub.ip(`link set ${port} master ${bridge}`);
    }
  }
}

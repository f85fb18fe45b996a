/**
 * Eight processes, every pair of them connected through the test's own UDP fabric, which loses a datagram in ten and takes
 * 50 ms for each: the network falls into halves, a host is restarted at another address, the network comes back. Linux.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cellsMissing } from "../support/cells.ts";
import { Drill, halves, healMs, isFull, tableOf } from "../support/drill.ts";
import { interfacesOf, UdpFabric } from "../support/udp-fabric.ts";

/** Long enough that links are lost by QUIC's own idle time too, 30 s. */
const partitionMs = isFull ? 90_000 : 32_000;

describe.skipIf(cellsMissing !== undefined)("a mesh that falls into halves", () => {
  const fabric = new UdpFabric({ lossPercent: 10, delayMs: 50 });
  const drill = new Drill({
    async place(node) {
      const { cell, flags } = await fabric.attach(node);
      return { flags, within: cell.within, fetch: cell.fetch };
    },
    cut: (...groups) => fabric.cut(...groups),
    heal: () => fabric.heal(),
  });
  const [first, second] = halves;
  const across = (what: "carried" | "refused"): readonly number[] =>
    first.flatMap((name) => second.map((other) => fabric.count(name, other)[what]));

  beforeAll(async () => {
    await drill.start();
    await drill.whole();
  }, 120_000);
  afterAll(() => fabric.close());

  it("has no way from node to node but the fabric, which counts every answer", async () => {
    onlyFabric();
    for (const client of ["client1", "client3"] as const) {
      for (const host of ["host1", "host2", "host3"] as const) {
        const before = fabric.count(client, host).bytes;
        expect(await drill.ask(client, host, { bytes: 30_000 })).toBe("answered");
        expect(fabric.count(client, host).bytes - before).toBeGreaterThan(30_000);
      }
    }
  });

  it(
    "is lost in the middle, goes on in both halves, and is one again within 30 s",
    async () => {
      await drill.partition(partitionMs);
      const carried = across("carried");
      await drill.apart();
      expect(across("carried")).toEqual(carried);
      expect(Math.max(...across("refused"))).toBeGreaterThan(0);
      onlyFabric();
      const times = await drill.healed();
      console.log(tableOf(times));
      expect(Math.max(...times.values())).toBeLessThan(healMs);
      expect(times.size).toBe(12);
      // not only through relays
      await drill.whole(healMs);
    },
    partitionMs + 150_000,
  );

  /** Nodes are where their cells are, and these have no interface that leads anywhere. */
  function onlyFabric(): void {
    for (const [name, interfaces] of fabric.interfaces()) expect(interfaces, name).toEqual(["lo"]);
    for (const { name, node } of drill.nodes) expect(interfacesOf(node.pid), name).toEqual(["lo"]);
  }
});

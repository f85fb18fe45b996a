/**
 * A mesh that stays up, by QUIC alone (all that the forwarder of the first test carries) and by the direct path: eight processes whose network falls into halves and comes back, one of them restarted at another
 * address meanwhile; processes that sleep. The tests run beside each other, because they mostly wait. Linux.
 */
import { expect, it } from "vitest";
import { BridgedCells } from "../support/bridged-cells.ts";
import { cellsMissing } from "../support/cells.ts";
import { Drill, type DrillNetwork, halves, healMs, isFull, tableOf } from "../support/drill.ts";
import { answeringHost, isAnswered, isConnected, knowsModels, pause, startHost, until } from "../support/e2e.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";
import { interfacesOf, UdpFabric } from "../support/udp-fabric.ts";

/** Long enough that links are lost by QUIC's own idle time too, 30 s. */
const partitionMs = isFull ? 90_000 : 32_000;
/** A lid that is closed; others notice by the silence. */
const sleepMs = isFull ? 40_000 : 25_000;
const wakeMs = 8_000;
const testMs = partitionMs + 200_000;
const [first, second] = halves;

it.skipIf(cellsMissing !== undefined).concurrent(
  "eight nodes on a bad network that falls into halves are one mesh again within 30 s of its return",
  async ({ onTestFinished }) => {
    const fabric = new UdpFabric({ lossPercent: 10, delayMs: 50 });
    onTestFinished(() => fabric.close());
    let carried: readonly number[] = [];
    const across = (what: "carried" | "refused"): readonly number[] =>
      first.flatMap((name) => second.map((other) => fabric.count(name, other)[what]));
    const drill = await drillOn({
      async place(node) {
        const { cell, flags } = await fabric.attach(node);
        return { flags, within: cell.within, fetch: cell.fetch };
      },
      cut: (...groups) => {
        fabric.cut(...groups);
        carried = across("carried");
      },
      heal: () => fabric.heal(),
    });
    // every byte passes through the fabric: nodes are where their cells are, and these have nothing but a loopback
    const onlyFabric = (): void => {
      for (const [name, interfaces] of fabric.interfaces()) expect(interfaces, name).toEqual(["lo"]);
      for (const { name, node } of drill.nodes) expect(interfacesOf(node.pid), name).toEqual(["lo"]);
    };
    onlyFabric();
    await Promise.all(
      (["client1", "client3"] as const).flatMap((client) =>
        (["host1", "host2", "host3"] as const).map(async (host) => {
          const before = fabric.count(client, host).bytes;
          expect(await drill.ask(client, host, { bytes: 20_000 })).toBe("answered");
          expect(fabric.count(client, host).bytes - before).toBeGreaterThan(20_000);
        }),
      ),
    );
    await drill.partition(partitionMs);
    expect(across("carried")).toEqual(carried);
    // each has gone on looking for those that it was linked with
    for (const [name, other] of [
      ["host1", "host2"],
      ["client1", "host3"],
      ["relay", "client3"],
    ] as const) {
      expect(fabric.count(name, other).refused).toBeGreaterThan(0);
    }
    onlyFabric();
    await comesBack(drill, "through the forwarder");
  },
  testMs,
);

it.skipIf(cellsMissing !== undefined).concurrent.for([
  { path: "tls", flags: [] },
  { path: "quic", flags: ["--no-direct"] },
] as const)(
  "the same on bridges in network namespaces, where a node is also given another address as it runs: $path",
  { timeout: testMs },
  async ({ path, flags }, { skip, onTestFinished }) => {
    const network = await BridgedCells.open();
    if (!network) return skip("this machine has no bridges in namespaces");
    onTestFinished(() => network.close());
    const drill = await drillOn({
      async place(node) {
        const { within, fetch } = await network.attach(node);
        return { flags: ["--bind", "0.0.0.0:0", ...flags], within, fetch };
      },
      async move(node) {
        await network.attach(node);
      },
      cut: (_, rest) => network.cut(rest),
      heal: () => network.heal(),
    });
    await drill.onPath(path);
    await drill.partition(partitionMs);
    await comesBack(drill, `on bridges, by ${path}, ${network.isLossy ? "with" : "without (no netem)"} loss and delay`);
    await drill.onPath(path, 60_000); // it is tried again after half a minute at most
  },
);

async function drillOn(network: DrillNetwork): Promise<Drill> {
  const drill = new Drill(network);
  await drill.start();
  await drill.whole();
  return drill;
}

async function comesBack(drill: Drill, how: string): Promise<void> {
  const times = await drill.healed();
  console.log(`${how}, away for ${partitionMs / 1_000} s: ${tableOf(times)}`);
  expect(times.size).toBe(12);
  expect(Math.max(...times.values())).toBeLessThan(healMs);
  // and not through relays alone
  await drill.whole(healMs);
}

it.concurrent(
  "a host and a client that slept answer and ask again within seconds",
  async () => {
    const hub = await startProcess(["client"]);
    const [sleeper] = await Promise.all([startHost("sleeper", {}, hub), startHost("awake", {}, hub)]);
    const clients = await Promise.all([1, 2].map(() => startProcess(["client", "--join", hub.ready.invite ?? ""])));
    const [caller, dozer] = clients;
    if (!caller || !dozer) throw new Error("both were started");
    for (const node of clients) await knowsModels(node, "sleeper", "awake");
    for (const node of [sleeper.node, dozer]) node.signal("SIGSTOP");
    await pause(sleepMs);
    // it is away, and known to be
    await until("it is given up", async () => !(await isConnected(caller, sleeper.node)), 30_000);
    await answeringHost(caller, "awake");
    const since = performance.now();
    for (const node of [sleeper.node, dozer]) node.signal("SIGCONT");
    const took = async (node: NodeProcess, model: string): Promise<number> => {
      await until(`${model} answers`, () => isAnswered(node, model), 20_000);
      return Math.round(performance.now() - since);
    };
    const times = await Promise.all([took(caller, "sleeper"), took(dozer, "awake"), took(dozer, "sleeper")]);
    console.log(`after ${sleepMs / 1_000} s of sleep: host answers, client asks, both: ${times.join(", ")} ms`);
    expect(Math.max(...times)).toBeLessThan(wakeMs);
  },
  testMs,
);

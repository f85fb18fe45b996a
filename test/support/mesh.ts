/** Nodes of a mesh inside the test's own process, for what must be looked at from inside: keys, peer tables, routes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Log, LogEvent } from "../../src/base/log.ts";
import { type Flags, type Mode, resolveConfig } from "../../src/node/config.ts";
import { type Node, type NodeOptions, startNode } from "../../src/node/node.ts";
import type { MemoryNetwork } from "../../src/transport/memory.ts";
import type { TransportKind } from "../../src/transport/transport.ts";
import { testNetwork } from "./test-network.ts";

export interface TestNode extends Node {
  /** Of a relay it is missing, but no test asks one. */
  readonly apiUrl: string;
  readonly events: readonly LogEvent[];
  readonly dataDir: string;
}

/** Parts that a test puts in the place of the node's own. */
export type TestParts = Pick<NodeOptions, "collectors" | "hardening" | "measurement" | "onStopAsked">;

export interface TestMesh {
  readonly network: MemoryNetwork;
  start(mode: Mode, flags?: Flags, transport?: TransportKind, parts?: TestParts): Promise<TestNode>;
}

const started: Node[] = [];
const directories: string[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((node) => node.stop(0)));
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** A state directory that goes with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
  directories.push(directory);
  return directory;
}

/** Nodes started here share one network, unless a transport is given. */
export function testMesh(): TestMesh {
  const network = testNetwork();
  return {
    network,
    async start(mode, flags = {}, transport = network, parts = {}): Promise<TestNode> {
      const dataDir = flags.dataDir ?? temporaryDirectory();
      const apiPort = mode === "relay" ? {} : { port: "0" };
      // peers that a test plays by hand have no credentials
      const usual = { ...apiPort, headless: true, bind: "127.0.0.1:0", dataDir, openMesh: true };
      const config = resolveConfig(mode, { ...usual, ...flags });
      const events: LogEvent[] = [];
      const log: Log = { write: (_level, event) => void events.push(event) };
      const node = await startNode(config, { log, transport, ...parts });
      started.push(node);
      return Object.assign(node, { events, dataDir }) as TestNode;
    },
  };
}

/** Waits for something that has no event of its own; the deadline is the test's failure. */
export async function eventually(what: string, holds: () => boolean, ms = 5_000): Promise<void> {
  const until = Date.now() + ms;
  while (!holds()) {
    if (Date.now() > until) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

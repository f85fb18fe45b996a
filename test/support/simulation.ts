/** The run that `npm run sim` prints: a mesh that comes together, loses nodes, is cut in two and heals, at several sizes. */
import { SimulatedMesh, type SimulatedNode } from "./simulated-mesh.ts";

export interface Phase {
  readonly name: string;
  /** How long until what the name says was reached, ms; undefined: not within the time given. */
  readonly tookMs: number | undefined;
  /** Per node over the phase: gossip exchanges begun or answered, and words of peers that are down; bytes; dials. */
  readonly messages: Spread;
  readonly kilobytes: Spread;
  readonly dials: Spread;
}

export interface Spread {
  readonly mean: number;
  readonly most: number;
}

/** Nodes that are gone, and that somebody who runs still lists. */
function deadListed(mesh: SimulatedMesh): number {
  const dead = mesh.nodes.filter(({ alive }) => !alive);
  return mesh.alive.reduce((sum, { state }) => sum + dead.filter(({ id }) => state.peers.has(id)).length, 0);
}

/** @param say told what is done, for runs that take long */
export function simulate(count: number, seed: number, say: (text: string) => void = () => undefined): readonly Phase[] {
  const mesh = new SimulatedMesh({ seed });
  const phases: Phase[] = [];
  const phase = (name: string, run: () => number | undefined): void => {
    for (const node of mesh.nodes) Object.assign(node, { sent: 0, sentBytes: 0, dials: 0 });
    const tookMs = run();
    const { alive } = mesh;
    phases.push({
      name,
      tookMs,
      messages: spread(alive, ({ sent }) => sent),
      kilobytes: spread(alive, ({ sentBytes }) => sentBytes / 1_000),
      dials: spread(alive, ({ dials }) => dials),
    });
    say(`${count} nodes: ${name}`);
  };
  const minute = 60_000;
  phase("join within a minute, then know one another", () => {
    const first = mesh.add([]);
    for (let added = 1; added < count; added += 1) {
      mesh.add([first]);
      mesh.run(minute / count);
    }
    return mesh.runUntil(() => mesh.isComplete(), 10 * minute);
  });
  phase("ten quiet minutes", () => {
    mesh.run(10 * minute);
    return 10 * minute;
  });
  phase("30 % vanish: no link to them is left", () => {
    for (const node of mesh.nodes) if (node.index > 0 && mesh.chance() < 0.3) mesh.kill(node);
    return mesh.runUntil(() => mesh.alive.every((node) => isLinkedWithLiving(mesh, node)), 5 * minute);
  });
  phase("nobody lists them any more", () => mesh.runUntil(() => deadListed(mesh) === 0, 90 * minute, 15_000));
  phase("90 s in two halves", () => {
    mesh.partition(({ index }) => index % 2);
    mesh.run(1.5 * minute);
    return 1.5 * minute;
  });
  phase("healed: everybody is reached again", () => {
    mesh.heal();
    return mesh.runUntil(() => mesh.isComplete() && isOne(mesh), 10 * minute);
  });
  return phases;
}

function isLinkedWithLiving(mesh: SimulatedMesh, { state }: SimulatedNode): boolean {
  return mesh.nodes.every(({ id, alive }) => alive || state.contacts.get(id)?.link === undefined);
}

/** Whether the links of the running nodes hold them together. */
export function isOne(mesh: SimulatedMesh): boolean {
  const [first] = mesh.alive;
  if (!first) return true;
  const reached = new Set([first.id]);
  const open = [first];
  for (let node = open.pop(); node; node = open.pop()) {
    for (const { ends } of node.connections.values()) {
      for (const end of ends) {
        if (!end.alive || end.part !== node.part || reached.has(end.id)) continue;
        reached.add(end.id);
        open.push(end);
      }
    }
  }
  return reached.size === mesh.alive.length;
}

function spread(nodes: readonly SimulatedNode[], of: (node: SimulatedNode) => number): Spread {
  const values = nodes.map(of);
  return { mean: values.reduce((sum, value) => sum + value, 0) / values.length, most: Math.max(...values) };
}

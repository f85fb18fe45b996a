// What more peers cost a node: the real membership rules on a clock of their own (test/support/simulated-mesh.ts), so it runs only as
// bundled.mjs makes it. A process of its own: {peers, joinMs, quietMs} over IPC lets so many nodes join and live on for a while,
// and is answered with the CPU time of one of them.
import { SimulatedMesh } from "../test/support/simulated-mesh.ts";

process.on("message", ({ peers, joinMs, quietMs }) => {
  const before = process.cpuUsage();
  const mesh = new SimulatedMesh({ seed: 1 });
  const first = mesh.add([]);
  for (let added = 1; added < peers; added += 1) {
    mesh.add([first]);
    mesh.run(joinMs / peers);
  }
  mesh.run(quietMs);
  if (!mesh.isComplete()) return process.send({ error: `not all of ${peers} nodes know each other` });
  const { user, system } = process.cpuUsage(before);
  process.send({ figures: { cpuMs: (user + system) / 1_000 / peers } });
});
process.on("disconnect", () => process.exit());

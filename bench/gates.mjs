// What every run must show: this table is the promise, judge.mjs holds runs to it. Each row is a median of a figure (figures.mjs), of
// a hop, a process or a size; with `than` it is held to so many times the same figure of that one, and `plus` beside it.

export const gates = [
  // 1. time to first token
  gate(1, "firstTokenAddedMs", "direct", { most: 2.2, than: "floor" }),
  gate(1, "firstTokenAddedMs", "direct", { most: 0.2, than: "peer" }),
  gate(1, "firstTokenAddedMs", "iroh", { most: 5, than: "floor" }),
  gate(1, "firstTokenAddedMs", "relay", { most: 8, than: "floor" }),
  // 2. requests
  gate(2, "requests32", "direct", { least: 0.33, than: "floor" }),
  gate(2, "requests32", "direct", { least: 3, than: "peer" }),
  gate(2, "requests32", "iroh", { least: 1, than: "peer" }),
  // 3. 20 streams at a pace of 5 ms
  gate(3, "tokenDelay20Us", "direct", { most: 2.2, than: "floor" }),
  gate(3, "cpuPerTokenUs", "direct", { most: 2, than: "floor" }),
  // 4. 8 MiB
  gate(4, "uploadMbs", "direct", { least: 10, than: "iroh" }),
  gate(4, "downloadMbs", "direct", { least: 10, than: "iroh" }),
  gate(4, "uploadMbs", "direct", { least: 0.1, than: "tls" }),
  gate(4, "downloadMbs", "direct", { least: 0.25, than: "tls" }),
  // 5. 500 slow streams
  gate(5, "memoryAboveIdleMb", "client", { most: 100 }),
  gate(5, "memoryAboveIdleMb", "host", { most: 100 }),
  gate(5, "slowTokenDelayP99Ms", "direct", { most: 3, than: "floor" }),
  // 6. start to ready
  gate(6, "startMs", "client", { most: 1.5, than: "node", plus: 400 }),
  gate(6, "startMs", "version", { most: 1.5, than: "node", plus: 30 }),
  // 7. cost grows as it should
  ...doublings("cpuOfStreamsMs", [10, 20, 40, 80]),
  ...doublings("cpuOfUploadMs", [1, 2, 4, 8]),
  ...doublings("cpuOfDownloadMs", [1, 2, 4, 8]),
  ...doublings("cpuOfPeersMs", [25, 50, 100, 200]),
];

function gate(must, figure, whose, limit) {
  return { must, figure, whose, ...limit };
}

/** Growth is a ratio of two noisy numbers close to its limit: it gets the noise of its run on top. */
function doublings(figure, sizes) {
  const steps = sizes.slice(1).map((size, index) => [size, sizes[index]]);
  return steps.map(([size, half]) => gate(7, figure, String(size), { most: 2, than: String(half), noisy: true }));
}

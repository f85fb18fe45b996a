// Every figure of a run: what it is called on the page and in its unit. Whose it is (a hop, a process, a size) is a name beside it.

export const figures = {
  firstTokenMs: { title: "time to first token", unit: "ms" },
  firstTokenP99Ms: { title: "time to first token, p99", unit: "ms" },
  firstTokenAddedMs: { title: "time to first token, added to the engine's", unit: "ms" },
  requests1: { title: "requests, one in flight", unit: "/s" },
  requests32: { title: "requests, 32 in flight", unit: "/s" },
  requests128: { title: "requests, 128 in flight", unit: "/s" },
  request32P99Ms: { title: "a request with 32 in flight, p99", unit: "ms" },
  cpuPerRequestUs: { title: "CPU of a request", unit: "µs" },
  streams32: { title: "streams of 20 tokens, 32 in flight", unit: "/s" },
  tokenDelay1Us: { title: "delay of a token, 1 stream", unit: "µs" },
  tokenDelay20Us: { title: "delay of a token, 20 streams", unit: "µs" },
  tokenDelay20P99Us: { title: "delay of a token, 20 streams, p99", unit: "µs" },
  cpuPerTokenUs: { title: "CPU of a token, 20 streams", unit: "µs" },
  uploadMbs: { title: "upload of 8 MiB", unit: "MB/s" },
  downloadMbs: { title: "download of 8 MiB", unit: "MB/s" },
  uploadCpuNs: { title: "CPU of an uploaded byte", unit: "ns" },
  downloadCpuNs: { title: "CPU of a downloaded byte", unit: "ns" },
  memoryIdleMb: { title: "resident memory, idle", unit: "MB" },
  memoryStreamsMb: { title: "resident memory, 500 slow streams", unit: "MB" },
  memoryAboveIdleMb: { title: "memory above idle, 500 slow streams", unit: "MB" },
  slowTokenDelayMs: { title: "delay of a token, 500 slow streams", unit: "ms" },
  slowTokenDelayP99Ms: { title: "delay of a token, 500 slow streams, p99", unit: "ms" },
  startMs: { title: "start", unit: "ms" },
  cpuOfStreamsMs: { title: "CPU of so many streams at a 20 ms pace", unit: "ms" },
  cpuOfUploadMs: { title: "CPU of an upload of so many MiB", unit: "ms" },
  cpuOfDownloadMs: { title: "CPU of a download of so many MiB", unit: "ms" },
  cpuOfPeersMs: { title: "CPU of a node among so many peers, simulated", unit: "ms" },
};

/** The figures that belong to hops, and are one table. */
export const hopFigures = Object.keys(figures).filter((name) => !/^(memory|slowToken|start|cpuOf)/.test(name));

/** Three digits that count, as people write numbers: 24.8, 0.31, 12 300. */
export function shown(value) {
  if (value === undefined || value === null || Number.isNaN(value)) return "-";
  const size = Math.abs(value);
  if (size >= 10_000) return Math.round(value / 100) * 100 >= 0 ? grouped(Math.round(value / 100) * 100) : "-";
  if (size >= 100) return grouped(Math.round(value));
  return size >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function grouped(value) {
  return String(value).replaceAll(/\B(?=(?:\d{3})+$)/g, " ");
}

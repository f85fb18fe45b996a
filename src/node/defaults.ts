/** Numbers a node starts with, each with its unit and reason. Bounds of the wire are in wire/limits.ts. */

export const defaults = {
  /** OpenAI surface: the port that mesh-llm uses, so that a client's settings stay the same. */
  apiPort: 9337,
  /** Console and admin API, as in mesh-llm. */
  consolePort: 3131,
  /** QUIC socket: all interfaces, a port of the system's choice. */
  bind: "0.0.0.0:0",

  // asking
  /** Direct connection to a host before a relay is tried, ms: a few lost packets, not a person's patience. */
  dialMs: 3_000,
  /** A relay's answer, ms: its own dial to the host and the way back. */
  relayMs: 6_000,

  // answering
  /** First byte of a request after its stream was opened, ms. */
  firstByteMs: 15_000,
  /** A whole request, ms: 96 MiB over a connection of 1 MB/s. */
  requestMs: 120_000,
  /** Exchanges answered at a time, in all and per asker. */
  exchangesTotal: 512,
  exchangesPerAsker: 256,
  /** Marks of seen envelopes (two a request): 600 s at 150 requests a second, about 30 MB. */
  seenTotal: 200_000,
  seenPerAsker: 50_000,

  // relaying
  /** Streams carried at a time, in all and per asker. */
  relayStreamsTotal: 256,
  relayStreamsPerAsker: 128,

  /** Silence on a carried stream, ms: no living host is silent for longer than a few seconds. */
  relayIdleMs: 120_000,

  // self-description
  /** A record is signed anew this often, ms: well inside its validity of one hour. */
  recordRefreshMs: 900_000,
  /** How often it is looked whether keys or record are due, ms: soon after a machine wakes. */
  recordCheckMs: 20_000,

  // stopping
  /** Exchanges may finish for so long after the first SIGTERM, ms. */
  drainMs: 30_000,
  /** One attempt to join at start, ms, before the node is ready without it. */
  joinMs: 5_000,
} as const;

/** Numbers a node starts with, each with its unit and reason. Bounds of the wire are in wire/limits.ts. */

export const defaults = {
  /** OpenAI surface: the port that mesh-llm uses, so that a client's settings stay the same. */
  apiPort: 9337,
  /** Console and admin API, as in mesh-llm. */
  consolePort: 3131,
  /**
   * Those who follow what changes: pages and commands of one person. A status twice a second is as much as anybody can see;
   * every second it is looked for what nothing tells of. Half a minute of exchanges may wait for a page that is slow.
   */
  events: { listeners: 16, waiting: 64, aliveMs: 15_000, unreadMs: 60_000, everyMs: 500, lookMs: 1_000 },
  /** Log entries in memory, about 200 bytes each, and those who follow them. */
  logRing: { entries: 1_000, listeners: 16, waiting: 1_000, aliveMs: 15_000, unreadMs: 60_000 },
  /** QUIC socket: all interfaces, a port of the system's choice. */
  bind: "0.0.0.0:0",

  // the API port
  /** Exchanges of callers on this machine at a time: far above what any engine runs, far below what memory holds. */
  localExchanges: 1_024,
  /** Request bodies that are being read at a time, bytes: eight of the largest. */
  bodyBytesTotal: 536_870_912,
  /**
   * Answers that `previous_response_id` can go on from, in memory only: a day's work of a few people, a handful of images
   * among it. Every minute it is looked for those that are too old.
   */
  responses: { entries: 1_000, bytes: 134_217_728, ageMs: 21_600_000, lookMs: 60_000 },
  /** A request's head, ms: it comes in one packet. */
  headMs: 15_000,
  /** A whole request body, ms: 64 MiB over 5 Mbit/s. */
  bodyMs: 120_000,
  /** Longest pause inside a request body, ms. */
  bodyPauseMs: 20_000,
  /** An idle connection is kept so long, ms. */
  keepAliveMs: 60_000,

  // asking
  /** Direct connection to a host before a relay is tried, ms: a few lost packets, not a person's patience. */
  dialMs: 3_000,
  /** A relay's answer, ms: its own dial to the host and the way back. */
  relayMs: 4_000,
  /** Looking for a way to a host, ms, all hosts and relays together: a dead mesh is told within 6 s. */
  pathMs: 5_000,

  // answering
  /** First byte of a request after its stream was opened, ms. */
  firstByteMs: 15_000,
  /** A whole request, ms: 96 MiB over a connection of 1 MB/s. */
  requestMs: 120_000,
  /** Exchanges that our engines answer at a time, in all (--max-running) and per asker. */
  exchangesTotal: 512,
  exchangesPerAsker: 256,
  /** Exchanges that wait for a place there, in all (--max-queued) and per asker. */
  queuedTotal: 256,
  queuedPerAsker: 128,
  /** Longest wait for a place, ms: a client's patience is ten minutes, and another host may be free. */
  queueMs: 60_000,
  /** Exchange streams at a time, in all and per connection's peer, a relay for one; counted before anything is read. */
  streamsTotal: 1_024,
  streamsPerPeer: 512,
  /** Bytes of requests held at a time, in all and per connection's peer: a handful of the largest. */
  requestBytesTotal: 536_870_912,
  requestBytesPerPeer: 402_653_184,
  /**
   * Marks of seen envelopes (two a request), in all and per asker: 61 MB at the fullest, nothing while nobody asks. One
   * asker may send 1,500 requests a second for 600 s, and one whose clock is right for ever: its marks last half as long.
   * It has half of all, so that it cannot take the room of others.
   */
  seenTotal: 4_000_000,
  seenPerAsker: 2_000_000,

  // relaying
  /** Streams carried at a time (--relay-streams); one asker gets half of them. */
  relayStreamsTotal: 256,
  /**
   * Megabytes carried in a second (--relay-rate), both directions together; one asker gets half: far above what answers
   * need, so that it slows down nobody but who fills lines, and above the 8 MB/s that one connection manages.
   */
  relayRate: 16,
  /** Askers whose rate is remembered: as many as may hold a stream, and as many again. */
  relayAskers: 1_024,
  /** All ways of a relay to a target together, ms: its answer must come within relayMs of the asker. */
  relayReachMs: 3_500,
  /** Silence on a carried stream, ms: no living host is silent for longer than a few seconds. */
  relayIdleMs: 120_000,

  // self-description
  /** A record is signed anew this often, ms: well inside its validity of one hour. */
  recordRefreshMs: 900_000,
  /** How often it is looked whether keys or record are due, or the load has changed, ms: choosing wants fresh news. */
  recordCheckMs: 2_000,
  /** How long a look at the own process counts as one of now, ms: it reads files of all threads, and stands in everybody's way. */
  postureLookMs: 1_000,

  // known builds
  /** Longest that a start waits for the addresses of lists, ms: until they answer, what is on disk counts. */
  firstBuildListsMs: 3_000,

  // owners
  /** A claim that a node signs for itself, and how long before its end it signs the next, ms (protocol.md §10). */
  claimLifeMs: 604_800_000,
  claimRenewMs: 129_600_000,
  /** A key that could not sign is tried again after so long, ms: somebody has to bring it back. */
  claimRetryMs: 60_000,
  /** Nodes whose claims are remembered, as shown and as heard: as many as the largest mesh has; 2 KiB each at most. */
  ownersKept: 4_096,

  // evidence
  /** Evidence is made anew this often, ms: twice inside the 660 s for which others take it (protocol.md §8.5). */
  evidenceRefreshMs: 300_000,
  /** How old evidence of others may be, and how far its time may lie ahead of ours, ms: as `sealmesh verify` takes it. */
  evidenceMaxAgeMs: 660_000,
  evidenceAheadMs: 30_000,
  /** A host whose proof is needed is challenged again this often, ms: with every heartbeat. */
  challengeIntervalMs: 60_000,
  /** One piece of evidence, ms: a TPM takes a second or two for its keys. */
  evidenceMs: 20_000,
  /** Hardware that could not make a piece is asked again after so long, ms. */
  evidenceRetryMs: 15_000,
  /** A node's start waits so long for its first evidence, ms; what takes longer comes later. */
  firstEvidenceMs: 3_000,
  /** A new inference key waits so long for evidence before it is published without, ms; the old one opens for 15 minutes. */
  evidencePatienceMs: 60_000,
  /** One question to a host about its evidence, all ways together, ms: hardware that hangs takes a host four seconds to say so. */
  attestMs: 10_000,
  /** A fresh piece for somebody who waits for it, ms; a collector that takes longer shows what it has. */
  evidenceFreshMs: 3_000,
  /** Signatures over one challenge, and the answer where a key is kept, ms: each a second or two on a slow TPM. */
  challengeMs: 4_000,
  residenceMs: 5_000,
  /**
   * Challenges and questions for evidence of peers: a peer that verifies us asks three things at first and two a minute
   * later on, and a relay asks for many of them. Hardware does a few of them a second.
   */
  attestAnswering: {
    rate: { perHolder: { burst: 20, perSecond: 1 }, total: { burst: 100, perSecond: 20 }, holders: 1_024 },
    places: { total: 32, perHolder: 4 },
  },
  /** The same through one relay, behind which there may be dozens of members. */
  attestRelayed: {
    rate: { perHolder: { burst: 100, perSecond: 10 }, total: { burst: 200, perSecond: 20 }, holders: 256 },
    places: { total: 32, perHolder: 16 },
  },
  /** What one member may ask of one host through us: a tenth of what that host grants us. Each costs two small frames. */
  attestCarrying: {
    rate: { perHolder: { burst: 20, perSecond: 1 }, total: { burst: 500, perSecond: 100 }, holders: 4_096 },
    places: { total: 128, perHolder: 4 },
  },
  /**
   * Frames of these streams, ms: one small frame over a bad connection; our own answer, longer than hardware gets for it;
   * and somebody else's answer, still longer.
   */
  attestTiming: { frameMs: 10_000, answerMs: 6_000, carryMs: 8_000 },

  /** How often it is looked whether what runs has changed on disk, ms: half a second of one core each time. */
  measureLookMs: 300_000,

  // finding meshes
  /** Where listings are told and looked for unless others are named: as mesh-llm has it (protocol.md §9.4). */
  nostrRelays: [
    "wss://relay.damus.io",
    "wss://nos.lol",
    "wss://relay.nostr.band",
    "wss://nostr.land",
    "wss://nostr.wine",
  ],
  /** Nostr relays of one node: each is asked at every look. */
  nostrRelaysMost: 10,
  /** One look, ms: as mesh-llm's (protocol.md §9.4); on a local network answers come within a second. */
  findMs: 5_000,
  /** A node's start waits so long for a mesh to be found, ms: one look and one or two dials. */
  firstFindMs: 12_000,
  /** One dial to a mesh that was found, ms. */
  foundJoinMs: 6_000,
  /** How often it is looked whether something is due, ms; news of a listing are told at least so far apart, ms. */
  findingTickMs: 500,
  listingNewsMs: 10_000,
  // admission
  /**
   * Invites: grants of one node and nodes admitted by them, kept at most; 10,000 admissions are a megabyte on disk. Of one that
   * was taken back a few are kept, to be shown. One that
   * admitted nobody is kept so long after its end, ms, that its operator can still see what it was.
   */
  invites: { grants: 1_000, admissions: 10_000, revokedShown: 20, keepExpiredMs: 2_592_000_000 },
  /** An invite ends after so long, ms, unless asked for otherwise; and the longest that can be asked for. */
  inviteMs: 604_800_000,
  inviteMaxMs: 31_536_000_000,
  /** The invite that a node shows by itself is made anew when less than this is left of it, ms. */
  standingInviteLeftMs: 86_400_000,
  /** A credential ends after so long, ms, or with that of the member that gave it: it is ended by taking the invite back. */
  credentialMs: 315_360_000_000,
  /** Grants of others that they took back, in all and per member; 4,096 are half a megabyte on disk. */
  revocations: { total: 4_096, perIssuer: 256 },
  /** Credentials that were checked and are kept, so that gossip costs no signatures: more than there are peers. */
  credentialsChecked: 4_096,
  /** Links of credentials whose signature held: those of one member's guests are alike but for the last. A megabyte. */
  linksChecked: 8_192,
  /** Meshes that are remembered, so that going back to one needs no new invite. */
  meshesKept: 16,
  /** Strangers that want to be admitted: each needs a few signatures of ours, and a write to disk. */
  admissionRate: { perHolder: { burst: 5, perSecond: 0.1 }, total: { burst: 50, perSecond: 10 }, holders: 4_096 },
  /** Between attempts to be admitted while the issuer of the invite is away, ms: first and longest. */
  admissionRetryMs: [2_000, 15_000],
  /** One frame of an admission, ms, and the issuer's answer, which may wait for its disk. */
  admissionFrameMs: 10_000,
  admissionAnswerMs: 10_000,

  // stopping
  /** Exchanges may finish for so long after the first SIGTERM, ms. */
  drainMs: 30_000,
  /** One attempt to join at start, ms, before the node is ready without it. */
  joinMs: 5_000,
} as const;

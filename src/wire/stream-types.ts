/**
 * First byte of every stream, by ALPN. Pure numbers: what follows the byte is described beside its codec (gossip.ts,
 * record.ts, relay.ts, envelope.ts). Retired and unserved numbers stay listed, so that none is used again.
 */

/** ALPN "mesh-llm/1" (protocol.md §2). A stream that ends before its byte is skipped; an unknown byte is dropped. */
export const meshStreams = {
  /** u32 LE length | GossipFrame, both ways. Served before gossip. */
  gossip: 0x01,
  /** Retired: raw TCP to an rpc-server in 0.65.0. Sent to a later node it ends that node's whole dispatcher. */
  retiredTunnel: 0x02,
  /** frame TunnelMap, no reply. Not served. */
  tunnelMap: 0x03,
  /** HTTP/1.1 bytes, or 0xE1 and an envelope. */
  http: 0x04,
  /** frame RouteTableRequest -> frame RouteTable. Served before gossip. */
  routes: 0x05,
  /** frame PeerDown, no reply. */
  peerDown: 0x06,
  /** frame PeerLeaving, no reply. */
  peerLeaving: 0x07,
  /** Not served: plugin frames. */
  plugin: 0x08,
  /** Not served: plugin bulk frames. */
  pluginBulk: 0x09,
  /** Never used by anyone. */
  reserved: 0x0a,
  /** Not served: owner's configuration (moved to its own ALPN in 0.66). */
  configSubscribe: 0x0b,
  /** Not served. */
  configPush: 0x0c,
  /** Not served: 0.66 and later. */
  subprotocol: 0x0d,
  /** Not served: 0.76 and later. */
  directPath: 0x0e,
  /** Not served: 0.76 and later, TDX evidence as JSON. */
  attestation: 0x0f,
} as const;

/** ALPN "sealmesh/1" (wire.md §3). */
export const sealStreams = {
  /** frame RecordRequest -> frame RecordReply. */
  record: 0x01,
  /** frame RelayOpen -> frame RelayReply -> envelope bytes both ways. */
  relay: 0x02,
  /** What a relay opens at the host: frame RelayedOpen -> envelope bytes both ways. */
  relayed: 0x03,
  /** frame ChallengeRequest -> frame ChallengeReply, both with sealed bytes. */
  challenge: 0x04,
  /** frame EvidenceRequest -> frame EvidenceReply. */
  evidence: 0x05,
  /** Admission to a restricted mesh. */
  admission: 0x06,
  /** Kept free for notices of leaving and updating. */
  notice: 0x07,
  /** Carries a session of the direct path whose TLS connection broke; the transport's own business. */
  direct: 0x08,
} as const;

/** First byte of a sealed request (after 0x04) and of a sealed response. No HTTP method starts with it. */
export const envelopeByte = 0xe1;

/** `gen` of every "mesh-llm/1" control message; anything else is refused. */
export const generation = 1;

/** What a program says of its node, client or host alike. Types alone: they are what the package shows. */
/** Where the node tells what it does: events with names, numbers and codes, never content. */
export interface Log {
  write(level: "debug" | "info" | "warn" | "error", entry: LogEntry): void;
}

export interface LogEntry {
  /** Such as "peer-joined". Which there are, and their other fields, may change with any release. */
  readonly event: string;
  readonly [field: string]: unknown;
}

/** What a host's evidence amounts to, from the least to the most (docs/attestation.md). */
export type Tier = "none" | "key" | "pinned" | "vendor" | "measured";

/** Which mesh, and as whom. */
export interface JoinOptions {
  /** Invites, as `sealmesh invite` prints them; one is enough. None is needed in a `dataDir` that was a member before. */
  readonly join?: string | readonly string[];
  /** Looks for a mesh in listings and on the local network: one of this name; true: one for everybody. @default false */
  readonly discover?: string | boolean;
  /**
   * Directory of the node's identity, pins and memberships: with it the program is the same member after a restart, and a
   * changed key of a host is noticed. One node at a time. @default a temporary one, which goes with the node
   */
  readonly dataDir?: string;
  /** Of this node, for people: up to 64 letters, digits, blanks, dots, dashes and underscores. */
  readonly name?: string;
  /** What the node does. @default nobody is told */
  readonly log?: Log;
  /** Gives up starting. Once the node runs it does nothing more. */
  readonly signal?: AbortSignal;
}

/** How a node is reached and reaches others. */
export interface MemberOptions extends JoinOptions {
  /** UDP socket, "host:port"; port 0 picks one. @default "0.0.0.0:0" */
  readonly bind?: string;
  /** What others are told in its place, such as a router's address and port. */
  readonly advertise?: readonly string[];
  /** iroh relays, which help to connect through routers: "none", "default" (the public ones), or URLs. @default "none" */
  readonly irohRelays?: "none" | "default" | readonly string[];
  /** Whether this process carries sealed bytes between other members. @default false */
  readonly relayTraffic?: boolean;
}

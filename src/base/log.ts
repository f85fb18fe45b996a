/**
 * The log: a typed catalogue of events whose fields are names, numbers and codes. There is no field for content, so a
 * prompt, an answer or a key cannot be logged.
 */
import type { EndpointId } from "./brand.ts";
import type { ErrorCode } from "./errors.ts";

export type LogEvent =
  | { readonly event: "node-started"; readonly endpoint_id: EndpointId; readonly version: string }
  | { readonly event: "node-draining"; readonly exchanges: number }
  | { readonly event: "node-stopped" }
  | { readonly event: "peer-joined"; readonly peer: EndpointId; readonly role: string; readonly sealed: boolean }
  | { readonly event: "peer-left"; readonly peer: EndpointId; readonly reason: "left" | "lost" | "expired" }
  /** `left_out`: so many more, of this peer or of others, had no line. */
  | {
      readonly event: "peer-refused";
      readonly peer: EndpointId;
      readonly code: ErrorCode;
      readonly what: string;
      readonly left_out?: number;
    }
  | { readonly event: "join-failed"; readonly peer: EndpointId; readonly code: ErrorCode; readonly what: string }
  /** Nobody's mesh was found, so that this node began one. */
  | { readonly event: "mesh-created"; readonly mesh: string }
  | { readonly event: "mesh-found"; readonly peer: EndpointId; readonly source: "nostr" | "lan" }
  /** Looked for, and looked for again from now on without a word. */
  | { readonly event: "mesh-not-found" }
  | {
      readonly event: "mesh-not-joined";
      readonly peer: EndpointId;
      readonly why: "needs-invite" | "demands-more";
    }
  | { readonly event: "mesh-listed"; readonly source: "nostr" | "lan"; readonly invite_only: boolean }
  | {
      readonly event: "mesh-not-listed";
      readonly source: "nostr" | "lan";
      readonly code: ErrorCode;
      readonly what: string;
    }
  /** Whoever finds the mesh is a member of it. */
  | { readonly event: "mesh-findable"; readonly mesh: string }
  /** Whoever has this node's address is a member. */
  | { readonly event: "mesh-open" }
  /** We were admitted. */
  | { readonly event: "admitted"; readonly mesh: string; readonly role: string; readonly by: EndpointId }
  /** We admitted somebody; `grant` is an id, and no secret. */
  | { readonly event: "member-admitted"; readonly peer: EndpointId; readonly role: string; readonly grant: string }
  | {
      readonly event: "admission-refused";
      readonly peer: EndpointId;
      readonly reason: string;
      readonly left_out?: number;
    }
  | { readonly event: "invite-revoked"; readonly grant: string; readonly admitted: number }
  | { readonly event: "record-conflict"; readonly peer: EndpointId }
  | {
      readonly event: "build-list-taken";
      readonly signer: string;
      readonly seq: string;
      readonly origin: "file" | "url" | "gossip" | "disk";
      readonly builds: number;
      readonly revoked: number;
    }
  | { readonly event: "build-list-not-in-force"; readonly signer: string; readonly seq: string }
  | {
      readonly event: "build-list-refused";
      readonly origin: "file" | "url" | "gossip" | "disk";
      /** File, address or endpoint id. */
      readonly from: string;
      readonly reason: string;
      readonly what: string;
    }
  | { readonly event: "build-list-not-read"; readonly code: ErrorCode; readonly what: string }
  | {
      readonly event: "build-measured";
      /** 64 hex digits, both. */
      readonly build: string;
      readonly runtime: string;
      readonly files: number;
      readonly ms: number;
      /** First of what could not be measured, or "". */
      readonly what: string;
    }
  | { readonly event: "build-changed"; readonly files: number; readonly what: string }
  | { readonly event: "host-pinned"; readonly peer: EndpointId; readonly kind: string; readonly key: string }
  /** By the operator, through the console port. */
  | { readonly event: "pin-confirmed"; readonly peer: EndpointId; readonly kind: string; readonly key: string }
  | { readonly event: "pins-forgotten"; readonly peer: EndpointId; readonly pins: number }
  | {
      readonly event: "host-distrusted";
      readonly peer: EndpointId;
      readonly reason: "challenge-missed" | "challenge-failed" | "pin-changed";
    }
  | { readonly event: "host-trusted"; readonly peer: EndpointId }
  | { readonly event: "claim-signed"; readonly owner: string; readonly cert: string; readonly expires: string }
  | { readonly event: "claim-not-renewed"; readonly code: ErrorCode; readonly what: string }
  | { readonly event: "owners-not-read"; readonly code: ErrorCode; readonly what: string }
  | { readonly event: "key-rotated"; readonly fingerprint: string }
  | {
      readonly event: "exchange-asked";
      readonly id: string;
      readonly model: string;
      readonly status: number;
      readonly host?: EndpointId;
      readonly sealed: string;
      readonly route: string;
      readonly attempts: number;
      readonly ms: number;
      readonly code?: ErrorCode;
    }
  | { readonly event: "evidence-not-made"; readonly kind: string; readonly code: ErrorCode; readonly what: string }
  | { readonly event: "state-not-kept"; readonly code: ErrorCode; readonly what: string }
  | { readonly event: "exchange-answered"; readonly peer: EndpointId; readonly whole: boolean; readonly ms: number }
  | { readonly event: "exchange-refused"; readonly peer: EndpointId; readonly code: ErrorCode }
  | {
      readonly event: "relay-carried";
      readonly from: EndpointId;
      readonly to: EndpointId;
      readonly bytes: number;
      readonly ms: number;
    }
  | { readonly event: "engine-up"; readonly engine: string; readonly models: readonly string[] }
  | { readonly event: "engine-down"; readonly engine: string; readonly code: ErrorCode; readonly what: string }
  | { readonly event: "engine-loading"; readonly engine: string; readonly percent: number };

export type LogLevel = "debug" | "info" | "warn" | "error";

/** Where events go. `what` fields are our own sentences, made from table codes and numbers. */
export interface Log {
  write(level: LogLevel, event: LogEvent): void;
}

export const silentLog: Log = { write: () => undefined };

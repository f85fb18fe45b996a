/** Peers as /api/status tells them, for tests of what the console makes of them. */
import { endpointId } from "../../src/base/brand.ts";
import type { PeerStatus } from "../../src/node/status.ts";

export interface ConsolePeer {
  /** @default "host" */
  readonly role?: "host" | "client" | "relay";
  /** Number of the relay that leads to it; undefined: it is reached directly. */
  readonly relayed?: number | undefined;
  readonly refused?: boolean;
  /** @default one of its own, for a host */
  readonly models?: readonly string[];
}

const idOf = (number: number): PeerStatus["endpoint_id"] => endpointId(number.toString(16).padStart(64, "0"));

export function consolePeer(number: number, options: ConsolePeer): PeerStatus {
  const { role = "host", relayed, refused = false } = options;
  const models = role === "host" ? (options.models ?? [`model-${number}`]) : [];
  return {
    id: idOf(number).slice(0, 10),
    endpoint_id: idOf(number),
    owner: { status: "unsigned", verified: false },
    role: role === "host" ? "Host" : role === "client" ? "Client" : "Worker",
    state: role === "host" ? "serving" : "client",
    hostname: `node-${number}`,
    version: "0.65.1",
    models,
    hosted_models: models,
    hosted_models_known: true,
    serving_models: models,
    available_models: [],
    requested_models: [],
    model_states: models.map((id) => ({ id, context_length: 4_096, busy: false, queue: 0 })),
    rtt_ms: 2,
    path: "tls",
    connected: relayed === undefined,
    sealed: refused ? "refused" : "sealed",
    route: relayed === undefined ? "direct" : "relay",
    via: relayed === undefined ? null : idOf(relayed),
    relays_for_others: role === "relay",
    running: 0,
    inference_key: "ab".repeat(8),
    attestation: {
      tier: refused ? "none" : "key",
      kind: null,
      fingerprint: null,
      challenge: null,
      pin: null,
      allowed: !refused,
      rule: refused ? "no-evidence" : null,
      refusal: refused ? "It has shown no evidence." : null,
      why: null,
      evidence: [],
    },
    posture: { standing: "none", said: null, text: null },
    build: null,
  };
}

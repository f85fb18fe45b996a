/** The console port without a node: parts that know nothing, for tests that put one of their own in. */
import { MeshError } from "../../../src/base/errors.ts";
import { silentLog } from "../../../src/base/log.ts";
import { policyStatus } from "../../../src/node/attestation-report.ts";
import { NodeEvents } from "../../../src/node/events.ts";
import { Exchanges } from "../../../src/node/exchanges.ts";
import { type AdminParts, adminApp } from "../../../src/node/http/admin.ts";
import { LogRing } from "../../../src/node/log-ring.ts";
import { Metrics } from "../../../src/node/metrics.ts";
import type { Status } from "../../../src/node/status.ts";
import { openPolicy } from "../../../src/policy/policy.ts";

export const session = "Bearer session";

/** Quick enough for a test that waits for events. */
export const quickEvents = {
  listeners: 2,
  waiting: 4,
  aliveMs: 20,
  unreadMs: 100,
  everyMs: 20,
  lookMs: 10_000,
} as const;

const starting = (): never => {
  throw new MeshError("E_NO_HOST", "this node is still starting");
};

export function adminParts(more: Partial<AdminParts> = {}): AdminParts {
  const status = (): Status => ({ version: "1.2.3", pid: 7 }) as Status;
  return {
    status,
    token: () => "invite",
    invites: starting,
    session: () => ({ allows: (authorization) => authorization === session }),
    exchanges: new Exchanges(),
    metrics: new Metrics("1.2.3", { running: () => 0, queued: () => 0, peers: () => 0 }),
    evidence: () => [],
    attestation: () => Promise.resolve(undefined),
    explain: () => Promise.resolve(undefined),
    policy: () => ({ policy: policyStatus(openPolicy), demanded: [], what_if: false, hosts: [] }),
    pins: starting,
    log: new LogRing(silentLog, { ...quickEvents, entries: 3, now: () => 0 }),
    onStopAsked: undefined,
    events: new NodeEvents({ ...quickEvents, status }),
    ...more,
  };
}

/** Asks such a port, as a program of this machine does. */
export type AskConsole = (path: string, init?: RequestInit) => Promise<Response>;

export function consoleOf(more: Partial<AdminParts> = {}): AskConsole {
  const app = adminApp(adminParts(more));
  return async (path, { headers, ...init } = {}) =>
    app.request(path, { ...init, headers: { host: "localhost", ...Object.fromEntries(new Headers(headers)) } });
}

/**
 * The asker's side of an exchange without a node around it: ask() over a real mesh on the in-memory network, with waits
 * and a clock of a test's own. Its hosts are raw peers.
 */
import { onTestFinished } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { evidenceWindow } from "../../src/attest/evidence.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { signRecord } from "../../src/crypto/record.ts";
import { ask, type Asked, type AskParts, type AskRequest, type AskTiming } from "../../src/exchange.ts";
import { Affinity } from "../../src/mesh/affinity.ts";
import { HostLoad } from "../../src/mesh/choose.ts";
import { Mesh } from "../../src/mesh/mesh.ts";
import { openPolicy } from "../../src/policy/policy.ts";
import { emptyPinBook } from "../../src/policy/pins.ts";
import { Proofs } from "../../src/mesh/proofs.ts";
import { announcedVersion } from "../../src/node/version.ts";
import { alpns, type TransportKind } from "../../src/transport/transport.ts";
import { eventually } from "./mesh.ts";
import type { RawPeer } from "./raw-peer.ts";

export interface Asker {
  readonly parts: AskParts;
  /** Stands still, `aheadMs` behind the asker's start. */
  readonly clock: { aheadMs: number };
  ask(request?: Partial<AskRequest>): Promise<Asked>;
}

/** Short waits: a test that wants one to end waits for it. */
const timing: AskTiming = { dialMs: 500, pathMs: 5_000, relayMs: 500, silenceMs: 250, referenceSilenceMs: 250 };

/** A client that has met these peers. */
export async function askerOf(
  network: TransportKind,
  peers: readonly RawPeer[],
  change: Partial<Pick<AskParts, "route" | "timing" | "roles" | "credential">> = {},
): Promise<Asker> {
  const identity = identityFrom(newIdentitySeed());
  const transport = await network.start({ secretKey: identity.seed, alpns, bind: "127.0.0.1:0" });
  const startMs = Date.now();
  const clock = { aheadMs: 0, now: (): number => startMs + clock.aheadMs };
  const validity = { issuedAtMs: Date.now(), notAfterMs: Date.now() + 3_600_000, keyNotAfterMs: undefined };
  const inferenceKey = generateKeyPair().publicKey;
  const record = signRecord(identity, { seq: 1n, ...validity, inferenceKey, capabilities: [] });
  const refuse = (): Promise<void> => Promise.reject(new Error("a client answers nobody"));
  const mesh = new Mesh({
    transport,
    clock,
    log: silentLog,
    describe: () => ({
      role: "client",
      models: [],
      runtimes: [],
      httpPort: 1,
      hostname: undefined,
      version: announcedVersion,
      record,
    }),
    shown: new Map(),
    onShown: () => undefined,
    onChange: () => undefined,
    handlers: { http: refuse, relayed: refuse },
    rules: { returnMs: [60_000, 60_000] },
  });
  onTestFinished(() => mesh.close());
  mesh.start();
  await Promise.all(peers.map((peer) => mesh.join(peer.transport.address())));
  await eventually("all are met", () => mesh.peers.length >= peers.length);
  const parts: AskParts = {
    mesh,
    identity,
    clock,
    policy: openPolicy,
    proofs: new Proofs({
      self: identity.id,
      path: { mesh, route: "auto", dialMs: 500, ms: 500 },
      clock,
      log: silentLog,
      roots: [],
      ...evidenceWindow,
      challengeIntervalMs: 60_000,
      pins: { book: emptyPinBook, update: () => undefined },
      acceptedKeys: new Set(),
    }),
    route: "auto",
    load: new HostLoad(),
    affinity: new Affinity({ clock }),
    pad: false,
    timing,
    ...change,
  };
  const body = utf8(JSON.stringify({ model: "scripted", messages: [{ role: "user", content: "hi" }] }));
  const request: Omit<AskRequest, "signal"> = {
    method: "POST",
    path: "/v1/chat/completions",
    headers: [["content-type", "application/json"]],
    body,
    model: "scripted",
  };
  return {
    parts,
    clock,
    ask: (more = {}) => ask({ ...request, signal: new AbortController().signal, ...more }, parts),
  };
}

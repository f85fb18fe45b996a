import { expect, it } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import { generateKeyPair } from "../../../src/crypto/box.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../../src/crypto/identity.ts";
import { signRecord, type VerifiedRecord } from "../../../src/crypto/record.ts";
import type { Shown } from "../../../src/mesh/membership.ts";
import { Mesh } from "../../../src/mesh/mesh.ts";
import { memoryNetwork } from "../../../src/transport/memory.ts";
import { alpns } from "../../../src/transport/transport.ts";
import { eventually } from "../../support/mesh.ts";
import { RawPeer } from "../../support/raw-peer.ts";

const key = generateKeyPair().publicKey;

function recordOf(identity: Identity): VerifiedRecord {
  const now = Date.now();
  const validity = { issuedAtMs: now, notAfterMs: now + 60_000, keyNotAfterMs: now + 60_000 };
  return signRecord(identity, { seq: 1n, ...validity, inferenceKey: key, capabilities: [] });
}

// each keeping is a write to disk: one for each of thousands of strangers would stop the node for seconds
it("keeps the keys that one frame shows in one go, and each once", async () => {
  const network = memoryNetwork();
  const identity = identityFrom(newIdentitySeed());
  const kept: ReadonlyMap<EndpointId, Shown>[] = [];
  const refuse = (): Promise<void> => Promise.reject(new Error("not in this test"));
  const transport = await network.start({ secretKey: identity.seed, alpns, bind: "127.0.0.1:0" });
  const mesh = new Mesh({
    transport,
    clock: { now: () => Date.now() },
    log: silentLog,
    describe: () => ({
      role: "worker",
      models: [],
      runtimes: [],
      httpPort: 1,
      hostname: undefined,
      version: "0.65.1",
      record: recordOf(identity),
    }),
    shown: new Map(),
    onShown: (shown) => kept.push(shown),
    onChange: () => undefined,
    handlers: { http: refuse, relayed: refuse },
    meetMentioned: false,
  });
  mesh.start();
  const teller = await RawPeer.start(network);
  const strangers = Array.from({ length: 50 }, () => identityFrom(newIdentitySeed()));
  const entries = strangers.map((stranger) =>
    teller.own({ id: stranger.id, address: undefined, record: recordOf(stranger).bytes }),
  );
  teller.announcements = () => [...entries, teller.own()];
  await teller.meet(transport.address());
  await eventually("the strangers are known", () => mesh.peers.length === 51);
  expect(kept.map(({ size }) => size)).toEqual([51]);
  await teller.meet(transport.address());
  expect(kept).toHaveLength(1);
  await mesh.close();
});

/** A third node replays an older record of a host, whose key may be known to somebody by now; or plays two records against each other. */
import { describe, expect, it } from "vitest";
import { generateKeyPair, type KeyPair } from "../../src/crypto/box.ts";
import type { VerifiedRecord } from "../../src/crypto/record.ts";
import type { TestNode } from "../support/mesh.ts";
import { answerSealed, attackedMesh, call, chatResponse, openAsk, type RawPeer, secret } from "../support/raw-peer.ts";

interface Scene {
  readonly host: RawPeer;
  readonly client: TestNode;
  readonly attacker: RawPeer;
  /** Keys that prompts were sealed to, by name. */
  readonly sealedTo: string[];
  readonly old: KeyPair;
  readonly now: KeyPair;
  /** The attacker shows a record of the host; resolves when the client has taken it in. */
  readonly show: (record: VerifiedRecord) => Promise<void>;
  /** The host shows one on its own connection. */
  readonly showOwn: (record: VerifiedRecord) => Promise<void>;
}

async function scene(): Promise<Scene> {
  const mesh = attackedMesh();
  const host = await mesh.raw({ role: "host", models: ["scripted"] });
  const [old, now] = [generateKeyPair(), generateKeyPair()];
  host.key = now;
  const sealedTo: string[] = [];
  host.handlers.http = async (stream, reader) => {
    const exchange = await openAsk(reader, old, now);
    sealedTo.push(exchange.seal.hostKey === old.publicKey ? "old" : "now");
    await answerSealed(stream, exchange, chatResponse("fine"));
  };
  const attacker = await mesh.raw();
  const client = await mesh.start("client");
  let round = 0;
  const tell = async (teller: RawPeer, record: VerifiedRecord): Promise<void> => {
    round += 1;
    const hostname = `round-${round}`;
    const entry = host.own({ record: record.bytes });
    const entries = teller === host ? [entry] : [entry, teller.own({ hostname })];
    const connection = await teller.dial(client, "mesh-llm/1");
    await teller.gossip(connection, entries); // the answer comes when all has been taken in
    const taken = client.status().peers.find((peer) => peer.endpoint_id === teller.id);
    expect(taken?.connected).toBe(true);
    if (teller === attacker) expect(taken?.hostname).toBe(hostname);
  };
  return {
    host,
    client,
    attacker,
    sealedTo,
    old,
    now,
    show: (record) => tell(attacker, record),
    showOwn: (record) => {
      // what it answers to the client's own gossip, too: a fresh record there would have the highest number of all
      host.announcements = () => [host.own({ record: record.bytes })];
      return tell(host, record);
    },
  };
}

const hour = 3_600_000;

describe("K2: an older record replayed", () => {
  it("K2: the highest number wins, whoever shows which and in whatever order", async () => {
    const { client, host, attacker, sealedTo, old, now, show, showOwn } = await scene();
    const older = host.record({ inferenceKey: old.publicKey });
    const newer = host.record({ inferenceKey: now.publicKey });
    await showOwn(newer);
    await show(older);
    expect((await call(client)).content).toBe("fine");
    await showOwn(older); // the owner's own connection does not go back either
    expect((await call(client)).content).toBe("fine");
    expect(sealedTo).toEqual(["now", "now"]);
    // a newer one is believed from anybody, because its owner signed it
    await show(host.record({ inferenceKey: old.publicKey }));
    await call(client);
    expect(sealedTo.at(-1)).toBe("old");
    expect(attacker.couldRead(secret)).toBe(false);
  });

  it("K2: expired, too early and too long-lived records are refused", async () => {
    const { client, host, sealedTo, old, now, show, showOwn } = await scene();
    await showOwn(host.record({ inferenceKey: now.publicKey }));
    const at = Date.now();
    const inferenceKey = old.publicKey;
    await show(host.record({ inferenceKey, issuedAtMs: at - 2 * hour, notAfterMs: at - hour }));
    await show(host.record({ inferenceKey, issuedAtMs: at + 600_000, notAfterMs: at + hour }));
    await show(host.record({ inferenceKey, notAfterMs: at + 2 * hour }));
    expect((await call(client)).content).toBe("fine");
    expect(sealedTo).toEqual(["now"]);
    const refused = client.events.filter((event) => event.event === "peer-refused" && event.code === "E_WIRE");
    expect(refused).toHaveLength(3);
  });

  it("K2: two records with one number are an alarm; neither is believed until the owner's own connection decides", async () => {
    const { client, host, sealedTo, old, now, show, showOwn } = await scene();
    const first = host.record({ inferenceKey: now.publicKey });
    const second = host.record({ inferenceKey: old.publicKey, seq: first.fields.seq });
    await showOwn(first);
    await show(second);
    expect(client.events.filter(({ event }) => event === "record-conflict")).toHaveLength(1);
    const standing = client.status().peers.find(({ endpoint_id }) => endpoint_id === host.id);
    expect(standing?.sealed).toBe("refused");
    // the client asks the owner itself; as long as its answer does not decide, nothing is sent
    host.handlers.record = async (stream) => stream.abort();
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([503, "refused"]);
    expect(sealedTo).toEqual([]);
    await showOwn(first);
    expect((await call(client)).content).toBe("fine");
    expect(sealedTo).toEqual(["now"]);
    expect(host.couldRead(secret)).toBe(false);
  });
});

/** Somebody recorded envelopes and gets at the host's key later: what was sealed to a key that has ended must be beyond reach. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { equal } from "../../src/base/bytes.ts";
import { InferenceKeys } from "../../src/crypto/inference-keys.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { verifyRecord } from "../../src/crypto/record.ts";
import { defaults } from "../../src/node/defaults.ts";
import { RecordKeeper } from "../../src/node/record-keeper.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { asked, attackedMesh, readAnswer, refusals, sealAsk, sendDirect } from "../support/raw-peer.ts";

const hour = 3_600_000;
const quarter = 900_000;

afterEach(() => vi.restoreAllMocks());

describe("F1: the life of an inference key", () => {
  it("F1: a host opens under the last key during the overlap, and answers under that key", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const asker = await mesh.raw();
    const connection = await asker.meet(host);
    const old = host.keys.current;
    const start = Date.now();
    const clock = vi.spyOn(Date, "now").mockReturnValue(start + hour + 1_000);
    expect(host.keys.advance()).toBe(true);
    expect(equal(host.keys.current.publicKey, old.publicKey)).toBe(false);
    const send = async (key: Uint8Array): Promise<number> => {
      const ask = sealAsk(asker.identity, host.endpointId, key);
      return (await readAnswer(await sendDirect(connection, ask.bytes), ask)).status; // checks the header's key
    };
    expect(await send(old.publicKey)).toBe(200);
    expect(await send(host.keys.current.publicKey)).toBe(200);

    clock.mockReturnValue(old.notAfterMs);
    host.keys.advance();
    expect(old.secretKey.wiped).toBe(true);
    const late = sealAsk(asker.identity, host.endpointId, old.publicKey);
    await expect((await sendDirect(connection, late.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(refusals(host)).toEqual(["E_OPEN"]);
    expect(await send(host.keys.current.publicKey)).toBe(200);
    expect(asked(engine)).toHaveLength(3);
    await engine.close();
  });

  it("F1: at most two keys live, each for an hour and an overlap of more than 660 s, then erased", () => {
    const clock = { ms: 0, now: (): number => clock.ms };
    const keys = new InferenceKeys({ clock });
    const made = [keys.current];
    const bytes = [keys.current.secretKey.bytes];
    for (; clock.ms < 10 * hour; clock.ms += 60_000) {
      if (keys.advance()) {
        made.push(keys.current);
        bytes.push(keys.current.secretKey.bytes);
      }
      expect(keys.opening.length).toBeLessThanOrEqual(2);
      for (const [at, key] of made.entries()) {
        const ended = clock.ms >= key.notAfterMs;
        expect(key.secretKey.wiped).toBe(ended);
        expect(bytes[at]?.every((byte) => byte === 0)).toBe(ended);
        if (!ended) expect(keys.opening).toContain(key);
        expect(key.notAfterMs - key.createdMs).toBe(hour + quarter);
      }
    }
    expect(made.length).toBe(10);
    expect(quarter).toBeGreaterThan(660_000);
  });

  it("F1: a node that slept past everything has erased what ended in its sleep", () => {
    const clock = { ms: 0, now: (): number => clock.ms };
    const keys = new InferenceKeys({ clock });
    const first = keys.current;
    clock.ms = 9 * hour;
    expect(keys.advance()).toBe(true);
    expect(first.secretKey.wiped).toBe(true);
    expect(keys.opening).toEqual([keys.current]);
  });

  it("F1: no key opens after its end, even if the timer that erases it is late", () => {
    const clock = { ms: 0, now: (): number => clock.ms };
    const keys = new InferenceKeys({ clock });
    const first = keys.current;
    clock.ms = hour;
    keys.advance();
    clock.ms = first.notAfterMs + 1;
    expect(keys.opening).not.toContain(first);
  });

  it("F1: the record that carries a key is signed before its first use and never outlives it by name", () => {
    const clock = { ms: 1_800_000_000_000, now: (): number => clock.ms };
    const keys = new InferenceKeys({ clock });
    const identity = identityFrom(newIdentitySeed());
    let last = 0n;
    const nextSeq = (now: number): bigint => (last = last + 1n > BigInt(now) ? last + 1n : BigInt(now));
    const records = new RecordKeeper({
      identity,
      keys,
      clock,
      capabilities: [],
      models: () => [],
      described: () => ({}),
      posture: () => new Uint8Array(),
      nextSeq,
      proven: () => true,
    });
    const end = clock.ms + 5 * hour;
    let before = 0n;
    for (; clock.ms < end; clock.ms += defaults.recordCheckMs) {
      if (!records.advance() && before > 0n) continue;
      const { fields } = verifyRecord(records.current.bytes, identity.id, clock.ms);
      expect(fields.inferenceKey).toEqual(keys.current.publicKey);
      expect(fields.keyNotAfterMs).toBe(keys.current.notAfterMs);
      expect(fields.seq > before).toBe(true);
      before = fields.seq;
    }
  });
});

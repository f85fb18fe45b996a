import { describe, expect, it } from "vitest";
import { InferenceKeys } from "../../../src/crypto/inference-keys.ts";

const hour = 3_600_000;

function keysAt(): { keys: InferenceKeys; clock: { ms: number; now: () => number } } {
  const clock = { ms: 0, now: (): number => clock.ms };
  return { keys: new InferenceKeys({ clock }), clock };
}

describe("inference keys", () => {
  it("F1: rotate hourly, overlap 15 minutes, and are erased then", () => {
    const { keys, clock } = keysAt();
    const first = keys.current;
    clock.ms = hour - 1;
    expect(keys.advance()).toBe(false);
    clock.ms = hour;
    expect(keys.advance()).toBe(true);
    expect(keys.current.publicKey).not.toEqual(first.publicKey);
    expect(keys.opening).toEqual([keys.current, first]);
    clock.ms = first.notAfterMs - 1;
    keys.advance();
    expect(first.secretKey.wiped).toBe(false);
    clock.ms = first.notAfterMs;
    expect(first.notAfterMs - hour).toBeGreaterThan(660_000);
    keys.advance();
    expect(first.secretKey.wiped).toBe(true);
    expect(keys.opening).toEqual([keys.current]);
  });

  it("F1: leave no old key behind after a machine has slept", () => {
    const { keys, clock } = keysAt();
    const first = keys.current;
    clock.ms = 10 * hour;
    expect(keys.advance()).toBe(true);
    expect(first.secretKey.wiped).toBe(true);
    expect(keys.opening).toHaveLength(1);
  });

  it("are gone when the node stops", () => {
    const { keys, clock } = keysAt();
    clock.ms = hour;
    keys.advance();
    const held = keys.opening;
    keys.wipe();
    expect(held.map(({ secretKey }) => secretKey.wiped)).toEqual([true, true]);
  });
});

/** One member sends through a relay as much as it can: it gets its share, nobody else waits, and nothing is lost. */
import { expect, it } from "vitest";
import { relayCodes } from "../../src/wire/relay.ts";
import { limits } from "../../src/wire/limits.ts";
import { eventually } from "../support/mesh.ts";
import { attackedMesh, openRelay } from "../support/raw-peer.ts";

/** Of --relay-rate 1: one asker gets 2 MB at once, and 0.5 MB a second. */
const burstBytes = 2_000_000;
const sentBytes = 2_500_000;

it("E1: who fills the line is slowed down to its rate, others are not, and every byte arrives", async () => {
  const mesh = attackedMesh();
  const relay = await mesh.start("relay", { relayRate: "1" });
  const target = await mesh.raw();
  const greedy = await mesh.raw();
  const modest = await mesh.raw();
  for (const peer of [target, greedy, modest]) await peer.meet(relay);
  const got = new Map<number, number>();
  target.handlers.relayed = async (stream, reader) => {
    await reader.frame(limits.relayFrameBytes);
    const kind = (await reader.readAll(16_000_000, "the envelope")).at(1) ?? 0;
    got.set(kind, performance.now());
    await stream.write(Uint8Array.of(0xe1));
    await stream.finish();
  };
  const started = performance.now();
  const send = async (asker: typeof greedy, kind: number, bytes: number): Promise<void> => {
    const { code, stream } = await openRelay(await asker.dial(relay, "sealmesh/1"), target.id);
    expect(code).toBe(relayCodes.ok);
    const envelope = new Uint8Array(bytes).fill(0xe1, 0, 1).fill(kind, 1, 2);
    await stream.write(envelope);
    await stream.finish();
  };
  const filling = send(greedy, 1, sentBytes);
  await eventually("its burst has passed", () => relay.status().relayed.bytes >= burstBytes);
  await send(modest, 2, 100_000);
  await eventually("the other one's has arrived", () => got.has(2), 700);
  expect(got.has(1)).toBe(false);
  await filling;
  await eventually("everything has arrived", () => relay.status().relayed.streams === 2);
  expect(performance.now() - started).toBeGreaterThan(((sentBytes - burstBytes) / 500_000) * 900);
  expect(relay.status().relayed).toMatchObject({ bytes: sentBytes + 100_000 + 2, broken: 0, refused: 0 });
});

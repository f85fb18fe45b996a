/** Direct path: whoever can cut or hold its TCP connection, while it is made or later, costs no exchange a byte. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { sleep } from "../../src/base/deadline.ts";
import { type DirectPair, directPair, type Door, echo, openDoor, untilPath } from "../support/direct-pair.ts";
import { patternBytes, readToEnd } from "../support/transport-pair.ts";

let pair: DirectPair;
const doors: Door[] = [];

beforeEach(async () => {
  pair = await directPair();
  void echo(pair.far);
});

afterEach(async () => {
  for (const door of doors.splice(0)) door.close();
  await pair.close();
});

/** @param cutAfter as openDoor() */
async function upgradeThrough(cutAfter?: number): Promise<Door> {
  const door = await openDoor(pair.port, cutAfter);
  doors.push(door);
  pair.dialer.takeOffer?.(pair.acceptor.id, pair.offer(door.port));
  return door;
}

/** Sends so many bytes on a new stream and gets them back, in pieces of 50 kB. */
async function exchange(bytes: Uint8Array, each: (sent: number) => unknown = () => undefined): Promise<Uint8Array> {
  const stream = await pair.near.open();
  const reading = readToEnd(stream);
  for (let at = 0; at < bytes.length; at += 50_000) {
    await stream.write(bytes.subarray(at, at + 50_000));
    await each(at);
  }
  await stream.finish();
  return await reading;
}

// inside of the first flight, behind it, in the certificate, behind the handshake, inside of the hello
it.each([0, 1, 300, 700, 1_100, 1_190, 1_240])(
  "cut %i bytes into the upgrade: exchanges go on by QUIC",
  async (cutAfter) => {
    const bytes = patternBytes(200_000);
    const before = exchange(bytes, () => sleep(20));
    const door = await upgradeThrough(cutAfter);
    await expect.poll(() => door.connections, { timeout: 3_000 }).toBeGreaterThan(0);
    const during = exchange(bytes, () => sleep(20));
    for (const got of await Promise.all([before, during])) expect(Buffer.compare(got, bytes)).toBe(0);
  },
);

it("cut in the midst of exchanges, for good: they go on by QUIC, whole, and so do new ones", async () => {
  const door = await upgradeThrough();
  await untilPath("tls", pair.near, pair.far);
  const bytes = patternBytes(1_000_000);
  let isCut = false;
  const going = Array.from({ length: 4 }, () =>
    exchange(bytes, async (sent) => {
      if (sent < 500_000 || isCut) return;
      isCut = true;
      door.shut();
      door.cut();
      expect(pair.near.path()?.kind).toBe("tls"); // it has not noticed yet
    }),
  );
  for (const got of await Promise.all(going)) expect(Buffer.compare(got, bytes)).toBe(0);
  await untilPath("quic", pair.near, pair.far);
  expect(Buffer.compare(await exchange(bytes.subarray(0, 100_000)), bytes.subarray(0, 100_000))).toBe(0);
});

it("held without a word in the midst of an exchange: it goes on by QUIC before a silent host is given up", async () => {
  const door = await upgradeThrough();
  await untilPath("tls", pair.near, pair.far);
  const bytes = patternBytes(600_000);
  let heldMs = 0;
  const got = await exchange(bytes, (sent) => {
    if (sent !== 300_000) return;
    door.shut();
    door.freeze();
    heldMs = performance.now();
  });
  expect(Buffer.compare(got, bytes)).toBe(0);
  expect(performance.now() - heldMs).toBeLessThan(5_000);
});

it("cut and open again: the direct path comes back by itself", async () => {
  const door = await upgradeThrough();
  await untilPath("tls", pair.near, pair.far);
  const stream = await pair.near.open();
  await stream.write(Uint8Array.of(1));
  door.cut();
  await untilPath("quic", pair.near);
  await untilPath("tls", pair.near, pair.far);
  expect(await stream.read()).toEqual(Uint8Array.of(1));
  expect(door.connections).toBe(2);
});

import { expect, it } from "vitest";
import { BoundedLog } from "../../../src/base/bounded-log.ts";
import { endpointIdFromBytes } from "../../../src/base/brand.ts";
import type { LogEvent } from "../../../src/base/log.ts";

const peer = (byte: number): ReturnType<typeof endpointIdFromBytes> =>
  endpointIdFromBytes(new Uint8Array(32).fill(byte));

function logged(): { readonly lines: LogEvent[]; readonly log: BoundedLog; readonly clock: { now: number } } {
  const lines: LogEvent[] = [];
  const clock = { now: 0 };
  const log = new BoundedLog({ write: (_level, event) => void lines.push(event) }, () => clock.now);
  return { lines, log, clock };
}

it("has a line for each of the first events of a peer, and then few a minute", () => {
  const { lines, log, clock } = logged();
  for (let second = 0; second < 600; second += 1) {
    clock.now = second * 1_000;
    log.write("info", { event: "admission-refused", peer: peer(1), reason: "expired" });
  }
  expect(lines.length).toBeGreaterThan(5 + 40);
  expect(lines.length).toBeLessThan(5 + 55);
});

it("counts what was left out in the next line, whoever that is about", () => {
  const { lines, log } = logged();
  for (let round = 0; round < 8; round += 1) {
    log.write("warn", { event: "peer-refused", peer: peer(1), code: "E_REFUSED", what: "no" });
  }
  log.write("warn", { event: "peer-refused", peer: peer(2), code: "E_REFUSED", what: "no" });
  expect(lines).toHaveLength(6);
  expect(lines.at(-1)).toMatchObject({ peer: peer(2), left_out: 3 });
  expect(lines[0]).not.toHaveProperty("left_out");
});

it("is bounded for thousands of peers together", () => {
  const { lines, log } = logged();
  for (let at = 0; at < 2_000; at += 1) {
    const one = endpointIdFromBytes(new Uint8Array(32).fill(at % 256).fill(at >> 8, 0, 2));
    log.write("warn", { event: "peer-refused", peer: one, code: "E_REFUSED", what: "no" });
  }
  expect(lines).toHaveLength(30);
});

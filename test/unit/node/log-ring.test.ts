import { expect, it } from "vitest";
import { fromUtf8 } from "../../../src/base/bytes.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import { LogRing } from "../../../src/node/log-ring.ts";

const entry = (percent: number): LogEvent => ({ event: "engine-loading", engine: "e", percent });

function ring(): { readonly log: LogRing; readonly passed: LogEvent[] } {
  const passed: LogEvent[] = [];
  const inner = { write: (_level: string, event: LogEvent): void => void passed.push(event) };
  const bounds = { entries: 3, listeners: 1, waiting: 2, aliveMs: 60_000, unreadMs: 60_000 };
  return { log: new LogRing(inner, { ...bounds, now: () => Date.UTC(2027, 0, 2) }), passed };
}

it("keeps the last entries with level, time and number, and passes all on", () => {
  const { log, passed } = ring();
  for (let percent = 1; percent <= 10; percent += 1) log.write(percent === 10 ? "warn" : "info", entry(percent));
  expect(passed).toHaveLength(10);
  expect(log.after(0).map(({ seq }) => seq)).toEqual([8, 9, 10]);
  expect(log.after(9)).toEqual([{ seq: 10, time: "2027-01-02T00:00:00.000Z", level: "warn", entry: entry(10) }]);
  expect(log.after(10)).toEqual([]);
});

it("gives a follower what is kept and then what comes, all of it", async () => {
  const { log } = ring();
  for (let percent = 1; percent <= 4; percent += 1) log.write("info", entry(percent));
  const listener = log.follow(1, () => undefined);
  log.write("info", entry(5));
  const seqs: number[] = [];
  for (let count = 0; count < 3; count += 1) {
    const text = fromUtf8((await listener.next()) ?? new Uint8Array());
    seqs.push((JSON.parse(text.slice(text.indexOf("data: ") + 6)) as { seq: number }).seq);
  }
  // 2 is gone: so many may wait as were kept
  expect(seqs).toEqual([3, 4, 5]);
  log.close();
  expect(await listener.next()).toBeUndefined();
});

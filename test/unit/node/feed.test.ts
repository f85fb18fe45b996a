import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fromUtf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { NodeEvents } from "../../../src/node/events.ts";
import { Feed, type Listener } from "../../../src/node/feed.ts";
import type { Status } from "../../../src/node/status.ts";
import { expectCode } from "../../support/expect-code.ts";
import { report } from "./reports.ts";

const options = { listeners: 2, waiting: 3, aliveMs: 1_000, unreadMs: 5_000 };
const nobody = (): void => undefined;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function text(listener: Listener): Promise<string | undefined> {
  const bytes = await listener.next();
  return bytes && fromUtf8(bytes);
}

const said = (data: string, replaces = false): { event: string; data: string; replaces: boolean } => ({
  event: "e",
  data,
  replaces,
});

describe("a feed", () => {
  it("gives each listener what came since it began, in order, after what it begins with", async () => {
    const feed = new Feed(options);
    const early = feed.open([said("first")], nobody);
    feed.send(said("a"));
    const late = feed.open([], nobody);
    feed.send(said("b"));
    for (const data of ["first", "a", "b"]) expect(await text(early)).toBe(`event: e\ndata: ${data}\n\n`);
    expect(await text(late)).toBe("event: e\ndata: b\n\n");
    const next = text(late);
    feed.send(said("c"));
    expect(await next).toBe("event: e\ndata: c\n\n");
    feed.close();
  });

  it("drops the oldest of what waits, and what is of no interest any more", async () => {
    const feed = new Feed(options);
    const listener = feed.open([], nobody);
    for (const data of ["1", "2", "3", "4"]) feed.send(said(data));
    feed.send({ event: "other", data: "x", replaces: true });
    feed.send({ event: "other", data: "y", replaces: true });
    const got = [await text(listener), await text(listener), await text(listener)];
    expect(got).toEqual(["event: e\ndata: 3\n\n", "event: e\ndata: 4\n\n", "event: other\ndata: y\n\n"]);
    feed.close();
  });

  it("has places for so many, and a place again when one has gone", async () => {
    const feed = new Feed(options);
    const first = feed.open([], nobody);
    feed.open([], nobody);
    expectCode("E_BUSY", () => feed.open([], nobody));
    first.close();
    first.close();
    expect(feed.listeners).toBe(1);
    feed.open([], nobody);
    feed.close();
    expect(feed.listeners).toBe(0);
    expect(await first.next()).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("gives a sign of life to who waits, and lets go who takes nothing", async () => {
    const feed = new Feed(options);
    const letGo = vi.fn<() => void>();
    const reading = feed.open([], nobody);
    feed.open([], letGo);
    const next = text(reading);
    vi.advanceTimersByTime(1_000);
    expect(await next).toMatch(/^:.*\n\n$/);
    feed.send(said("unread"));
    vi.advanceTimersByTime(5_000);
    expect(letGo).not.toHaveBeenCalled();
    expect(await text(reading)).toContain("unread");
    vi.advanceTimersByTime(1_000);
    expect(letGo).toHaveBeenCalledOnce();
    expect(feed.listeners).toBe(1);
    feed.close();
  });

  it("ends the stream of a listener that waits", async () => {
    const feed = new Feed(options);
    const next = feed.open([], nobody).next();
    feed.close();
    expect(await next).toBeUndefined();
  });
});

describe("the events of a node", () => {
  function watched(change: Partial<{ throws: boolean }> = {}) {
    const state = { pid: 1, made: 0, throws: false, ...change };
    const status = (): Status => {
      state.made += 1;
      if (state.throws) throw new MeshError("E_NO_HOST", "this node is still starting");
      return { pid: state.pid } as Status;
    };
    return { state, events: new NodeEvents({ ...options, everyMs: 500, lookMs: 2_000, status }) };
  }

  it("begin with the status, and tell it again when it has changed", async () => {
    const { state, events } = watched();
    const listener = events.listen(nobody);
    expect(await text(listener)).toBe('event: status\ndata: {"pid":1}\n\n');
    const next = text(listener);
    state.pid = 2;
    events.changed();
    vi.advanceTimersByTime(500);
    expect(await next).toBe('event: status\ndata: {"pid":2}\n\n');
    events.close();
  });

  it("make one status for many changes and all who watch, and none for nobody", async () => {
    const { state, events } = watched();
    events.changed();
    events.exchange(report());
    vi.advanceTimersByTime(10_000);
    expect(state.made).toBe(0);
    const listeners = [events.listen(nobody), events.listen(nobody)];
    expect(state.made).toBe(1);
    for (let pid = 2; pid < 50; pid += 1) {
      state.pid = pid;
      events.changed();
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(20);
    expect(state.made).toBe(2);
    // who has not read the first one yet needs it no more
    for (const listener of listeners) expect(await text(listener)).toContain('"pid":49}');
    events.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("find by themselves what nothing tells of, and say nothing when nothing has changed", async () => {
    const { state, events } = watched();
    const listener = events.listen(nobody);
    await text(listener);
    events.changed();
    vi.advanceTimersByTime(1_000);
    expect(state.made).toBe(2);
    const next = text(listener);
    state.pid = 3;
    vi.advanceTimersByTime(2_500);
    // the first that came was no sign of life, though one was due: nothing else was said before
    const first = await next;
    expect([first, await text(listener)].join("")).toContain('"pid":3}');
    events.close();
  });

  it("tell each exchange, and a new watcher's status to the others too", async () => {
    const { state, events } = watched();
    const first = events.listen(nobody);
    await text(first);
    events.exchange(report({ id: "r9" }));
    expect(await text(first)).toMatch(/^event: exchange\ndata: \{"id":"r9"/);
    vi.advanceTimersByTime(1_200);
    state.pid = 4;
    const second = events.listen(nobody);
    expect(await text(second)).toContain('"pid":4}');
    expect(await text(first)).toContain('"pid":4}');
    events.close();
  });

  it("wait for a node that is still starting", async () => {
    const { state, events } = watched({ throws: true });
    const listener = events.listen(nobody);
    const next = text(listener);
    state.throws = false;
    events.changed();
    vi.advanceTimersByTime(500);
    expect(await next).toContain("event: status");
    events.close();
  });
});

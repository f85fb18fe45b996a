import { once } from "node:events";
import { type AddressInfo, connect } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { fromUtf8 } from "../../../src/base/bytes.ts";
import { silentLog } from "../../../src/base/log.ts";
import { policyStatus } from "../../../src/node/attestation-report.ts";
import { NodeEvents } from "../../../src/node/events.ts";
import { Feed } from "../../../src/node/feed.ts";
import { consolePort } from "../../../src/node/http/console-port.ts";
import { answerHeaders } from "../../../src/node/http/local-only.ts";
import { LogRing } from "../../../src/node/log-ring.ts";
import type { WhatIf } from "../../../src/node/policy-report.ts";
import type { Status } from "../../../src/node/status.ts";
import { openPolicy } from "../../../src/policy/policy.ts";
import { adminParts, consoleOf, quickEvents, session } from "./admin-parts.ts";
import { report } from "./reports.ts";

const withSession = { headers: { authorization: session } };

/** The next events of a stream, without signs of life. */
async function nextEvents(reader: ReadableStreamDefaultReader<Uint8Array>, count: number): Promise<string[]> {
  const events: string[] = [];
  while (events.length < count) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the stream has ended");
    const text = fromUtf8(value);
    if (!text.startsWith(":")) events.push(text);
  }
  return events;
}

function readerOf({ body }: Response): ReadableStreamDefaultReader<Uint8Array> {
  if (!body) throw new Error("no body");
  return body.getReader();
}

describe("/api/events", () => {
  it("tells the status, each exchange, and the status again; who leaves gives the place back", async () => {
    const state = { pid: 1 };
    const events = new NodeEvents({ ...quickEvents, status: () => ({ ...state }) as Status });
    const ask = consoleOf({ events });
    const answer = await ask("/api/events");
    expect(answer.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const reader = readerOf(answer);
    expect(await nextEvents(reader, 1)).toEqual(['event: status\ndata: {"pid":1}\n\n']);
    state.pid = 2;
    events.exchange(report({ id: "r7" }));
    const [exchange, status] = await nextEvents(reader, 2);
    expect(exchange).toContain('event: exchange\ndata: {"id":"r7"');
    expect(status).toContain('"pid":2');
    const other = readerOf(await ask("/api/events"));
    const refused = await ask("/api/events");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("5");
    await reader.cancel();
    const again = await ask("/api/events");
    expect(again.status).toBe(200);
    await Promise.all([other.cancel(), again.body?.cancel()]);
    events.close();
  });

  it("takes no place for who asks for its head alone", async () => {
    const events = new NodeEvents({ ...quickEvents, status: () => ({ pid: 1 }) as Status });
    const ask = consoleOf({ events });
    for (let count = 0; count < 5; count += 1) {
      const answer = await ask("/api/events", { method: "HEAD" });
      expect(answer.status).toBe(200);
      expect(answer.headers.get("content-type")).toContain("text/event-stream");
    }
    await (await ask("/api/events")).body?.cancel();
    events.close();
  });

  it("gives back the places of one connection that asked several times and has gone", async () => {
    const feed = new Feed({ ...quickEvents, listeners: 16, unreadMs: 60_000 });
    const events = { listen: (letGo: () => void) => feed.open([], letGo) };
    const server = consolePort({ ...adminParts({ events }), ready: () => true, api: undefined });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    socket.write("GET /api/events HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(16));
    await vi.waitFor(() => expect(feed.listeners).toBe(16));
    socket.destroy();
    await vi.waitFor(() => expect(feed.listeners).toBe(0));
    server.close();
  });

  it("ends with the node", async () => {
    const events = new NodeEvents({ ...quickEvents, status: () => ({ pid: 1 }) as Status });
    const reader = readerOf(await consoleOf({ events })("/api/events"));
    await nextEvents(reader, 1);
    events.close();
    expect((await reader.read()).done).toBe(true);
  });
});

describe("/api/policy", () => {
  it("passes on what is to be tried", async () => {
    const tried: (WhatIf | undefined)[] = [];
    const ask = consoleOf({
      policy: (wish) => {
        tried.push(wish);
        return { policy: policyStatus(openPolicy), demanded: [], what_if: wish !== undefined, hosts: [] };
      },
    });
    expect(await (await ask("/api/policy")).json()).toMatchObject({ what_if: false, hosts: [] });
    expect(await (await ask("/api/policy?require_attested_hosts=key")).json()).toMatchObject({ what_if: true });
    expect(tried).toEqual([undefined, { attested: "key", encryption: undefined, hardened: undefined }]);
    expect((await ask("/api/policy?require_attested_hosts=most")).status).toBe(400);
  });
});

describe("/api/logs", () => {
  function logging(): LogRing {
    const log = new LogRing(silentLog, { ...quickEvents, entries: 3, now: () => 0 });
    for (const percent of [1, 2, 3, 4]) log.write("info", { event: "engine-loading", engine: "e", percent });
    return log;
  }

  it("gives what is kept, or what came after an entry", async () => {
    const ask = consoleOf({ log: logging() });
    const seqs = async (path: string): Promise<unknown> => {
      const { entries } = (await (await ask(path, withSession)).json()) as { entries: { seq: number }[] };
      return entries.map(({ seq }) => seq);
    };
    expect(await seqs("/api/logs")).toEqual([2, 3, 4]);
    expect(await seqs("/api/logs?after=3")).toEqual([4]);
    expect(await seqs("/api/logs?after=99")).toEqual([]);
    for (const after of ["", "x", "-1", "1e9", "1".repeat(16)]) {
      expect((await ask(`/api/logs?after=${after}`, withSession)).status).toBe(400);
    }
  });

  it("goes on with what comes", async () => {
    const log = logging();
    const reader = readerOf(await consoleOf({ log })("/api/logs/follow?after=3", withSession));
    expect((await nextEvents(reader, 1))[0]).toMatch(/^event: log\ndata: \{"seq":4,/);
    log.write("warn", { event: "node-stopped" });
    const [next = ""] = await nextEvents(reader, 1);
    expect(JSON.parse(next.slice(next.indexOf("{")))).toEqual({
      seq: 5,
      time: "1970-01-01T00:00:00.000Z",
      level: "warn",
      entry: { event: "node-stopped" },
    });
    await reader.cancel();
    log.close();
  });
});

describe("/api/stop", () => {
  it("asks for the end, once told", async () => {
    const onStopAsked = vi.fn<() => void>();
    const answer = await consoleOf({ onStopAsked })("/api/stop", { ...withSession, method: "POST" });
    expect(answer.status).toBe(202);
    expect(await answer.json()).toEqual({ stopping: true });
    expect(onStopAsked).toHaveBeenCalledOnce();
  });

  it("is refused where the node is a part of another program", async () => {
    const answer = await consoleOf()("/api/stop", { ...withSession, method: "POST" });
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: "refused" } });
  });
});

describe("the session token", () => {
  it.each([
    ["GET", "/api/session"],
    ["GET", "/api/pins"],
    ["POST", `/api/pins/${"ab".repeat(32)}`],
    ["DELETE", `/api/pins/${"ab".repeat(32)}`],
    ["GET", "/api/invites"],
    ["POST", "/api/invites"],
    ["DELETE", "/api/invites/0123"],
    ["GET", "/api/logs"],
    ["GET", "/api/logs/follow"],
    ["POST", "/api/stop"],
  ])("is asked for by %s %s; that of an earlier start is told so", async (method, path) => {
    const onStopAsked = vi.fn<() => void>();
    const ask = consoleOf({ onStopAsked });
    const none = await ask(path, { method });
    expect(none.status).toBe(401);
    const old = await ask(path, { method, headers: { authorization: "Bearer earlier" } });
    expect(old.status).toBe(401);
    const { error } = (await old.json()) as { error: { message: string; code: string } };
    expect(error.code).toBe("invalid_session");
    expect(error.message).toContain("each start has a new one");
    expect(error.message).toContain("`sealmesh console`");
    expect(onStopAsked).not.toHaveBeenCalled();
  });

  it("is acknowledged", async () => {
    expect(await (await consoleOf()("/api/session", withSession)).json()).toEqual({ session: true });
  });
});

it.each(["/", "/assets/x.js", "/api/status", "/api/events", "/api/pins", "/api/nothing", "/healthz", "/metrics"])(
  "%s has the headers that keep other pages out, whatever is answered",
  async (path) => {
    const ask = consoleOf();
    for (const headers of [{}, { host: "evil.example" }]) {
      const answer = await ask(path, { headers });
      for (const [name, value] of Object.entries(answerHeaders)) expect(answer.headers.get(name)).toBe(value);
      expect(answer.headers.get("cache-control")).toBe("no-store");
      await answer.body?.cancel();
    }
  },
);

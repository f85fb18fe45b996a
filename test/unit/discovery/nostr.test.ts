/** Listings through a real relay implementation, and through relays that hang, flood, lie or are not there. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import type { Discovery } from "../../../src/discovery/discovery.ts";
import { nostrDiscovery } from "../../../src/discovery/nostr.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { eventOf, findAll, idOf, offerOf, partsFor, secretOf } from "../../support/listings.ts";
import { startNostrRelay, type TestRelay } from "../../support/nostr-relay.ts";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function relay(): Promise<TestRelay> {
  const started = await startNostrRelay();
  closers.push(() => started.close());
  return started;
}

function discovery(urls: readonly string[], n = 1): Discovery {
  const started = nostrDiscovery.start(partsFor(urls, secretOf(n)));
  closers.push(() => started.close());
  return started;
}

/** A relay that does with each message what the test says. */
async function oddRelay(onMessage: (socket: WebSocket, message: unknown[]) => void): Promise<string> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  server.on("connection", (socket) => {
    socket.on("error", () => undefined);
    socket.on("message", (data: Buffer) => onMessage(socket, JSON.parse(data.toString("utf8")) as unknown[]));
  });
  closers.push(async () => {
    for (const socket of server.clients) socket.terminate();
    await new Promise((resolve) => server.close(resolve));
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

describe("Nostr", () => {
  it("finds what another node announces, with the reference's kind, tags and members", async () => {
    const { url, heard } = await relay();
    await discovery([url], 1).announce(offerOf(idOf("1"), { meshName: "Team", serving: ["a", "b"], nodeCount: 3 }));
    const [found] = await findAll(discovery([url], 2), "team");
    expect(found).toMatchObject({
      endpointId: idOf("1"),
      meshName: "Team",
      serving: ["a", "b"],
      nodeCount: 3,
      source: "nostr",
    });
    const [, event] = heard.find(([word]) => word === "EVENT") ?? [];
    expect(event).toMatchObject({
      kind: 31_990,
      tags: [
        ["d", "mesh-llm"],
        ["k", "mesh-llm"],
        ["expiration", expect.any(String)],
      ],
    });
  });

  it("replaces what it announced before, also within one second", async () => {
    const { url } = await relay();
    const ours = discovery([url]);
    await ours.announce(offerOf(idOf("1"), { nodeCount: 1 }));
    await ours.announce(offerOf(idOf("1"), { nodeCount: 2 }));
    expect((await findAll(ours)).map(({ nodeCount }) => nodeCount)).toEqual([2]);
  });

  it("is not found any more once it is withdrawn", async () => {
    const { url } = await relay();
    const ours = discovery([url]);
    await ours.announce(offerOf(idOf("1")));
    await ours.withdraw();
    expect(await findAll(ours)).toEqual([]);
  });

  it("is content with one relay of several that works, to announce and to find", async () => {
    const { url } = await relay();
    const silent = await oddRelay(() => undefined);
    const ours = discovery(["ws://127.0.0.1:1", silent, url]);
    await ours.announce(offerOf(idOf("1")));
    expect(await findAll(ours, undefined, 500)).toHaveLength(1);
  }, 20_000);

  it("says so when no relay can be reached", async () => {
    await rejectsWith("E_UNREACHABLE", discovery(["ws://127.0.0.1:1"]).announce(offerOf(idOf("1"))));
    await rejectsWith("E_UNREACHABLE", findAll(discovery(["ws://127.0.0.1:1"])));
  });

  it("says so when the only relay does not take the listing", async () => {
    const url = await oddRelay((socket, [word, event]) => {
      if (word === "EVENT") socket.send(JSON.stringify(["OK", (event as { id: string }).id, false, "blocked: no"]));
    });
    await rejectsWith("E_REFUSED", discovery([url]).announce(offerOf(idOf("1"))));
  });

  it("keeps what came before a relay fell silent", async () => {
    const event = eventOf(secretOf(7), offerOf(idOf("7")));
    const url = await oddRelay((socket, [word, subscription]) => {
      if (word === "REQ") socket.send(JSON.stringify(["EVENT", subscription, event]));
    });
    expect((await findAll(discovery([url]), undefined, 300)).map(({ endpointId: id }) => id)).toEqual([idOf("7")]);
  });

  it("takes the newest of each key, whatever the order", async () => {
    const served = await relay();
    const now = Math.floor(Date.now() / 1_000);
    for (const [age, nodeCount] of [
      [20, 1],
      [0, 2],
      [40, 3],
    ] as const) {
      served.plant(eventOf(secretOf(7), offerOf(idOf("7"), { nodeCount }), { created_at: now - age }));
    }
    expect((await findAll(discovery([served.url]))).map(({ nodeCount }) => nodeCount)).toEqual([2]);
  });

  it("finds a named mesh behind a thousand newer listings of other names", async () => {
    const served = await relay();
    const now = Math.floor(Date.now() / 1_000);
    served.plant(eventOf(secretOf(9_999), offerOf(idOf("9"), { meshName: "team" }), { created_at: now - 60 }));
    const noise = eventOf(secretOf(1), offerOf(idOf("1"), { meshName: "noise" }));
    for (let n = 0; n < 1_000; n += 1) {
      served.plant({ ...noise, id: n.toString(16).padStart(64, "0"), created_at: now - Math.floor(n / 50) });
    }
    expect((await findAll(discovery([served.url]), "team")).map(({ endpointId: id }) => id)).toEqual([idOf("9")]);
  });

  it("leaves a relay that floods, and keeps what others say", async () => {
    const served = await relay();
    served.plant(eventOf(secretOf(7), offerOf(idOf("7"))));
    let sent = 0;
    const flooding = await oddRelay((socket, [word, subscription]) => {
      const pour = (): void => {
        if (word !== "REQ" || socket.readyState !== socket.OPEN) return;
        for (let n = 0; n < 500; n += 1, sent += 1) socket.send(JSON.stringify(["EVENT", subscription, { id: sent }]));
        setImmediate(pour);
      };
      pour();
    });
    const started = performance.now();
    expect(await findAll(discovery([served.url, flooding]))).toHaveLength(1);
    expect(performance.now() - started).toBeLessThan(2_500);
    expect(sent).toBeLessThan(100_000);
  });

  it("leaves a relay whose message is larger than any listing", async () => {
    const served = await relay();
    served.plant(eventOf(secretOf(7), offerOf(idOf("7"))));
    const large = await oddRelay((socket) => socket.send(JSON.stringify(["NOTICE", "x".repeat(2_000_000)])));
    expect(await findAll(discovery([served.url, large]))).toHaveLength(1);
  });

  it("skips what is no event, no message, or not asked for", async () => {
    const event = eventOf(secretOf(7), offerOf(idOf("7")));
    const url = await oddRelay((socket, [word, page]) => {
      if (word !== "REQ") return;
      const nonsense = [
        null,
        7,
        [],
        {},
        ["EVENT"],
        ["EVENT", page, null],
        ["EVENT", page, []],
        ["EVENT", "other", event],
      ];
      for (const message of nonsense) socket.send(JSON.stringify(message));
      for (const text of ["", "{", "\u0000", "[".repeat(100_000)]) socket.send(text);
      socket.send(Buffer.from([1, 2, 3]));
      if (page === "page-0") socket.send(JSON.stringify(["EVENT", page, event]));
      socket.send(JSON.stringify(["EOSE", page]));
    });
    expect((await findAll(discovery([url]))).map(({ endpointId: id }) => id)).toEqual([idOf("7")]);
  });

  it("skips an event that is larger than any listing, and reads what comes after it", async () => {
    const served = await relay();
    served.plant(eventOf(secretOf(8), "x".repeat(300_000)));
    served.plant(eventOf(secretOf(7), offerOf(idOf("7")), { created_at: Math.floor(Date.now() / 1_000) - 9 }));
    expect(await findAll(discovery([served.url]))).toHaveLength(1);
  });

  it("ends at once when it is told to", async () => {
    const silent = await oddRelay(() => undefined);
    const stop = new AbortController();
    const finding = discovery([silent]).find({ ms: 60_000, signal: stop.signal });
    setImmediate(() => stop.abort());
    await rejectsWith("E_ABORTED", finding);
  });
});

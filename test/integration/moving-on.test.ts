/** What the asker does with a host's error answer: try another host, with what right, and which one. */
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { type ErrorCode, MeshError } from "../../src/base/errors.ts";
import { AskerSeal } from "../../src/crypto/seal.ts";
import { AskError } from "../../src/mesh/attempt.ts";
import { openAiError } from "../../src/openai/errors.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import type { TransportKind } from "../../src/transport/transport.ts";
import { encodeResponse, readRequest } from "../../src/tunnel/http.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { limits } from "../../src/wire/limits.ts";
import type { RecordModel } from "../../src/wire/record.ts";
import { encodeRelayReply, relayCodes } from "../../src/wire/relay.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { type Asker, askerOf } from "../support/asking.ts";
import { testMesh, type TestNode, eventually } from "../support/mesh.ts";
import { answerSealed, call, chatResponse, openAsk, RawPeer, relayHandler } from "../support/raw-peer.ts";

/** A host's error answer, as a node of ours writes it. */
function refusing(
  code: ErrorCode,
  message: string,
  options: { param?: string; retryAfterSeconds?: number } = {},
): Reply {
  const { status, headers, body } = openAiError(new MeshError(code, message, options), "");
  return () => encodeResponse(status, headers, body);
}

type Reply = () => Uint8Array;

interface Offer {
  /** What the host answers; may be changed. */
  reply?: Reply;
  /** What its record says of the model. */
  readonly told?: Partial<RecordModel>;
}

interface Hosts {
  /** By id: so they are asked when nothing else speaks for one of them. */
  readonly hosts: readonly RawPeer[];
  /** Of each, as long as nobody changes it. */
  readonly replies: Reply[];
  /** Indices of the hosts that were asked, in order. */
  readonly asked: number[];
}

async function hostsOf(network: TransportKind, offers: readonly Offer[]): Promise<Hosts> {
  const started = await Promise.all(offers.map(() => RawPeer.start(network, { role: "host", models: ["scripted"] })));
  const hosts = started.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const replies = offers.map(({ reply }, at) => reply ?? ((): Uint8Array => chatResponse(`from ${at}`)));
  const asked: number[] = [];
  for (const [at, host] of hosts.entries()) {
    const told = offers[at]?.told;
    const models = [{ name: "scripted", context: 4_096, busy: false, queue: 0, kinds: [], ...told }];
    host.announcements = () => [host.own({ record: host.record({ models }).bytes })];
    host.handlers.http = async (stream, reader) => {
      asked.push(at);
      const reply = replies[at];
      if (reply) await answerSealed(stream, await openAsk(reader, host.key), reply());
    };
  }
  return { hosts, replies, asked };
}

interface Scene extends Hosts {
  readonly asker: Asker;
}

async function scene(offers: readonly Offer[]): Promise<Scene> {
  const network = memoryNetwork();
  const hosts = await hostsOf(network, offers);
  return { ...hosts, asker: await askerOf(network, hosts.hosts) };
}

/** The same with a whole node in front. */
async function nodeScene(offers: readonly Offer[]): Promise<Hosts & { readonly client: TestNode }> {
  const network = memoryNetwork();
  const all = await hostsOf(network, offers);
  const client = await testMesh().start("client", { join: all.hosts.map(({ invite }) => invite) }, network);
  await eventually("all are met", () => client.status().peers.length === offers.length);
  return { ...all, client };
}

/** Whom the answer came from, or the code of the failure. */
async function outcome(asking: ReturnType<Asker["ask"]>): Promise<string> {
  try {
    const { response } = await asking;
    let text = "";
    for await (const piece of response.body) text += new TextDecoder().decode(piece);
    return /from \d/.exec(text)?.[0] ?? `${response.status}`;
  } catch (thrown) {
    return thrown instanceof MeshError ? thrown.code : String(thrown);
  }
}

const overflow = refusing("E_OVERFLOW", "This model's maximum context length is 4096 tokens.", { param: "messages" });
const busy = refusing("E_BUSY", "no place is left", { retryAfterSeconds: 7 });

describe("a host that did nothing with the request", () => {
  it.each<[ErrorCode, Reply]>([
    ["E_BUSY", busy],
    ["E_DRAINING", refusing("E_DRAINING", "this host is stopping")],
    ["E_OVERFLOW", overflow],
    ["E_MODEL", refusing("E_MODEL", "not served here", { param: "model" })],
    ["E_NO_ENGINE", refusing("E_NO_ENGINE", "the engine is not there")],
    ["E_UNSUPPORTED", refusing("E_UNSUPPORTED", "no images here")],
  ])("is not the last one asked: %s", async (code, reply) => {
    const offers = [{ reply }, { told: { context: 8_192 } }];
    const { asker, hosts, asked } = await scene(offers);
    const { attempts } = await asker.ask();
    expect(asked).toEqual([0, 1]);
    expect(attempts.map(({ host, outcome: came, processed }) => [host, came, processed])).toEqual([
      [hosts[0]?.id, code, "no"],
      [hosts[1]?.id, "answered", "yes"],
    ]);
    const { client } = await nodeScene(offers);
    const answered = await call(client);
    expect([answered.content, answered.headers.get("x-sealmesh-attempts")]).toEqual(["from 1", "2"]);
  });

  it("and that is an old one, too", async () => {
    const network = memoryNetwork();
    const old = await Promise.all(
      [0, 1].map(() => RawPeer.start(network, { kind: "old", role: "host", models: ["scripted"] })),
    );
    for (const [at, host] of old.toSorted((a, b) => (a.id < b.id ? -1 : 1)).entries()) {
      host.handlers.http = async (stream, reader) => {
        await readRequest(reader);
        await stream.write(at === 0 ? busy() : chatResponse("from 1"));
        await stream.finish();
      };
    }
    const asker = await askerOf(network, old);
    const asked = await asker.ask();
    expect(asked.attempts.map(({ sealed, processed }) => [sealed, processed])).toEqual([
      [false, "no"],
      [false, "yes"],
    ]);
  });

  it("and neither did the others: the last one's words and code are the answer", async () => {
    const tooFull = refusing("E_BUSY", "full", { retryAfterSeconds: 3 });
    const full = await nodeScene([{ reply: tooFull }, { reply: busy }]);
    const refused = await call(full.client);
    expect([refused.status, refused.code, refused.headers.get("retry-after")]).toEqual([
      429,
      "rate_limit_exceeded",
      "7",
    ]);
    expect(refused.message).toContain("no place is left");
    expect(refused.headers.get("x-sealmesh-attempts")).toBe("2");
    expect(full.asked).toEqual([0, 1]);

    const long = await nodeScene([{ reply: busy }, { reply: overflow }]);
    const tooLong = await call(long.client);
    expect([tooLong.status, tooLong.code]).toEqual([400, "context_length_exceeded"]);
    expect(JSON.parse(tooLong.text)).toMatchObject({ error: { param: "messages" } });
  });

  it("is one of three that are asked at most", async () => {
    const { asker, asked } = await scene(Array.from({ length: 5 }, () => ({ reply: busy })));
    const failed = await asker.ask().catch((thrown: unknown) => thrown);
    expect(failed).toBeInstanceOf(AskError);
    const { code, attempts, retryAfterSeconds } = failed as AskError;
    expect([code, attempts.length, retryAfterSeconds]).toEqual(["E_BUSY", 3, 7]);
    expect(asked).toEqual([0, 1, 2]);
  });
});

describe("a prompt that does not fit", () => {
  it("goes to a host with a larger context only", async () => {
    const { asker, asked } = await scene([
      { reply: overflow, told: { context: 4_096 } },
      { told: { context: 4_096 } },
      { told: { context: 2_048 } },
      { told: { context: 8_192 } },
    ]);
    expect(await outcome(asker.ask())).toBe("from 3");
    expect(asked).toEqual([0, 3]);
  });

  it("is refused when no host has a larger one", async () => {
    const { asker, asked } = await scene([{ reply: overflow }, {}, { told: { context: 2_048 } }]);
    expect(await outcome(asker.ask())).toBe("E_OVERFLOW");
    expect(asked).toEqual([0]);
  });

  it("says nothing against the host", async () => {
    const { asker, asked, replies } = await scene([{ reply: overflow }, {}]);
    await outcome(asker.ask());
    replies[0] = () => chatResponse("from 0");
    expect(await outcome(asker.ask())).toBe("from 0");
    expect(asked).toEqual([0, 0]);
  });
});

describe("an error that may have cost the host work, or that every host would give", () => {
  it.each<[ErrorCode, number, string]>([
    ["E_ENGINE", 502, "engine_error"],
    ["E_INPUT", 400, "invalid_value"],
    ["E_TIMEOUT", 504, "timeout"],
  ])("%s is delivered and never tried elsewhere", async (code, status, openAiCode) => {
    const { client, asked } = await nodeScene([{ reply: refusing(code, "what went wrong") }, {}]);
    const failed = await call(client);
    expect([failed.status, failed.code]).toEqual([status, openAiCode]);
    expect(failed.message).toContain("what went wrong");
    expect(failed.headers.get("x-sealmesh-attempts")).toBe("1");
    expect(asked).toEqual([0]);
  });

  it("of the host's own making puts it behind the others for the next request", async () => {
    const { asker, asked } = await scene([{ reply: refusing("E_ENGINE", "what went wrong") }, {}]);
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("502");
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 1");
    asker.clock.aheadMs += 10_000;
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 1"); // whose conversation it is now
    expect(await outcome(asker.ask())).toBe("502");
    expect(asked).toEqual([0, 1, 1, 0]);
  });

  it("of the request's making says nothing against the host", async () => {
    const { asker, asked } = await scene([{ reply: refusing("E_INPUT", "no such field") }, {}]);
    await asker.ask();
    await asker.ask();
    expect(asked).toEqual([0, 0]);
  });
});

describe("the order of hosts", () => {
  it("puts one that refused behind the others for 10 s", async () => {
    const { asker, asked } = await scene([{ reply: busy }, {}]);
    await outcome(asker.ask());
    await outcome(asker.ask());
    asker.clock.aheadMs += 9_000;
    await outcome(asker.ask());
    expect(asked).toEqual([0, 1, 1, 1]);
    asker.clock.aheadMs += 1_000;
    await outcome(asker.ask());
    expect(asked).toEqual([0, 1, 1, 1, 0, 1]);
  });

  it("puts one that failed behind the others for 10 s", async () => {
    const { asker, asked, hosts } = await scene([{}, {}]);
    const [first] = hosts;
    if (first) {
      first.handlers.http = async (stream) => {
        asked.push(0);
        stream.abort();
      };
    }
    expect(await outcome(asker.ask())).toBe("from 1");
    const before = asked.length;
    expect(await outcome(asker.ask())).toBe("from 1");
    expect(asked.slice(before)).toEqual([1]);
    asker.clock.aheadMs += 10_000;
    await outcome(asker.ask());
    expect(asked.slice(before)).toContain(0);
  });

  it("trusts a host again once it has answered", async () => {
    const { asker, asked, replies } = await scene([{ reply: busy }, { reply: busy }]);
    expect(await outcome(asker.ask())).toBe("E_BUSY"); // both come behind the others now, of whom there are none
    replies[1] = () => chatResponse("from 1");
    expect(await outcome(asker.ask())).toBe("from 1");
    expect(await outcome(asker.ask())).toBe("from 1");
    expect(asked).toEqual([0, 1, 0, 1, 1]);
  });

  it("puts one whose record says that it is busy behind the others, and still asks it", async () => {
    const { asker, asked, replies } = await scene([{ told: { busy: true } }, {}]);
    expect(await outcome(asker.ask())).toBe("from 1");
    replies[1] = busy;
    expect(await outcome(asker.ask())).toBe("from 0");
    expect(asked).toEqual([1, 1, 0]);
  });

  it("puts one with a queue behind one without", async () => {
    const { asker } = await scene([{ told: { queue: 4 } }, {}]);
    expect(await outcome(asker.ask())).toBe("from 1");
  });

  it("puts one whose context is too small last, behind a busy one, and asks it when nobody else does it", async () => {
    const { asker, asked, replies } = await scene([{ told: { context: 512 } }, { told: { busy: true } }]);
    expect(await outcome(asker.ask({ needTokens: 513 }))).toBe("from 1");
    expect(await outcome(asker.ask({ needTokens: 512 }))).toBe("from 0");
    replies[1] = busy;
    expect(await outcome(asker.ask({ needTokens: 513 }))).toBe("from 0"); // it is an estimate
    expect(asked).toEqual([1, 0, 1, 0]);
  });

  it("counts the exchanges that are under way", async () => {
    const { asker } = await scene([{}, {}]);
    const first = await asker.ask(); // not read: it runs
    expect(await outcome(asker.ask())).toBe("from 1");
    for await (const piece of first.response.body) expect(piece.length).toBeGreaterThan(0);
    expect(await outcome(asker.ask())).toBe("from 0");
  });

  it("keeps the turns of a conversation with their host", async () => {
    const { asker, replies } = await scene([{ reply: busy }, {}]);
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 1");
    asker.clock.aheadMs += 10_000;
    replies[0] = () => chatResponse("from 0");
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 1");
    expect(await outcome(asker.ask({ conversation: "another" }))).toBe("from 0");
    expect(await outcome(asker.ask())).toBe("from 0");
    replies[1] = busy;
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 0"); // and is its host from now on
    asker.clock.aheadMs += 10_000;
    replies[1] = () => chatResponse("from 1");
    expect(await outcome(asker.ask({ conversation: "c" }))).toBe("from 0");
  });

  it("says nothing against a host whose answer its caller has left", async () => {
    const { asker, hosts } = await scene([{}]);
    const { response } = await asker.ask();
    await response.body.next();
    await response.body.return();
    expect(hosts.map(({ id }) => asker.parts.load.avoids(id, asker.parts.clock.now()))).toEqual([false]);
  });

  it("is not a relay's to change: one that cuts, and keeps the record back, comes behind the others", async () => {
    const network = memoryNetwork();
    const host = await RawPeer.start(network, { role: "host", models: ["scripted"] });
    host.handlers.relayed = async (stream, reader) => {
      await reader.frame(limits.relayFrameBytes);
      await answerSealed(stream, await openAsk(reader, host.key), chatResponse("from 1"));
    };
    const used: EndpointId[] = [];
    const relays = await Promise.all([RawPeer.start(network), RawPeer.start(network)]);
    for (const relay of relays) {
      const toHost = await relay.dial(host, "sealmesh/1");
      const honest = relayHandler(() => Promise.resolve(toHost));
      relay.announcements = () => [host.own(), relay.own()];
      relay.handlers.record = async (stream) => stream.abort();
      relay.handlers.relay = async (stream, reader, from) => {
        used.push(relay.id);
        if (relay.id !== used[0]) return await honest(stream, reader, from);
        await reader.frame(limits.relayFrameBytes);
        await stream.write(encodeFrame(encodeRelayReply(relayCodes.ok)));
        await reader.read();
        stream.abort();
      };
    }
    const asker = await askerOf(network, relays, { route: "relay" });
    await eventually("the host is known", () => asker.parts.mesh.peers.length === 3);
    expect(await outcome(asker.ask())).toBe("from 1");
    expect(await outcome(asker.ask())).toBe("from 1");
    const other = relays.find(({ id }) => id !== used[0])?.id;
    expect(used).toEqual([used[0], other, other]);
  });

  it("puts a relay that cuts behind the others, as it does the host: nobody can tell which of them it was", async () => {
    const network = memoryNetwork();
    const host = await RawPeer.start(network, { role: "host", models: ["scripted"] });
    const relay = await RawPeer.start(network);
    relay.announcements = () => [host.own(), relay.own()];
    relay.handlers.relay = async (stream, reader) => {
      await reader.frame(limits.relayFrameBytes);
      await stream.write(encodeFrame(encodeRelayReply(relayCodes.ok)));
      await reader.read();
      stream.abort();
    };
    const asker = await askerOf(network, [relay], { route: "relay" });
    await eventually("the host is known", () => asker.parts.mesh.peers.length === 2);
    expect(await outcome(asker.ask())).toBe("E_OPEN");
    expect([host, relay].map(({ id }) => asker.parts.load.avoids(id, asker.parts.clock.now()))).toEqual([true, true]);
  });

  it("counts an exchange out, and erases its key, when its caller goes without reading the answer", async () => {
    const { asker, hosts } = await scene([{}]);
    const running = (): readonly number[] => hosts.map(({ id }) => asker.parts.load.of(id));
    const erased = vi.spyOn(AskerSeal.prototype, "end");
    onTestFinished(() => erased.mockRestore());
    const leaving = new AbortController();
    await asker.ask({ signal: leaving.signal });
    expect([running(), erased.mock.calls.length]).toEqual([[1], 0]);
    leaving.abort();
    expect([running(), erased.mock.calls.length]).toEqual([[0], 1]);
  });
});

describe("our own engine has no place", () => {
  it.each([
    ["is busy", { status: 429, body: { error: { message: "busy", type: "rate_limit_error", code: null } } }],
    [
      "has too small a context",
      {
        status: 400,
        body: { error: { message: "request (9000 tokens) exceeds the available context size", type: "x" } },
      },
    ],
  ])("and %s: another machine that has the model answers", async (_name, fail) => {
    const mesh = testMesh();
    const full = await startEngineServer({ fail: { kind: "status", ...fail } });
    const roomy = await startEngineServer({ text: "from the other machine" });
    const host = await mesh.start("serve", { engine: [roomy.url] });
    const own = await mesh.start("serve", { engine: [full.url], join: [host.invite()] });
    await eventually("both know each other", () =>
      own.status().peers.some(({ models }) => models.includes("scripted")),
    );
    const answered = await call(own);
    expect([answered.status, answered.content]).toEqual([200, "from the other machine"]);
    expect(answered.headers.get("x-sealmesh-host")).toBe(host.endpointId);
    // nobody else to go to, and never on behalf of a peer
    await host.stop(0);
    await eventually("the host is gone", () => own.status().peers.every(({ models }) => models.length === 0));
    expect((await call(own)).status).toBe(fail.status);
    await Promise.all([full.close(), roomy.close()]);
  });

  it("D1: and the other machine takes prompts in the clear only: nothing leaves, the caller gets our engine's word", async () => {
    const network = memoryNetwork();
    const full = await startEngineServer({
      fail: { kind: "status", status: 429, body: { error: { message: "busy", type: "rate_limit_error", code: null } } },
    });
    const own = await testMesh().start("serve", { engine: [full.url] }, network);
    const old = await RawPeer.start(network, { role: "host", models: ["scripted"] });
    old.announcements = () => [old.own({ record: undefined, inferenceKey: undefined })];
    let asked = 0;
    old.handlers.http = () => Promise.resolve(void (asked += 1));
    await old.meet(own);
    await eventually("the old host is known", () => own.status().peers.some(({ sealed }) => sealed === "plain"));
    const refused = await call(own);
    expect([refused.status, refused.code, asked]).toEqual([429, "rate_limit_exceeded", 0]);
    await full.close();
  });
});

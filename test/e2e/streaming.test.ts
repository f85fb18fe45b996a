/**
 * Answers stream: token by token at the engine's pace, in bounded memory however large the answer
 * and however slow its reader; a host that says nothing is waited for, one that cannot say anything is given up.
 */
import { createHash } from "node:crypto";
import type OpenAI from "openai";
import { beforeAll, describe, expect, it } from "vitest";
import {
  askRaw,
  errorEventOf,
  failureOf,
  type Host,
  knowsModels,
  openAiFor,
  pause,
  readRaw,
  readStream,
  residentBytes,
  startHost,
  textOf,
  until,
} from "../support/e2e.ts";
import type { EngineProcess } from "../support/engine-server.ts";
import { type NodeProcess, startProcess } from "../support/processes.ts";

const messages: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: "user", content: "Go on" }];

let host: Host;
let relay: NodeProcess;
/** Asks through the relay, and asks hosts themselves. */
let client: NodeProcess;
let directClient: NodeProcess;

beforeAll(async () => {
  host = await startHost("steady");
  relay = await startProcess(["client", "--join", host.node.ready.invite]);
  const joining = ["client", "--join", relay.ready.invite];
  [client, directClient] = await Promise.all([startProcess([...joining, "--route", "relay"]), startProcess(joining)]);
  await Promise.all([knowsModels(client, "steady"), knowsModels(directClient, "steady")]);
});

describe("an answer on its way through relay and sealing", () => {
  it("keeps the engine's pace of one token per 100 ms", async () => {
    await host.engine.change({ tokens: 51, tokenMs: 100 });
    const { arrivals, end } = readStream(await ask(client, "steady"));
    expect(await end).toBe("ended");
    await host.engine.change({ tokens: 5, tokenMs: 0 });
    expect(arrivals).toHaveLength(51);
    const gaps = arrivals.slice(1).map((at, index) => at - (arrivals[index] ?? at));
    const sorted = gaps.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)];
    expect(median).toBeGreaterThan(70);
    expect(median).toBeLessThan(130);
    expect(sorted.at(-1)).toBeLessThan(400);
    // bunched tokens arrive together
    expect(gaps.filter((gap) => gap < 30).length).toBeLessThanOrEqual(gaps.length / 10);
  });

  it("needs no memory for 100 MB and a slow reader: all three nodes stay within 150 MB of idle", async () => {
    const contentBytes = 100_000_000;
    await host.engine.change({ contentBytes, deltaBytes: 60_000 });
    const memory = watchMemory({ host: host.node.pid, relay: relay.pid, client: client.pid });
    const body = (await askRaw(client, streamed("steady"))).body?.getReader();
    if (!body) throw new Error("the answer has no body");
    const content = contentOfEvents();
    const pauses = [8_000_000, 16_000_000, 24_000_000];
    let ahead = 0;
    for (let piece = await body.read(); !piece.done; piece = await body.read()) {
      content.add(piece.value as Uint8Array);
      if (content.bytes < (pauses[0] ?? Infinity)) continue;
      pauses.shift();
      // nobody reads: what is under way fills the nodes and comes to an end, and the engine has to wait
      const sent = await whenAtRest(() => sentBy(host.engine));
      ahead = Math.max(ahead, sent - content.bytes);
    }
    const grown = memory.end();
    expect(pauses).toEqual([]);
    expect(ahead).toBeLessThan(contentBytes / 3);
    expect(content.bytes).toBe(contentBytes);
    expect(content.digest()).toBe(createHash("sha256").update(Buffer.alloc(contentBytes, "x")).digest("hex"));
    expect(content.last).toBe("[DONE]");
    for (const [name, bytes] of Object.entries(grown)) expect(bytes, name).toBeLessThan(150_000_000);
    await host.engine.change({ contentBytes: 0 });
  }, 150_000);
});

describe.concurrent("a host from which nothing comes", () => {
  it("is waited for while it lives: 20 s of prefill", async ({ expect }) => {
    await startHost("patient", { prefillMs: 20_000 }, relay);
    await knowsModels(client, "patient");
    const started = performance.now();
    const answer = await openAiFor(client).chat.completions.create({ model: "patient", messages });
    expect(performance.now() - started).toBeGreaterThan(20_000);
    expect(answer.choices[0]?.message.content).toBe("word0 word1 word2 word3 word4");
  });

  it.for(["relay", "direct"] as const)(
    "is given up within 6 s when it is stopped, in prefill and in mid-stream: %s",
    async (route, { expect }) => {
      const asker = route === "relay" ? client : directClient;
      const model = `frail-${route}`;
      // the other of these two hosts is stopped at the same time: it must not be the relay here
      const frail = await startHost(model, { prefillMs: 60_000 }, relay, ["--no-relay-traffic"]);
      await knowsModels(asker, model);
      const failing = failureOf(ask(asker, model));
      await until("the engine works", async () => (await frail.engine.seen()).running === 1);
      let stopped = stop(frail.node);
      expect(await failing).toMatchObject({ status: 504, code: "timeout", type: "server_error" });
      expect(performance.now() - stopped).toBeLessThan(6_000);
      // one stopped host is nothing to the others
      expect(await readStream(await ask(asker, "steady")).end).toBe("ended");
      frail.node.signal("SIGCONT");
      await until("the engine is free", async () => (await frail.engine.seen()).running === 0, 3_000);

      await frail.engine.change({ prefillMs: 0, tokens: 10_000, tokenMs: 50 });
      const cut = readRaw(await taken(asker, model));
      await until("some words have come", () => cut.text.includes("word5"));
      stopped = stop(frail.node);
      expect(await cut.end).toBe("broken off");
      expect(performance.now() - stopped).toBeLessThan(6_000);
      expect(errorEventOf(cut.text)).toMatchObject({ type: "server_error", code: "timeout" });
      expect(cut.text).not.toContain("[DONE]");
      frail.node.signal("SIGCONT");
      await until("the engine is free", async () => (await frail.engine.seen()).running === 0, 3_000);
    },
  );
});

function ask(node: NodeProcess, model: string): Promise<AsyncIterable<OpenAI.Chat.ChatCompletionChunk>> {
  return openAiFor(node).chat.completions.create({ model, messages, stream: true });
}

function streamed(model: string): object {
  return { model, messages, stream: true };
}

/** A stream that has begun. The relay may have lost a host that slept, and says so until it has it again. */
async function taken(asker: NodeProcess, model: string): Promise<Response> {
  let answer: Response | undefined;
  await until("the host is asked again", async () => {
    answer = await askRaw(asker, streamed(model));
    if (!answer.ok) await answer.text();
    return answer.ok;
  });
  if (!answer) throw new Error("nobody was asked");
  return answer;
}

/** @returns when, performance.now() */
function stop(node: NodeProcess): number {
  node.signal("SIGSTOP");
  return performance.now();
}

/** Content that the engine has got rid of in its last exchange. */
async function sentBy(engine: EngineProcess): Promise<number> {
  return (await engine.seen()).requests.findLast(({ inference }) => inference)?.contentBytes ?? 0;
}

/** The number when it has not changed for half a second. */
async function whenAtRest(read: () => Promise<number>): Promise<number> {
  let before = -1;
  let now = await read();
  await until(
    "it comes to rest",
    async () => {
      before = now;
      await pause(500);
      now = await read();
      return now === before;
    },
    20_000,
  );
  return now;
}

interface MemoryWatch {
  /** How far each process grew at most, in bytes. */
  end(): Readonly<Record<string, number>>;
}

function watchMemory(pids: Readonly<Record<string, number>>): MemoryWatch {
  const entries = Object.entries(pids).map(([name, pid]) => ({ name, pid, idle: residentBytes(pid), most: 0 }));
  const look = (): void => {
    for (const entry of entries) entry.most = Math.max(entry.most, residentBytes(entry.pid));
  };
  const timer = setInterval(look, 100);
  return {
    end: () => {
      clearInterval(timer);
      look();
      return Object.fromEntries(entries.map(({ name, idle, most }) => [name, most - idle]));
    },
  };
}

interface EventContent {
  add(bytes: Uint8Array): void;
  /** Content so far. */
  readonly bytes: number;
  /** Data of the last event. */
  readonly last: string;
  /** SHA-256 of the content, hex; once, at the end. */
  digest(): string;
}

/** Adds up what a stream of events holds, without keeping it. */
function contentOfEvents(): EventContent {
  const hash = createHash("sha256");
  const decoder = new TextDecoder();
  let rest = "";
  const content = {
    bytes: 0,
    last: "",
    digest: () => hash.digest("hex"),
    add(bytes: Uint8Array): void {
      const events = (rest + decoder.decode(bytes, { stream: true })).split("\n\n");
      rest = events.pop() ?? "";
      for (const event of events) {
        content.last = event.replace(/^data: /, "");
        if (content.last === "[DONE]") continue;
        const text = textOf(JSON.parse(content.last) as OpenAI.Chat.ChatCompletionChunk);
        content.bytes += text.length;
        hash.update(text);
      }
    },
  };
  return content;
}

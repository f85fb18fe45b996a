/** What the console says of numbers, of changes, and how much of a conversation goes along. */
import { describe, expect, it } from "vitest";
import { changesBetween } from "../../../console/src/changes.ts";
import { mergedExchanges } from "../../../console/src/exchange-list.ts";
import { lastTurns, type Message } from "../../../console/src/views/history.ts";
import {
  duration,
  nameOf,
  peerSealing,
  promptWords,
  sealingOf,
  timeLeft,
  tokensPerSecond,
  waitingWords,
} from "../../../console/src/words.ts";
import type { ExchangeReport } from "../../../src/node/exchanges.ts";
import type { PeerStatus, Status } from "../../../src/node/status.ts";
import { consolePeer } from "../../support/console-peers.ts";

describe("numbers", () => {
  it("have the unit that fits", () => {
    const said = [null, 0, 0.4, 2.44, 9.96, 12.3, 999.6, 1_240, 12_340, 59_990, 150_000].map(duration);
    expect(said).toEqual(
      "– | under 1 ms | under 1 ms | 2.4 ms | 10 ms | 12 ms | 1.00 s | 1.24 s | 12.3 s | 1 min | 3 min".split(" | "),
    );
  });

  it("say how long an invite holds, down to the second", () => {
    expect([-1, 0, 1_500, 119_000, 120_000, 7_300_000, 172_800_000].map((ms) => timeLeft(ms, 0))).toEqual(
      "expired | expired | 1 s left | 119 s left | 2 min left | 2 hours left | 2 days left".split(" | "),
    );
  });

  it("count tokens per second from the first one on, and not where that says nothing", () => {
    const report = { completion_tokens: 11, first_token_ms: 500, ms: 1_500 } as ExchangeReport;
    expect(tokensPerSecond(report)).toBe(10);
    expect(tokensPerSecond({ ...report, completion_tokens: 1 })).toBeNull();
    expect(tokensPerSecond({ ...report, ms: 500 })).toBeNull();
    expect(tokensPerSecond({ ...report, first_token_ms: null })).toBeNull();
  });
});

describe("names", () => {
  it("are shown without what turns text around, and are the id where nothing is left", () => {
    const endpoint_id = "ab".repeat(32);
    expect(nameOf({ hostname: "gpu\u202ebox\u0007", endpoint_id })).toBe("gpubox");
    expect(nameOf({ hostname: " \u200b ", endpoint_id })).toBe("ababababab");
    expect(nameOf({ hostname: null, endpoint_id })).toBe("ababababab");
  });
});

describe("a host that is refused", () => {
  const ruled = (rule: string): PeerStatus => {
    const peer = consolePeer(1, { refused: true });
    return { ...peer, attestation: { ...peer.attestation, rule } };
  };

  it("is not called so when it was only not asked, or not lately", () => {
    expect(["no-evidence", "not-asked", "stale"].map((rule) => peerSealing(ruled(rule)))).toEqual([
      "refused",
      "unasked",
      "old",
    ]);
  });
});

describe("how a prompt travels", () => {
  it("is promised only where nothing else can happen", () => {
    const statusOf = (require_encryption: boolean): Status =>
      ({ policy: { require_encryption }, serving_models: ["own"] }) as unknown as Status;
    const promise = "Your prompt is sealed to the host that answers it.";
    expect(promptWords(statusOf(true), "far")).toBe(promise);
    expect(promptWords(statusOf(true), "own")).not.toContain("sealed");
    expect(promptWords(statusOf(false), "far")).not.toContain("sealed");
  });

  it("is said while an answer is waited for, once somebody has taken the prompt", () => {
    const said = ([null, "true", "false", "local"] as const).map((sealed) => waitingWords(sealingOf({ sealed })));
    expect(said.map((text) => text.split(".")[0])).toEqual([
      "Sent",
      "Sealed and sent",
      "Sent in the clear",
      "Asked on this machine",
    ]);
  });
});

describe("exchanges", () => {
  const named = (...ids: readonly string[]): ExchangeReport[] => ids.map((id) => ({ id }) as ExchangeReport);

  it("that come while the list is asked for stay, once each, newest first", () => {
    const merged = mergedExchanges(named("d", "c"), named("c", "b", "a"));
    expect(merged.map(({ id }) => id)).toEqual(["d", "c", "b", "a"]);
  });

  it("are no more than the node keeps", () => {
    const many = Array.from({ length: 250 }, (_, index) => String(index));
    expect(mergedExchanges(named("new"), named(...many)).map(({ id }) => id)).toEqual(["new", ...many.slice(0, 199)]);
  });
});

describe("changes", () => {
  const statusOf = (...peers: readonly PeerStatus[]): Status => ({ peers }) as unknown as Status;

  it("are who came and went, and whose standing is another one", () => {
    const host = consolePeer(1, {});
    const texts = (before: Status, after: Status): readonly string[] =>
      changesBetween(before, after).map(({ text }) => text);
    expect(texts(statusOf(), statusOf(host))).toEqual(["node-1 joined"]);
    expect(texts(statusOf(host), statusOf())).toEqual(["node-1 left"]);
    expect(texts(statusOf(host), statusOf(host))).toEqual([]);
    expect(texts(statusOf(host), statusOf(consolePeer(1, { refused: true })))).toEqual([
      "node-1 is refused now",
      "node-1 proves nothing any more",
    ]);
    expect(texts(statusOf(host), statusOf(consolePeer(1, { relayed: 2 })))).toEqual([
      "node-1 is reached through a relay now",
    ]);
    expect(texts(statusOf(host), statusOf(consolePeer(1, { models: ["model-1", "other"] })))).toEqual([
      "node-1 serves other",
    ]);
  });
});

describe("what goes along with a question", () => {
  const talk = (turns: number, characters: number): readonly Message[] =>
    Array.from({ length: turns * 2 - 1 }, (_, index) => ({
      role: index % 2 === 0 ? "user" : "assistant",
      content: "x".repeat(characters),
    }));

  it("is the last turns that fit into about a third of the context, and begins with a question", () => {
    const sent = lastTurns(talk(20, 100), 512);
    expect(sent.length).toBeGreaterThan(2);
    expect(sent.reduce((sum, { content }) => sum + content.length, 0)).toBeLessThan(512 * 4 * 0.4);
    expect(sent[0]?.role).toBe("user");
    expect(sent.at(-1)).toEqual(talk(20, 100).at(-1));
  });

  it("is the question alone when that is long, and never more than two dozen messages", () => {
    expect(lastTurns(talk(3, 10_000), 512)).toHaveLength(1);
    expect(lastTurns(talk(40, 1), null).length).toBeLessThanOrEqual(24);
  });
});

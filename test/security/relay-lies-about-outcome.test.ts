/**
 * A relay says one thing of an exchange and does another. Whatever it says, the asker's report is right: answered only by
 * the host's own sealed answer, "maybe processed" once a byte of the envelope has left, "not processed" before that, and
 * no envelope is computed twice because a relay wishes it.
 */
import { randomBytes } from "node:crypto";
import { describe, expect, it, onTestFinished } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import type { AskParts } from "../../src/exchange.ts";
import { type Attempt, attemptsOf } from "../../src/mesh/attempt.ts";
import { rolesBy } from "../../src/mesh/roles.ts";
import { encodeResponseHeader, endMarker } from "../../src/wire/envelope.ts";
import { encodeFrame } from "../../src/wire/frame.ts";
import { limits } from "../../src/wire/limits.ts";
import { encodeRelayReply, type RelayCode, relayCodes } from "../../src/wire/relay.ts";
import { type Asker, askerOf } from "../support/asking.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import {
  asked,
  type AttackedMesh,
  attackedMesh,
  prompt,
  type RawHandler,
  type RawPeer,
  type RawRelayOptions,
  refusals,
  relayHandler,
  responseParts,
  secret,
  sendRelayed,
} from "../support/raw-peer.ts";

interface Scene {
  readonly mesh: AttackedMesh;
  readonly engine: ScriptedEngine;
  readonly host: TestNode;
  readonly asker: Asker;
  /** In the order in which they are asked. */
  readonly relays: readonly RawPeer[];
}

/** A real host, and an asker that knows it through relays of the attacker's alone; each is honest at first. */
async function scene(relayCount: number, change: Partial<Pick<AskParts, "roles">> = {}): Promise<Scene> {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  onTestFinished(() => engine.close());
  const host = await mesh.start("serve", { engine: [engine.url] });
  const started = await Promise.all(Array.from({ length: relayCount }, () => mesh.raw()));
  const relays = started.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  for (const relay of relays) {
    await relay.meet(host);
    relay.announcements = (to) =>
      to === host.endpointId ? [relay.own()] : [relay.entryOf(host.endpointId), relay.own()];
    relay.handlers.relay = relaying(relay, host);
  }
  const asker = await askerOf(mesh.network, relays, { route: "relay", ...change });
  await eventually(
    "the asker knows the host",
    () => asker.parts.mesh.peer(host.endpointId)?.mentionedBy.size === relayCount,
  );
  return { mesh, engine, host, asker, relays };
}

function relaying(relay: RawPeer, host: TestNode, options: RawRelayOptions = {}): RawHandler {
  return relayHandler(() => relay.dial(host, "sealmesh/1"), options);
}

/** Takes the question, and says `code`. */
function says(code: RelayCode, then: RawHandler = (stream) => stream.finish()): RawHandler {
  return async (stream, reader, from) => {
    await reader.frame(limits.relayFrameBytes);
    await stream.write(encodeFrame(encodeRelayReply(code)));
    await then(stream, reader, from);
  };
}

interface Came {
  /** The answer's text, or the code of the failure. */
  readonly what: string;
  readonly attempts: readonly Attempt[];
}

async function ask({ asker }: Scene, body: object = prompt()): Promise<Came> {
  let attempts: readonly Attempt[] = [];
  try {
    const answer = await asker.ask({ body: utf8(JSON.stringify(body)) });
    ({ attempts } = answer);
    let text = "";
    for await (const piece of answer.response.body) text += new TextDecoder().decode(piece);
    return { what: /"content":"([^"]*)"/.exec(text)?.[1] ?? text, attempts };
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return { what: thrown.code, attempts: attempts.length > 0 ? attempts : attemptsOf(thrown) };
  }
}

/** What an attempt came to, and by whom. */
const told = ({ outcome, processed, relay, failed_ways: ways }: Attempt): readonly unknown[] => [
  outcome,
  processed,
  relay,
  ways.map((way) => way.relay),
];

const keepsSilent: RawHandler = async (_stream, reader) => {
  await reader.readAll(limits.envelopeBytes, "the envelope");
  await new Promise(() => undefined);
};

describe("a relay that says no", () => {
  const noes = Object.entries(relayCodes).filter(([, code]) => code !== relayCodes.ok);

  it.each(noes)("%s: nothing was sent, so nothing can have been processed", async (_name, code) => {
    const all = await scene(1);
    const [liar] = all.relays;
    if (liar) liar.handlers.relay = says(code);
    const { what, attempts } = await ask(all);
    expect(what).toBe("E_RELAY");
    expect(attempts.map(told)).toEqual([["E_RELAY", "no", liar?.id, [liar?.id]]]);
    expect(asked(all.engine)).toHaveLength(0);
    expect(liar?.couldRead(secret)).toBe(false);
  });

  it("up to two of them cost no attempt: the third relay answers, and the report names all", async () => {
    const all = await scene(3);
    const [first, second, third] = all.relays;
    if (first) first.handlers.relay = says(relayCodes.busy);
    if (second) second.handlers.relay = says(relayCodes.unreachable);
    const { what, attempts } = await ask(all);
    expect(what).toBe("fine");
    expect(attempts.map(told)).toEqual([["answered", "yes", third?.id, [first?.id, second?.id]]]);
    expect(attempts[0]?.failed_ways.map(({ reason }) => reason)).toEqual([
      "the relay answered: it is busy",
      "the relay answered: it cannot reach the host",
    ]);
    // and neither is asked first again
    expect((await ask(all)).attempts.map(told)).toEqual([["answered", "yes", third?.id, []]]);
  });

  it("and one that lets the asker wait, or aborts, is passed over just so", async () => {
    const all = await scene(3);
    const [first, second, third] = all.relays;
    if (first) first.handlers.relay = () => new Promise(() => undefined);
    if (second) second.handlers.relay = async (stream) => stream.abort();
    const { what, attempts } = await ask(all);
    expect(what).toBe("fine");
    expect(attempts.map(told)).toEqual([["answered", "yes", third?.id, [first?.id, second?.id]]]);
    expect(attempts[0]?.failed_ways.map(({ outcome }) => outcome)).toEqual(["E_TIMEOUT", "E_RELAY"]);
  });

  it("while it sends an envelope of before once more: the host does nothing with it", async () => {
    const all = await scene(1);
    const { host, relays, engine } = all;
    const [liar] = relays;
    if (!liar) return;
    let kept: Uint8Array | undefined;
    liar.handlers.relay = relaying(liar, host, { onEnvelope: (bytes) => (kept = bytes) });
    expect((await ask(all)).what).toBe("fine");
    liar.handlers.relay = says(relayCodes.busy, async () => {
      if (kept) await (await sendRelayed(await liar.dial(host, "sealmesh/1"), kept)).read().catch(() => undefined);
    });
    const { attempts } = await ask(all);
    // this one has led to the host before, and has got the envelope with the question
    expect(attempts.map(told)).toEqual([["E_RELAY", "maybe", liar.id, [liar.id]]]);
    await eventually("the host has refused it", () => refusals(host).length === 1);
    expect(refusals(host)).toEqual(["E_REPLAY"]);
    expect(asked(engine)).toHaveLength(1);
    // and it is believed no more
    liar.handlers.relay = says(relayCodes.busy);
    expect((await ask(all)).attempts.map(told)).toEqual([["E_RELAY", "no", liar.id, [liar.id]]]);
  });
});

describe("a relay that has led to the host", () => {
  const proven = async (relayCount: number): Promise<Scene> => {
    const all = await scene(relayCount);
    expect((await ask(all)).attempts.map(told)).toEqual([["answered", "yes", all.relays[0]?.id, []]]);
    return all;
  };

  it("gets a small envelope with the question, before it has said anything", async () => {
    const all = await proven(1);
    const [relay] = all.relays;
    if (!relay) return;
    let early = 0;
    relay.handlers.relay = async (stream, reader) => {
      await reader.frame(limits.relayFrameBytes);
      const envelope = await reader.readAll(limits.envelopeBytes, "the envelope");
      early = envelope.length;
      await stream.write(encodeFrame(encodeRelayReply(relayCodes.ok)));
      const answer = await sendRelayed(await relay.dial(all.host, "sealmesh/1"), envelope);
      for await (const part of responseParts(answer)) await stream.write(part);
      await stream.finish();
    };
    expect((await ask(all)).what).toBe("fine");
    expect(early).toBeGreaterThan(0);
    expect(relay.couldRead(secret)).toBe(false);
  });

  it("gets a large one only when it has said that the host is reached", async () => {
    const all = await proven(1);
    const [relay] = all.relays;
    if (relay) relay.handlers.relay = says(relayCodes.busy);
    const { attempts } = await ask(all, prompt({ user: "u".repeat(20_000) }));
    expect(attempts.map(told)).toEqual([["E_RELAY", "no", relay?.id, [relay?.id]]]);
  });

  it("and refuses now: the next one gets the same bytes, and the report says what may have happened", async () => {
    const all = await proven(2);
    const [first, second] = all.relays;
    const envelopes: Uint8Array[] = [];
    const keep = async (reader: Parameters<RawHandler>[1]): Promise<void> =>
      void envelopes.push(await reader.readAll(limits.envelopeBytes, "the envelope"));
    if (first) first.handlers.relay = says(relayCodes.unreachable, async (_stream, reader) => await keep(reader));
    if (second) second.handlers.relay = relaying(second, all.host, { onEnvelope: (bytes) => envelopes.push(bytes) });
    expect((await ask(all)).attempts.map(told)).toEqual([["answered", "yes", second?.id, [first?.id]]]);
    expect(envelopes).toHaveLength(2);
    expect(envelopes[0]).toEqual(envelopes[1]);
  });

  it("and refuses, but passes the envelope on: the host answers it once, whoever brings it", async () => {
    const all = await proven(2);
    const { host, engine, relays } = all;
    const [liar, honest] = relays;
    if (!liar) return;
    liar.handlers.relay = async (stream, reader) => {
      await reader.frame(limits.relayFrameBytes);
      const envelope = await reader.readAll(limits.envelopeBytes, "the envelope");
      const answer = await sendRelayed(await liar.dial(host, "sealmesh/1"), envelope);
      for await (const part of responseParts(answer)) if (part.length === 0) break;
      await stream.write(encodeFrame(encodeRelayReply(relayCodes.busy)));
      await stream.finish();
    };
    const { what, attempts } = await ask(all);
    // what the second relay brought was refused; sealed anew it is another request, as after any cut
    expect([what, attempts.map(({ processed }) => processed)]).toEqual(["fine", ["yes"]]);
    expect(attempts[0]?.relay === liar.id || attempts[0]?.relay === honest?.id).toBe(true);
    expect(refusals(host)).toEqual(["E_REPLAY"]);
    expect(asked(engine)).toHaveLength(3);
  });
});

describe("a relay that says ok", () => {
  it.each<[string, RawHandler, string, number]>([
    ["and then nothing", keepsSilent, "E_TIMEOUT", 0],
    ["and cuts before the envelope", async (stream) => stream.abort(), "E_OPEN", 0],
    [
      "and ends before the answer",
      async (stream, reader) => {
        await reader.readAll(limits.envelopeBytes, "the envelope");
        await stream.finish();
      },
      "E_OPEN",
      0,
    ],
  ])("%s: the request may have been processed", async (_name, then, code, processedTimes) => {
    const all = await scene(1);
    const [liar] = all.relays;
    if (liar) liar.handlers.relay = says(relayCodes.ok, then);
    const { what, attempts } = await ask(all);
    expect(what).toBe(code);
    expect(attempts.map(({ outcome, processed, relay }) => [outcome, processed, relay])).toEqual([
      [code, "maybe", liar?.id],
    ]);
    expect(asked(all.engine)).toHaveLength(processedTimes);
  });

  it("brings the envelope to the host, and keeps the answer back: maybe processed, and it was", async () => {
    const all = await scene(1);
    const [liar] = all.relays;
    if (!liar) return;
    liar.handlers.relay = relaying(liar, all.host, {
      change: async function* (parts) {
        for await (const part of parts) if (part.length === 0) yield part;
        await new Promise(() => undefined);
      },
    });
    const { what, attempts } = await ask(all);
    expect(what).toBe("E_TIMEOUT");
    expect(attempts.map(({ processed }) => processed)).toEqual(["maybe"]);
    await eventually("the host has worked on it", () => asked(all.engine).length === 1);
  });

  it("and repeats an old answer: it does not open", async () => {
    const all = await scene(1);
    const { host, engine, relays } = all;
    const [liar] = relays;
    if (!liar) return;
    const old: Uint8Array[] = [];
    liar.handlers.relay = relaying(liar, host, {
      change: async function* (parts) {
        for await (const part of parts) {
          old.push(part.slice());
          yield part;
        }
      },
    });
    expect((await ask(all)).what).toBe("fine");
    liar.handlers.relay = says(relayCodes.ok, async (stream, reader) => {
      await reader.readAll(limits.envelopeBytes, "the envelope");
      for (const part of old) await stream.write(part);
      await stream.finish();
    });
    const { what, attempts } = await ask(all);
    expect(what).toBe("E_OPEN");
    expect(attempts.map(({ processed }) => processed)).toEqual(["maybe"]);
    expect(asked(engine)).toHaveLength(1);
  });

  it("and answers in the host's place: it does not open", async () => {
    const all = await scene(1);
    const [liar] = all.relays;
    if (!liar) return;
    liar.handlers.relay = says(relayCodes.ok, async (stream, reader) => {
      await reader.readAll(limits.envelopeBytes, "the envelope");
      await stream.write(encodeResponseHeader(all.host.keys.current.publicKey));
      const box = new Uint8Array(randomBytes(200));
      box.fill(0, 16, 24); // the index that is due
      await stream.write(encodeFrame(box));
      await stream.write(endMarker);
      await stream.finish();
    });
    const { what, attempts } = await ask(all);
    expect(what).toBe("E_OPEN");
    expect(attempts.map(({ processed }) => processed)).toEqual(["maybe"]);
    expect(asked(all.engine)).toHaveLength(0);
  });

  it("and sends the envelope to the host twice: it is computed once, and answered once", async () => {
    const all = await scene(1);
    const { host, engine, relays } = all;
    const [liar] = relays;
    if (!liar) return;
    liar.handlers.relay = says(relayCodes.ok, async (stream, reader) => {
      const envelope = await reader.readAll(limits.envelopeBytes, "the envelope");
      const connection = await liar.dial(host, "sealmesh/1");
      const answers = await Promise.all([sendRelayed(connection, envelope), sendRelayed(connection, envelope)]);
      for (const answer of answers) {
        try {
          for await (const part of responseParts(answer)) await stream.write(part);
        } catch {
          continue; // this one was the second
        }
      }
      await stream.finish();
    });
    expect((await ask(all)).what).toBe("fine");
    await eventually("one was refused", () => refusals(host).length === 1);
    expect(refusals(host)).toEqual(["E_REPLAY"]);
    expect(asked(engine)).toHaveLength(1);
  });

  it("and sends the envelope to another host too: that one cannot open it", async () => {
    const all = await scene(1);
    const { mesh, host, engine, relays } = all;
    const other = await mesh.start("serve", { engine: [engine.url] });
    const [liar] = relays;
    if (!liar) return;
    await liar.meet(other);
    liar.handlers.relay = relaying(liar, host, {
      onEnvelope: (bytes) => {
        void liar.dial(other, "sealmesh/1").then((connection) => sendRelayed(connection, bytes));
      },
    });
    expect((await ask(all)).what).toBe("fine");
    await eventually("the other one was asked", () => refusals(other).length === 1);
    expect(refusals(other)).toEqual(["E_OPEN"]);
    expect(asked(engine)).toHaveLength(1);
  });

  it("and sends the envelope to a member that poses as the host: neither reads it, and no answer of theirs counts", async () => {
    const all = await scene(1);
    const { mesh, relays, engine } = all;
    const [liar] = relays;
    const poser = await mesh.raw({ role: "host", models: ["scripted"] });
    if (!liar) return;
    poser.handlers.relayed = async (stream, reader) => {
      await reader.frame(limits.relayFrameBytes);
      await reader.readAll(limits.envelopeBytes, "the envelope");
      await stream.write(encodeResponseHeader(poser.key.publicKey));
      await stream.write(encodeFrame(new Uint8Array(randomBytes(64))));
      await stream.finish();
    };
    liar.handlers.relay = relayHandler(() => liar.dial(poser, "sealmesh/1"));
    const { what, attempts } = await ask(all);
    expect(what).toBe("E_WIRE");
    expect(attempts.map(({ processed }) => processed)).toEqual(["maybe"]);
    expect(poser.couldRead(secret)).toBe(false);
    expect(asked(engine)).toHaveLength(0);
  });
});

describe("a second relay", () => {
  it("is used when the first cuts: the host answers, once", async () => {
    const all = await scene(2);
    const [liar, honest] = all.relays;
    if (liar) liar.handlers.relay = says(relayCodes.ok, async (stream) => stream.abort());
    const { what, attempts } = await ask(all);
    expect(what).toBe("fine");
    expect(attempts.map(({ outcome, processed, relay }) => [outcome, processed, relay])).toEqual([
      ["answered", "yes", honest?.id],
    ]);
    expect(asked(all.engine)).toHaveLength(1);
  });
});

describe("a member that was admitted as something else", () => {
  const only = (role: "client" | "relay", id: () => EndpointId | undefined): Pick<AskParts, "roles"> => ({
    roles: rolesBy((member) => (member === id() ? role : "host")),
  });

  it("a client that poses as a host is not asked, whoever names it", async () => {
    let poser: EndpointId | undefined;
    const all = await scene(
      1,
      only("client", () => poser),
    );
    poser = all.host.endpointId;
    expect(await ask(all)).toEqual({ what: "E_MODEL", attempts: [] });
    expect(asked(all.engine)).toHaveLength(0);
  });

  it("a client that offers to carry is no relay", async () => {
    let poser: EndpointId | undefined;
    const all = await scene(
      2,
      only("client", () => poser),
    );
    const [first, second] = all.relays;
    poser = first?.id;
    expect((await ask(all)).attempts.map(told)).toEqual([["answered", "yes", second?.id, []]]);
    expect(first?.opened).not.toContain("sealmesh/1 2");
  });
});

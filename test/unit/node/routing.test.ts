/** Which model "auto" becomes: one that is there, can do it, has room, and stays for the conversation. */
import { describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { Affinity } from "../../../src/mesh/affinity.ts";
import { HostLoad } from "../../../src/mesh/choose.ts";
import type { Peer } from "../../../src/mesh/membership.ts";
import { choose, type RoutingParts } from "../../../src/node/routing.ts";
import type { RecordModel } from "../../../src/wire/record.ts";
import { expectCode } from "../../support/expect-code.ts";

const chat = "/v1/chat/completions";
const self = endpointId("aa".repeat(32));
const ids = ["11", "22", "33"].map((byte) => endpointId(byte.repeat(32)));
const clock = { ms: 0, now: (): number => clock.ms };

type Offer = Partial<RecordModel> & { readonly name: string };

function offer(more: Offer): RecordModel {
  return { context: undefined, busy: false, queue: 0, kinds: [], ...more };
}

function host(at: number, ...offers: readonly Offer[]): Peer {
  const models = offers.map(offer);
  return {
    id: ids[at] as EndpointId,
    role: "host",
    models: models.map(({ name }) => name),
    runtimes: [],
    record: { fields: { models } },
  } as unknown as Peer;
}

function parts(more: Partial<RoutingParts> = {}): RoutingParts {
  const affinity = new Affinity({ clock });
  return { self, ownModels: () => [], peers: () => [], load: new HostLoad(), affinity, now: clock.now, ...more };
}

const ask = (content: unknown, more: object = {}): Record<string, unknown> => ({
  model: "auto",
  messages: [{ role: "user", content }],
  ...more,
});

describe("a named model", () => {
  it("stays as it is, known or not: I5", () => {
    expect(choose(chat, { ...ask("x"), model: "nobody's" }, undefined, parts()).model).toBe("nobody's");
  });

  it.each([undefined, "", 7, null, ["m"]])("must be a name, not %j", (model) => {
    expectCode("E_INPUT", () => choose(chat, { ...ask("x"), model }, undefined, parts()));
  });
});

describe("auto", () => {
  it("is E_NO_HOST when nobody serves anything", () => {
    expectCode("E_NO_HOST", () => choose(chat, ask("x"), undefined, parts()));
  });

  it("prefers our own engine, then a host with a place", () => {
    const peers = (): readonly Peer[] => [host(0, { name: "a", busy: true }), host(1, { name: "b" })];
    expect(choose(chat, ask("x"), undefined, parts({ peers })).model).toBe("b");
    const ownModels = (): readonly RecordModel[] => [offer({ name: "own" })];
    expect(choose(chat, ask("x"), undefined, parts({ peers, ownModels })).model).toBe("own");
  });

  it("is nothing that would go in the clear while another model's host can be sealed to: D2", () => {
    const plain = (at: number): Peer => ({
      ...host(at, { name: "a" }),
      record: undefined,
      announced: { kind: "absent" },
    });
    const reference = (at: number): Peer => ({ ...plain(at), announced: { kind: "key", key: new Uint8Array(32) } });
    const sealed = host(1, { name: "b", context: 512, busy: true });
    const long = ask("x".repeat(8_000));
    expect(choose(chat, long, undefined, parts({ peers: () => [plain(0), sealed] })).model).toBe("b");
    expect(choose(chat, long, undefined, parts({ peers: () => [plain(0)] })).model).toBe("a");
    expect(choose(chat, long, undefined, parts({ peers: () => [reference(0), sealed] })).model).toBe("a");
  });

  it("leaves our own engine alone while it has no place and another machine has", () => {
    const ownModels = (): readonly RecordModel[] => [offer({ name: "own", busy: true })];
    const peers = (): readonly Peer[] => [host(0, { name: "b" })];
    expect(choose(chat, ask("x"), undefined, parts({ peers, ownModels })).model).toBe("b");
  });

  it("takes a model that can do what is asked, as far as is known", () => {
    const image = [{ type: "image_url", image_url: { url: "data:," } }];
    const peers = (): readonly Peer[] => [
      host(0, { name: "text", kinds: ["chat"] }, { name: "embed", kinds: ["embeddings"] }),
      host(1, { name: "sees", kinds: ["chat", "vision"] }),
    ];
    expect(choose(chat, ask(image), undefined, parts({ peers })).model).toBe("sees");
    expect(choose("/v1/embeddings", { model: "auto", input: "x" }, undefined, parts({ peers })).model).toBe("embed");
    expect(choose("/v1/completions", { model: "auto", prompt: "x" }, undefined, parts({ peers })).model).not.toBe(
      "embed",
    );
    const textOnly = parts({ peers: () => [host(0, { name: "text", kinds: ["chat"] })] });
    expectCode("E_MODEL", () => choose(chat, ask(image), undefined, textOnly));
    expectCode("E_MODEL", () =>
      choose(
        "/v1/embeddings",
        { model: "auto", input: "x" },
        undefined,
        parts({ peers: () => [host(0, { name: "m" })] }),
      ),
    );
  });

  it("takes one with room for the request", () => {
    const peers = (): readonly Peer[] => [
      host(0, { name: "a", context: 512 }),
      host(1, { name: "b", context: 32_768 }),
    ];
    expect(choose(chat, ask("x".repeat(8_000)), undefined, parts({ peers })).model).toBe("b");
  });

  it("stays with its model for the conversation, as long as it is there", () => {
    const routing = parts({ peers: () => [host(0, { name: "a" }), host(1, { name: "b" })] });
    const model = choose(chat, ask("x"), undefined, routing).model;
    const other = model === "a" ? "b" : "a";
    // now the other one would be the better choice
    const busy = { ...routing, peers: () => [host(0, { name: model, busy: true }), host(1, { name: other })] };
    const next = ask("x", {
      messages: [
        { role: "user", content: "x" },
        { role: "assistant", content: "y" },
      ],
    });
    expect(choose(chat, next, undefined, busy).model).toBe(model);
    const gone = { ...routing, peers: () => [host(1, { name: other })] };
    expect(choose(chat, next, undefined, gone).model).toBe(other);
  });

  it("leaves its model when the conversation has outgrown it, or every host of it has just failed", () => {
    const peers = (): readonly Peer[] => [
      host(0, { name: "a", context: 1_024 }),
      host(1, { name: "b", context: 8_192 }),
    ];
    const routing = parts({ peers });
    expect(choose(chat, ask("x"), undefined, routing).model).toBe("a");
    const turns = (words: string): readonly object[] => [
      { role: "user", content: "x" },
      { role: "assistant", content: words },
    ];
    const next = (words: string): string =>
      choose(chat, ask("x", { messages: turns(words) }), undefined, routing).model;
    expect(next("y")).toBe("a");
    expect(next("y".repeat(8_000))).toBe("b");
    const failing = parts({ peers });
    expect(choose(chat, ask("x"), undefined, failing).model).toBe("a");
    failing.load.avoid(ids[0] as EndpointId, clock.ms + 10_000);
    expect(choose(chat, ask("x"), undefined, failing).model).toBe("b");
  });

  it("of a peer neither shows nor changes what this machine's conversations have: they may begin alike", () => {
    const both = parts({ ownModels: () => ["a", "b"].map((name) => offer({ name })) });
    const conversation = choose(chat, ask("x"), undefined, both).needs().conversation;
    both.affinity.remember(conversation, { model: "b", host: self });
    expect(choose(chat, ask("x"), ids[2], both).model).toBe("a");
    expect(choose(chat, ask("x"), undefined, both).model).toBe("b");
  });

  it("D5: of a peer, is one of our own models or nothing", () => {
    const asker = ids[2];
    const routing = parts({ peers: () => [host(0, { name: "a" })] });
    expectCode("E_NO_HOST", () => choose(chat, ask("x"), asker, routing));
    const own = parts({ ownModels: () => [offer({ name: "own" })] });
    expect(choose(chat, ask("x"), asker, own).model).toBe("own");
  });
});

describe("affinity", () => {
  it("ends after its time, and keeps a bounded number", () => {
    const affinity = new Affinity({ clock, entries: 2, lifeMs: 1_000 });
    const remembered = { model: "m", host: self };
    affinity.remember("a", remembered);
    affinity.remember("b", remembered);
    affinity.remember("a", remembered); // the last turn counts
    affinity.remember("c", remembered);
    expect([affinity.of("a"), affinity.of("b"), affinity.of("c")].map((known) => known?.model)).toEqual([
      "m",
      undefined,
      "m",
    ]);
    clock.ms += 1_001;
    expect(affinity.of("a")).toBeUndefined();
    expect(affinity.of(undefined)).toBeUndefined();
  });
});

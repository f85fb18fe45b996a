/**
 * Nodes of mesh-llm, built in test/support from the protocol's text alone, and real processes of ours: in a mesh that was
 * opened they join, gossip, ask and are asked; at an invite-only one they are sent away, with a line in the host's log.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { askRaw, knowsModels, openAiFor, textOf, until } from "../support/e2e.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { chatAnswer, OldNode } from "../support/old-node.ts";
import { type LogLine, type NodeProcess, startProcess } from "../support/processes.ts";
import { ReferenceNode } from "../support/reference-node.ts";

const messages = [{ role: "user" as const, content: "Where does the otter sleep?" }];
let engine: EngineProcess;
let host: NodeProcess;

const lines = (event: LogLine["event"]): readonly LogLine[] => host.lines.filter((line) => line.event === event);

async function startHost(...flags: readonly string[]): Promise<void> {
  engine = await startEngineProcess({ text: "in the reeds" });
  host = await startProcess(["serve", "--engine", engine.url, ...flags]);
}

afterAll(() => engine.kill());

describe("with --open-mesh", () => {
  let client: NodeProcess;
  let nodes: readonly OldNode[];

  beforeAll(async () => {
    await startHost("--open-mesh");
    client = await startProcess(["client", "--open-mesh", "--join", host.ready.invite]);
    await knowsModels(client, "scripted");
    const serve = (words: readonly string[]) => ({
      role: "host" as const,
      models: [words.join("-")],
      serve: (request: Parameters<typeof chatAnswer>[0]) => chatAnswer(request, words),
    });
    // started and closed by hand: the support file closes what one test has started
    nodes = [await ReferenceNode.start(serve(["gold", "fish"])), await OldNode.start(serve(["silver", "eel"]))];
  });

  it("a reference node and an older one join, gossip, ask and are asked, sealed or plain as they can", async () => {
    const [reference, old] = nodes;
    if (!(reference instanceof ReferenceNode) || !old) throw new Error("no nodes");
    expect(host.lines).toContainEqual(expect.objectContaining({ event: "mesh-open", level: "warn" }));
    for (const node of nodes) await node.meet(host.ready.invite);
    // the client hears of them from the host, and meets them itself
    await knowsModels(client, "gold-fish", "silver-eel");
    expect((await client.status()).peers.filter(({ connected }) => connected)).toHaveLength(3);

    const found = await Promise.all(
      ["gold-fish", "silver-eel"].map(async (model) => {
        const stream = await openAiFor(client).chat.completions.create({ model, messages, stream: true });
        let text = "";
        for await (const chunk of stream) text += textOf(chunk);
        const whole = await askRaw(client, { model, messages });
        return [text, whole.headers.get("x-sealmesh-sealed"), whole.headers.get("x-sealmesh-host")];
      }),
    );
    expect(found).toEqual([
      ["goldfish", "true", reference.id],
      ["silvereel", "false", old.id],
    ]);
    expect(reference.got.map(({ how }) => how)).toEqual(["sealed", "sealed"]);
    expect(old.got.map(({ how }) => how)).toEqual(["plain", "plain"]);

    const to = host.ready.endpoint_id;
    const request = { body: JSON.stringify({ model: "scripted", messages }) };
    const sealed = await reference.ask(to, request);
    expect([sealed.sealed, sealed.status, sealed.body]).toEqual([true, 200, expect.stringContaining("in the reeds")]);
    for (const node of nodes) {
      const plain = await node.askPlain(to, request);
      expect([plain.status, plain.body]).toEqual([200, expect.stringContaining("in the reeds")]);
    }
    // each has heard of the others from our host
    const heard = await old.gossip(to);
    expect(heard.entries.map(({ id }) => id)).toEqual(
      expect.arrayContaining([to, reference.id, client.ready.endpoint_id]),
    );
    expect([...reference.refused, ...old.refused]).toEqual([]);
    expect(lines("peer-refused")).toEqual([]);
  });
});

describe("without it", () => {
  beforeAll(async () => {
    await engine.kill();
    await startHost();
  });

  it("each of their attempts ends with one clear line of the log, and many in a minute with few", async () => {
    const [reference, old] = [
      await ReferenceNode.start({ role: "client" }),
      await OldNode.start({ role: "host", models: ["bait"] }),
    ];
    for (const node of [reference, old]) await expect(node.meet(host.ready.invite)).rejects.toThrow();
    await until("the log has a line for each", () => lines("peer-refused").length >= 2);
    const why = {
      event: "peer-refused",
      level: "warn",
      code: "E_REFUSED",
      what: "it signs no record, and this mesh is invite-only",
    };
    expect(lines("peer-refused")).toEqual([
      { ...why, time: expect.anything(), peer: reference.id },
      { ...why, time: expect.anything(), peer: old.id },
    ]);
    const ask = { body: JSON.stringify({ model: "scripted", messages }) };
    await reference.connect(host.ready.invite);
    await expect(reference.askPlain(host.ready.endpoint_id, ask)).rejects.toThrow();
    await expect(reference.gossip(host.ready.endpoint_id)).rejects.toThrow();
    for (let round = 0; round < 20; round += 1) await expect(old.meet(host.ready.invite)).rejects.toThrow();
    expect(lines("peer-refused").length).toBeLessThanOrEqual(3 + 5);
    expect((await host.status()).peers).toEqual([]);
    expect((await host.status()).models).toEqual(["scripted"]);
    expect((await engine.seen()).requests.filter(({ inference }) => inference)).toEqual([]);
  });
});

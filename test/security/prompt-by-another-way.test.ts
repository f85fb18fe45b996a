/** Prompt content leaves by another way than the sealed one: in gossip, in a record, on a stream of another kind. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { concat, fromUtf8 } from "../../src/base/bytes.ts";
import { readRequest } from "../../src/tunnel/http.ts";
import { eventually, testMesh, type TestNode } from "../support/mesh.ts";
import { attackedMesh, chatResponse, type RawPeer } from "../support/raw-peer.ts";
import { type Crossed, found, formsIn, startEveryRoute, tapped, ways } from "./search.ts";

/** Stands nowhere but in what a caller asks and an engine answers. */
const marks = {
  system: "kelpforest-system",
  text: "quartzvein-text",
  image: "lanternfish-image",
  audio: "bassoonreed-audio",
  toolName: "heronpost_tool",
  toolText: "millwheel-description",
  toolCall: "copperkettle-arguments",
  toolResult: "saltmarsh-result",
  completion: "thistledown-completion",
  suffix: "wherryman-suffix",
  embedding: "marlpit-embedding",
  instructions: "coracle-instructions",
  input: "stonecrop-input",
  stop: "ospreynest-stop",
  user: "vellum-user",
  cacheKey: "tidewrack-key",
  answer: "ambergris-answer",
} as const;
const words = Object.values(marks);

const base64 = (text: string): string => Buffer.from(text).toString("base64");

function requests(model: string): readonly (readonly [path: string, body: object])[] {
  const messages = [
    { role: "system", content: marks.system },
    {
      role: "user",
      content: [
        { type: "text", text: marks.text },
        { type: "image_url", image_url: { url: `data:image/png;base64,${base64(`\u0089PNG ${marks.image} end`)}` } },
        { type: "input_audio", input_audio: { data: base64(`RIFF ${marks.audio} end`), format: "wav" } },
      ],
    },
    {
      role: "assistant",
      content: null,
      tool_calls: [
        { id: "c", type: "function", function: { name: marks.toolName, arguments: `{"a":"${marks.toolCall}"}` } },
      ],
    },
    { role: "tool", tool_call_id: "c", content: marks.toolResult },
  ];
  const parameters = { type: "object", properties: { a: { type: "string", description: marks.toolText } } };
  const tools = [{ type: "function", function: { name: marks.toolName, parameters } }];
  const more = { stop: [marks.stop], user: marks.user, prompt_cache_key: marks.cacheKey, mesh_hooks: true };
  return [
    ["/v1/chat/completions", { model, messages, tools, ...more }],
    ["/v1/chat/completions", { model, messages, tools, stream: true, ...more }],
    ["/v1/completions", { model, prompt: marks.completion, suffix: marks.suffix }],
    ["/v1/embeddings", { model, input: [marks.embedding] }],
    ["/v1/responses", { model, instructions: marks.instructions, input: marks.input }],
    [
      "/v1/messages",
      { model, max_tokens: 9, system: marks.instructions, messages: [{ role: "user", content: marks.input }] },
    ],
  ];
}

async function askAll(client: TestNode, model: string): Promise<readonly Response[]> {
  const answers: Response[] = [];
  for (const [path, body] of requests(model)) {
    const answer = await fetch(client.apiUrl + path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    expect([path, answer.status]).toEqual([path, 200]);
    answers.push(answer);
  }
  return answers;
}

describe("D3: one data path", () => {
  it.each(["direct", "relay"] as const)(
    "D3: nothing of an exchange can be read on any stream of any node, in gossip or records (%s)",
    async (route) => {
      const attacked = attackedMesh();
      const mesh = testMesh();
      const crossed: Crossed[] = [];
      const engine = await startEveryRoute(marks.answer);
      const other = await startEveryRoute("unused");
      const start = (name: string, mode: "serve" | "client", flags: object): Promise<TestNode> =>
        mesh.start(mode, flags, tapped(attacked.network, name, crossed));
      const host = await start("host", "serve", { engine: [engine.url] });
      const relay = await start("relay", "client", { join: [host.invite()] });
      const client = await start("client", "client", { join: [relay.invite()], route });
      const bystander = await start("bystander", "serve", { engine: [other.url], join: [relay.invite()], name: "by" });
      const stranger = await attacked.raw({ kind: "reference", role: "client" });
      await eventually("all know the model", () => [relay, client].every((node) => node.models().includes("every")));
      // the bystander has the model too, and leaves: gossip goes around while the exchanges run
      await stranger.meet(host);
      await stranger.meet(client);
      await eventually("the bystander is known", () => client.status().peers.length >= 3);
      await bystander.stop(0);
      await eventually(
        "the bystander is forgotten",
        () => !client.status().peers.some(({ hostname }) => hostname === "by"),
      );

      for (const answer of await askAll(client, "every")) {
        expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
        expect(answer.headers.get("x-sealmesh-route")).toBe(route);
        await answer.text();
      }
      await stranger.meet(client); // what is told after the exchanges
      await stranger.meet(host);
      expect(engine.requests).toHaveLength(6);
      const told = engine.requests.map(({ body }) => body).join("\n");
      for (const mark of [marks.system, marks.text, marks.toolCall, marks.completion, marks.embedding, marks.input]) {
        expect(told).toContain(mark);
      }

      const all = ways(crossed);
      expect(found(all, words)).toEqual([]);
      expect(words.filter((word) => stranger.couldRead(word))).toEqual([]);
      // it has looked at all there is: gossip, the exchanges, and with a relay both of its sides
      const kinds = new Set(all.map(({ name }) => name));
      const wanted = ["client out mesh-llm/1 01", "host out mesh-llm/1 01", "relay out mesh-llm/1 01"];
      if (route === "direct") wanted.push("client out mesh-llm/1 04", "host in mesh-llm/1 04");
      else wanted.push("client out sealmesh/1 02", "relay out sealmesh/1 03", "host in sealmesh/1 03");
      for (const kind of wanted) expect(kinds).toContain(kind);
      // and no stream is of a kind that could carry prompts beside 0x04 and the relay's two
      const types = [...kinds]
        .filter((kind) => !kind.endsWith("whole"))
        .map((kind) => kind.split(" ").slice(2).join(" "));
      const known = [
        "mesh-llm/1 01",
        "mesh-llm/1 04",
        "mesh-llm/1 06",
        "mesh-llm/1 07",
        "sealmesh/1 01",
        "sealmesh/1 02",
        "sealmesh/1 03",
      ];
      expect([...new Set(types)].filter((type) => !known.includes(type))).toEqual([]);
      // word that a peer is down names it by its id, and has room for no more: type, length, an id and a number
      const down = all.filter(({ name }) => name.endsWith("mesh-llm/1 06"));
      expect(Math.max(0, ...down.map(({ bytes }) => bytes.length))).toBeLessThanOrEqual(1 + 4 + 34 + 2);
      await engine.close();
      await other.close();
    },
  );

  it("D3: the same search finds every word of a plain exchange, in each form", async () => {
    const attacked = attackedMesh();
    const crossed: Crossed[] = [];
    const old: RawPeer = await attacked.raw({ kind: "old", role: "host", models: ["every"] });
    let told = "";
    old.handlers.http = async (stream, reader) => {
      told += fromUtf8((await readRequest(reader)).body);
      await stream.write(chatResponse(marks.answer));
      await stream.finish();
    };
    const client = await testMesh().start(
      "client",
      { join: [old.invite] },
      tapped(attacked.network, "client", crossed),
    );
    await eventually("the client knows the model", () => client.models().includes("every"));
    for (const [path, body] of requests("every")) {
      const answer = await fetch(client.apiUrl + path, { method: "POST", body: JSON.stringify(body) });
      await answer.text().catch(() => undefined); // one kind of answer to all: what matters is the request
    }
    const plain = ways(crossed).filter(({ name }) => name === "client out mesh-llm/1 04");
    for (const word of words.filter((mark) => mark !== marks.answer)) {
      const inside = formsIn(concat([Buffer.from(told)]), word);
      expect(inside.length, `${word} has reached the host`).toBeGreaterThan(0);
      expect(found(plain, [word]).length, word).toBeGreaterThan(0);
      expect(old.couldRead(word)).toBe(true);
    }
    expect(found(ways(crossed), [marks.image]).join()).toContain("base64");
    expect(found(ways(crossed), [marks.answer]).join()).toContain("client in mesh-llm/1 04");

    const forms = (text: Buffer): readonly Buffer[] =>
      [
        text,
        text.toString("hex"),
        text.toString("hex").toUpperCase(),
        text.toString("base64"),
        text.toString("base64url"),
      ].map((form) => Buffer.from(form));
    for (const charset of ["utf8", "utf16le"] as const) {
      for (const shift of ["", "-", "--"]) {
        for (const form of forms(Buffer.from(`${shift}${marks.text}--`, charset))) {
          expect(formsIn(form, marks.text).length).toBeGreaterThan(0);
        }
      }
    }
  });

  it("D3: only exchange.ts has the functions that put an exchange on a stream", () => {
    const source = join(import.meta.dirname, "../../src");
    const all = readdirSync(source, { recursive: true, encoding: "utf8" });
    const files = all.filter((file) => file.endsWith(".ts")).map((file) => file.replaceAll("\\", "/"));
    const having = (pattern: RegExp): string[] =>
      files.filter((file) => pattern.test(readFileSync(join(source, file), "utf8"))).toSorted();
    expect(files).toContain("exchange.ts");
    // whole modules: the two ways of an exchange over a stream
    expect(having(/(?:from|import\()\s*"[^"]*\/tunnel\/(?:sealed|plain)\.ts"/)).toEqual(["exchange.ts"]);
    // the writers, and the streams that they need, by name
    expect(having(/\b(?:writeEnvelope|sealResponse|writePlainRequest|copyResponse)\b/)).toEqual([
      "exchange.ts",
      "tunnel/plain.ts",
      "tunnel/sealed.ts",
    ]);
    expect(having(/\bopenTunnel\(/)).toEqual(["exchange.ts", "mesh/mesh.ts"]);
    // mesh/attest-ask.ts sends questions about evidence, one frame each, and knows no request
    expect(having(/\bopenSeal\(/)).toEqual(["exchange.ts", "mesh/attest-ask.ts", "mesh/mesh.ts", "node/relaying.ts"]);
    // node/relaying.ts opens one to hand it to the relay, which copies bytes both ways and sees no request
    expect(having(/\bcarry\(/)).toEqual(["node/relaying.ts", "tunnel/relay.ts"]);
    expect(having(/\bsendDatagram\(/)).toEqual(["transport/iroh.ts"]);
    // streams are known to these layers only; HTTP servers, engines and the OpenAI adapters never hold one
    const holders = having(/\/base\/stream\.ts"/);
    expect(holders.filter((file) => file.startsWith("node/"))).toEqual(["node/relaying.ts"]); // the relay's, as above
    expect(having(/\bStreamReader\b/).filter((file) => file.startsWith("node/"))).toEqual([]);
    const layers = holders.map((file) => file.split("/")[0]);
    expect([...new Set(layers)].toSorted()).toEqual(["exchange.ts", "mesh", "node", "transport", "tunnel", "wire"]);
  });
});

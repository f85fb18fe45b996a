/**
 * What crosses the streams of a test's nodes, and a search in it for words in every form in which they might stand there.
 * The search is shown to find something wherever a test relies on its finding nothing.
 */
import { createServer, type IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { view } from "../../src/base/bytes.ts";
import { type TapEntry, tapTransport } from "../../src/transport/tap.ts";
import type { TransportKind } from "../../src/transport/transport.ts";

export interface Crossed extends TapEntry {
  /** Of the node whose stream it is. */
  readonly node: string;
}

/** The same network, with everything that crosses the node's streams kept in `crossed`. */
export function tapped(network: TransportKind, node: string, crossed: Crossed[]): TransportKind {
  return {
    kind: network.kind,
    start: async (options) =>
      tapTransport(await network.start(options), (entry) =>
        crossed.push({ ...entry, node, bytes: entry.bytes.slice() }),
      ),
  };
}

export interface Way {
  /** "client out mesh-llm/1 04": node, direction, ALPN and type byte of the stream. */
  readonly name: string;
  /** Everything that crossed it in this direction, as one piece. */
  readonly bytes: Buffer;
}

/** One direction of one stream each; and everything of a node together, for what is spread over streams. */
export function ways(crossed: readonly Crossed[]): readonly Way[] {
  const types = new Map<string, number>();
  const streams = new Map<string, { readonly first: Crossed; readonly pieces: Uint8Array[] }>();
  for (const entry of crossed) {
    const stream = `${entry.node} ${entry.connection} ${entry.stream}`;
    const opening = entry.openedBy === (entry.direction === "out" ? "us" : "peer");
    if (opening && !types.has(stream)) types.set(stream, entry.bytes[0] ?? -1);
    const name = `${stream} ${entry.direction}`;
    const known = streams.get(name) ?? { first: entry, pieces: [] };
    known.pieces.push(entry.bytes);
    streams.set(name, known);
  }
  const single = [...streams].map(([name, { first, pieces }]) => {
    const type = types.get(name.slice(0, name.lastIndexOf(" "))) ?? -1;
    const hex = type.toString(16).padStart(2, "0");
    return { name: `${first.node} ${first.direction} ${first.alpn} ${hex}`, bytes: Buffer.concat(pieces) };
  });
  const nodes = [...new Set(crossed.map(({ node }) => node))];
  const together = nodes.map((node) => ({
    name: `${node} as a whole`,
    bytes: Buffer.concat(crossed.filter((entry) => entry.node === node).map(({ bytes }) => bytes)),
  }));
  return [...single, ...together];
}

/** Forms of `word` that stand in `bytes`: none when it cannot be read there. */
export function formsIn(bytes: Uint8Array, word: string): string[] {
  const text = view(bytes);
  return formsOf(word).flatMap(([form, needle]) => (text.includes(needle) ? [form] : []));
}

/** Where in `all` any of `words` can be read: "way: word as form". */
export function found(all: readonly Way[], words: readonly string[]): string[] {
  return all.flatMap(({ name, bytes }) =>
    words.flatMap((word) => formsIn(bytes, word).map((form) => `${name}: ${word} as ${form}`)),
  );
}

function formsOf(word: string): readonly (readonly [form: string, needle: Buffer])[] {
  const wide = Buffer.from(word, "utf16le");
  const charsets = { "utf-8": Buffer.from(word), "utf-16": wide, "utf-16 BE": Buffer.from(wide).swap16() };
  return Object.entries(charsets).flatMap(([charset, text]) => {
    const hex = text.toString("hex");
    const forms: [string, Buffer][] = [
      [charset, text],
      [`${charset} in hex`, Buffer.from(hex)],
      [`${charset} in HEX`, Buffer.from(hex.toUpperCase())],
    ];
    for (const offset of [0, 1, 2]) {
      // characters that hold nothing but bits of the word, whatever stands around it
      const padded = Buffer.concat([Buffer.alloc(offset), text]);
      const from = Math.ceil((offset * 8) / 6);
      const to = Math.floor((padded.length * 8) / 6);
      for (const encoding of ["base64", "base64url"] as const) {
        forms.push([`${charset} in ${encoding}`, Buffer.from(padded.toString(encoding).slice(from, to))]);
      }
    }
    return forms;
  });
}

// ---- an engine that answers every route

export interface EveryRouteEngine {
  /** With `/v1`. */
  readonly url: string;
  /** Requests for an answer, as they came. */
  readonly requests: { readonly path: string; readonly headers: IncomingMessage["headers"]; readonly body: string }[];
  close(): Promise<void>;
}

/** One model, "every", and `text` as the answer to chat, completions and responses, streamed or not; embeddings too. */
export async function startEveryRoute(text: string, headers: Record<string, string> = {}): Promise<EveryRouteEngine> {
  const requests: EveryRouteEngine["requests"] = [];
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on("data", (piece: Buffer) => pieces.push(piece));
    request.on("end", () => {
      const path = request.url ?? "";
      for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
      if (request.method === "GET") return response.end(JSON.stringify({ object: "list", data: [{ id: "every" }] }));
      const body = Buffer.concat(pieces).toString("utf8");
      requests.push({ path, headers: request.headers, body });
      const { type, content } = answerOf(path, (JSON.parse(body) as { stream?: boolean }).stream === true, text);
      response.setHeader("content-type", type);
      response.end(content);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    requests,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function answerOf(path: string, stream: boolean, text: string): { readonly type: string; readonly content: string } {
  const about = { id: "x", created: 1, model: "every" };
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  const whole = (value: object): { type: string; content: string } => ({
    type: "application/json",
    content: JSON.stringify({ ...about, usage, ...value }),
  });
  if (path.endsWith("/embeddings")) {
    return whole({ object: "list", data: [{ object: "embedding", index: 0, embedding: [0.5, -1] }] });
  }
  if (path.endsWith("/responses")) return whole({ object: "response", status: "completed", output_text: text });
  const isChat = path.endsWith("/chat/completions");
  if (!stream) {
    const choice = isChat ? { message: { role: "assistant", content: text } } : { text };
    const object = isChat ? "chat.completion" : "text_completion";
    return whole({ object, choices: [{ index: 0, ...choice, finish_reason: "stop" }] });
  }
  const event = (choice: object): string => {
    const object = isChat ? "chat.completion.chunk" : "text_completion";
    return `data: ${JSON.stringify({ ...about, object, choices: [{ index: 0, ...choice }] })}\n\n`;
  };
  const first = event({
    ...(isChat ? { delta: { role: "assistant", content: text } } : { text }),
    finish_reason: null,
  });
  const last = event({ ...(isChat ? { delta: {} } : { text: "" }), finish_reason: "stop" });
  return { type: "text/event-stream", content: `${first}${last}data: [DONE]\n\n` };
}

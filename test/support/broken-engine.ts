/**
 * An engine that breaks HTTP itself: it answers chats with the bytes it is given, then closes, resets or says nothing.
 * What a well-behaved server can do wrong, the scripted engine does (`fail` in engine-process.mjs).
 */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";

export interface BrokenAnswer {
  /** Bytes of an HTTP/1.1 answer as they are, each piece some time after the one before. */
  readonly pieces: readonly string[];
  readonly last: "end" | "reset" | "silence";
}

export interface BrokenEngine {
  /** With `/v1`. */
  readonly url: string;
  /** What the next chats get. */
  answer: BrokenAnswer;
  close(): void;
}

/** In this process, on a loopback port of its own; lists one model. */
export async function startBrokenEngine(model: string): Promise<BrokenEngine> {
  const list = { object: "list", data: [{ id: model, object: "model", created: 0, meta: { n_ctx: 4096 } }] };
  const engine: BrokenEngine = { url: "", answer: { pieces: [], last: "end" }, close: () => void server.close() };
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    let head = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      head += text;
      if (!head.includes("\r\n\r\n")) return;
      const chat = head.startsWith("POST /v1/chat/completions ");
      if (chat && !head.endsWith("}")) return; // the body is on its way
      head = "";
      if (!chat) return void socket.end(whole(200, "application/json", JSON.stringify(list)));
      void misbehave(socket, engine.answer);
    });
  });
  server.on("close", () => {
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  return Object.assign(engine, { url: `http://127.0.0.1:${port}/v1` });
}

/** Between two pieces, so that they are read one by one, ms. */
const betweenMs = 30;

async function misbehave(socket: Socket, { pieces, last }: BrokenAnswer): Promise<void> {
  for (const piece of pieces) {
    socket.write(piece);
    await new Promise((resolve) => setTimeout(resolve, betweenMs));
  }
  if (last === "end") socket.end();
  else if (last === "reset") socket.resetAndDestroy();
}

/** A complete answer. */
export function whole(status: number, contentType: string, body: string): string {
  const length = Buffer.byteLength(body);
  return `HTTP/1.1 ${status} X\r\ncontent-type: ${contentType}\r\ncontent-length: ${length}\r\nconnection: close\r\n\r\n${body}`;
}

/** Head of a stream of events, and then each text as a chunk; there is no last chunk. */
export function begun(...texts: readonly string[]): readonly string[] {
  const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
  return [head, ...texts.map((text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)];
}

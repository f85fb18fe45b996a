/** A place that models are downloaded from, on loopback, with every habit that a bad line or a bad place can have. */
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

export interface ModelServerOptions {
  content: Uint8Array;
  /** @default '"one"'; undefined: none */
  etag?: string | undefined;
  /** Answers every request whole. */
  ignoresRange?: boolean;
  /** Says no size. */
  withoutLength?: boolean;
  /** Says neither a size nor where an answer ends: the end of the connection is its end. */
  endsByClosing?: boolean;
  /** Breaks the connection behind so many bytes of an answer, as often as there are entries. */
  cuts?: number[];
  /** Says nothing more behind so many bytes of an answer, once. */
  stallAfter?: number | undefined;
  /** Instead of everything else. */
  status?: number | undefined;
  /** Further headers of every answer. */
  headers?: Readonly<Record<string, string>>;
  /** Leads there. */
  redirect?: string | undefined;
}

export interface SeenModelRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
}

export interface ModelServer {
  /** Without a slash at its end. */
  readonly url: string;
  /** May be changed while it runs. */
  readonly options: ModelServerOptions;
  readonly requests: readonly SeenModelRequest[];
  close(): Promise<void>;
}

export async function startModelServer(given: ModelServerOptions): Promise<ModelServer> {
  const options = { etag: '"one"', ...given };
  const requests: SeenModelRequest[] = [];
  const server = createServer((request, response) => {
    requests.push({ path: request.url ?? "", headers: request.headers });
    response.on("error", () => undefined);
    answer(request, response, options);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, options, requests, close: () => closed(server) };
}

function answer(request: IncomingMessage, response: ServerResponse, options: ModelServerOptions): void {
  const { content, etag, headers, redirect, status } = options;
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (redirect !== undefined) return void response.writeHead(302, { location: redirect }).end();
  if (status !== undefined) return void response.writeHead(status).end("<html>no</html>");
  if (etag !== undefined) response.setHeader("etag", etag);
  const from = options.ignoresRange ? undefined : rangeOf(request, etag);
  if (from !== undefined && from >= content.length) {
    return void response.writeHead(416, { "content-range": `bytes */${content.length}` }).end();
  }
  const rest = content.subarray(from ?? 0);
  if (options.endsByClosing) response.useChunkedEncodingByDefault = false;
  else if (!options.withoutLength && !response.hasHeader("content-length"))
    response.setHeader("content-length", rest.length);
  if (from !== undefined) {
    response.setHeader("content-range", `bytes ${from}-${content.length - 1}/${content.length}`);
  }
  response.writeHead(from === undefined ? 200 : 206);
  const cut = options.cuts?.shift();
  const stall = options.stallAfter;
  if (cut !== undefined) {
    response.write(rest.subarray(0, cut), () => setImmediate(() => response.destroy()));
  } else if (stall !== undefined) {
    options.stallAfter = undefined;
    response.write(rest.subarray(0, stall));
  } else response.end(rest);
}

/** First byte that is asked for; undefined: all. */
function rangeOf({ headers }: IncomingMessage, etag: string | undefined): number | undefined {
  const [, from] = /^bytes=([0-9]+)-$/.exec(headers.range ?? "") ?? [];
  const condition = headers["if-range"];
  return from === undefined || (condition !== undefined && condition !== etag) ? undefined : Number(from);
}

async function closed(server: Server): Promise<void> {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
}

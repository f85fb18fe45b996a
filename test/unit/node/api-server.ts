/** The OpenAI server without a mesh, and bare sockets to it. */
import { once } from "node:events";
import type { Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { afterEach } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { Budget } from "../../../src/base/budget.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { Places } from "../../../src/base/places.ts";
import type { Answer, Engine, EngineRequest } from "../../../src/engine/engine.ts";
import type { ExchangeReport } from "../../../src/node/exchanges.ts";
import { type OpenAiParts, type OpenAiSurface, openAiSurface } from "../../../src/node/http/openai.ts";
import { ResponseStore } from "../../../src/openai/responses/store.ts";

export const self = endpointId("aa".repeat(32));
export const peer = endpointId("bb".repeat(32));

export type TestEngine = Pick<Engine, "answer">;

export interface TestApi {
  readonly server: Server;
  readonly answerPeer: OpenAiSurface["answerPeer"];
  readonly url: string;
  readonly port: number;
  readonly reports: readonly (ExchangeReport & { readonly error: MeshError | undefined })[];
}

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

/** Serves `engines` by model name; the mesh has "remote" besides, and nobody there answers. */
export async function startApi(
  engines: Readonly<Record<string, TestEngine>> = {},
  more: Partial<OpenAiParts> = {},
): Promise<TestApi> {
  const reports: (ExchangeReport & { error: MeshError | undefined })[] = [];
  const { server, answerPeer } = openAiSurface({
    self,
    gate: { scheme: "http", names: new Set(), addresses: false, keyHashes: [] },
    tls: undefined,
    engineFor: (model) => engines[model],
    localModels: () => Object.keys(engines),
    meshModels: () => [...Object.keys(engines), "remote"],
    isElsewhere: (model) => model === "remote",
    choose: (_path, json) => {
      return { model: String(json["model"]), needs: () => ({ kinds: [], tokens: 0, conversation: undefined }) };
    },
    proofNow: () => "current",
    attestation: () => Promise.reject(new MeshError("E_BUG", "nobody knows anything of hosts here")),
    ask: () => Promise.reject(new MeshError("E_NO_HOST", "there is no mesh here", { retryAfterSeconds: 5 })),
    begin: () => () => undefined,
    store: new ResponseStore({ entries: 10, bytes: 1_000_000, ageMs: 60_000 }),
    places: new Places({ total: 100, perHolder: 100 }),
    budget: new Budget({ total: 1_000_000_000, perHolder: 1_000_000_000 }),
    onAsked: (report, error) => reports.push({ ...report, error }),
    ...more,
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { server, answerPeer, url: `http://127.0.0.1:${port}`, port, reports };
}

/** An engine that answers with these pieces, and fails after them if told to. */
export function engineOf(
  pieces: readonly (string | Uint8Array)[],
  { contentType = "application/json", failure = undefined as Error | undefined } = {},
): TestEngine & { readonly asked: EngineRequest[] } {
  const asked: EngineRequest[] = [];
  return {
    asked,
    answer: (request): Promise<Answer> => {
      asked.push(request);
      return Promise.resolve({
        status: 200,
        headers: { "content-type": contentType },
        body: (async function* () {
          for (const piece of pieces) yield typeof piece === "string" ? utf8(piece) : piece;
          await Promise.resolve();
          if (failure) throw failure;
        })(),
      });
    },
  };
}

export const events = "text/event-stream; charset=utf-8";

/** A chat request for `model`, with more fields. */
export function chatOf(model: string, more: object = {}): object {
  return { model, messages: [{ role: "user", content: "hi" }], ...more };
}

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

export async function post(
  url: string,
  path: string,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ response: Response; json: ErrorBody }> {
  const response = await fetch(url + path, { method: "POST", body: JSON.stringify(body), headers });
  return { response, json: (await response.json()) as ErrorBody };
}

/** Sends text over a bare socket, and reads until the connection ends. */
export async function raw(
  port: number,
  text: string | Uint8Array,
): Promise<{ head: string; body: string; all: string }> {
  const socket = connect(port, "127.0.0.1");
  socket.write(text);
  let all = "";
  for await (const piece of socket) all += String(piece);
  const [head = "", ...body] = all.split("\r\n\r\n");
  return { head, body: body.join("\r\n\r\n"), all };
}

/** A bare socket whose answer is collected while the test goes on. */
export function open(port: number): { socket: Socket; readonly text: string; readonly closed: Promise<void> } {
  const socket = connect(port, "127.0.0.1");
  let text = "";
  socket.on("data", (piece) => (text += String(piece)));
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return {
    socket,
    closed,
    get text() {
      return text;
    },
  };
}

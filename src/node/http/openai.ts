/**
 * The OpenAI surface: an HTTP server for callers on this machine, and the same routes for peers (peer-lane.ts). A peer
 * reaches the engines of this machine and nothing else: no other host, no admin route (design.md §7).
 *
 * On node:http itself: fetch-shaped handlers cost several times the CPU per request.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { EndpointId } from "../../base/brand.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { Aborter, type Signal } from "../../base/signal.ts";
import { messagesPath } from "../../openai/translation.ts";
import type { ByteSource, HttpRequest } from "../../tunnel/http.ts";
import { limits } from "../../wire/limits.ts";
import { defaults } from "../defaults.ts";
import { attestedModel, type AttestationParts, showAttestation } from "./attestation.ts";
import { isAnthropic } from "./error-form.ts";
import { admit, type GateRules } from "./gate.ts";
import { isHandedOver } from "./handover.ts";
import { answerInference, type Caller, type InferenceParts, inferencePaths } from "./inference.ts";
import { type Asking, askingOf, HttpReply, type Reply } from "./lanes.ts";
import { badHead, Connections } from "./malformed.ts";
import { allowMethod, listModels, repeated, showModel } from "./models.ts";
import { answerPeer, type Routes } from "./peer-lane.ts";
import { closeWithConnection } from "./pipelined.ts";
import { sendError } from "./write.ts";

export interface OpenAiParts extends Omit<InferenceParts, "timing">, AttestationParts {
  readonly gate: GateRules;
  /** PEM; undefined: plain HTTP. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Counts running exchanges and refuses new ones while the node stops. @throws E_DRAINING */
  readonly begin: () => () => void;
  readonly timing?: Partial<HttpTiming>;
}

/** What a caller may take its time for, ms. */
export interface HttpTiming {
  readonly headMs: number;
  readonly bodyMs: number;
  readonly bodyPauseMs: number;
  readonly keepAliveMs: number;
  readonly unreadMs: number;
}

export interface OpenAiSurface {
  readonly server: Server;
  /** Answers what a peer has asked; as {@link answerPeer}. */
  readonly answerPeer: (request: HttpRequest, asker: EndpointId, signal: Signal) => ByteSource;
}

export function openAiSurface(parts: OpenAiParts): OpenAiSurface {
  const { headMs, bodyMs, bodyPauseMs, keepAliveMs } = defaults;
  const timing: HttpTiming = { headMs, bodyMs, bodyPauseMs, keepAliveMs, unreadMs: limits.unreadMs, ...parts.timing };
  const connections = new Connections();
  const surface: Surface = { ...parts, timing, connections };
  const serve = (request: IncomingMessage, response: ServerResponse): void => {
    closeWithConnection(response);
    if (connections.begin(request.socket, response)) void handle(request, response, surface);
  };
  const options = { ...httpOptions(timing), requireHostHeader: false }; // badHead() does, with an error that clients can read
  const { tls } = parts;
  const server = tls
    ? createTlsServer({ ...options, ...tls, minVersion: "TLSv1.2", handshakeTimeout: timing.headMs }, serve)
    : createServer(options, serve);
  server.maxHeadersCount = 0; // node would drop the rest silently: badHead() counts them
  server.on("checkContinue", serve); // readBody() says when to go on
  server.on("checkExpectation", serve); // badHead() refuses it
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => connections.malformed(error, socket));
  const routes: Routes = (asking, reply, caller) => route(asking, reply, caller, surface);
  return { server, answerPeer: (request, asker, signal) => answerPeer(request, asker, signal, routes) };
}

/** Anthropic's client reads the second one. */
const requestIdHeaders = ["x-request-id", "request-id"];

/** What a count would cost is an exchange: nobody but the engine that answers knows its tokens, and it is asked for answers. */
const uncounted =
  "this node does not count tokens before it asks: only the engine that answers could. The usage of each answer has them";

/** What both ports of a node give a caller on this machine. */
export function httpOptions({ headMs, bodyMs, keepAliveMs }: HttpTiming): ServerOptions {
  return {
    maxHeaderSize: limits.httpHeadBytes,
    keepAliveTimeout: keepAliveMs,
    headersTimeout: headMs,
    requestTimeout: headMs + bodyMs + 1_000, // for bodies that nobody wants; readBody() is earlier
    connectionsCheckingInterval: Math.min(1_000, headMs),
    insecureHTTPParser: false, // whatever NODE_OPTIONS says
  };
}

/** What the routes need. */
type Routed = InferenceParts & AttestationParts;

interface Surface extends OpenAiParts {
  readonly timing: HttpTiming;
  readonly connections: Connections;
}

/** A caller on this machine. */
async function handle(request: IncomingMessage, response: ServerResponse, surface: Surface): Promise<void> {
  const { connections } = surface;
  const startedMs = performance.now();
  const id = randomUUID();
  for (const name of isAnthropic(request) ? requestIdHeaders : ["x-request-id"]) response.setHeader(name, id);
  const gone = new Aborter();
  let failed = false;
  response.once("close", () => {
    // of an answer that has been written whole nothing is left to be ended
    if (failed || !response.writableFinished) gone.abort(new MeshError("E_ABORTED", "the caller has gone"));
  });
  let end: (() => void) | undefined;
  try {
    const bad = badHead(request);
    if (bad) {
      connections.giveUp(request.socket);
      throw bad;
    }
    if (!isHandedOver(request)) admit(request, surface.gate);
    end = surface.begin(); // a peer's exchange is counted where it arrives
    const caller = { asker: undefined, id, startedMs, signal: gone };
    await route(askingOf(request, response), new HttpReply(response), caller, surface);
  } catch (thrown) {
    failed = true;
    sendError(response, toMeshError(thrown), id, connections);
  } finally {
    end?.();
  }
}

async function route(asking: Asking, reply: Reply, caller: Caller, surface: Routed): Promise<void> {
  const { asker, signal } = caller;
  const path = asking.url.split("?", 1)[0] ?? "/";
  const models = /^(?:\/v1)?\/models(?:\/(.+))?$/.exec(path);
  if (models) {
    allowMethod(asking, reply, "GET");
    const known = asker ? surface.localModels() : surface.meshModels();
    const form = isAnthropic(asking) ? "anthropic" : "openai";
    return models[1] === undefined ? listModels(reply, known, form) : showModel(reply, models[1], known, form);
  }
  const attested = asker ? undefined : attestedModel(path);
  if (attested !== undefined) {
    allowMethod(asking, reply, "GET");
    return await showAttestation(reply, attested, surface, signal);
  }
  if (path === `${messagesPath}/count_tokens`) throw new MeshError("E_NOT_FOUND", uncounted);
  if (!inferencePaths.has(path)) throw new MeshError("E_NOT_FOUND", `there is no ${repeated(path)} here`);
  allowMethod(asking, reply, "POST");
  await answerInference({ asking, reply, path, caller }, surface);
}

/**
 * The OpenAI surface: one HTTP server for callers on this machine and, through injected connections, for peers. A peer
 * reaches the engines of this machine and nothing else: no other host, no admin route (design.md §7).
 *
 * On node:http itself: fetch-shaped handlers cost several times the CPU per request.
 */
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { messagesPath } from "../../openai/translation.ts";
import { limits } from "../../wire/limits.ts";
import { defaults } from "../defaults.ts";
import { attestedModel, type AttestationParts, showAttestation } from "./attestation.ts";
import { isAnthropic } from "./error-form.ts";
import { admit, type GateRules } from "./gate.ts";
import { isHandedOver } from "./handover.ts";
import { answerInference, type InferenceParts, inferencePaths } from "./inference.ts";
import { askerOf } from "./inject.ts";
import { badHead, Connections } from "./malformed.ts";
import { allowMethod, listModels, repeated, showModel } from "./models.ts";
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

export function openAiServer(parts: OpenAiParts): Server {
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
  return server;
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

interface Surface extends OpenAiParts {
  readonly timing: HttpTiming;
  readonly connections: Connections;
}

async function handle(request: IncomingMessage, response: ServerResponse, surface: Surface): Promise<void> {
  const { connections } = surface;
  const startedMs = performance.now();
  const asker = askerOf(request.socket);
  const id = randomUUID();
  if (!asker)
    for (const name of isAnthropic(request) ? requestIdHeaders : ["x-request-id"]) response.setHeader(name, id);
  const gone = new AbortController();
  response.once("close", () => gone.abort(new MeshError("E_ABORTED", "the caller has gone")));
  let end: (() => void) | undefined;
  try {
    const bad = badHead(request);
    if (bad) {
      connections.giveUp(request.socket);
      throw bad;
    }
    if (!asker) {
      if (!isHandedOver(request)) admit(request, surface.gate);
      end = surface.begin(); // a peer's exchange is counted where it arrives
    }
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const models = /^(?:\/v1)?\/models(?:\/(.+))?$/.exec(path);
    if (models) {
      allowMethod(request, response, "GET");
      const known = asker ? surface.localModels() : surface.meshModels();
      const form = isAnthropic(request) ? "anthropic" : "openai";
      return models[1] === undefined ? listModels(response, known, form) : showModel(response, models[1], known, form);
    }
    const attested = asker ? undefined : attestedModel(path);
    if (attested !== undefined) {
      allowMethod(request, response, "GET");
      return await showAttestation(response, attested, surface, gone.signal);
    }
    if (path === `${messagesPath}/count_tokens`) throw new MeshError("E_NOT_FOUND", uncounted);
    if (!inferencePaths.has(path)) throw new MeshError("E_NOT_FOUND", `there is no ${repeated(path)} here`);
    allowMethod(request, response, "POST");
    const caller = { asker, id, startedMs, signal: gone.signal };
    await answerInference({ request, response, path, caller }, surface);
  } catch (thrown) {
    sendError(response, toMeshError(thrown), id, connections);
  } finally {
    end?.();
  }
}

/**
 * The console port of a node: who asks whether it lives or is ready is answered here, requests for the API are handed to it,
 * and everything else is for the routes of admin.ts. They and their library are loaded at the first request that needs them,
 * and not for a start.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { limits } from "../../wire/limits.ts";
import { defaults } from "../defaults.ts";
import type { AdminParts } from "./admin.ts";
import { handOver, isForApi, sendRefusal } from "./handover.ts";
import { answerHeaders, refuseForeignPages } from "./local-only.ts";
import { httpOptions } from "./openai.ts";
import { closeWithConnection } from "./pipelined.ts";

export interface ConsolePortParts extends AdminParts {
  /** Whether a request could be answered now: an engine is up, or a host is there. */
  readonly ready: () => boolean;
  /** The node's API server, which need not listen; undefined: it answers nobody. */
  readonly api: Server | undefined;
}

type Listener = (request: IncomingMessage, response: ServerResponse) => void;

/** No more patient than the API port, to which it hands requests over. */
export function consolePort(parts: ConsolePortParts): Server {
  let routes: Promise<Listener> | undefined;
  const serve: Listener = (request, response) => {
    closeWithConnection(response);
    const probe = probeOf(request);
    if (probe) return answerProbe(request, response, probe(parts.ready));
    if (parts.api && isForApi(request)) {
      setHeaders(response);
      return handOver(request, response, parts.api, parts.session());
    }
    routes ??= import("./admin.ts").then(({ adminListener }) => adminListener(parts));
    routes.then(
      // who has gone meanwhile is told by nothing any more
      (listener) => request.socket.destroyed || listener(request, response),
      (thrown: unknown) => sendRefusal(response, thrown),
    );
  };
  const server = createServer(httpOptions({ ...defaults, unreadMs: limits.unreadMs }), serve);
  server.on("checkContinue", (request, response) => {
    if (!isForApi(request)) response.writeContinue(); // the API says itself when to go on
    serve(request, response);
  });
  return server;
}

// ---- probes

type ProbeAnswer = readonly [status: number, text: string];
type Probe = (ready: () => boolean) => ProbeAnswer;

const probes: Readonly<Record<string, Probe>> = {
  // the process answers: that is all there is to say
  "/healthz": () => [200, "ok\n"],
  "/readyz": (ready) => (ready() ? [200, "ready\n"] : [503, "no engine is up, and no host is there\n"]),
};

function probeOf({ method, url = "" }: IncomingMessage): Probe | undefined {
  const path = url.split("?", 1)[0] ?? "";
  return (method === "GET" || method === "HEAD") && Object.hasOwn(probes, path) ? probes[path] : undefined;
}

function answerProbe(request: IncomingMessage, response: ServerResponse, [status, text]: ProbeAnswer): void {
  setHeaders(response);
  try {
    refuseForeignPages(request.headers);
  } catch (thrown) {
    return sendRefusal(response, thrown);
  }
  response.writeHead(status, { "content-type": "text/plain; charset=UTF-8", "content-length": text.length });
  response.end(text);
}

function setHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(answerHeaders)) response.setHeader(name, value);
  response.setHeader("cache-control", "no-store");
}

/**
 * Requests of the console's page for the API: they come in at the console port and are answered by the node's API server, in
 * this process, so that the page needs no other origin and the API port no exception for one. Whoever has the session token
 * may do more than ask a model, so no API key is asked for besides.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { toMeshError } from "../../base/errors.ts";
import { openAiError } from "../../openai/errors.ts";
import { checkSession, type Session } from "../session.ts";
import { refuseForeignPages } from "./local-only.ts";

const handedOver = new WeakSet<IncomingMessage>();

/** Whether {@link handOver} has let the request in: its Host and Origin are those of the console port. */
export function isHandedOver(request: IncomingMessage): boolean {
  return handedOver.has(request);
}

export function isForApi({ url = "" }: IncomingMessage): boolean {
  return url.startsWith("/v1/");
}

/** Body, answer, back-pressure and abort are those of the caller's own connection; only its head was looked at. */
export function handOver(
  request: IncomingMessage,
  response: ServerResponse,
  api: Server,
  session: Pick<Session, "allows">,
): void {
  try {
    refuseForeignPages(request.headers);
    checkSession(request.headers.authorization, session);
  } catch (thrown) {
    return sendRefusal(response, thrown);
  }
  withoutToken(request);
  handedOver.add(request);
  api.emit("request", request, response);
}

/** Says no before a route or the API is asked. */
export function sendRefusal(response: ServerResponse, thrown: unknown): void {
  const { status, headers, body } = openAiError(toMeshError(thrown), "");
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.end(body);
}

/** It is the console's, and no business of what follows. */
function withoutToken(request: IncomingMessage): void {
  delete request.headers.authorization;
  const { rawHeaders } = request;
  for (let at = rawHeaders.length - 2; at >= 0; at -= 2) {
    if (rawHeaders[at]?.toLowerCase() === "authorization") rawHeaders.splice(at, 2);
  }
}

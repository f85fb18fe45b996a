/**
 * The routes of the console port: the console's page, status and numbers for people and programs on this machine, and for those
 * among them that have the node's session token (session.ts) what changes the node or is nobody else's business. The port
 * itself is console-port.ts, which loads this at the first request.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { type Context, Hono } from "hono";
import type { EndpointId } from "../../base/brand.ts";
import { fromUtf8 } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import type { Signal } from "../../base/signal.ts";
import { openAiError } from "../../openai/errors.ts";
import { encodeEvidenceItem } from "../../wire/evidence.ts";
import { withoutControls } from "../../wire/gossip.ts";
import type { ExplainReport } from "../attestation-report.ts";
import type { NodeEvents } from "../events.ts";
import type { EvidenceState } from "../attester.ts";
import type { Exchanges } from "../exchanges.ts";
import type { Metrics } from "../metrics.ts";
import { evidenceStatus, type Status } from "../status.ts";
import { checkSession, type Session } from "../session.ts";
import { addConsoleRoutes, consoleDirectory } from "./console.ts";
import type { StopDocument } from "./documents.ts";
import { eventStream, outgoingOf } from "./event-stream.ts";
import { addInviteRoutes, type InviteParts } from "./invites.ts";
import { answerHeaders, refuseForeignPages } from "./local-only.ts";
import { addLogRoutes, type LogParts } from "./logs.ts";
import { addPinRoutes, idFrom, type PinParts } from "./pins.ts";
import { addPolicyRoute, type PolicyPart } from "./policy.ts";

// what the console's page needs to know of our answers: it imports types from this file alone
export type { AttestationReport, ExplainReport, FactorRow, HostReport, PieceReport } from "../attestation-report.ts";
export type { ClaimRow, ExplainedHost, OwnReport, PolicyStatus, RefusalReport } from "../attestation-report.ts";
export type { ExchangeReport, ExchangeTotals } from "../exchanges.ts";
export type { LogEntry } from "../log-ring.ts";
export type { PinDocument } from "../pinning.ts";
export type { PolicyHost, PolicyReason, PolicyReport } from "../policy-report.ts";
export type { EngineStatus, EvidenceStatus, NodeState, PeerStatus, Status } from "../status.ts";
export type * from "./documents.ts";
export type { InviteDocument, MadeInviteDocument } from "./invites.ts";

export interface AdminParts {
  /** Without the token. */
  readonly status: () => Status;
  /** Invite that the node shows by itself, for callers with the session token; null: it may not invite. */
  readonly token: () => string | null;
  readonly invites: () => InviteParts;
  readonly session: () => Pick<Session, "allows">;
  readonly exchanges: Pick<Exchanges, "get" | "latest" | "totals">;
  readonly metrics: Pick<Metrics, "text" | "contentType">;
  /** What this machine shows of itself, kind by kind. */
  readonly evidence: () => readonly EvidenceState[];
  /** What one node has shown, asked anew; undefined for one that is no peer. */
  readonly attestation: (id: EndpointId, signal: Signal) => Promise<object | undefined>;
  /**
   * Who of the hosts of a model, or whether a peer, would be used, and why; undefined when nobody is meant.
   * @throws E_INPUT the beginning of an id that several nodes have
   */
  readonly explain: (what: string, signal: Signal) => Promise<ExplainReport | undefined>;
  readonly policy: PolicyPart;
  readonly pins: () => PinParts;
  readonly events: Pick<NodeEvents, "listen">;
  readonly log: LogParts;
  /** Ends the process in an orderly way; undefined: it is another program's, which ends the node itself. */
  readonly onStopAsked: (() => void) | undefined;
  /** Where the console's files are. @default beside the compiled code */
  readonly consoleDirectory?: string;
}

/** The routes as a function of requests, for tests without a socket. */
export function adminApp(parts: AdminParts): Hono {
  const { status, token, invites, session, exchanges, metrics, evidence, attestation, explain, events } = parts;
  const hasSession = ({ req }: Context): boolean => session().allows(req.header("authorization"));
  const demandSession = ({ req }: Context): void => checkSession(req.header("authorization"), session());
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    const { headers } = context.res;
    for (const [name, value] of Object.entries(answerHeaders)) headers.set(name, value);
    // what is true now, or secret: files say otherwise of themselves
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
  });
  app.use(async (context, next) => {
    refuseForeignPages(context.req.header());
    await next();
  });
  addConsoleRoutes(app, parts.consoleDirectory ?? consoleDirectory);
  app.get("/api/status", (context) => {
    return context.json(hasSession(context) ? { ...status(), token: token() } : status());
  });
  app.get("/api/events", (context) => eventStream(context, (letGo) => events.listen(letGo)));
  app.get("/api/session", (context) => {
    demandSession(context);
    return context.json({ session: true });
  });
  addPolicyRoute(app, parts.policy);
  addPinRoutes(app, parts.pins, demandSession);
  addInviteRoutes(app, invites, demandSession);
  addLogRoutes(app, parts.log, demandSession);
  app.post("/api/stop", (context) => {
    demandSession(context);
    const { onStopAsked } = parts;
    if (!onStopAsked) throw new MeshError("E_REFUSED", "this node is part of another program, which ends it");
    // told first: with nothing under way the port is gone in a moment
    const outgoing = outgoingOf(context);
    if (outgoing) outgoing.once("close", onStopAsked);
    else onStopAsked();
    const document: StopDocument = { stopping: true };
    return context.json(document, 202);
  });
  app.get("/api/exchanges", (context) => context.json({ exchanges: exchanges.latest, totals: exchanges.totals }));
  app.get("/api/exchanges/:id", (context) => {
    const report = exchanges.get(context.req.param("id"));
    if (report) return context.json(report);
    return context.json(notFound("no exchange with this id is kept; /api/exchanges lists the last ones"), 404);
  });
  app.get("/api/evidence", (context) => context.json({ evidence: evidence().map(evidenceStatus) }));
  // as `sealmesh verify` reads it
  app.get("/api/evidence/:kind", (context) => {
    const item = evidence().find(({ kind }) => kind === context.req.param("kind"))?.item;
    if (!item)
      return context.json(notFound("there is no evidence of this kind; /api/evidence says what there is"), 404);
    return context.body(fromUtf8(encodeEvidenceItem(item)), 200, { "content-type": "application/json" });
  });
  app.get("/api/attestation/:endpoint", async (context) => {
    const report = await attestation(idFrom(context.req.param("endpoint")), context.req.raw.signal);
    return report ? context.json(report) : context.json(notFound("no peer has this endpoint id"), 404);
  });
  // a model's name has slashes, which callers encode or leave
  app.get("/api/explain/:what{.+}", async (context) => {
    const report = await explain(context.req.param("what"), context.req.raw.signal);
    return report ? context.json(report) : context.json(notFound("this is no peer, and nobody serves it"), 404);
  });
  app.get("/metrics", async (context) =>
    context.body(await metrics.text(), 200, { "content-type": metrics.contentType }),
  );
  app.notFound((context) => context.json(notFound(`there is no ${withoutControls(context.req.path)} here`), 404));
  app.onError((thrown) => {
    const { status: code, headers, body } = openAiError(toMeshError(thrown), "");
    return new Response(new Uint8Array(body), { status: code, headers });
  });
  return app;
}

/** Not E_NOT_FOUND: its hint is about the API's paths. */
function notFound(message: string): object {
  return { error: { message, type: "invalid_request_error", param: null, code: "not_found" } };
}

/** The routes as a server takes them. */
export function adminListener(parts: AdminParts): (request: IncomingMessage, response: ServerResponse) => void {
  const listener = getRequestListener(adminApp(parts).fetch);
  return (request, response) => void listener(request, response);
}

/** The console port: read-only status for people and programs on this machine. Loopback only. */
import { createServer, type Server } from "node:http";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { toMeshError } from "../../base/errors.ts";
import { openAiErrorFields } from "../../openai/errors.ts";
import type { Status } from "../status.ts";
import { refuseForeignPages } from "./local-only.ts";

export interface AdminParts {
  readonly status: () => Status;
}

/** The routes as a function of requests, for tests without a socket. */
export function adminApp(parts: AdminParts): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    const { host, origin } = context.req.header();
    refuseForeignPages({ ...(host === undefined ? {} : { host }), ...(origin === undefined ? {} : { origin }) });
    await next();
  });
  app.get("/", (context) => context.text("sealmesh is running. See /api/status, or run: sealmesh status\n"));
  app.get("/api/status", (context) => context.json(parts.status()));
  app.notFound((context) =>
    context.json({ error: { message: `there is no ${context.req.path} here`, code: "not_found" } }, 404),
  );
  app.onError((thrown, context) => {
    const error = toMeshError(thrown);
    return context.json({ error: openAiErrorFields(error, "") }, error.row.status === 403 ? 403 : 500);
  });
  return app;
}

export function adminServer(parts: AdminParts): Server {
  const listener = getRequestListener(adminApp(parts).fetch);
  return createServer((request, response) => void listener(request, response));
}

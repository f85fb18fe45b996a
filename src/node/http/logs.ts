/** The last log entries, and those that come, for callers with the session token: they name peers and models. */
import type { Context, Hono } from "hono";
import { MeshError } from "../../base/errors.ts";
import type { LogRing } from "../log-ring.ts";
import type { LogsDocument } from "./documents.ts";
import { eventStream } from "./event-stream.ts";

export type LogParts = Pick<LogRing, "after" | "follow">;

/** @param demandSession throws for a caller without the session token */
export function addLogRoutes(app: Hono, log: LogParts, demandSession: (context: Context) => void): void {
  app.get("/api/logs", (context) => {
    demandSession(context);
    const document: LogsDocument = { entries: log.after(afterOf(context)) };
    return context.json(document);
  });
  app.get("/api/logs/follow", (context) => {
    demandSession(context);
    const after = afterOf(context);
    return eventStream(context, (letGo) => log.follow(after, letGo));
  });
}

/** @throws E_INPUT */
function afterOf({ req }: Context): number {
  const text = req.query("after") ?? "0";
  if (/^[0-9]{1,15}$/.test(text)) return Number(text);
  throw new MeshError("E_INPUT", "after takes the seq of a log entry: those that came later are given");
}

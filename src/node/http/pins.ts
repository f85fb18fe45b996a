/** The routes of pins on the console port: listed, confirmed and forgotten by whoever has the session token. */
import type { Context, Hono } from "hono";
import { type EndpointId, endpointId } from "../../base/brand.ts";
import { MeshError } from "../../base/errors.ts";
import { isRecord, parseJsonText } from "../../base/json.ts";
import type { Pinning } from "../pinning.ts";
import type { ConfirmedPinsDocument, ForgottenPinsDocument, PinsDocument } from "./documents.ts";
import { smallBody } from "./small-body.ts";

export type PinParts = Pick<Pinning, "list" | "confirm" | "forget">;

/** One short member. */
const bodyBytes = 1_024;

/** @param demandSession throws for a caller without the session token */
export function addPinRoutes(app: Hono, parts: () => PinParts, demandSession: (context: Context) => void): void {
  app.get("/api/pins", (context) => {
    demandSession(context);
    const document: PinsDocument = { pins: parts().list() };
    return context.json(document);
  });
  app.post("/api/pins/:endpoint", async (context) => {
    demandSession(context);
    const id = idFrom(context.req.param("endpoint"));
    const key = keyFrom(await smallBody(context.req.raw, bodyBytes));
    const document: ConfirmedPinsDocument = parts().confirm(id, key);
    return context.json(document);
  });
  app.delete("/api/pins/:endpoint", (context) => {
    demandSession(context);
    const document: ForgottenPinsDocument = { removed: parts().forget(idFrom(context.req.param("endpoint"))) };
    return context.json(document);
  });
}

/** A whole endpoint id, as it stands in a path. @throws E_INPUT */
export function idFrom(text: string): EndpointId {
  if (/^[0-9a-f]{64}$/.test(text)) return endpointId(text);
  throw new MeshError("E_INPUT", "this path ends in an endpoint id, 64 lower-case hex digits");
}

/** @throws E_INPUT */
function keyFrom(text: string): string {
  const json = parseJsonText(text);
  const { key, ...others } = isRecord(json) ? json : {};
  if (typeof key === "string" && /^[0-9a-f]{32}$/.test(key) && Object.keys(others).length === 0) return key;
  const what = "the fingerprint of the key that you have compared, 32 lower-case hex digits";
  throw new MeshError("E_INPUT", `the body is {"key": "..."}: ${what}`, { param: "key" });
}

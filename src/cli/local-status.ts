/** The status of a node of this machine, once or again after each change, for the commands that show it. */
import { MeshError, unlessMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import type { Status } from "../node/status.ts";
import { followConsole } from "./follow.ts";
import { askConsole, consoleUrl, type SessionFlags, sessionHeaders } from "./local-node.ts";

/** A node answers at once, or it is stuck. */
const answerMs = 5_000;

/** @throws E_UNREACHABLE nobody there, or somebody else */
export async function fetchStatus(flags: SessionFlags): Promise<Status> {
  // a status without its invite is one all the same
  const headers = unlessMeshError(() => sessionHeaders(flags));
  const document = await askConsole(flags, "/api/status", answerMs, headers && { headers });
  if (isStatus(document)) return document;
  throw new MeshError("E_UNREACHABLE", `what answers at ${consoleUrl(flags).origin} is no console of a sealmesh node`);
}

/** Now and after every change, until the node ends or `signal` aborts. @throws as {@link fetchStatus} */
export async function* followStatus(flags: SessionFlags, signal: AbortSignal): AsyncGenerator<Status, void> {
  for await (const { event, document } of followConsole(flags, "/api/events", { signal })) {
    if (event === "status" && isStatus(document)) yield document;
  }
}

/** Enough to know our own document; it is only printed. */
function isStatus(value: unknown): value is Status {
  return (
    isRecord(value) &&
    "endpoint_id" in value &&
    Array.isArray(value["peers"]) &&
    Array.isArray(value["engines"]) &&
    "exchanges" in value &&
    "mesh" in value &&
    "policy" in value
  );
}

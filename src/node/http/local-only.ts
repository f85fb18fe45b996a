/**
 * Keeps web pages of other origins away from ports on this machine: a page can make a browser send requests to
 * 127.0.0.1, or give its own name that address (DNS rebinding). The Host and Origin headers show it.
 */
import type { IncomingHttpHeaders } from "node:http";
import { MeshError } from "../../base/errors.ts";

const localNames: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** @throws E_FOREIGN the request names another host than this machine, or comes from a page of another origin */
export function refuseForeignPages(headers: Pick<IncomingHttpHeaders, "host" | "origin">): void {
  if (headers.host !== undefined && !isLocal(headers.host)) {
    throw new MeshError("E_FOREIGN", "the Host header does not name this machine; use localhost or 127.0.0.1");
  }
  if (headers.origin !== undefined && !isLocalOrigin(headers.origin)) {
    throw new MeshError("E_FOREIGN", "pages of other origins may not use this port");
  }
}

function isLocal(host: string): boolean {
  return localNames.has(host.replace(/:[0-9]{1,5}$/, "").toLowerCase());
}

function isLocalOrigin(origin: string): boolean {
  const match = /^https?:\/\/(.+)$/.exec(origin);
  return match?.[1] !== undefined && isLocal(match[1]);
}

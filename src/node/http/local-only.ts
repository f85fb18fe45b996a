/**
 * Keeps web pages of other origins away from the console port: a page can make a browser send requests to 127.0.0.1, or
 * give its own name that address (DNS rebinding). The Host and Origin headers show it. The API port has gate.ts.
 */
import type { IncomingHttpHeaders } from "node:http";
import { MeshError } from "../../base/errors.ts";

/** As they stand in a Host header, without the port. */
export const localNames: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The name in a Host header, lower-case; an IPv6 address keeps its brackets. */
export function hostOf(header: string): string {
  return header.replace(/:[0-9]{1,5}$/, "").toLowerCase();
}

/** @throws E_FOREIGN the request names another host than this machine, or comes from a page of another origin */
export function refuseForeignPages(headers: Pick<IncomingHttpHeaders, "host" | "origin">): void {
  if (headers.host !== undefined && !localNames.has(hostOf(headers.host))) {
    throw new MeshError("E_FOREIGN", "the Host header does not name this machine");
  }
  if (headers.origin !== undefined && !isLocalOrigin(headers.origin)) {
    throw new MeshError("E_FOREIGN", "pages of other origins may not use this port");
  }
}

function isLocalOrigin(origin: string): boolean {
  const match = /^https?:\/\/(.+)$/.exec(origin);
  return match?.[1] !== undefined && localNames.has(hostOf(match[1]));
}

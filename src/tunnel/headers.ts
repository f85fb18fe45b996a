/**
 * Which HTTP headers cross the mesh: two allow-lists. Everything else stays where it is: no Authorization, Cookie or
 * User-Agent reaches a host, no Set-Cookie, CORS or x-sealmesh-* comes back from one (design.md §7).
 */

import { MeshError } from "../base/errors.ts";

/** From an asker to a host. Host and Content-Length are written by the tunnel itself. */
const requestHeaders: ReadonlySet<string> = new Set(["content-type", "accept"]);

/** From a host to the asker's node. */
const responseHeaders: ReadonlySet<string> = new Set(["content-type", "retry-after", "x-should-retry"]);

/** Prefix of the sealed head and of what a node tells its own caller; never taken from the other side. */
const ownPrefix = "x-sealmesh-";

/** Set by a host in its sealed 425 (wire.md §4): its own unix time in ms. */
export const hostTimeHeader = "x-sealmesh-time";

/** Lower-case names. */
export type HeaderList = readonly (readonly [name: string, value: string])[];

/** @param headers lower-case names */
export function allowedRequestHeaders(headers: HeaderList): HeaderList {
  return headers.filter(([name]) => requestHeaders.has(name));
}

/** @param headers lower-case names */
export function allowedResponseHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const allowed: Record<string, string> = {};
  for (const name of responseHeaders) {
    const value = headers[name];
    if (value !== undefined) allowed[name] = value;
  }
  return allowed;
}

/** The headers by name. @throws E_WIRE when one of ours stands there twice: two readers might pick different ones */
export function uniqueOwnHeaders(headers: HeaderList): ReadonlyMap<string, string> {
  const map = new Map<string, string>();
  for (const [name, value] of headers) {
    if (map.has(name) && name.startsWith(ownPrefix)) {
      throw new MeshError("E_WIRE", `the header ${name} stands twice in the request`);
    }
    map.set(name, value);
  }
  return map;
}

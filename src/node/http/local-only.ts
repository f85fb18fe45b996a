/**
 * Keeps web pages of other origins away from the console port: a page can make a browser send requests to 127.0.0.1, or
 * give its own name that address (DNS rebinding). The Host, Origin and Sec-Fetch-Site headers show it. The API port has
 * gate.ts.
 */
import type { IncomingHttpHeaders } from "node:http";
import { MeshError } from "../../base/errors.ts";

/**
 * For every answer: a page of ours runs its own scripts and reaches this port, and nothing else; no other page may hold, read
 * or guess at what we answer.
 */
export const answerHeaders: Readonly<Record<string, string>> = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cross-origin-opener-policy": "same-origin",
};

/** As they stand in a Host header, without the port. */
export const localNames: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The name in a Host header, lower-case; an IPv6 address keeps its brackets. */
export function hostOf(header: string): string {
  return header.replace(/:[0-9]{1,5}$/, "").toLowerCase();
}

type ShownHeaders = Pick<IncomingHttpHeaders, "host" | "origin" | "sec-fetch-site">;

/**
 * Takes pages of this port alone: other programs of this machine have pages too.
 * @throws E_FOREIGN the request names another host than this machine, or comes from a page of another origin
 */
export function refuseForeignPages(headers: ShownHeaders): void {
  if (headers.host !== undefined && !localNames.has(hostOf(headers.host))) {
    throw new MeshError("E_FOREIGN", "the Host header does not name this machine");
  }
  const { host, origin } = headers;
  if (origin !== undefined && origin.toLowerCase() !== `http://${host}`.toLowerCase()) throw foreignPage();
  if (isFromForeignPage(headers)) throw foreignPage();
}

/**
 * Whether a browser says that a page of another origin made it ask. Images, scripts and links come without an Origin
 * header; programs send neither.
 */
export function isFromForeignPage({ "sec-fetch-site": site }: ShownHeaders): boolean {
  return site === "cross-site" || site === "same-site";
}

export function foreignPage(): MeshError {
  return new MeshError("E_FOREIGN", "pages of other origins may not use this port");
}

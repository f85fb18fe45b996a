/**
 * Who may use the API port. Programs on this machine may; web pages may not, but for the console: a page can make a
 * browser send requests to 127.0.0.1, or give its own name that address (DNS rebinding), and the Host, Origin and
 * Sec-Fetch-Site headers show it. A port that other machines reach asks for a key as well.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";
import { MeshError } from "../../base/errors.ts";
import { isKey } from "../api-keys.ts";
import type { NodeConfig } from "../config.ts";
import { foreignPage, hostOf, isFromForeignPage, localNames } from "./local-only.ts";

export interface GateRules {
  readonly scheme: "http" | "https";
  /** Names of this port beside those of loopback; lower-case, without port. */
  readonly names: ReadonlySet<string>;
  /** Whether any IP address may stand for a name: no page can point a name of its own at a number. */
  readonly addresses: boolean;
  /** SHA-256 of each key that opens the port, 32 bytes; none: no key is asked for. */
  readonly keyHashes: readonly Uint8Array[];
  /** Of the console on this machine, whose pages may ask; undefined: there is none. */
  readonly consolePort: () => number | undefined;
}

/** The rules that follow from a node's settings. */
export function gateRules(config: NodeConfig, consolePort: () => number | undefined): GateRules {
  const { api, reach, apiNames, tls, apiKeyHashes } = config;
  // without a port there is nobody to keep away: the program around the node asks, under the name that inject() gives it
  const own =
    api === undefined ? ["sealmesh"] : reach === "loopback" ? [] : [api.host, hostname(), `${hostname()}.local`];
  return {
    scheme: tls ? "https" : "http",
    names: new Set([...own, ...apiNames].map((name) => name.toLowerCase())),
    addresses: reach !== "loopback",
    keyHashes: apiKeyHashes,
    consolePort,
  };
}

/** What the console's pages may send and read. */
const corsHeaders = {
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, accept",
  "access-control-max-age": "600",
};
const exposedHeaders =
  "x-request-id, x-sealmesh-host, x-sealmesh-sealed, x-sealmesh-route, x-sealmesh-attempts, " +
  "x-sealmesh-attested, x-sealmesh-evidence, x-sealmesh-attested-key, retry-after, x-should-retry";

/**
 * Lets a request of this machine or of a key holder pass.
 *
 * @returns "answered" for a browser's question whether the console may ask (a CORS preflight)
 * @throws  E_FOREIGN another host is named, or a page of another origin asks · E_UNAUTHORIZED no key, or a wrong one
 */
export function admit(request: IncomingMessage, response: ServerResponse, rules: GateRules): "passes" | "answered" {
  const { host, origin, authorization } = request.headers;
  if (host !== undefined && !isOurs(hostOf(host), rules)) {
    throw new MeshError("E_FOREIGN", foreignHost(rules));
  }
  if (origin !== undefined) {
    const console = isConsole(origin, rules.consolePort());
    if (!console && origin.toLowerCase() !== `${rules.scheme}://${host}`.toLowerCase()) {
      throw foreignPage();
    }
    response.setHeader("vary", "Origin");
    if (console) {
      response.setHeader("access-control-allow-origin", origin);
      response.setHeader("access-control-expose-headers", exposedHeaders);
    }
    if (console && request.method === "OPTIONS") {
      response.writeHead(204, corsHeaders).end();
      return "answered";
    }
  }
  // the console's pages ask with an Origin header
  if (origin === undefined && isFromForeignPage(request.headers)) throw foreignPage();
  if (rules.keyHashes.length > 0) checkKey(authorization, rules.keyHashes);
  return "passes";
}

function isOurs(name: string, { names, addresses }: GateRules): boolean {
  return localNames.has(name) || names.has(name) || (addresses && isIP(name.replace(/^\[(.*)\]$/, "$1")) > 0);
}

function foreignHost({ addresses }: GateRules): string {
  const what = "the Host header does not name this machine";
  return addresses ? `${what}; a further name is allowed with --api-name NAME` : what;
}

function isConsole(origin: string, port: number | undefined): boolean {
  return port !== undefined && [...localNames].some((name) => origin.toLowerCase() === `http://${name}:${port}`);
}

function checkKey(authorization: string | undefined, hashes: readonly Uint8Array[]): void {
  const key = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
  if (key === undefined) {
    throw new MeshError("E_UNAUTHORIZED", "this port asks for an API key, and the request shows none");
  }
  if (!isKey(key, hashes)) throw new MeshError("E_UNAUTHORIZED", "the API key is not one of this node's");
}

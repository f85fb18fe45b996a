/**
 * Who may use the API port. Programs on this machine may; web pages of other origins may not: a page can make a browser send
 * requests to 127.0.0.1, or give its own name that address (DNS rebinding), and the Host, Origin and Sec-Fetch-Site headers
 * show it. A port that other machines reach asks for a key as well. The console's page comes by its own port (handover.ts).
 */
import type { IncomingMessage } from "node:http";
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
}

/** The rules that follow from a node's settings. */
export function gateRules(config: NodeConfig): GateRules {
  const { api, reach, apiNames, tls, apiKeyHashes } = config;
  const own = reach === "loopback" ? [] : [api.host, hostname(), `${hostname()}.local`];
  return {
    scheme: tls ? "https" : "http",
    names: new Set([...own, ...apiNames].map((name) => name.toLowerCase())),
    addresses: reach !== "loopback",
    keyHashes: apiKeyHashes,
  };
}

/**
 * Lets a request of this machine or of a key holder pass. A browser's question whether a page may ask (a CORS preflight) gets
 * no leave: nobody of another origin may.
 *
 * @throws E_FOREIGN another host is named, or a page of another origin asks · E_UNAUTHORIZED no key, or a wrong one
 */
export function admit({ headers }: Pick<IncomingMessage, "headers">, rules: GateRules): void {
  const { host, origin, authorization } = headers;
  if (host !== undefined && !isOurs(hostOf(host), rules)) {
    throw new MeshError("E_FOREIGN", foreignHost(rules));
  }
  const isOther = origin !== undefined && origin.toLowerCase() !== `${rules.scheme}://${host}`.toLowerCase();
  if (isOther || isFromForeignPage(headers)) throw foreignPage();
  if (rules.keyHashes.length > 0) checkKey(authorization, rules.keyHashes);
}

function isOurs(name: string, { names, addresses }: GateRules): boolean {
  return localNames.has(name) || names.has(name) || (addresses && isIP(name.replace(/^\[(.*)\]$/, "$1")) > 0);
}

function foreignHost({ addresses }: GateRules): string {
  const what = "the Host header does not name this machine";
  return addresses ? `${what}; a further name is allowed with --api-name NAME` : what;
}

function checkKey(authorization: string | undefined, hashes: readonly Uint8Array[]): void {
  const key = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
  if (key === undefined) {
    throw new MeshError("E_UNAUTHORIZED", "this port asks for an API key, and the request shows none");
  }
  if (!isKey(key, hashes)) throw new MeshError("E_UNAUTHORIZED", "the API key is not one of this node's");
}

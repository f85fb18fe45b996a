/**
 * Finds the console of a node that runs on this machine, and asks it. For commands that tell what such a node knows, or have
 * it do something: these show it the session token of its data directory.
 */
import type { Command as Commander } from "commander";
import { fromUtf8 } from "../base/bytes.ts";
import { isMeshError, MeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { dataDirFrom } from "../node/config.ts";
import { defaults } from "../node/defaults.ts";
import { bearer, readSession } from "../node/session.ts";
import { withoutControls } from "../wire/gossip.ts";
import { fetchBounded, type FetchOptions } from "../node/fetch-bounded.ts";

export interface ConsoleFlags {
  readonly console?: string;
  readonly url?: string;
}

/** The status of a node in the largest mesh, or all that its hosts have shown, bytes. */
const maxBytes = 67_108_864;
/** Most of what another program's error is repeated. */
const repeatedCharacters = 300;

export function addConsoleFlags(command: Commander): Commander {
  return command
    .option("--console <port>", `console port of the node (default: ${defaults.consolePort})`)
    .option("--url <url>", "its console URL, instead of --console");
}

/** @throws E_USAGE */
export function consoleUrl({ console: port, url }: ConsoleFlags): URL {
  if (url !== undefined && port !== undefined)
    throw new MeshError("E_USAGE", "give --console PORT or --url URL, not both");
  if (port !== undefined && !/^[0-9]{1,5}$/.test(port)) {
    throw new MeshError("E_USAGE", `--console takes a port, not "${port}"`);
  }
  const text = url ?? `http://127.0.0.1:${port ?? defaults.consolePort}`;
  if (!URL.canParse(text) || !/^https?:/.test(text)) {
    throw new MeshError("E_USAGE", `--url takes a URL such as http://127.0.0.1:3131, not "${text}"`);
  }
  return new URL(text);
}

/**
 * @param path below the console's URL, encoded
 * @param ms   longest wait: a node answers at once, or asks others first
 * @returns    the parsed answer, without control characters in any text; undefined for what it does not know (404)
 * @throws     E_UNREACHABLE nobody there, or somebody else · E_INPUT what was asked makes no sense to it, or is not for us ·
 *             E_REFUSED it must not do it
 */
export async function askConsole(
  flags: ConsoleFlags,
  path: string,
  ms: number,
  request?: FetchOptions["request"],
): Promise<unknown> {
  const base = consoleUrl(flags);
  const { status, document } = await answerOf(new URL(path, base), ms, request);
  if (status >= 200 && status < 300) return document;
  const error = isRecord(document) && isRecord(document["error"]) ? document["error"] : {};
  const { code, message } = error;
  if (status === 404 && code === "not_found") return undefined;
  const what = typeof message === "string" ? message.slice(0, repeatedCharacters) : `status ${status}`;
  throw new MeshError(codeFor(status, code), `the node at ${base.origin} says: ${what}`);
}

function codeFor(status: number, code: unknown): "E_INPUT" | "E_REFUSED" | "E_UNREACHABLE" {
  if (status === 400 || status === 401) return "E_INPUT";
  return code === "refused" ? "E_REFUSED" : "E_UNREACHABLE";
}

export interface SessionFlags extends ConsoleFlags {
  readonly dataDir?: string;
}

export function addSessionFlags(command: Commander): Commander {
  return addConsoleFlags(command).option(
    "--data-dir <directory>",
    "data directory of the node, which has its session token (default: the platform's place for state)",
  );
}

/**
 * The header that shows a node the session token of its data directory. Undefined where no node with a console has one
 * there, or where another console is meant: a token is shown to its own node alone.
 *
 * @throws E_STATE others can read the token
 */
export function sessionHeaders(flags: SessionFlags): Readonly<Record<string, string>> | undefined {
  const session = readSession(dataDirFrom(flags.dataDir));
  if (!session || addressOf(new URL(session.consoleUrl)) !== addressOf(consoleUrl(flags))) return undefined;
  return { authorization: bearer(session.token) };
}

/** Where a URL of this machine leads. */
function addressOf({ protocol, hostname, port }: URL): string {
  return `${protocol}//${hostname === "localhost" ? "127.0.0.1" : hostname}:${port}`;
}

async function answerOf(
  url: URL,
  ms: number,
  request: FetchOptions["request"],
): Promise<{ readonly status: number; readonly document: unknown }> {
  try {
    const { status, bytes } = await fetchBounded(url, { maxBytes, ms, ...(request ? { request } : {}) });
    // it goes to a terminal, and with --url it may come from anywhere
    const document: unknown = JSON.parse(fromUtf8(bytes), (_name, value: unknown) =>
      typeof value === "string" ? withoutControls(value) : value,
    );
    return { status, document };
  } catch (cause) {
    // what is wrong with the address itself, or with its TLS, says more
    if (isMeshError(cause) && (cause.code === "E_USAGE" || url.protocol === "https:")) throw cause;
    throw new MeshError("E_UNREACHABLE", `no node answers at ${url.origin}: is it running, and on that console port?`, {
      cause,
    });
  }
}

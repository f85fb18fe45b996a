/**
 * Finds the console of a node that runs on this machine, and asks it. For commands that tell what such a node knows, or have
 * it do something: these show it the session token of its data directory.
 */
import type { Command as Commander } from "commander";
import { fromUtf8 } from "../base/bytes.ts";
import { isMeshError, MeshError, unlessMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { dataDirFrom } from "../node/config.ts";
import { defaults } from "../node/defaults.ts";
import { bearer, type KnownSession, readSession } from "../node/session.ts";
import { withoutControls } from "../wire/gossip.ts";
import { fetchBounded, type FetchOptions } from "../node/fetch-bounded.ts";

export interface ConsoleFlags {
  readonly console?: string;
  readonly url?: string;
}

export interface SessionFlags extends ConsoleFlags {
  readonly dataDir?: string;
}

/** The status of a node in the largest mesh, or all that its hosts have shown, bytes. */
const maxBytes = 67_108_864;
/** Most of what another program's error is repeated. */
const repeatedCharacters = 300;

export function addConsoleFlags(command: Commander): Commander {
  return command
    .option(
      "--console <port>",
      `console port of the node (default: as its data directory says, or ${defaults.consolePort})`,
    )
    .option("--url <url>", "its console URL, instead of --console");
}

/**
 * The console that is meant: the one that the flags name, else that of the node of the data directory, else the usual one.
 * @throws E_USAGE
 */
export function consoleUrl({ console: port, url, dataDir }: SessionFlags): URL {
  if (url !== undefined && port !== undefined)
    throw new MeshError("E_USAGE", "give --console PORT or --url URL, not both");
  if (port !== undefined && !/^[0-9]{1,5}$/.test(port)) {
    throw new MeshError("E_USAGE", `--console takes a port, not "${port}"`);
  }
  const known = port === undefined ? unlessMeshError(() => readSession(dataDirFrom(dataDir)))?.consoleUrl : undefined;
  const text = url ?? known ?? `http://127.0.0.1:${port ?? defaults.consolePort}`;
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
  if (status === 404 && errorOf(document)["code"] === "not_found") return undefined;
  throw answerError(base, status, document);
}

/** What a console has said in the place of an answer, as an error of ours. */
export function answerError(base: URL, status: number, document: unknown): MeshError {
  const { code, message } = errorOf(document);
  const what = typeof message === "string" ? message.slice(0, repeatedCharacters) : `status ${status}`;
  return new MeshError(codeFor(status, code), `the node at ${base.origin} says: ${what}`);
}

function errorOf(document: unknown): Readonly<Record<string, unknown>> {
  return isRecord(document) && isRecord(document["error"]) ? document["error"] : {};
}

/** JSON of a console: it goes to a terminal, and with --url it may come from anywhere. @throws SyntaxError */
export function readDocument(text: string): unknown {
  return JSON.parse(text, (_name, value: unknown) => (typeof value === "string" ? withoutControls(value) : value));
}

function codeFor(status: number, code: unknown): "E_INPUT" | "E_REFUSED" | "E_UNREACHABLE" {
  if (status === 400 || status === 401) return "E_INPUT";
  return code === "refused" ? "E_REFUSED" : "E_UNREACHABLE";
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

/**
 * The same for commands that can do nothing without it.
 * @throws E_INPUT there is none for this node · E_STATE others can read it
 */
export function neededSession(flags: SessionFlags): Readonly<Record<string, string>> {
  const headers = sessionHeaders(flags);
  if (headers !== undefined) return headers;
  const where = `${dataDirFrom(flags.dataDir)} is not the data directory of a node with the console ${consoleUrl(flags).origin}`;
  throw new MeshError("E_INPUT", `${where}: is it running? Name another one with --data-dir and --console`);
}

/**
 * Opens the console with all that the session allows: a secret, for as long as the node runs. By its address, not as
 * "localhost": a browser may try that name's IPv6 address first, where another user's program can listen and read the link.
 */
export function consoleLink({ consoleUrl: url, token }: KnownSession): string {
  return `http://127.0.0.1:${new URL(url).port}/#session=${token}`;
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
    return { status, document: readDocument(fromUtf8(bytes)) };
  } catch (cause) {
    // what is wrong with the address itself, or with its TLS, says more
    if (isMeshError(cause) && (cause.code === "E_USAGE" || url.protocol === "https:")) throw cause;
    throw new MeshError("E_UNREACHABLE", `no node answers at ${url.origin}: is it running, and on that console port?`, {
      cause,
    });
  }
}

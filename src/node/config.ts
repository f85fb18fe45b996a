/**
 * Settings of one node: from flags and environment to checked values. A flag wins over its SEALMESH_* variable, which
 * wins over the default. The only reader of process.env.
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { MeshError } from "../base/errors.ts";
import type { RouteSetting } from "../exchange.ts";
import { type EndpointAddress } from "../wire/address.ts";
import { decodeInvite } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { defaults } from "./defaults.ts";

export interface HostPort {
  /** Without brackets, also for IPv6. */
  readonly host: string;
  readonly port: number;
}

export type EngineSetting =
  | { readonly kind: "openai-http"; readonly url: string; readonly key: string | undefined }
  | { readonly kind: "auto"; readonly key: string | undefined }
  | { readonly kind: "llama"; readonly modelPath: string; readonly contextSize: number | undefined };

export interface NodeConfig {
  readonly mode: "serve" | "client";
  /** Shown to other members. */
  readonly name: string | undefined;
  readonly dataDir: string;
  readonly join: readonly EndpointAddress[];
  readonly api: HostPort;
  /** Undefined with --headless: no console port at all. */
  readonly console: HostPort | undefined;
  /** UDP socket, host:port. */
  readonly bind: string;
  readonly irohRelays: readonly string[] | "none" | "default";
  readonly route: RouteSetting;
  /** Whether we carry envelopes of other members. */
  readonly relayTraffic: boolean;
  readonly engines: readonly EngineSetting[];
  /** Debug: file that records every byte above QUIC, as JSON lines. */
  readonly tap: string | undefined;
}

/** Flags as a command line gives them; all optional. */
export interface Flags {
  readonly name?: string;
  readonly dataDir?: string;
  readonly join?: readonly string[];
  readonly joinFile?: string;
  readonly port?: string;
  readonly listen?: string;
  readonly console?: string;
  readonly headless?: boolean;
  readonly bind?: string;
  readonly relay?: readonly string[];
  readonly route?: string;
  readonly relayTraffic?: boolean;
  readonly openMesh?: boolean;
  readonly engine?: readonly string[];
  readonly engineKeyFile?: string;
  readonly model?: readonly string[];
  readonly ctxSize?: string;
  readonly debugTap?: string;
}

/** @throws E_USAGE, E_CONFIG or E_INVITE with the flag's name and what it takes */
export function resolveConfig(mode: "serve" | "client", flags: Flags): NodeConfig {
  const engines = engineSettings(flags);
  if (mode === "client" && engines.length > 0) {
    throw new MeshError("E_USAGE", "a client serves no models: --engine and --model belong to `sealmesh serve`");
  }
  return {
    mode,
    name: checkedName(flags.name ?? environment("NAME")),
    dataDir: resolve(flags.dataDir ?? environment("DATA_DIR") ?? defaultDataDir()),
    join: invites(flags),
    api: apiAddress(flags),
    console: flags.headless
      ? undefined
      : { host: "127.0.0.1", port: port(flags.console, "--console", defaults.consolePort) },
    bind: bindAddress(flags.bind ?? environment("BIND") ?? defaults.bind),
    irohRelays: irohRelays(flags.relay ?? []),
    route: route(flags.route ?? environment("ROUTE") ?? "auto"),
    relayTraffic: flags.relayTraffic ?? true,
    engines,
    tap: flags.debugTap === undefined ? undefined : resolve(flags.debugTap),
  };
}

/** Our environment for a node that is started beside us and must not take our own settings: no SEALMESH_* in it. */
export function environmentWithoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("SEALMESH_")));
}

/** $SEALMESH_DATA_DIR, $STATE_DIRECTORY (systemd), then the platform's place for state. */
function defaultDataDir(): string {
  const { STATE_DIRECTORY, XDG_STATE_HOME, LOCALAPPDATA } = process.env;
  if (STATE_DIRECTORY) return STATE_DIRECTORY;
  if (process.platform === "darwin") return join(homedir(), "Library/Application Support/sealmesh");
  if (process.platform === "win32") return join(LOCALAPPDATA ?? homedir(), "sealmesh");
  return join(XDG_STATE_HOME ?? join(homedir(), ".local/state"), "sealmesh");
}

/** Splits "host:port" or "[v6]:port". @throws E_USAGE naming `flag` */
function parseHostPort(text: string, flag: string): HostPort {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const number = Number(match?.[3]);
  if (host === undefined || number > 65_535) {
    throw new MeshError("E_USAGE", `${flag} takes HOST:PORT, for example 127.0.0.1:9337, not "${text}"`);
  }
  return { host, port: number };
}

function environment(name: string): string | undefined {
  return process.env[`SEALMESH_${name}`] || undefined;
}

function invites(flags: Flags): readonly EndpointAddress[] {
  const tokens = [...(flags.join ?? [])];
  if (flags.joinFile !== undefined) tokens.push(...words(readSmallFile(flags.joinFile, "--join-file")));
  tokens.push(...words(environment("JOIN") ?? ""));
  return tokens.map((token) => decodeInvite(token));
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

function apiAddress(flags: Flags): HostPort {
  if (flags.listen === undefined) {
    return { host: "127.0.0.1", port: port(flags.port ?? environment("PORT"), "--port", defaults.apiPort) };
  }
  if (flags.port !== undefined) throw new MeshError("E_USAGE", "give --listen HOST:PORT or --port, not both");
  const address = parseHostPort(flags.listen, "--listen");
  if (!["127.0.0.1", "::1", "localhost"].includes(address.host)) {
    // anybody who reaches the port could ask: that needs a key and TLS, which this version does not have
    throw new MeshError("E_CONFIG", `--listen ${flags.listen}: this version listens on loopback addresses only`);
  }
  return address;
}

function port(text: string | undefined, flag: string, fallback: number): number {
  if (text === undefined) return fallback;
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new MeshError("E_USAGE", `${flag} takes a port from 0 to 65535, not "${text}"; 0 picks a free one`);
  }
  return Number(text);
}

function bindAddress(text: string): string {
  parseHostPort(text, "--bind");
  return text;
}

function irohRelays(given: readonly string[]): readonly string[] | "none" | "default" {
  if (given.length === 0 || (given.length === 1 && given[0] === "none")) return "none";
  if (given.length === 1 && given[0] === "default") return "default";
  for (const url of given) {
    if (!/^https?:\/\/[^\s/]+/.test(url)) {
      throw new MeshError("E_USAGE", `--relay takes none, default, or the URL of an iroh relay, not "${url}"`);
    }
  }
  return given;
}

function route(text: string): RouteSetting {
  if (text === "auto" || text === "direct" || text === "relay") return text;
  throw new MeshError("E_USAGE", `--route takes auto, direct or relay, not "${text}"`);
}

function checkedName(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(name)) {
    throw new MeshError("E_USAGE", "--name takes up to 64 letters, digits, blanks, dots, dashes and underscores");
  }
  return name;
}

function engineSettings(flags: Flags): readonly EngineSetting[] {
  const key =
    flags.engineKeyFile === undefined ? undefined : readSmallFile(flags.engineKeyFile, "--engine-key-file").trim();
  const external = (flags.engine ?? []).map((engine): EngineSetting => {
    if (engine === "auto") return { kind: "auto", key };
    if (URL.canParse(engine) && /^https?:/.test(engine)) return { kind: "openai-http", url: engine, key };
    throw new MeshError("E_USAGE", `--engine takes a URL such as http://127.0.0.1:11434/v1, or auto, not "${engine}"`);
  });
  const contextSize = positive(flags.ctxSize, "--ctx-size");
  const embedded = (flags.model ?? []).map((model): EngineSetting => ({
    kind: "llama",
    modelPath: resolve(model),
    contextSize,
  }));
  return [...external, ...embedded];
}

function positive(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9][0-9]{0,8}$/.test(text))
    throw new MeshError("E_USAGE", `${flag} takes a number of tokens, not "${text}"`);
  return Number(text);
}

function readSmallFile(path: string, flag: string): string {
  try {
    const text = readFileSync(path, "utf8");
    if (text.length > limits.tokenBytes) throw new Error("the file is too large");
    return text;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MeshError("E_CONFIG", `${flag}: ${why}`, { cause });
  }
}

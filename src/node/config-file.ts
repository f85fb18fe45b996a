/**
 * The configuration file: TOML, read whole at start, into settings of the right type. A name that is not known, or a value
 * of the wrong type, ends the start: a policy that is misspelt must not be one that is not there. Which file it is, and what
 * wins over it, is for config.ts, the only caller.
 */
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import type { EndpointId } from "../base/brand.ts";
import { fromUtf8 } from "../base/bytes.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { everyStep, type HardeningSteps, noStep } from "../harden/report.ts";
import type { TrustPolicy } from "../policy/owners.ts";
import { withoutControls } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import {
  buildKeys,
  file,
  files,
  filesOrUrls,
  fingerprints,
  hostIds,
  hostPort,
  hostPorts,
  type Kind,
  models,
  nodeName,
  oneOf,
  ownerIds,
  place,
  texts,
  textOrTexts,
  tier,
  type TierSetting,
  time,
  trustPolicy,
  whole,
  yesOrNo,
} from "./config-kinds.ts";
import { alternatives, listed, nearest, quoted } from "./known-names.ts";
import { readSmall } from "./own-files.ts";

/** Bytes of a file: a few hundred endpoint ids and their comments. */
const fileBytes = 65_536;

/** What the file says; every section is there, and what the file leaves out is undefined. Times are in ms. */
export interface FileSettings {
  readonly policy: {
    readonly require_attested_hosts?: TierSetting;
    readonly require_encryption?: boolean;
    readonly require_hardened?: boolean;
    readonly allow_hosts?: readonly EndpointId[];
    readonly accept_unchallenged?: boolean;
    readonly keys?: readonly string[];
    readonly owners?: readonly string[];
    readonly roots?: readonly string[];
    readonly evidence_max_age?: number;
    readonly evidence_ahead?: number;
    readonly allow_builds?: readonly string[];
    readonly build_keys?: readonly string[];
    readonly sigstore_root?: string;
    readonly sigstore_issuer?: string;
    readonly sigstore_identity?: string;
  };
  readonly attest: {
    readonly refresh?: number;
    readonly tpm?: string;
    readonly tpm_certificates?: readonly string[];
    readonly software?: boolean;
  };
  readonly owner: {
    readonly key?: string;
    readonly passphrase_file?: string;
    readonly trust?: readonly string[];
    readonly trust_policy?: TrustPolicy;
  };
  readonly challenge: { readonly interval?: number };
  /** Where downloaded models are kept, and a file with the key for those of Hugging Face that are not for everybody. */
  readonly models: { readonly cache_dir?: string; readonly hf_token_file?: string };
  /** Megabytes a second, and streams at a time, that are carried for others. */
  readonly relay: { readonly traffic?: boolean; readonly rate?: number; readonly streams?: number };
  readonly invite: {
    readonly require_attested_hosts?: TierSetting;
    readonly require_encryption?: boolean;
    readonly require_hardened?: boolean;
  };
  readonly discovery: {
    readonly publish?: boolean;
    readonly mesh_name?: string;
    readonly auto?: boolean;
    readonly discover?: string;
    readonly invite_only?: boolean;
    readonly region?: string;
    readonly nostr_relays?: readonly string[];
    readonly lan?: boolean;
  };
  readonly telemetry: {
    readonly otlp_endpoint?: string;
    readonly otlp_headers_file?: string;
    readonly service_name?: string;
  };
  /** Steps that are not wanted, for debugging; each is on unless this says false. */
  readonly hardening: {
    readonly environment?: boolean;
    readonly core_dumps?: boolean;
    readonly debugger?: boolean;
    readonly inspector?: boolean;
    readonly privileges?: boolean;
  };
  readonly node: { readonly name?: string };
  readonly mesh: { readonly join_file?: string; readonly open?: boolean };
  readonly api: {
    readonly port?: number;
    readonly listen?: string;
    readonly key_file?: string;
    readonly tls_cert?: string;
    readonly tls_key?: string;
    readonly insecure_http?: boolean;
    readonly names?: readonly string[];
  };
  readonly console: { readonly port?: number; readonly headless?: boolean };
  readonly network: {
    readonly bind?: string;
    readonly advertise?: readonly string[];
    readonly iroh_relays?: readonly string[];
    readonly route?: "auto" | "direct" | "relay";
    readonly direct?: boolean;
    readonly pad?: boolean;
  };
  /** Of `serve` alone. */
  readonly engine: {
    readonly models?: readonly string[];
    readonly urls?: readonly string[];
    readonly key_file?: string;
    readonly ctx_size?: number;
    readonly max_running?: number;
    readonly max_queued?: number;
    readonly coalesce?: number;
  };
}

type KindsOf<Section> = { readonly [Name in keyof Section]-?: Kind<Exclude<Section[Name], undefined>> };

const sections: { readonly [Name in keyof FileSettings]: KindsOf<FileSettings[Name]> } = {
  policy: {
    require_attested_hosts: tier,
    require_encryption: yesOrNo,
    require_hardened: yesOrNo,
    allow_hosts: hostIds,
    accept_unchallenged: yesOrNo,
    keys: fingerprints,
    owners: ownerIds,
    roots: files,
    evidence_max_age: time(1, 3_600),
    evidence_ahead: time(0, 300),
    allow_builds: filesOrUrls,
    build_keys: buildKeys,
    sigstore_root: file,
    sigstore_issuer: place,
    sigstore_identity: place,
  },
  attest: { refresh: time(1, 3_600), tpm: place, tpm_certificates: files, software: yesOrNo },
  owner: { key: file, passphrase_file: file, trust: ownerIds, trust_policy: trustPolicy },
  challenge: { interval: time(1, 3_600) },
  models: { cache_dir: file, hf_token_file: file },
  relay: { traffic: yesOrNo, rate: whole(1, 10_000), streams: whole(1, 10_000) },
  invite: { require_attested_hosts: tier, require_encryption: yesOrNo, require_hardened: yesOrNo },
  discovery: {
    publish: yesOrNo,
    mesh_name: place,
    auto: yesOrNo,
    discover: place,
    invite_only: yesOrNo,
    region: place,
    nostr_relays: texts,
    lan: yesOrNo,
  },
  telemetry: { otlp_endpoint: place, otlp_headers_file: file, service_name: place },
  hardening: {
    environment: yesOrNo,
    core_dumps: yesOrNo,
    debugger: yesOrNo,
    inspector: yesOrNo,
    privileges: yesOrNo,
  },
  node: { name: nodeName },
  mesh: { join_file: file, open: yesOrNo },
  api: {
    port: whole(0, 65_535),
    listen: hostPort,
    key_file: file,
    tls_cert: file,
    tls_key: file,
    insecure_http: yesOrNo,
    names: texts,
  },
  console: { port: whole(0, 65_535), headless: yesOrNo },
  network: {
    bind: hostPort,
    advertise: hostPorts,
    iroh_relays: textOrTexts,
    route: oneOf(["auto", "direct", "relay"]),
    direct: yesOrNo,
    pad: yesOrNo,
  },
  engine: {
    models,
    urls: textOrTexts,
    key_file: file,
    ctx_size: whole(1, 999_999_999),
    max_running: whole(1, 1_000_000),
    max_queued: whole(0, 1_000_000),
    coalesce: whole(0, limits.coalesceMs),
  },
};

/** Every setting of the file as "section.name", with what it takes. */
export function fileKeys(): ReadonlyMap<string, string> {
  return new Map(
    Object.keys(sections).flatMap((section) =>
      [...(kindsOf(section) ?? [])].map(([name, { takes }]) => [`${section}.${name}`, takes] as const),
    ),
  );
}

export const noFileSettings: FileSettings = {
  policy: {},
  attest: {},
  owner: {},
  challenge: {},
  models: {},
  relay: {},
  invite: {},
  discovery: {},
  telemetry: {},
  hardening: {},
  node: {},
  mesh: {},
  api: {},
  console: {},
  network: {},
  engine: {},
};

/** @param wanted false: --no-hardening, whatever the file says */
export function hardeningSteps(wanted: boolean, { hardening }: FileSettings): HardeningSteps {
  if (!wanted) return noStep;
  const { environment, core_dumps, debugger: attaching, inspector, privileges } = hardening;
  return {
    environment: environment ?? everyStep.environment,
    "core-dumps": core_dumps ?? everyStep["core-dumps"],
    debugger: attaching ?? everyStep.debugger,
    inspector: inspector ?? everyStep.inspector,
    privileges: privileges ?? everyStep.privileges,
  };
}

/** @throws E_CONFIG naming file, setting and what it takes; also when others than root and we can change the file */
export function readConfigFile(path: string): FileSettings {
  return settingsFrom(readConfigText(path), path);
}

/** The same for a file's text. */
export function settingsFrom(text: string, path: string): FileSettings {
  let document: unknown;
  try {
    document = parse(text);
  } catch (cause) {
    throw new MeshError("E_CONFIG", `${path}${syntaxComplaint(cause)}`, { cause });
  }
  const tables = new Map(Object.entries(isRecord(document) ? document : {}));
  for (const [section, values] of tables) {
    if (!kindsOf(section)) throw new MeshError("E_CONFIG", `${path}: ${unknownSection(section)}`);
    // a date is an object too, and would be a section without settings
    if (!isRecord(values) || values instanceof Date)
      throw new MeshError("E_CONFIG", `${path}: ${section} is a section: write [${section}]`);
  }
  const read = <Name extends keyof FileSettings>(section: Name): FileSettings[Name] =>
    sectionFrom(section, tables.get(section) ?? {}, path) as FileSettings[Name]; // by the kinds of its row of `sections`
  return {
    policy: read("policy"),
    attest: read("attest"),
    owner: read("owner"),
    challenge: read("challenge"),
    models: read("models"),
    relay: read("relay"),
    invite: read("invite"),
    discovery: read("discovery"),
    telemetry: read("telemetry"),
    hardening: read("hardening"),
    node: read("node"),
    mesh: read("mesh"),
    api: read("api"),
    console: read("console"),
    network: read("network"),
    engine: read("engine"),
  };
}

function sectionFrom(section: keyof FileSettings, values: object, path: string): object {
  const kinds = kindsOf(section) ?? new Map<string, Kind<unknown>>();
  const read = Object.entries(values).map(([name, value]) => {
    const kind = kinds.get(name);
    if (!kind) throw new MeshError("E_CONFIG", `${path}: ${unknownSetting(section, name, [...kinds.keys()])}`);
    const setting = kind.read(value, dirname(resolve(path)));
    if (setting === undefined) throw new MeshError("E_CONFIG", `${path}: [${section}] ${name} takes ${kind.takes}`);
    return [name, setting] as const;
  });
  return Object.fromEntries(read);
}

function kindsOf(section: string): ReadonlyMap<string, Kind<unknown>> | undefined {
  const found = Object.entries(sections).find(([name]) => name === section);
  return found && new Map(Object.entries<Kind<unknown>>(found[1]));
}

/** @throws E_CONFIG · what readConfigFile() says of a file that cannot be read, or that others can change */
export function readConfigText(path: string): string {
  try {
    return fromUtf8(readSmall(path, fileBytes, { trusted: true }));
  } catch (cause) {
    const { code, message } = toMeshError(cause);
    throw new MeshError("E_CONFIG", code === "E_INPUT" ? message : `${path} cannot be read (${message})`, { cause });
  }
}

/**
 * Line of a setting in a file's text, from 1: for people, who look for it. Undefined where it is written in another way than below
 * its section by itself.
 */
export function lineOf(key: string, text: string): number | undefined {
  const [wanted = "", name = ""] = key.split(".");
  let section = "";
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*\[/.test(line)) section = /^\s*\[\s*"?([A-Za-z0-9_-]+)"?\s*\]/.exec(line)?.[1] ?? "";
    const [, found] = /^\s*"?([A-Za-z0-9_-]+)"?\s*=/.exec(line) ?? [];
    if (section === wanted && found === name) return index + 1;
  }
  return undefined;
}

/** The parser's message without the lines that it quotes. */
function syntaxComplaint(thrown: unknown): string {
  if (!(thrown instanceof TomlError)) return ": it is not TOML";
  const [first = ""] = thrown.message.replace(/^Invalid TOML document: /, "").split("\n");
  return `, line ${thrown.line}, column ${thrown.column}: it is not TOML: ${withoutControls(first)}`;
}

// ---- names

function unknownSection(name: string): string {
  const home = Object.keys(sections).filter((section) => kindsOf(section)?.has(name));
  if (home.length > 0) return `${name} belongs below ${alternatives(home.map((section) => `[${section}]`))}`;
  const known = Object.keys(sections);
  const near = nearest(name, known);
  const hint = near === undefined ? `there are ${listed(known.map((one) => `[${one}]`))}` : `did you mean [${near}]?`;
  return `there is no section or setting ${quoted(name)}: ${hint}`;
}

function unknownSetting(section: string, name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  const elsewhere = Object.keys(sections).filter((other) => other !== section && kindsOf(other)?.has(name));
  const secretFile = known.find((one) => one === `${name}_file` || one === `${name.replace(/s$/, "")}_file`);
  const hint =
    secretFile !== undefined
      ? `secrets do not stand in this file; ${secretFile} names the file that has it`
      : elsewhere.length > 0
        ? `it belongs below ${alternatives(elsewhere.map((other) => `[${other}]`))}`
        : near === undefined
          ? `it takes ${listed(known)}`
          : `did you mean ${near}?`;
  return `[${section}] has no setting ${quoted(name)}: ${hint}`;
}

/**
 * The configuration file: TOML, read whole at start, into settings of the right type. A name that is not known, or a value
 * of the wrong type, ends the start: a policy that is misspelt must not be one that is not there. Which file it is, and what
 * wins over it, is for config.ts, the only caller.
 */
import { dirname, resolve } from "node:path";
import { parse, TomlError } from "smol-toml";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromUtf8 } from "../base/bytes.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { isRecord } from "../base/json.ts";
import { everyStep, type HardeningSteps, noStep } from "../harden/report.ts";
import { type TrustPolicy, trustPolicies } from "../policy/owners.ts";
import { withoutControls } from "../wire/gossip.ts";
import { type DemandableTier, demandableTiers } from "../wire/invite.ts";
import { readSmall } from "./own-files.ts";

/** Bytes of a file: a few hundred endpoint ids and their comments. */
const fileBytes = 65_536;

/** What a setting may be. */
interface Kind<T> {
  /** For the sentence "... takes ...". */
  readonly takes: string;
  /** @returns undefined when the value is none. @param folder of the file */
  readonly read: (value: unknown, folder: string) => T | undefined;
}

const yesOrNo: Kind<boolean> = {
  takes: "true or false",
  read: (value) => (typeof value === "boolean" ? value : undefined),
};

const place: Kind<string> = {
  takes: "a text that is not empty",
  read: (value) => (typeof value === "string" && value !== "" ? value : undefined),
};

/** "none": asked for nothing, which is more than saying nothing. */
export type TierSetting = DemandableTier | "none";

const tier: Kind<TierSetting> = {
  takes: `true (which is "key"), false, or ${alternatives(demandableTiers.map((name) => `"${name}"`))}`,
  read: (value) => {
    if (typeof value === "boolean") return value ? "key" : "none";
    return demandableTiers.find((name) => name === value);
  },
};

/** As they stand there; an empty list is one too. */
const texts: Kind<readonly string[]> = {
  takes: 'a list of texts, such as ["wss://relay.example.org"]',
  read: (value) => listOf(value, place.read),
};

/** Paths, from the file's folder on. */
const files: Kind<readonly string[]> = {
  takes: 'a list of files, such as ["maker.pem"]',
  read: (value, folder) => listOf(value, place.read)?.map((path) => resolve(folder, path)),
};

/** The same, or addresses. */
const filesOrUrls: Kind<readonly string[]> = {
  takes: 'a list of files and addresses, one at least, such as ["builds.txt", "https://example.org/builds.txt"]',
  read: (value, folder) => {
    const list = listOf(value, place.read);
    return list?.length === 0 ? undefined : list?.map((item) => (isUrl(item) ? item : resolve(folder, item)));
  },
};

/** Keys, or files with them. */
const buildKeys: Kind<readonly string[]> = {
  takes: "a list of keys that sign builds, one at least: 64 lower-case hex digits or base64 of 32 bytes each, or files",
  read: (value, folder) => {
    const list = listOf(value, place.read);
    return list?.length === 0 ? undefined : list?.map((item) => (isBuildKey(item) ? item : resolve(folder, item)));
  },
};

/** From the file's folder on. */
const file: Kind<string> = {
  takes: 'a file, such as "trusted_root.json"',
  read: (value, folder) => (typeof value === "string" && value !== "" ? resolve(folder, value) : undefined),
};

const hostIds = oneAtLeast<EndpointId>("endpoint ids, 64 lower-case hex digits each", (value) => {
  return isHex(value, 64) ? endpointId(value) : undefined;
});

const ownerIds = oneAtLeast<string>("owner ids, 64 lower-case hex digits each", (value) => {
  return isHex(value, 64) ? value : undefined;
});

const trustPolicy: Kind<TrustPolicy> = {
  takes: alternatives(trustPolicies.map((name) => `"${name}"`)),
  read: (value) => trustPolicies.find((name) => name === value),
};

const fingerprints: Kind<readonly string[]> = {
  takes: "a list of key fingerprints, 32 lower-case hex digits each, as `sealmesh trust list` shows them",
  read: (value) => listOf(value, (item) => (isHex(item, 32) ? item : undefined)),
};

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
  readonly relay: { readonly rate?: number; readonly streams?: number };
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
  /** Steps that are not wanted, for debugging; each is on unless this says false. */
  readonly hardening: {
    readonly environment?: boolean;
    readonly core_dumps?: boolean;
    readonly debugger?: boolean;
    readonly inspector?: boolean;
    readonly privileges?: boolean;
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
  relay: { rate: whole(1, 10_000), streams: whole(1, 10_000) },
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
  hardening: {
    environment: yesOrNo,
    core_dumps: yesOrNo,
    debugger: yesOrNo,
    inspector: yesOrNo,
    privileges: yesOrNo,
  },
};

export const noFileSettings: FileSettings = {
  policy: {},
  attest: {},
  owner: {},
  challenge: {},
  models: {},
  relay: {},
  invite: {},
  discovery: {},
  hardening: {},
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
  return settingsFrom(readText(path), path);
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
    hardening: read("hardening"),
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

/** @throws E_CONFIG */
function readText(path: string): string {
  try {
    return fromUtf8(readSmall(path, fileBytes, { trusted: true }));
  } catch (cause) {
    const { code, message } = toMeshError(cause);
    throw new MeshError("E_CONFIG", code === "E_INPUT" ? message : `${path} cannot be read (${message})`, { cause });
  }
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
  const hint =
    elsewhere.length > 0
      ? `it belongs below ${alternatives(elsewhere.map((other) => `[${other}]`))}`
      : near === undefined
        ? `it takes ${listed(known)}`
        : `did you mean ${near}?`;
  return `[${section}] has no setting ${quoted(name)}: ${hint}`;
}

function quoted(name: string): string {
  return `"${withoutControls(name).slice(0, 64)}"`;
}

/** The known name that was probably meant: no more than a third of it is wrong. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = name.slice(0, 64).toLowerCase().replaceAll("-", "_");
  const ranked = known
    .map((candidate) => ({ candidate, steps: editSteps(plain, candidate) }))
    .toSorted((a, b) => a.steps - b.steps);
  const [best] = ranked;
  return best && best.steps <= Math.max(1, best.candidate.length / 3) ? best.candidate : undefined;
}

/** Letters to insert, remove or replace (Levenshtein). */
function editSteps(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [index, letter] of from.split("").entries()) {
    const next = [index + 1];
    for (const [column, other] of to.split("").entries()) {
      const kept = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(kept, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}

// ---- kinds

/** A time within bounds that are given in seconds; in ms once read. */
function time(leastSeconds: number, mostSeconds: number): Kind<number> {
  return {
    takes: `a time from ${leastSeconds} s to ${mostSeconds} s: a number of seconds, or such as "90s", "5m" or "1h"`,
    read: (value) => {
      const seconds = typeof value === "string" ? secondsOf(value) : value;
      if (typeof seconds !== "number" || !(seconds >= leastSeconds && seconds <= mostSeconds)) return undefined;
      return Math.round(seconds * 1_000);
    },
  };
}

function whole(least: number, most: number): Kind<number> {
  return {
    takes: `a whole number from ${least} to ${most}`,
    read: (value) =>
      Number.isInteger(value) && Number(value) >= least && Number(value) <= most ? Number(value) : undefined,
  };
}

/** "90s", "5m" or "1h". @returns seconds; undefined for any other text */
export function secondsOf(text: string): number | undefined {
  const units: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };
  const [, number, unit = ""] = /^([0-9]{1,6})([smh])$/.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * (units[unit] ?? Number.NaN);
}

/** An empty list of the only ones that may be asked would be a node that asks nobody. */
function oneAtLeast<T>(what: string, read: (value: unknown) => T | undefined): Kind<readonly T[]> {
  return {
    takes: `a list of ${what}, one at least`,
    read: (value) => {
      const list = listOf(value, read);
      return list?.length === 0 ? undefined : list;
    },
  };
}

/** undefined when the value is no list, or an item is none. */
function listOf<T>(value: unknown, read: (item: unknown, folder: string) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items: T[] = [];
  for (const item of value as readonly unknown[]) {
    const one = read(item, "");
    if (one === undefined) return undefined;
    items.push(one);
  }
  return items;
}

/** Whether a place is an address and no file. */
export function isUrl(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
}

/** Whether a text has the form of a key, so that it is no file. */
export function isBuildKey(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text) || /^[A-Za-z0-9+/]{43}=$/.test(text);
}

function isHex(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && /^[0-9a-f]+$/.test(value);
}

function listed(names: readonly string[]): string {
  return joined(names, "and");
}

function alternatives(names: readonly string[]): string {
  return joined(names, "or");
}

function joined(names: readonly string[], word: string): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${word} ${names.at(-1)}`;
}

/**
 * The types that a setting of the configuration file can have: what each takes, in words, and how a value is read. Checks the form
 * alone; whether a file is there, or two settings fit together, is for config.ts. For config-file.ts.
 */
import { resolve } from "node:path";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { type TrustPolicy, trustPolicies } from "../policy/owners.ts";
import { type DemandableTier, demandableTiers } from "../wire/invite.ts";
import { alternatives } from "./known-names.ts";

/** What a setting may be. */
export interface Kind<T> {
  /** For the sentence "... takes ...". */
  readonly takes: string;
  /** @returns undefined when the value is none. @param folder of the file */
  readonly read: (value: unknown, folder: string) => T | undefined;
}

export const yesOrNo: Kind<boolean> = {
  takes: "true or false",
  read: (value) => (typeof value === "boolean" ? value : undefined),
};

export const place: Kind<string> = {
  takes: "a text that is not empty",
  read: (value) => (typeof value === "string" && value !== "" ? value : undefined),
};

/** "none": asked for nothing, which is more than saying nothing. */
export type TierSetting = DemandableTier | "none";

export const tier: Kind<TierSetting> = {
  takes: `true (which is "key"), false, or ${alternatives(demandableTiers.map((name) => `"${name}"`))}`,
  read: (value) => {
    if (typeof value === "boolean") return value ? "key" : "none";
    return demandableTiers.find((name) => name === value);
  },
};

/** As they stand there; an empty list is one too. */
export const texts: Kind<readonly string[]> = {
  takes: 'a list of texts, such as ["wss://relay.example.org"]',
  read: (value) => listOf(value, place.read),
};

/** Paths, from the file's folder on. */
export const files: Kind<readonly string[]> = {
  takes: 'a list of files, such as ["maker.pem"]',
  read: (value, folder) => listOf(value, place.read)?.map((path) => resolve(folder, path)),
};

/** The same, or addresses. */
export const filesOrUrls: Kind<readonly string[]> = {
  takes: 'a list of files and addresses, one at least, such as ["builds.txt", "https://example.org/builds.txt"]',
  read: (value, folder) => {
    const list = listOf(value, place.read);
    return list?.length === 0 ? undefined : list?.map((item) => (isUrl(item) ? item : resolve(folder, item)));
  },
};

/** Keys, or files with them. */
export const buildKeys: Kind<readonly string[]> = {
  takes: "a list of keys that sign builds, one at least: 64 lower-case hex digits or base64 of 32 bytes each, or files",
  read: (value, folder) => {
    const list = listOf(value, place.read);
    return list?.length === 0 ? undefined : list?.map((item) => (isBuildKey(item) ? item : resolve(folder, item)));
  },
};

/** From the file's folder on. */
export const file: Kind<string> = {
  takes: 'a file, such as "keys.txt"',
  read: (value, folder) => (typeof value === "string" && value !== "" ? resolve(folder, value) : undefined),
};

export const hostIds: Kind<readonly EndpointId[]> = oneAtLeast<EndpointId>(
  "endpoint ids, 64 lower-case hex digits each",
  (value) => {
    return isHex(value, 64) ? endpointId(value) : undefined;
  },
);

export const ownerIds: Kind<readonly string[]> = oneAtLeast<string>(
  "owner ids, 64 lower-case hex digits each",
  (value) => {
    return isHex(value, 64) ? value : undefined;
  },
);

export const trustPolicy: Kind<TrustPolicy> = {
  takes: alternatives(trustPolicies.map((name) => `"${name}"`)),
  read: (value) => trustPolicies.find((name) => name === value),
};

export const fingerprints: Kind<readonly string[]> = {
  takes: "a list of key fingerprints, 32 lower-case hex digits each, as `sealmesh trust list` shows them",
  read: (value) => listOf(value, (item) => (isHex(item, 32) ? item : undefined)),
};

/** Files, or what is fetched: addresses and names of a model hub stay as they are. */
export const models: Kind<readonly string[]> = {
  takes: 'a list of models, such as ["demo.gguf"]',
  read: (value, folder) =>
    listOf(value, place.read)?.map((item) => (isUrl(item) || item.startsWith("hf:") ? item : resolve(folder, item))),
};

/** One text, or several. */
export const textOrTexts: Kind<readonly string[]> = {
  takes: 'a text or a list of texts, such as ["https://relay.example.org"]',
  read: (value) => (typeof value === "string" ? (value === "" ? undefined : [value]) : listOf(value, place.read)),
};

export const hostPort: Kind<string> = {
  takes: 'an address with its port, such as "127.0.0.1:9337"',
  read: (value) => (typeof value === "string" && hostPortPattern.test(value) ? value : undefined),
};

export const hostPorts: Kind<readonly string[]> = {
  takes: 'a list of addresses with their ports, such as ["192.0.2.7:4433"]',
  read: (value) => listOf(value, hostPort.read),
};

export const nodeName: Kind<string> = {
  takes: "up to 64 letters, digits, blanks, dots, dashes and underscores",
  read: (value) => (typeof value === "string" && namePattern.test(value) ? value : undefined),
};

/** What people call a node, or a mesh. */
export const namePattern: RegExp = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;
/** "host:port" or "[v6]:port", with each part. */
export const hostPortPattern: RegExp = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/;

export function oneOf<const T extends string>(words: readonly T[]): Kind<T> {
  return {
    takes: alternatives(words.map((word) => `"${word}"`)),
    read: (value) => words.find((word) => word === value),
  };
}

// ---- made of others

/** A time within bounds that are given in seconds; in ms once read. */
export function time(leastSeconds: number, mostSeconds: number): Kind<number> {
  return {
    takes: `a time from ${leastSeconds} s to ${mostSeconds} s: a number of seconds, or such as "90s", "5m" or "1h"`,
    read: (value) => {
      const seconds = typeof value === "string" ? secondsOf(value) : value;
      if (typeof seconds !== "number" || !(seconds >= leastSeconds && seconds <= mostSeconds)) return undefined;
      return Math.round(seconds * 1_000);
    },
  };
}

export function whole(least: number, most: number): Kind<number> {
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

/**
 * Which packages a package is made of: its dependencies and theirs, each found where Node would find it from there. Reads
 * package.json files and looks into folders; runs nothing of what it finds.
 */
import { lstatSync, readFileSync, realpathSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { type Collection, isInert } from "./files.ts";
import { escaped } from "./manifest.ts";

export interface Package {
  /** Real path: hoisting and links have no say in what a package is. */
  readonly directory: string;
  /** "name@version", from its package.json, fit for a key. */
  readonly id: string;
  readonly version: string;
  /** Names that it asks for, and whether it can do without. */
  readonly asks: ReadonlyMap<string, { readonly optional: boolean }>;
}

/** A package.json has a few thousand bytes. */
const packageJsonBytes = 2 ** 20;
/** What `require("x")` looks for beside a folder node_modules/x; some of it even when that is there. */
const beside = ["", ".js", ".json", ".node"] as const;

/**
 * The package in a folder.
 *
 * @param asked what it was asked for: its name where package.json has none
 * @param peers whether it asks for its peers as well. Those that are optional are left to who installs them, and which of
 *              them are there depends on what else is installed
 */
export function readPackage(directory: string, asked: string, { peers }: { readonly peers: boolean }): Package {
  const json = packageJson(directory);
  const name = typeof json["name"] === "string" ? json["name"] : asked;
  const version = typeof json["version"] === "string" ? json["version"] : "";
  const asks = new Map<string, { optional: boolean }>();
  const add = (field: string, optional: (name: string) => boolean): void => {
    for (const key of Object.keys(object(json[field]))) asks.set(key, { optional: optional(key) });
  };
  const meta = object(json["peerDependenciesMeta"]);
  const optionalPeer = (key: string): boolean => object(meta[key])["optional"] === true;
  if (peers) add("peerDependencies", () => false);
  for (const key of asks.keys()) if (optionalPeer(key)) asks.delete(key);
  add("dependencies", () => false);
  add("optionalDependencies", () => true);
  return { directory, id: escaped(`${name}@${version}`), version, asks };
}

/** Adds the files of `first`'s dependencies and of theirs, and which of them each name leads to. */
export function addDependencies(collection: Collection, first: Package): readonly Package[] {
  const known = new Map<string, Package>([[first.directory, first]]);
  const open = [first];
  for (let from = open.pop(); from !== undefined; from = open.pop()) {
    for (const [asked, { optional }] of from.asks) {
      const found = find(collection, from.directory, asked);
      if (found === undefined) {
        if (!optional) collection.word("missing", `${from.id} ${escaped(asked)}`);
        continue;
      }
      const target = typeof found === "string" ? found : (known.get(found.directory) ?? found).id;
      collection.word("dependency", `${from.id} ${escaped(asked)} ${target}`);
      if (typeof found === "string" || known.has(found.directory)) continue;
      if (known.size >= collection.bounds.packages) {
        collection.giveUp();
        return [...known.values()];
      }
      known.set(found.directory, found);
      open.push(found);
      addPackage(collection, found);
    }
  }
  return [...known.values()];
}

/** Files of a package that count, without those of packages in its node_modules. */
export function addPackage(collection: Collection, { directory, id }: Package): void {
  collection.folder(directory, id, (name) => !isInert(name), "node_modules");
}

/**
 * The first folder on Node's way that has something by that name. All that is there counts: in node_modules, "x.js" can
 * come before "x/".
 *
 * @returns the package, or the key of a file that stands in its place
 */
function find(collection: Collection, from: string, asked: string): Package | string | undefined {
  // "." and ".." would lead out, and Node takes no such name for a package
  if (!/^(?:@[^/\\]+\/)?[^./\\@][^/\\]*$/.test(asked)) return undefined;
  for (const folder of createRequire(join(from, "package.json")).resolve.paths(asked) ?? []) {
    const path = join(folder, asked);
    const files = beside.filter((ending) => isFileOrLink(`${path}${ending}`));
    const keys = files.map((ending) => `node_modules/${escaped(`${asked}${ending}`)}`);
    for (const [index, ending] of files.entries()) collection.file(`${path}${ending}`, keys[index] ?? "");
    if (isFolder(path)) return readPackage(realpathSync(path), basename(path), { peers: true });
    if (keys[0] !== undefined) return keys[0];
  }
  return undefined;
}

function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  } catch {
    return false; // closed to us, as it is to Node
  }
}

function isFileOrLink(path: string): boolean {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats !== undefined && !stats.isDirectory() && !isFolder(path);
  } catch {
    return false; // something on the way is no folder
  }
}

/** Empty when there is none, or none that can be read: the file counts all the same. */
function packageJson(directory: string): Readonly<Record<string, unknown>> {
  const path = join(directory, "package.json");
  try {
    const stats = statSync(path);
    if (!stats.isFile() || stats.size > packageJsonBytes) return {};
    return object(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return {};
  }
}

function object(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}

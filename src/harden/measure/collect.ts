/** The three manifests of an installation, made in one go on the thread that calls. measure.ts is the way in. */
import { realpathSync } from "node:fs";
import { join } from "node:path";
import type { BuildMeasurement } from "../measure.ts";
import { Collection, type MeasureBounds, usualBounds } from "./files.ts";
import { canonical, escaped, type ManifestEntry, manifestDigest, type ManifestKind } from "./manifest.ts";
import { addDependencies, type Package, readPackage } from "./packages.ts";

export interface CollectOptions {
  /** Folder of the package. */
  readonly root: string;
  /** Whether the packages of the embedded engine are measured as well, where they are installed. */
  readonly engine: boolean;
  /** Where they are looked for when they are not found from `root`. */
  readonly engineFolder?: string | undefined;
  /** Whether the Node program is, which has 100 MB. @default true */
  readonly runtime?: boolean;
  readonly bounds?: MeasureBounds | undefined;
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

/** The engine is an optional peer of the package. */
const engineName = "node-llama-cpp";
/** Sentences kept of a broken installation, which may have thousands. */
const problemLimit = 16;
/** Characters of a key in a sentence; names of files can be long. */
const keyShown = 200;

export function collect(options: CollectOptions): BuildMeasurement {
  const { root, engine, engineFolder, runtime: withRuntime = true, bounds = usualBounds, onProgress } = options;
  const started = performance.now();
  const platform = `${process.platform}-${process.arch}`;
  const part = (kind: ManifestKind, entries: readonly ManifestEntry[]): readonly [string, readonly ManifestEntry[]] => {
    const manifest = canonical(entries);
    return [manifestDigest(kind, platform, manifest), manifest];
  };
  const own = readPackage(realpathSync(root), "sealmesh", { peers: false });
  const ours = new Collection(bounds, onProgress);
  ours.file(join(own.directory, "package.json"), `${own.id}/package.json`);
  ours.folder(join(own.directory, "dist"), `${own.id}/dist`, () => true);
  const packages = addDependencies(ours, own).length;
  const runs = new Collection(bounds, onProgress);
  if (withRuntime) addRuntime(runs);
  const engines = engine
    ? (engineFrom(own, own.directory, bounds, onProgress) ??
      (engineFolder === undefined ? undefined : engineFrom(own, engineFolder, bounds, onProgress)))
    : undefined;
  const [build, manifest] = part("build", ours.entries);
  const [runtime, runtimeManifest] = part("runtime", runs.entries);
  const [engineDigest, engineManifest] = engines ? part("engine", engines.entries) : [undefined, []];
  return {
    build,
    runtime,
    engine: engineDigest,
    version: own.version,
    platform,
    node: process.version,
    files: ours.files,
    bytes: ours.bytes,
    packages,
    manifest,
    runtimeManifest,
    engineManifest,
    problems: problemsOf([...manifest, ...runtimeManifest, ...engineManifest]),
    ms: Math.round(performance.now() - started),
  };
}

/** The program that runs, and the versions of what it is made of. */
function addRuntime(collection: Collection): void {
  collection.file(process.execPath, "node");
  for (const [part, version] of Object.entries(process.versions)) {
    if (version !== undefined) collection.word("version", `${escaped(part)} ${escaped(version)}`);
  }
}

/** Undefined where it is not installed. engine/llama-package.ts looks in the same order for what is loaded. */
function engineFrom(
  own: Package,
  directory: string,
  bounds: MeasureBounds,
  onProgress: CollectOptions["onProgress"],
): Collection | undefined {
  const collection = new Collection(bounds, onProgress);
  // its digest must not change with our version
  const asking: Package = { ...own, directory, id: "sealmesh", asks: new Map([[engineName, { optional: true }]]) };
  addDependencies(collection, asking);
  return collection.entries.length === 0 ? undefined : collection;
}

const sentences: Readonly<Record<string, string>> = {
  missing: "is not installed",
  link: "is a symbolic link, which could lead anywhere",
  unreadable: "cannot be read",
  special: "is neither a file nor a folder",
  incomplete: "there is more than is measured",
};

/** What keeps a manifest from being that of a healthy installation. */
function problemsOf(entries: readonly ManifestEntry[]): readonly string[] {
  const found = entries.flatMap(({ digest, key }) => {
    const sentence = Object.hasOwn(sentences, digest) ? sentences[digest] : undefined;
    return sentence === undefined ? [] : [key === "-" ? sentence : `${key.slice(0, keyShown)} ${sentence}`];
  });
  const more = found.length - problemLimit;
  return more > 0 ? [...found.slice(0, problemLimit), `and ${more} more`] : found;
}

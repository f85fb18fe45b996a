/** `sealmesh measure`: digests of this installation, and what they are made of. Starts no node and asks none. */
import { Option } from "commander";
import { engineFolder } from "../../engine/llama-package.ts";
import {
  type BuildMeasurement,
  fileDigest,
  type ManifestEntry,
  type ManifestKind,
  manifestText,
  measureBuild,
} from "../../harden/measure.ts";
import { dataDirFrom } from "../../node/config.ts";
import { type Command, repeated } from "../command.ts";
import { labelled, paintFor, printJson, printLine, printNote } from "../output.ts";

interface MeasureFlags {
  readonly json?: boolean;
  readonly manifest?: ManifestKind | true;
  readonly model?: readonly string[];
  readonly dataDir?: string;
}

/** What takes longer says how far it is, this often, ms. */
const progressMs = 2_000;

export const measure: Command = {
  description:
    "Hashes what would run here and prints three digests: `build` of this package and of the packages that it depends on, " +
    "`runtime` of the Node program, `engine` of the embedded engine's packages, if they are installed. Equal digests mean " +
    "equal files, wherever and however they were installed; docs/measurement.md says what counts. What a node tells others " +
    "is what it measured itself: a changed node can say what it likes.",
  examples: [
    { what: "the digests", line: "sealmesh measure" },
    { what: "what two installations differ in", line: "diff <(sealmesh measure --manifest) other-manifest.txt" },
    { what: "the same digest by other means", line: "sealmesh measure --manifest | sha256sum" },
    { what: "of a model as well, for programs", line: "sealmesh measure --model model.gguf --json" },
  ],
  addFlags: (command) =>
    command
      .option("--json", "one JSON document; with --manifest, all three manifests are in it")
      .addOption(
        new Option(
          "--manifest [digest]",
          "print the text that a digest is the SHA-256 of, a line a file: build, runtime or engine (without a word: build)",
        ).choices(["build", "runtime", "engine"]),
      )
      .addOption(
        new Option("--model <file>", "a model whose digest is wanted too; may be repeated").argParser(repeated),
      )
      .option(
        "--data-dir <directory>",
        "of the node, for the engine that `sealmesh engine install` put there (default: the platform's place for state)",
      ),
  async run(given) {
    const { json, manifest, model: models = [] } = given as MeasureFlags;
    const folder = engineFolder(dataDirFrom((given as MeasureFlags).dataDir));
    const measured = await withProgress("the installation", (onProgress) =>
      measureBuild({ onProgress, engineFolder: folder }),
    );
    const digests: { file: string; sha256: string; bytes: number }[] = [];
    for (const file of models) {
      const { sha256, stamp } = await withProgress(file, (onProgress) => fileDigest(file, { onProgress }));
      digests.push({ file, sha256, bytes: Number(stamp.size) });
    }
    if (json) printJson(document(measured, digests, manifest !== undefined));
    else if (manifest === undefined) printLine(text(measured, digests));
    else process.stdout.write(textOf(manifest === true ? "build" : manifest, measured));
    if (!json)
      for (const problem of measured.problems)
        printNote(`${paintFor(process.stderr)("yellow", "warning:")} ${problem}`);
    return 0;
  },
};

/** Nothing where the engine is not installed. */
function textOf(kind: ManifestKind, measured: BuildMeasurement): string {
  switch (kind) {
    case "build":
      return manifestText(kind, measured.platform, measured.manifest);
    case "runtime":
      return manifestText(kind, measured.platform, measured.runtimeManifest);
    case "engine":
      return measured.engine === undefined ? "" : manifestText(kind, measured.platform, measured.engineManifest);
  }
}

type ModelDigest = { readonly file: string; readonly sha256: string; readonly bytes: number };

function document(measured: BuildMeasurement, models: readonly ModelDigest[], withManifest: boolean): unknown {
  const { build, runtime, engine, version, platform, node, files, bytes, packages, problems, ms } = measured;
  const manifests = {
    build: measured.manifest.map(lineOf),
    runtime: measured.runtimeManifest.map(lineOf),
    engine: measured.engineManifest.map(lineOf),
  };
  const digests = { build, runtime, engine: engine ?? null };
  const counts = { files, bytes, packages, ms };
  return { version, platform, node, ...digests, ...counts, problems, models, ...(withManifest ? { manifests } : {}) };
}

function lineOf({ digest, key }: ManifestEntry): string {
  return `${digest}  ${key}`;
}

function text(measured: BuildMeasurement, models: readonly ModelDigest[]): string {
  const { build, runtime, engine, version, platform, node, files, bytes, packages, ms } = measured;
  const paint = paintFor(process.stdout);
  return [
    `${paint("bold", `sealmesh ${version}`)}  on ${platform}`,
    "",
    labelled("build", [build, `${files} files of ${packages} packages, ${sizeText(bytes)}`], paint),
    labelled("runtime", [runtime, `Node ${node}`], paint),
    labelled("engine", [engine ?? "not installed"], paint),
    ...models.map(({ file, sha256, bytes: size }) => labelled("model", [sha256, `${file}, ${sizeText(size)}`], paint)),
    "",
    paint("dim", `measured in ${ms} ms by this installation itself: it shows what is here, not that nobody changed it`),
  ].join("\n");
}

function sizeText(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

async function withProgress<T>(what: string, work: (onProgress: (bytes: number) => void) => Promise<T>): Promise<T> {
  let told = performance.now();
  return await work((bytes) => {
    if (performance.now() - told < progressMs) return;
    told = performance.now();
    printNote(`hashing ${what}: ${sizeText(bytes)} so far`);
  });
}

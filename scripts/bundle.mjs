// Joins the sources into few files, as Node loads each file of a start for itself, which takes longer than what is in it. Below
// parts/ lies one file for each step of a node's start; of the rest, what is needed together lies together, and what is imported
// late is a file of its own. Names and layout are those of the sources where somebody starts or imports a file by its name.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { rolldown } from "rolldown";

/** What is started or imported by its name: src/NAME.ts becomes dist/NAME.js. */
const programs = ["cli/main", "engine/llama-child", "harden/measure/worker", "sdk/index", "sdk/node"];

/**
 * Packages whose code is joined too, and the text of their licence, which goes with it: dozens of files, of which a start needs a
 * part. All others stay outside, as every addon must.
 */
const joined = {
  // its package has no such file
  "@bufbuild/protobuf": "scripts/licences/bufbuild-protobuf.txt",
  commander: "node_modules/commander/LICENSE",
  "smol-toml": "node_modules/smol-toml/LICENSE",
};

/**
 * How a node starts: each step is one file, with all that its module imports less what the steps before it have. What a node has in
 * common with whoever does not start one is apart, so that they do not load all of a node: child for threads and processes of
 * its own, common for other commands.
 */
const steps = {
  start: "cli/main",
  child: undefined,
  program: "cli/program",
  common: undefined,
  node: "cli/node-process",
};

/**
 * @param into   folder that is there; what is in it stays
 * @param inputs @default what the package needs
 */
export async function bundle(root, into, inputs = programs) {
  const packages = Object.keys(joined);
  const isOutside = (id) => !/^[./]/.test(id) && !packages.some((name) => id === name || id.startsWith(`${name}/`));
  const parts = partsOf(join(root, "src"));
  const build = await rolldown({
    cwd: root,
    input: Object.fromEntries(inputs.map((name) => [name, join(root, "src", `${name}.ts`)])),
    platform: "node",
    external: isOutside,
    transform: { target: "es2022" },
    // a build notes where code comes from: below this folder, whatever its packages are a link to
    resolve: { symlinks: false },
    plugins: [parts.plugin],
  });
  try {
    await build.write({
      dir: into,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "parts/[name]-[hash].js",
      // they are in the sources; here they would be read at each start
      comments: { jsdoc: false },
      codeSplitting: { groups: parts.groups },
    });
  } finally {
    await build.close();
  }
  mkdirSync(join(into, "parts"), { recursive: true });
  for (const [name, licence] of Object.entries(joined)) {
    copyFileSync(join(root, licence), join(into, "parts", `LICENSE-${name.replace("@", "").replace("/", "-")}.txt`));
  }
}

/** Which module goes into which file: decided when all imports are known, and before files are made. */
function partsOf(src) {
  const parts = new Map();
  const fileOf = (name) => join(src, `${name}.ts`);
  const plugin = {
    name: "parts",
    buildEnd() {
      const known = [...this.getModuleIds()].map((id) => this.getModuleInfo(id)).filter((info) => !info.isExternal);
      const modules = new Map(known.map((info) => [info.id, info]));
      const withImports = (id) => {
        const found = new Set(modules.has(id) ? [id] : []);
        // what is added meanwhile is visited too
        for (const each of found)
          for (const next of modules.get(each).importedIds) if (modules.has(next)) found.add(next);
        return found;
      };
      const loadedWithoutNode = (how) => {
        const loaded = known.filter(how).map(({ id }) => withImports(id));
        return loaded.filter((found) => !found.has(fileOf("node/node")));
      };
      const late = loadedWithoutNode(({ dynamicImporters }) => dynamicImporters.length > 0);
      const started = loadedWithoutNode(({ isEntry }) => isEntry);
      for (const [step, name] of Object.entries(steps)) {
        for (const id of withImports(fileOf(name))) {
          if (parts.has(id) || modules.get(id).isEntry) continue;
          const isIn = (loaded) => loaded.some((found) => found.has(id));
          if (step !== "start" && isIn(started)) parts.set(id, "child");
          else parts.set(id, step === "node" && isIn(late) ? "common" : step);
        }
      }
    },
  };
  const names = Object.keys(steps);
  // the earlier ones take what they import, and leave the rest to the later ones
  const groups = names.map((name, index) => ({
    name,
    test: (id) => parts.get(id) === name,
    priority: names.length - index,
  }));
  return { plugin, groups };
}

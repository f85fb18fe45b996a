// Joins the sources into few files, as Node loads each file of a start for itself, which takes longer than what is in it: what is
// needed together lies together below parts/, and what is imported late is a file of its own. Names and layout are those of
// the sources where somebody starts or imports a file by its name.
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
 * @param into   folder that is there; what is in it stays
 * @param inputs @default what the package needs
 */
export async function bundle(root, into, inputs = programs) {
  const packages = Object.keys(joined);
  const isOutside = (id) => !/^[./]/.test(id) && !packages.some((name) => id === name || id.startsWith(`${name}/`));
  const build = await rolldown({
    cwd: root,
    input: Object.fromEntries(inputs.map((name) => [name, join(root, "src", `${name}.ts`)])),
    platform: "node",
    external: isOutside,
    transform: { target: "es2022" },
    // a build notes where code comes from: below this folder, whatever its packages are a link to
    resolve: { symlinks: false },
  });
  try {
    await build.write({
      dir: into,
      format: "esm",
      entryFileNames: "[name].js",
      chunkFileNames: "parts/[name]-[hash].js",
      // they are in the sources; here they would be read at each start
      comments: { jsdoc: false },
    });
  } finally {
    await build.close();
  }
  mkdirSync(join(into, "parts"), { recursive: true });
  for (const [name, licence] of Object.entries(joined)) {
    copyFileSync(join(root, licence), join(into, "parts", `LICENSE-${name.replace("@", "").replace("/", "-")}.txt`));
  }
}

// Tables of the product for the pages that are made from them: modules of src/, bundled with what they import of it into one folder that
// Node can load. Packages stay outside. The folder stands below the root, where they are found, and is removed: what is imported late
// must be in the same file.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { rolldown } from "rolldown";

/** @param names file below src/ -> what is wanted of it · @returns all of them, by name */
export async function fromProduct(root, names) {
  const entry = "sealmesh-tables";
  const text = Object.entries(names)
    .map(([file, wanted]) => `export { ${wanted.join(", ")} } from ${JSON.stringify(join(root, "src", file))};`)
    .join("\n");
  const plugin = {
    name: entry,
    resolveId: (id) => (id === entry ? entry : undefined),
    load: (id) => (id === entry ? text : undefined),
  };
  const external = (id) => id !== entry && !/^[./]/.test(id);
  const build = await rolldown({ input: entry, platform: "node", plugins: [plugin], cwd: root, external });
  const folder = mkdtempSync(join(root, ".generate-"));
  // as deep below the root as src/ has its files: some look for package.json from where they are
  const out = join(folder, "pages");
  try {
    mkdirSync(out);
    const { output } = await build.generate({ format: "esm", codeSplitting: false });
    for (const { fileName, code } of output) {
      const file = join(out, fileName);
      mkdirSync(join(file, ".."), { recursive: true });
      writeFileSync(file, code);
    }
    return await import(pathToFileURL(join(out, output[0].fileName)).href);
  } finally {
    await build.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A row of a Markdown table. */
export function row(cells) {
  return `| ${cells.map((cell) => String(cell).replaceAll("|", "\\|")).join(" | ")} |\n`;
}

/** Text as code, or nothing. */
export function code(text) {
  return text ? `\`${text}\`` : "";
}

/** Text of ours in a page: what looks like a tag is shown as it is. */
export function prose(text) {
  return text.replaceAll(/`[^`]*`|[<>]/g, (part) => (part === "<" ? "&lt;" : part === ">" ? "&gt;" : part));
}

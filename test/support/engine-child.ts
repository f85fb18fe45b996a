/** The embedded engine's child as a file that Node can run: tests run from the sources, and Node 20 runs no TypeScript. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { rolldown } from "rolldown";

const root = join(import.meta.dirname, "../..");

let built: Promise<string> | undefined;

/** Path of the bundled child; for `childFile` of LlamaSettings. */
export function llamaChildFile(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const bundle = await rolldown({
    input: join(root, "src/engine/llama-child.ts"),
    platform: "node",
    external: [/^node:/, "node-llama-cpp", "@huggingface/jinja", "eventsource-parser", "koffi"],
    logLevel: "silent",
  });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  await bundle.close();
  const { code } = output[0];
  const folder = join(root, "node_modules/.cache/sealmesh");
  const file = join(folder, `llama-child-${createHash("sha256").update(code).digest("hex").slice(0, 16)}.mjs`);
  if (!existsSync(file)) {
    await mkdir(folder, { recursive: true });
    const draft = `${file}.${process.pid}`;
    await writeFile(draft, code);
    await rename(draft, file);
  }
  return file;
}

// Checks and joins src/ to dist/ (bundle.mjs), builds console/ to dist/console/, and makes the command executable. Skips what is
// newer than every source of it. A failed build leaves the old dist/ as it is, and a running process never sees half of a new one.
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { bundle } from "./bundle.mjs";
import { keepPublicDeclarations } from "./declarations.mjs";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const entry = "cli/main.js";
const page = "console/index.html";
const { exports: exported } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** A folder changes when a file in it is deleted. */
const newestIn = (folder) =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).map(
    (file) => statSync(join(file.parentPath, file.name)).mtimeMs,
  );
const newestOf = (...files) => files.map((file) => statSync(join(root, file)).mtimeMs);
const isOlder = (made, sources) =>
  !existsSync(join(dist, made)) || statSync(join(dist, made)).mtimeMs < Math.max(...sources);

const codeIsOld = isOlder(entry, [
  ...newestIn("src"),
  ...newestOf("tsconfig.json", "package.json", "scripts/bundle.mjs", "scripts/declarations.mjs"),
]);
const pageIsOld = isOlder(page, [...newestIn("console"), ...newestOf("models/demo.json", "package.json")]);

const fresh = join(root, `dist.${process.pid}`);
const old = `${fresh}.old`;
// whoever builds may have NODE_ENV set: with another one the page has paths of this machine in it
const env = { ...process.env, NODE_ENV: "production" };
const run = (tool, ...args) =>
  spawnSync(process.execPath, [join(root, "node_modules", tool), ...args], { cwd: root, env, stdio: "inherit" })
    .status ?? 1;
/** The new one comes into the place of the old one in a moment. */
const replace = (made, place) => {
  if (existsSync(place)) renameSync(place, old);
  renameSync(made, place);
};

let status = 0;
if (codeIsOld) status = run("typescript/bin/tsc", "-p", root, "--emitDeclarationOnly", "--outDir", fresh);
if (pageIsOld && status === 0) {
  status = run("vite/bin/vite.js", "build", "--config", "console/vite.config.ts", "--outDir", join(fresh, "console"));
}
if (status === 0 && codeIsOld) {
  await bundle(root, fresh);
  keepPublicDeclarations(
    fresh,
    Object.values(exported).flatMap(({ types }) => types ?? []),
  );
  chmodSync(join(fresh, entry), 0o755);
  const kept = { recursive: true, preserveTimestamps: true };
  if (!pageIsOld) cpSync(join(dist, "console"), join(fresh, "console"), kept);
  replace(fresh, dist);
} else if (status === 0 && pageIsOld) {
  replace(join(fresh, "console"), join(dist, "console"));
}
for (const leftover of [fresh, old]) rmSync(leftover, { recursive: true, force: true });
process.exitCode = status;

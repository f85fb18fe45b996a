import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { changedSince, fileDigest, manifestText, measureBuild } from "../../../src/harden/measure.ts";
import { collect } from "../../../src/harden/measure/collect.ts";
import { usualBounds } from "../../../src/harden/measure/files.ts";
import { installDir, ownFiles, packageJson, writeFiles } from "../../support/installations.ts";

const platform = `${process.platform}-${process.arch}`;

/** One file of every kind that counts. */
const kinds: Readonly<Record<string, string>> = {
  "index.js": "js",
  "index.cjs": "cjs",
  "index.mjs": "mjs",
  "addon.node": "addon",
  "prebuilds/win32-x64/addon.node": "addon of another system",
  "code.wasm": "wasm",
  "data.json": "{}",
  "bin/tool": "no ending",
  "libx.so.1": "shared library",
  "libx.dylib": "the same",
  "x.dll": "the same",
  "x.exe": "program",
  "install.sh": "script",
  "source.ts": "typescript",
  "view.jsx": "unknown to Node, so JavaScript",
  "v1.2": "an ending that nobody has heard of",
  LICENSE: "no ending either",
};
/** And of those that do not. */
const inertFiles: Readonly<Record<string, string>> = {
  "README.md": "read me",
  "index.d.ts": "types",
  "index.d.mts": "types",
  "index.js.map": "map",
  "binding.cc": "source",
  "addon.bare": "for another runtime",
  ".npmignore": "x",
};

/** Package `a` asks for `b`, which is nested, and we for both. */
function installation(root: string): void {
  writeFiles(root, {
    ...ownFiles(["a", "@s/b"], { optionalDependencies: { "for-others": "1" }, devDependencies: { dev: "1" } }),
    "README.md": "not of the package's code",
    "node_modules/a/package.json": packageJson("a", "1.0.0", { dependencies: { "@s/b": "2" } }),
    "node_modules/@s/b/package.json": packageJson("@s/b", "1.0.0"),
    "node_modules/a/node_modules/@s/b/package.json": packageJson("@s/b", "2.0.0"),
    "node_modules/a/node_modules/@s/b/index.js": "b two",
    "node_modules/@s/b/index.js": "b one",
    "node_modules/dev/package.json": packageJson("dev", "1.0.0"),
    "node_modules/.bin/tool": "x",
    ...Object.fromEntries(Object.entries({ ...kinds, ...inertFiles }).map(([k, v]) => [`node_modules/a/${k}`, v])),
  });
}

function installed(): string {
  const root = installDir();
  installation(root);
  return root;
}

function buildOf(root: string): string {
  return collect({ root, engine: false, runtime: false }).build;
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

describe("the manifest of a build", () => {
  it("has a line for each file and for each dependency, and its SHA-256 is the digest", async () => {
    const root = installDir();
    const json = packageJson("a", "1.0.0", { optionalDependencies: { absent: "1" } });
    writeFiles(root, {
      ...ownFiles(["a"]),
      "node_modules/a/package.json": json,
      "node_modules/a/lib/ä\n%.js": "x",
    });
    const text = [
      "sealmesh build manifest 1",
      `platform ${platform}`,
      `${sha256("x")}  a@1.0.0/lib/%c3%a4%0a%25.js`,
      `${sha256(json)}  a@1.0.0/package.json`,
      "dependency  sealmesh@0.1.0 a a@1.0.0",
      `${sha256("main")}  sealmesh@0.1.0/dist/cli/main.js`,
      `${sha256("measure")}  sealmesh@0.1.0/dist/harden/measure.js`,
      `${sha256(readFileSync(join(root, "package.json"), "utf8"))}  sealmesh@0.1.0/package.json`,
      "",
    ].join("\n");
    const measured = await measureBuild({ root });
    expect(manifestText("build", measured.platform, measured.manifest)).toBe(text);
    expect(measured.build).toBe(sha256(text));
    expect(measured).toMatchObject({ version: "0.1.0", files: 5, packages: 2, engine: undefined, problems: [] });
  });

  it("changes with a single byte of any file in it, of every kind", () => {
    const root = installed();
    const before = collect({ root, engine: false, runtime: false });
    for (const name of Object.keys(kinds)) {
      expect(before.manifest.map(({ key }) => key)).toContain(`a@1.0.0/${name}`);
    }
    const places: Readonly<Record<string, string>> = {
      "sealmesh@0.1.0/": "",
      "a@1.0.0/": "node_modules/a/",
      "@s/b@1.0.0/": "node_modules/@s/b/",
      "@s/b@2.0.0/": "node_modules/a/node_modules/@s/b/",
    };
    let changed = 0;
    for (const { digest, key } of before.manifest) {
      const [id, folder] = Object.entries(places).find(([prefix]) => key.startsWith(prefix)) ?? [];
      if (digest === "dependency" || id === undefined || folder === undefined) continue;
      const path = join(root, folder, key.slice(id.length));
      const bytes = readFileSync(path);
      // a space at the end keeps JSON what it was
      const other = key.endsWith(".json") ? Buffer.concat([bytes, Buffer.from(" ")]) : Buffer.from(bytes);
      if (!key.endsWith(".json")) other[0] = (other[0] ?? 0) ^ 1;
      writeFileSync(path, other);
      expect(buildOf(root), key).not.toBe(before.build);
      writeFileSync(path, bytes);
      changed += 1;
    }
    expect(changed).toBe(before.files);
    expect(buildOf(root)).toBe(before.build);
  });

  it("does not change with what neither runs nor decides what runs", () => {
    const root = installed();
    const before = buildOf(root);
    for (const name of Object.keys(inertFiles)) writeFileSync(join(root, "node_modules/a", name), "other");
    writeFiles(root, {
      "README.md": "other",
      "src/x.ts": "other",
      "node_modules/dev/index.js": "other",
      "node_modules/extraneous/index.js": "other",
      "node_modules/.package-lock.json": "{}",
      "node_modules/.bin/tool": "other",
    });
    expect(buildOf(root)).toBe(before);
  });

  it("is the same wherever and however the package is installed", () => {
    const root = installed();
    const elsewhere = join(installDir(), "a folder", "node_modules", "sealmesh");
    cpSync(root, elsewhere, { recursive: true });
    expect(buildOf(elsewhere)).toBe(buildOf(root));
    // hoisted beside the package, as in somebody's project
    const project = join(dirname(elsewhere), "..");
    for (const name of ["a", "@s"]) {
      renameSync(join(elsewhere, "node_modules", name), join(project, "node_modules", name));
    }
    expect(buildOf(elsewhere)).toBe(buildOf(root));
    // by links to a store
    const linked = installDir();
    writeFiles(linked, { "package.json": readFileSync(join(root, "package.json")) });
    cpSync(join(root, "dist"), join(linked, "dist"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(linked, "node_modules"));
    expect(buildOf(linked)).toBe(buildOf(root));
  });

  it("counts one version that is installed twice once", () => {
    const root = installed();
    const before = buildOf(root);
    const nested = join(root, "node_modules/a/node_modules/@s/b");
    rmSync(nested, { recursive: true });
    cpSync(join(root, "node_modules/@s/b"), nested, { recursive: true });
    const twice = buildOf(root);
    rmSync(nested, { recursive: true });
    expect(buildOf(root)).toBe(twice);
    expect(twice).not.toBe(before);
  });

  it("tells which version a name leads to, so that two cannot change places", () => {
    const root = installed();
    const before = buildOf(root);
    const [outer, inner] = [join(root, "node_modules/@s/b"), join(root, "node_modules/a/node_modules/@s/b")];
    renameSync(outer, `${outer}.old`);
    renameSync(inner, outer);
    renameSync(`${outer}.old`, inner);
    expect(buildOf(root)).not.toBe(before);
  });

  it.each([
    ["a file that is looked for before index.js", "node_modules/a/index", "x"],
    ["a file beside the folder of a package", "node_modules/a.js", "x"],
    ["a native one there", "node_modules/@s/b.node", "x"],
    ["a nearer copy of a package", "node_modules/a/node_modules/@s/b.json", "{}"],
    ["a nearer copy without a package.json", "dist/node_modules/a/index.js", "x"],
    ["an optional dependency of another system", "node_modules/for-others/index.js", "x"],
    ["an addon", "node_modules/a/prebuilds/linux-x64/a@1.0.0.node", "x"],
    ["a package.json that says how files are read", "dist/package.json", '{"type":"commonjs"}'],
  ])("changes with %s", (_, path, content) => {
    const root = installed();
    const before = buildOf(root);
    writeFiles(root, { [path]: content });
    expect(buildOf(root)).not.toBe(before);
  });

  it("names the packages in which two installations differ", async () => {
    const root = installed();
    const before = await measureBuild({ root });
    writeFiles(root, { "node_modules/@s/b/package.json": packageJson("@s/b", "1.0.1") });
    expect(await changedSince(before, { root })).toEqual([
      "@s/b@1.0.0/index.js",
      "@s/b@1.0.0/package.json",
      "@s/b@1.0.1/index.js",
      "@s/b@1.0.1/package.json",
      "sealmesh@0.1.0 @s/b @s/b@1.0.0",
      "sealmesh@0.1.0 @s/b @s/b@1.0.1",
    ]);
  });

  it("counts a peer that a dependency must have, and no optional one", () => {
    const root = installDir();
    const peers = {
      peerDependencies: { must: "1", may: "1" },
      peerDependenciesMeta: { may: { optional: true } },
    };
    writeFiles(root, {
      ...ownFiles(["a"]),
      "node_modules/a/package.json": packageJson("a", "1.0.0", peers),
      "node_modules/must/package.json": packageJson("must", "1.0.0"),
      "node_modules/may/package.json": packageJson("may", "1.0.0"),
    });
    const keys = collect({ root, engine: false, runtime: false }).manifest.map(({ key }) => key);
    expect(keys).toContain("must@1.0.0/package.json");
    expect(keys).not.toContain("may@1.0.0/package.json");
  });
});

describe("an installation that is not whole", () => {
  it("is measured all the same, and says what is wrong with it", () => {
    const root = installed();
    const before = buildOf(root);
    rmSync(join(root, "node_modules/@s/b"), { recursive: true });
    symlinkSync("/etc/hostname", join(root, "node_modules/a/link.js"));
    symlinkSync("/", join(root, "node_modules/a/everything"));
    symlinkSync("nowhere", join(root, "node_modules/for-others"));
    execFileSync("mkfifo", [join(root, "node_modules/a/pipe.js")]);
    const measured = collect({ root, engine: false, runtime: false });
    expect(measured.build).not.toBe(before);
    expect(measured.problems).toEqual([
      "a@1.0.0/everything is a symbolic link, which could lead anywhere",
      "a@1.0.0/link.js is a symbolic link, which could lead anywhere",
      "a@1.0.0/pipe.js is neither a file nor a folder",
      "node_modules/for-others cannot be read",
      "sealmesh@0.1.0 @s/b is not installed",
    ]);
  });

  it.each([
    ["no package.json", { "dist/x.js": "x" }, ["sealmesh@/package.json cannot be read"]],
    ["a package.json that is none", { "package.json": "{", "dist/x.js": "x" }, []],
    ["no dist", { "package.json": packageJson("sealmesh", "0.1.0") }, ["sealmesh@0.1.0/dist/ cannot be read"]],
    [
      "names that lead out of it",
      { ...ownFiles(["..", "a/../../..", "/etc", "@x/../y", "a\\b"]) },
      ["..", "/etc", "@x/../y", "a/../../..", "a\\b"].map((name) => `sealmesh@0.1.0 ${name} is not installed`),
    ],
    [
      "a name and a version that would look like others",
      { "package.json": packageJson("x\n", "1\n0  y") },
      ["x%0a@1%0a0%20%20y/dist/ cannot be read"],
    ],
  ])("can have %s", (_, files, problems) => {
    const root = installDir();
    writeFiles(root, files);
    const found = collect({ root, engine: false, runtime: false });
    expect(new Set(found.problems)).toEqual(new Set(problems));
    expect(found.build).toMatch(/^[0-9a-f]{64}$/);
  });

  it("ends where packages ask for one another in a circle", () => {
    const root = installDir();
    writeFiles(root, {
      ...ownFiles(["a"]),
      "node_modules/a/package.json": packageJson("a", "1.0.0", { dependencies: { b: "1" } }),
      "node_modules/b/package.json": packageJson("b", "1.0.0", { dependencies: { a: "1", b: "1" } }),
    });
    expect(collect({ root, engine: false, runtime: false })).toMatchObject({ packages: 3, files: 5, problems: [] });
  });

  it.each([
    ["files", { files: 3 }],
    ["bytes", { bytes: 20 }],
    ["folders in folders", { depth: 0 }],
    ["packages", { packages: 2 }],
  ])("is given up, and says so, when it has too many %s", (_, bound) => {
    const root = installed();
    const bounds = { ...usualBounds, ...bound };
    const measured = collect({ root, engine: false, runtime: false, bounds });
    expect(measured.problems).toContain("there is more than is measured");
    expect(measured.build).not.toBe(buildOf(root));
    expect(measured.files).toBeLessThan(30);
  });
});

describe("the other digests", () => {
  it("are of the Node program with its versions, and of the engine's packages alone", async () => {
    const root = installed();
    const without = await measureBuild({ root });
    writeFiles(root, {
      "node_modules/node-llama-cpp/package.json": packageJson("node-llama-cpp", "3.0.0", {
        dependencies: { dep: "1" },
      }),
      "node_modules/node-llama-cpp/bins/libllama.so": "library",
      "node_modules/dep/package.json": packageJson("dep", "1.0.0"),
    });
    const measured = await measureBuild({ root });
    expect(measured.build).toBe(without.build);
    expect(measured.runtime).toBe(without.runtime);
    expect(measured.engineManifest.map(({ key }) => key)).toEqual([
      "dep@1.0.0/package.json",
      "node-llama-cpp@3.0.0 dep dep@1.0.0",
      "node-llama-cpp@3.0.0/bins/libllama.so",
      "node-llama-cpp@3.0.0/package.json",
      "sealmesh node-llama-cpp node-llama-cpp@3.0.0",
    ]);
    expect((await measureBuild({ root, engine: false })).engine).toBeUndefined();
    const node = createHash("sha256").update(readFileSync(process.execPath)).digest("hex");
    expect(measured.runtimeManifest).toContainEqual({ digest: node, key: "node" });
    expect(measured.runtimeManifest).toContainEqual({ digest: "version", key: `v8 ${process.versions.v8}` });
    writeFiles(root, { "node_modules/node-llama-cpp/bins/libllama.so": "Library" });
    expect(await changedSince(measured, { root })).toEqual(["node-llama-cpp@3.0.0/bins/libllama.so"]);
  });
});

describe("the digest of one file", () => {
  it("is its SHA-256, with what tells its state", async () => {
    const path = join(installDir(), "model.gguf");
    const bytes = new Uint8Array(3 * 2 ** 20 + 7).fill(5);
    writeFileSync(path, bytes);
    const seen: number[] = [];
    const { sha256: digest, stamp } = await fileDigest(path, { onProgress: (count) => seen.push(count) });
    expect(digest).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(stamp.size).toBe(`${bytes.length}`);
    expect(seen.reduce((sum, count) => sum + count, 0)).toBe(bytes.length);
  });

  it("is refused for what is no file, without waiting, and when nobody wants it any more", async () => {
    const pipe = join(installDir(), "pipe");
    execFileSync("mkfifo", [pipe]);
    await expect(fileDigest(pipe)).rejects.toMatchObject({ code: "E_INPUT" });
    await expect(fileDigest(installDir())).rejects.toMatchObject({ code: "E_INPUT" });
    await expect(fileDigest("/nowhere")).rejects.toMatchObject({ code: "E_INPUT" });
    const reason = new Error("stopped");
    await expect(fileDigest(pipe, { signal: AbortSignal.abort(reason) })).rejects.toBeDefined();
  });
});

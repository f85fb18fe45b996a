/**
 * The packed package: what is in it, how much it installs, that the usual checkers find nothing, and that what programs can
 * import is what the committed snapshot says. `SEALMESH_UPDATE_SURFACE=1 npx vitest run test/package` writes that anew.
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { beforeAll, describe, expect, it } from "vitest";
import { installIt, linkInto, type Packed, packIt, type Project, run, sizeOf, startIn } from "../support/packed.ts";
import { root } from "../support/processes.ts";
import { testExamples } from "./examples.ts";

interface Manifest {
  readonly version: string;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
const bin = (name: string): string => join(root, "node_modules/.bin", name);

let packed: Packed;
let project: Project;

beforeAll(() => {
  packed = packIt();
  project = installIt(packed);
}, 120_000);

describe("the packed package", () => {
  it("is smaller than 3 MB without the demo model, and has no sources, maps or tests", () => {
    const model = packed.files.find(({ path }) => path === "models/demo.gguf");
    expect(model?.size).toBeGreaterThan(500_000);
    // the model is packed with the rest and does not get much smaller: leaving all of it in would make this easier, not harder
    expect(packed.bytes).toBeLessThan(3_000_000);
    const folders = new Set(packed.files.map(({ path }) => path.split("/")[0]));
    expect([...folders].toSorted()).toEqual(["LICENSE", "README.md", "dist", "models", "package.json"]);
    expect(packed.files.filter(({ path }) => /\.map$|\.test\.|(?<!\.d)\.ts$/.test(path))).toEqual([]);
  });

  it("has no path of the machine that built it", () => {
    const told = packed.files.filter(({ path }) => {
      return /\.(js|ts|json)$/.test(path) && readFileSync(join(project.installed, path), "utf8").includes(root);
    });
    expect(told).toEqual([]);
  });

  it("shows nothing to publint, in its strict form", () => {
    expect(run(bin("publint"), [packed.tarball, "--strict"], project.folder)).toContain("All good!");
  });

  it("shows nothing to attw, as a package of ES modules alone", async () => {
    const tarball = createPackageFromTarballData(new Uint8Array(readFileSync(packed.tarball)));
    const report = await checkPackage(tarball);
    if (!report.types) throw new Error("attw finds no types");
    expect(Object.keys(report.entrypoints)).toEqual([".", "./node", "./package.json"]);
    // what its profile esm-only leaves out: programs that cannot import ES modules
    const isOld = (kind: string): boolean => kind === "node10" || kind === "node16-cjs";
    expect(
      report.problems.filter((problem) => !("resolutionKind" in problem && isOld(problem.resolutionKind))),
    ).toEqual([]);
  });
});

describe("the installed package", () => {
  // skipped, and counted, where npm has neither a network nor these packages in its cache
  it("was installed by npm, without any script", ({ skip }) => {
    skip(project.notInstalled !== undefined, project.notInstalled);
    const lock = JSON.parse(readFileSync(join(project.folder, "node_modules/.package-lock.json"), "utf8")) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    expect(Object.keys(lock.packages)).toContain("node_modules/sealmesh");
    expect(Object.keys(lock.packages)).not.toContain("node_modules/node-llama-cpp");
  });

  it("takes less than 60 MB with all that it needs, without the embedded engine", () => {
    const { apparent, onDisk } = sizeOf(join(project.folder, "node_modules"));
    console.info(`installed: ${megabytes(apparent)} MB in files, ${megabytes(onDisk)} MB on a disk of 4 KiB pieces`);
    expect(apparent).toBeLessThan(60_000_000);
    expect(existsSync(join(project.folder, "node_modules/node-llama-cpp"))).toBe(false);
  });

  it("has the command, which says what the embedded engine takes", async () => {
    const npx = run("npx", ["--no-install", "sealmesh", "version"], project.folder);
    expect(npx.trim()).toContain(manifest.version);
    const serve = ["serve", "--model", join(project.installed, "models/demo.gguf"), "--port", "0", "--headless"];
    const words = [...serve, "--bind", "127.0.0.1:0", "--data-dir", "state", "--config", "none"];
    const host = startIn(project, ["node_modules/sealmesh/dist/cli/main.js", ...words]);
    await host.says(/sealmesh engine install/);
    host.kill("SIGTERM");
    expect((await host.ended).code).toBe(0);
  });

  it.each(Object.keys(manifest.exports))("can import and require %s", async (entry) => {
    const name = join("sealmesh", entry);
    const options = name.endsWith(".json") ? ', { with: { type: "json" } }' : "";
    const program = `
      import { createRequire } from "node:module";
      const [esm, cjs] = [await import("${name}"${options}), createRequire(import.meta.url)("${name}")];
      console.log(JSON.stringify([Object.keys(esm.default ?? esm).sort(), Object.keys(cjs).sort()]));`;
    const { code, stdout, stderr } = await startIn(project, ["--input-type=module", "-e", program]).ended;
    const shown = stderr.split("\n").filter((line) => !/ExperimentalWarning|--trace-warnings/.test(line));
    expect({ code, stderr: shown.join("").trim() }).toEqual({ code: 0, stderr: "" });
    const [esm, cjs] = JSON.parse(stdout) as [string[], string[]];
    expect(cjs.filter((key) => key !== "__esModule")).toEqual(esm);
  });

  it("lets nobody import anything else", async () => {
    const program = `
      for (const path of ["dist/node/node.js", "sdk", "dist/sdk/index.js", "package", "attest"]) {
        await import("sealmesh/" + path).then(() => console.log(path), ({ code }) => console.log(code));
      }`;
    const { stdout } = await startIn(project, ["--input-type=module", "-e", program]).ended;
    expect(stdout.trim().split("\n")).toEqual(Array(5).fill("ERR_PACKAGE_PATH_NOT_EXPORTED"));
  });

  it("has complete types: a strict program with libraries checked too compiles, and any is nowhere", () => {
    linkInto(project, ["@types/node", "undici-types"]);
    writeFileSync(join(project.folder, "program.ts"), program);
    const flags = [
      "--noEmit",
      "--strict",
      "--exactOptionalPropertyTypes",
      "--noUncheckedIndexedAccess",
      "--types",
      "node",
    ];
    const target = ["--module", "nodenext", "--target", "es2022", "--lib", "es2023", "--skipLibCheck", "false"];
    expect(
      run(
        process.execPath,
        [join(root, "node_modules/typescript/bin/tsc"), ...flags, ...target, "program.ts"],
        project.folder,
      ),
    ).toBe("");
    for (const { path, text } of declarations()) expect(text, path).not.toMatch(/(?<!\*.*)\bany\b(?! )/);
  });
});

/** Whatever does not compile here is a promise of the types that is not kept. */
const program = `
import { connect, isMeshError, type ErrorCode, type Mesh, type Report } from "sealmesh";
import { serve, type Host } from "sealmesh/node";

export async function main(signal: AbortSignal): Promise<ErrorCode | undefined> {
  const host: Host = await serve({
    models: [{ id: "mine", contextLength: 100, kinds: ["chat"] }],
    engine: async (request) => Response.json({ path: new URL(request.url).pathname, signal: request.signal.aborted }),
  });
  try {
    await using mesh: Mesh = await connect({ join: host.invite(), requireAttestedHosts: "vendor", signal });
    const drop: typeof fetch = mesh.fetch;
    const answer: Response = await drop(mesh.baseURL + "/models", { signal });
    const { tokens, verdict }: Report = await mesh.report(answer, { signal });
    const [first]: readonly { readonly outcome: "pass" | "fail" | "unknown" | "stale" }[] = verdict;
    console.log(tokens.prompt?.toFixed(), first?.outcome, mesh.report(answer).now.route === "relay");
    // @ts-expect-error a misspelt demand is none
    await connect({ join: "", requireAttested: true });
    // @ts-expect-error there is no such tier
    await connect({ join: "", requireAttestedHosts: "verified" });
    // @ts-expect-error a host has an engine
    await serve({ models: [] });
    return undefined;
  } catch (thrown) {
    return isMeshError(thrown) ? thrown.code : undefined;
  } finally {
    await host.close({ drainMs: 0 });
  }
}
`;

describe("examples from the packed package", () => {
  testExamples(() => project);
});

describe("what programs can import", () => {
  it("is as committed: SEALMESH_UPDATE_SURFACE=1 writes it anew", () => {
    const shown = declarations()
      .map(({ path, text }) => `// ---- ${path}\n${text}`)
      .join("\n");
    const snapshot = join(import.meta.dirname, "surface/declarations.d.ts.txt");
    if (process.env["SEALMESH_UPDATE_SURFACE"] === "1") writeFileSync(snapshot, shown);
    expect(shown).toBe(readFileSync(snapshot, "utf8"));
  });

  it("refers to nothing that is not there", () => {
    for (const { path, text } of declarations()) {
      for (const [, name = ""] of text.matchAll(/^(?:im|ex)port .*\bfrom "([^"]+)"/gm)) {
        expect(name, path).toMatch(/^\.\.?\//);
        const there = join(project.installed, dirname(path), name.replace(/\.js$/, ".d.ts"));
        expect(existsSync(there), `${path} refers to ${name}`).toBe(true);
      }
    }
  });
});

/** All that the package has, by path. */
function declarations(): readonly { readonly path: string; readonly text: string }[] {
  const dist = join(project.installed, "dist");
  const files = readdirSync(dist, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".d.ts"));
  return files.toSorted().map((name) => {
    const path = relative(project.installed, join(dist, name));
    return { path, text: readFileSync(join(dist, name), "utf8") };
  });
}

function megabytes(bytes: number): string {
  return (bytes / 1_000_000).toFixed(1);
}

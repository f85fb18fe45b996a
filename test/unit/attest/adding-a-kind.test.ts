/** docs/adding-an-evidence-kind.md against the code: what it names is there, and tpm2 is what it says. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { collectorKinds } from "../../../src/attest/collect/registry.ts";
import { evidenceKinds } from "../../../src/attest/registry.ts";

const root = join(import.meta.dirname, "../../..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const page = read("docs/adding-an-evidence-kind.md");
const registries = ["src/attest/registry.ts", "src/attest/collect/registry.ts"] as const;
const linesWith = (path: string, word: RegExp): readonly string[] =>
  read(path)
    .split("\n")
    .filter((line) => word.test(line));

describe("the page", () => {
  it("names files that exist", () => {
    const named = [...page.matchAll(/`((?:src|test|docs|scripts)\/[\w./-]+)`/g)].map(([, path = ""]) => path);
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  it("shows the lists of both registries as they are", () => {
    for (const path of registries) {
      const [list = "missing"] = linesWith(path, /^export const/);
      expect(page).toContain(`// ${path}\n${list}\n`);
    }
  });

  it("shows the tier rule and the row of the collector as they are", () => {
    expect(read("src/attest/verdict.ts")).toContain('["tpm2", "vendor"],');
    expect(page).toContain('["tpm2", "vendor"],');
    const row = read("src/attest/collect/tpm2.ts").match(/^export const tpm2Collector[^]*?^};$/m)?.[0] ?? "missing";
    const shown = page.replace(/ +\/\/ .*$/gm, "");
    expect(shown).toContain(row);
  });

  it("says of every name in its code that the code has it", () => {
    const sources = ["evidence.ts", "verdict.ts", "claims.ts", "collect/collector.ts"]
      .map((file) => read(`src/attest/${file}`))
      .join("\n");
    for (const name of [
      "EvidenceKind",
      "CollectorKind",
      "CollectorSettings",
      "KeyStore",
      "Claims",
      "highestTiers",
      "keyLife",
    ])
      expect(sources, name).toMatch(new RegExp(`\\b${name}\\b`));
    for (const name of ["endedEarly", "judgeBound", "freshByOwnTime", "verdictOf"])
      expect(sources, name).toMatch(new RegExp(`export function ${name}\\b`));
  });
});

describe("tpm2", () => {
  it.each(registries)("is one import line in %s, and one place in its list", (path) => {
    expect(linesWith(path, /tpm2/)).toEqual([
      expect.stringMatching(/^import \{ tpm2\w* \} from "\.\/(?:kinds\/)?tpm2\.ts";$/),
      expect.stringMatching(/^export const .*\btpm2\w*\b/),
    ]);
  });

  it("is named by no file but its own two, the registries and the tier rule", () => {
    const naming = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && /["/]tpm2(?:"|\.ts")/.test(read(join("src", file))))
      .map((file) => file.replace("attest/", ""))
      .toSorted();
    expect(naming).toEqual(["collect/registry.ts", "collect/tpm2.ts", "kinds/tpm2.ts", "registry.ts", "verdict.ts"]);
  });

  it("is in both registries, under one name", () => {
    for (const kinds of [evidenceKinds, collectorKinds]) {
      expect(kinds.filter(({ kind }) => kind === "tpm2").length).toBe(1);
      expect(new Set(kinds.map(({ kind }) => kind)).size).toBe(kinds.length);
    }
  });

  it("every kind that is made can be verified", () => {
    const verified = evidenceKinds.map(({ kind }) => kind);
    expect(collectorKinds.filter(({ kind }) => !verified.includes(kind))).toEqual([]);
  });
});

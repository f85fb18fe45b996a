/** Every variable, key of the file and snippet of TOML on the pages is one that the product reads. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { settingsFrom } from "../../src/node/config-file.ts";
import { pages } from "../support/doc-pages.ts";
import { root } from "../support/processes.ts";

/** Blocks of TOML for other programs, by their first line. */
const foreign: readonly string[] = ["# relay.toml", 'model = "MODEL"'];
/** Variables that other programs read, because a page tells them to. */
const ofOthers: ReadonlySet<string> = new Set(["SEALMESH_API_KEY"]);
/** Words of a synopsis stand in the same brackets there, and it is made of the commands. */
const synopses = "docs/cli.md";

/** What the reader says against the text; undefined: nothing. */
function complaint(toml: string): string | undefined {
  try {
    settingsFrom(toml, "config.toml");
    return undefined;
  } catch (thrown) {
    return String(thrown);
  }
}

/** Names of variables that our source reads: written out, or put behind the prefix by node/config.ts. */
function variables(): ReadonlySet<string> {
  const names = new Set<string>();
  for (const folder of ["src", "test", "scripts"]) {
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })) {
      if (!/\.m?ts$|\.mjs$/.test(name) || name.startsWith("docs")) continue;
      const text = readFileSync(join(root, folder, name), "utf8");
      for (const [variable] of text.matchAll(/\b(?:SEALMESH|OTEL)_[A-Z_]+[A-Z]\b/g)) names.add(variable);
      if (folder !== "src") continue;
      for (const [, short] of text.matchAll(/\b(?:environment|yes)\("([A-Z_]+)"\)/g)) names.add(`SEALMESH_${short}`);
      for (const [, short] of text.matchAll(/\bvariable: "([A-Z_]+)"/g)) names.add(`SEALMESH_${short}`);
    }
  }
  return names;
}

describe("the pages", () => {
  it("each variable is read somewhere", () => {
    const known = variables();
    expect(known).toContain("SEALMESH_JOIN");
    const told = pages.flatMap(({ path, text }) =>
      [...text.matchAll(/\b(?:SEALMESH|OTEL)_[A-Z_]+[A-Z]\b/g)].map(([name]) => ({ name, path })),
    );
    expect(told.length).toBeGreaterThan(10);
    expect(told.filter(({ name }) => !known.has(name) && !ofOthers.has(name))).toEqual([]);
  });

  it("each snippet of TOML is a configuration file", () => {
    const blocks = pages.flatMap(({ path, fences }) =>
      fences.filter(({ info }) => info === "toml").map(({ line, lines }) => ({ where: `${path}:${line}`, lines })),
    );
    const ours = blocks.filter(({ lines }) => !foreign.includes(lines[0] ?? ""));
    expect(ours.length).toBeGreaterThan(3);
    expect(blocks.length - ours.length).toBe(foreign.length);
    const wrong = ours.flatMap(({ where, lines }) => {
      const why = complaint(lines.join("\n"));
      return why === undefined ? [] : [`${where}: ${why}`];
    });
    expect(wrong).toEqual([]);
  });

  it("each `[section] key` in the text is one of the file", () => {
    expect(complaint("[policy]\nroots = {}")).toContain("takes");
    expect(complaint("[policy]\nrots = {}")).toContain("has no setting");
    const written = pages.filter(({ path }) => path !== synopses);
    const named = written.flatMap(({ path, code }) =>
      code.flatMap(({ text, line }) => {
        const [, section, keys] = /^\[([a-z]+)\](?: ([a-z_]+(?:, [a-z_]+)*)(?: = .+)?)?$/.exec(text) ?? [];
        const told = keys?.split(", ") ?? [undefined];
        return section === undefined ? [] : told.map((key) => ({ where: `${path}:${line}`, section, key }));
      }),
    );
    expect(named.length).toBeGreaterThan(30);
    const wrong = named.flatMap(({ where, section, key }) => {
      const why = complaint(key === undefined ? `[${section}]` : `[${section}]\n${key} = {}`);
      return why !== undefined && !why.includes(" takes ") ? [`${where}: ${why}`] : [];
    });
    expect(wrong).toEqual([]);
  });
});

/** Every link of the pages leads somewhere. */
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { pages } from "../support/doc-pages.ts";
import { root } from "../support/processes.ts";

describe("the pages", () => {
  it.each(pages.map((page) => [page.path, page] as const))(
    "%s: each link has a target, each # an anchor",
    (path, page) => {
      const broken = page.links
        .filter(({ target }) => !/^(https?|mailto):/.test(target))
        .flatMap(({ target, line }) => {
          const [file = "", anchor] = target.split("#");
          const there = file === "" ? path : relative(root, join(root, path, "..", decodeURIComponent(file)));
          const where = `${path}:${line}: ${target}`;
          if (there.startsWith("..") || !existsSync(join(root, there))) return [`${where} is not there`];
          if (anchor === undefined) return [];
          const anchors = pages.find((other) => other.path === there)?.anchors;
          return anchors?.has(anchor) ? [] : [`${where} has no such heading`];
        });
      expect(broken).toEqual([]);
    },
  );

  it("each file of the project that the text names is there", () => {
    const named = pages.flatMap(({ path, code }) =>
      code.flatMap(({ text, line }) => {
        const [file] =
          /^(?:test|src|scripts|packaging|models|proto)\/[\w./-]+\.(?:ts|mjs|json|md|proto|gguf)$/.exec(text) ?? [];
        return file === undefined ? [] : [{ file, where: `${path}:${line}` }];
      }),
    );
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter(({ file }) => !existsSync(join(root, file)))).toEqual([]);
  });

  it("each test that the threat model names is there", () => {
    const page = pages.find(({ path }) => path === "docs/threat-model.md");
    // a name of two words at least is that of a test, if nothing else stands before or behind it
    const names = (page?.code ?? []).map(({ text }) => text).filter((text) => /^[a-z]+(?:-[a-z]+)+$/.test(text));
    expect(names.length).toBeGreaterThan(30);
    expect(names.filter((name) => !existsSync(join(root, `test/security/${name}.test.ts`)))).toEqual([]);
  });

  it("no page is one that nobody finds: each is in the index of docs/", () => {
    const index = pages.find(({ path }) => path === "docs/README.md");
    const named = new Set(index?.links.map(({ target }) => `docs/${target.split("#")[0]}`));
    const inDocs = pages
      .map(({ path }) => path)
      .filter((path) => path.startsWith("docs/") && path !== "docs/README.md");
    expect(inDocs.filter((path) => !named.has(path))).toEqual([]);
    expect(inDocs.length).toBeGreaterThan(12);
  });
});

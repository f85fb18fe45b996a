import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { isMeshError } from "../../../src/base/errors.ts";
import { isRemote, modelSource } from "../../../src/engine/model-source.ts";
import { codeOf } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";

const sum = "ab".repeat(32);

function outcome(text: string, endpoint?: string): string {
  try {
    return modelSource(text, endpoint)
      .files.map(({ url }) => url.href)
      .join(" ");
  } catch (thrown) {
    return codeOf(thrown);
  }
}

describe("a model's address", () => {
  test.each([
    ["hf:Org/Repo.v2/a-b_c.Q4_K_M.gguf", "https://huggingface.co/Org/Repo.v2/resolve/main/a-b_c.Q4_K_M.gguf"],
    ["hf:org/repo@v1.0/dir/a.gguf", "https://huggingface.co/org/repo/resolve/v1.0/dir/a.gguf"],
    ["https://huggingface.co/org/repo/blob/main/a.gguf", "https://huggingface.co/org/repo/resolve/main/a.gguf"],
    [
      "https://huggingface.co/org/repo/resolve/x/a.gguf?download=true",
      "https://huggingface.co/org/repo/resolve/x/a.gguf",
    ],
    ["https://example.org/x/a.gguf?key=1", "https://example.org/x/a.gguf?key=1"],
    ["http://127.0.0.1:1/a.gguf", "http://127.0.0.1:1/a.gguf"],
    ["http://localhost/a.GGUF", "http://localhost/a.GGUF"],
    ["http://[::1]:8/a.gguf", "http://[::1]:8/a.gguf"],
  ])("%s", (text, href) => {
    expect(isRemote(text)).toBe(true);
    expect(outcome(text)).toBe(href);
  });

  test.each([
    "hf:",
    "hf:org/repo",
    "hf:org/repo/a.bin",
    "hf:org/repo/../a.gguf",
    "hf:../repo/a.gguf",
    "hf:org/repo@../a.gguf",
    "hf:org/repo@a@b/a.gguf",
    "hf:org/repo//a.gguf",
    "hf:org/repo/.gguf",
    "hf:org/repo/.hidden.gguf",
    "hf:org/re po/a.gguf",
    "hf:org/repo/a\u0000.gguf",
    "hf:org/repo/%2e%2e%2fa.gguf",
    "hf:org/repo/a/b/c/d/e/f/g.gguf",
    "hf:org/repo/a.gguf#sha256=12",
    "hf:org/repo/a-00002-of-00003.gguf",
    "hf:org/repo/a-00001-of-99999.gguf",
    `hf:org/repo/a-00001-of-00002.gguf#sha256=${sum}`,
    "http://example.org/a.gguf",
    "http://127.0.0.1.example.org/a.gguf",
    "https://user:secret@example.org/a.gguf",
    "https://example.org/",
    "https://example.org/a%2Fb.gguf",
    "https://example.org/%.gguf",
    "https://example.org/a.gguf#md5=1",
    "ftp://example.org/a.gguf",
    "file:///a.gguf",
  ])("refuses %j", (text) => {
    expect(outcome(text)).toBe("E_USAGE");
  });

  test("leaves files of this machine alone", () => {
    for (const path of ["a.gguf", "./hf:a.gguf", "/x/a.gguf", "C:\\models\\a.gguf", "hf/a.gguf"]) {
      expect(isRemote(path), path).toBe(false);
    }
  });

  test("has a checksum, and a mirror's own word for it", () => {
    expect(modelSource(`https://example.org/a.gguf#sha256=${sum.toUpperCase()}`).files[0].sha256).toBe(sum);
    const mirror = modelSource("hf:org/repo/a.gguf", "https://mirror.example/hub/");
    expect(mirror.files[0].url.href).toBe("https://mirror.example/hub/org/repo/resolve/main/a.gguf");
    expect(mirror.huggingFace).toBe("https://mirror.example");
    expect(modelSource("https://example.org/a.gguf").huggingFace).toBeUndefined();
    expect(outcome("hf:org/repo/a.gguf", "http://mirror.example")).toBe("E_USAGE");
  });

  test("names all parts of a split model, and keeps two addresses apart", () => {
    expect(outcome("hf:o/r/q/a-00001-of-00002.gguf")).toBe(
      "https://huggingface.co/o/r/resolve/main/q/a-00001-of-00002.gguf " +
        "https://huggingface.co/o/r/resolve/main/q/a-00002-of-00002.gguf",
    );
    const parts = modelSource("https://example.org/x/a-00001-of-00002.gguf?k=1").files;
    expect(parts.map(({ url }) => url.href)).toEqual([
      "https://example.org/x/a-00001-of-00002.gguf?k=1",
      "https://example.org/x/a-00002-of-00002.gguf?k=1",
    ]);
    expect(new Set(parts.map(({ place }) => place.slice(0, -1).join("/"))).size).toBe(1);
    const [one, two] = ["https://example.org/x/a.gguf", "https://example.org/y/a.gguf"].map((text) =>
      modelSource(text),
    );
    expect(one?.files[0].place).not.toEqual(two?.files[0].place);
  });

  test("never leads out of the cache directory, whatever is asked for", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }).map((rest) => `hf:${rest}`),
      fc
        .array(fc.constantFrom("a", "..", ".", "/", "@", "%2e", "\\", "b.gguf", "#", "?", " ", "\n"))
        .map((all) => `hf:o/r/${all.join("")}`),
      fc.string({ unit: "binary" }).map((rest) => `https://example.org/${rest}.gguf`),
    );
    fc.assert(
      fc.property(text, (address) => {
        try {
          for (const { place, url } of modelSource(address).files) {
            expect(join("/cache", ...place).startsWith("/cache/")).toBe(true);
            expect(join("/cache", ...place).split("/")).toHaveLength(place.length + 2);
            expect(url.protocol).toBe("https:");
            expect(place.at(-1)).toMatch(/\.gguf$/i);
          }
        } catch (thrown) {
          if (!isMeshError(thrown)) throw thrown;
          expect(thrown.code).toBe("E_USAGE");
        }
      }),
      { numRuns: 300 },
    );
  });
});

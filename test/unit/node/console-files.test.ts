import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { temporaryDirectory } from "../../support/mesh.ts";
import { type AskConsole, consoleOf } from "./admin-parts.ts";

function built(): AskConsole {
  const directory = join(temporaryDirectory(), "console");
  mkdirSync(join(directory, "assets"), { recursive: true });
  writeFileSync(join(directory, "index.html"), "<!doctype html><title>sealmesh</title>");
  writeFileSync(join(directory, "icon.svg"), "<svg xmlns='http://www.w3.org/2000/svg'/>");
  writeFileSync(join(directory, "assets", "index-abc123.js"), "export {};");
  writeFileSync(join(directory, "assets", "index-abc123.css"), "a{}");
  writeFileSync(join(directory, "assets", "notes.txt"), "not for the web");
  writeFileSync(join(directory, "..", "secret.js"), "secret");
  symlinkSync(join(directory, "..", "secret.js"), join(directory, "assets", "link.js"));
  return consoleOf({ consoleDirectory: directory });
}

describe("the console's files", () => {
  it("are there, each with its type, and kept as long as their name says", async () => {
    const ask = built();
    const index = await ask("/");
    expect(await index.text()).toContain("<title>sealmesh</title>");
    expect(index.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(index.headers.get("cache-control")).toBe("no-cache");
    const script = await ask("/assets/index-abc123.js");
    expect(script.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(script.headers.get("cache-control")).toContain("immutable");
    expect((await ask("/assets/index-abc123.css")).headers.get("content-type")).toBe("text/css; charset=utf-8");
    expect((await ask("/icon.svg")).headers.get("content-type")).toBe("image/svg+xml");
    expect((await ask("/icon.svg")).headers.get("cache-control")).toBe("no-cache");
  });

  it("are not sent again to who has them", async () => {
    const ask = built();
    const etag = (await ask("/")).headers.get("etag") ?? "";
    expect(etag).toMatch(/^"[0-9a-f]{32}"$/);
    const again = await ask("/", { headers: { "if-none-match": etag } });
    expect(again.status).toBe(304);
    expect(await again.text()).toBe("");
    expect((await ask("/", { headers: { "if-none-match": '"other"' } })).status).toBe(200);
  });

  it.each([
    "/assets/../../secret.js",
    "/assets/..%2f..%2fsecret.js",
    "/assets/%2e%2e/%2e%2e/secret.js",
    "/assets/link.js",
    "/assets/notes.txt",
    "/assets/",
    "/assets/missing.js",
    "/index.html",
    "/secret.js",
    "/other.svg",
    "/.svg",
  ])("%s is none of them", async (path) => {
    const answer = await built()(path);
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: { code: "not_found" } });
  });

  it("were not built: a sentence says where to look instead", async () => {
    const answer = await consoleOf({ consoleDirectory: join(temporaryDirectory(), "nothing") })("/");
    expect(answer.status).toBe(200);
    expect(await answer.text()).toContain("sealmesh status");
  });
});

/** docs/agents.md: its programs run as they stand, but for address and model; its settings can be read. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { parse as parseToml } from "smol-toml";
import { describe, expect, it } from "vitest";
import { knowsModels, startHost } from "../support/e2e.ts";
import { root, startProcess } from "../support/processes.ts";

const page = readFileSync(join(root, "docs/agents.md"), "utf8");

/** The text of each block of this language. */
function blocks(language: string): readonly string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, "gm"))].map((match) => match[1] ?? "");
}

describe("docs/agents.md", () => {
  it("its programs are answered through the mesh", async () => {
    const host = await startHost("scripted");
    const client = await startProcess(["client", "--join", host.node.ready.invite]);
    await knowsModels(client, "scripted");
    const programs = blocks("js");
    expect(programs).toHaveLength(4);
    const url = client.ready.api_url ?? "";
    const answers = programs.map(async (program) => {
      expect(program).toContain('"MODEL"');
      const code = program.replace("http://127.0.0.1:9337", url).replaceAll('"MODEL"', '"scripted"');
      return await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { cwd: root });
    });
    const said = (await Promise.all(answers)).map(({ stdout }) => stdout);
    expect(said).toEqual(Array(4).fill("word0 word1 word2 word3 word4"));
    const { requests } = await host.engine.seen();
    expect(requests.filter(({ inference }) => inference).map(({ path }) => path)).toEqual(
      Array(4).fill("/v1/chat/completions"),
    );
  });

  it("its settings are well-formed, and name the port", () => {
    const settings = [
      ...blocks("json").map((text) => JSON.parse(text) as object),
      ...blocks("toml").map((text) => parseToml(text)),
    ];
    expect(settings).toHaveLength(4);
    for (const each of settings) expect(JSON.stringify(each)).toMatch(/"http:\/\/127\.0\.0\.1:9337(?:\/v1)?"/);
    // Claude Code and Anthropic's library add /v1 by themselves
    expect(page).not.toMatch(/(?:ANTHROPIC_BASE_URL|Anthropic\(\{ baseURL)"?: "[^"]*\/v1"/);
  });
});

/**
 * Every program of examples/, as it stands there, from the packed package in an empty project, against a host in a process of
 * its own. docs/sdk.md shows them, and must show what was run. Called by package.test.ts, which has the project.
 */
import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { type Ended, linkInto, type Project, run, startIn } from "../support/packed.ts";
import { demoModel, type NodeProcess, root, startProcess } from "../support/processes.ts";

const folder = join(root, "examples");
/** What their first lines say is to be installed, and what TypeScript needs beside it. */
const clients = [
  "openai",
  "ai",
  "@ai-sdk/openai-compatible",
  "@langchain/openai",
  "@langchain/core",
  "@types/node",
  "undici-types",
];

interface Question {
  readonly question: string;
  readonly answer: string;
}

/** One that the demo model answers word for word. */
const { questions } = JSON.parse(readFileSync(demoModel.replace(/gguf$/, "json"), "utf8")) as { questions: Question[] };
const asked = questions[0] ?? { question: "", answer: "the demo model has no questions" };

/** @param installed gives the project, once its tests run */
export function testExamples(installed: () => Project): void {
  let project: Project;
  let host: NodeProcess;

  beforeAll(async () => {
    project = installed();
    linkInto(project, clients);
    for (const name of readdirSync(folder)) copyFileSync(join(folder, name), join(project.folder, name));
    host = await startProcess(["serve", "--model", demoModel]);
  });

  function runExample(name: string, env: Record<string, string> = {}): Promise<Ended> {
    return startIn(project, [name], { SEALMESH_JOIN: host.ready.invite, QUESTION: asked.question, ...env }).ended;
  }

  it.each([
    ["ai-sdk.mjs", /answered by [0-9a-f]{10}, sealed/],
    ["langchain.mjs", undefined],
    ["commonjs.cjs", undefined],
    ["fetch.mjs", /Prompts are sealed to it\.[^]*route: 'direct'[^]*status: 200/],
  ])("%s answers, and ends by itself", async (name, more) => {
    const { code, stdout, stderr } = await runExample(name);
    expect({ code, stderr: withoutWarnings(stderr) }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(asked.answer);
    if (more) expect(stdout).toMatch(more);
  });

  it("openai.ts compiles under strict types, answers, and ends by itself", async () => {
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const libraries = ["--lib", "es2023,esnext.disposable", "--types", "node", "--skipLibCheck"];
    const words = [tsc, "--strict", "--module", "nodenext", "--target", "es2022", ...libraries, "openai.ts"];
    // an empty project is CommonJS, where there is no await at the top
    copyFileSync(join(project.folder, "openai.ts"), join(project.folder, "openai.mts"));
    expect(run(process.execPath, [...words.slice(0, -1), "openai.mts"], project.folder)).toBe("");
    const { code, stdout, stderr } = await runExample("openai.mjs");
    expect({ code, stderr: withoutWarnings(stderr) }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^answered by [0-9a-f]{10}, sealed, direct\n[^]+\n\d+ tokens in \d+ ms\n$/);
    expect(stdout).toContain(asked.answer);
  });

  it("custom-engine.mjs answers other programs, whole and streamed, and ends when it is told to", async () => {
    const parrot = startIn(project, ["custom-engine.mjs"]);
    const invite = await parrot.says(/^\S{100,}$/);
    const [whole, streamed] = await Promise.all([
      runExample("fetch.mjs", { SEALMESH_JOIN: invite, QUESTION: "Who is there?" }),
      runExample("ai-sdk.mjs", { SEALMESH_JOIN: invite, QUESTION: "Who is there?" }),
    ]);
    expect(whole.stdout).toContain("You said: Who is there?");
    expect(streamed.stdout).toContain("You said: Who is there?");
    parrot.kill("SIGTERM");
    expect(await parrot.ended).toMatchObject({ code: 0, stderr: "" });
  });

  it("fetch.mjs says what to do about an invite that is none", async () => {
    const { code, stderr } = await runExample("fetch.mjs", { SEALMESH_JOIN: "not-an-invite" });
    expect({ code, stderr }).toEqual({
      code: 65,
      stderr: expect.stringMatching(/^E_INVITE: .*Ask for a fresh invite/),
    });
  });

  it("all of them are run here, and shown in docs/sdk.md as they are", () => {
    const programs = readdirSync(folder).filter((name) => !name.endsWith(".md"));
    const own = readFileSync(join(import.meta.dirname, "examples.ts"), "utf8");
    const page = readFileSync(join(root, "docs/sdk.md"), "utf8");
    for (const name of programs) {
      expect(own, name).toContain(`"${name}"`);
      expect(page, name).toContain(`\n${readFileSync(join(folder, name), "utf8")}\`\`\`\n`);
    }
    for (const [, link = ""] of page.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
      expect(existsSync(join(root, "docs", link)), link).toBe(true);
    }
  });
}

/** Of Node itself, about what is experimental in it. */
function withoutWarnings(stderr: string): string {
  return stderr.replace(/^\(node:\d+\) ExperimentalWarning: .*\n\(Use `node --trace-warnings .*\n/gm, "");
}

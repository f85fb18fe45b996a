/** The main job as a newcomer runs it: `sealmesh demo`, and what it leaves behind: nothing. */
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { eventually, isRunning, mainFile, root, runCommand, tempDir } from "../support/processes.ts";

interface DemoModel {
  readonly questions: readonly { readonly question: string; readonly answer: string }[];
}

interface DemoDocument {
  readonly question: string;
  readonly answer: string;
  readonly sealed: string;
  readonly route: string;
  readonly relay_saw: Record<string, unknown>;
}

const { questions } = JSON.parse(readFileSync(join(root, "models/demo.json"), "utf8")) as DemoModel;

function expectedAnswer(question: string): string {
  return questions.find((entry) => entry.question === question)?.answer ?? "a question that demo.json does not have";
}

/** Ids of the three nodes, as the progress lines name them. */
function nodePids(text: string): number[] {
  return [...text.matchAll(/process ([0-9]+)/g)].map((match) => Number(match[1]));
}

describe("sealmesh demo", () => {
  it("streams the answer through the relay, shows what the relay saw, and leaves nothing", async () => {
    const temporary = tempDir();
    const env = { TMPDIR: temporary };
    const { code, stdout, stderr, ms } = await runCommand(["demo"], { timeoutMs: 60_000, env });
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(ms).toBeLessThan(60_000);
    const question = /^Question +(.*)$/m.exec(stdout)?.[1] ?? "";
    expect(stdout).toContain(expectedAnswer(question));
    expect(stdout).toMatch(/sealed +yes, .*route: relay/);
    expect(stdout).toMatch(/0000 {2}e1 7b 22 6d 6f 64 65 6c/); // 0xE1{"model
    expect(stdout).toMatch(/in all [0-9]+ bytes that it received or sent: not found/);
    const pids = nodePids(stderr);
    expect(pids).toHaveLength(3);
    expect(pids.filter(isRunning)).toEqual([]);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it("asks what it is told to, and says it for programs, whatever the environment's settings are", async () => {
    const question = "What does a relay see?";
    const env = { SEALMESH_JOIN: "not an invite", SEALMESH_PORT: "1" };
    const { code, stdout } = await runCommand(["demo", "--json", "--ask", question], { env });
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as DemoDocument;
    expect(document).toMatchObject({ question, answer: expectedAnswer(question), sealed: "true", route: "relay" });
    expect(document.relay_saw).toMatchObject({ envelope_streams: 2, found: [] });
    expect(document.relay_saw["searched_texts"]).toBeGreaterThan(50);
  });

  it.each(["SIGINT", "SIGKILL"] as const)("--keep stays up until %s, which ends all of it", async (signal) => {
    const demo = spawn(process.execPath, [mainFile, "demo", "--keep"], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: tempDir() }, // a killed demo cannot remove its files
    });
    let text = "";
    for (const stream of [demo.stdout, demo.stderr]) stream.on("data", (bytes: Buffer) => (text += bytes.toString()));
    await eventually(() => text.includes("Press Control-C"), 30_000);
    const url = /curl -sN (http:\S+)\/v1\/chat/.exec(text)?.[1] ?? "";
    const models = await (await fetch(`${url}/v1/models`)).json();
    expect(models).toMatchObject({ data: [{ id: "demo" }] });
    const pids = nodePids(text);
    expect(pids.filter(isRunning)).toHaveLength(3);
    const exited = new Promise((resolve) => demo.once("exit", (code) => resolve(code)));
    demo.kill(signal);
    expect(await exited).toBe(signal === "SIGINT" ? 0 : null);
    await eventually(() => pids.filter(isRunning).length === 0, 5_000);
  });
});

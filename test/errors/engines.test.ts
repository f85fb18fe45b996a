/** What goes wrong behind a host's own door. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startEngine } from "../../src/engine/registry.ts";
import { quiet } from "../support/engine-ask.ts";
import { llamaChildFile } from "../support/engine-child.ts";
import { writeRandomModel } from "../support/engine-gguf.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { codeOf } from "../support/expect-code.ts";
import { expectLastEvent, expectLogged, expectRow } from "../support/expect-row.ts";
import { eventually, temporaryDirectory, testMesh } from "../support/mesh.ts";
import { call } from "../support/raw-peer.ts";
import { chatOf, startApi } from "../unit/node/api-server.ts";

describe("the engine", () => {
  // needs a machine on which none of the four usual ports of engines is in use
  it("E_NO_ENGINE: --engine auto finds none", async () => {
    const started = testMesh().start("serve", { engine: ["auto"] });
    expect(await started.then(() => "started", codeOf)).toBe("E_NO_ENGINE");
  });

  it("E_ENGINE: it fails with its own error", async () => {
    const body = { error: { code: 500, message: "out of memory", type: "server_error" } };
    const engine = await startEngineServer({ fail: { kind: "status", status: 500, body } });
    const node = await testMesh().start("serve", { engine: [engine.url] });
    const answer = await call(node);
    expectRow(answer, "E_ENGINE");
    expect(answer.message).toContain("out of memory");
    expectLogged(node, "E_ENGINE");
    await engine.close();
  });

  it("E_ENGINE_LOST: the embedded engine's process is killed in mid-answer", async () => {
    const modelPath = join(temporaryDirectory(), "tiny.gguf");
    await writeRandomModel(modelPath, { contextLength: 512 });
    const settings = { kind: "llama", modelPath, childFile: await llamaChildFile(), threads: 1 } as const;
    const engine = await startEngine(settings, quiet);
    const { url, reports } = await startApi({ tiny: engine });
    const body = JSON.stringify(chatOf("tiny", { stream: true, max_tokens: 400, ignore_eos: true }));
    const answer = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
    let text = "";
    const reading = (async () => {
      for await (const piece of answer.body ?? []) {
        if (text === "") process.kill(engine.pid ?? 0, "SIGKILL");
        text += Buffer.from(piece as Uint8Array).toString();
      }
    })();
    await expect(reading).rejects.toThrow();
    expectLastEvent(text, "E_ENGINE_LOST");
    await eventually("it is reported", () => reports.length === 1);
    expect(reports[0]).toMatchObject({ code: "engine_lost" });
    await engine.close();
  }, 30_000);
});

import { test } from "vitest";
import { mkdtempSync, writeFileSync, existsSync } from "node:fs";
import { llamaKind } from "../../../src/engine/llama.ts";
import { llamaChildFile } from "../../support/engine-child.ts";
import { randomModel, writeRandomModel } from "../../support/engine-gguf.ts";
test("try", async () => {
  const dir = mkdtempSync("/tmp/x-");
  const childFile = await llamaChildFile();
  const tryFile = async (name: string, b: Uint8Array) => {
    writeFileSync(`${dir}/${name}.gguf`, b);
    const t = Date.now();
    const engine = await llamaKind.start({ kind: "llama", modelPath: `${dir}/${name}.gguf`, childFile }, { log: { write: () => {} }, onChange: () => {} });
    console.log(name, Date.now() - t, engine.state);
    await engine.close();
  };

  writeFileSync(`${dir}/a.gguf`, randomModel({ keys: { "general.architecture": { type: "string", value: "foo" } } }));
  const { fork } = await import("node:child_process");
  for (const f of [`${dir}/a.gguf`]) {
  const c = fork(childFile, [], {env: {}, execArgv: [], serialization: "advanced", stdio: ["ignore","pipe","pipe","ipc"]});
  c.stdout!.on("data", d => console.log("OUT", String(d))); c.stderr!.on("data", d => console.log("ERR", String(d)));
  c.send({ type: "load", modelPath: f, contextSize: 8192, slots: 1, gpu: false, threads: 1 });
  await new Promise<void>((r) => c.on("message", (m: any) => { console.log(m); if (m.type !== "loading") setTimeout(() => r(), 300); }));
  c.kill("SIGKILL");
  }
  const t = performance.now();
  const engine = await llamaKind.start({ kind: "llama", modelPath: `models/demo.gguf`, childFile }, { log: { write: () => {} }, onChange: () => {} });
  console.log("demo load", performance.now() - t, engine.models);
  for (const q of ["What is sealmesh?", "How do I start it?", "What is the weather?"]) for (const stream of [false, true]) {
    const t = performance.now();
    const json = { model: "demo", messages: [{ role: "user", content: q }], temperature: 0, stream, stream_options: { include_usage: true } };
    const a = await engine.answer({ path: "/v1/chat/completions", body: new Uint8Array(), json, asker: "local", signal: new AbortController().signal });
    const t1 = performance.now();
    let s = ""; for await (const b of a.body) s += Buffer.from(b).toString();
    const n = Number(/completion_tokens":(\d+)/.exec(s)?.[1]);
    console.log("first", t1 - t, "all", performance.now() - t, n, "tok/s", n / (performance.now() - t) * 1000, stream ? "" : s);
  }
  await engine.close();
}, 60000);

/** Declares one test for each step of a page whose console blocks are run: see console-page.ts. */
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Machine, pageSteps } from "./console-page.ts";
import { chatAnswer, OldNode } from "./old-node.ts";
import { root, tempDir } from "./processes.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "./swtpm.ts";

/** The pages ask with curl, in a shell, as people do. */
const missing = ["bash", "curl"].filter((program) => spawnSync(program, ["--version"]).error);
if (missing.length > 0) console.warn(`pages are not run: ${missing.join(" and ")} is not installed`);

/** @param least steps and commands that the page has: a page that cannot be read any more must not pass */
export function runPage(path: string, least: { readonly steps: number; readonly commands: number }): void {
  const steps = pageSteps(readFileSync(join(root, path), "utf8"));
  const items = steps.flatMap((step) => step.items);
  const usesTpm = items.some((item) => item.kind !== "run" && item.needsTpm);
  const machines = new Map<string, Machine>();
  const machine = (name: string): Machine => {
    const found = machines.get(name);
    if (!found) throw new Error(`there is no machine ${name}`);
    return found;
  };
  let maker: TpmMaker | undefined;

  beforeAll(async () => {
    maker = usesTpm && swtpmMissing === undefined ? await startTpmMaker() : undefined;
    const tpm = await maker?.makeTpm();
    for (const [name, place] of [["host", tpm?.place], ["client"]] as const) {
      const [api = 0, port = 0] = await freePorts(2);
      machines.set(name, new Machine(tempDir(), { api, console: port }, place));
    }
  });
  afterAll(async () => {
    await Promise.all([...machines.values()].map((one) => one.close()));
    await maker?.close();
  });

  /** What people do between the commands. */
  const prepare = async ([what, file = "", first = "", second = ""]: readonly string[]): Promise<void> => {
    switch (what) {
      case "copy":
        return copyFileSync(join(machine(first).home, file), join(machine(second).home, file));
      case "old-node": {
        const serve = (request: Parameters<typeof chatAnswer>[0]): AsyncIterable<Buffer> =>
          chatAnswer(request, ["gold ", "fish"]);
        const old = await OldNode.start({ role: "host", models: ["old"], serve });
        return writeFileSync(join(machine(first).home, file), `${old.token}\n`);
      }
      default:
        throw new Error(`the page asks for ${what}, which this test does not know`);
    }
  };

  describe.skipIf(missing.length > 0)(path, () => {
    it("has all its steps", () => {
      expect(steps.length).toBeGreaterThanOrEqual(least.steps);
      expect(items.filter(({ kind }) => kind === "command").length).toBeGreaterThanOrEqual(least.commands);
    });

    let broken: string | undefined;
    for (const step of steps) {
      const needsTpm = step.items.every((item) => item.kind !== "run" && item.needsTpm);
      it.skipIf(needsTpm && swtpmMissing !== undefined)(step.title, async ({ skip }) => {
        skip(broken !== undefined, `an earlier step failed: ${broken}`);
        broken = step.title;
        for (const item of step.items) {
          if (item.kind === "run") await prepare(item.words);
          else await machine(item.machine).run(item);
        }
        broken = undefined;
      });
    }
  });
}

/** Taken and given back: each machine has its own for the whole test, as a real one has. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/** docs/hand-test.md, step by step, between two home directories: true before two people do it on two machines. */
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Machine, pageSteps } from "../support/console-page.ts";
import { chatAnswer, OldNode } from "../support/old-node.ts";
import { root, tempDir } from "../support/processes.ts";
import { startTpmMaker, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";

const steps = pageSteps(readFileSync(join(root, "docs/hand-test.md"), "utf8"));
const machines = new Map<string, Machine>();
let maker: TpmMaker | undefined;

beforeAll(async () => {
  maker = swtpmMissing === undefined ? await startTpmMaker() : undefined;
  const tpm = await maker?.makeTpm();
  const [a, b, c, d] = await freePorts(4);
  machines.set("host", new Machine(tempDir(), { api: a ?? 0, console: b ?? 0 }, tpm?.place));
  machines.set("client", new Machine(tempDir(), { api: c ?? 0, console: d ?? 0 }, undefined));
});
afterAll(async () => {
  await Promise.all([...machines.values()].map((machine) => machine.close()));
  await maker?.close();
});

describe("the hand test", () => {
  it("has all its steps", () => {
    expect(steps.length).toBeGreaterThan(12);
    expect(steps.flatMap(({ items }) => items).filter(({ kind }) => kind === "command").length).toBeGreaterThan(25);
  });

  let broken: string | undefined;
  for (const { title, items } of steps) {
    const needsTpm = items.every((item) => item.kind !== "run" && item.needsTpm);
    it.skipIf(needsTpm && swtpmMissing !== undefined)(title, async ({ skip }) => {
      skip(broken !== undefined, `an earlier step failed: ${broken}`);
      broken = title;
      for (const item of items) {
        if (item.kind === "run") await prepare(item.words);
        else await machine(item.machine).run(item);
      }
      broken = undefined;
    });
  }
});

/** What people do between the commands. */
async function prepare([what, file = "", ...names]: readonly string[]): Promise<void> {
  const [first = "", second = ""] = names;
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
}

function machine(name: string): Machine {
  const found = machines.get(name);
  if (!found) throw new Error(`there is no machine ${name}`);
  return found;
}

/** Taken and given back: each machine has its own for the whole test, as a real one has. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
}

/**
 * A node and its engine's process against another process of the same user: what gets prompts out of a node without
 * hardening gets nothing out of a hardened one. Real processes, the same attempts on both.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  abortForCore,
  allowCores,
  askForSnapshot,
  attachDebugger,
  attacker,
  doorsMissing,
  openInspector,
  readProcess,
  type Way,
} from "../support/doors.ts";
import { demoModel, isRunning, type NodeProcess, startProcess, tempDir } from "../support/processes.ts";

const canary = "canary-7f3a-which-nobody-else-may-read";
const ways: readonly Way[] = ["environ", "mem", "process_vm_readv"];
/** Where each of the two can be told from other programs with an inspector. */
const files = { node: "cli/main.js", engine: "engine/llama-child.js" };
type Target = keyof typeof files;

describe.skipIf(doorsMissing !== undefined)("another process of the same user", () => {
  let cores: ReturnType<typeof allowCores>;
  let hardened: Victim;
  let unhardened: Victim;

  beforeAll(async () => {
    cores = allowCores();
    [hardened, unhardened] = await Promise.all([startVictim([]), startVictim(["--no-hardening"])]);
  });
  afterAll(() => cores.restore());

  /** The prompt has just been there. */
  const victimOf = async (protection: "hardened" | "unhardened"): Promise<Victim> => {
    const victim = protection === "hardened" ? hardened : unhardened;
    await ask(victim.process);
    return victim;
  };

  describe.each(["unhardened", "hardened"] as const)("%s", (protection) => {
    const succeeds = protection === "unhardened";

    it.each(ways)("reads by %s what is in node and engine", async (way) => {
      const { pids } = await victimOf(protection);
      for (const target of ["node", "engine"] as const) {
        const text = way === "environ" ? (target === "node" ? `SEALMESH_NAME=${name}` : "GGML_NO_BACKTRACE=1") : canary;
        const attempt = await readProcess(way, pids[target], text);
        const why = succeeds ? "" : way === "process_vm_readv" ? "EPERM" : "EACCES";
        expect({ target, ...attempt }).toEqual({ target, got: succeeds, why });
      }
    });

    it("H3: attaches gdb to node and engine", async () => {
      const { pids } = await victimOf(protection);
      for (const target of ["node", "engine"] as const) {
        const attempt = await attachDebugger(pids[target]);
        expect({ target, ...attempt }).toEqual({
          target,
          got: succeeds,
          why: succeeds ? "" : "Operation not permitted",
        });
      }
    });

    // the engine goes first: its node outlives it, and the port is free again
    it.each(["engine", "node"] as const)(
      "opens the inspector of the %s, and makes it leave its memory",
      async (target) => {
        const { pids } = await victimOf(protection);
        const inspector = await openInspector(pids[target], files[target]);
        expect(inspector).toEqual({ got: succeeds, why: succeeds ? "" : "nobody listens" });
        const core = await abortForCore(pids[target], canary, cores.folder);
        expect(core).toEqual({ got: succeeds, why: succeeds ? "a core file" : "no core file" });
      },
    );
  });

  it.each(["unhardened", "hardened"] as const)(
    "makes a node write a heap snapshot at a signal: %s",
    async (protection) => {
      const directory = tempDir(attacker).replace(/\/state$/, "");
      const env = { NODE_OPTIONS: "--heapsnapshot-signal=SIGUSR2" };
      const words = protection === "hardened" ? [] : ["--no-hardening"];
      const node = await startProcess(["client", ...words], { env, cwd: directory, uid: attacker });
      const attempt = await askForSnapshot(node.pid, directory);
      expect(attempt.got).toBe(protection === "unhardened");
    },
  );
});

const name = "victim";

interface Victim {
  readonly process: NodeProcess;
  readonly pids: Readonly<Record<Target, number>>;
}

async function startVictim(words: readonly string[]): Promise<Victim> {
  const env = { SEALMESH_NAME: name };
  const node = await startProcess(["serve", "--model", demoModel, ...words], { uid: attacker, env });
  const engine = (await node.status()).engines[0]?.pid;
  if (typeof engine !== "number") throw new Error("the engine has no process");
  return { process: node, pids: { node: node.pid, engine } };
}

async function ask({ ready, pid }: NodeProcess): Promise<void> {
  if (!isRunning(pid)) throw new Error("the node has ended");
  const response = await fetch(`${ready.api_url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "demo", messages: [{ role: "user", content: canary }] }),
  });
  await response.text();
}

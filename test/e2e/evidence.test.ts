/** Evidence by hand: a node with a TPM makes it, a person fetches it and checks it offline. Real processes, a real emulator. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EvidenceStatus } from "../../src/node/status.ts";
import { until } from "../support/e2e.ts";
import { startEngineServer, type ScriptedEngine } from "../support/engine-server.ts";
import { type NodeProcess, runCommand, startProcess, tempDir } from "../support/processes.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";

describe.skipIf(swtpmMissing !== undefined)("a node with a TPM", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;
  let engine: ScriptedEngine;
  let node: NodeProcess;
  let state: EvidenceStatus;
  const file = (name: string): string => join(directory, name);
  const directory = tempDir();

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
    engine = await startEngineServer();
    node = await startProcess(["serve", "--engine", engine.url, "--tpm", tpm.place]);
    await until("the evidence is made", async () => {
      const [made] = (await node.status()).evidence;
      if (made?.issued_at) state = made;
      return made?.issued_at !== null && made !== undefined;
    });
    const answer = await fetch(`${node.ready.console_url}/api/evidence/tpm2`);
    expect(answer.status).toBe(200);
    writeFileSync(file("evidence.json"), await answer.text());
    writeFileSync(file("root.der"), maker.root);
    writeFileSync(file("maker.der"), maker.intermediate);
  });

  afterAll(async () => {
    await node?.stop();
    await engine?.close();
    await maker?.close();
  });

  const verified = async (...flags: readonly string[]): Promise<{ code: number | null; json: Verified }> => {
    const { code, stdout } = await runCommand(["verify", file("evidence.json"), "--json", ...flags]);
    return { code, json: JSON.parse(stdout) as Verified };
  };
  const ofThisNode = (): readonly string[] => [
    "--endpoint",
    node.ready.endpoint_id,
    "--inference-key",
    state.inference_key ?? "",
  ];

  it("shows evidence that holds for its endpoint and its key, under the maker that the reader trusts", async () => {
    const { code, json } = await verified(...ofThisNode(), "--roots", file("maker.der"), "--roots", file("root.der"));
    expect(code).toBe(0);
    expect(outcomesOf(json)).toMatchObject({ parse: "pass", signature: "pass", binding: "pass", chain: "pass" });
    // a file can be a copy, and nobody has asked the TPM where its key is kept
    expect(outcomesOf(json)).toMatchObject({ fresh: "unknown", "key-residence": "unknown" });
    expect(json.tier).toBe("none");
  });

  it("proves no maker to a reader who trusts none, and nothing for another node", async () => {
    const alone = await verified(...ofThisNode());
    expect(outcomesOf(alone.json)["chain"]).not.toBe("pass");
    const other = await verified("--endpoint", "ab".repeat(32), "--inference-key", state.inference_key ?? "");
    expect([other.code, outcomesOf(other.json)["binding"]]).toEqual([77, "fail"]);
  });

  it("goes on when the TPM is gone, and says so", async () => {
    const gone = await startProcess(["serve", "--engine", engine.url, "--tpm", "127.0.0.1:1"]);
    await until("the failure is known", async () => /./.test((await gone.status()).evidence[0]?.why ?? ""));
    const [none] = (await gone.status()).evidence;
    expect(none).toMatchObject({ kind: "tpm2", issued_at: null });
    expect((await fetch(`${gone.ready.api_url}/v1/models`)).status).toBe(200);
    expect((await fetch(`${gone.ready.console_url}/api/evidence/tpm2`)).status).toBe(404);
    await gone.stop();
  });
});

interface Verified {
  readonly tier: string;
  readonly factors: readonly { readonly factor: string; readonly outcome: string }[];
}

function outcomesOf({ factors }: Verified): Readonly<Record<string, string>> {
  return Object.fromEntries(factors.map(({ factor, outcome }) => [factor, outcome]));
}

/** Two machines on one cable, without a server, a route or the internet: they find each other by multicast DNS. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Cable, layCable, namespacesMissing } from "../support/network-namespaces.ts";
import { demoModel, type NodeProcess, runCommand, startProcess } from "../support/processes.ts";

describe.skipIf(namespacesMissing !== undefined)("a local network with no way out", () => {
  let cable: Cable;
  let host: NodeProcess;

  beforeAll(async () => {
    cable = await layCable();
    const flags = ["--discover", "garage", "--nostr-relay", "none", "--bind", `${cable.addresses[0]}:0`];
    host = await startProcess(["serve", "--model", demoModel, ...flags], { within: cable.within[0], readyMs: 60_000 });
    await host.waitForLine(({ event }) => event === "mesh-listed");
  }, 90_000);
  afterAll(() => cable.close());

  it("has a mesh that `sealmesh discover` lists", async () => {
    const words = ["discover", "--nostr-relay", "none", "--json"];
    const { code, stdout } = await runCommand(words, { within: cable.within[1] });
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      meshes: [{ name: "garage", source: "lan", joined: "open", endpoint_id: host.ready.endpoint_id }],
    });
  });

  it("lets a client join by the name alone, and learn the models", async () => {
    const flags = ["--discover", "garage", "--nostr-relay", "none", "--bind", `${cable.addresses[1]}:0`];
    const client = await startProcess(["client", ...flags], { within: cable.within[1] });
    expect(client.lines).toContainEqual(
      expect.objectContaining({ event: "mesh-found", source: "lan", peer: host.ready.endpoint_id }),
    );
    await client.waitForLine((line) => line.event === "peer-joined" && line.peer === host.ready.endpoint_id);
    const chat = await runInside(cable.within[1], String(client.ready.api_url));
    expect(chat).toContain('"choices"');
  });
});

/** Asks an API port that only the namespace can reach. */
async function runInside(within: readonly string[], apiUrl: string): Promise<string> {
  const script = `
    const models = await (await fetch("${apiUrl}/v1/models")).json();
    const body = JSON.stringify({ model: models.data[0].id, max_tokens: 5, messages: [{ role: "user", content: "Hi" }] });
    const headers = { "content-type": "application/json" };
    const answer = await fetch("${apiUrl}/v1/chat/completions", { method: "POST", headers, body });
    console.log(await answer.text());`;
  const [program = "", ...words] = within;
  const asking = [...words, process.execPath, "--input-type=module", "--eval", script];
  return (await promisify(execFile)(program, asking)).stdout;
}

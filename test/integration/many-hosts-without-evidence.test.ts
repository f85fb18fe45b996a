/** Hosts that show nothing must not keep a client from the one that does, however many they are. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { identityFrom } from "../../src/crypto/identity.ts";
import { callUntil, demandingClient, enclaveHost } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { temporaryDirectory, type TestNode } from "../support/mesh.ts";
import { attackedMesh } from "../support/raw-peer.ts";

/** A state directory whose endpoint id comes behind all others, and with it the host among equals. */
function lastInOrder(): string {
  const directory = temporaryDirectory();
  for (;;) {
    const seed = randomBytes(32);
    if (!identityFrom(new Uint8Array(seed)).id.startsWith("ffe")) continue;
    writeFileSync(join(directory, "key"), seed.toString("hex"), { mode: 0o600 });
    return directory;
  }
}

it("a host behind eight others without evidence is asked as well, and answers", { timeout: 30_000 }, async () => {
  const mesh = attackedMesh();
  const engine = await startEngineServer({ text: "fine" });
  const others: TestNode[] = [];
  for (let count = 0; count < 8; count += 1) others.push(await mesh.start("serve", { engine: [engine.url] }));
  const { host } = await enclaveHost(mesh, engine.url, { dataDir: lastInOrder() });
  const client = await demandingClient(mesh, [host, ...others]);
  const answer = await callUntil(client, "the host with evidence answers", ({ status }) => status === 200, 6_000);
  expect(answer.headers.get("x-sealmesh-host")).toBe(host.endpointId);
  await engine.close();
});

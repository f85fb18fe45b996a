/** The engines of a machine as its record tells of them. */
import { expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../../src/base/log.ts";
import { identityFrom, newIdentitySeed } from "../../../src/crypto/identity.ts";
import { InferenceKeys } from "../../../src/crypto/inference-keys.ts";
import { verifyRecord } from "../../../src/crypto/record.ts";
import { type Engines, openEngines } from "../../../src/node/engines.ts";
import { RecordKeeper } from "../../../src/node/record-keeper.ts";
import { limits } from "../../../src/wire/limits.ts";
import { startEngineServer } from "../../support/engine-server.ts";

const bounds = { running: 8, runningPerHolder: 8, queued: 8, queuedPerHolder: 8, waitMs: 1_000 };

async function serving(models: readonly string[]): Promise<Engines> {
  const server = await startEngineServer({ models });
  const engines = await openEngines(
    [{ kind: "openai-http", url: server.url, key: undefined }],
    bounds,
    silentLog,
    () => undefined,
  );
  onTestFinished(async () => {
    await engines.close();
    await server.close();
  });
  return engines;
}

// a larger record costs the node its entry at everybody else: it would vanish from the mesh
it.each([
  ["short", 128, 12],
  ["long", 76, 200],
  ["the longest", 60, limits.nameBytes],
])("%s names: a record of many models is one that others take", async (_name, least, bytes) => {
  const names = Array.from({ length: 300 }, (_, index) => `${index}`.padEnd(bytes, "x"));
  const engines = await serving(names);
  expect(engines.models()).toHaveLength(300);
  const clock = { now: (): number => Date.now() };
  const identity = identityFrom(newIdentitySeed());
  const records = new RecordKeeper({
    identity,
    keys: new InferenceKeys({ clock }),
    clock,
    capabilities: ["seal.v1", "relay.v1"],
    models: () => engines.described().map((model) => ({ ...model, context: 0xffff_ffff, busy: true, queue: 256 })),
    described: () => ({}),
    posture: () => new Uint8Array(limits.postureBytes),
    nextSeq: (nowMs) => BigInt(nowMs),
    proven: () => true,
  });
  const { fields } = verifyRecord(records.current.bytes, identity.id, clock.now());
  expect(fields.models?.length).toBeGreaterThanOrEqual(Math.min(least, 128) - 20);
  expect(fields.models?.length).toBeLessThanOrEqual(limits.modelsPerRecord);
});

/**
 * An attested key that is made anew with every process makes pins useless: each restart would look like an attack, or a
 * real one like a restart. Where the machine can keep the key, it is the same after a restart; where it cannot, the new
 * one is shown as a change, and never taken silently.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CollectorKind } from "../../src/attest/collect/collector.ts";
import { secureEnclaveCollector } from "../../src/attest/collect/secure-enclave.ts";
import type { Flags } from "../../src/node/config.ts";
import { demandingClient, demandsKey } from "../support/attested-mesh.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import type { TestNode, TestParts } from "../support/mesh.ts";
import { type AttackedMesh, attackedMesh, call, type Called } from "../support/raw-peer.ts";
import { recorded } from "../support/security-framework/mac.ts";
import { standIn, standInLibraries, standInMissing } from "../support/security-framework/stand-in.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";

interface Session {
  readonly host: TestNode;
  readonly client: TestNode;
  readonly answer: Called;
}

/** One run of a host and a client; `before` is the last one, whose directories they use. */
async function session(
  mesh: AttackedMesh,
  engine: ScriptedEngine,
  [hostFlags, parts, clientFlags]: readonly [Flags, TestParts, Flags],
  before?: Session,
): Promise<Session> {
  const directory = (node: TestNode | undefined): Flags => (node ? { dataDir: node.dataDir } : {});
  const host = await mesh.start("serve", { engine: [engine.url], ...hostFlags, ...directory(before?.host) }, parts);
  const client = await demandingClient(mesh, [host], { ...clientFlags, ...directory(before?.client) });
  return { host, client, answer: await call(client) };
}

async function ended({ host, client }: Session): Promise<void> {
  await client.stop(0);
  await host.stop(0);
}

const keyIn = ({ answer }: Session): string | null => answer.headers.get("x-sealmesh-attested-key");
const pinned: Flags = { requireAttestedHosts: "pinned" };

describe.skipIf(swtpmMissing !== undefined)("A3: the key of a TPM", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
  }, 60_000);

  afterAll(() => maker?.close());

  it("A3: is the same after a restart of the node and of the machine: the pin of the first session holds", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const flags = { tpm: tpm.place };
    const first = await session(mesh, engine, [flags, {}, demandsKey]);
    expect([first.answer.status, first.answer.headers.get("x-sealmesh-evidence")]).toEqual([200, "tpm2"]);
    await ended(first);
    await tpm.reboot();
    const second = await session(mesh, engine, [flags, {}, pinned], first);
    expect([second.answer.status, second.answer.headers.get("x-sealmesh-attested")]).toEqual([200, "pinned"]);
    expect(keyIn(second)).toBe(keyIn(first));
    expect(keyIn(second)).toMatch(/^[0-9a-f]{32}$/);
    await engine.close();
  }, 30_000);

  it("A3: is another one in another TPM: that is a changed pin, not a restart", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const first = await session(mesh, engine, [{ tpm: tpm.place }, {}, demandsKey]);
    expect(first.answer.status).toBe(200);
    await ended(first);
    const other = await maker.makeTpm({ certified: false });
    const second = await session(mesh, engine, [{ tpm: other.place }, {}, demandsKey], first);
    expect([second.answer.status, second.answer.message]).toEqual([503, expect.stringContaining("pin-changed")]);
    expect(second.answer.message).toContain(keyIn(first));
    await engine.close();
  }, 30_000);
});

describe.skipIf(standInMissing !== undefined)("A3: the key of a Secure Enclave", () => {
  const mac = standInMissing === undefined ? standIn() : (undefined as never);
  /** The product's collector, with the directory of the node that it runs in. */
  const collector: CollectorKind = {
    kind: "secure-enclave",
    wanted: () => true,
    create: (settings) =>
      secureEnclaveCollector.create({ ...settings, appleLibraries: standInLibraries, runCommand: recorded().run }),
  };
  const parts: TestParts = { collectors: [collector] };

  it.each([
    ["by the keychain, with the entitlement", true],
    ["by its handle in the node's directory, without", false],
  ])("A3: is kept %s: the pin of the first session holds", async (_name, entitled) => {
    mac.reset();
    mac.setEntitled(entitled);
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const first = await session(mesh, engine, [{}, parts, demandsKey]);
    expect(first.answer.status).toBe(200);
    expect(existsSync(join(first.host.dataDir, "enclave-key"))).toBe(!entitled);
    await ended(first);
    const second = await session(mesh, engine, [{}, parts, pinned], first);
    expect([second.answer.status, second.answer.headers.get("x-sealmesh-attested")]).toEqual([200, "pinned"]);
    expect(keyIn(second)).toBe(keyIn(first));
    await engine.close();
  });

  it("A3: where the machine cannot keep it, is shown as changed after a restart, and refused", async () => {
    mac.reset();
    mac.setEntitled(false);
    mac.setHandles(false);
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const first = await session(mesh, engine, [{}, parts, demandsKey]);
    expect(first.answer.status).toBe(200);
    await ended(first);
    const second = await session(mesh, engine, [{}, parts, demandsKey], first);
    expect([second.answer.status, second.answer.message]).toEqual([503, expect.stringContaining("pin-changed")]);
    expect(second.answer.message).toContain(keyIn(first));
    await engine.close();
  });
});

/**
 * What hardening came too late for, or was switched off: others are told, and who demands a hardened host does not ask
 * this one. That the process itself is as it says is tried with real ones, in test/e2e/.
 */
import { describe, expect, it } from "vitest";
import {
  everyProcessDoor,
  closed,
  type HardeningReport,
  open,
  stepNames,
  unknown,
  withoutReport,
} from "../../src/harden/report.ts";
import type { ProcessDoor } from "../../src/wire/posture.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, type AttackedMesh, attackedMesh, call } from "../support/raw-peer.ts";
import { closedReport } from "../support/postures.ts";

/** A host that found this about itself, and a client that demands hardened ones. */
async function pair(
  mesh: AttackedMesh,
  hardening: HardeningReport | undefined,
): Promise<{ host: TestNode; client: TestNode; engine: ScriptedEngine }> {
  const engine = await startEngineServer({ text: "fine" });
  const host = await mesh.start("serve", { engine: [engine.url] }, { hardening });
  const client = await mesh.start("client", { join: [host.invite()], requireHardened: true });
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return { host, client, engine };
}

const withDoor = (door: ProcessDoor, state: ReturnType<typeof open>): HardeningReport =>
  closedReport({ process: { ...everyProcessDoor(closed("")), [door]: state } });

describe("H1: what the starter had set when the loader obeyed it", () => {
  it.each(["environment", "arguments", "inspector"] as const)(
    "%s that is open, or not known, is told and refused",
    async (door) => {
      for (const state of [open("set by the starter: LD_PRELOAD"), unknown("not looked at")]) {
        const { client, engine } = await pair(attackedMesh(), withDoor(door, state));
        const answer = await call(client);
        expect([answer.status, answer.code]).toEqual([503, "refused"]);
        expect(answer.message).toContain(
          `not-hardened: The host says, signed, that it is not hardened: ${door} (${state.state}).`,
        );
        expect(asked(engine)).toEqual([]);
        await engine.close();
      }
    },
  );

  it("H1: what was taken away before the start is told by name, and the process counts as it is now", async () => {
    const scrubbed = ["--inspect", "LD_PRELOAD", "NODE_OPTIONS"];
    const { host, client, engine } = await pair(attackedMesh(), closedReport({ scrubbed }));
    expect((await call(client)).content).toBe("fine");
    expect(host.status().posture.scrubbed).toEqual(scrubbed);
    expect(client.status().peers[0]?.posture).toMatchObject({ standing: "signed", said: { scrubbed } });
    await engine.close();
  });
});

describe("H2: hardening that is off", () => {
  const off: HardeningReport = {
    ...withoutReport(),
    process: everyProcessDoor(closed("")),
    steps: stepNames.map((name) => ({ name, applied: false, why: "switched off by --no-hardening" })),
  };

  it("is told, and refused even where every door happens to be closed", async () => {
    const { host, client, engine } = await pair(attackedMesh(), { ...off, platform: "linux" });
    expect((await call(client)).message).toContain("hardening (switched off, wholly or in part)");
    expect(host.status().posture).toMatchObject({ hardening: false, says_hardened: false });
    expect(asked(engine)).toEqual([]);
    await engine.close();
  });

  it("of a node that nobody hardened or looked at, nothing is known: it is refused", async () => {
    const { host, client, engine } = await pair(attackedMesh(), undefined);
    expect((await call(client)).message).toContain("debugger (unknown)");
    expect(host.status().posture.says_hardened).toBe(false);
    await engine.close();
  });
});

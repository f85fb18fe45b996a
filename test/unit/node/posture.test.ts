import { describe, expect, it } from "vitest";
import {
  closed,
  everyMachineDoor,
  everyProcessDoor,
  type HardeningReport,
  open,
  unknown,
} from "../../../src/harden/report.ts";
import { type EngineSeen, postureDocument, postureOf, postureStatus } from "../../../src/node/posture.ts";
import { hardenedLacks } from "../../../src/policy/hardened.ts";
import { decodePosture, encodePosture, everyDoor, machineDoors, processDoors } from "../../../src/wire/posture.ts";
import { closedPosture, closedReport } from "../../support/postures.ts";

const external: EngineSeen = { kind: "external", up: true };
const embedded = (change: Partial<HardeningReport> = {}): EngineSeen => {
  return { kind: "embedded", up: true, hardening: closedReport(change) };
};
const made = (
  engines: readonly EngineSeen[],
  hardening: HardeningReport | undefined = closedReport(),
): ReturnType<typeof postureOf> => postureOf({ hardening, engines, measurement: undefined });

describe("the posture of a node", () => {
  it("is that of its process and machine, and can be hardened without an engine", () => {
    const posture = made([]);
    expect(posture).toEqual(closedPosture({ confidentialVm: "none" }));
    expect(hardenedLacks(posture)).toEqual([]);
  });

  it.each(processDoors)("%s: the worse of node and embedded engine counts", (door) => {
    for (const [state, report] of [
      ["open", open("")],
      ["unknown", unknown("")],
    ] as const) {
      const process = { ...everyProcessDoor(closed("")), [door]: report };
      expect(made([embedded({ process })]).doors).toEqual({ ...everyDoor("closed"), [door]: state });
      expect(made([embedded()], closedReport({ process })).doors).toEqual({ ...everyDoor("closed"), [door]: state });
      expect(made([embedded(), embedded({ process })]).doors[door]).toBe(state);
    }
  });

  it.each(machineDoors)("%s is the machine's, as the node found it", (door) => {
    const machine = { ...everyMachineDoor(closed("")), [door]: open("") };
    expect(made([embedded()], closedReport({ machine })).doors[door]).toBe("open");
    expect(made([embedded({ machine })]).doors[door]).toBe("closed");
  });

  it("an embedded engine that answers and has said nothing of itself makes every door of a process unknown", () => {
    const { doors } = made([{ kind: "embedded", up: true }]);
    for (const door of processDoors) expect(doors[door]).toBe("unknown");
    expect(hardenedLacks(made([{ kind: "embedded", up: true }]))).not.toEqual([]);
  });

  it("one that does not answer holds no prompt", () => {
    const down = { ...embedded({ process: everyProcessDoor(open("")), on: false }), up: false };
    expect(made([down])).toEqual(closedPosture({ confidentialVm: "none", engine: "embedded" }));
  });

  it("an external engine is told, and wins; nothing is said of it", () => {
    expect([made([]).engine, made([embedded()]).engine]).toEqual(["none", "embedded"]);
    for (const engines of [[external], [embedded(), external], [{ ...external, up: false }]]) {
      const posture = made(engines);
      expect(posture.engine).toBe("external");
      expect(hardenedLacks(posture)).toEqual([]);
    }
  });

  it("hardening that one of its processes was without is off", () => {
    expect(made([], closedReport({ on: false })).hardening).toBe(false);
    expect(made([embedded({ on: false })]).hardening).toBe(false);
    expect(made([embedded()]).hardening).toBe(true);
  });

  it("of a node that nobody looked at, nothing is known", () => {
    const posture = postureOf({ hardening: undefined, engines: [], measurement: undefined });
    expect(posture).toMatchObject({ hardening: false, doors: everyDoor("unknown"), scrubbed: [] });
    expect(hardenedLacks(posture)).not.toEqual([]);
  });

  it("names what was taken away from any of them, and what was measured", () => {
    const hardening = closedReport({ scrubbed: ["NODE_OPTIONS", "LD_PRELOAD"] });
    const measurement = { build: "ab".repeat(32), runtime: "cd".repeat(32) };
    const posture = postureOf({ hardening, engines: [embedded({ scrubbed: ["LD_AUDIT"] })], measurement });
    expect(posture).toMatchObject({ scrubbed: ["LD_AUDIT", "LD_PRELOAD", "NODE_OPTIONS"], ...measurement });
    expect(decodePosture(encodePosture(posture))).toEqual(posture);
  });
});

describe("a posture as a document", () => {
  const posture = closedPosture({ build: "ab".repeat(32) });

  it("says whether it is hardened, in its own words", () => {
    expect(postureDocument(posture)).toMatchObject({ says_hardened: true, build: "ab".repeat(32), runtime: null });
    expect(postureDocument({ ...posture, hardening: false }).says_hardened).toBe(false);
  });

  it("of a host shows whose word it is; what is not signed is shown and no more", () => {
    expect(postureStatus({ kind: "signed", posture }, undefined)).toMatchObject({
      standing: "signed",
      said: { says_hardened: true },
      text: "The host says, signed, that it is hardened. It has no engine of its own.",
    });
    const unsigned = postureStatus({ kind: "unsigned" }, posture);
    expect(unsigned).toMatchObject({ standing: "unsigned", said: { platform: "linux" } });
    expect(unsigned.text).toContain("nobody signs it");
    expect(postureStatus({ kind: "disagrees" }, posture)).toMatchObject({ standing: "disagrees", said: null });
    expect(postureStatus({ kind: "none" }, undefined)).toEqual({ standing: "none", said: null, text: null });
  });
});

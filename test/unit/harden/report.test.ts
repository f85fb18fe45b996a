import { describe, expect, it } from "vitest";
import { closed, everyProcessDoor, open, stepNames, unknown, withoutReport } from "../../../src/harden/report.ts";
import { hardeningStatus } from "../../../src/node/hardening-status.ts";

describe("a report", () => {
  it("of a node that another program holds closes nothing", () => {
    const { on, process, machine, steps } = withoutReport();
    expect(on).toBe(false);
    const states = [...Object.values(process), ...Object.values(machine)].map(({ state }) => state);
    expect(new Set(states)).toEqual(new Set(["unknown"]));
    expect(steps.map(({ name, applied }) => ({ name, applied }))).toEqual(
      stepNames.map((name) => ({ name, applied: false })),
    );
  });

  it("of several engines is the worst of them, door by door", () => {
    const engine = (debugging: "closed" | "open" | "unknown"): Parameters<typeof hardeningStatus>[1][number] => {
      const door = { closed, open, unknown }[debugging](debugging);
      return {
        kind: "embedded",
        up: true,
        hardening: { ...withoutReport(), process: { ...everyProcessDoor(closed("")), debugger: door } },
      };
    };
    const worst = (...engines: Parameters<typeof engine>[0][]): unknown =>
      hardeningStatus(undefined, engines.map(engine)).engine?.debugger.state;
    expect(worst("closed", "unknown")).toBe("unknown");
    expect(worst("unknown", "open", "closed")).toBe("open");
    expect(worst("closed", "closed")).toBe("closed");
    expect(hardeningStatus(undefined, [{ kind: "external", up: true }]).engine).toBeNull();
  });
});

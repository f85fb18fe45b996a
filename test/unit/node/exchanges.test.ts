import { describe, expect, it } from "vitest";
import { Exchanges, outcomeOf } from "../../../src/node/exchanges.ts";
import { refused, report } from "./reports.ts";

describe("the last exchanges", () => {
  it("are kept newest first, 200 of them, and found by their id", () => {
    const exchanges = new Exchanges();
    for (let index = 0; index < 205; index++) exchanges.add(report({ id: `r${index}` }));
    expect(exchanges.latest).toHaveLength(200);
    expect(exchanges.latest[0]?.id).toBe("r204");
    expect(exchanges.get("r5")?.id).toBe("r5");
    expect(exchanges.get("r4")).toBeUndefined();
    expect(exchanges.totals.requests).toBe(205);
  });

  it("are summed by outcome, sealing and route, with what is not known as nothing", () => {
    const exchanges = new Exchanges();
    exchanges.add(report());
    exchanges.add(report({ sealed: "false", route: "relay", cached_tokens: null }));
    exchanges.add(report({ sealed: "local", route: "local", status: 502, code: "truncated" }));
    exchanges.add(refused());
    expect(exchanges.totals).toEqual({
      requests: 4,
      by_outcome: { ok: 2, truncated: 1, no_host: 1 },
      by_sealing: { sealed: 1, plain: 1, local: 1, none: 1 },
      by_route: { direct: 1, relay: 1, local: 1, none: 1 },
      prompt_tokens: 33,
      completion_tokens: 9,
      cached_tokens: 8,
    });
  });

  it("are told as they were: what was given out does not change", () => {
    const exchanges = new Exchanges();
    exchanges.add(report());
    const { latest, totals } = exchanges;
    exchanges.add(refused());
    expect(latest).toHaveLength(1);
    expect(totals.by_outcome).toEqual({ ok: 1 });
    expect(totals.by_route.none).toBe(0);
  });
});

describe("an outcome", () => {
  it.each([
    [200, null, "ok"],
    [404, "model_not_found", "model_not_found"],
    [503, "service_unavailable", "service_unavailable"],
    [425, "E_CLOCK", "E_CLOCK"],
    [418, null, "other"],
    [500, "whatever a host writes here", "other"],
    [500, "__proto__", "other"],
  ])("of %i %s is %s", (status, code, outcome) => {
    expect(outcomeOf(report({ status, code }))).toBe(outcome);
  });

  it("comes from a bounded set, whatever hosts write", () => {
    const exchanges = new Exchanges();
    for (let index = 0; index < 100; index++) exchanges.add(report({ status: 500, code: `code-${index}` }));
    expect(exchanges.totals.by_outcome).toEqual({ other: 100 });
  });
});

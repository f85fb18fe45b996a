import { describe, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { SeenCache } from "../../../src/tunnel/seen.ts";
import { expectCode } from "../../support/expect-code.ts";

const [anna, bert] = ["a", "b"].map((digit) => endpointId(digit.repeat(64))) as [
  ReturnType<typeof endpointId>,
  ReturnType<typeof endpointId>,
];

describe("the seen-cache", () => {
  it("knows each mark of an envelope on its own, whoever brings it", () => {
    const seen = new SeenCache({ total: 10, perAsker: 10 });
    seen.add(["key 1", "id 1"], anna, 100, 0);
    expectCode("E_REPLAY", () => seen.add(["key 1", "id 2"], anna, 100, 0));
    expectCode("E_REPLAY", () => seen.add(["key 2", "id 1"], anna, 100, 0));
    expectCode("E_REPLAY", () => seen.add(["key 1"], bert, 100, 0));
    // what was refused has left nothing behind
    seen.add(["key 2", "id 2"], anna, 100, 0);
  });

  it("forgets nothing before its time, not even when it is full; a replay is told from a full cache", () => {
    const seen = new SeenCache({ total: 4, perAsker: 4 });
    seen.add(["a", "b"], anna, 100, 0);
    seen.add(["c", "d"], anna, 200, 0);
    expectCode("E_BUSY", () => seen.add(["e"], bert, 300, 100));
    for (const mark of ["a", "b", "c", "d"]) expectCode("E_REPLAY", () => seen.add([mark], bert, 300, 100));
    seen.add(["e"], bert, 300, 101); // a and b have ended
    expectCode("E_REPLAY", () => seen.add(["c"], bert, 300, 101));
    seen.add(["f"], bert, 300, 101);
    expectCode("E_BUSY", () => seen.add(["g"], bert, 300, 101));
  });

  it("gives one asker its share only, and the share back when its time is over", () => {
    const seen = new SeenCache({ total: 100, perAsker: 2 });
    seen.add(["a", "b"], anna, 100, 0);
    expectCode("E_BUSY", () => seen.add(["c", "d"], anna, 100, 0));
    seen.add(["c", "d"], bert, 100, 0);
    seen.add(["e", "f"], anna, 300, 101);
    expectCode("E_BUSY", () => seen.add(["g"], anna, 300, 102));
  });
});

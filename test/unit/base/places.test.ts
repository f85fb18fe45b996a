import { describe, expect, it } from "vitest";
import { Places } from "../../../src/base/places.ts";

describe("places", () => {
  it("are bounded in all and per holder", () => {
    const places = new Places({ total: 3, perHolder: 2 });
    const held = [places.take("a"), places.take("a")];
    expect(places.take("a")).toBeUndefined();
    expect(places.take("b")).toBeDefined();
    expect(places.take("c")).toBeUndefined();
    expect(places.taken).toBe(3);
    held[0]?.();
    expect(places.take("c")).toBeDefined();
  });

  it("are given back once, however often that is said", () => {
    const places = new Places({ total: 2, perHolder: 2 });
    const first = places.take("a");
    expect(places.take("a")).toBeDefined();
    first?.();
    first?.();
    expect(places.taken).toBe(1);
    expect(places.take("a")).toBeDefined();
    expect(places.take("a")).toBeUndefined();
  });
});

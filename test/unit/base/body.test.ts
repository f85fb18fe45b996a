import { describe, expect, it } from "vitest";
import { Body, endingWith, once } from "../../../src/base/body.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { rejectsWith } from "../../support/expect-code.ts";

/** Gives these, then the end or a failure; notes how it ended. */
function scene(pieces: readonly string[], failure?: MeshError): { body: Body; ends: string[] } {
  const left = pieces.map(utf8);
  const ends: string[] = [];
  const read = (): Promise<Uint8Array | undefined> => {
    const piece = left.shift();
    return failure && !piece ? Promise.reject(failure) : Promise.resolve(piece);
  };
  const note =
    (who: string) =>
    (whole: boolean, broken: boolean): void =>
      void ends.push(`${who} ${whole ? "whole" : broken ? "broken" : "left"}`);
  const body = new Body(read, { leave: () => ends.push("leave") }).onEnd(note("first")).onEnd(note("second"));
  return { body, ends };
}

describe("a body", () => {
  it("gives its pieces, then tells once that it is whole, in the order in which it was asked to", async () => {
    const { body, ends } = scene(["a", "b"]);
    const given: Uint8Array[] = [];
    for await (const piece of body) given.push(piece);
    expect(given).toEqual([utf8("a"), utf8("b")]);
    expect(await body.next()).toEqual({ done: true, value: undefined });
    await body.return();
    expect(ends).toEqual(["first whole", "second whole"]);
  });

  it("tells that it broke off, and throws why", async () => {
    const { body, ends } = scene(["a"], new MeshError("E_TRUNCATED", "cut"));
    await body.next();
    await rejectsWith("E_TRUNCATED", body.next());
    expect(ends).toEqual(["first broken", "second broken"]);
  });

  it("tells that its reader has left, also before the first piece", async () => {
    const { body, ends } = scene(["a"]);
    await body.return();
    expect(ends).toEqual(["first left", "second left", "leave"]);
    expect(await body.next()).toEqual({ done: true, value: undefined });
  });

  it("that is all there is known to be over with its only piece", async () => {
    const body = once(utf8("all"));
    expect(body.isOver()).toBe(false);
    await body.next();
    expect(body.isOver()).toBe(true);
  });

  it("over somebody else's pieces leaves them when it is left", async () => {
    let left = false;
    async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
      try {
        yield await Promise.resolve(utf8("a"));
        yield utf8("b");
      } finally {
        left = true;
      }
    }
    const ends: boolean[] = [];
    const body = endingWith(pieces(), (whole) => ends.push(whole));
    for await (const piece of body) {
      expect(piece).toEqual(utf8("a"));
      break;
    }
    expect({ left, ends }).toEqual({ left: true, ends: [false] });
  });
});

import { describe, expect, test } from "vitest";
import { errorTable, MeshError } from "../../../src/base/errors.ts";
import { sseDone, sseError, sseEvent, type SseEvent, sseReader, sseText } from "../../../src/openai/sse.ts";
import { codeOf } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";

/** Reads bytes in pieces that end at the given places. */
function readIn(bytes: Uint8Array, cuts: readonly number[]): SseEvent[] {
  const reader = sseReader();
  const places = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  const events = places.slice(1).flatMap((end, index) => reader.read(bytes.subarray(places[index], end)));
  return [...events, ...reader.end()];
}

describe("reading events", () => {
  test("gives the same events wherever the bytes are cut, also inside a character", () => {
    const value = fc.record({ text: fc.string({ unit: "binary" }), list: fc.array(fc.string({ unit: "grapheme" })) });
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 6 }),
        fc.array(fc.nat(400), { maxLength: 20 }),
        fc.constantFrom("\n", "\r\n", "\r"),
        (values, cuts, line) => {
          const text = values.map((one) => `: comment${line}${sseText(one).replaceAll("\n", line)}`).join("");
          const bytes = Buffer.from(text);
          const events = readIn(
            bytes,
            cuts.map((cut) => Math.min(cut, bytes.length)),
          );
          // JSON keeps lone surrogates as escapes, so nothing is lost on the way through UTF-8
          expect(events.map(({ data }) => JSON.parse(data) as unknown)).toEqual(values);
        },
      ),
    );
  });

  test("any bytes are events or E_ENGINE", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.array(fc.nat(300), { maxLength: 5 }), (bytes, cuts) => {
        for (const { data } of readIn(
          bytes,
          cuts.map((cut) => Math.min(cut, bytes.length)),
        )) {
          expect(typeof data).toBe("string");
        }
      }),
    );
  });

  test("names of events and data of several lines are kept", () => {
    const text = "event: error\ndata: a\ndata: b\n\ndata:c\n\nid: 7\nretry: 5\nunknown: x\n\ndata: last";
    expect(readIn(Buffer.from(text), [])).toEqual([
      { event: "error", data: "a\nb" },
      { event: undefined, data: "c" },
      { event: undefined, data: "last" },
    ]);
  });

  test("an event without an end is refused, and stays refused", () => {
    const reader = sseReader();
    const piece = new Uint8Array(1024 * 1024).fill(120);
    reader.read(Buffer.from("data: "));
    const feed = (): string => {
      try {
        for (let index = 0; index < 20; index++) reader.read(piece);
        return "taken";
      } catch (thrown) {
        return codeOf(thrown);
      }
    };
    expect(feed()).toBe("E_ENGINE");
    expect(feed()).toBe("E_ENGINE");
  });
});

describe("writing events", () => {
  test("an event is one data line", () => {
    expect(Buffer.from(sseEvent({ a: "x\ny" })).toString()).toBe('data: {"a":"x\\ny"}\n\n');
    expect(Buffer.from(sseDone).toString()).toBe("data: [DONE]\n\n");
  });

  test("an error event has the shape that clients throw on", () => {
    const [event] = readIn(sseError(new MeshError("E_LOST", "gone"), "r1"), []);
    const message = `gone. ${errorTable.E_LOST.hint}`;
    expect(JSON.parse(event?.data ?? "")).toEqual({
      error: { message, type: "server_error", param: null, code: "connection_lost" },
    });
  });
});

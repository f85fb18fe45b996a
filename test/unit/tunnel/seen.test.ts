import { describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { SeenCache } from "../../../src/tunnel/seen.ts";
import { expectCode } from "../../support/expect-code.ts";

const [anna, bert, cleo, dora] = ["a", "b", "c", "d"].map((digit) => endpointId(digit.repeat(64))) as [
  EndpointId,
  EndpointId,
  EndpointId,
  EndpointId,
];

const minuteMs = 60_000;
/** The two marks of a request. */
const marksOf = (request: number): string[] => [`key ${request}`, `id ${anna} ${request}`];

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
    const seen = new SeenCache({ total: 4, perAsker: 4, sliceMs: 100 });
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

  it("refuses a replay whenever its time ends, however much has come since", () => {
    const seen = new SeenCache({ total: 100_000, perAsker: 100_000 });
    const requests = Array.from({ length: 10_000 }, (_, request) => request);
    for (const request of requests) seen.add(marksOf(request), anna, (request % 11) * minuteMs, 0);
    for (const request of requests.filter((one) => one % 7 === 0)) {
      for (const mark of marksOf(request)) expectCode("E_REPLAY", () => seen.add([mark], bert, 5 * minuteMs, 0));
    }
    seen.add(marksOf(requests.length), anna, 0, 0);
  });

  it("keeps a mark until its time is over, and no longer than what ends in the same minute", () => {
    const seen = new SeenCache({ total: 10, perAsker: 10 });
    seen.add(["a"], anna, minuteMs, 0);
    seen.add(["b"], anna, minuteMs + 500, 0);
    seen.add(["c"], anna, 2 * minuteMs, 0); // the first of the next minute
    for (const mark of ["a", "b"]) expectCode("E_REPLAY", () => seen.add([mark], anna, 5e6, minuteMs + 500));
    seen.add(["a", "b"], anna, 4 * minuteMs, minuteMs + 501);
    expectCode("E_REPLAY", () => seen.add(["c"], anna, 5e6, 2 * minuteMs));
    seen.add(["c"], anna, 4 * minuteMs, 2 * minuteMs + 1);
    for (const mark of ["a", "b", "c"]) expectCode("E_REPLAY", () => seen.add([mark], anna, 5e6, 4 * minuteMs));
  });

  it("gives back room by what has ended, of each asker its own", () => {
    const seen = new SeenCache({ total: 8, perAsker: 4 });
    seen.add(["a", "b"], anna, 1 * minuteMs, 0);
    seen.add(["c", "d"], anna, 2 * minuteMs, 0);
    seen.add(["e", "f"], bert, 1 * minuteMs, 0);
    seen.add(["g", "h"], cleo, 9 * minuteMs, 0);
    expectCode("E_BUSY", () => seen.add(["i"], dora, 9 * minuteMs, 0)); // full in all
    const laterMs = minuteMs + 1;
    seen.add(["i", "k"], anna, 9 * minuteMs, laterMs);
    expectCode("E_BUSY", () => seen.add(["l"], anna, 9 * minuteMs, laterMs));
    seen.add(["m", "n"], cleo, 9 * minuteMs, laterMs);
    expectCode("E_BUSY", () => seen.add(["o"], bert, 9 * minuteMs, laterMs)); // eight again
    seen.add(["o", "p"], bert, 9 * minuteMs, 2 * minuteMs + 1);
  });

  it("lets askers beyond its number share one share, and nobody else pay for it", () => {
    const seen = new SeenCache({ total: 100, perAsker: 2, askers: 2 });
    seen.add(["a"], anna, 100, 0);
    seen.add(["b"], bert, 200, 0);
    seen.add(["c"], cleo, 200, 0);
    seen.add(["d"], dora, 200, 0);
    for (const id of [cleo, dora]) expectCode("E_BUSY", () => seen.add(["e"], id, 200, 0));
    for (const [at, id] of [anna, bert].entries()) seen.add([`f ${at}`], id, 200, 0);
    for (const id of [anna, bert]) expectCode("E_BUSY", () => seen.add(["g"], id, 200, 0));
    // all of it has ended: two have a share of their own again, whoever they are
    for (const [at, id] of [cleo, cleo, dora, dora, anna, bert].entries()) seen.add([`h ${at}`], id, 400, 201);
    for (const id of [anna, bert, cleo, dora]) expectCode("E_BUSY", () => seen.add(["i"], id, 400, 201));
  });

  it("a clock that goes back makes it forget nothing, and takes nothing that it may have forgotten", () => {
    const seen = new SeenCache({ total: 100, perAsker: 100 });
    const noonMs = 1_000 * minuteMs;
    seen.add(["a"], anna, noonMs + 5 * minuteMs, noonMs);
    seen.add(["b"], anna, noonMs - 50 * minuteMs, noonMs - 60 * minuteMs);
    expectCode("E_REPLAY", () => seen.add(["a"], anna, noonMs + 5 * minuteMs, noonMs - 60 * minuteMs));
    expectCode("E_REPLAY", () => seen.add(["a"], anna, noonMs + 5 * minuteMs, noonMs));
    // b was forgotten at noon; now the clock goes back again, and b would be in time
    expectCode("E_BUSY", () => seen.add(["b"], anna, noonMs - 50 * minuteMs, noonMs - 60 * minuteMs));
    expectCode("E_BUSY", () => seen.add(["c"], anna, noonMs - 51 * minuteMs, noonMs - 60 * minuteMs));
    seen.add(["c"], anna, noonMs - 50 * minuteMs + 1, noonMs - 60 * minuteMs);
  });

  it("has a million marks in 21.4 bytes each, nothing before the first, and forgets them in one step", () => {
    const seen = new SeenCache({ total: 1_000_000, perAsker: 1_000_000 });
    expect(seen.bytes).toBe(0);
    const started = performance.now();
    const most: number[] = [];
    // five minutes of 100,000 requests: more than one table holds
    for (let request = 0; request < 500_000; request += 1) {
      seen.add(marksOf(request), anna, Math.floor(request / 100_000) * minuteMs, 0);
      if (request % 1_000 === 999) most.push(seen.bytes / (2 * (request + 1)));
    }
    const addingMs = performance.now() - started;
    expect(Math.max(...most)).toBeLessThan(21.4);
    expect(seen.bytes).toBeLessThan(11_000_000);
    for (let request = 0; request < 500_000; request += 9_999) {
      for (const mark of marksOf(request)) expectCode("E_REPLAY", () => seen.add([mark], anna, minuteMs, 0));
    }
    expectCode("E_BUSY", () => seen.add(["one more"], bert, minuteMs, 0));
    const forgetting = performance.now();
    seen.add(["one more"], bert, 9 * minuteMs, 8 * minuteMs);
    expect(performance.now() - forgetting).toBeLessThan(addingMs / 10);
    expect(seen.bytes).toBe(512);
  });
});

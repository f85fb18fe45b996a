/** The text that Prometheus reads: its form, its escapes, and what is refused before it could be wrong. */
import { expect, test } from "vitest";
import { Counter, Gauge, Histogram, Registry } from "../../../src/node/exposition.ts";

test("counters, gauges and histograms, as Prometheus reads them", async () => {
  const registry = new Registry();
  const registers = [registry];
  const asked = new Counter({ name: "asked_total", help: "Asked.", labelNames: ["how", "why"], registers });
  asked.inc({ how: "a", why: "b" });
  asked.inc({ why: "b", how: "a" }, 2.5);
  asked.inc({ how: "c", why: "" }, 0);
  new Gauge({ name: "now", help: "Now.", registers }).set(7);
  let looked = 0;
  void new Gauge({
    name: "looked",
    help: "Looked at.",
    registers,
    collect() {
      this.set(++looked);
    },
  });
  const took = new Histogram({ name: "took_seconds", help: "Took.", labelNames: ["to"], buckets: [0.5, 1], registers });
  for (const seconds of [0.25, 0.5, 0.75, 64]) took.observe({ to: "x" }, seconds);
  took.observe({ to: "x" }, Number.NaN);
  void new Histogram({ name: "never_seconds", help: "Never.", labelNames: ["to"], buckets: [1], registers });

  expect(await registry.metrics()).toBe(`# HELP asked_total Asked.
# TYPE asked_total counter
asked_total{how="a",why="b"} 3.5
asked_total{how="c",why=""} 0

# HELP now Now.
# TYPE now gauge
now 7

# HELP looked Looked at.
# TYPE looked gauge
looked 1

# HELP took_seconds Took.
# TYPE took_seconds histogram
took_seconds_bucket{le="0.5",to="x"} 2
took_seconds_bucket{le="1",to="x"} 3
took_seconds_bucket{le="+Inf",to="x"} 4
took_seconds_sum{to="x"} 65.5
took_seconds_count{to="x"} 4

# HELP never_seconds Never.
# TYPE never_seconds histogram
`);
  expect(await registry.metrics()).toContain("\nlooked 2\n");
  expect(registry.contentType).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(registry.described[0]).toEqual({ name: "asked_total", help: "Asked.", type: "counter" });
});

test("what could end a line or a label early is escaped", async () => {
  const registry = new Registry();
  const gauge = new Gauge({ name: "g", help: 'a\\b\n"c"', labelNames: ["l"], registers: [registry] });
  gauge.set({ l: 'a"b\\c\nd} 9' }, Number.NEGATIVE_INFINITY);
  gauge.set({ l: "nan" }, Number.NaN);
  expect(await registry.metrics()).toBe(
    '# HELP g a\\\\b\\n"c"\n# TYPE g gauge\ng{l="a\\"b\\\\c\\nd} 9"} -Inf\ng{l="nan"} NaN\n',
  );
});

test("mistakes in a metric are thrown, not exposed", () => {
  const registers = [new Registry()];
  const counter = new Counter({ name: "a_total", help: "", registers });
  expect(() => new Counter({ name: "a_total", help: "", registers })).toThrow("two metrics a_total");
  expect(() => new Gauge({ name: "a b", help: "", registers })).toThrow("no name of a metric");
  expect(() => new Gauge({ name: "b", help: "", labelNames: ["a-b"], registers })).toThrow("no name of a label");
  expect(() => new Histogram({ name: "c", help: "", labelNames: ["le"], buckets: [], registers })).toThrow("le is no");
  expect(() => new Histogram({ name: "d", help: "", buckets: [1, 1], registers })).toThrow("do not rise");
  expect(() => counter.inc({}, -1)).toThrow("cannot go down");
  expect(() => counter.inc({}, Number.NaN)).toThrow("cannot go down");
});

import { describe, expect, it } from "vitest";
import { Metrics } from "../../../src/node/metrics.ts";
import { metricsTable } from "../../../src/node/metrics-table.ts";
import { host, refused, report } from "./reports.ts";

function metrics(gauges: { running?: number; queued?: number; peers?: number } = {}): Metrics {
  const { running = 0, queued = 0, peers = 0 } = gauges;
  return new Metrics("1.2.3", { running: () => running, queued: () => queued, peers: () => peers });
}

/** Value of a series, as the text has it. */
async function value(of: Metrics, series: string): Promise<number | undefined> {
  const line = (await of.text()).split("\n").find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

describe("/metrics", () => {
  it("counts exchanges by outcome, sealing and route, and their tokens", async () => {
    const made = metrics();
    made.observe(report());
    made.observe(report());
    made.observe(refused());
    const ok = '{outcome="ok",sealing="sealed",route="direct"}';
    const none = '{outcome="no_host",sealing="none",route="none"}';
    expect(await value(made, `sealmesh_exchanges_asked_total${ok}`)).toBe(2);
    expect(await value(made, `sealmesh_exchanges_asked_total${none}`)).toBe(1);
    expect(await value(made, 'sealmesh_tokens_total{kind="prompt"}')).toBe(22);
    expect(await value(made, 'sealmesh_tokens_total{kind="completion"}')).toBe(6);
  });

  it("counts attempts, and answers for peers", async () => {
    const made = metrics();
    const failed = {
      host,
      sealed: true,
      route: "direct",
      relay: undefined,
      processed: "maybe",
      reason: "late",
      failed_ways: [],
    } as const;
    made.observe(
      report({
        attempts: [
          { ...failed, outcome: "E_TIMEOUT" },
          { ...failed, outcome: "answered" },
        ],
      }),
    );
    made.observeAnswered(true);
    made.observeAnswered(false);
    made.observeAnswered(false);
    expect(await value(made, 'sealmesh_attempts_total{outcome="E_TIMEOUT"}')).toBe(1);
    expect(await value(made, 'sealmesh_attempts_total{outcome="answered"}')).toBe(1);
    expect(await value(made, 'sealmesh_exchanges_answered_total{whole="true"}')).toBe(1);
    expect(await value(made, 'sealmesh_exchanges_answered_total{whole="false"}')).toBe(2);
  });

  it("measures in seconds, and leaves out what was not measured", async () => {
    const made = metrics();
    made.observe(report({ first_token_ms: 90, ms: 1_200 }));
    made.observe(report({ first_token_ms: null, ms: 300 }));
    const labels = 'sealing="sealed",route="direct"';
    expect(await value(made, `sealmesh_first_token_seconds_count{${labels}}`)).toBe(1);
    expect(await value(made, `sealmesh_first_token_seconds_sum{${labels}}`)).toBeCloseTo(0.09);
    expect(await value(made, `sealmesh_first_token_seconds_bucket{le="0.05",${labels}}`)).toBe(0);
    expect(await value(made, `sealmesh_first_token_seconds_bucket{le="0.1",${labels}}`)).toBe(1);
    expect(await value(made, `sealmesh_exchange_duration_seconds_sum{${labels}}`)).toBeCloseTo(1.5);
  });

  it("reads its gauges when it is asked", async () => {
    const made = metrics({ running: 3, queued: 2, peers: 5 });
    expect(await value(made, "sealmesh_exchanges_running")).toBe(3);
    expect(await value(made, "sealmesh_exchanges_queued")).toBe(2);
    expect(await value(made, "sealmesh_peers")).toBe(5);
    expect(await value(made, "process_resident_memory_bytes")).toBeGreaterThan(1_000_000);
    expect(await value(made, `sealmesh_build_info{version="1.2.3",node="${process.version}"}`)).toBe(1);
  });

  it("counts refused hosts by their rule, and reads hosts, engines, relayed streams and spans when it is asked", async () => {
    let hosts: { decision: "allow" | "refuse"; tier: "vendor" | "none" }[] = [
      { decision: "allow", tier: "vendor" },
      { decision: "allow", tier: "vendor" },
      { decision: "refuse", tier: "none" },
    ];
    const none = { running: () => 0, queued: () => 0, peers: () => 0 };
    const made = new Metrics("1.2.3", {
      ...none,
      inFlight: () => 4,
      hosts: () => hosts,
      engines: () => [{ state: "up" }, { state: "down" }, { state: "up" }],
      relayed: () => ({ streams: 5, broken: 1, refused: 2, bytes: 900 }),
      spans: () => ({ sent: 7, dropped: 3 }),
    });
    made.observeRefused("stale");
    made.observeRefused("stale");
    expect(await value(made, 'sealmesh_refusals_total{rule="stale"}')).toBe(2);
    expect(await value(made, "sealmesh_exchanges_in_flight")).toBe(4);
    expect(await value(made, 'sealmesh_hosts{decision="allow",tier="vendor"}')).toBe(2);
    expect(await value(made, 'sealmesh_hosts{decision="refuse",tier="none"}')).toBe(1);
    expect(await value(made, 'sealmesh_engines{state="up"}')).toBe(2);
    expect(await value(made, 'sealmesh_engines{state="loading"}')).toBe(0);
    expect(await value(made, 'sealmesh_relayed_streams_total{outcome="broken"}')).toBe(1);
    expect(await value(made, "sealmesh_relayed_bytes_total")).toBe(900);
    expect(await value(made, 'sealmesh_spans_total{outcome="dropped"}')).toBe(3);
    // read anew, not added up; a tier that nobody has any more is gone
    hosts = [{ decision: "refuse", tier: "none" }];
    expect(await value(made, 'sealmesh_relayed_streams_total{outcome="broken"}')).toBe(1);
    expect(await value(made, 'sealmesh_hosts{decision="allow",tier="vendor"}')).toBeUndefined();
    expect(await value(made, "process_start_time_seconds")).toBeCloseTo(performance.timeOrigin / 1_000);
  });

  it("has no label from outside, and no more series for more names", async () => {
    const made = metrics();
    made.observe(report({ status: 500, code: "c0", model: "model-0", id: "id-0" }));
    const lines = (await made.text()).split("\n").length;
    for (let index = 1; index < 50; index++) {
      made.observe(report({ status: 500, code: `c${index}`, model: `model-${index}`, id: `id-${index}` }));
    }
    const text = await made.text();
    expect(text.split("\n")).toHaveLength(lines);
    expect(text).not.toMatch(/model-|id-|aaaaaaaa/);
  });

  it("two nodes of one process do not share numbers", async () => {
    const [one, other] = [metrics(), metrics()];
    one.observe(report());
    expect(await value(other, 'sealmesh_tokens_total{kind="prompt"}')).toBeUndefined();
  });

  it("every metric of the table is told, with a prefix, a base unit and no label but those of the table", async () => {
    const made = metrics();
    made.observe(report());
    made.observeAnswered(true);
    made.observeRefused("stale");
    const text = await made.text();
    const told = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, kind]) => ({ name, kind }));
    const table = Object.entries(metricsTable);
    expect(told).toEqual(table.map(([name, { kind }]) => ({ name, kind })));
    for (const [name, { kind, labels, help }] of table) {
      expect(name).toMatch(/^(?:sealmesh|process)_[a-z_]+$/);
      expect(name.endsWith("_total")).toBe(kind === "counter");
      if (kind === "histogram") expect(name).toMatch(/_seconds$/);
      expect(help).toMatch(/^[A-Z].*[.]$/);
      const used = text.match(new RegExp(`^${name}(?:_bucket)?\\{[^}]*\\}`, "m"))?.[0] ?? "";
      const names = [...used.matchAll(/[{,]([a-z]+)=/g)].map(([, label]) => label).filter((label) => label !== "le");
      for (const label of names) expect(Object.keys(labels)).toContain(label);
    }
    for (const help of text.match(/^# HELP .*$/gm) ?? []) expect(help).not.toMatch(/[[\]`]/);
  });
});

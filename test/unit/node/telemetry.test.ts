import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { LogEvent } from "../../../src/base/log.ts";
import { resolveConfig } from "../../../src/node/config.ts";
import { Telemetry, type TelemetryBounds } from "../../../src/node/telemetry.ts";
import { telemetrySettings } from "../../../src/node/telemetry-config.ts";
import { traceParent } from "../../../src/node/telemetry-span.ts";
import { type Collector, startCollector } from "../../support/collector.ts";
import { codeOf, expectCode } from "../../support/expect-code.ts";
import { eventually, temporaryDirectory } from "../../support/mesh.ts";
import { host, refused, report } from "./reports.ts";

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const parent = "00f067aa0ba902b7";
const self = "bb".repeat(32);

function telemetry(
  { url }: Pick<Collector, "url">,
  bounds: Partial<TelemetryBounds> = { gatherMs: 1 },
): { made: Telemetry; events: LogEvent[] } {
  const events: LogEvent[] = [];
  const settings = telemetrySettings({
    endpoint: url,
    headers: "authorization=Bearer%20t1, x-tenant=a",
    serviceName: "s",
  });
  if (!settings) throw new Error("no settings");
  const log = { write: (_level: string, event: LogEvent) => void events.push(event) };
  return { made: new Telemetry({ ...settings, version: "1.2.3", self, log, bounds }), events };
}

describe("a span", () => {
  it("has the conventions' names for what a report says, in OTLP's JSON", async () => {
    await using collector = await startCollector();
    const { made } = telemetry(collector);
    const proven = { tier: "vendor", kind: "tpm2", key: null, unchallenged: false, at_end: "current" } as const;
    made.observe(report({ attestation: proven }));
    await made.close();
    expect(collector.paths).toEqual(["/v1/traces"]);
    expect(collector.heads[0]).toMatchObject({
      "content-type": "application/json",
      authorization: "Bearer t1",
      "x-tenant": "a",
    });
    expect(collector.resource).toEqual({
      "service.name": "s",
      "service.version": "1.2.3",
      "service.instance.id": self,
    });
    const [span] = collector.spans;
    expect(span).toMatchObject({
      traceId: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      spanId: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
      flags: 0x101,
      name: "chat demo",
      kind: 3,
      startTimeUnixNano: "1767323045678000000",
      endTimeUnixNano: "1767323046878000000",
    });
    expect(span).not.toHaveProperty("parentSpanId");
    expect(span).not.toHaveProperty("status");
    expect(span?.attributes).toEqual({
      "gen_ai.operation.name": "chat",
      "gen_ai.provider.name": "sealmesh",
      "gen_ai.request.model": "demo",
      "gen_ai.response.model": "demo",
      "gen_ai.usage.input_tokens": 11,
      "gen_ai.usage.output_tokens": 3,
      "server.address": host,
      "http.response.status_code": 200,
      "sealmesh.exchange": "r1",
      "sealmesh.sealing": "sealed",
      "sealmesh.route": "direct",
      "sealmesh.tier": "vendor",
      "sealmesh.attempts": 0,
      "sealmesh.first_token_ms": 90,
    });
    expect(made.counts).toEqual({ sent: 1, dropped: 0 });
  });

  it("names what failed by its code, and no code or model that somebody else made up", async () => {
    await using collector = await startCollector();
    const { made } = telemetry(collector);
    made.observe(refused({ model: "" }));
    made.observe(refused({ code: "the prompt was: hello", path: "/v1/embeddings" }));
    await made.close();
    const [first, second] = collector.spans;
    expect(first).toMatchObject({ name: "chat", status: { code: 2 } });
    expect(first?.attributes).toMatchObject({ "error.type": "no_host", "sealmesh.sealing": "none" });
    expect(first?.attributes).not.toHaveProperty("gen_ai.request.model");
    expect(second?.attributes).toMatchObject({ "error.type": "other", "gen_ai.operation.name": "embeddings" });
    expect(second?.attributes).not.toHaveProperty("gen_ai.response.model");
    expect(collector.bodies.join()).not.toContain("hello");
  });

  it("belongs to the caller's trace, or is left out where that is not recorded", async () => {
    await using collector = await startCollector();
    const { made } = telemetry(collector);
    made.observe(report({ route: "local" }), `00-${trace}-${parent}-01`);
    made.observe(report(), `00-${trace}-${parent}-00`);
    made.observe(report(), "no traceparent at all");
    await made.close();
    expect(collector.spans).toHaveLength(2);
    expect(collector.spans[0]).toMatchObject({ traceId: trace, parentSpanId: parent, flags: 0x301, kind: 1 });
    expect(collector.spans[1]?.traceId).not.toBe(trace);
    expect(collector.spans[0]?.spanId).not.toBe(parent);
  });

  it.each([
    [`00-${trace}-${parent}-01`, true],
    [`cc-${trace}-${parent}-01-later`, true],
    [`00-${trace}-${parent}-01-later`, false],
    [`ff-${trace}-${parent}-01`, false],
    [`00-${"0".repeat(32)}-${parent}-01`, false],
    [`00-${trace}-${"0".repeat(16)}-01`, false],
    [`00-${trace.toUpperCase()}-${parent}-01`, false],
    [`cc-${trace}-${parent}-01-${"x".repeat(600)}`, false],
    ["", false],
    [undefined, false],
    [["00", trace], false],
  ])("traceparent %s: %s", (header, is) => {
    expect(traceParent(header)).toEqual(is ? { traceId: trace, spanId: parent, sampled: true } : undefined);
  });
});

describe("a collector", () => {
  it("that fails is tried again, and nothing is lost or said twice", async () => {
    await using collector = await startCollector();
    collector.status = 503;
    const { made, events } = telemetry(collector, { gatherMs: 1, retryMs: 5 });
    made.observe(report({ id: "early" }));
    await eventually("two attempts", () => collector.bodies.length > 1);
    expect(made.counts).toEqual({ sent: 0, dropped: 0 });
    collector.status = 200;
    made.observe(report({ id: "late" }));
    await eventually("both are sent", () => made.counts.sent === 2);
    expect(events).toEqual([
      { event: "telemetry-not-sent", code: "E_UNREACHABLE", what: expect.any(String) as string },
    ]);
    await made.close();
    expect(made.counts).toEqual({ sent: 2, dropped: 0 });
  });

  it("that refuses gets them no second time", async () => {
    await using collector = await startCollector();
    collector.status = 401;
    const { made, events } = telemetry(collector);
    made.observe(report());
    await eventually("it is dropped", () => made.counts.dropped === 1);
    expect(events).toMatchObject([
      { code: "E_INPUT", what: `the collector at ${collector.url} answers with status 401` },
    ]);
    expect(JSON.stringify(events)).not.toContain("t1");
    await made.close();
    expect(collector.bodies).toHaveLength(1);
  });

  it("that is not there holds up nobody: the queue is bounded, and the end comes at once", async () => {
    const { made } = telemetry({ url: "http://127.0.0.1:9" }, { gatherMs: 1, queue: 100, batch: 10, retryMs: 5 });
    const started = performance.now();
    for (let index = 0; index < 1_000; index++) made.observe(report());
    expect(performance.now() - started).toBeLessThan(500);
    expect(made.counts.dropped).toBe(900);
    await eventually("it was tried", () => made.counts.dropped >= 900);
    await made.close();
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(made.counts).toEqual({ sent: 0, dropped: 1_000 });
    made.observe(report());
    expect(made.counts.dropped).toBe(1_000);
  });

  it("that never answers delays the end by no more than a second", async () => {
    await using collector = await startCollector();
    collector.answers = false;
    const { made } = telemetry(collector, { gatherMs: 1, lastMs: 50 });
    made.observe(report());
    await eventually("it was asked", () => collector.bodies.length === 1);
    const started = performance.now();
    await made.close();
    expect(performance.now() - started).toBeLessThan(1_000);
  });

  it("gets full batches, one request after the other", async () => {
    await using collector = await startCollector();
    const { made } = telemetry(collector, { gatherMs: 1, batch: 4 });
    for (let index = 0; index < 10; index++) made.observe(report({ id: `r${index}` }));
    await made.close();
    expect(collector.spans.map(({ attributes }) => attributes["sealmesh.exchange"])).toEqual(
      Array.from({ length: 10 }, (_, index) => `r${index}`),
    );
    expect(collector.bodies).toHaveLength(3);
  });
});

describe("settings", () => {
  const settings = (endpoint: string | undefined, headers?: string): ReturnType<typeof telemetrySettings> =>
    telemetrySettings({ endpoint, headers, serviceName: undefined });

  it("off unless an endpoint is named; its path goes on", () => {
    expect(settings(undefined, "a=b")).toBeUndefined();
    expect(settings("none", "a=b")).toBeUndefined();
    expect(settings("http://127.0.0.1:4318")).toEqual({
      url: "http://127.0.0.1:4318/v1/traces",
      headers: {},
      serviceName: "sealmesh",
    });
    expect(settings("https://example.org/otlp/")?.url).toBe("https://example.org/otlp/v1/traces");
  });

  it.each(["4318", "grpc://127.0.0.1:4317", "http://user:pw@127.0.0.1:4318"])("refuses %s", (endpoint) => {
    expectCode("E_CONFIG", () => settings(endpoint));
  });

  it.each(["s3cret", "a b=s3cret", "a=s3cret%", "a=s3cret%0d%0a", "ok=1,=s3cret"])(
    "refuses the headers %j without repeating them",
    (headers) => {
      let thrown: unknown;
      try {
        settings("http://127.0.0.1:4318", headers);
      } catch (error) {
        thrown = error;
      }
      expect(codeOf(thrown)).toBe("E_CONFIG");
      expect(String(thrown)).not.toContain("s3cret");
    },
  );

  it("a flag wins over our variable, over the standard one, over the file", () => {
    const file = join(temporaryDirectory(), "config.toml");
    const said = (otlpEndpoint?: string): string | undefined => {
      const flags = otlpEndpoint === undefined ? {} : { otlpEndpoint };
      return resolveConfig("client", { config: file, ...flags }).telemetry?.url;
    };
    writeFileSync(file, '[telemetry]\notlp_endpoint = "http://file.invalid"\nservice_name = "from-file"\n', {
      mode: 0o600,
    });
    expect(said()).toBe("http://file.invalid/v1/traces");
    vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://standard.invalid");
    expect(said()).toBe("http://standard.invalid/v1/traces");
    vi.stubEnv("SEALMESH_OTLP_ENDPOINT", "http://ours.invalid");
    expect(said()).toBe("http://ours.invalid/v1/traces");
    expect(said("http://flag.invalid")).toBe("http://flag.invalid/v1/traces");
    expect(said("none")).toBeUndefined();
    vi.stubEnv("OTEL_EXPORTER_OTLP_HEADERS", "a=1");
    vi.stubEnv("OTEL_SERVICE_NAME", "s");
    vi.stubEnv("SEALMESH_OTLP_ENDPOINT", "https://ours.invalid");
    expect(resolveConfig("client", { config: file }).telemetry).toMatchObject({
      headers: { a: "1" },
      serviceName: "s",
    });
    vi.unstubAllEnvs();
  });

  it("the headers in a file are for the file's collector alone, and travel to no other machine in the clear", () => {
    const folder = temporaryDirectory();
    const file = join(folder, "config.toml");
    writeFileSync(join(folder, "headers"), "authorization=Bearer%20s3cret", { mode: 0o600 });
    const told = (endpoint: string): string =>
      `[telemetry]\notlp_endpoint = "${endpoint}"\notlp_headers_file = "headers"\n`;
    writeFileSync(file, told("https://file.invalid"), { mode: 0o600 });
    const headers = (flags: object): unknown => resolveConfig("client", { config: file, ...flags }).telemetry?.headers;
    expect(headers({})).toEqual({ authorization: "Bearer s3cret" });
    expect(headers({ otlpEndpoint: "https://flag.invalid" })).toEqual({});
    writeFileSync(file, told("http://file.invalid"), { mode: 0o600 });
    expect(() => headers({})).toThrow("in the clear");
    writeFileSync(file, told("http://127.0.0.1:4318"), { mode: 0o600 });
    expect(headers({})).toEqual({ authorization: "Bearer s3cret" });
  });
});

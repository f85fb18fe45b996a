/** `sealmesh config show`: where a value comes from, and that no secret within an address is shown. */
import { afterEach, expect, it, vi } from "vitest";
import { cellsOf, settingReports } from "../../../src/cli/setting-report.ts";
import { type Flags, shownSettings } from "../../../src/node/config.ts";

afterEach(() => vi.unstubAllEnvs());

function shown(name: string, flags: Flags = {}): readonly string[] {
  const { settings } = shownSettings({ config: "none", ...flags });
  const report = settingReports(settings, undefined).find((one) => one.name === name);
  if (!report) throw new Error(`there is no ${name}`);
  return cellsOf(report).slice(1);
}

it.each([
  ["http://u:sesame@10.0.0.5:8000/v1", "http://***@10.0.0.5:8000/v1"],
  ["vllm=http://u:sesame@10.0.0.5:8000/v1", "vllm=http://***@10.0.0.5:8000/v1"],
  ["http://10.0.0.5/v1?key=sesame", "http://10.0.0.5/v1?***"],
  ["auto", "auto"],
])("%s is shown without its secret", (engine, text) => {
  expect(shown("engine.urls", { engine: [engine] })).toEqual([text, "--engine"]);
});

it("keeps the checksum of a model's address, and not what signs it", () => {
  const model = "https://example.org/m.gguf?X-Amz-Signature=sesame#sha256=00ff";
  expect(shown("engine.models", { model: [model] })[0]).toBe("https://example.org/m.gguf?***#sha256=00ff");
});

it("names a standard variable where it is what counts", () => {
  expect(shown("telemetry.otlp_endpoint")).toEqual(["none", "default"]);
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
  expect(shown("telemetry.otlp_endpoint")).toEqual(["http://127.0.0.1:4318", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
  vi.stubEnv("SEALMESH_OTLP_ENDPOINT", "none");
  expect(shown("telemetry.otlp_endpoint")).toEqual(["none", "SEALMESH_OTLP_ENDPOINT"]);
});

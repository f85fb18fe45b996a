/** The dashboard for Grafana asks for metrics and labels that exist, and shows every one that is worth a look. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { metricsTable } from "../../src/node/metrics-table.ts";
import { root } from "../support/processes.ts";

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[];
  }[];
}

const dashboard = JSON.parse(readFileSync(join(root, "packaging/grafana/sealmesh.json"), "utf8")) as Dashboard;
const queries = dashboard.panels.flatMap(({ title, targets }) => targets.map((target) => ({ title, ...target })));
const table = new Map(Object.entries(metricsTable));
/** A histogram is asked for by its buckets, count or sum. */
const named = (text: string): string => (table.has(text) ? text : text.replace(/_(?:bucket|count|sum)$/, ""));
const metricsOf = (expr: string): string[] =>
  [...expr.matchAll(/\b(?:sealmesh|process)_[a-z_]+/g)].map(([name]) => named(name));

it("every query names metrics, labels and values of the table", () => {
  expect(queries.length).toBeGreaterThan(15);
  for (const { title, expr, legendFormat } of queries) {
    const metrics = metricsOf(expr);
    expect(metrics.length, title).toBe(1);
    const row = table.get(metrics[0] ?? "");
    expect(row, `${title}: ${metrics[0]}`).toBeDefined();
    const labels = new Set([...Object.keys(row?.labels ?? {}), "instance", "le"]);
    const used = [
      ...[...expr.matchAll(/by \(([^)]+)\)/g)].flatMap(([, list = ""]) => list.split(", ")),
      ...[...expr.matchAll(/[{,]([a-z]+)=~?"/g)].map(([, label = ""]) => label),
      ...[...legendFormat.matchAll(/\{\{([a-z]+)\}\}/g)].map(([, label = ""]) => label),
    ];
    for (const label of used) expect(labels, `${title}: ${label}`).toContain(label);
    for (const [, label = "", value = ""] of expr.matchAll(/[{,]([a-z]+)="([^"]+)"/g)) {
      expect(row?.labels[label], title).toContain(`\`${value}\``);
    }
    expect(expr.includes("rate("), title).toBe(row?.kind !== "gauge");
  }
});

it("every metric is on it", () => {
  const shown = new Set(queries.flatMap(({ expr }) => metricsOf(expr)));
  expect([...table.keys()].filter((name) => !shown.has(name))).toEqual([]);
});

it("no panel lies on another", () => {
  for (const [index, { title, gridPos: a }] of dashboard.panels.entries()) {
    for (const { title: other, gridPos: b } of dashboard.panels.slice(index + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      expect(apart, `${title} and ${other}`).toBe(true);
    }
    expect(a.x + a.w).toBeLessThanOrEqual(24);
  }
});

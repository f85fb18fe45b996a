// docs/metrics.md: one row per metric of src/node/metrics-table.ts.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { rolldown } from "rolldown";

const head = `# Metrics

Made by \`npm run generate\` from \`src/node/metrics-table.ts\`; do not edit.

\`http://127.0.0.1:3131/metrics\` is for Prometheus, on the console's port and on this machine only, without a key: there is no name
of a model, a peer or a caller in it, and no content. Every label takes its values from a fixed set. The numbers are of this
node since it started; \`sealmesh_exchanges_asked_total\` and what is measured of tokens and times count exchanges that callers
on this machine asked for, not those answered for peers.

A scrape from another machine goes through a tunnel or an agent on this one: the port listens on loopback and checks the Host
header. [\`packaging/grafana/sealmesh.json\`](../packaging/grafana/sealmesh.json) is a dashboard of these metrics for Grafana.
Spans for an OpenTelemetry collector are another thing: [telemetry.md](telemetry.md).

| metric | kind | what it says | labels |
|---|---|---|---|
`;

const foot = `
The histograms have these upper bounds, in seconds:

| metric | bounds |
|---|---|
`;

/** The page's text. */
export async function metricsPage(root) {
  const table = Object.entries(await metricsTable(root));
  const rows = table.map(([name, { kind, help, labels }]) => {
    const told = Object.entries(labels).map(([label, values]) => `\`${label}\`: ${values}`);
    return row([`\`${name}\``, kind, help, told.join("<br>") || "-"]);
  });
  const bounds = table
    .filter(([, { buckets }]) => buckets !== undefined)
    .map(([name, { buckets }]) => row([`\`${name}\``, buckets.join(", ")]));
  return head + rows.join("") + foot + bounds.join("");
}

function row(cells) {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
}

/** The table as the product has it; it imports nothing. */
async function metricsTable(root) {
  const build = await rolldown({ input: join(root, "src/node/metrics-table.ts"), platform: "node", cwd: root });
  const out = mkdtempSync(join(tmpdir(), "sealmesh-metrics-"));
  try {
    const { output } = await build.generate({ format: "esm" });
    const file = join(out, "table.mjs");
    writeFileSync(file, output[0].code);
    return (await import(pathToFileURL(file).href)).metricsTable;
  } finally {
    await build.close();
    rmSync(out, { recursive: true, force: true });
  }
}

// A result as text for a terminal.
import { figures as known, hopFigures, shown } from "./figures.mjs";
import { hopNames } from "./hop-names.mjs";
import { gateCells } from "./judge.mjs";

/** @returns the tables of hops, of the rest, and of the gates */
export function reportText(result) {
  const { figures, noise, paths, failures, machine, commit, dirty, seconds } = result;
  const columns = [...hopNames, "tls"].filter((hop) => hopFigures.some((name) => figures[name]?.[hop] !== undefined));
  const rows = hopFigures
    .filter((name) => figures[name] !== undefined)
    .map((name) => [
      `${known[name].title}, ${known[name].unit}`,
      ...columns.map((hop) => shown(figures[name][hop]?.[1])),
    ]);
  const others = Object.keys(known).filter((name) => !hopFigures.includes(name) && figures[name] !== undefined);
  const rest = others.flatMap((name) =>
    Object.entries(figures[name]).map(([whose, values]) => [
      `${known[name].title}, ${known[name].unit}`,
      whose,
      ...values.map(shown),
    ]),
  );
  const share = (value) => `${(value * 100).toFixed(1)} %`;
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.os}, Node ${machine.node}; commit ${commit}${dirty ? ", changed" : ""}; ${seconds} s`,
    `paths: ${
      Object.entries(paths)
        .map(([hop, path]) => `${hop} ${path}`)
        .join(", ") || "none"
    }`,
    `noise of the machine: a fixed loop took ${share(noise.wallTime)} more or less than its median, ${share(noise.cpuTime)} of CPU time`,
    ...(rows.length > 0 ? ["", "medians", table([["", ...columns], ...rows])] : []),
    ...(rest.length > 0 ? ["", table([["", "of", "min", "median", "max"], ...rest])] : []),
    ...failures.map((failure) => `failed: ${failure}`),
    "",
    table(result.gates.map(gateCells)),
  ].join("\n");
}

function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  const isNumber = (text) => /^(-|[\d ]+(\.\d+)?( (ms|MB))?)$/.test(text);
  return rows
    .map((row) =>
      row
        .map((cell, column) => (isNumber(cell) ? cell.padStart(widths[column]) : cell.padEnd(widths[column])))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

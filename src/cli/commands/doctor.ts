/** `sealmesh doctor`: what is in the way of a node on this machine, and what to do about it. The checks are in doctor/. */
import { errorTable } from "../../base/errors.ts";
import { version } from "../../node/version.ts";
import type { Command } from "../command.ts";
import type { CheckReport, CheckState } from "../doctor/check.ts";
import type { DoctorFlags } from "../doctor/context.ts";
import { counted, paintFor, printJson, printLine, printNote, type Style } from "../output.ts";
import { widthOf, wrapped } from "../table.ts";

interface Flags extends DoctorFlags {
  readonly json?: boolean;
}

/** What takes longer says what it waits for, this often, ms. */
const progressMs = 2_000;

export const doctor: Command = {
  description:
    "Looks at the node that runs here, or at what one would find: settings, engine, ports, data directory, network, iroh relays " +
    "that are set, clock, hardening, TPM or Secure Enclave, graphics. Changes nothing, asks nobody but this machine and " +
    "those relays, and prints no secrets, so that the output can be shown to others. Ends with 0 unless a " +
    "check has failed.",
  examples: [
    { what: "this machine", line: "sealmesh doctor" },
    { what: "for programs", line: "sealmesh doctor --json" },
    { what: "a node with other places", line: "sealmesh doctor --data-dir DIRECTORY --config node.toml" },
  ],
  addFlags: (command) =>
    command
      .option("--data-dir <directory>", "data directory of the node (default: the platform's place for state)")
      .option("--config <file>", "settings, as for serve; none: no file")
      .option("--console <port>", "console port of the node (default: the one that its data directory names)")
      .option("--url <url>", "its console URL, instead of --console")
      .option("--json", "one JSON document"),
  async run(given) {
    const { json, ...flags } = given as Flags;
    const [{ runChecks }, { checks }, { doctorContext }] = await Promise.all([
      import("../doctor/check.ts"),
      import("../doctor/checks.ts"),
      import("../doctor/context.ts"),
    ]);
    let waiting: readonly string[] = ["the node"];
    const timer = setInterval(() => {
      if (!json) printNote(`looking at ${waiting.join(", ")}`);
    }, progressMs);
    try {
      const context = await doctorContext(flags);
      const reports = await runChecks(checks, context, { onProgress: (names) => (waiting = names) });
      if (json) printJson(documentOf(reports));
      else printLine(textOf(reports));
      return exitOf(reports);
    } finally {
      clearInterval(timer);
    }
  },
};

/** As the first failure's row says. */
function exitOf(reports: readonly CheckReport[]): number {
  const failed = reports.find(({ state }) => state === "fail");
  return failed ? errorTable[failed.code ?? "E_CONFIG"].exit : 0;
}

function documentOf(reports: readonly CheckReport[]): object {
  const checks = reports.map(({ name, state, seen, todo, code, ms }) => ({
    name,
    state,
    seen,
    todo: todo ?? null,
    code: code ?? null,
    ms,
  }));
  const { platform, arch, versions } = process;
  return { version, node: versions.node, platform, arch, ok: exitOf(reports) === 0, checks };
}

/** Findings are not broken into lines shorter than this. */
const leastColumns = 30;

const styles: Readonly<Record<CheckState, Style>> = { ok: "green", warn: "yellow", fail: "red", skip: "dim" };

function textOf(reports: readonly CheckReport[]): string {
  const paint = paintFor(process.stdout);
  const columns = Math.max(...reports.map(({ name }) => name.length));
  const place = columns + 10;
  const room = Math.max(widthOf(process.stdout) - place, leastColumns);
  const lines = reports.flatMap(({ name, state, seen, todo }) => {
    const head = `  ${paint(styles[state], state.padEnd(4))}  ${name.padEnd(columns)}  `;
    const [first = "", ...others] = [
      ...wrapped(seen, room),
      ...(todo === undefined
        ? []
        : wrapped(`do: ${todo}`, room).map((line) => line.replace(/^do:/, paint("bold", "do:")))),
    ];
    return [`${head}${first}`, ...others.map((line) => `${" ".repeat(place)}${line}`)];
  });
  const count = (state: CheckState): number => reports.filter((report) => report.state === state).length;
  const { platform, arch, versions } = process;
  return [
    `${paint("bold", `sealmesh ${version}`)} on ${platform}-${arch}, Node ${versions.node}`,
    "",
    ...lines,
    "",
    `${counted(count("fail"), "failure")}, ${counted(count("warn"), "warning")}, ${count("ok")} ok, ${count("skip")} skipped`,
  ].join("\n");
}

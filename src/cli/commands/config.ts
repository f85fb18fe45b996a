/** `sealmesh config`: which settings a node would start with, and where each comes from. Starts no node and asks none. */
import { resolve } from "node:path";
import type { Command as Commander } from "commander";
import { MeshError } from "../../base/errors.ts";
import { type Flags, shownSettings } from "../../node/config.ts";
import { noFile, placeOfConfigFile } from "../../node/config-place.ts";
import type { CommandGroup, NamedCommand } from "../command.ts";
import { addNodeFlags, addServingFlags } from "../node-flags.ts";
import { counted, paintFor, printJson, printLine, printNote, table } from "../output.ts";
import { cellsOf, type SettingReport, settingReports } from "../setting-report.ts";

interface ShowFlags extends Flags {
  readonly all?: boolean;
  readonly json?: boolean;
}

const show: NamedCommand = {
  name: "show",
  summary: "show each setting with its value and its origin",
  description:
    "Shows what a node would start with here: flag, SEALMESH_* variable, credential of a service manager, line of the " +
    "configuration file, or default. Takes the flags of `serve` too, to see what they would change. Secrets are not shown, " +
    "only where they come from. Whether the values make sense together is found out when a node starts.",
  examples: [
    { what: "what is set", line: "sealmesh config show" },
    { what: "defaults too", line: "sealmesh config show --all" },
    { what: "with another file, for programs", line: "sealmesh config show --config node.toml --json" },
  ],
  addFlags(command) {
    addServingFlags(command);
    addNodeFlags(command);
    // taken as serve takes them, and explained there
    for (const option of command.options) if (option.long !== "--config") option.hideHelp();
    command
      .optionsGroup("Options:")
      .option("--all", "defaults too")
      .option("--json", "one JSON document, with all settings");
  },
  run: async (given) => {
    const { all, json, ...flags } = given as ShowFlags;
    const { settings, file } = shownSettings(flags);
    const reports = settingReports(settings, file);
    if (json) printJson({ file: file === undefined ? null : resolve(file), settings: reports });
    else printLine(showText(reports, all ?? false));
    if (!json) printNote(file === undefined ? "no configuration file" : `configuration file: ${resolve(file)}`);
    return 0;
  },
};

function showText(reports: readonly SettingReport[], all: boolean): string {
  const paint = paintFor(process.stdout);
  const shown = all ? reports : reports.filter(({ origin }) => origin.kind !== "default");
  const rows = shown.map(cellsOf);
  const rest = reports.length - shown.length;
  const hint = `${counted(rest, "setting")} with ${rest === 1 ? "its default" : "their defaults"}: --all shows them`;
  return [
    ...(rows.length > 0 ? [table([["setting", "value", "from"], ...rows], paint)] : []),
    ...(rest > 0 ? [paint("dim", hint)] : []),
  ].join("\n");
}

const path: NamedCommand = {
  name: "path",
  summary: "print where the configuration file is, or would be",
  description: "Prints the file that a node would read here, or the place where it would look for one.",
  examples: [{ what: "edit it", line: '"$EDITOR" "$(sealmesh config path)"' }],
  addFlags: addFileFlags,
  run: async (given) => {
    const { config: flag, json } = given as ShowFlags;
    const { path: file, exists } = placeOfConfigFile(flag);
    if (file === undefined) {
      throw new MeshError("E_CONFIG", `no configuration file is read: --config or SEALMESH_CONFIG is ${noFile}`);
    }
    if (json) printJson({ path: resolve(file), exists });
    else printLine(resolve(file));
    if (!json && !exists) printNote("there is no such file yet");
    return 0;
  },
};

function addFileFlags(command: Commander): void {
  command
    .option("--config <file>", "the file that a node would be started with (default: the platform's place)")
    .option("--json", "one JSON document");
}

export const config: CommandGroup = {
  description:
    "Settings of a node: a flag wins over its SEALMESH_* variable, which wins over a credential of the service manager, " +
    "which wins over the configuration file, which wins over the default. docs/config.md lists them all.",
  examples: [...show.examples, ...path.examples],
  commands: [show, path],
};

/** The flags of `serve`, `client` and `relay`, from the table of settings, as node/config.ts takes them. Defaults are the node's own. */
import { type Command as Commander, Option } from "commander";
import type { Flags } from "../node/config.ts";
import { type Group, groups, type Setting } from "../node/settings/setting.ts";
import { settings } from "../node/settings/settings.ts";
import { repeated } from "./command.ts";
import type { OutputFormat } from "./output.ts";

/** Flags of a node process: the node's own, and how the process shows itself. */
export interface NodeProcessFlags extends Flags {
  readonly logFormat: OutputFormat;
  readonly plain?: boolean;
  readonly stopWithStdin?: boolean;
}

/** Where meshes are looked for, and listed; `discover` has them too. */
export function addFindingPlaces(command: Commander): void {
  for (const setting of settings) {
    if (setting.flag === "nostrRelay" || setting.flag === "lan") addFlag(command, setting);
  }
}

/** The flags of `serve` alone. */
export function addServingFlags(command: Commander): void {
  for (const group of groups) addGroup(command, group, (setting) => setting.serveOnly === true);
}

export function addNodeFlags(command: Commander): void {
  for (const group of groups) addGroup(command, group, (setting) => !setting.serveOnly);
  command
    .optionsGroup("Output:")
    .addOption(
      new Option("--log-format <format>", "pretty, or json: one object a line on stdout, among them the ready line")
        .choices(["pretty", "json"])
        .default("pretty"),
    )
    .option("--plain", "no live view in a terminal: one line for each event, as elsewhere")
    .addOption(new Option("--debug-tap <file>").hideHelp())
    .addOption(new Option("--stop-with-stdin").hideHelp());
}

function addGroup(command: Commander, group: Group, wanted: (setting: Setting) => boolean): void {
  const rows = settings.filter((setting) => setting.group === group && setting.syntax !== undefined && wanted(setting));
  if (rows.length === 0) return;
  command.optionsGroup(group);
  for (const setting of rows) addFlag(command, setting);
}

function addFlag(command: Commander, { syntax, doc, standard, repeated: several }: Setting): void {
  if (syntax === undefined) return;
  const option = new Option(syntax, standard === undefined ? doc : `${doc} (default: ${standard})`);
  command.addOption(several ? option.argParser(repeated) : option);
}

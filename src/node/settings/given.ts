/**
 * What was given for each setting, and where: a flag wins over its variable, which wins over a standard one, over a credential of the service
 * manager, which wins over the file. Pure: variables, the file and the names of credentials come in. Called by config.ts,
 * which gets flags with everything filled in, and for `sealmesh config show`, which tells where each came from.
 */
import { join } from "node:path";
import { MeshError } from "../../base/errors.ts";
import type { Flags, Mode } from "../config.ts";
import type { FileSettings } from "../config-file.ts";
import { type Setting, variableName } from "./setting.ts";
import { settings } from "./settings.ts";

export interface Sources {
  readonly flags: Flags;
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly file: FileSettings;
  readonly credentials?: Credentials | undefined;
}

/** $CREDENTIALS_DIRECTORY of systemd, and the names of the files in it. */
export interface Credentials {
  readonly directory: string;
  readonly names: readonly string[];
}

/** Strongest first; "standard" is a variable that other programs read too. */
export const places = ["flag", "variable", "standard", "credential", "file"] as const;
export type Place = (typeof places)[number];

/** What one place says of one setting, in the form that its flag has, or its type in the file. */
export interface Given {
  readonly place: Place;
  readonly value: unknown;
}

/**
 * What counts of a setting, strongest first: one, or for settings that add up all of them.
 * @throws E_USAGE a variable that must be 1 or 0
 */
export function givenFor(setting: Setting, sources: Sources): readonly Given[] {
  const found: Given[] = [];
  for (const place of places) {
    const value = valueAt(place, setting, sources);
    if (value === undefined) continue;
    found.push({ place, value });
    if (!setting.adds) break;
  }
  return found;
}

/**
 * Flags with what variables, credentials and the file say where no flag does. What adds up, and what only the file has, is left
 * to the caller.
 * @throws E_USAGE
 */
export function filledIn(mode: Mode, sources: Sources): Flags {
  const filled: Record<string, unknown> = { ...sources.flags };
  for (const setting of settings) {
    const { flag, adds } = setting;
    if (flag === undefined || adds || !countsFor(mode, setting)) continue;
    const [given] = givenFor(setting, sources);
    // a file's numbers are read as a flag's are; a --no- flag that was not given is true with the parser
    if (given) filled[flag] = typeof given.value === "number" ? String(given.value) : given.value;
    else delete filled[flag];
  }
  return filled as Flags; // each by the form of its row
}

/** One file may be for several nodes of a machine: what one kind has no use for is passed over. */
function countsFor(mode: Mode, { askersOnly, key }: Setting): boolean {
  if (mode === "relay" && askersOnly) return false;
  return mode === "serve" || !key?.startsWith("engine.");
}

function valueAt(place: Place, setting: Setting, { flags, variables, file, credentials }: Sources): unknown {
  switch (place) {
    case "flag": {
      const value = setting.flag && flags[setting.flag];
      return setting.negated && value === true ? undefined : value;
    }
    case "variable": {
      const name = variableName(setting);
      const text = name === undefined ? undefined : variables[name];
      return name === undefined || text === undefined || text === "" ? undefined : readVariable(name, text, setting);
    }
    case "standard": {
      const { standardVariable: name } = setting;
      const text = name === undefined ? undefined : variables[name];
      return name === undefined || text === undefined || text === "" ? undefined : readVariable(name, text, setting);
    }
    case "credential":
      return setting.credential !== undefined && credentials?.names.includes(setting.credential)
        ? join(credentials.directory, setting.credential)
        : undefined;
    case "file": {
      const [section, name] = setting.key?.split(".") ?? [];
      const values = Object.entries(file).find(([known]) => known === section)?.[1];
      return Object.entries<unknown>(values ?? {}).find(([known]) => known === name)?.[1];
    }
  }
}

function readVariable(name: string, text: string, { form = "text" }: Setting): unknown {
  switch (form) {
    case "text":
      return text;
    case "one":
      return [text];
    case "words":
      return text.split(/\s+/).filter((word) => word !== "");
    case "list":
      return text.split(/[\s,]+/).filter((word) => word !== "");
    case "yes":
      if (["1", "true"].includes(text)) return true;
      if (["0", "false"].includes(text)) return false;
      throw new MeshError("E_USAGE", `${name} takes 1 or 0, not "${text}"`);
  }
}

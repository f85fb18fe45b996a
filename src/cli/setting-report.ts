/** What `sealmesh config show` says of a setting: its value, and the place that it has it from. No secret gets in here. */
import { resolve } from "node:path";
import { unlessMeshError } from "../base/errors.ts";
import type { ShownSetting } from "../node/config.ts";
import { lineOf, readConfigText } from "../node/config-file.ts";
import type { Given } from "../node/settings/given.ts";
import { fileName, flagName, type Setting, variableName } from "../node/settings/setting.ts";
import { withoutControls } from "../wire/gossip.ts";
import { withoutSecrets } from "./addresses.ts";

export type Origin =
  | { readonly kind: "default" }
  | { readonly kind: "flag" | "variable" | "credential"; readonly name: string }
  /** `line` is null where the setting is written in a form that is not looked through. */
  | { readonly kind: "file"; readonly name: string; readonly path: string; readonly line: number | null };

export interface SettingReport {
  /** As the file has it; of those that it has not, the flag. */
  readonly name: string;
  readonly flag: string | null;
  readonly variable: string | null;
  readonly key: string | null;
  readonly doc: string;
  /** Null: nothing is set, or it is a secret. */
  readonly value: unknown;
  readonly secret: boolean;
  readonly origin: Origin;
  /** Further places that count too. */
  readonly also: readonly Origin[];
}

/** @param file the configuration file, if there is one */
export function settingReports(shown: readonly ShownSetting[], file: string | undefined): readonly SettingReport[] {
  // it was read a moment ago: what it says is known, only the lines are not
  const text = file === undefined ? undefined : unlessMeshError(() => readConfigText(file));
  return shown.map(({ setting, given }) => {
    const origins = given.map((one) => originOf(setting, one, file, text));
    const [origin = { kind: "default" as const }, ...also] = origins;
    const values = given.flatMap(({ value }) => (Array.isArray(value) ? (value as readonly unknown[]) : [value]));
    const [first] = given;
    const value = first === undefined ? standardOf(setting) : setting.adds ? values : readable(setting, first.value);
    const secret = setting.secret === true;
    return {
      name: setting.key ?? flagName(setting) ?? "",
      flag: flagName(setting) ?? null,
      variable: variableName(setting) ?? null,
      key: setting.key ?? null,
      doc: setting.doc,
      value: secret ? null : shownValue(value),
      secret,
      origin,
      also,
    };
  });
}

/** What holds by default, as a person would write it. */
function standardOf({ standard, form, negated }: Setting): unknown {
  return standard ?? (form === "yes" || negated ? negated === true : null);
}

function readable({ time }: Setting, value: unknown): unknown {
  return time && typeof value === "number" ? `${value / 1_000} s` : value;
}

/** Setting, value and where it comes from, for people. */
export function cellsOf({ name, value, secret, origin, also }: SettingReport): readonly string[] {
  const shown = secret && origin.kind !== "default" ? "set" : valueText(value);
  return [name, shown, [origin, ...also].map(originText).join(", ")];
}

function originOf(
  setting: Setting,
  { place, value }: Given,
  file: string | undefined,
  text: string | undefined,
): Origin {
  switch (place) {
    case "flag":
      return { kind: place, name: flagName(setting) ?? "" };
    case "variable":
      return { kind: place, name: variableName(setting) ?? "" };
    case "standard":
      return { kind: "variable", name: setting.standardVariable ?? "" };
    case "credential":
      return { kind: place, name: String(value) };
    case "file": {
      const line = setting.key !== undefined && text !== undefined ? lineOf(setting.key, text) : undefined;
      return { kind: place, name: fileName(setting) ?? "", path: resolve(file ?? ""), line: line ?? null };
    }
  }
}

function originText(origin: Origin): string {
  switch (origin.kind) {
    case "default":
      return "default";
    case "flag":
    case "variable":
      return origin.name;
    case "credential":
      return `credential ${origin.name}`;
    case "file":
      return origin.line === null ? origin.path : `${origin.path}:${origin.line}`;
  }
}

function valueText(value: unknown): string {
  if (value === null) return "-";
  const parts = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  return parts.length === 0 ? "none" : withoutControls(parts.map(String).join(", "));
}

function shownValue(value: unknown): unknown {
  if (Array.isArray(value)) return (value as readonly unknown[]).map(shownValue);
  return typeof value === "string" ? withoutSecrets(value) : value;
}

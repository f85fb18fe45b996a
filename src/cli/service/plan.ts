/**
 * What a service runs, from the words that would be typed: which command with which flags, and which of them are secrets. No secret stays in
 * the words: it becomes a credential, a file that the service manager hands over by its name. Pure, but for the tables that it reads.
 */
import { isAbsolute, resolve } from "node:path";
import { Command as Commander, CommanderError } from "commander";
import { MeshError } from "../../base/errors.ts";
import { flagName, type Setting } from "../../node/settings/setting.ts";
import { settings } from "../../node/settings/settings.ts";
import { client } from "../commands/client.ts";
import { relay } from "../commands/relay.ts";
import { serve } from "../commands/serve.ts";

export interface Credential {
  /** As the node looks for it in $CREDENTIALS_DIRECTORY. */
  readonly name: string;
  /** The flag that gave it. */
  readonly flag: string;
  /** What is copied, or the secret itself. */
  readonly from: { readonly kind: "file"; readonly path: string } | { readonly kind: "text"; readonly text: string };
}

export interface ServicePlan {
  readonly mode: "serve" | "client" | "relay";
  /** The command and its flags, without secrets; paths are absolute. */
  readonly words: readonly string[];
  readonly credentials: readonly Credential[];
  /** Files and folders that the service must be able to read, as they are named in `words`. */
  readonly paths: readonly string[];
}

const modes = ["serve", "client", "relay"] as const;
const commands = { serve, client, relay } as const;

/** Those that make no sense for a service, or that it has of its own. */
const refused: Readonly<Record<string, string>> = {
  "--stop-with-stdin": "a service has no stdin",
  "--debug-tap": "it records all bytes",
};

/**
 * @param given words behind `sealmesh service install`: nothing is `serve`
 * @throws      E_USAGE no such command, or a flag that a service cannot have
 */
export function servicePlan(given: readonly string[]): ServicePlan {
  const [first = "serve", ...rest] = given;
  const mode = modes.find((known) => known === first);
  if (!mode) throw new MeshError("E_USAGE", `a service runs serve, client or relay, not "${first}"`);
  refuseUnknown(mode, rest);
  const words: string[] = [mode];
  const credentials: Credential[] = [];
  const paths: string[] = [];
  const split = rest.flatMap(apart);
  for (let at = 0; at < split.length; at += 1) {
    const word = split[at] ?? "";
    const why = refused[word];
    if (why !== undefined) throw new MeshError("E_USAGE", `leave ${word} out: ${why}`);
    const setting = settings.find((known) => flagName(known) === word);
    if (!setting?.syntax?.includes("<")) {
      words.push(word);
      continue;
    }
    const value = split[at + 1];
    if (value === undefined) throw new MeshError("E_USAGE", `${word} needs a value`);
    at += 1;
    const secret = secretOf(setting, word, value);
    if (secret) {
      credentials.push(secret);
      continue;
    }
    const kept = pathOf(setting, value);
    if (kept !== value || isAbsolute(value)) paths.push(kept);
    words.push(word, kept);
  }
  const names = credentials.map(({ name }) => name);
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice === undefined) return { mode, words, credentials, paths };
  throw new MeshError("E_USAGE", `a service takes one ${twice}: put what belongs to it into one file, a line each`);
}

/** A flag that is misspelt is said now, not in the log of a service. @throws E_USAGE */
function refuseUnknown(mode: ServicePlan["mode"], words: readonly string[]): void {
  const declared = new Commander(mode)
    .exitOverride()
    .helpOption(false)
    .configureOutput({ writeErr: () => undefined });
  commands[mode].addFlags(declared);
  try {
    declared.parse(words, { from: "user" });
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    throw new MeshError("E_USAGE", thrown.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " "), { cause: thrown });
  }
}

/** "--flag=value" as the two words that it stands for. */
function apart(word: string): readonly string[] {
  const [, flag, value] = /^(--[a-z-]+)=([\s\S]*)$/.exec(word) ?? [];
  return flag === undefined || value === undefined ? [word] : [flag, value];
}

function secretOf({ flag, credential }: Setting, word: string, value: string): Credential | undefined {
  if (flag === "join") return { name: "join", flag: word, from: { kind: "text", text: value } };
  return credential === undefined
    ? undefined
    : { name: credential, flag: word, from: { kind: "file", path: resolve(value) } };
}

/** A service starts in another folder. What is fetched stays as it is. */
function pathOf({ syntax = "", flag }: Setting, value: string): string {
  const isPath =
    /<(file|directory)>/.test(syntax) || (flag === "allowBuilds" || flag === "buildKeys" ? value.includes("/") : false);
  const fetched = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) || value.startsWith("hf:") || value === "none";
  return isPath && !fetched ? resolve(value) : value;
}

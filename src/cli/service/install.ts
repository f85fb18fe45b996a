/**
 * Puts a service of systemd on this machine, and takes it away again. Says each thing that it does. Secrets go into files of 0600 beside
 * the unit's settings, the unit names them, and systemd hands them over.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { withoutSecrets } from "../addresses.ts";
import { fromUtf8 } from "../../base/bytes.ts";
import { MeshError, systemCode, toMeshError } from "../../base/errors.ts";
import { readSmall, writeAtomic } from "../../node/own-files.ts";
import { credentialNames } from "../../node/settings/settings.ts";
import { type Credential, servicePlan, type ServicePlan } from "./plan.ts";
import { type Scope, systemdUnit, unitName } from "./systemd.ts";

/** Where things are, on this machine or below another root. */
export interface Place {
  readonly scope: Scope;
  /** "/" unless something is made for another machine. */
  readonly root: string;
  /** $XDG_CONFIG_HOME of the user. */
  readonly configHome: string;
  /** Whether systemd of this machine is told. @default only with the root "/" */
  readonly live?: boolean;
}

export interface InstallOptions extends Place {
  readonly words: readonly string[];
  readonly program: readonly string[];
  /** Told of each thing that was done. */
  readonly say: (sentence: string) => void;
}

/** A certificate's key, or a few keys. */
const secretBytes = 65_536;
/** Longest wait for systemctl, ms: it waits for the program to begin, no longer. */
const systemctlMs = 30_000;

/** Where the unit is. */
export function unitFile({ scope, root, configHome }: Place): string {
  return scope === "system"
    ? join(root, "etc/systemd/system", unitName)
    : join(root, configHome, "systemd/user", unitName);
}

function configOf({ scope, configHome }: Place): string {
  return scope === "system" ? "/etc/sealmesh/config.toml" : join(configHome, "sealmesh/config.toml");
}

function credentialFolder({ scope, root, configHome }: Place): string {
  return scope === "system" ? join(root, "etc/sealmesh/credentials") : join(root, configHome, "sealmesh/credentials");
}

/** The unit's text, and the secrets that belong into files. @throws E_USAGE, E_CONFIG */
export function unitFor(options: Pick<InstallOptions, "words" | "program"> & Place): {
  readonly unit: string;
  readonly secrets: readonly { readonly credential: Credential; readonly path: string }[];
  readonly plan: ServicePlan;
} {
  const plan = servicePlan(options.words);
  refuseSecretAddresses(plan.words);
  const { scope, root, program } = options;
  if (scope === "system" && plan.words.includes("--data-dir")) {
    throw new MeshError("E_USAGE", "leave --data-dir out: the service has its own, /var/lib/sealmesh");
  }
  if (scope === "system") refusePrivate([...program, ...plan.paths], program);
  const folder = credentialFolder(options);
  const names = [...plan.credentials.map(({ name }) => name), ...staying(plan, folder)];
  const secrets = plan.credentials.map((credential) => ({ credential, path: join(folder, credential.name) }));
  // as the machine will see it
  const seen = (name: string): string => join("/", credentialFolder({ ...options, root: "/" }), name);
  const unit = systemdUnit({
    scope,
    program,
    plan,
    credentials: names.map((name) => ({ name, path: seen(name) })),
    groups: scope === "system" ? groupsOf(root) : [],
  });
  return { unit, secrets, plan };
}

/** An invite stays, given anew or not: the node may not have joined yet, and one that has does not look at it. */
function staying({ credentials }: ServicePlan, folder: string): readonly string[] {
  const isAnew = credentials.some(({ name }) => name === "join");
  return !isAnew && existsSync(join(folder, "join")) ? ["join"] : [];
}

/** Everybody can read a unit. @throws E_USAGE */
function refuseSecretAddresses(words: readonly string[]): void {
  if (words.every((word) => withoutSecrets(word) === word)) return;
  const what = "an address among the flags has a password or a key in it, which everybody could read in the unit";
  throw new MeshError("E_USAGE", `${what}: put it into the configuration file`);
}

/** A service of the machine cannot look into homes. @throws E_CONFIG */
function refusePrivate(paths: readonly string[], program: readonly string[]): void {
  const hidden = paths.find((path) => /^\/(home|root|run\/user|tmp|var\/tmp)\//.test(path));
  if (hidden === undefined) return;
  const what = program.includes(hidden)
    ? "install Node and sealmesh for all users (npm install -g), or make it a service of this user with --user"
    : "put it where all users can read it, such as /var/lib or /usr/local, or make it a service of this user with --user";
  throw new MeshError("E_CONFIG", `a service of the machine cannot see ${hidden}: ${what}`);
}

/** Groups that devices belong to, those that are there. */
function groupsOf(root: string): readonly string[] {
  let text = "";
  try {
    text = readFileSync(join(root, "etc/group"), "utf8");
  } catch {
    return [];
  }
  const there = new Set(text.split("\n").map((line) => line.split(":", 1)[0]));
  return ["tss", "render", "video"].filter((group) => there.has(group));
}

/** @throws E_CONFIG no systemd · E_STATE something cannot be written · E_USAGE */
export function install(options: InstallOptions): void {
  const { scope, say } = options;
  const { unit, secrets, plan } = unitFor(options);
  const live = isLive(options);
  for (const { credential, path } of secrets) {
    const text = secretText(credential);
    makeFolder(dirname(path), 0o700);
    writeAtomic(path, text);
    say(`wrote ${path} (0600), from ${credential.flag}`);
  }
  // a secret of other flags would count without them: a key without its certificate, an owner that nobody named
  const folder = credentialFolder(options);
  const wanted = new Set([...plan.credentials.map(({ name }) => name), ...staying(plan, folder)]);
  for (const name of credentialNames) {
    const path = join(folder, name);
    if (wanted.has(name) || !existsSync(path)) continue;
    remove(path);
    say(`removed ${path}: it was not given anew`);
  }
  const file = unitFile(options);
  const replaced = existsSync(file);
  makeFolder(dirname(file), 0o755);
  writeAtomic(file, unit);
  chmodSync(file, 0o644); // there is no secret in it, and others may look at it
  say(`${replaced ? "replaced" : "wrote"} ${file}`);
  if (plan.mode === "serve" && !plan.words.some((word) => word === "--engine" || word === "--model")) {
    say(`no --engine and no --model: they come from [engine] in ${configOf(options)}`);
  }
  if (!live) return;
  systemctl(scope, ["daemon-reload"], say);
  systemctl(scope, ["enable", unitName], say);
  // one that runs is started anew, with what has changed
  systemctl(scope, ["restart", unitName], say);
  if (scope === "user") say("it ends when this user logs out, unless: loginctl enable-linger");
}

/** @returns whether there was anything @throws E_CONFIG, E_STATE */
export function uninstall(options: Place & Pick<InstallOptions, "say">): boolean {
  const { scope, say } = options;
  const live = isLive(options);
  const file = unitFile(options);
  const folder = credentialFolder(options);
  if (!existsSync(file) && !existsSync(folder)) return false;
  if (live && existsSync(file)) systemctl(scope, ["disable", "--now", unitName], say);
  for (const path of [file, ...credentialNames.map((name) => join(folder, name))]) {
    if (!existsSync(path)) continue;
    remove(path);
    say(`removed ${path}`);
  }
  if (live) systemctl(scope, ["daemon-reload"], say);
  return true;
}

function secretText({ from, flag }: Credential): string {
  if (from.kind === "text") return `${from.text}\n`;
  try {
    return fromUtf8(readSmall(from.path, secretBytes, { pipe: true }));
  } catch (cause) {
    throw new MeshError("E_CONFIG", `${flag}: ${toMeshError(cause).message}`, { cause });
  }
}

/** @param mode of the last folder alone: what is above it is for others too, /etc/sealmesh for the service's own user */
function makeFolder(path: string, mode: number): void {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    mkdirSync(path, { recursive: true, mode });
  } catch (cause) {
    const how = systemCode(cause) === "EACCES" ? "; run it as root, or with --user" : "";
    throw new MeshError("E_STATE", `${path} cannot be made (${systemCode(cause)})${how}`, { cause });
  }
}

function remove(path: string): void {
  try {
    rmSync(path);
  } catch (cause) {
    throw new MeshError("E_STATE", `${path} cannot be removed (${systemCode(cause)})`, { cause });
  }
}

/** @returns whether systemd is told @throws E_CONFIG it should be, and there is none */
function isLive({ root, live = root === "/" }: Place): boolean {
  // as systemd itself asks whether it runs: sd_booted(3)
  if (!live || existsSync(join(root, "run/systemd/system"))) return live;
  const instead = "`sealmesh service print` prints what a service manager can start, and docs/operations.md says how";
  throw new MeshError("E_CONFIG", `this machine has no systemd, so no service can be installed: ${instead}`);
}

/** @throws E_STATE with what it said */
function systemctl(scope: Scope, words: readonly string[], say: InstallOptions["say"]): void {
  const all = [...(scope === "user" ? ["--user"] : []), ...words];
  const { status, stderr, error } = spawnSync("systemctl", all, { encoding: "utf8", timeout: systemctlMs });
  if (status !== 0) {
    const why = error?.message ?? stderr.trim().split("\n").slice(0, 2).join("; ").slice(0, 300);
    throw new MeshError("E_STATE", `\`systemctl ${all.join(" ")}\` failed: ${why || `exit code ${status}`}`);
  }
  say(`ran systemctl ${all.join(" ")}`);
}

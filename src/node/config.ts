/**
 * Settings of one node: from flags, environment and configuration file to checked values. A flag wins over its SEALMESH_*
 * variable, which wins over the file, which wins over the default. The only reader of process.env, with config-place.ts beside it.
 */
import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromUtf8 } from "../base/bytes.ts";
import { MeshError, systemCode, toMeshError } from "../base/errors.ts";
import { isLoopback } from "../base/loopback.ts";
import { readInvite } from "../crypto/invite.ts";
import type { FunctionSettings } from "../engine/function.ts";
import type { DiscoverySettings } from "../discovery/discovery.ts";
import { engineFolder } from "../engine/llama-package.ts";
import { isRemote, modelSource } from "../engine/model-source.ts";
import { engineAddress, type EnginePreset } from "../engine/presets.ts";
import type { RouteSetting } from "../exchange.ts";
import type { HardeningSteps } from "../harden/report.ts";
import { isListable } from "../policy/owner-book.ts";
import { type TrustPolicy, trustPolicies } from "../policy/owners.ts";
import type { RelaySettings } from "./relaying.ts";
import { parseSocketAddress } from "../transport/socket-address.ts";
import {
  asksForSomething,
  type DemandableTier,
  demandableTiers,
  type Invite,
  type MinimumPolicy,
  strictest,
} from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { keyHashes } from "./api-keys.ts";
import { type BuildSettings, buildSettings } from "./build-settings.ts";
import { readCertificates } from "./certificates.ts";
import { type FileSettings, hardeningSteps, noFileSettings, readConfigFile } from "./config-file.ts";
import { hostPortPattern, namePattern, type TierSetting } from "./config-kinds.ts";
import { configFile, noFile } from "./config-place.ts";
import { defaults } from "./defaults.ts";
import { type FindingConfig, findingConfig, type FindingRequest, placesOf } from "./finding-config.ts";
import { downloadPath, type ModelDownload } from "./models.ts";
import { readSmall, shellQuoted } from "./own-files.ts";
import type { OwnerSettings } from "./ownership.ts";
import { type Credentials, filledIn, givenFor, type Place, places, type Sources } from "./settings/given.ts";
import { flagName, type Setting } from "./settings/setting.ts";
import { settings } from "./settings/settings.ts";
import { type TelemetrySettings, telemetrySettings } from "./telemetry-config.ts";

export interface HostPort {
  /** Without brackets, also for IPv6. */
  readonly host: string;
  readonly port: number;
}

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

export type EngineSetting =
  | {
      readonly kind: "openai-http";
      readonly url: string;
      /** Named by the operator; undefined: only an address was given. */
      readonly preset?: EnginePreset | undefined;
      readonly key: string | undefined;
    }
  | { readonly kind: "auto"; readonly key: string | undefined }
  | {
      readonly kind: "llama";
      readonly modelPath: string;
      /** Where the file comes from if it is not there; undefined: it must be. */
      readonly download?: ModelDownload | undefined;
      /** Where the engine's package is, if not beside ours. */
      readonly packageFolder?: string;
      readonly contextSize: number | undefined;
      /** What its process does to close itself. */
      readonly hardening: HardeningSteps;
    }
  /** A function of the program around the node. */
  | FunctionSettings;

/** What must be true of a host before it is asked, as its operator has said it; invites may ask for more. */
export interface PolicySettings {
  /** The least tier of its evidence; undefined: none is asked for. */
  readonly requireAttested: DemandableTier | undefined;
  /** Hosts that take prompts in the clear only are not asked. */
  readonly requireEncryption: boolean;
  /** Hosts that do not say, signed, that they are hardened are not asked. */
  readonly requireHardened: boolean;
  /** Evidence of nodes that speak no challenges is taken by its own time. */
  readonly acceptUnchallenged: boolean;
  /** The only hosts that may be asked, one at least; undefined: all. */
  readonly hosts: readonly EndpointId[] | undefined;
  /** Owner ids, one at least, one of which must own the host; undefined: no owner is asked for. */
  readonly owners: readonly string[] | undefined;
  /** Fingerprints of attested keys that need no pin, 32 hex digits each. */
  readonly keys: readonly string[];
  /** Lists of known builds; undefined: none, and nobody's are taken. */
  readonly builds: BuildSettings | undefined;
  /** Makers' certificates that may end a chain, DER. */
  readonly roots: readonly Uint8Array[];
  /** How old evidence may be, and how far its time may lie ahead of ours. */
  readonly evidenceMaxAgeMs: number;
  readonly evidenceAheadMs: number;
}

/** How this machine shows what it runs on. */
export interface AttestSettings {
  /** Evidence is made anew this often. */
  readonly refreshMs: number;
  /** TPM 2.0 that vouches for this machine: a device path, or HOST:PORT of an emulator; undefined: none is asked. */
  readonly tpm: string | undefined;
  /** Between the TPM's own certificate and its maker's root, DER. */
  readonly tpmCertificates: readonly Uint8Array[];
  /** Evidence by a key in memory, for development: it proves nothing. */
  readonly software: boolean;
}

/** serve: asks, answers and carries · client: asks and carries · relay: carries alone, and holds no prompt. */
export type Mode = "serve" | "client" | "relay";

export interface NodeConfig {
  readonly mode: Mode;
  /** Shown to other members. */
  readonly name: string | undefined;
  readonly dataDir: string;
  readonly join: readonly Invite[];
  /** How it finds a mesh and is found; undefined: it does neither. */
  readonly finding: FindingConfig | undefined;
  /** Whoever has this node's address is a member. */
  readonly openMesh: boolean;
  /** Undefined: only the program around the node asks, in this process. */
  readonly api: HostPort | undefined;
  /** Who can reach the API port: this machine, or others too. */
  readonly reach: "loopback" | "network";
  /** PEM of certificate (chain) and key; undefined: the API port speaks plain HTTP. */
  readonly tls: TlsFiles | undefined;
  /** SHA-256 of each key that opens the API port, 32 bytes; none: it asks for no key. */
  readonly apiKeyHashes: readonly Uint8Array[];
  /** Further names in Host headers of the API port: of a proxy in front, or in DNS. */
  readonly apiNames: readonly string[];
  /** Undefined with --headless: no console port at all. */
  readonly console: HostPort | undefined;
  /** UDP socket, host:port. */
  readonly bind: string;
  /** What others are told in its place; none: its own addresses. */
  readonly advertise: readonly string[];
  readonly irohRelays: readonly string[] | "none" | "default";
  readonly route: RouteSetting;
  /** Whether TLS is used beside QUIC where peers reach each other so. */
  readonly direct: boolean;
  /** Whether we carry envelopes of other members. */
  readonly relayTraffic: boolean;
  /** And how much. */
  readonly relaying: RelaySettings;
  readonly policy: PolicySettings;
  readonly attest: AttestSettings;
  /** Whose this node is, and what is asked of the owners of others. */
  readonly owner: OwnerSettings;
  /** Hosts whose proof is needed are challenged again this often. */
  readonly challenge: { readonly intervalMs: number };
  /** What members that join by our invites must demand at least; undefined: our invites say nothing of it. */
  readonly invitePolicy: MinimumPolicy | undefined;
  /** Exchanges that our engines answer at a time, and that may wait for a place there. */
  readonly maxRunning: number;
  readonly maxQueued: number;
  /** Requests are padded before they are sealed. */
  readonly pad: boolean;
  /** Pieces of our answers that come within so many ms are sealed together; 0: each by itself. */
  readonly coalesceMs: number;
  readonly engines: readonly EngineSetting[];
  /** What the node's process and its engines' do to close themselves. */
  readonly hardening: HardeningSteps;
  /** Where spans of exchanges go; undefined: none are made. */
  readonly telemetry: TelemetrySettings | undefined;
  /** Debug: file that records every byte above QUIC, as JSON lines. */
  readonly tap: string | undefined;
}

/** Flags as a command line gives them; all optional. */
export interface Flags {
  readonly name?: string;
  readonly dataDir?: string;
  readonly join?: readonly string[];
  readonly joinFile?: string;
  readonly port?: string;
  readonly listen?: string;
  readonly apiKeyFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly insecureHttp?: boolean;
  readonly apiName?: readonly string[];
  readonly console?: string;
  readonly headless?: boolean;
  readonly bind?: string;
  readonly advertise?: readonly string[];
  readonly relay?: readonly string[];
  readonly route?: string;
  readonly direct?: boolean;
  readonly relayTraffic?: boolean;
  readonly relayRate?: string;
  readonly relayStreams?: string;
  readonly config?: string;
  readonly requireEncryption?: boolean;
  readonly requireHardened?: boolean;
  /** true: the flag without a tier. */
  readonly requireAttestedHosts?: string | true;
  readonly ownerKey?: string;
  readonly ownerPassphraseFile?: string;
  readonly trustOwner?: readonly string[];
  readonly trustPolicy?: string;
  readonly allowHosts?: readonly string[];
  readonly acceptUnchallenged?: boolean;
  readonly allowBuilds?: readonly string[];
  readonly buildKeys?: readonly string[];
  readonly trustRoots?: readonly string[];
  readonly inviteRequires?: readonly string[];
  readonly maxRunning?: string;
  readonly maxQueued?: string;
  readonly pad?: boolean;
  readonly coalesce?: string;
  readonly tpm?: string;
  readonly softwareEvidence?: boolean;
  readonly openMesh?: boolean;
  readonly publish?: boolean;
  readonly meshName?: string;
  readonly auto?: boolean;
  /** true: the flag without a name. */
  readonly discover?: string | true;
  readonly inviteOnly?: boolean;
  readonly region?: string;
  readonly nostrRelay?: readonly string[];
  /** false: --no-lan. */
  readonly lan?: boolean;
  readonly engine?: readonly string[];
  readonly engineKeyFile?: string;
  readonly model?: readonly string[];
  readonly ctxSize?: string;
  readonly cacheDir?: string;
  readonly hfTokenFile?: string;
  /** false: --no-hardening. */
  readonly hardening?: boolean;
  readonly otlpEndpoint?: string;
  readonly debugTap?: string;
}

/** Of them, those that say where meshes are looked for. */
export type FindingPlaceFlags = Pick<Flags, "nostrRelay" | "lan" | "config">;

/**
 * @param variables of this process; none: nothing but the flags says anything, and the file that they name
 * @throws E_USAGE, E_CONFIG or E_INVITE with the flag's name and what it takes
 */
export function resolveConfig(mode: Mode, given: Flags, variables: Sources["variables"] = process.env): NodeConfig {
  if (mode === "relay") refuseFlagsOfAskers(given);
  const sources = sourcesOf(given, variables);
  const { file } = sources;
  const flags = withoutWeaker(filledIn(mode, sources), sources);
  const hardening = hardeningSteps(flags.hardening ?? true, file);
  const engines = engineSettings(flags, hardening, variables);
  const invited = invites(flags, variables);
  const found = finding(mode, flags);
  if (mode !== "serve" && engines.length > 0) {
    throw new MeshError("E_USAGE", `a ${mode} serves no models: --engine and --model belong to \`sealmesh serve\``);
  }
  return {
    mode,
    name: checkedName(flags.name),
    dataDir: dataDirFrom(flags.dataDir),
    join: invited,
    finding: found,
    openMesh: openMesh(flags, found),
    ...apiPort(flags),
    console: flags.headless
      ? undefined
      : { host: "127.0.0.1", port: port(flags.console, "--console", defaults.consolePort) },
    bind: bindAddress(flags.bind ?? defaults.bind),
    advertise: advertised(flags.advertise ?? []),
    irohRelays: irohRelays(flags.relay ?? []),
    route: route(flags.route ?? "auto"),
    direct: flags.direct ?? true,
    relayTraffic: flags.relayTraffic ?? true,
    relaying: relaySettings(flags),
    policy: policySettings(flags, sources),
    attest: attestSettings(flags, file),
    owner: ownerSettings(flags),
    challenge: { intervalMs: file.challenge.interval ?? defaults.challengeIntervalMs },
    invitePolicy: invitePolicy(flags, file),
    maxRunning: count(flags.maxRunning, "--max-running", 1) ?? defaults.exchangesTotal,
    maxQueued: count(flags.maxQueued, "--max-queued", 0) ?? defaults.queuedTotal,
    pad: flags.pad ?? false,
    coalesceMs: count(flags.coalesce, "--coalesce", 0, limits.coalesceMs) ?? 0,
    engines,
    hardening,
    telemetry: telemetry(flags, sources),
    tap: flags.debugTap === undefined ? undefined : resolve(flags.debugTap),
  };
}

/**
 * Settings of a node inside another program, checked as those of a command line are. They come from nowhere else: no
 * SEALMESH_* variable and no configuration file changes what the program has said. It opens no port but that of the mesh.
 * @throws as {@link resolveConfig}
 */
export function configFrom(mode: Mode, settings: Flags & { readonly dataDir: string }): NodeConfig {
  return { ...resolveConfig(mode, { ...settings, config: noFile, headless: true }, {}), api: undefined };
}

/** Flags that mean something only to a node that asks; with their names on a command line. */
export const flagsOfAskers: { readonly [Name in keyof Flags]?: string } = Object.fromEntries(
  settings.flatMap((setting) => (setting.askersOnly && !setting.negated ? [[setting.flag, flagName(setting)]] : [])),
);

/** A relay has no API port and asks nobody: a flag that would do nothing is a mistake. @throws E_USAGE */
function refuseFlagsOfAskers(flags: Flags): void {
  for (const [name, flag] of Object.entries(flagsOfAskers) as [keyof Flags, string][]) {
    if (flags[name] === undefined) continue;
    throw new MeshError("E_USAGE", `a relay has no API port and asks no hosts: leave out ${flag}`);
  }
  if (flags.relayTraffic === false) {
    throw new MeshError("E_USAGE", "a relay does nothing but carry: leave out --no-relay-traffic");
  }
}

/** Settings that say the same thing in two ways: of each pair the one from the nearer place counts. */
const rivals: readonly (readonly [keyof Flags, keyof Flags])[] = [
  ["listen", "port"],
  ["headless", "console"],
];

function withoutWeaker(flags: Flags, sources: Sources): Flags {
  const rank = (flag: keyof Flags): number => places.findIndex((place) => place === placeOf(flag, sources));
  const weaker = rivals.flatMap(([one, other]) => {
    if (flags[one] === undefined || flags[other] === undefined || rank(one) === rank(other)) return [];
    return rank(one) < rank(other) ? [other] : [one];
  });
  return Object.fromEntries(Object.entries(flags).filter(([name]) => !weaker.some((flag) => flag === name)));
}

/** @throws E_USAGE */
function relaySettings(flags: Flags): RelaySettings {
  return {
    streams: count(flags.relayStreams, "--relay-streams", 1, 10_000) ?? defaults.relayStreamsTotal,
    bytesPerSecond: (count(flags.relayRate, "--relay-rate", 1, 10_000) ?? defaults.relayRate) * 1_000_000,
  };
}

/** @throws E_CONFIG */
function telemetry({ otlpEndpoint: endpoint }: Flags, sources: Sources): TelemetrySettings | undefined {
  const { OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME } = sources.variables;
  const { otlp_endpoint: inFile, otlp_headers_file: headersFile, service_name: name } = sources.file.telemetry;
  // a secret for the file's collector is not for another one that a variable or a flag names
  const file = endpoint === inFile ? headersFile : undefined;
  const headers = OTEL_EXPORTER_OTLP_HEADERS || undefined;
  return telemetrySettings({
    endpoint,
    headers: headers ?? (file === undefined ? undefined : readSmallFile(file, "[telemetry] otlp_headers_file")),
    serviceName: OTEL_SERVICE_NAME || name,
  });
}

/** Our environment for a node that is started beside us and must not take our own settings: of SEALMESH_* only no file. */
export function environmentWithoutSettings(): NodeJS.ProcessEnv {
  const own = /^(SEALMESH_|CREDENTIALS_DIRECTORY$)/;
  const others = Object.entries(process.env).filter(([name]) => !own.test(name));
  return { ...Object.fromEntries(others), SEALMESH_CONFIG: noFile };
}

/** The data directory of a node that is started with this flag. */
export function dataDirFrom(flag: string | undefined): string {
  return resolve(flag ?? environment("DATA_DIR") ?? defaultDataDir());
}

/** @throws E_CONFIG */
function fileSettings(flags: Pick<Flags, "config">): FileSettings {
  const file = configFile(flags.config);
  return file === undefined ? noFileSettings : readConfigFile(file);
}

/** Where settings come from, for this process and these flags. @throws E_CONFIG */
function sourcesOf(flags: Flags, variables: Sources["variables"] = process.env): Sources {
  return { flags, variables, file: fileSettings(flags), credentials: credentials(variables) };
}

/** @throws E_CONFIG the service manager's directory cannot be read */
function credentials(variables: Sources["variables"]): Credentials | undefined {
  const directory = variables["CREDENTIALS_DIRECTORY"];
  if (!directory) return undefined;
  try {
    return { directory, names: readdirSync(directory) };
  } catch (cause) {
    throw new MeshError("E_CONFIG", `$CREDENTIALS_DIRECTORY ${directory} cannot be read (${systemCode(cause)})`, {
      cause,
    });
  }
}

/** One setting, and what says it: for `sealmesh config show`. */
export interface ShownSetting {
  readonly setting: Setting;
  /** Strongest first; none: its default holds. */
  readonly given: readonly { readonly place: Place; readonly value: unknown }[];
}

/** Every setting, as a node that is started with these flags would find it. @throws E_USAGE, E_CONFIG */
export function shownSettings(flags: Flags): {
  readonly settings: readonly ShownSetting[];
  /** The configuration file; undefined: there is none. */
  readonly file: string | undefined;
} {
  const sources = sourcesOf(flags);
  return {
    settings: settings.map((setting) => ({ setting, given: givenFor(setting, sources) })),
    file: configFile(flags.config),
  };
}

/** $SEALMESH_DATA_DIR, $STATE_DIRECTORY (systemd; the first of several), then the platform's place for state. */
function defaultDataDir(variables = process.env): string {
  const { STATE_DIRECTORY, XDG_STATE_HOME, LOCALAPPDATA } = variables;
  const [state] = STATE_DIRECTORY?.split(":") ?? [];
  if (state) return state;
  if (process.platform === "darwin") return join(homedir(), "Library/Application Support/sealmesh");
  if (process.platform === "win32") return join(LOCALAPPDATA ?? homedir(), "sealmesh");
  return join(XDG_STATE_HOME ?? join(homedir(), ".local/state"), "sealmesh");
}

/** $CACHE_DIRECTORY (systemd), then the platform's place for caches. */
function defaultCacheDir({ CACHE_DIRECTORY, XDG_CACHE_HOME, LOCALAPPDATA }: Sources["variables"]): string {
  if (CACHE_DIRECTORY) return CACHE_DIRECTORY;
  if (process.platform === "darwin") return join(homedir(), "Library/Caches/sealmesh");
  if (process.platform === "win32") return join(LOCALAPPDATA ?? homedir(), "sealmesh", "cache");
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "sealmesh");
}

/**
 * What a command needs so that it works on this directory in any shell of this user: empty for the one that such a command
 * takes by itself.
 */
export function dataDirArguments(dataDir: string): string {
  // what the environment of this process says, that of the shell need not
  return resolve(dataDir) === resolve(defaultDataDir({})) ? "" : ` --data-dir ${shellQuoted(dataDir)}`;
}

/** Splits "host:port" or "[v6]:port". @throws E_USAGE naming `flag` */
function parseHostPort(text: string, flag: string): HostPort {
  const match = hostPortPattern.exec(text);
  const host = match?.[1] ?? match?.[2];
  const number = Number(match?.[3]);
  if (host === undefined || number > 65_535) {
    throw new MeshError("E_USAGE", `${flag} takes HOST:PORT, for example 127.0.0.1:9337, not "${text}"`);
  }
  return { host, port: number };
}

/** The variable that commands share, where settings are not read. */
function environment(name: string): string | undefined {
  return process.env[`SEALMESH_${name}`] || undefined;
}

function invites(flags: Flags, variables: Sources["variables"]): readonly Invite[] {
  const tokens = [...(flags.join ?? [])];
  if (flags.joinFile !== undefined) tokens.push(...words(readSmallFile(flags.joinFile, "--join-file")));
  tokens.push(...words(variables["SEALMESH_JOIN"] ?? ""));
  return tokens.map((token) => readInvite(token));
}

/** A mesh that can be found by its name is for whoever finds it, unless invites are asked for. */
function openMesh(flags: Flags, found: FindingConfig | undefined): boolean {
  return flags.openMesh ?? (found !== undefined && !found.inviteOnly);
}

/** Where to look for meshes, also without a node. @throws E_USAGE, E_CONFIG */
export function findingPlaces(flags: FindingPlaceFlags): DiscoverySettings {
  return placesOf(placesFrom(filledIn("client", sourcesOf(flags))));
}

function placesFrom({ nostrRelay, lan }: FindingPlaceFlags): Pick<FindingRequest, "nostrRelays" | "lan"> {
  return { nostrRelays: nostrRelay, lan: lan ?? true };
}

/** @throws E_USAGE */
function finding(mode: NodeConfig["mode"], flags: Flags): FindingConfig | undefined {
  return findingConfig({
    ...placesFrom(flags),
    // a relay joins what is there, as a client does: a mesh begins with a host
    mode: mode === "serve" ? "serve" : "client",
    publish: flags.publish ?? false,
    meshName: flags.meshName,
    auto: flags.auto ?? false,
    discover: flags.discover,
    inviteOnly: flags.inviteOnly ?? false,
    region: flags.region,
  });
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

// ---- policy and evidence

function policySettings(flags: Flags, sources: Sources): PolicySettings {
  const { policy } = sources.file;
  const tier = flags.requireAttestedHosts;
  const requireAttested = tier === undefined ? undefined : demandOf(tierSetting(tier));
  return {
    requireAttested,
    requireEncryption: flags.requireEncryption ?? false,
    requireHardened: flags.requireHardened ?? false,
    acceptUnchallenged: acceptUnchallenged(flags, sources, requireAttested),
    hosts: flags.allowHosts === undefined ? undefined : hostIds(flags.allowHosts),
    owners: policy.owners,
    keys: policy.keys ?? [],
    builds: knownBuilds(flags, sources),
    roots: [
      ...certificates(policy.roots ?? [], "[policy] roots"),
      ...certificates(flags.trustRoots ?? [], "--trust-roots"),
    ],
    evidenceMaxAgeMs: policy.evidence_max_age ?? defaults.evidenceMaxAgeMs,
    evidenceAheadMs: policy.evidence_ahead ?? defaults.evidenceAheadMs,
  };
}

/** @throws E_USAGE, E_CONFIG it is asked for beside a tier that it does nothing for */
function acceptUnchallenged(flags: Flags, sources: Sources, tier: DemandableTier | undefined): boolean {
  const accepts = flags.acceptUnchallenged ?? false;
  if (accepts && tier !== undefined && tier !== "key") {
    const inFile = placeOf("acceptUnchallenged", sources) === "file";
    const name = inFile ? "[policy] accept_unchallenged" : "--accept-unchallenged";
    const why = `has no effect where the tier ${tier} is demanded: without a challenge there is nothing above key`;
    throw new MeshError(inFile ? "E_CONFIG" : "E_USAGE", `${name} ${why}; leave it out`);
  }
  return accepts;
}

/** @throws E_CONFIG */
function knownBuilds(flags: Flags, sources: Sources): BuildSettings | undefined {
  const { policy } = sources.file;
  return buildSettings({
    sources: flags.allowBuilds,
    sourcesName: placeOf("allowBuilds", sources) === "file" ? "[policy] allow_builds" : "--allow-builds",
    keys: flags.buildKeys ?? [],
    keysName: placeOf("buildKeys", sources) === "file" ? "[policy] build_keys" : "--build-keys",
    sigstoreRoot: policy.sigstore_root,
    sigstoreIssuer: policy.sigstore_issuer,
    sigstoreIdentity: policy.sigstore_identity,
  });
}

/** Where the value that counts comes from; undefined: nobody says anything. */
function placeOf(flag: keyof Flags, sources: Sources): Place | undefined {
  const setting = settings.find((known) => known.flag === flag);
  return setting && givenFor(setting, sources)[0]?.place;
}

function attestSettings(flags: Flags, { attest }: FileSettings): AttestSettings {
  return {
    refreshMs: attest.refresh ?? defaults.evidenceRefreshMs,
    tpm: flags.tpm,
    tpmCertificates: certificates(attest.tpm_certificates ?? [], "[attest] tpm_certificates"),
    software: flags.softwareEvidence ?? false,
  };
}

/** @throws E_USAGE */
function ownerSettings(flags: Flags): OwnerSettings {
  const { ownerKey, ownerPassphraseFile, trustOwner } = flags;
  const policy = trustPolicy(flags.trustPolicy);
  return {
    keyFile: ownerKey === undefined ? undefined : resolve(ownerKey),
    passphraseFile: ownerPassphraseFile === undefined ? undefined : resolve(ownerPassphraseFile),
    trusted: trustOwner === undefined ? [] : ownerIds(trustOwner),
    // what was revoked is refused without being asked; whom to prefer must be said
    policy: policy ?? "prefer-owned",
    prefersStrangers: policy === "prefer-owned",
  };
}

function trustPolicy(text: string | undefined): TrustPolicy | undefined {
  const policy = trustPolicies.find((known) => known === text);
  if (policy !== undefined || text === undefined) return policy;
  throw new MeshError("E_USAGE", `--trust-policy takes ${trustPolicies.join(", ")}, not "${text}"`);
}

function ownerIds(given: readonly string[]): readonly string[] {
  const ids = given.flatMap((text) => text.split(",")).map((text) => text.trim());
  for (const id of ids) {
    if (isListable("trustedOwners", id)) continue;
    throw new MeshError("E_USAGE", `--trust-owner takes an owner id, 64 lower-case hex digits, not "${id}"`);
  }
  return ids;
}

function invitePolicy(flags: Flags, { invite }: FileSettings): MinimumPolicy | undefined {
  const asked = flags.inviteRequires;
  const minimum =
    asked === undefined
      ? {
          attested: demandOf(invite.require_attested_hosts),
          encryption: invite.require_encryption ?? false,
          ...(invite.require_hardened ? { hardened: true } : {}),
        }
      : strictest(asked.flatMap((text) => text.split(",")).map(minimumFrom));
  return asksForSomething(minimum) ? minimum : undefined;
}

function minimumFrom(text: string): MinimumPolicy | undefined {
  if (text === "none") return undefined;
  if (text === "encryption") return { attested: undefined, encryption: true };
  if (text === "hardened") return { attested: undefined, encryption: false, hardened: true };
  const attested = demandableTiers.find((tier) => tier === text);
  if (attested !== undefined) return { attested, encryption: false };
  const known = "encryption, hardened, key, pinned, vendor, measured, or none";
  throw new MeshError("E_USAGE", `--invite-requires takes ${known}, not "${text}"`);
}

/** "none" asks for nothing, where a file asks for something; the variable may also be 1 or 0. */
function tierSetting(asked: string | true): TierSetting {
  if (asked === true || ["1", "true"].includes(asked)) return "key";
  if (["0", "false", "none"].includes(asked)) return "none";
  const tier = demandableTiers.find((known) => known === asked);
  if (tier !== undefined) return tier;
  throw new MeshError(
    "E_USAGE",
    `--require-attested-hosts takes key, pinned, vendor, measured, or none, not "${asked}"; alone it means key`,
  );
}

function demandOf(setting: TierSetting | undefined): DemandableTier | undefined {
  return setting === "none" ? undefined : setting;
}

function hostIds(given: readonly string[]): readonly EndpointId[] {
  return given
    .flatMap((text) => text.split(","))
    .map((text) => {
      try {
        return endpointId(text.trim());
      } catch (cause) {
        const what = "whole endpoint ids, 64 lower-case hex digits each, with commas between them";
        throw new MeshError("E_USAGE", `--allow-hosts takes ${what}, not "${text.trim()}"`, { cause });
      }
    });
}

function certificates(files: readonly string[], setting: string): readonly Uint8Array[] {
  return files.flatMap((file) => {
    try {
      return readCertificates(file, { trusted: true });
    } catch (cause) {
      throw new MeshError("E_CONFIG", `${setting}: ${toMeshError(cause).message}`, { cause });
    }
  });
}

type ApiPort = Pick<NodeConfig, "api" | "reach" | "tls" | "apiKeyHashes" | "apiNames">;

/** @throws E_CONFIG beyond loopback without a key, or without either TLS or --insecure-http */
function apiPort(flags: Flags): ApiPort {
  const api = apiAddress(flags);
  const reach = isLoopback(api.host) ? "loopback" : "network";
  const keyFile = flags.apiKeyFile;
  const apiKeyHashes =
    keyFile === undefined ? [] : keyHashes(readSmallFile(keyFile, "--api-key-file"), "--api-key-file");
  const tls = tlsFiles(flags);
  if (tls && flags.insecureHttp) {
    throw new MeshError("E_USAGE", "give --tls-cert and --tls-key, or --insecure-http, not both");
  }
  if (reach === "network") {
    const where = `--listen ${flags.listen} lets other machines ask`;
    if (apiKeyHashes.length === 0) {
      throw new MeshError("E_CONFIG", `${where}: give --api-key-file FILE with the keys that callers must show`);
    }
    if (!tls && !flags.insecureHttp) {
      const why = "so that nobody on the way reads keys and prompts; --insecure-http goes without";
      throw new MeshError("E_CONFIG", `${where}: give --tls-cert FILE and --tls-key FILE, ${why}`);
    }
  }
  return { api, reach, tls, apiKeyHashes, apiNames: apiNames(flags.apiName ?? []) };
}

function apiAddress(flags: Flags): HostPort {
  if (flags.listen === undefined) {
    return { host: "127.0.0.1", port: port(flags.port, "--port", defaults.apiPort) };
  }
  if (flags.port !== undefined) throw new MeshError("E_USAGE", "give --listen HOST:PORT or --port, not both");
  return parseHostPort(flags.listen, "--listen");
}

function tlsFiles(flags: Flags): TlsFiles | undefined {
  const { tlsCert: certFile, tlsKey: keyFile } = flags;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (keyFile === undefined) throw new MeshError("E_CONFIG", "--tls-cert needs --tls-key FILE, the private key to it");
  if (certFile === undefined) throw new MeshError("E_CONFIG", "--tls-key needs --tls-cert FILE, the certificate to it");
  const cert = readSmallFile(certFile, "--tls-cert", pemBytes);
  const key = readSmallFile(keyFile, "--tls-key", pemBytes);
  try {
    createSecureContext({ cert, key });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const what = "are no PEM certificate and its unencrypted private key";
    throw new MeshError("E_CONFIG", `--tls-cert ${certFile} and --tls-key ${keyFile} ${what} (${why})`, { cause });
  }
  return { cert, key };
}

function apiNames(names: readonly string[]): readonly string[] {
  for (const name of names) {
    if (!/^[A-Za-z0-9._-]{1,253}$/.test(name)) {
      throw new MeshError(
        "E_USAGE",
        `--api-name takes a name without port, for example api.example.org, not "${name}"`,
      );
    }
  }
  return names;
}

function port(text: string | undefined, flag: string, fallback: number): number {
  if (text === undefined) return fallback;
  if (!/^[0-9]{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new MeshError("E_USAGE", `${flag} takes a port from 0 to 65535, not "${text}"; 0 picks a free one`);
  }
  return Number(text);
}

function bindAddress(text: string): string {
  parseHostPort(text, "--bind");
  return text;
}

/** Others dial these as they are: a name would have to be looked up by each of them. @throws E_USAGE */
function advertised(sockets: readonly string[]): readonly string[] {
  for (const socket of sockets) {
    const { port: at } = parseHostPort(socket, "--advertise");
    if (at > 0 && parseSocketAddress(socket)) continue;
    const what = `--advertise takes a numeric address and the port that others dial, not "${socket}"`;
    throw new MeshError("E_USAGE", what);
  }
  if (sockets.length <= limits.addressesPerEndpoint) return sockets;
  throw new MeshError("E_USAGE", `--advertise: others read no more than ${limits.addressesPerEndpoint} addresses`);
}

function irohRelays(given: readonly string[]): readonly string[] | "none" | "default" {
  if (given.length === 0 || (given.length === 1 && given[0] === "none")) return "none";
  if (given.length === 1 && given[0] === "default") return "default";
  for (const url of given) {
    if (!/^https?:\/\/[^\s/]+/.test(url)) {
      throw new MeshError("E_USAGE", `--relay takes none, default, or the URL of an iroh relay, not "${url}"`);
    }
  }
  return given;
}

function route(text: string): RouteSetting {
  if (text === "auto" || text === "direct" || text === "relay") return text;
  throw new MeshError("E_USAGE", `--route takes auto, direct or relay, not "${text}"`);
}

function checkedName(name: string | undefined): string | undefined {
  if (name === undefined) return undefined;
  if (!namePattern.test(name)) {
    throw new MeshError("E_USAGE", "--name takes up to 64 letters, digits, blanks, dots, dashes and underscores");
  }
  return name;
}

function engineSettings(
  flags: Flags,
  hardening: HardeningSteps,
  variables: Sources["variables"],
): readonly EngineSetting[] {
  const key =
    flags.engineKeyFile === undefined ? undefined : readSmallFile(flags.engineKeyFile, "--engine-key-file").trim();
  const external = (flags.engine ?? []).map((engine): EngineSetting => {
    return engine === "auto" ? { kind: "auto", key } : { kind: "openai-http", ...engineAddress(engine), key };
  });
  const contextSize = positive(flags.ctxSize, "--ctx-size");
  const packageFolder = engineFolder(dataDirFrom(flags.dataDir));
  const embedded = (flags.model ?? []).map((model): EngineSetting => {
    const download = downloadOf(model, flags, variables);
    const modelPath = download === undefined ? resolve(model) : downloadPath(download);
    return { kind: "llama", modelPath, download, packageFolder, contextSize, hardening };
  });
  return [...external, ...embedded];
}

/** Flags that say where downloads go, and with whose key. */
export type DownloadFlags = Pick<Flags, "cacheDir" | "hfTokenFile" | "config">;

/**
 * What is to be downloaded for a --model; undefined: it is a file's path.
 * @throws E_USAGE, E_CONFIG
 */
export function modelDownload(model: string, flags: DownloadFlags): ModelDownload | undefined {
  const sources = sourcesOf(flags);
  return downloadOf(model, filledIn("serve", sources), sources.variables);
}

function downloadOf(
  model: string,
  { cacheDir, hfTokenFile }: DownloadFlags,
  variables: Sources["variables"],
): ModelDownload | undefined {
  if (!isRemote(model)) return undefined;
  const source = modelSource(model, variables["HF_ENDPOINT"] || undefined);
  const given = hfTokenFile === undefined ? variables["HF_TOKEN"] : readSmallFile(hfTokenFile, "--hf-token-file");
  return { source, cacheDir: resolve(cacheDir ?? defaultCacheDir(variables)), token: hubToken(given?.trim()) };
}

/** It goes into a header. @throws E_CONFIG */
function hubToken(token: string | undefined): string | undefined {
  if (token === undefined || token === "") return undefined;
  if (/^[\x21-\x7e]{1,500}$/.test(token)) return token;
  throw new MeshError("E_CONFIG", "the key for Hugging Face (HF_TOKEN, --hf-token-file) is no single word");
}

function positive(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[1-9][0-9]{0,8}$/.test(text))
    throw new MeshError("E_USAGE", `${flag} takes a number of tokens, not "${text}"`);
  return Number(text);
}

/** A whole number from `least` to a million. */
function count(text: string | undefined, flag: string, least: number, most = 1_000_000): number | undefined {
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,7}$/.test(text) || Number(text) < least || Number(text) > most) {
    throw new MeshError("E_USAGE", `${flag} takes a number from ${least} to ${most}, not "${text}"`);
  }
  return Number(text);
}

/** A certificate with its whole chain stays below. */
const pemBytes = 262_144;

function readSmallFile(path: string, flag: string, bytes: number = limits.tokenBytes): string {
  try {
    return fromUtf8(readSmall(path, bytes, { pipe: true }));
  } catch (cause) {
    throw new MeshError("E_CONFIG", `${flag}: ${toMeshError(cause).message}`, { cause });
  }
}

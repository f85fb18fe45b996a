/**
 * Settings of one node: from flags, environment and configuration file to checked values. A flag wins over its SEALMESH_*
 * variable, which wins over the file, which wins over the default. The only reader of process.env, with config-place.ts beside it.
 */
import { isIPv4 } from "node:net";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { createSecureContext } from "node:tls";
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromUtf8 } from "../base/bytes.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { readInvite } from "../crypto/invite.ts";
import type { FunctionSettings } from "../engine/function.ts";
import type { DiscoverySettings } from "../discovery/discovery.ts";
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
import { type FileSettings, hardeningSteps, noFileSettings, readConfigFile, type TierSetting } from "./config-file.ts";
import { configFile, noFile } from "./config-place.ts";
import { defaults } from "./defaults.ts";
import { type FindingConfig, findingConfig, type FindingRequest, placesOf } from "./finding-config.ts";
import { readSmall, shellQuoted } from "./own-files.ts";
import type { OwnerSettings } from "./ownership.ts";

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
  | { readonly kind: "openai-http"; readonly url: string; readonly key: string | undefined }
  | { readonly kind: "auto"; readonly key: string | undefined }
  | {
      readonly kind: "llama";
      readonly modelPath: string;
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
  /** false: --no-hardening. */
  readonly hardening?: boolean;
  readonly debugTap?: string;
}

/** Of them, those that say where meshes are looked for. */
export type FindingPlaceFlags = Pick<Flags, "nostrRelay" | "lan" | "config">;

/** @throws E_USAGE, E_CONFIG or E_INVITE with the flag's name and what it takes */
export function resolveConfig(mode: Mode, flags: Flags): NodeConfig {
  if (mode === "relay") refuseFlagsOfAskers(flags);
  const file = fileSettings(flags);
  const hardening = hardeningSteps(flags.hardening ?? true, file);
  const engines = engineSettings(flags, hardening);
  const invited = invites(flags);
  const found = finding(mode, flags, file);
  if (mode !== "serve" && engines.length > 0) {
    throw new MeshError("E_USAGE", `a ${mode} serves no models: --engine and --model belong to \`sealmesh serve\``);
  }
  return {
    mode,
    name: checkedName(flags.name ?? environment("NAME")),
    dataDir: dataDirFrom(flags.dataDir),
    join: invited,
    finding: found,
    openMesh: openMesh(flags, found),
    ...apiPort(flags),
    console: flags.headless
      ? undefined
      : { host: "127.0.0.1", port: port(flags.console, "--console", defaults.consolePort) },
    bind: bindAddress(flags.bind ?? environment("BIND") ?? defaults.bind),
    advertise: advertised(flags.advertise ?? environment("ADVERTISE")?.split(",") ?? []),
    irohRelays: irohRelays(flags.relay ?? []),
    route: route(flags.route ?? environment("ROUTE") ?? "auto"),
    relayTraffic: flags.relayTraffic ?? true,
    relaying: relaySettings(flags, file),
    policy: policySettings(flags, file),
    attest: attestSettings(flags, file),
    owner: ownerSettings(flags, file),
    challenge: { intervalMs: file.challenge.interval ?? defaults.challengeIntervalMs },
    invitePolicy: invitePolicy(flags, file),
    maxRunning: count(flags.maxRunning ?? environment("MAX_RUNNING"), "--max-running", 1) ?? defaults.exchangesTotal,
    maxQueued: count(flags.maxQueued ?? environment("MAX_QUEUED"), "--max-queued", 0) ?? defaults.queuedTotal,
    pad: flags.pad ?? yes("PAD") ?? false,
    coalesceMs: count(flags.coalesce ?? environment("COALESCE"), "--coalesce", 0, limits.coalesceMs) ?? 0,
    engines,
    hardening,
    tap: flags.debugTap === undefined ? undefined : resolve(flags.debugTap),
  };
}

/**
 * Settings of a node inside another program, checked as those of a command line are. They come from nowhere else: no
 * SEALMESH_* variable and no configuration file changes what the program has said. It opens no port but that of the mesh.
 * @throws as {@link resolveConfig}
 */
export function configFrom(mode: Mode, settings: Flags & { readonly dataDir: string }): NodeConfig {
  const before = variables;
  variables = {};
  try {
    return { ...resolveConfig(mode, { ...settings, config: noFile, headless: true }), api: undefined };
  } finally {
    variables = before; // nothing above waits, so that nobody else can have read it meanwhile
  }
}

/** Flags that mean something only to a node that asks; with their names on a command line. */
export const flagsOfAskers: { readonly [Name in keyof Flags]?: string } = {
  port: "--port",
  listen: "--listen",
  apiKeyFile: "--api-key-file",
  tlsCert: "--tls-cert",
  tlsKey: "--tls-key",
  insecureHttp: "--insecure-http",
  apiName: "--api-name",
  route: "--route",
  pad: "--pad",
  requireEncryption: "--require-encryption",
  requireHardened: "--require-hardened",
  requireAttestedHosts: "--require-attested-hosts",
  allowHosts: "--allow-hosts",
  acceptUnchallenged: "--accept-unchallenged",
};

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

/** @throws E_USAGE */
function relaySettings(flags: Flags, { relay }: FileSettings): RelaySettings {
  const rate = count(flags.relayRate ?? environment("RELAY_RATE"), "--relay-rate", 1, 10_000) ?? relay.rate;
  const streams = count(flags.relayStreams ?? environment("RELAY_STREAMS"), "--relay-streams", 1, 10_000);
  return {
    streams: streams ?? relay.streams ?? defaults.relayStreamsTotal,
    bytesPerSecond: (rate ?? defaults.relayRate) * 1_000_000,
  };
}

/** Our environment for a node that is started beside us and must not take our own settings: of SEALMESH_* only no file. */
export function environmentWithoutSettings(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("SEALMESH_"));
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

/** $SEALMESH_DATA_DIR, $STATE_DIRECTORY (systemd), then the platform's place for state. */
function defaultDataDir(variables = process.env): string {
  const { STATE_DIRECTORY, XDG_STATE_HOME, LOCALAPPDATA } = variables;
  if (STATE_DIRECTORY) return STATE_DIRECTORY;
  if (process.platform === "darwin") return join(homedir(), "Library/Application Support/sealmesh");
  if (process.platform === "win32") return join(LOCALAPPDATA ?? homedir(), "sealmesh");
  return join(XDG_STATE_HOME ?? join(homedir(), ".local/state"), "sealmesh");
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
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const number = Number(match?.[3]);
  if (host === undefined || number > 65_535) {
    throw new MeshError("E_USAGE", `${flag} takes HOST:PORT, for example 127.0.0.1:9337, not "${text}"`);
  }
  return { host, port: number };
}

/** Where SEALMESH_* are read; empty while {@link configFrom} runs. */
let variables: NodeJS.ProcessEnv = process.env;

function environment(name: string): string | undefined {
  return variables[`SEALMESH_${name}`] || undefined;
}

/** @throws E_USAGE for anything but 1, true, 0 and false */
function yes(name: string): boolean | undefined {
  const text = environment(name);
  if (text === undefined) return undefined;
  if (["1", "true"].includes(text)) return true;
  if (["0", "false"].includes(text)) return false;
  throw new MeshError("E_USAGE", `SEALMESH_${name} takes 1 or 0, not "${text}"`);
}

function invites(flags: Flags): readonly Invite[] {
  const tokens = [...(flags.join ?? [])];
  if (flags.joinFile !== undefined) tokens.push(...words(readSmallFile(flags.joinFile, "--join-file")));
  tokens.push(...words(environment("JOIN") ?? ""));
  return tokens.map((token) => readInvite(token));
}

/** A mesh that can be found by its name is for whoever finds it, unless invites are asked for. */
function openMesh(flags: Flags, found: FindingConfig | undefined): boolean {
  return flags.openMesh ?? yes("OPEN_MESH") ?? (found !== undefined && !found.inviteOnly);
}

/** Where to look for meshes, also without a node. @throws E_USAGE, E_CONFIG */
export function findingPlaces(flags: FindingPlaceFlags): DiscoverySettings {
  return placesOf(placesFrom(flags, fileSettings(flags)));
}

function placesFrom(
  flags: FindingPlaceFlags,
  { discovery }: FileSettings,
): Pick<FindingRequest, "nostrRelays" | "lan"> {
  return {
    nostrRelays: flags.nostrRelay ?? spaced(environment("NOSTR_RELAY")) ?? discovery.nostr_relays,
    // commander has true for a --no- flag that was not given
    lan: flags.lan === false ? false : (yes("LAN") ?? discovery.lan ?? true),
  };
}

/** @throws E_USAGE */
function finding(mode: NodeConfig["mode"], flags: Flags, file: FileSettings): FindingConfig | undefined {
  const { discovery } = file;
  return findingConfig({
    ...placesFrom(flags, file),
    // a relay joins what is there, as a client does: a mesh begins with a host
    mode: mode === "serve" ? "serve" : "client",
    publish: flags.publish ?? yes("PUBLISH") ?? discovery.publish ?? false,
    meshName: flags.meshName ?? environment("MESH_NAME") ?? discovery.mesh_name,
    auto: flags.auto ?? yes("AUTO") ?? discovery.auto ?? false,
    discover: flags.discover ?? environment("DISCOVER") ?? discovery.discover,
    inviteOnly: flags.inviteOnly ?? yes("INVITE_ONLY") ?? discovery.invite_only ?? false,
    region: flags.region ?? environment("REGION") ?? discovery.region,
  });
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

// ---- policy and evidence

function policySettings(flags: Flags, { policy }: FileSettings): PolicySettings {
  const asked = flags.requireAttestedHosts ?? environment("REQUIRE_ATTESTED_HOSTS");
  const tier = asked === undefined ? policy.require_attested_hosts : tierSetting(asked);
  const hosts = flags.allowHosts ?? listed(environment("ALLOW_HOSTS"));
  const requireAttested = demandOf(tier);
  return {
    requireAttested,
    requireEncryption: flags.requireEncryption ?? yes("REQUIRE_ENCRYPTION") ?? policy.require_encryption ?? false,
    requireHardened: flags.requireHardened ?? yes("REQUIRE_HARDENED") ?? policy.require_hardened ?? false,
    acceptUnchallenged: acceptUnchallenged(flags, policy, requireAttested),
    hosts: hosts === undefined ? policy.allow_hosts : hostIds(hosts),
    owners: policy.owners,
    keys: policy.keys ?? [],
    builds: knownBuilds(flags, policy),
    roots: [
      ...certificates(policy.roots ?? [], "[policy] roots"),
      ...certificates(flags.trustRoots ?? [], "--trust-roots"),
    ],
    evidenceMaxAgeMs: policy.evidence_max_age ?? defaults.evidenceMaxAgeMs,
    evidenceAheadMs: policy.evidence_ahead ?? defaults.evidenceAheadMs,
  };
}

/** @throws E_USAGE, E_CONFIG it is asked for beside a tier that it does nothing for */
function acceptUnchallenged(
  flags: Flags,
  { accept_unchallenged: inFile = false }: FileSettings["policy"],
  tier: DemandableTier | undefined,
): boolean {
  const given = flags.acceptUnchallenged ?? yes("ACCEPT_UNCHALLENGED");
  const accepts = given ?? inFile;
  if (accepts && tier !== undefined && tier !== "key") {
    const name = given === undefined ? "[policy] accept_unchallenged" : "--accept-unchallenged";
    const why = `has no effect where the tier ${tier} is demanded: without a challenge there is nothing above key`;
    throw new MeshError(given === undefined ? "E_CONFIG" : "E_USAGE", `${name} ${why}; leave it out`);
  }
  return accepts;
}

/** @throws E_CONFIG */
function knownBuilds(flags: Flags, policy: FileSettings["policy"]): BuildSettings | undefined {
  const sources = flags.allowBuilds ?? spaced(environment("ALLOW_BUILDS"));
  const keys = flags.buildKeys ?? spaced(environment("BUILD_KEYS"));
  return buildSettings({
    sources: sources ?? policy.allow_builds,
    sourcesName: sources === undefined ? "[policy] allow_builds" : "--allow-builds",
    keys: keys ?? policy.build_keys ?? [],
    keysName: keys === undefined ? "[policy] build_keys" : "--build-keys",
    sigstoreRoot: policy.sigstore_root,
    sigstoreIssuer: policy.sigstore_issuer,
    sigstoreIdentity: policy.sigstore_identity,
  });
}

function spaced(text: string | undefined): readonly string[] | undefined {
  return text === undefined ? undefined : words(text);
}

function attestSettings(flags: Flags, { attest }: FileSettings): AttestSettings {
  return {
    refreshMs: attest.refresh ?? defaults.evidenceRefreshMs,
    tpm: flags.tpm ?? environment("TPM") ?? attest.tpm,
    tpmCertificates: certificates(attest.tpm_certificates ?? [], "[attest] tpm_certificates"),
    software: flags.softwareEvidence ?? yes("SOFTWARE_EVIDENCE") ?? attest.software ?? false,
  };
}

/** @throws E_USAGE */
function ownerSettings(flags: Flags, { owner }: FileSettings): OwnerSettings {
  const keyFile = flags.ownerKey ?? environment("OWNER_KEY");
  const passphraseFile = flags.ownerPassphraseFile ?? environment("OWNER_PASSPHRASE_FILE");
  const trusted = flags.trustOwner ?? listed(environment("TRUST_OWNER"));
  const policy = trustPolicy(flags.trustPolicy ?? environment("TRUST_POLICY")) ?? owner.trust_policy;
  return {
    keyFile: keyFile === undefined ? owner.key : resolve(keyFile),
    passphraseFile: passphraseFile === undefined ? owner.passphrase_file : resolve(passphraseFile),
    trusted: trusted === undefined ? (owner.trust ?? []) : ownerIds(trusted),
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
  const asked = flags.inviteRequires ?? listed(environment("INVITE_REQUIRES"));
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

function listed(text: string | undefined): readonly string[] | undefined {
  return text === undefined ? undefined : [text];
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
  const keyFile = flags.apiKeyFile ?? environment("API_KEY_FILE");
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
    return { host: "127.0.0.1", port: port(flags.port ?? environment("PORT"), "--port", defaults.apiPort) };
  }
  if (flags.port !== undefined) throw new MeshError("E_USAGE", "give --listen HOST:PORT or --port, not both");
  return parseHostPort(flags.listen, "--listen");
}

/** A name other than localhost may stand for any address. */
function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function tlsFiles(flags: Flags): TlsFiles | undefined {
  const certFile = flags.tlsCert ?? environment("TLS_CERT");
  const keyFile = flags.tlsKey ?? environment("TLS_KEY");
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
  if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(name)) {
    throw new MeshError("E_USAGE", "--name takes up to 64 letters, digits, blanks, dots, dashes and underscores");
  }
  return name;
}

function engineSettings(flags: Flags, hardening: HardeningSteps): readonly EngineSetting[] {
  const key =
    flags.engineKeyFile === undefined ? undefined : readSmallFile(flags.engineKeyFile, "--engine-key-file").trim();
  const external = (flags.engine ?? []).map((engine): EngineSetting => {
    if (engine === "auto") return { kind: "auto", key };
    if (URL.canParse(engine) && /^https?:/.test(engine)) return { kind: "openai-http", url: engine, key };
    throw new MeshError("E_USAGE", `--engine takes a URL such as http://127.0.0.1:11434/v1, or auto, not "${engine}"`);
  });
  const contextSize = positive(flags.ctxSize, "--ctx-size");
  const embedded = (flags.model ?? []).map((model): EngineSetting => ({
    kind: "llama",
    modelPath: resolve(model),
    contextSize,
    hardening,
  }));
  return [...external, ...embedded];
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

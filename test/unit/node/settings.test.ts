/** The table of settings: flags, variables and the file are what it says, and each way of saying something has the same effect. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command as Commander } from "commander";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { client } from "../../../src/cli/commands/client.ts";
import { serve } from "../../../src/cli/commands/serve.ts";
import { type Flags, flagsOfAskers, resolveConfig, shownSettings } from "../../../src/node/config.ts";
import { fileKeys, lineOf } from "../../../src/node/config-file.ts";
import { fileName, flagName, type Setting, variableName } from "../../../src/node/settings/setting.ts";
import { settings } from "../../../src/node/settings/settings.ts";
import { certificate, certificateKey } from "../../support/tls-files.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-settings-"));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const id = "ab".repeat(32);
const keys = file("keys", "0123456789abcdef\n");
const cert = file("cert.pem", certificate);
const key = file("key.pem", certificateKey);
const secret = file("secret", "sesame\n");
const open = { listen: "0.0.0.0:80", apiKeyFile: keys };

/** As a flag has it, in a variable, in TOML; and the flags without which it would mean nothing. */
type Sample = readonly [flag: Flags[keyof Flags], variable: string, toml: string, beside?: Flags];
const samples: { readonly [Name in keyof Flags]: Sample } = {
  model: [["/m.gguf"], "/m.gguf", '["/m.gguf"]'],
  engine: [["auto", "http://a:1/v1"], "auto,http://a:1/v1", '["auto", "http://a:1/v1"]'],
  engineKeyFile: [secret, secret, `"${secret}"`, { engine: ["auto"] }],
  cacheDir: ["/c", "/c", '"/c"', { model: ["hf:o/r/f.gguf"] }],
  hfTokenFile: [secret, secret, `"${secret}"`, { model: ["hf:o/r/f.gguf"] }],
  ctxSize: ["2048", "2048", "2048", { model: ["/m.gguf"] }],
  maxRunning: ["3", "3", "3"],
  maxQueued: ["0", "0", "0"],
  coalesce: ["5", "5", "5"],
  tpm: ["/dev/tpm9", "/dev/tpm9", '"/dev/tpm9"'],
  softwareEvidence: [true, "1", "true"],
  joinFile: [file("no-invites", ""), join(folder, "no-invites"), `"${join(folder, "no-invites")}"`],
  name: ["anna", "anna", '"anna"'],
  openMesh: [true, "true", "true"],
  discover: ["poker", "poker", '"poker"'],
  auto: [true, "1", "true"],
  publish: [true, "1", "true"],
  meshName: ["poker", "poker", '"poker"'],
  inviteOnly: [true, "1", "true", { meshName: "poker" }],
  region: ["Bern", "Bern", '"Bern"', { auto: true }],
  nostrRelay: [["wss://a", "wss://b"], "wss://a wss://b", '["wss://a", "wss://b"]', { auto: true }],
  lan: [false, "0", "false", { auto: true }],
  port: ["0", "0", "0"],
  listen: ["127.0.0.1:5", "127.0.0.1:5", '"127.0.0.1:5"'],
  apiKeyFile: [keys, keys, `"${keys}"`],
  tlsCert: [cert, cert, `"${cert}"`, { tlsKey: key }],
  tlsKey: [key, key, `"${key}"`, { tlsCert: cert }],
  insecureHttp: [true, "1", "true", open],
  apiName: [["a", "b"], "a,b", '["a", "b"]'],
  console: ["7", "7", "7"],
  headless: [true, "1", "true"],
  bind: ["127.0.0.1:9", "127.0.0.1:9", '"127.0.0.1:9"'],
  advertise: [["192.0.2.7:1", "[2001:db8::7]:2"], "192.0.2.7:1, [2001:db8::7]:2", '["192.0.2.7:1", "[2001:db8::7]:2"]'],
  relay: [["https://a", "https://b"], "https://a https://b", '["https://a", "https://b"]'],
  route: ["relay", "relay", '"relay"'],
  direct: [false, "0", "false"],
  relayTraffic: [false, "0", "false"],
  relayRate: ["2", "2", "2"],
  relayStreams: ["2", "2", "2"],
  pad: [true, "1", "true"],
  otlpEndpoint: ["http://a:1", "http://a:1", '"http://a:1"'],
  requireEncryption: [true, "1", "true"],
  requireHardened: [true, "1", "true"],
  requireAttestedHosts: ["vendor", "vendor", '"vendor"'],
  allowHosts: [[id], id, `["${id}"]`],
  acceptUnchallenged: [true, "1", "true"],
  allowBuilds: [["/a", "/b"], "/a /b", '["/a", "/b"]', { buildKeys: [id] }],
  buildKeys: [[id], id, `["${id}"]`],
  ownerKey: ["/k", "/k", '"/k"'],
  ownerPassphraseFile: ["/p", "/p", '"/p"'],
  trustOwner: [[id], id, `["${id}"]`],
  trustPolicy: ["allowlist", "allowlist", '"allowlist"'],
  inviteRequires: [["key", "hardened"], "key,hardened", ""],
};
/** Join takes real invites, and has no place in the file; the others say where settings are. */
const withoutSample: ReadonlySet<string> = new Set(["join", "dataDir", "config", "hardening", "trustRoots"]);

const withFlag = settings.filter((setting) => setting.flag !== undefined);
const flagOf = ({ flag }: Setting): keyof Flags => flag ?? "config";

describe("the table", () => {
  const declared = new Commander();
  serve.addFlags(declared);
  /** How a process shows itself is no setting of the node. */
  const ofProcess: ReadonlySet<string | undefined> = new Set(["--log-format", "--plain"]);
  const options = declared.options.filter(({ hidden, long }) => !hidden && !ofProcess.has(long ?? undefined));

  it("has every flag of the commands, under the name that the parser gives it", () => {
    const rows = withFlag.map((setting) => `${setting.syntax} as ${setting.flag}`);
    expect(options.map((option) => `${option.flags} as ${option.attributeName()}`).toSorted()).toEqual(rows.toSorted());
    for (const option of options) {
      const row = withFlag.find(({ flag }) => flag === option.attributeName());
      expect(option.negate, option.flags).toBe(row?.negated === true);
    }
    const others = new Commander();
    client.addFlags(others);
    expect(others.options.filter(({ long }) => long === "--model" || long === "--tpm")).toEqual([]);
  });

  it("has every setting of the file, and no other; each name once", () => {
    const named = settings.flatMap(({ key: name }) => name ?? []);
    expect(named.toSorted()).toEqual([...fileKeys().keys()].toSorted());
    expect(new Set(named).size).toBe(named.length);
  });

  it("names variables after flags", () => {
    for (const setting of withFlag) {
      if (setting.variable === undefined) continue;
      const words = (flagName(setting) ?? "").replace(/^--(no-)?/, "");
      expect(setting.variable).toBe(words.toUpperCase().replaceAll("-", "_"));
    }
    const without = withFlag.filter(({ variable }) => variable === undefined).map(flagName);
    expect(without).toEqual(["--no-hardening", "--trust-roots"]);
  });

  it("what is for those who ask is refused by a relay", () => {
    const given = withFlag.filter(({ askersOnly, negated }) => askersOnly && !negated);
    expect(Object.entries(flagsOfAskers)).toEqual(given.map((setting) => [setting.flag, flagName(setting)]));
    expect(Object.keys(flagsOfAskers)).toEqual(
      expect.arrayContaining(["port", "listen", "route", "requireEncryption"]),
    );
  });

  it("has a sample for every flag but those that say where settings are", () => {
    const lacking = withFlag.map(flagOf).filter((flag) => samples[flag] === undefined);
    expect(new Set(lacking)).toEqual(withoutSample);
  });
});

describe("one setting, said in three ways, is one setting", () => {
  it.each(withFlag.filter((setting) => samples[flagOf(setting)] !== undefined).map((setting) => [setting] as const))(
    "$syntax",
    (setting) => {
      const [flag, variable, toml, beside = {}] = samples[flagOf(setting)] ?? [undefined, "", ""];
      const byFlag = resolveConfig("serve", { config: "none", ...beside, [flagOf(setting)]: flag });
      // it has an effect at all; a file without invites has none, and is only looked for
      if (setting.flag !== "joinFile")
        expect(byFlag).not.toEqual(resolveConfig("serve", { config: "none", ...beside, ...neutral(setting) }));
      vi.stubEnv(variableName(setting) ?? "", variable);
      expect(resolveConfig("serve", { config: "none", ...beside })).toEqual(byFlag);
      vi.unstubAllEnvs();
      const [section, name] = setting.key?.split(".") ?? [];
      if (section === undefined) return;
      const config = file("one.toml", `[${section}]\n${name} = ${toml}\n`);
      expect(resolveConfig("serve", { config, ...beside })).toEqual(byFlag);
      // and the weaker ones give way
      vi.stubEnv(variableName(setting) ?? "", "nonsense");
      expect(resolveConfig("serve", { config, ...beside, [flagOf(setting)]: flag })).toEqual(byFlag);
    },
  );

  it("a relay and a client pass over what the file has for others", () => {
    const config = file(
      "all.toml",
      `[api]\nlisten = "0.0.0.0:80"\n[engine]\nurls = "auto"\nmodels = ["m.gguf"]\n[network]\npad = true\n[node]\nname = "one"\n`,
    );
    expect(resolveConfig("relay", { config })).toMatchObject({
      name: "one",
      engines: [],
      pad: false,
      reach: "loopback",
    });
    expect(() => resolveConfig("client", { config })).toThrow("--api-key-file");
    expect(resolveConfig("client", { config, port: "0" })).toMatchObject({ engines: [], pad: true, reach: "loopback" });
    expect(resolveConfig("serve", { config, port: "0" }).engines).toMatchObject([
      { kind: "auto" },
      { kind: "llama", modelPath: join(folder, "m.gguf") },
    ]);
  });

  it("--headless and --console: the one that is said nearer counts", () => {
    vi.stubEnv("SEALMESH_HEADLESS", "1");
    expect(resolveConfig("client", {}).console).toBeUndefined();
    expect(resolveConfig("client", { console: "34567" }).console?.port).toBe(34_567);
    vi.stubEnv("SEALMESH_HEADLESS", "");
    vi.stubEnv("SEALMESH_CONSOLE", "34567");
    expect(resolveConfig("client", { headless: true }).console).toBeUndefined();
  });

  it("--listen and --port: the one that is said nearer counts, and both at once are a mistake", () => {
    vi.stubEnv("SEALMESH_PORT", "7");
    expect(resolveConfig("client", { listen: "127.0.0.1:8" }).api?.port).toBe(8);
    vi.stubEnv("SEALMESH_LISTEN", "127.0.0.1:9");
    expect(resolveConfig("client", { port: "6" }).api?.port).toBe(6);
    expect(() => resolveConfig("client", {})).toThrow("not both");
    expect(() => resolveConfig("client", { port: "1", listen: "127.0.0.1:1" })).toThrow("not both");
  });
});

/** What leaves a setting as it is by default, where the others given need it. */
function neutral({ flag }: Setting): Flags {
  if (flag === "insecureHttp") return { listen: "127.0.0.1:80" };
  return flag === "tlsCert" || flag === "tlsKey" ? ({ tlsCert: undefined, tlsKey: undefined } as unknown as Flags) : {};
}

it("a program around a node can say that no variable counts", () => {
  vi.stubEnv("SEALMESH_NAME", "of the shell");
  vi.stubEnv("SEALMESH_JOIN", "garbage!");
  vi.stubEnv("CREDENTIALS_DIRECTORY", join(folder, "nowhere"));
  expect(resolveConfig("client", { config: "none", name: "mine" }, {})).toMatchObject({ name: "mine", join: [] });
});

describe("credentials of a service manager", () => {
  const directory = join(folder, "credentials");
  mkdirSync(directory);
  writeFileSync(join(directory, "api-keys"), "from-the-manager-0\n");

  it("are taken where neither flag nor variable names a file, before the configuration file", () => {
    vi.stubEnv("CREDENTIALS_DIRECTORY", directory);
    const config = file("keys.toml", `[api]\nkey_file = "${keys}"\n`);
    const [fromManager] = resolveConfig("client", { config }).apiKeyHashes;
    expect(fromManager).toEqual(resolveConfig("client", { apiKeyFile: join(directory, "api-keys") }).apiKeyHashes[0]);
    expect(resolveConfig("client", { config, apiKeyFile: keys }).apiKeyHashes[0]).not.toEqual(fromManager);
  });

  it("bring an invite: one that is none is told with the file's place", () => {
    writeFileSync(join(directory, "join"), "garbage!\n");
    vi.stubEnv("CREDENTIALS_DIRECTORY", directory);
    expect(() => resolveConfig("client", {})).toThrow("invite");
    rmSync(join(directory, "join"));
    expect(resolveConfig("client", {}).join).toEqual([]);
  });

  it("a directory that cannot be read ends the start", () => {
    vi.stubEnv("CREDENTIALS_DIRECTORY", join(folder, "nowhere"));
    expect(() => resolveConfig("client", {})).toThrow("$CREDENTIALS_DIRECTORY");
  });
});

describe("directories of a service manager", () => {
  it("win over the platform's places, and lose against what is said", () => {
    vi.stubEnv("STATE_DIRECTORY", "/var/lib/a:/var/lib/b");
    expect(resolveConfig("client", {}).dataDir).toBe("/var/lib/a");
    vi.stubEnv("SEALMESH_DATA_DIR", "/elsewhere");
    expect(resolveConfig("client", {}).dataDir).toBe("/elsewhere");
    vi.stubEnv("SEALMESH_CONFIG", "");
    vi.stubEnv("CONFIGURATION_DIRECTORY", folder);
    file("config.toml", '[node]\nname = "of the service"\n');
    expect(resolveConfig("client", {}).name).toBe("of the service");
  });
});

describe("where a value comes from", () => {
  const shown = (flags: Flags, name: string): readonly unknown[] => {
    const row = shownSettings(flags).settings.find(({ setting }) => setting.flag === name || setting.key === name);
    return row?.given.map(({ place, value }) => [place, value]) ?? [];
  };

  it("is the nearest place that says anything", () => {
    const config = file("shown.toml", "[relay]\nrate = 4\n[challenge]\ninterval = 30\n");
    expect(shown({ config: "none" }, "relayRate")).toEqual([]);
    expect(shown({ config }, "relayRate")).toEqual([["file", 4]]);
    expect(shown({ config }, "challenge.interval")).toEqual([["file", 30_000]]);
    vi.stubEnv("SEALMESH_RELAY_RATE", "5");
    expect(shown({ config }, "relayRate")).toEqual([["variable", "5"]]);
    expect(shown({ config, relayRate: "6" }, "relayRate")).toEqual([["flag", "6"]]);
  });

  it("a --no- flag that was not given says nothing", () => {
    expect(shown({ lan: true }, "lan")).toEqual([]);
    expect(shown({ lan: false }, "lan")).toEqual([["flag", false]]);
  });

  it("what adds up comes from several places", () => {
    vi.stubEnv("SEALMESH_JOIN", "one two");
    expect(shown({ join: ["three"] }, "join")).toEqual([
      ["flag", ["three"]],
      ["variable", ["one", "two"]],
    ]);
  });

  it("the line is that below its section, where it is written plainly", () => {
    const text = "# top\n[relay]\nrate = 4\n\n[ api ]\n'x' = 1\nport = 0\n[policy.deep]\nrate = 1\n";
    expect([lineOf("relay.rate", text), lineOf("api.port", text), lineOf("policy.rate", text)]).toEqual([
      3,
      7,
      undefined,
    ]);
    expect(lineOf("relay.rate", "relay = { rate = 4 }")).toBeUndefined();
  });
});

it("names of one setting belong together", () => {
  const [bind] = settings.filter(({ flag }) => flag === "bind");
  if (!bind) throw new Error("no such row");
  expect([flagName(bind), variableName(bind), fileName(bind)]).toEqual(["--bind", "SEALMESH_BIND", "[network] bind"]);
});

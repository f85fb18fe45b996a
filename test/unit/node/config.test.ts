/** Settings of the API port: what may be reached from elsewhere, and what is missing when it may not. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { type Flags, resolveConfig } from "../../../src/node/config.ts";
import { defaults } from "../../../src/node/defaults.ts";
import { gateRules } from "../../../src/node/http/gate.ts";
import { limits } from "../../../src/wire/limits.ts";
import { certificate, certificateKey, otherKey } from "../../support/tls-files.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-config-"));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const keys = file("keys", "0123456789abcdef\n");
const cert = file("cert.pem", certificate);
const key = file("key.pem", certificateKey);

afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function refusal(flags: Flags): MeshError {
  try {
    resolveConfig("client", flags);
  } catch (thrown) {
    if (isMeshError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

describe("--advertise", () => {
  it("takes addresses as others dial them, from flags or SEALMESH_ADVERTISE", () => {
    const advertise = ["192.0.2.7:4433", "[2001:db8::7]:4433"];
    expect(resolveConfig("client", {}).advertise).toEqual([]);
    expect(resolveConfig("client", { advertise }).advertise).toEqual(advertise);
    vi.stubEnv("SEALMESH_ADVERTISE", advertise.join(","));
    expect(resolveConfig("client", {}).advertise).toEqual(advertise);
  });

  it.each(["host.example:4433", "192.0.2.7:0", "192.0.2.7", "192.0.2.7:99999", ""])("refuses %j", (socket) => {
    const { code, message } = refusal({ advertise: [socket] });
    expect([code, message]).toEqual(["E_USAGE", expect.stringContaining("--advertise")]);
  });

  it("refuses more than others read", () => {
    const advertise = Array.from({ length: limits.addressesPerEndpoint + 1 }, (_, at) => `192.0.2.7:${at + 1}`);
    expect(refusal({ advertise })).toMatchObject({ code: "E_USAGE" });
  });
});

describe("--listen", () => {
  it.each(["127.0.0.1:0", "localhost:0", "[::1]:0", "127.1.2.3:0"])(
    "%s is this machine: nothing more is needed",
    (listen) => {
      expect(resolveConfig("client", { listen })).toMatchObject({
        reach: "loopback",
        tls: undefined,
        apiKeyHashes: [],
      });
    },
  );

  it.each(["0.0.0.0:0", "[::]:0", "192.168.1.5:80", "machine.example:80", "127.example:80", "[::ffff:127.0.0.1]:80"])(
    "%s is open to others: it needs a key, and TLS or leave to go without",
    (listen) => {
      const noKey = refusal({ listen });
      expect(noKey.code).toBe("E_CONFIG");
      expect(noKey.message).toContain("--api-key-file");
      expect(refusal({ listen, tlsCert: cert, tlsKey: key }).message).toContain("--api-key-file");
      expect(refusal({ listen, insecureHttp: true }).message).toContain("--api-key-file");
      const noTls = refusal({ listen, apiKeyFile: keys });
      expect(noTls.code).toBe("E_CONFIG");
      for (const flag of ["--tls-cert", "--tls-key", "--insecure-http"]) expect(noTls.message).toContain(flag);
      const open = resolveConfig("client", { listen, apiKeyFile: keys, insecureHttp: true });
      expect(open).toMatchObject({ reach: "network", tls: undefined });
      const safe = resolveConfig("client", { listen, apiKeyFile: keys, tlsCert: cert, tlsKey: key });
      expect(safe).toMatchObject({ reach: "network", tls: { cert: certificate, key: certificateKey } });
      expect(safe.apiKeyHashes).toHaveLength(1);
    },
  );

  it("keys, TLS and names are taken on loopback too, and from the environment", () => {
    vi.stubEnv("SEALMESH_API_KEY_FILE", keys);
    vi.stubEnv("SEALMESH_TLS_CERT", cert);
    vi.stubEnv("SEALMESH_TLS_KEY", key);
    const config = resolveConfig("client", { apiName: ["Proxy.example"] });
    expect(config).toMatchObject({ reach: "loopback", tls: { cert: certificate } });
    const rules = gateRules(config);
    expect(rules).toMatchObject({ scheme: "https", addresses: false, keyHashes: config.apiKeyHashes });
    expect(rules.keyHashes).toHaveLength(1);
    expect([...rules.names]).toEqual(["proxy.example"]);
  });

  it("beyond loopback the machine's own names and addresses are allowed", () => {
    const listen = "Machine.example:80";
    const rules = gateRules(resolveConfig("client", { listen, apiKeyFile: keys, insecureHttp: true }));
    expect(rules.addresses).toBe(true);
    const name = hostname().toLowerCase();
    expect([...rules.names]).toEqual(expect.arrayContaining(["machine.example", name, `${name}.local`]));
  });
});

describe("files", () => {
  it.each([
    [{ tlsCert: cert }, "E_CONFIG", "--tls-key"],
    [{ tlsKey: key }, "E_CONFIG", "--tls-cert"],
    [{ tlsCert: join(folder, "none"), tlsKey: key }, "E_CONFIG", "--tls-cert"],
    [{ tlsCert: cert, tlsKey: join(folder, "none") }, "E_CONFIG", "--tls-key"],
    [{ tlsCert: cert, tlsKey: file("other.pem", otherKey) }, "E_CONFIG", "--tls-cert"],
    [{ tlsCert: file("garbage", "no PEM"), tlsKey: key }, "E_CONFIG", "--tls-cert"],
    [{ tlsCert: cert, tlsKey: key, insecureHttp: true }, "E_USAGE", "--insecure-http"],
    [{ apiKeyFile: join(folder, "none") }, "E_CONFIG", "--api-key-file"],
    [{ apiKeyFile: file("empty", "# none\n") }, "E_CONFIG", "--api-key-file"],
    [{ apiKeyFile: file("large", "x".repeat(100_000)) }, "E_CONFIG", "--api-key-file"],
    [{ apiName: ["http://proxy"] }, "E_USAGE", "--api-name"],
  ] as const)("%j: %s naming %s", (flags, code, flag) => {
    const error = refusal(flags);
    expect(error.code).toBe(code);
    expect(error.message).toContain(flag);
    expect(error.message).not.toContain("PRIVATE");
  });
});

describe("what else is set", () => {
  it("encryption is required by flag or environment", () => {
    expect(resolveConfig("client", {}).policy.requireEncryption).toBe(false);
    expect(resolveConfig("client", { requireEncryption: true }).policy.requireEncryption).toBe(true);
    vi.stubEnv("SEALMESH_REQUIRE_ENCRYPTION", "1");
    expect(resolveConfig("client", {}).policy.requireEncryption).toBe(true);
    vi.stubEnv("SEALMESH_REQUIRE_ENCRYPTION", "maybe");
    expect(refusal({}).code).toBe("E_USAGE");
  });

  it("running and queued exchanges have defaults and bounds", () => {
    const { exchangesTotal, queuedTotal } = defaults;
    expect(resolveConfig("serve", {})).toMatchObject({ maxRunning: exchangesTotal, maxQueued: queuedTotal });
    vi.stubEnv("SEALMESH_MAX_QUEUED", "7");
    expect(resolveConfig("serve", { maxRunning: "3" })).toMatchObject({ maxRunning: 3, maxQueued: 7 });
    expect(resolveConfig("serve", { maxQueued: "0" }).maxQueued).toBe(0);
    for (const maxRunning of ["0", "-1", "1.5", "many", "10000000"]) {
      expect(refusal({ maxRunning }).message).toContain("--max-running");
    }
  });
});

describe("sealmesh relay", () => {
  const refusedRelay = (flags: Flags): MeshError => {
    try {
      resolveConfig("relay", flags);
    } catch (thrown) {
      if (isMeshError(thrown)) return thrown;
      throw thrown;
    }
    throw new Error("nothing was thrown");
  };

  it("carries, with bounds of a flag, a variable or the defaults", () => {
    const { streams, rate } = { streams: defaults.relayStreamsTotal, rate: defaults.relayRate * 1_000_000 };
    expect(resolveConfig("relay", {})).toMatchObject({
      mode: "relay",
      relayTraffic: true,
      engines: [],
      relaying: { streams, bytesPerSecond: rate },
    });
    vi.stubEnv("SEALMESH_RELAY_STREAMS", "3");
    vi.stubEnv("SEALMESH_RELAY_RATE", "2");
    expect(resolveConfig("relay", {}).relaying).toEqual({ streams: 3, bytesPerSecond: 2_000_000 });
    expect(resolveConfig("client", { relayStreams: "7", relayRate: "5" }).relaying).toEqual({
      streams: 7,
      bytesPerSecond: 5_000_000,
    });
  });

  it("takes its bounds from the file, where no flag says otherwise", () => {
    const config = file("relay.toml", "[relay]\nrate = 4\nstreams = 32\n");
    expect(resolveConfig("relay", { config }).relaying).toEqual({ streams: 32, bytesPerSecond: 4_000_000 });
    expect(resolveConfig("relay", { config, relayRate: "1" }).relaying.bytesPerSecond).toBe(1_000_000);
  });

  it.each<[string, Flags]>([
    ["--relay-rate", { relayRate: "0" }],
    ["--relay-rate", { relayRate: "1.5" }],
    ["--relay-rate", { relayRate: "10001" }],
    ["--relay-streams", { relayStreams: "0" }],
    ["--relay-streams", { relayStreams: "many" }],
    ["--port", { port: "0" }],
    ["--listen", { listen: "127.0.0.1:0" }],
    ["--route", { route: "auto" }],
    ["--require-attested-hosts", { requireAttestedHosts: true }],
    ["--allow-hosts", { allowHosts: ["a"] }],
    ["--no-relay-traffic", { relayTraffic: false }],
    ["--engine", { engine: ["auto"] }],
  ])("refuses what it has no use for, or cannot be: %s", (flag, flags) => {
    const refused = refusedRelay(flags);
    expect(refused.code).toBe("E_USAGE");
    expect(refused.message).toContain(flag);
  });
});

/** Settings of policy, evidence and invites: flags, environment, file and default, in this order. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { evidenceWindow } from "../../../src/attest/evidence.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import {
  dataDirArguments,
  environmentWithoutSettings,
  type Flags,
  type NodeConfig,
  resolveConfig,
} from "../../../src/node/config.ts";
import { encodeInvite } from "../../../src/wire/invite.ts";
import { caExtensions, madeCertificate, madeKey } from "../../support/certificates.ts";
import { certificate } from "../../support/tls-files.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-config-policy-"));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const [one, two, three] = ["11", "22", "33"].map((digits) => endpointId(digits.repeat(32)));

let files = 0;
function file(content: string | Uint8Array): string {
  files += 1;
  const path = join(folder, `${files}`);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

const client = (flags: Flags = {}): NodeConfig => resolveConfig("client", flags);

function refusal(flags: Flags): MeshError {
  try {
    client(flags);
  } catch (thrown) {
    if (isMeshError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

it("a node that was told nothing demands nothing and has its times from the defaults", () => {
  const { policy, attest, challenge, invitePolicy } = client();
  expect(policy).toEqual({
    requireAttested: undefined,
    requireEncryption: false,
    requireHardened: false,
    acceptUnchallenged: false,
    hosts: undefined,
    owners: undefined,
    keys: [],
    roots: [],
    evidenceMaxAgeMs: evidenceWindow.maxAgeMs,
    evidenceAheadMs: evidenceWindow.aheadMs,
  });
  expect(attest).toEqual({ refreshMs: 300_000, tpm: undefined, tpmCertificates: [], software: false });
  expect(challenge).toEqual({ intervalMs: 60_000 });
  expect(invitePolicy).toBeUndefined();
});

describe("which file is read", () => {
  const usual = join(folder, "home/sealmesh");
  const demanding = '[policy]\nrequire_attested_hosts = "vendor"\n';

  it("is the one of --config, else that of SEALMESH_CONFIG", () => {
    vi.stubEnv("SEALMESH_CONFIG", file(demanding));
    expect(client().policy.requireAttested).toBe("vendor");
    expect(client({ config: file("") }).policy.requireAttested).toBeUndefined();
  });

  it.runIf(process.platform === "linux")("is else the one at its usual place, when there is one", () => {
    vi.stubEnv("SEALMESH_CONFIG", "");
    vi.stubEnv("XDG_CONFIG_HOME", join(folder, "home"));
    expect(client().policy.requireAttested).toBeUndefined();
    mkdirSync(usual, { recursive: true });
    writeFileSync(join(usual, "config.toml"), demanding, { mode: 0o600 });
    expect(client().policy.requireAttested).toBe("vendor");
    writeFileSync(join(usual, "config.toml"), "[polcy]");
    expect(refusal({}).message).toContain(join(usual, "config.toml"));
  });

  it("is none with none", () => {
    vi.stubEnv("SEALMESH_CONFIG", file(demanding));
    expect(client({ config: "none" }).policy.requireAttested).toBeUndefined();
    vi.stubEnv("SEALMESH_CONFIG", "none");
    expect(client().policy.requireAttested).toBeUndefined();
  });

  it.runIf(process.platform === "linux")(
    "is not passed over when it is a link that leads nowhere, nor its folder",
    () => {
      vi.stubEnv("SEALMESH_CONFIG", "");
      for (const [name, path] of [
        ["linked-file", "sealmesh/config.toml"],
        ["linked-folder", "sealmesh"],
      ] as const) {
        vi.stubEnv("XDG_CONFIG_HOME", join(folder, name));
        mkdirSync(dirname(join(folder, name, path)), { recursive: true });
        symlinkSync(join(folder, "gone"), join(folder, name, path));
        const error = refusal({});
        expect(error.code).toBe("E_CONFIG");
        expect(error.message).toContain(join(folder, name, "sealmesh/config.toml"));
        expect(client({ config: "none" }).policy.requireAttested).toBeUndefined();
      }
    },
  );

  it("must be there when it was named", () => {
    expect(refusal({ config: join(folder, "missing.toml") }).code).toBe("E_CONFIG");
  });

  it("is none for a node that is started beside us", () => {
    vi.stubEnv("SEALMESH_CONFIG", file(demanding));
    vi.stubEnv("SEALMESH_TPM", "127.0.0.1:1");
    const { SEALMESH_CONFIG, SEALMESH_TPM } = environmentWithoutSettings();
    expect([SEALMESH_CONFIG, SEALMESH_TPM]).toEqual(["none", undefined]);
  });
});

describe("--require-attested-hosts", () => {
  it.each([
    [true, "key"],
    ["key", "key"],
    ["pinned", "pinned"],
    ["vendor", "vendor"],
    ["measured", "measured"],
    ["none", undefined],
  ] as const)("%s is %s", (requireAttestedHosts, tier) => {
    expect(client({ requireAttestedHosts }).policy.requireAttested).toBe(tier);
  });

  it("wins over the environment, which wins over the file", () => {
    const config = file("[policy]\nrequire_attested_hosts = true\n");
    expect(client({ config }).policy.requireAttested).toBe("key");
    vi.stubEnv("SEALMESH_REQUIRE_ATTESTED_HOSTS", "pinned");
    expect(client({ config }).policy.requireAttested).toBe("pinned");
    expect(client({ config, requireAttestedHosts: "vendor" }).policy.requireAttested).toBe("vendor");
    expect(client({ config, requireAttestedHosts: "none" }).policy.requireAttested).toBeUndefined();
    vi.stubEnv("SEALMESH_REQUIRE_ATTESTED_HOSTS", "1");
    expect(client().policy.requireAttested).toBe("key");
    vi.stubEnv("SEALMESH_REQUIRE_ATTESTED_HOSTS", "0");
    expect(client({ config }).policy.requireAttested).toBeUndefined();
  });

  it("takes no other tier", () => {
    const error = refusal({ requireAttestedHosts: "gold" });
    expect(error.code).toBe("E_USAGE");
    expect(error.message).toContain('key, pinned, vendor, measured, or none, not "gold"');
  });
});

describe("switches", () => {
  it.each([
    ["REQUIRE_ENCRYPTION", "require_encryption", { requireEncryption: true }, "requireEncryption"],
    ["REQUIRE_HARDENED", "require_hardened", { requireHardened: true }, "requireHardened"],
    ["ACCEPT_UNCHALLENGED", "accept_unchallenged", { acceptUnchallenged: true }, "acceptUnchallenged"],
  ] as const)("%s: flag, environment, file", (variable, name, flags, setting) => {
    const config = file(`[policy]\n${name} = true\n`);
    expect(client(flags).policy[setting]).toBe(true);
    expect(client({ config }).policy[setting]).toBe(true);
    vi.stubEnv(`SEALMESH_${variable}`, "0");
    expect(client({ config }).policy[setting]).toBe(false);
    expect(client(flags).policy[setting]).toBe(true);
    vi.stubEnv(`SEALMESH_${variable}`, "1");
    expect(client().policy[setting]).toBe(true);
  });

  it("--accept-unchallenged does nothing for higher tiers than key, and is refused beside one", () => {
    const inFile = "accept_unchallenged = true\n";
    expect(client({ requireAttestedHosts: "key", acceptUnchallenged: true }).policy.acceptUnchallenged).toBe(true);
    for (const tier of ["pinned", "vendor", "measured"]) {
      const byFlag = refusal({ requireAttestedHosts: tier, acceptUnchallenged: true });
      expect([byFlag.code, byFlag.message]).toEqual(["E_USAGE", expect.stringContaining("has no effect")]);
      const byFile = refusal({ config: file(`[policy]\n${inFile}require_attested_hosts = "${tier}"\n`) });
      expect(byFile.code).toBe("E_CONFIG");
      for (const part of ["[policy] accept_unchallenged", "has no effect", tier])
        expect(byFile.message).toContain(part);
    }
    vi.stubEnv("SEALMESH_ACCEPT_UNCHALLENGED", "0");
    const config = file(`[policy]\n${inFile}`);
    expect(client({ config, requireAttestedHosts: "vendor" }).policy.acceptUnchallenged).toBe(false);
  });

  it("software evidence is for who asks for it", () => {
    expect(client({ softwareEvidence: true }).attest.software).toBe(true);
    expect(client({ config: file("[attest]\nsoftware = true") }).attest.software).toBe(true);
    vi.stubEnv("SEALMESH_SOFTWARE_EVIDENCE", "1");
    expect(client().attest.software).toBe(true);
  });
});

describe("--allow-hosts", () => {
  it("takes ids with commas between them, several times, and replaces those of environment and file", () => {
    const config = file(`[policy]\nallow_hosts = ["${three}"]\n`);
    expect(client({ config }).policy.hosts).toEqual([three]);
    vi.stubEnv("SEALMESH_ALLOW_HOSTS", `${two},${three}`);
    expect(client({ config }).policy.hosts).toEqual([two, three]);
    expect(client({ config, allowHosts: [`${one}, ${two}`, `${three}`] }).policy.hosts).toEqual([one, two, three]);
  });

  it.each(["", "ab", `${one},`, `${one}`.slice(0, 10), "api.example.org"])("takes no %j", (text) => {
    const error = refusal({ allowHosts: [text] });
    expect(error.code).toBe("E_USAGE");
    expect(error.message).toContain("--allow-hosts takes whole endpoint ids");
  });
});

describe("certificates", () => {
  const key = madeKey("P-256");
  const names = { subject: "maker", issuer: "maker" };
  const der = madeCertificate({ ...names, spki: key.spki, signer: key.privateKey, extensions: caExtensions() });

  it("of makers come from the file and from --trust-roots, as PEM or DER", () => {
    const pem = file(certificate);
    const config = file(`[policy]\nroots = ["${pem}"]\n`);
    const { roots } = client({ config, trustRoots: [file(der), file(certificate + certificate)] }).policy;
    expect(roots).toHaveLength(4);
    expect(roots[1]).toEqual(der);
    expect(roots[0]).toEqual(roots[2]);
  });

  it("of a TPM come from the file", () => {
    const config = file(`[attest]\ntpm = "127.0.0.1:2321"\ntpm_certificates = ["${file(der)}"]\n`);
    expect(client({ config }).attest).toMatchObject({ tpm: "127.0.0.1:2321", tpmCertificates: [der] });
    expect(client({ config, tpm: "/dev/tpmrm0" }).attest.tpm).toBe("/dev/tpmrm0");
  });

  it.skipIf(process.platform === "win32")("that others can change are refused", () => {
    const path = file(der);
    chmodSync(path, 0o666);
    const error = refusal({ trustRoots: [path] });
    expect(error.code).toBe("E_CONFIG");
    expect(error.message).toContain(`--trust-roots: ${path} has mode 666`);
  });

  it.each([
    ["--trust-roots", (path: string): Flags => ({ trustRoots: [path] })],
    ["[policy] roots", (path: string): Flags => ({ config: file(`[policy]\nroots = ["${path}"]\n`) })],
    [
      "[attest] tpm_certificates",
      (path: string): Flags => ({ config: file(`[attest]\ntpm_certificates = ["${path}"]`) }),
    ],
  ])("that cannot be read are named with their setting: %s", (setting, flagsFor) => {
    for (const path of [join(folder, "missing.pem"), file("no certificate")]) {
      const error = refusal(flagsFor(path));
      expect(error.code).toBe("E_CONFIG");
      expect(error.message).toContain(`${setting}: ${path}`);
    }
  });
});

it.skipIf(process.platform === "win32")(
  "a command gets the data directory with it, unless it finds it by itself",
  () => {
    vi.stubEnv("XDG_STATE_HOME", "/elsewhere");
    vi.stubEnv("SEALMESH_DATA_DIR", "/srv/node");
    const usual = process.platform === "darwin" ? "Library/Application Support/sealmesh" : ".local/state/sealmesh";
    expect(dataDirArguments(join(homedir(), usual))).toBe("");
    // variables of the node need not be those of the shell
    expect(dataDirArguments("/elsewhere/sealmesh")).toBe(" --data-dir '/elsewhere/sealmesh'");
    expect(dataDirArguments("/srv/it's a $node")).toBe(" --data-dir '/srv/it'\\''s a $node'");
  },
);

it("times and lists come from the file", () => {
  const key = "0f".repeat(16);
  const config = file(`
    [policy]
    keys = ["${key}"]
    owners = ["${one}"]
    evidence_max_age = 5
    evidence_ahead = "1m"
    [attest]
    refresh = "2s"
    [challenge]
    interval = 1
  `);
  expect(client({ config })).toMatchObject({
    policy: { keys: [key], owners: [one], evidenceMaxAgeMs: 5_000, evidenceAheadMs: 60_000 },
    attest: { refreshMs: 2_000 },
    challenge: { intervalMs: 1_000 },
  });
});

describe("--invite-requires", () => {
  it.each([
    [["encryption"], { attested: undefined, encryption: true }],
    [["vendor"], { attested: "vendor", encryption: false }],
    [["pinned", "encryption"], { attested: "pinned", encryption: true }],
    [["encryption,key", "measured"], { attested: "measured", encryption: true }],
    [["hardened"], { attested: undefined, encryption: false, hardened: true }],
    [["hardened,pinned"], { attested: "pinned", encryption: false, hardened: true }],
    [["none"], undefined],
  ] as const)("%j", (inviteRequires, policy) => {
    expect(client({ inviteRequires }).invitePolicy).toEqual(policy);
  });

  it("wins over the environment, which wins over the file", () => {
    const config = file('[invite]\nrequire_attested_hosts = "pinned"\nrequire_encryption = true\n');
    expect(client({ config }).invitePolicy).toEqual({ attested: "pinned", encryption: true });
    vi.stubEnv("SEALMESH_INVITE_REQUIRES", "key,encryption");
    expect(client({ config }).invitePolicy).toEqual({ attested: "key", encryption: true });
    expect(client({ config, inviteRequires: ["none"] }).invitePolicy).toBeUndefined();
  });

  it("may be hardened alone, in the file too", () => {
    const config = file("[invite]\nrequire_hardened = true\n");
    expect(client({ config }).invitePolicy).toEqual({ attested: undefined, encryption: false, hardened: true });
  });

  it("takes nothing else", () => {
    const error = refusal({ inviteRequires: ["trust"] });
    expect(error.code).toBe("E_USAGE");
    expect(error.message).toContain('not "trust"');
  });
});

describe("--join", () => {
  const address = { id: endpointId("44".repeat(32)), relays: [], direct: ["192.0.2.1:4433"] };

  it("keeps what the mesh of each invite demands", () => {
    const policy = { attested: "vendor", encryption: true } as const;
    const join = [encodeInvite(address), encodeInvite(address, { policy })];
    expect(client({ join }).join).toEqual([
      { address, minimum: undefined },
      { address, minimum: policy },
    ]);
  });
});

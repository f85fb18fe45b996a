/** The configuration file: what it may say, and that nothing in it is passed over. */
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { isMeshError } from "../../../src/base/errors.ts";
import { noFileSettings, readConfigFile, settingsFrom } from "../../../src/node/config-file.ts";
import { fc } from "../../support/fast-check.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-config-file-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** SEALMESH_FUZZ_RUNS sets how many documents are tried; many for a search, few for every day. */
const runs = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 1_000);
const id = "ab".repeat(32);
const key = "0123456789abcdef".repeat(2);

const read = (text: string): ReturnType<typeof settingsFrom> => settingsFrom(text, "/etc/sealmesh/config.toml");

function complaint(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code === "E_CONFIG") return thrown.message;
    throw thrown;
  }
  return "no complaint";
}

describe("what a file says", () => {
  it("is read whole, times in ms and files from its folder on", () => {
    const text = `
      [policy]
      require_attested_hosts = "vendor"
      require_encryption = true
      require_hardened = true
      allow_hosts = ["${id}"]
      accept_unchallenged = false
      keys = ["${key}"]
      owners = ["${id}"]
      roots = ["maker.pem", "/roots/other.der"]
      evidence_max_age = "5m"
      evidence_ahead = 0
      [attest]
      refresh = 2
      tpm = "/dev/tpmrm0"
      tpm_certificates = ["tpm/maker.der"]
      software = true
      [owner]
      key = "owner-key.json"
      passphrase_file = "/run/secrets/owner"
      trust = ["${id}"]
      trust_policy = "allowlist"
      [challenge]
      interval = "90s"
      [invite]
      require_attested_hosts = true
      require_encryption = true
      [hardening]
      core_dumps = false
      [relay]
      rate = 4
      streams = 32
      [telemetry]
      otlp_endpoint = "http://127.0.0.1:4318"
      otlp_headers_file = "headers"
      service_name = "s"
      [models]
      cache_dir = "/mnt/models"
      hf_token_file = "hf.txt"
    `;
    expect(read(text)).toEqual({
      ...noFileSettings,
      relay: { rate: 4, streams: 32 },
      telemetry: {
        otlp_endpoint: "http://127.0.0.1:4318",
        otlp_headers_file: "/etc/sealmesh/headers",
        service_name: "s",
      },
      models: { cache_dir: "/mnt/models", hf_token_file: "/etc/sealmesh/hf.txt" },
      policy: {
        require_attested_hosts: "vendor",
        require_encryption: true,
        require_hardened: true,
        allow_hosts: [id],
        accept_unchallenged: false,
        keys: [key],
        owners: [id],
        roots: ["/etc/sealmesh/maker.pem", "/roots/other.der"],
        evidence_max_age: 300_000,
        evidence_ahead: 0,
      },
      attest: {
        refresh: 2_000,
        tpm: "/dev/tpmrm0",
        tpm_certificates: ["/etc/sealmesh/tpm/maker.der"],
        software: true,
      },
      owner: {
        key: "/etc/sealmesh/owner-key.json",
        passphrase_file: "/run/secrets/owner",
        trust: [id],
        trust_policy: "allowlist",
      },
      challenge: { interval: 90_000 },
      invite: { require_attested_hosts: "key", require_encryption: true },
      discovery: {},
      hardening: { core_dumps: false },
    });
  });

  it("may be nothing", () => {
    expect(read("")).toEqual(noFileSettings);
    expect(read("# later\n[policy]\n")).toEqual(noFileSettings);
  });

  it.each([
    ["true", "key"],
    ["false", "none"],
    ['"pinned"', "pinned"],
    ['"measured"', "measured"],
  ])("require_attested_hosts = %s is %s", (text, tier) => {
    expect(read(`[policy]\nrequire_attested_hosts = ${text}`).policy.require_attested_hosts).toBe(tier);
  });

  it.each([
    ["1", 1_000],
    ["1.5", 1_500],
    ['"1s"', 1_000],
    ['"60m"', 3_600_000],
    ['"1h"', 3_600_000],
    ["3600", 3_600_000],
  ])("a time of %s is %i ms", (text, ms) => {
    expect(read(`[attest]\nrefresh = ${text}`).attest.refresh).toBe(ms);
  });
});

describe("what is refused, with file, setting and what it takes", () => {
  it.each([
    [
      "[policy]\nrequire_attested_host = true",
      ["[policy]", "require_attested_host", "did you mean require_attested_hosts?"],
    ],
    ["[policy]\nallow-hosts = []", ["did you mean allow_hosts?"]],
    ["[policy]\ncolour = 1", ["[policy]", '"colour"', "it takes", "accept_unchallenged"]],
    ["[policy]\ninterval = 5", ["it belongs below [challenge]"]],
    ["[attest]\nrequire_encryption = true", ["it belongs below [policy] or [invite]"]],
    ["require_encryption = true", ["require_encryption belongs below [policy] or [invite]"]],
    ["[polcy]\n", ["did you mean [policy]?"]],
    ["[mesh]\njoin = 'a secret'", ["secrets do not stand in this file", "join_file"]],
    ["[engine]\nkey = 'a secret'", ["secrets do not stand in this file", "key_file"]],
    ["[api]\nkeys = ['a secret']", ["secrets do not stand in this file", "key_file"]],
    [
      "[colours]\n",
      [
        "there are [policy], [attest], [owner], [challenge], [models], [relay], [invite], [discovery], [telemetry], [hardening]",
        "and [engine]",
      ],
    ],
    ["policy = true", ["write [policy]"]],
    ["policy = 1979-05-27", ["write [policy]"]],
    ["invite = 1979-05-27T07:32:00Z", ["write [invite]"]],
    ["[[policy]]\nrequire_encryption = true", ["write [policy]"]],
    ["[__proto__]\nx = 1", ["there is no section"]],
    ["[policy]\nconstructor = 1", ['no setting "constructor"']],
    ['[policy]\n"a\\u001b[2Jb" = 1', ["no setting"]],
  ])("a name that is not known: %j", (text, parts) => {
    const message = complaint(() => read(text));
    for (const part of ["/etc/sealmesh/config.toml", ...parts]) expect(message).toContain(part);
    expect(message).not.toContain("\u001b");
  });

  it.each([
    [
      "policy",
      'require_attested_hosts = "none"',
      'true (which is "key"), false, or "key", "pinned", "vendor" or "measured"',
    ],
    ["policy", "require_attested_hosts = 1", '"vendor"'],
    ["policy", 'require_encryption = "true"', "true or false"],
    ["policy", `allow_hosts = "${id}"`, "a list of endpoint ids"],
    ["policy", "allow_hosts = []", "one at least"],
    ["policy", `allow_hosts = ["${id}", "${id.slice(2)}"]`, "64 lower-case hex digits"],
    ["policy", `allow_hosts = ["${id.toUpperCase()}"]`, "lower-case"],
    ["policy", "owners = []", "one at least"],
    ["policy", `keys = ["${id}"]`, "32 lower-case hex digits"],
    ["policy", 'roots = "maker.pem"', "a list of files"],
    ["policy", "roots = [1]", "a list of files"],
    ["policy", "evidence_max_age = 0", "from 1 s to 3600 s"],
    ["policy", 'evidence_max_age = "2h"', "from 1 s to 3600 s"],
    ["policy", 'evidence_max_age = "5 m"', '"90s", "5m" or "1h"'],
    ["policy", "evidence_max_age = nan", "from 1 s"],
    ["policy", "evidence_max_age = 1979-05-27", "from 1 s"],
    ["policy", "evidence_ahead = -1", "from 0 s to 300 s"],
    ["attest", "refresh = 0.5", "from 1 s"],
    ["attest", "refresh = inf", "from 1 s"],
    ["attest", 'tpm = ""', "not empty"],
    ["owner", "trust = []", "one at least"],
    ["owner", 'trust_policy = "on"', '"off", "prefer-owned", "require-owned" or "allowlist"'],
    ["challenge", "interval = 0", "from 1 s to 3600 s"],
    ["invite", "require_encryption = 1", "true or false"],
  ])("[%s] %s takes %s", (section, line, takes) => {
    const message = complaint(() => read(`[${section}]\n${line}`));
    const [name] = line.split(" ");
    for (const part of ["/etc/sealmesh/config.toml", `[${section}] ${name} takes`, takes])
      expect(message).toContain(part);
  });

  it("what is not TOML is refused with its line, and in one line", () => {
    const message = complaint(() => read("[policy]\nrequire_encryption = yes\n"));
    expect(message).toContain("config.toml, line 2");
    expect(message).not.toContain("\n");
    expect(complaint(() => read("[policy]\n[policy]\n"))).toContain("line 2");
  });

  it("no text gets through with anything but settings or a complaint", () => {
    const names = ["policy", "attest", "challenge", "invite", "refresh", "roots", "keys", "interval", "x"];
    const word = fc.oneof(
      fc.constantFrom(...names.map((name) => `[${name}]\n`), ...names.map((name) => `${name} = `), "\n"),
      fc.constantFrom("true\n", "5\n", '"5m"\n', "[]\n", `["${id}"]\n`, "{ a = 1 }\n", "nan\n", "\u0000", '"""', "["),
      fc.string({ unit: "binary", maxLength: 4 }),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), (words) => {
        try {
          expect(Object.keys(read(words.join("")))).toEqual(Object.keys(noFileSettings));
        } catch (thrown) {
          expect(isMeshError(thrown) && thrown.code).toBe("E_CONFIG");
        }
      }),
      { numRuns: runs },
    );
  });
});

describe("the file itself", () => {
  const file = (name: string, text: string | Uint8Array, mode = 0o600): string => {
    const path = join(folder, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  };

  const inFolder = (name: string, mode: number): string => {
    mkdirSync(join(folder, name));
    const path = file(join(name, "config.toml"), "");
    chmodSync(join(folder, name), mode);
    return path;
  };

  it("may be read by others", () => {
    expect(readConfigFile(file("fine", "[attest]\nsoftware = true\n", 0o644)).attest.software).toBe(true);
  });

  it.skipIf(process.platform === "win32").each([0o620, 0o602, 0o666])("with mode %o is refused", (mode) => {
    const path = file("wide", "", mode);
    expect(complaint(() => readConfigFile(path))).toContain(`chmod go-w '${path}'`);
  });

  it.skipIf(process.platform === "win32")("the command that mends a mode is one word of path, whatever it is", () => {
    const path = file("it's $HOME; a file", "", 0o666);
    const said = complaint(() => readConfigFile(path));
    execFileSync("/bin/sh", ["-c", said.slice(said.indexOf("chmod"))]);
    expect(statSync(path).mode & 0o777).toBe(0o644);
  });

  it.runIf(process.getuid?.() === 0)(
    "of another user than root and us is refused, and in a folder of such a one",
    () => {
      const path = file("theirs", "");
      chownSync(path, 4_711, 4_711);
      expect(complaint(() => readConfigFile(path))).toContain("belongs to user 4711");
      const inside = inFolder("their-folder", 0o755);
      chownSync(join(folder, "their-folder"), 4_711, 4_711);
      expect(complaint(() => readConfigFile(inside))).toContain("belongs to user 4711");
    },
  );

  it.skipIf(process.platform === "win32")("in a folder that others can write to is refused, also behind a link", () => {
    const path = inFolder("open", 0o777);
    expect(complaint(() => readConfigFile(path))).toContain(`chmod go-w '${join(folder, "open")}'`);
    symlinkSync(path, join(folder, "link.toml"));
    expect(complaint(() => readConfigFile(join(folder, "link.toml")))).toContain(join(folder, "open"));
    // as /tmp is: what is ours there, others cannot replace
    expect(complaint(() => readConfigFile(inFolder("sticky", 0o1777)))).toBe("no complaint");
  });

  it("must be there, a file, of some size at most, and text", () => {
    expect(complaint(() => readConfigFile(join(folder, "none")))).toContain("ENOENT");
    mkdirSync(join(folder, "directory"));
    expect(complaint(() => readConfigFile(join(folder, "directory")))).toMatch(/is no file|EISDIR/);
    expect(complaint(() => readConfigFile(file("large", "#".repeat(70_000))))).toContain("more than 65536 bytes");
    expect(complaint(() => readConfigFile(file("bytes", Uint8Array.of(0x23, 0xff))))).toContain("UTF-8");
  });
});

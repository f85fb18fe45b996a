/** `sealmesh service`: units that systemd takes, without a secret in them, and what installing does, below another root. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isMeshError } from "../../../src/base/errors.ts";
import { install, type InstallOptions, uninstall, unitFile, unitFor } from "../../../src/cli/service/install.ts";
import { launchdAgent } from "../../../src/cli/service/launchd.ts";
import { servicePlan } from "../../../src/cli/service/plan.ts";
import { systemdUnit } from "../../../src/cli/service/systemd.ts";
import { complaintsAbout, standInSystemctl, systemdAnalyzeMissing } from "../../support/systemd.ts";

let folder = "";
let root = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sealmesh-service-"));
  root = join(folder, "root");
  mkdirSync(join(root, "run/systemd/system"), { recursive: true });
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

// what systemd looks for must be there
const program = [process.execPath, "/usr/bin/env"];
const secret = "invite-that-nobody-may-read";

function options(over: Partial<InstallOptions> = {}): InstallOptions & { said: string[] } {
  const said: string[] = [];
  const say = (sentence: string): number => said.push(sentence);
  return { scope: "user", root, configHome: "/home/me/.config", words: [], program, live: true, say, said, ...over };
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    if (isMeshError(thrown)) return `${thrown.code} ${thrown.message}`;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

describe("a plan", () => {
  it("is the command with absolute paths, and without its secrets", () => {
    const words = [
      "client",
      "--join",
      secret,
      "--api-key-file=keys",
      "--config",
      "node.toml",
      "--route",
      "relay",
      "--trust-roots",
      "/m.pem",
    ];
    const { mode, words: kept, credentials } = servicePlan(words);
    expect(mode).toBe("client");
    expect(kept).toEqual([
      "client",
      "--config",
      join(process.cwd(), "node.toml"),
      "--route",
      "relay",
      "--trust-roots",
      "/m.pem",
    ]);
    expect(credentials).toEqual([
      { name: "join", flag: "--join", from: { kind: "text", text: secret } },
      { name: "api-keys", flag: "--api-key-file", from: { kind: "file", path: join(process.cwd(), "keys") } },
    ]);
    expect(JSON.stringify(kept)).not.toContain(secret);
  });

  it("is `serve` where nothing is said, and leaves addresses as they are", () => {
    expect(servicePlan([])).toEqual({ mode: "serve", words: ["serve"], credentials: [], paths: [] });
    const words = ["serve", "--engine", "http://a/v1", "--allow-builds", "https://a/list", "--config", "none"];
    expect(servicePlan(words).words).toEqual(words);
  });

  it.each([
    [["status"], "runs serve, client or relay"],
    [["serve", "--modle", "m"], "Did you mean --model?"],
    [["client", "--stop-with-stdin"], "has no stdin"],
    [["client", "--join", "a", "--join-file", "b"], "one join"],
    [["client", "--join"], "argument missing"],
    [["client", "extra"], "too many arguments"],
  ])("%j is refused: %s", (words, says) => {
    const refused = refusal(() => servicePlan(words));
    expect(refused).toMatch(/^E_USAGE /);
    expect(refused).toContain(says);
  });
});

describe("a unit of systemd", () => {
  const unit = (scope: "user" | "system", words: readonly string[] = ["serve"]): string =>
    systemdUnit({
      scope,
      program,
      plan: servicePlan(words),
      credentials: [{ name: "join", path: "/c/100%/join" }],
      groups: ["tss"],
    });

  it("keeps a node up, ends it in time, and gives it nothing that it does not need", () => {
    for (const line of [
      "Type=exec",
      "Restart=on-failure",
      "TimeoutStopSec=45",
      "DynamicUser=yes",
      "StateDirectory=sealmesh",
      "LoadCredential=join:/c/100%%/join",
      "SupplementaryGroups=tss",
      "NoNewPrivileges=yes",
      "ProtectSystem=strict",
      "ProtectHome=yes",
      "PrivateTmp=yes",
      "LimitCORE=0",
      "DeviceAllow=/dev/tpmrm0 rw",
      "WantedBy=multi-user.target",
    ]) {
      expect(unit("system").split("\n")).toContain(line);
    }
    expect(unit("system")).not.toMatch(/^MemoryDenyWriteExecute/m);
    expect(unit("user")).not.toMatch(/^(DynamicUser|ProtectSystem|SupplementaryGroups)/m);
    expect(unit("user")).toContain("WantedBy=default.target");
  });

  it.skipIf(systemdAnalyzeMissing !== undefined).each(["user", "system"] as const)(
    "is understood by systemd, with any name: %s",
    (scope) => {
      // the checker knows the groups and users of this machine alone
      const plain = systemdUnit({
        scope,
        program,
        plan: servicePlan(["client", "--name", 'a "b" $HOME 100% \\ c', "--route", "auto"]),
        credentials: [{ name: "join", path: "/etc/x/join" }],
        groups: [],
      });
      expect(complaintsAbout(plain, scope, folder)).toBe("");
      expect(complaintsAbout(plain.replace("Restart=on-failure", "Restart=sometimes"), scope, folder)).toContain(
        "sometimes",
      );
    },
  );
});

describe("installing", () => {
  it("writes secret and unit, tells systemd, and says each thing", () => {
    const systemctl = standInSystemctl(folder);
    vi.stubEnv("PATH", `${systemctl.folder}:${process.env["PATH"]}`);
    const given = options({ words: ["client", "--join", secret] });
    install(given);
    const unit = readFileSync(unitFile(given), "utf8");
    const stored = join(root, "home/me/.config/sealmesh/credentials/join");
    expect(readFileSync(stored, "utf8")).toBe(`${secret}\n`);
    expect(statSync(stored).mode & 0o777).toBe(0o600);
    expect(unit).toContain("LoadCredential=join:/home/me/.config/sealmesh/credentials/join");
    expect(unit).not.toContain(secret);
    expect(systemctl.calls()).toEqual([
      "--user daemon-reload",
      "--user enable sealmesh.service",
      "--user restart sealmesh.service",
    ]);
    expect(given.said).toEqual([
      `wrote ${stored} (0600), from --join`,
      `wrote ${unitFile(given)}`,
      "ran systemctl --user daemon-reload",
      "ran systemctl --user enable sealmesh.service",
      "ran systemctl --user restart sealmesh.service",
      "it ends when this user logs out, unless: loginctl enable-linger",
    ]);
    // other flags, and the invite stays
    const again = options({ words: ["client", "--route", "relay"] });
    install(again);
    expect(readFileSync(unitFile(given), "utf8")).toMatch(/--route relay[\s\S]*LoadCredential=join:/);
    expect(again.said[0]).toBe(`replaced ${unitFile(given)}`);
  });

  it("lets go of secrets whose flag is not given anew: a key without its certificate ends each start", () => {
    const keys = join(folder, "some-keys");
    writeFileSync(keys, "0123456789abcdef\n");
    install(options({ words: ["client", "--join", secret, "--api-key-file", keys], live: false }));
    const stored = join(root, "home/me/.config/sealmesh/credentials/api-keys");
    expect(readFileSync(stored, "utf8")).toContain("0123456789abcdef");
    const again = options({ words: ["client"], live: false });
    install(again);
    expect(again.said).toContain(`removed ${stored}: it was not given anew`);
    expect(existsSync(stored)).toBe(false);
    expect(readFileSync(unitFile(again), "utf8").match(/^LoadCredential=.*$/gm)).toHaveLength(1);
  });

  it("closes the folder of secrets and none above it, which the service's own user must look into", () => {
    const fresh = join(folder, "image");
    const words = ["client", "--join", secret];
    install(
      options({ scope: "system", root: fresh, words, live: false, program: ["/usr/bin/node", "/usr/lib/main.js"] }),
    );
    const mode = (path: string): number => statSync(join(fresh, path)).mode & 0o777;
    expect([mode("etc"), mode("etc/sealmesh"), mode("etc/sealmesh/credentials")]).toEqual([0o755, 0o755, 0o700]);
  });

  it("removes what it wrote, and nothing else", () => {
    const systemctl = standInSystemctl(folder);
    vi.stubEnv("PATH", `${systemctl.folder}:${process.env["PATH"]}`);
    const given = options({ words: ["client", "--join", secret] });
    install(given);
    const settings = join(root, "home/me/.config/sealmesh/config.toml");
    writeFileSync(settings, "");
    const gone = options();
    expect(uninstall(gone)).toBe(true);
    expect(gone.said).toEqual([
      "ran systemctl --user disable --now sealmesh.service",
      `removed ${unitFile(given)}`,
      `removed ${join(root, "home/me/.config/sealmesh/credentials/join")}`,
      "ran systemctl --user daemon-reload",
    ]);
    expect(statSync(settings).isFile()).toBe(true);
  });

  it("copies files with secrets, and says which flag's cannot be read", () => {
    const keys = join(folder, "keys");
    writeFileSync(keys, "0123456789abcdef\n");
    const given = options({ words: ["client", "--api-key-file", keys], live: false });
    install(given);
    expect(readFileSync(join(root, "home/me/.config/sealmesh/credentials/api-keys"), "utf8")).toBe(
      "0123456789abcdef\n",
    );
    const missing = options({ words: ["client", "--join-file", join(folder, "nowhere")], live: false });
    expect(refusal(() => install(missing))).toMatch(/^E_CONFIG --join-file/);
  });

  it("refuses what a service of the machine could not see", () => {
    const homely = { scope: "system" as const, live: false };
    const model = options({ ...homely, words: ["serve", "--model", "/home/me/m.gguf"] });
    expect(refusal(() => unitFor(model))).toContain("cannot see /home/me/m.gguf");
    const own = options({ ...homely, program: ["/home/me/.nvm/node", "/usr/lib/main.js"] });
    expect(refusal(() => unitFor(own))).toContain("for all users");
    const data = options({ ...homely, words: ["serve", "--data-dir", "/srv/x"] });
    expect(refusal(() => unitFor(data))).toContain("/var/lib/sealmesh");
  });

  it.each(["https://example.org/m.gguf?signature=sesame", "https://u:sesame@example.org/m.gguf"])(
    "refuses %s, which everybody could read in the unit",
    (model) => {
      const said = refusal(() => unitFor(options({ words: ["serve", "--model", model] })));
      expect(said).toContain("E_USAGE");
      expect(said).not.toContain("sesame");
    },
  );

  it("takes the groups that are there, so that the service can start", () => {
    mkdirSync(join(root, "etc"), { recursive: true });
    writeFileSync(join(root, "etc/group"), "root:x:0:\nvideo:x:44:\ntss:x:111:\n");
    const { unit } = unitFor(options({ scope: "system", live: false }));
    expect(unit).toContain("SupplementaryGroups=tss video\n");
  });

  it("says what systemctl said when it fails, and that there is no systemd", () => {
    const systemctl = standInSystemctl(folder, "enable");
    vi.stubEnv("PATH", `${systemctl.folder}:${process.env["PATH"]}`);
    expect(refusal(() => install(options()))).toBe(
      "E_STATE `systemctl --user enable sealmesh.service` failed: Unit is masked.",
    );
    rmSync(join(root, "run"), { recursive: true });
    const without = options({ words: ["client", "--join", secret] });
    expect(refusal(() => install(without))).toMatch(/^E_CONFIG this machine has no systemd/);
    // and nothing was written before that was known
    expect(without.said).toEqual([]);
    expect(uninstall({ ...options(), live: false, root: join(folder, "empty") })).toBe(false);
  });
});

describe("an agent of launchd", () => {
  it("is XML with every word by itself, and no secret", () => {
    const plan = servicePlan(["client", "--name", "a & <b>"]);
    const agent = launchdAgent({ program, plan, secrets: [{ flag: "--join-file", path: "/i" }], logs: "/l" });
    const words = [...agent.matchAll(/^ {4}<string>(.*)<\/string>$/gm)].map(([, word]) => word);
    expect(words).toEqual([...program, "client", "--name", "a &amp; &lt;b&gt;", "--join-file", "/i"]);
    for (const part of ["<key>KeepAlive</key>", "<string>Background</string>", "Not yet run on hardware"])
      expect(agent).toContain(part);
  });
});

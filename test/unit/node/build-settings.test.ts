/** Settings of known builds: whose lists count, where they are, and what ends the start. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, it, vi } from "vitest";
import { fromHex, toBase64 } from "../../../src/base/bytes.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { keyText, secretFrom, secretText } from "../../../src/node/build-settings.ts";
import { type Flags, type PolicySettings, resolveConfig } from "../../../src/node/config.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-build-settings-"));
afterEach(() => vi.unstubAllEnvs());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const key = "ab".repeat(32);
const other = "cd".repeat(32);
let files = 0;
function file(text: string): string {
  files += 1;
  const path = join(folder, String(files));
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
const settings = (flags: Flags): PolicySettings["builds"] => resolveConfig("client", flags).policy.builds;
function refusal(flags: Flags): string {
  try {
    settings(flags);
  } catch (thrown) {
    if (isMeshError(thrown)) return `${thrown.code} ${thrown.message}`;
    throw thrown;
  }
  return "taken";
}

it("nothing is set by default", () => {
  expect(settings({})).toBeUndefined();
});

it("keys are hex, base64, or files with either, each once", () => {
  const path = file(`${keyText(other)}\n# mine\n${key}\n`);
  const buildKeys = [key, toBase64(fromHex(key)), path];
  expect(settings({ buildKeys })).toEqual({ sources: undefined, keys: [key, other], sigstore: undefined });
});

it("lists are files, or addresses that nobody on the way can change", () => {
  const allowBuilds = ["builds.txt", "https://example.org/builds.txt", "http://127.0.0.1:8080/b", "http://[::1]:80/b"];
  expect(settings({ allowBuilds, buildKeys: [key] })?.sources).toEqual([
    { kind: "file", path: join(process.cwd(), "builds.txt") },
    { kind: "url", url: "https://example.org/builds.txt" },
    { kind: "url", url: "http://127.0.0.1:8080/b" },
    { kind: "url", url: "http://[::1]/b" },
  ]);
});

it("the configuration file has the same, from its folder on, and flags and variables win", () => {
  file(keyText(key));
  const config = file(
    `[policy]\nallow_builds = ["l.txt", "https://example.org/b"]\nbuild_keys = ["${files}", "${other}"]\n`,
  );
  const fromFile = settings({ config });
  expect(fromFile?.keys).toEqual([key, other]);
  expect(fromFile?.sources?.[0]).toEqual({ kind: "file", path: join(folder, "l.txt") });
  expect(settings({ config, allowBuilds: ["https://other.example/"] })?.sources).toHaveLength(1);
  vi.stubEnv("SEALMESH_ALLOW_BUILDS", "https://a.example/ https://b.example/ https://c.example/");
  vi.stubEnv("SEALMESH_BUILD_KEYS", key);
  expect(settings({ config })).toMatchObject({ keys: [key], sources: [{}, {}, {}] });
});

it("a Sigstore identity is whole, and comes with its issuer and root", () => {
  const root = file("{}");
  const identity = "https://github.com/me/sealmesh/.github/workflows/release.yml@refs/tags/*";
  const lines = [
    `sigstore_root = "${root}"`,
    'sigstore_issuer = "https://i.example"',
    `sigstore_identity = "${identity}"`,
  ];
  const withLines = (...some: readonly string[]): Flags => ({ config: file(`[policy]\n${some.join("\n")}\n`) });
  expect(settings(withLines(...lines))?.sigstore).toEqual({ trustedRoot: "{}", issuer: "https://i.example", identity });
  for (const line of lines) {
    expect(refusal(withLines(...lines.filter((one) => one !== line)))).toContain("belong together");
  }
  for (const bad of ["*", "https:*", "https://*.example/release.yml"]) {
    const [first = "", second = ""] = lines;
    expect(refusal(withLines(first, second, `sigstore_identity = "${bad}"`)), bad).toContain("takes one identity");
  }
});

it.each<[string, () => Flags, string]>([
  ["lists without a signer", () => ({ allowBuilds: ["l.txt"] }), "E_CONFIG --allow-builds: there is nobody whose"],
  ["plain http", () => ({ allowBuilds: ["http://example.org/b"], buildKeys: [key] }), "E_CONFIG --allow-builds takes"],
  [
    "another scheme",
    () => ({ allowBuilds: ["ftp://example.org/b"], buildKeys: [key] }),
    "E_CONFIG --allow-builds takes",
  ],
  ["a password", () => ({ allowBuilds: ["https://a:b@example.org/b"], buildKeys: [key] }), "user name or password"],
  ["a file that is missing", () => ({ buildKeys: [join(folder, "none")] }), "E_CONFIG --build-keys: "],
  ["a file without keys", () => ({ buildKeys: [file("# none\n")] }), "holds no key"],
  ["a file with something else", () => ({ buildKeys: [file("hello")] }), "E_CONFIG --build-keys takes keys"],
  ["the secret half", () => ({ buildKeys: [file(secretText(fromHex(key)))] }), "is the secret half"],
  [
    "too many signers",
    () => ({ buildKeys: Array.from({ length: 5 }, (_, at) => String(at).repeat(64)) }),
    "at most 4 signers",
  ],
  ["an empty list", () => ({ config: file("[policy]\nallow_builds = []\n") }), "one at least"],
  ["no list", () => ({ config: file('[policy]\nbuild_keys = "abc"\n') }), "build_keys takes a list"],
])("%s ends the start", (_what, flags, why) => {
  expect(refusal(flags())).toContain(why);
});

it("a secret key is read as it was written, and from nothing else", () => {
  const seed = fromHex(key);
  expect(secretFrom(secretText(seed), "f").seed).toEqual(seed);
  for (const text of ["", key, keyText(key), "sealmesh-builds-secret:abc"]) {
    expect(() => secretFrom(text, "f")).toThrow("f holds no secret key of `sealmesh builds keygen`");
  }
});

/** `sealmesh builds`: keys and lists that it makes, what it says of them, and what it refuses. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { isMeshError } from "../../../src/base/errors.ts";
import { builds } from "../../../src/cli/commands/builds.ts";
import { readBuildListFile } from "../../../src/node/build-lists.ts";
import { decodeBuildList, decodeSignedBuildList } from "../../../src/wire/builds.ts";
import { digestA, digestB, listed, listKey, listOf, signedListText } from "../../support/build-lists.ts";
import { identity, issuer, sigstoreWorld } from "../../support/sigstore.ts";
import { type Printed, runGroup } from "../../support/run-group.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sealmesh-builds-cli-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const at = (name: string): string => join(folder, name);
function made(name: string, content: string | object | Uint8Array): string {
  const text = typeof content === "string" || content instanceof Uint8Array ? content : JSON.stringify(content);
  writeFileSync(at(name), text, { mode: 0o600 });
  return at(name);
}

type Told = Omit<Printed, "code"> & { readonly code: number | string };

/** What `sealmesh builds <words>` prints; the code of an error in place of the exit code. */
async function run(...words: readonly string[]): Promise<Told> {
  const printed = { out: "", notes: "" };
  try {
    return await runGroup(builds, words, printed);
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
    return { ...printed, code: thrown.code, notes: printed.notes + thrown.message };
  }
}

const list = (file: string): ReturnType<typeof decodeBuildList> =>
  decodeBuildList(decodeSignedBuildList(readBuildListFile(file)).signed);
const measured = (build: string): object => ({
  build,
  runtime: digestB,
  version: "1.2.3",
  platform: "linux-x64",
  problems: [],
});

describe("from a key to a list that nodes take", () => {
  beforeEach(async () => {
    await run("keygen", at("builds.key"));
  });

  it("a key: the secret half for its owner alone, the other for nodes, and never twice", async () => {
    expect(statSync(at("builds.key")).mode & 0o777).toBe(0o600);
    const again = await run("keygen", at("builds.key"));
    expect([again.code, again.notes]).toEqual(["E_INPUT", `${at("builds.key")} is there already; remove it first`]);
    const { out } = await run("keygen", at("other.key"), "--json");
    const { key } = JSON.parse(out) as { key: string };
    expect(readFileSync(at("other.key.pub"), "utf8")).toContain(`sealmesh-builds-key:${key}\n`);
    expect(readFileSync(at("other.key"), "utf8")).not.toContain(key);
    expect(out).not.toContain(/secret:([0-9a-f]+)/.exec(readFileSync(at("other.key"), "utf8"))?.[1]);
  });

  it("a list with a measured build, checked with the public half", async () => {
    const words = ["--accept", made("m.json", measured(digestA)), "--key", at("builds.key"), "--out", at("l.txt")];
    const { code, notes } = await run("sign", ...words, "--expires", "30d", "--note", "spring");
    expect(code).toBe(0);
    expect(notes).toMatch(/^wrote list [0-9]+ with 1 builds to /);
    const { builds: held, note, expiresMs, notBeforeMs } = list(at("l.txt"));
    expect(held).toEqual([listed(digestA)]);
    expect([note, expiresMs - notBeforeMs]).toEqual(["spring", 30 * 86_400_000]);
    const checked = await run("verify", at("l.txt"), "--build-keys", at("builds.key.pub"));
    expect(checked.code).toBe(0);
    expect(checked.out).toMatch(/^signed by [0-9a-f]{64}\nin force: from /);
  });

  it("a build is taken back, and the list goes on from the one before", async () => {
    const all = made("l.json", { builds: [listed(digestA), listed(digestB)].map(asJson), note: "n" });
    await run("sign", all, "--key", at("builds.key"), "--out", at("l.txt"));
    const before = list(at("l.txt"));
    const unknown = "c3".repeat(32);
    const words = ["--revoke", digestA, "--revoke", unknown, "--key", at("builds.key"), "--out", at("l.txt")];
    expect((await run("sign", at("l.txt"), ...words)).code).toBe(0);
    const after = list(at("l.txt"));
    expect(after.seq).toBeGreaterThan(before.seq);
    expect(after.builds.map(({ digest, revoked }) => [digest, revoked])).toEqual([
      [digestA, true],
      [digestB, false],
      [unknown, true],
    ]);
    expect(after.note).toBe("n");
    const shown = await run("show", at("l.txt"));
    expect(shown.out).toMatch(new RegExp(`${digestA} +1.2.3 +linux-x64 +revoked`));
    expect(JSON.parse((await run("show", at("l.txt"), "--json")).out)).toMatchObject({
      seq: String(after.seq),
      note: "n",
    });
  });

  it("without --out the list is data on stdout", async () => {
    const { out } = await run("sign", "--revoke", digestA, "--key", at("builds.key"));
    expect(list(made("piped.txt", out)).builds).toMatchObject([{ digest: digestA, revoked: true }]);
  });

  it("a Sigstore bundle in place of a key", async () => {
    const world = await sigstoreWorld();
    await run("sign", "--revoke", digestA, "--to-sign", at("l.bin"));
    made("b.json", await world.bundle(readFileSync(at("l.bin"))));
    expect((await run("sign", at("l.bin"), "--bundle", at("b.json"), "--out", at("l.txt"))).code).toBe(0);
    const given = ["--sigstore-root", made("root.json", world.root), "--sigstore-issuer", issuer];
    const checked = await run("verify", at("l.txt"), ...given, "--sigstore-identity", identity);
    expect([checked.code, checked.out]).toEqual([
      0,
      expect.stringContaining(`signed by sigstore ${issuer} ${identity}`),
    ]);
    const other = await run("verify", at("l.txt"), ...given, "--sigstore-identity", `${identity}.1`);
    expect([other.code, other.out]).toEqual([
      77,
      "Its signature does not hold. (the certificate names another identity)\n",
    ]);
  });

  it.each<[string, () => readonly string[], string]>([
    ["no key", () => ["sign", "--revoke", digestA], "E_USAGE"],
    ["the public half", () => ["sign", "--revoke", digestA, "--key", at("builds.key.pub")], "E_INPUT"],
    ["nothing to list", () => ["sign", "--key", at("builds.key")], "E_USAGE"],
    ["a digest that is none", () => ["sign", "--revoke", "abc", "--key", at("builds.key")], "E_INPUT"],
    [
      "an installation that could not be measured",
      () => {
        const bad = made("m.json", { ...measured(digestA), problems: ["a file is missing"] });
        return ["sign", "--accept", bad, "--key", at("builds.key")];
      },
      "E_INPUT",
    ],
    ["another document", () => ["sign", "--accept", made("m.json", {}), "--key", at("builds.key")], "E_INPUT"],
    ["a list that is none", () => ["sign", made("l.json", "[]"), "--key", at("builds.key")], "E_INPUT"],
    [
      "a misspelt member",
      () => [
        "sign",
        made("l.json", { builds: [{ ...asJson(listed(digestA)), expire: "x" }] }),
        "--key",
        at("builds.key"),
      ],
      "E_INPUT",
    ],
    [
      "an end before the beginning",
      () => ["sign", "--revoke", digestA, "--key", at("builds.key"), "--expires", "0d"],
      "E_WIRE",
    ],
    [
      "a time that is none",
      () => ["sign", "--revoke", digestA, "--key", at("builds.key"), "--expires", "soon"],
      "E_INPUT",
    ],
    ["other bytes to a bundle", () => ["sign", made("x", "x"), "--bundle", made("b", "{}")], "E_INPUT"],
    ["a bundle alone", () => ["sign", "--bundle", made("b", "{}")], "E_USAGE"],
  ])("signs nothing for %s", async (_what, words, code) => {
    expect((await run(...words())).code).toBe(code);
  });

  it("a number below that of the list to go on from is refused", async () => {
    const key = at("builds.key");
    await run("sign", "--revoke", digestA, "--key", key, "--seq", "7", "--out", at("l.txt"));
    expect((await run("sign", at("l.txt"), "--key", key, "--seq", "7")).code).toBe("E_USAGE");
    expect(list(at("l.txt")).seq).toBe(7n);
  });
});

describe("verify", () => {
  const key = listKey();
  const verify = async (text: string, ...more: readonly string[]): Promise<Told> =>
    await run("verify", made("l.txt", text), "--build-keys", key.id, ...more);

  it("ends with 77 for a stranger's list, a changed one, and one that does not hold now", async () => {
    expect(await verify(signedListText(listKey(), listOf([])))).toMatchObject({
      code: 77,
      out: expect.stringMatching(
        /^It is signed by a key or an identity that you do not trust\. \(the key is [0-9a-f]{64}\)/,
      ),
    });
    const good = signedListText(key, listOf([]));
    expect((await verify(good)).code).toBe(0);
    expect(await verify(good, "--at", "2020-01-01T00:00:00Z", "--json")).toMatchObject({ code: 77 });
    const later = await verify(good, "--at", "2999-01-01T00:00:00Z");
    expect([later.code, later.out]).toEqual([77, expect.stringContaining("expired: from ")]);
  });

  it("needs to know who may have signed", async () => {
    expect((await run("verify", made("l.txt", signedListText(key, listOf([]))))).code).toBe("E_USAGE");
  });
});

function asJson({ version, platform, digest }: ReturnType<typeof listed>): object {
  return { version, platform, digest };
}

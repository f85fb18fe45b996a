/** `sealmesh owner`: what each word does to the files of a directory, what it prints, and what it refuses. */
import { EventEmitter } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { isMeshError } from "../../../src/base/errors.ts";
import { owner } from "../../../src/cli/commands/owner.ts";
import { askNewPassphrase, askPassphrase, type Terminal } from "../../../src/cli/passphrase.ts";
import { identityFrom } from "../../../src/crypto/identity.ts";
import { openClaimFile } from "../../../src/node/owner-claim.ts";
import { readOwnerKey } from "../../../src/node/owner-key.ts";
import { openState } from "../../../src/node/state.ts";
import { judgeOwner, noOwnerTrust } from "../../../src/policy/owners.ts";
import { encodeOwnership } from "../../../src/wire/ownership.ts";
import { codeOf, rejectsWith } from "../../support/expect-code.ts";
import { jsonOf, type Printed, runGroup } from "../../support/run-group.ts";

const dayMs = 86_400_000;
const other = endpointId("cd".repeat(32));
const ownerId = "ab".repeat(32);

let folder: string;
let directory: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sealmesh-owner-"));
  directory = join(folder, "state");
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...words: readonly string[]): Promise<Printed> => runGroup(owner, [...words, "--data-dir", directory]);

async function json<T>(...words: readonly string[]): Promise<T> {
  return jsonOf<T>(await run(...words, "--json"));
}

async function refusal(...words: readonly string[]): Promise<string> {
  try {
    await run(...words);
  } catch (thrown) {
    if (isMeshError(thrown)) return `${thrown.code} ${thrown.message}`;
    throw thrown;
  }
  return "nothing was refused";
}

/** A node that has run here. */
function withNode(): EndpointId {
  const state = openState(directory);
  state.close();
  return identityFrom(state.identitySeed).id;
}

const claimHere = (): ReturnType<typeof openClaimFile>["book"] => openClaimFile(directory).book;

it("has its commands in the order in which they are needed", () => {
  expect(owner.commands.map(({ name }) => name)).toEqual(["init", "sign-node", "install", "trust", "revoke", "status"]);
});

describe("init", () => {
  it("makes a key that only we can read, without a passphrase where that is said", async () => {
    const made = await json<{ owner_id: string; file: string; passphrase: boolean }>("init", "--no-passphrase");
    expect(made).toEqual({ owner_id: made.owner_id, file: join(directory, "owner-key.json"), passphrase: false });
    expect(readOwnerKey(made.file)?.ownerId).toBe(made.owner_id);
    if (process.platform !== "win32") expect(statSync(made.file).mode & 0o777).toBe(0o600);
  });

  it("puts it under the passphrase of a file, at a place of our choice", async () => {
    const [file, passphraseFile] = [join(folder, "k.json"), join(folder, "passphrase")];
    writeFileSync(passphraseFile, "correct horse battery\n");
    await run("init", "--owner-key", file, "--passphrase-file", passphraseFile);
    expect(readOwnerKey(file)?.protection.kind).toBe("passphrase");
    expect(readFileSync(file, "utf8")).not.toContain("correct horse");
    expect(existsSync(directory)).toBe(false);
  });

  it("never replaces a key", async () => {
    await run("init", "--no-passphrase");
    const before = readFileSync(join(directory, "owner-key.json"), "utf8");
    expect(await refusal("init", "--no-passphrase")).toMatch(/^E_INPUT .*owner-key.json is there already/);
    expect(readFileSync(join(directory, "owner-key.json"), "utf8")).toBe(before);
  });

  it("refuses a short passphrase, one that nobody can type, and two wishes at once", async () => {
    const passphraseFile = join(folder, "passphrase");
    writeFileSync(passphraseFile, "short\n");
    expect(await refusal("init", "--passphrase-file", passphraseFile)).toMatch(/^E_USAGE .*12 characters/);
    expect(await refusal("init")).toMatch(/^E_USAGE .*no terminal/);
    expect(await refusal("init", "--no-passphrase", "--passphrase-file", passphraseFile)).toMatch(/^E_USAGE/);
    expect(existsSync(join(directory, "owner-key.json"))).toBe(false);
  });
});

describe("sign-node", () => {
  it("signs for this machine's node, and installs that", async () => {
    const node = withNode();
    const { owner_id: id } = await json<{ owner_id: string }>("init", "--no-passphrase");
    const { notes, out } = await run("sign-node", "--label", "rack 4");
    expect(out).toBe("");
    expect(notes).toContain(`node ${node} is owned by ${id} for 7 days`);
    const signed = claimHere();
    const verdict = judgeOwner(signed && encodeOwnership(signed), node, noOwnerTrust, Date.now());
    expect([verdict.status, verdict.owner, verdict.claim?.nodeLabel]).toEqual(["verified", id, "rack 4"]);
    expect(Number(verdict.claim?.expiresAtMs) - Number(verdict.claim?.issuedAtMs)).toBe(7 * dayMs);
  });

  it("signs for another node, prints that, and leaves this one's claim alone", async () => {
    withNode();
    await run("init", "--no-passphrase");
    const { out } = await run("sign-node", other, "--days", "30");
    const printed = JSON.parse(out) as Record<string, unknown>;
    expect(printed).toMatchObject({ version: 1, node_endpoint_id: other });
    expect(Number(printed["expires_at_unix_ms"]) - Number(printed["issued_at_unix_ms"])).toBe(30 * dayMs);
    expect(printed).not.toHaveProperty("hostname_hint");
    expect(claimHere()).toBeUndefined();
  });

  it("signs with a passphrase", async () => {
    withNode();
    const [good, bad] = [join(folder, "good"), join(folder, "bad")];
    writeFileSync(good, "correct horse battery\n");
    writeFileSync(bad, "correct horse batterz\n");
    await run("init", "--passphrase-file", good);
    expect(await refusal("sign-node", "--passphrase-file", bad)).toMatch(/^E_INPUT .*passphrase does not open it/);
    expect(claimHere()).toBeUndefined();
    await run("sign-node", "--passphrase-file", good);
    expect(claimHere()).toBeDefined();
  });

  it.each([
    [["sign-node", "abcd"], /^E_USAGE .*whole/],
    [["sign-node", other, "--days", "0"], /^E_USAGE --days/],
    [["sign-node", other, "--days", "367"], /^E_USAGE --days/],
    [["sign-node", other, "--label", "\u001b[2J"], /^E_USAGE --label/],
    [["sign-node"], /^E_INPUT no node has run/],
    [["sign-node", other], /^E_INPUT there is no owner's key/],
  ])("%j is refused", async (words, why) => {
    expect(await refusal(...words)).toMatch(why);
  });
});

describe("install", () => {
  it("takes a claim that was signed on another machine", async () => {
    const [here, away] = [directory, join(folder, "away")];
    const node = withNode();
    directory = away;
    const { owner_id: id } = await json<{ owner_id: string }>("init", "--no-passphrase");
    const file = join(folder, "claim.json");
    await run("sign-node", node, "--out", file);
    directory = here;
    const { notes } = await run("install", file);
    expect(notes).toContain(id);
    expect(claimHere()?.claim.node).toBe(node);
  });

  it("refuses what is for another node, was changed, has expired, or is no claim, and leaves the old one", async () => {
    const node = withNode();
    await run("init", "--no-passphrase");
    await run("sign-node");
    const before = claimHere();
    const file = join(folder, "claim.json");
    await run("sign-node", other, "--out", file);
    expect(await refusal("install", file)).toMatch(/^E_INPUT .*for another node/);
    await run("sign-node", node, "--out", file);
    const good = readFileSync(file, "utf8");
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(good) as object), node_label: "changed" }));
    expect(await refusal("install", file)).toMatch(/^E_INPUT .*not signed by the owner/);
    writeFileSync(file, good);
    vi.useFakeTimers({ now: Date.now() + 8 * dayMs, toFake: ["Date"] });
    expect(await refusal("install", file)).toMatch(/^E_INPUT .*has expired/);
    vi.useRealTimers();
    writeFileSync(file, "{}");
    expect(await refusal("install", file)).toMatch(/^E_INPUT .*no claim/);
    expect(claimHere()).toEqual(before);
  });
});

describe("trust and revoke", () => {
  it.each([
    ["trusted_owners", ["trust", ownerId], ownerId],
    ["revoked_owners", ["revoke", "owner", ownerId], ownerId],
    ["revoked_certs", ["revoke", "cert", "ef".repeat(16)], "ef".repeat(16)],
    ["revoked_nodes", ["revoke", "node", other], other],
  ])("%s", async (list, words, id) => {
    expect(await json(...words)).toMatchObject({ changed: true, [list]: [id] });
    expect(await json(...words)).toMatchObject({ changed: false, [list]: [id] });
    expect(await json(...words, "--undo")).toMatchObject({ changed: true, [list]: [] });
  });

  it.each([
    [["trust", "abcd"], /^E_USAGE the id of an owner is 64/],
    [["revoke", "cert", ownerId], /^E_USAGE the id of a cert is 32/],
    [["revoke", "toString", ownerId], /^E_USAGE what is revoked is owner, cert or node/],
    [["revoke", "key", ownerId], /^E_USAGE what is revoked/],
  ])("%j is refused", async (words, why) => {
    expect(await refusal(...words)).toMatch(why);
    expect(existsSync(directory)).toBe(false);
  });
});

describe("status", () => {
  it("of a machine without anything", async () => {
    const { code, out } = await run("status");
    expect(code).toBe(0);
    expect(out).toMatch(/claim +unsigned: no owner has signed/);
  });

  it("of a node that is owned, until that is revoked here", async () => {
    const node = withNode();
    const { owner_id: id } = await json<{ owner_id: string }>("init", "--no-passphrase");
    await run("sign-node");
    const shown = await json<object>("status");
    expect(shown).toMatchObject({
      endpoint_id: node,
      key: { owner_id: id, passphrase: false },
      owner: { status: "verified", verified: true, owner_id: id },
    });
    await run("revoke", "owner", id);
    const { code, out } = await run("status");
    expect(code).toBe(77);
    expect(out).toMatch(/claim +revoked_owner/);
  });

  it("never shows the key", async () => {
    const { file } = await json<{ file: string }>("init", "--no-passphrase");
    const key = readOwnerKey(file);
    const seed = key?.protection.kind === "none" ? Buffer.from(key.protection.seed).toString("hex") : "none";
    for (const words of [["status"], ["status", "--json"]]) expect((await run(...words)).out).not.toContain(seed);
  });
});

describe("a passphrase that is typed", () => {
  /** A terminal on which somebody types these pieces, one for each question. */
  function typing(...answers: readonly string[]): Terminal & { readonly shown: () => string; readonly raw: boolean[] } {
    const input = new EventEmitter();
    const raw: boolean[] = [];
    let shown = "";
    const left = [...answers];
    const setRawMode = (on: boolean): void => {
      raw.push(on);
      const answer = on ? left.shift() : undefined;
      if (answer !== undefined) setImmediate(() => input.emit("data", answer));
    };
    const nothing = (): void => undefined;
    Object.assign(input, { isTTY: true, setRawMode, resume: nothing, pause: nothing, setEncoding: nothing });
    const output = { write: (text: string): boolean => Boolean((shown += text)) };
    return { input: input as unknown as Terminal["input"], output, shown: () => shown, raw };
  }

  it("is not shown, can be mended, and leaves the terminal as it was", async () => {
    const terminal = typing("corrext\u007f\u007f\u007fect horse\r");
    expect(await askPassphrase("Passphrase: ", terminal)).toBe("correct horse");
    expect(terminal.shown()).toBe("Passphrase: \n");
    expect(terminal.raw).toEqual([true, false]);
  });

  it("E_USAGE: Ctrl-C", async () => {
    const terminal = typing("corr\u0003");
    await rejectsWith("E_USAGE", askPassphrase("Passphrase: ", terminal));
    expect(terminal.raw).toEqual([true, false]);
  });

  it("is typed twice when it is new, and has to be the same", async () => {
    expect(await askNewPassphrase(typing("correct horse battery\n", "correct horse battery\n"))).toBe(
      "correct horse battery",
    );
    await rejectsWith("E_USAGE", askNewPassphrase(typing("correct horse battery\n", "correct horse batterz\n")));
    await rejectsWith("E_USAGE", askNewPassphrase(typing("short\n", "short\n")));
  });

  it("E_USAGE: nobody is there to type", async () => {
    const { input, output } = typing();
    const code = await askPassphrase("?", { input: { ...input, isTTY: false }, output }).catch(codeOf);
    expect(code).toBe("E_USAGE");
  });
});

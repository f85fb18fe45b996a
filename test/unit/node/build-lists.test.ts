/** Lists of a running node: read, heard, kept, and never an older one again. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../../src/base/clock.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import {
  type BuildListsOptions,
  BuildLists,
  buildListIn,
  buildListText,
  readBuildListFile,
} from "../../../src/node/build-lists.ts";
import { buildListsStatus, buildStatus } from "../../../src/node/build-status.ts";
import type { BuildList } from "../../../src/wire/builds.ts";
import {
  dayMs,
  digestA,
  digestB,
  listed,
  listKey,
  listOf,
  postureTelling,
  signedList,
  signedListText,
} from "../../support/build-lists.ts";
import { expectCode } from "../../support/expect-code.ts";
import { eventually } from "../../support/mesh.ts";

const key = listKey();
const second = listKey();
const stranger = listKey();
const told = { digest: digestA, platform: "linux" };
let directory: string;
let events: LogEvent[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sealmesh-builds-"));
  events = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const path = (): string => join(directory, "builds.json");
const list = (seq: number, change: Partial<BuildList> = {}): BuildList =>
  listOf([listed(digestA)], { seq: BigInt(seq), ...change });
const revoking = (seq: number): BuildList => listOf([listed(digestA, { revoked: true })], { seq: BigInt(seq) });

function opened(options: Partial<BuildListsOptions> = {}): BuildLists {
  const lists = new BuildLists({
    trust: { keys: new Set([key.id, second.id]), sigstore: undefined },
    sources: [],
    path: path(),
    clock: systemClock,
    log: { write: (_level, event) => events.push(event) },
    ...options,
  });
  onTestFinished(() => lists.close());
  return lists;
}

function fileWith(text: string, name = "builds.txt"): string {
  const file = join(directory, name);
  writeFileSync(file, text);
  return file;
}

const outcome = (lists: BuildLists): string => lists.judge(told, Date.now()).outcome;
const reasons = (): string[] => events.flatMap((event) => (event.event === "build-list-refused" ? [event.reason] : []));

describe("a list that is heard", () => {
  it("counts at once, is kept, and is passed on byte for byte", () => {
    const lists = opened();
    const bytes = signedList(key, list(1));
    expect(outcome(lists)).toBe("no-list");
    expect(lists.hear([bytes], "aa")).toBe(true);
    expect(outcome(lists)).toBe("accepted");
    expect(lists.newest).toEqual([bytes]);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    expect(events).toEqual([
      { event: "build-list-taken", signer: key.id, seq: "1", origin: "gossip", builds: 1, revoked: 0 },
    ]);
    expect(lists.hear([bytes], "bb")).toBe(false);
  });

  it("is no news when it is older, of a stranger, or wrong, each told once with its reason", () => {
    const lists = opened();
    lists.hear([signedList(key, revoking(2))], "aa");
    const wrong = signedList(key, list(9));
    wrong[30] = (wrong[30] ?? 0) ^ 1;
    for (let round = 0; round < 3; round += 1) {
      expect(lists.hear([signedList(key, list(1)), signedList(stranger, list(9)), wrong], "aa")).toBe(false);
    }
    expect(reasons()).toEqual(["rolled-back", "unknown-signer", "signature-wrong"]);
    expect(lists.refused.map(({ reason }) => reason)).toEqual(["rolled-back", "unknown-signer", "signature-wrong"]);
    expect(outcome(lists)).toBe("revoked");
  });

  it("of two signers stands beside the other, the newest last", () => {
    const lists = opened();
    const newer = signedList(second, list(1));
    const older = signedList(key, list(5, { issuedAtMs: Date.now() - dayMs }));
    lists.hear([newer, older], "aa");
    expect(lists.newest).toEqual([older, newer]);
  });

  it("never makes more than a few verifications, notes or entries of a flood", () => {
    const lists = opened();
    for (let peer = 0; peer < 100; peer += 1) {
      lists.hear(
        Array.from({ length: 50 }, () => signedList(stranger, list(1))),
        String(peer),
      );
    }
    expect(lists.refused.length).toBeLessThanOrEqual(8);
    expect(lists.newest).toEqual([]);
  });
});

describe("after a restart", () => {
  it("the newest list still counts, whatever an older file says", () => {
    const file = fileWith(signedListText(key, list(1)));
    const sources = [{ kind: "file", path: file }] as const;
    opened({ sources }).hear([signedList(key, revoking(2))], "aa");
    const again = opened({ sources });
    expect(outcome(again)).toBe("revoked");
    expect(again.sources[0]?.why).toMatch(/^It is older than the list of the same signer .*: it is number 1, not 2\.$/);
    expect(reasons()).toEqual(["rolled-back"]);
  });

  it("a list of a key that was not trusted in between is not gone back behind", () => {
    opened().hear([signedList(key, revoking(2))], "aa");
    const without = opened({ trust: { keys: new Set([second.id]), sigstore: undefined } });
    expect(without.newest).toEqual([]);
    without.hear([signedList(second, list(1))], "aa");
    const again = opened();
    again.hear([signedList(key, list(1))], "aa");
    expect(again.lists.find(({ signer }) => signer === key.id)?.list.seq).toBe(2n);
  });

  it.each<[string, string]>([
    ["no JSON", "{"],
    ["no lists", "{}"],
    ["no base64", '{"lists":["*"]}'],
    ["a list that is none", '{"lists":["AAAA"]}'],
  ])("a file of %s ends the start with E_STATE", (_what, text) => {
    writeFileSync(path(), text, { mode: 0o600 });
    expectCode("E_STATE", () => opened());
  });

  it("so does a changed list, and a file that others can read", () => {
    opened().hear([signedList(key, list(1))], "aa");
    const kept = (JSON.parse(readFileSync(path(), "utf8")) as { lists: string[] }).lists;
    const bytes = Buffer.from(kept[0] ?? "", "base64");
    bytes[30] = (bytes[30] ?? 0) ^ 1;
    writeFileSync(path(), JSON.stringify({ lists: [bytes.toString("base64")] }));
    expectCode("E_STATE", () => opened());
    writeFileSync(path(), JSON.stringify({ lists: kept }));
    chmodSync(path(), 0o644);
    expectCode("E_STATE", () => opened());
  });
});

describe("a file", () => {
  it("is read at the start, and again when it changes; one that goes wrong takes nothing away", async () => {
    const file = fileWith(signedListText(key, list(1)));
    let news = 0;
    const sources = [{ kind: "file", path: file }] as const;
    const lists = opened({ sources, onNews: () => (news += 1) });
    await lists.start();
    expect([outcome(lists), lists.originOf(key.id)]).toEqual(["accepted", "file"]);
    writeFileSync(file, "nothing of the kind");
    lists.look();
    expect(outcome(lists)).toBe("accepted");
    expect(lists.sources[0]?.why).toContain("holds no signed list of builds");
    writeFileSync(file, signedListText(key, revoking(2)));
    lists.look();
    expect(outcome(lists)).toBe("revoked");
    expect(lists.sources[0]?.why).toBeUndefined();
    rmSync(file);
    lists.look();
    expect(outcome(lists)).toBe("revoked");
    expect(news).toBe(2);
  });

  it.each<[string, () => string]>([
    ["that is missing", () => join(directory, "nothing")],
    ["that holds none", () => fileWith("x")],
    ["that is broken", () => fileWith("sealmesh-builds-v1:*")],
    ["of a stranger", () => fileWith(signedListText(stranger, list(1)))],
  ])("%s ends the start with E_CONFIG", (_what, file) => {
    expectCode("E_CONFIG", () => opened({ sources: [{ kind: "file", path: file() }] }));
  });

  it("that names the stranger's key says which", () => {
    const file = fileWith(signedListText(stranger, list(1)));
    expect(() => opened({ sources: [{ kind: "file", path: file }] })).toThrow(stranger.id);
  });

  it("that has expired starts, with a warning", () => {
    const gone = list(1, { notBeforeMs: Date.now() - 2 * dayMs, expiresMs: Date.now() - dayMs });
    const lists = opened({ sources: [{ kind: "file", path: fileWith(signedListText(key, gone)) }] });
    expect(outcome(lists)).toBe("list-expired");
    expect(events.map(({ event }) => event)).toContain("build-list-not-in-force");
  });

  it("is one line of text with a comment", () => {
    const bytes = signedList(key, list(1));
    expect(buildListIn(buildListText(bytes))).toEqual(bytes);
    expect(buildListIn("nothing")).toBeUndefined();
    expect(readBuildListFile(fileWith(`# mine\r\n${buildListText(bytes)}`))).toEqual(bytes);
    expectCode("E_INPUT", () => readBuildListFile(fileWith("x".repeat(200_000))));
  });
});

describe("an address", () => {
  let server: Server;
  let answer: () => { status?: number; body?: string; hang?: boolean };
  let asked: number;
  const url = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}/builds.txt`;
  const fast = { urlMs: 30, urlRetryMs: 30, fileMs: 5, fetchMs: 200 };

  beforeEach(async () => {
    asked = 0;
    server = createServer((_request, response) => {
      asked += 1;
      const { status = 200, body = "", hang = false } = answer();
      if (!hang) response.writeHead(status).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  it("is asked at the start and again, and its failures take nothing away", async () => {
    answer = () => ({ body: signedListText(key, list(1)) });
    const lists = opened({ sources: [{ kind: "url", url: url() }], timing: fast });
    await lists.start();
    expect([outcome(lists), lists.originOf(key.id)]).toEqual(["accepted", "url"]);
    const why = (): string | undefined => lists.sources[0]?.why;
    answer = () => ({ status: 404 });
    await eventually("a failure is told", () => why()?.endsWith("answers with status 404") === true);
    answer = () => ({ body: "no list" });
    await eventually("another one is told", () => why()?.includes("holds no signed list") === true);
    answer = () => ({ body: "x".repeat(300_000) });
    await eventually("a third one is told", () => why()?.includes("more than") === true);
    answer = () => ({ hang: true });
    await eventually("a fourth one is told", () => why()?.includes("no whole answer within 0.2 s") === true);
    expect(outcome(lists)).toBe("accepted");
    answer = () => ({ body: signedListText(key, revoking(2)) });
    await eventually("the newer list counts", () => outcome(lists) === "revoked");
    expect(why()).toBeUndefined();
  });

  it("that nobody answers at is told, and the start goes on", async () => {
    answer = () => ({});
    const gone = url();
    server.close();
    const lists = opened({ sources: [{ kind: "url", url: gone }], timing: fast });
    await lists.start();
    expect(outcome(lists)).toBe("no-list");
    expect(lists.sources[0]?.why).toContain("does not answer");
    expect(events.map(({ event }) => event)).toContain("build-list-not-read");
  });

  it("is not asked again after the end, which does not wait for it", async () => {
    answer = () => ({ hang: true });
    const lists = opened({ sources: [{ kind: "url", url: url() }], timing: { ...fast, fetchMs: 60_000 } });
    const starting = lists.start();
    await eventually("it is asked", () => asked === 1);
    await lists.close();
    await starting;
    expect(lists.sources[0]?.why).toBeUndefined();
  });
});

it("status says which lists, how old, where from, and that a build is the host's own word", () => {
  const now = Date.now();
  const lists = opened();
  const made = list(7, { issuedAtMs: now - 5_000, notBeforeMs: now - 5_000, note: "spring" });
  lists.hear([signedList(key, made), signedList(stranger, list(1))], "aa");
  const status = buildListsStatus(lists, true, now);
  expect(status).toMatchObject({
    demanded: true,
    lists: [
      { signer: key.id, seq: "7", origin: "gossip", state: "in force", age_seconds: 5, builds: 1, note: "spring" },
    ],
    sources: [],
    refused: [{ from: "aa", reason: "unknown-signer" }],
  });
  const facts = { kind: "signed", posture: postureTelling(digestA) } as const;
  expect(buildStatus(facts, lists, now)).toEqual({
    digest: digestA,
    by: "self",
    verdict: "accepted",
    version: "1.2.3",
    list: { signer: key.id, seq: "7", age_seconds: 5 },
    text: `The host says, signed, that it runs the build ${digestA} (1.2.3), which is accepted.`,
  });
  expect(buildStatus({ kind: "unsigned" }, lists, now)).toMatchObject({
    digest: null,
    verdict: "not-told",
    list: null,
  });
  const other = { kind: "signed", posture: postureTelling(digestB) } as const;
  expect(buildStatus(other, lists, now)).toMatchObject({ verdict: "unknown-build", list: null });
});

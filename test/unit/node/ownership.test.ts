/** Owners in a running node: its own claim and its renewal, what peers' claims amount to, and lists that change meanwhile. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LogEvent } from "../../../src/base/log.ts";
import { openGate } from "../../../src/mesh/gate.ts";
import { openClaimFile, signClaim } from "../../../src/node/owner-claim.ts";
import { newOwnerKey, openOwnerKey, type OwnerKeyFile, writeOwnerKey } from "../../../src/node/owner-key.ts";
import { openOwnerBook, Ownership, type OwnerSettings } from "../../../src/node/ownership.ts";
import { emptyOwnerBook, type OwnerBook, withListed } from "../../../src/policy/owner-book.ts";
import { judgeOwner, noOwnerTrust, type OwnerVerdict } from "../../../src/policy/owners.ts";
import { claimOf, nodeId, ownerFrom } from "../../support/owners.ts";
import { expectCode } from "../../support/expect-code.ts";

const dayMs = 86_400_000;
const self = nodeId(1);
const peer = nodeId(2);
const [ours, stranger] = [ownerFrom(8), ownerFrom(9)];

let directory: string;
let nowMs: number;
let events: LogEvent[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sealmesh-ownership-"));
  nowMs = 1_800_000_000_000;
  events = [];
  // every look at a file is a new one
  let lookMs = 0;
  vi.spyOn(performance, "now").mockImplementation(() => (lookMs += 1_000));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

function opened(settings: Partial<OwnerSettings> = {}, label?: string): Ownership {
  return new Ownership({
    id: self,
    settings: {
      keyFile: undefined,
      passphraseFile: undefined,
      trusted: [],
      policy: "prefer-owned",
      prefersStrangers: false,
      ...settings,
    },
    directory,
    clock: { now: () => nowMs },
    log: { write: (_level, event) => void events.push(event) },
    label,
  });
}

function keyFile(passphrase?: string): { readonly path: string; readonly key: OwnerKeyFile } {
  const path = join(directory, "owner-key.json");
  const key = newOwnerKey(passphrase, { memoryKib: 64, passes: 1 });
  writeOwnerKey(path, key);
  return { path, key };
}

const change = (list: keyof OwnerBook, id: string): void =>
  openOwnerBook(directory).update((book) => withListed(book, list, id));
const verdictOf = (claim: Uint8Array | undefined): OwnerVerdict => judgeOwner(claim, self, noOwnerTrust, nowMs);
const names = (): readonly string[] => events.map(({ event }) => event);

describe("our own claim", () => {
  it("is none where nobody has signed", () => {
    const ownership = opened();
    expect(ownership.claim).toBeUndefined();
    expect(ownership.own.status).toBe("unsigned");
  });

  it("is signed at the start with a key that is there, for seven days and under the node's name", () => {
    const { path, key } = keyFile();
    const ownership = opened({ keyFile: path }, "rack 4");
    const { status, owner, claim } = verdictOf(ownership.claim);
    expect([status, owner, claim?.nodeLabel]).toEqual(["verified", key.ownerId, "rack 4"]);
    expect(claim?.expiresAtMs).toBe(BigInt(nowMs + 7 * dayMs));
    expect(names()).toEqual(["claim-signed"]);
  });

  it("stays the same after a restart", () => {
    const { path } = keyFile();
    const before = opened({ keyFile: path }).claim;
    nowMs += dayMs;
    expect(opened({ keyFile: path }).claim).toEqual(before);
    expect(names()).toEqual(["claim-signed"]);
  });

  it("is renewed in its last 36 hours, and not before", () => {
    const { path } = keyFile();
    const ownership = opened({ keyFile: path });
    nowMs += 5.5 * dayMs - 1;
    expect(ownership.advance()).toEqual({ lists: false, claim: false });
    nowMs += 1;
    expect(ownership.advance()).toEqual({ lists: false, claim: true });
    expect(verdictOf(ownership.claim).claim?.expiresAtMs).toBe(BigInt(nowMs + 7 * dayMs));
  });

  it("of another owner, of another name or revoked here is replaced at the start", () => {
    const { path, key } = keyFile();
    const claim = (): Uint8Array | undefined => opened({ keyFile: path }, "new name").claim;
    const other = openOwnerKey(newOwnerKey(undefined), () => "");
    const wishes = { node: self, nowMs, lifeMs: 7 * dayMs, label: undefined };
    openClaimFile(directory).update(() => signClaim(other, wishes));
    const first = verdictOf(claim()).claim;
    expect([first?.ownerId, first?.nodeLabel]).toEqual([key.ownerId, "new name"]);
    change("revokedCerts", first?.certId ?? "");
    expect(verdictOf(claim()).claim?.certId).not.toBe(first?.certId);
  });

  it("is signed with a passphrase from a file", () => {
    const { path, key } = keyFile("open sesame");
    const passphraseFile = join(directory, "passphrase");
    writeFileSync(passphraseFile, "open sesame\n");
    expect(verdictOf(opened({ keyFile: path, passphraseFile }).claim).owner).toBe(key.ownerId);
  });

  it("E_CONFIG: a key that cannot be used ends the start", () => {
    const { path } = keyFile("open sesame");
    const passphraseFile = join(directory, "passphrase");
    writeFileSync(passphraseFile, "something else\n");
    expectCode("E_CONFIG", () => opened({ keyFile: join(directory, "none") }));
    expectCode("E_CONFIG", () => opened({ keyFile: path }));
    expectCode("E_CONFIG", () => opened({ keyFile: path, passphraseFile }));
    expectCode("E_CONFIG", () => opened({ keyFile: path, passphraseFile: join(directory, "none") }));
  });

  it("outlives a key that has gone: it is told, tried once a minute, and shown until it ends", () => {
    const { path, key } = keyFile();
    const ownership = opened({ keyFile: path });
    rmSync(path);
    nowMs += 6 * dayMs;
    for (let look = 0; look < 3; look += 1) ownership.advance();
    expect(names()).toEqual(["claim-signed", "claim-not-renewed"]);
    expect(ownership.claim).toBeDefined();
    writeOwnerKey(path, key);
    nowMs += 60_000;
    expect(ownership.advance().claim).toBe(true);
    rmSync(path);
    nowMs += 8 * dayMs;
    ownership.advance();
    expect(ownership.claim).toBeUndefined();
    expect(ownership.own.status).toBe("expired");
  });

  it("is taken up when a command installs one, and is none of another node", () => {
    const ownership = opened();
    const owner = openOwnerKey(newOwnerKey(undefined), () => "");
    const install = (node: typeof self): void =>
      openClaimFile(directory).update(() => signClaim(owner, { node, nowMs, lifeMs: dayMs, label: undefined }));
    install(self);
    expect(ownership.advance()).toEqual({ lists: false, claim: true });
    expect(verdictOf(ownership.claim).owner).toBe(owner.ownerId);
    install(peer);
    expect(ownership.advance().claim).toBe(true);
    expect(ownership.claim).toBeUndefined();
    expect(ownership.own.status).toBe("mismatched_node_id");
  });
});

describe("lists", () => {
  it("count as soon as a command has written them", () => {
    const ownership = opened();
    const claim = claimOf(stranger, peer, nowMs);
    expect(ownership.judge(peer, claim)).toMatchObject({ status: "verified", refusal: undefined });
    change("revokedOwners", stranger.id);
    expect(ownership.advance()).toEqual({ lists: true, claim: false });
    expect(ownership.advance()).toEqual({ lists: false, claim: false });
    expect(ownership.judge(peer, claim)).toMatchObject({ status: "revoked_owner", refusal: "its owner was revoked" });
  });

  it("that become unreadable are told once, and what stood there counts on", () => {
    change("revokedOwners", stranger.id);
    const ownership = opened();
    writeFileSync(join(directory, "trusted-owners.json"), "{");
    for (let look = 0; look < 3; look += 1) {
      expect(ownership.judge(peer, claimOf(stranger, peer, nowMs)).status).toBe("revoked_owner");
    }
    expect(names()).toEqual(["owners-not-read"]);
  });

  it("E_STATE: that are unreadable at the start end it", () => {
    writeFileSync(join(directory, "trusted-owners.json"), "{", { mode: 0o600 });
    expectCode("E_STATE", () => opened());
  });

  it("E_CONFIG: an allowlist of nobody ends the start, one of the file does not", () => {
    expectCode("E_CONFIG", () => opened({ policy: "allowlist" }));
    change("trustedOwners", ours.id);
    expect(opened({ policy: "allowlist" }).judge(peer, claimOf(ours, peer, nowMs)).refusal).toBeUndefined();
  });
});

describe("the gate", () => {
  const show = (ownership: Ownership, claim: Uint8Array | undefined): unknown =>
    ownership.gate(openGate).judge({ id: peer, from: "itself", record: undefined, ownership: claim });
  const hear = (ownership: Ownership, claim: Uint8Array | undefined): unknown =>
    ownership.gate(openGate).judge({ id: peer, from: "elsewhere", record: undefined, ownership: claim });

  it("lets the gate behind it decide, and refuses first only what that one admits", () => {
    const refused = { kind: "refused", why: "no" } as const;
    const shown = { id: peer, from: "itself", record: undefined, ownership: undefined } as const;
    const judge = vi.fn(() => refused);
    expect(opened({ policy: "require-owned" }).gate({ judge }).judge(shown)).toBe(refused);
    expect(judge).toHaveBeenCalledOnce();
    expect(
      opened()
        .gate({ judge: () => ({ kind: "member", role: "client" }) })
        .judge(shown),
    ).toEqual({
      kind: "member",
      role: "client",
    });
  });

  it("refuses by policy with a sentence of ours", () => {
    const label = { nodeLabel: "peer's own words" };
    expect(show(opened({ policy: "require-owned" }), undefined)).toEqual({
      kind: "refused",
      why: "no owner has signed that the node is theirs (--trust-policy require-owned)",
    });
    const listed = opened({ policy: "allowlist", trusted: [ours.id] });
    expect(show(listed, claimOf(stranger, peer, nowMs, label))).toEqual({
      kind: "refused",
      why: "its owner is not on the list of trusted ones (--trust-policy allowlist)",
    });
    expect(show(listed, claimOf(ours, peer, nowMs, label))).toEqual({ kind: "member", role: "host" });
  });

  it("puts nobody out for what others say of its owner, or leave out (E4)", () => {
    change("revokedOwners", ownerFrom(67).id);
    for (const policy of ["prefer-owned", "require-owned", "allowlist"] as const) {
      for (const showed of [claimOf(ours, peer, nowMs), "nothing so far"] as const) {
        const ownership = opened({ policy, trusted: [ours.id] });
        if (showed !== "nothing so far") expect(show(ownership, showed)).toMatchObject({ kind: "member" });
        const told = [undefined, Uint8Array.of(1), claimOf(stranger, peer, nowMs), claimOf(ownerFrom(67), peer, nowMs)];
        for (const claim of told) expect(hear(ownership, claim)).toMatchObject({ kind: "member" });
      }
    }
  });

  it("keeps out who was refused for what it showed itself, whatever others say", () => {
    change("revokedOwners", stranger.id);
    const ownership = opened();
    expect(show(ownership, claimOf(stranger, peer, nowMs))).toMatchObject({ kind: "refused" });
    expect(hear(ownership, claimOf(ours, peer, nowMs))).toMatchObject({ kind: "refused" });
  });

  it("keeps out a node that was revoked, also where only others name it", () => {
    change("revokedNodes", peer);
    expect(hear(opened(), undefined)).toMatchObject({ kind: "refused" });
    expect(hear(opened(), claimOf(ours, peer, nowMs))).toMatchObject({ kind: "refused" });
    expect(hear(opened({ policy: "off" }), undefined)).toMatchObject({ kind: "member" });
  });

  it("judges the same bytes anew when time or lists have changed", () => {
    const ownership = opened({ policy: "require-owned" });
    const claim = claimOf(ours, peer, nowMs);
    expect(show(ownership, claim)).toMatchObject({ kind: "member" });
    nowMs += 3_600_000;
    expect(show(ownership, claim)).toMatchObject({ kind: "refused" });
  });
});

describe("hosts that come first", () => {
  const prefers = (settings: Partial<OwnerSettings>, claim: Uint8Array): boolean => {
    const ownership = opened(settings);
    return ownership.prefers(ownership.judge(peer, claim));
  };

  it("are those of trusted owners, by flag or list", () => {
    expect(prefers({ trusted: [ours.id] }, claimOf(ours, peer, nowMs))).toBe(true);
    expect(prefers({ trusted: [ours.id], prefersStrangers: true }, claimOf(stranger, peer, nowMs))).toBe(false);
    change("trustedOwners", stranger.id);
    expect(prefers({}, claimOf(stranger, peer, nowMs))).toBe(true);
  });

  it("are those of our own owner", () => {
    const { path, key } = keyFile();
    const owner = openOwnerKey(key, () => "");
    const ownership = opened({ keyFile: path });
    const verdict = { status: "verified", owner: owner.ownerId, claim: undefined, refusal: undefined } as const;
    expect(ownership.prefers(verdict)).toBe(true);
    expect(ownership.prefers({ ...verdict, owner: stranger.id })).toBe(false);
  });

  it("are anybody's where no owner is known only when that was asked for: anybody can be an owner", () => {
    const claim = claimOf(stranger, peer, nowMs);
    expect(prefers({}, claim)).toBe(false);
    expect(prefers({ prefersStrangers: true }, claim)).toBe(true);
    expect(prefers({ prefersStrangers: true }, claimOf(stranger, self, nowMs))).toBe(false);
  });

  it("are nobody's under the other policies", () => {
    for (const policy of ["off", "require-owned", "allowlist"] as const) {
      expect(prefers({ policy, trusted: [ours.id] }, claimOf(ours, peer, nowMs))).toBe(false);
    }
  });
});

it("a book that nobody has written is an empty one", () => {
  expect(openOwnerBook(directory).book).toBe(emptyOwnerBook);
});

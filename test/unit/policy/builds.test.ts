/** Whose lists count, which replaces which, and what they say of a build. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import type { Claims } from "../../../src/attest/claims.ts";
import { fail } from "../../../src/attest/verdict.ts";
import type { Identity } from "../../../src/crypto/identity.ts";
import {
  acceptedDigests,
  type BuildOutcome,
  judgeBuild,
  type ListBook,
  listRefusals,
  type ListTaken,
  type ListTrust,
  otherBuild,
  readBuildList,
  takeBuildList,
  type VerifiedBuildList,
} from "../../../src/policy/builds.ts";
import { buildRules } from "../../../src/policy/refusals.ts";
import { sigstoreSigner } from "../../../src/policy/sigstore.ts";
import {
  type BuildList,
  buildListSigningBytes,
  encodeBuildList,
  encodeSignedBuildList,
} from "../../../src/wire/builds.ts";
import { dayMs, digestA, digestB, listed, listKey, listOf, signedList } from "../../support/build-lists.ts";
import { identity, issuer, type SigstoreWorld, sigstoreWorld } from "../../support/sigstore.ts";
import { attestedKey, enclave, showing } from "./made-hosts.ts";

const key = listKey();
const stranger = listKey();
const now = Date.now();
const trust: ListTrust = { keys: new Set([key.id]), sigstore: undefined };
const both: ListTrust = { keys: new Set([key.id, stranger.id]), sigstore: undefined };

const taken = (book: ListBook, bytes: Uint8Array, whom = trust, at = now): ListTaken =>
  takeBuildList(book, bytes, whom, at);
/** What is held after all of these were offered in this order. */
const bookOf = (...lists: readonly Uint8Array[]): ListBook =>
  lists.reduce<ListBook>((book, bytes) => {
    const one = taken(book, bytes, both);
    return one.kind === "taken" ? one.book : book;
  }, new Map());
const read = (list: BuildList, by: Identity = key): VerifiedBuildList => {
  const one = readBuildList(signedList(by, list), both, undefined);
  if (one.kind !== "good") throw new Error(one.reason);
  return one.list;
};
const changed = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, index) => (index === (at + bytes.length) % bytes.length ? byte ^ 1 : byte));

describe("a list is taken", () => {
  it("of a trusted key, expired or not: what it says decides later", () => {
    const fresh = signedList(key, listOf([listed(digestA)]));
    const expired = signedList(key, listOf([], { notBeforeMs: now - 2 * dayMs, expiresMs: now - dayMs }));
    for (const bytes of [fresh, expired]) {
      const one = taken(new Map(), bytes);
      expect(one.kind === "taken" && one.list).toMatchObject({ signer: key.id, bytes });
    }
  });

  it("in place of an older one of its signer, and never the other way round", () => {
    const one = signedList(key, listOf([], { seq: 1n }));
    const two = signedList(key, listOf([], { seq: 2n }));
    expect(bookOf(one, two).get(key.id)?.bytes).toEqual(two);
    expect(bookOf(two, one).get(key.id)?.bytes).toEqual(two);
    expect(taken(bookOf(two), one)).toEqual({ kind: "refused", reason: "rolled-back", why: "it is number 1, not 2" });
    expect(taken(bookOf(two), two)).toEqual({ kind: "same" });
  });

  it("beside those of other signers", () => {
    const ours = signedList(key, listOf([], { seq: 9n }));
    const theirs = signedList(stranger, listOf([], { seq: 1n }));
    expect([...bookOf(ours, theirs).keys()]).toEqual([key.id, stranger.id]);
  });
});

describe("a list is refused", () => {
  const good = signedList(key, listOf([listed(digestA)], { seq: 5n }));
  const reasonOf = (one: ListTaken): string => (one.kind === "refused" ? one.reason : one.kind);

  it("for reasons that differ, each with a sentence", () => {
    const future = listOf([], { issuedAtMs: now + 3_600_000, seq: 6n });
    const reasons = {
      malformed: taken(new Map(), Uint8Array.of(1, 2, 3)),
      "unknown-signer": taken(new Map(), signedList(stranger, listOf([]))),
      "signature-wrong": taken(new Map(), changed(good, 20)),
      "from-the-future": taken(new Map(), signedList(key, future)),
      "rolled-back": taken(bookOf(good), signedList(key, listOf([], { seq: 4n }))),
      conflict: taken(bookOf(good), signedList(key, listOf([listed(digestB)], { seq: 5n }))),
    };
    for (const [reason, one] of Object.entries(reasons)) expect(reasonOf(one)).toBe(reason);
    expect(Object.keys(reasons)).toEqual(Object.keys(listRefusals));
    expect(new Set(Object.values(listRefusals)).size).toBe(Object.keys(reasons).length);
  });

  it("with any byte of it changed", () => {
    for (let at = 0; at < good.length; at += 1) {
      expect(taken(new Map(), changed(good, at)).kind, `byte ${at}`).toBe("refused");
    }
  });

  it("when its signature was made for something else", () => {
    const signed = encodeBuildList(listOf([]));
    const signature = key.sign(signed); // without the label
    const bytes = encodeSignedBuildList({
      signed,
      seal: { kind: "key", key: Uint8Array.from(Buffer.from(key.id, "hex")), signature },
    });
    expect(reasonOf(taken(new Map(), bytes))).toBe("signature-wrong");
  });

  it("naming the key of an unknown signer, which is nothing that a terminal acts on", () => {
    const one = taken(new Map(), signedList(stranger, listOf([])));
    expect(one).toMatchObject({ why: `the key is ${stranger.id}` });
  });
});

describe("a Sigstore bundle in place of a signature", () => {
  let world: SigstoreWorld;
  const signed = encodeBuildList(listOf([listed(digestA)]));
  const withBundle = (bundle: Uint8Array): Uint8Array =>
    encodeSignedBuildList({ signed, seal: { kind: "sigstore", bundle } });
  beforeAll(async () => {
    world = await sigstoreWorld();
  });

  it("counts for the identity that is set, and for nobody where none is", async () => {
    const bytes = withBundle(await world.bundle(buildListSigningBytes(signed)));
    const sigstore = sigstoreSigner({ trustedRoot: world.root, issuer, identity });
    const one = readBuildList(bytes, { keys: new Set(), sigstore }, now);
    expect(one.kind === "good" && one.list.signer).toBe(`sigstore ${issuer} ${identity}`);
    expect(readBuildList(bytes, trust, now)).toMatchObject({ kind: "refused", reason: "unknown-signer" });
  });

  it("over other bytes, or without the label, is a wrong signature", async () => {
    const sigstore = sigstoreSigner({ trustedRoot: world.root, issuer, identity });
    const bytes = withBundle(await world.bundle(signed));
    expect(readBuildList(bytes, { keys: new Set(), sigstore }, now)).toMatchObject({ reason: "signature-wrong" });
  });
});

describe("a build is", () => {
  const told = (digest: string, platform = "linux"): { digest: string; platform: string } => ({ digest, platform });
  const outcome = (lists: readonly VerifiedBuildList[], build = told(digestA), at = now): BuildOutcome =>
    judgeBuild(lists, build, at).outcome;
  const inForce = read(listOf([listed(digestA)]));
  const expired = (builds = [listed(digestA)]): VerifiedBuildList =>
    read(listOf(builds, { notBeforeMs: now - 2 * dayMs, expiresMs: now - dayMs }));

  it("accepted where a list in force has it for that system", () => {
    expect(judgeBuild([inForce], told(digestA), now)).toMatchObject({ outcome: "accepted", version: "1.2.3" });
    expect(outcome([inForce], told(digestA, "linux-x64"))).toBe("accepted");
    expect(outcome([read(listOf([listed(digestA, { platform: "linux" })]))], told(digestA, "linux-arm64"))).toBe(
      "accepted",
    );
  });

  it.each<[BuildOutcome, () => BuildOutcome]>([
    ["not-told", () => judgeBuild([inForce], undefined, now).outcome],
    ["no-list", () => outcome([])],
    ["unknown-build", () => outcome([inForce], told(digestB))],
    ["unknown-build", () => outcome([inForce], told(digestA, "darwin"))],
    ["unknown-build", () => outcome([inForce], told(digestA, "linux-arm64"))],
    ["unknown-build", () => outcome([inForce], told(digestA, "linu"))],
    ["list-expired", () => outcome([expired()])],
    ["list-expired", () => outcome([expired([])])],
    ["list-expired", () => outcome([inForce], told(digestA), inForce.list.expiresMs)],
    ["not-yet", () => outcome([read(listOf([listed(digestA)], { notBeforeMs: now + 1 }))])],
    ["not-yet", () => outcome([read(listOf([listed(digestA, { notBeforeMs: now + 1 })]))])],
    ["build-expired", () => outcome([read(listOf([listed(digestA, { expiresMs: now })]))])],
    ["revoked", () => outcome([read(listOf([listed(digestA, { revoked: true })]))])],
  ])("%s", (expected, made) => {
    expect(made()).toBe(expected);
  });

  it("revoked by any list, an expired one too, whoever else accepts it and for every system", () => {
    const revoking = expired([listed(digestA, { revoked: true, platform: "any" })]);
    expect(outcome([inForce, revoking])).toBe("revoked");
    expect(outcome([revoking, inForce])).toBe("revoked");
    expect(acceptedDigests([inForce, revoking], now)).toEqual(new Set());
  });

  it("accepted when one of two lists says so", () => {
    const other = read(listOf([listed(digestB)]), stranger);
    expect(outcome([other, inForce])).toBe("accepted");
    expect(outcome([expired(), inForce])).toBe("accepted");
    expect(acceptedDigests([other, inForce, expired()], now)).toEqual(new Set([digestA, digestB]));
  });

  it("unknown, not expired, when a list in force does not have it", () => {
    expect(outcome([inForce, expired([])], told(digestB))).toBe("unknown-build");
  });
});

describe("evidence that names another build", () => {
  const claims: Claims = { attestedKey: attestedKey(1), measurement: { value: digestB, by: "self" } };

  it("counts when it is the host's own", () => {
    expect(otherBuild(showing(enclave({ claims })), digestA)).toBe(digestB);
    expect(otherBuild(showing(enclave({ claims })), digestB)).toBeUndefined();
    expect(otherBuild(showing(enclave()), digestA)).toBeUndefined();
  });

  it("counts for nothing where a relay may have put it", () => {
    const asked = { ...enclave({ claims, challenge: "unasked" }), nonce: new Uint8Array(32) };
    expect(otherBuild(showing(asked), digestA)).toBeUndefined();
    const ofOther = enclave({ claims, verdict: { binding: fail("binding-differs") } });
    expect(otherBuild(showing(ofOther), digestA)).toBeUndefined();
  });
});

describe("docs/builds.md", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../docs/builds.md"), "utf8");

  it("has every reason why a list is not taken, with its sentence", () => {
    const rows = [...page.matchAll(/^\| `([a-z-]+)` \| (.+) \|$/gm)].map(([, name, text]) => [name, text]);
    expect(rows).toEqual(expect.arrayContaining(Object.entries(listRefusals)));
  });

  it("has every rule about builds, and none that is none", () => {
    const section = page.slice(page.indexOf("## Why a host is refused"), page.indexOf("## Why a list is not taken"));
    const names = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, name]) => name);
    expect(names.toSorted()).toEqual([...buildRules, "posture-disagrees"].toSorted());
  });
});

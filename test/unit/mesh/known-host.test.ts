/** What is kept of one host and how it is judged. Whoever asks is played by the test: nothing here opens a stream. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { EvidenceItem } from "../../../src/attest/evidence.ts";
import { tpm2 } from "../../../src/attest/kinds/tpm2.ts";
import { fingerprintOf, type HostProof, tierOfHost } from "../../../src/attest/proof.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import { type HostNow, type JudgeSettings, KnownHost, shownBy } from "../../../src/mesh/known-host.ts";
import {
  emptyPinBook,
  type PinBook,
  pinName,
  type ShownValue,
  withConfirmed,
  withFirstContact,
} from "../../../src/policy/pins.ts";
import { limits } from "../../../src/wire/limits.ts";
import type { TestKey } from "../../support/evidence.ts";
import { enclaveItem, freshId, freshKey, madeChip, softwareItem, tpmItem } from "../../support/fake-hosts.ts";

const settings: JudgeSettings = { roots: [], maxAgeMs: 660_000, aheadMs: 30_000, challengeValidMs: 240_000 };
const startMs = Date.UTC(2026, 5, 1);
const nobody = { ofThisSession: new Set<string>(), acceptedKeys: new Set<string>() };

/** A host that does what its test says, and what is known of it. */
class Scene {
  readonly id: EndpointId = freshId();
  readonly key: TestKey = freshKey();
  inferenceKey: Uint8Array | undefined = new Uint8Array(randomBytes(32));
  hasRecord = true;
  blob: Uint8Array | undefined;
  nowMs = startMs;
  book: PinBook = emptyPinBook;
  context: typeof nobody = nobody;
  nonce: Uint8Array = new Uint8Array(randomBytes(32));
  readonly known: KnownHost;

  constructor(change: Partial<JudgeSettings> = {}) {
    this.known = new KnownHost({ ...settings, ...change });
  }

  get now(): HostNow {
    const { id, inferenceKey, hasRecord, blob, nowMs } = this;
    return { id, inferenceKey, hasRecord, blob, nowMs };
  }

  /** For the makers of evidence: this host, its key, now. */
  get parts(): { key: TestKey; id: EndpointId; inferenceKey: Uint8Array; atMs: number } {
    const { key, id, inferenceKey = new Uint8Array(32), nowMs: atMs } = this;
    return { key, id, inferenceKey, atMs };
  }

  showed(...items: readonly EvidenceItem[]): void {
    this.known.showed(items, this.nonce, this.now);
  }

  challenged(outcome: "answered" | "missed" | "failed", key: TestKey = this.key): void {
    this.known.challenged(key.point, this.parts.inferenceKey, outcome, this.nowMs);
  }

  /** Its keys answer a challenge. */
  answered(...keys: readonly TestKey[]): void {
    for (const key of keys) this.challenged("answered", key);
  }

  pinned(value: Partial<ShownValue> & { kind: string }): void {
    const shown = { key: fingerprintOf(this.key.point), measurement: undefined, ...value };
    this.book = withConfirmed(this.book, this.id, shown, 1);
  }

  get proof(): HostProof {
    return this.known.judge(this.now, this.book, this.context);
  }

  get tier(): string {
    return tierOfHost(this.proof);
  }

  /** Kind and challenge of each piece, the best first. */
  get challenges(): readonly string[] {
    return this.proof.pieces.map(({ item, challenge }) => `${item.kind} ${challenge}`);
  }

  get kinds(): readonly string[] {
    return this.proof.pieces.map(({ item }) => item.kind);
  }

  get wantsItems(): boolean {
    return this.known.wantsItems(this.now, this.proof);
  }
}

const nonsense = (kind: string): EvidenceItem => ({
  kind,
  version: 1,
  evidence: Uint8Array.of(1, 2, 3),
  collateral: [],
  issuedAtMs: 0,
});

describe("pieces of one reply and those of before", () => {
  it("an empty reply wipes nothing that is still good", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    scene.nowMs += 2_000;
    scene.showed();
    expect(scene.tier).toBe("key");
  });

  it("a newer piece takes the place of an older one of its kind", () => {
    const scene = new Scene();
    scene.showed(enclaveItem({ ...scene.parts, build: "aa" }));
    scene.nowMs += 2_000;
    scene.showed(enclaveItem({ ...scene.parts, build: "bb" }));
    expect(scene.proof.pieces.map(({ claims }) => claims.measurement?.value)).toEqual(["bb"]);
  });

  it("pieces of other kinds stay beside it", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.showed(tpmItem({ ...scene.parts, nonce: scene.nonce }));
    expect(scene.kinds.toSorted()).toEqual(["secure-enclave", "tpm2"]);
  });

  it.each<[string, (scene: Scene) => EvidenceItem]>([
    ["is malformed", () => nonsense("secure-enclave")],
    ["is for another node", (scene) => enclaveItem({ ...scene.parts, id: freshId() })],
    ["is for another inference key", ({ parts }) => enclaveItem({ ...parts, inferenceKey: new Uint8Array(32) })],
    ["is too old", ({ parts }) => enclaveItem({ ...parts, atMs: parts.atMs - 700_000 })],
    ["is from the future", ({ parts }) => enclaveItem({ ...parts, atMs: parts.atMs + 31_000 })],
  ])("a good one stays when the new one of its kind %s", (_what, worse) => {
    const scene = new Scene();
    scene.showed(enclaveItem({ ...scene.parts, build: "aa" }));
    scene.showed(worse(scene));
    expect(scene.proof.pieces.map(({ claims }) => claims.measurement?.value)).toEqual(["aa"]);
  });

  it("a quote of before the one in hand, from hardware that hangs since, changes nothing", () => {
    const scene = new Scene();
    const before = tpmItem({ ...scene.parts, chipMs: 2_000 });
    scene.nowMs += 400;
    scene.showed(tpmItem({ ...scene.parts, chipMs: 2_400, nonce: scene.nonce }));
    scene.answered(scene.key);
    scene.nowMs += 2_000;
    scene.nonce = new Uint8Array(randomBytes(32));
    scene.showed(before);
    expect(scene.proof.pieces.map(({ verdict }) => verdict.fresh.reason)).toEqual(["nonce-answered"]);
    expect(scene.tier).toBe("key");
  });

  it("a bad one is kept where there is nothing better, so that one can tell what is wrong", () => {
    const scene = new Scene();
    scene.showed(enclaveItem({ ...scene.parts, id: freshId() }));
    expect(scene.proof.pieces.map(({ verdict }) => verdict.binding.reason)).toEqual(["other-node"]);
  });

  it("a good one that has become too old in the meantime says so, until there is another", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.nowMs += 700_000;
    scene.showed();
    expect(scene.kinds).toEqual(["secure-enclave"]);
    expect(scene.proof.pieces[0]?.verdict.fresh).toEqual({ outcome: "stale", reason: "too-old" });
  });

  it("nothing that came for another inference key stays", () => {
    const scene = new Scene();
    scene.showed(tpmItem({ ...scene.parts, nonce: scene.nonce }));
    scene.inferenceKey = new Uint8Array(randomBytes(32));
    scene.showed(enclaveItem(scene.parts));
    expect(scene.kinds).toEqual(["secure-enclave"]);
  });

  it("each keeps the nonce that it was asked with", () => {
    const scene = new Scene();
    scene.showed(tpmItem({ ...scene.parts, nonce: scene.nonce }));
    scene.nonce = new Uint8Array(randomBytes(32));
    scene.showed(softwareItem(scene.parts, scene.nonce));
    expect(scene.proof.pieces.map(({ verdict }) => verdict.fresh.reason)).toEqual(["nonce-answered", "nonce-answered"]);
  });

  it("what is distrusted goes with the next reply, even with an empty one", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.known.distrustItems();
    expect(scene.kinds).toEqual(["secure-enclave"]);
    scene.showed();
    expect(scene.kinds).toEqual([]);
  });

  it("the best comes first", () => {
    const scene = new Scene();
    const good = freshKey();
    scene.showed(softwareItem(scene.parts, scene.nonce), nonsense("tpm2"), enclaveItem({ ...scene.parts, key: good }));
    scene.answered(scene.key, good);
    expect(scene.kinds[0]).toBe("secure-enclave");
  });
});

describe("what a host may show", () => {
  it("the blob that it tells everybody counts until it was asked", () => {
    const scene = new Scene();
    scene.blob = enclaveItem({ ...scene.parts, build: "aa" }).evidence;
    scene.answered(scene.key);
    expect([scene.tier, scene.proof.asked]).toEqual(["key", false]);
    scene.showed(enclaveItem({ ...scene.parts, build: "bb" }));
    expect(scene.proof.pieces.map(({ claims }) => claims.measurement?.value)).toEqual(["bb"]);
  });

  it("the blob counts where being asked it shows nothing", () => {
    const scene = new Scene();
    scene.blob = enclaveItem(scene.parts).evidence;
    scene.showed();
    expect(scene.kinds).toEqual(["secure-enclave"]);
  });

  it("a blob for another inference key proves nothing", () => {
    const scene = new Scene();
    scene.blob = enclaveItem(scene.parts).evidence;
    scene.inferenceKey = new Uint8Array(randomBytes(32));
    scene.answered(scene.key);
    expect(scene.proof.pieces.map(({ verdict }) => verdict.binding.reason)).toEqual(["other-inference-key"]);
    expect(scene.tier).toBe("none");
  });

  it("a kind that nobody here knows proves nothing, and keeps no known one from counting", () => {
    const scene = new Scene();
    scene.showed(nonsense("of-next-year"), enclaveItem(scene.parts));
    scene.answered(scene.key);
    expect(scene.tier).toBe("key");
    expect(scene.proof.pieces.map(({ verdict }) => verdict.parse.reason)).toContain("unknown-kind");
  });

  it("of kinds that nobody knows one piece is kept", () => {
    const scene = new Scene();
    const strange = Array.from({ length: 8 }, (_, n) => nonsense(`strange-${n}`));
    scene.showed(...strange, enclaveItem(scene.parts));
    expect(scene.kinds.toSorted()).toEqual(["secure-enclave", "strange-0"]);
  });

  it("of known kinds four pieces of a reply are judged", () => {
    const scene = new Scene();
    scene.showed(...Array.from({ length: 40 }, () => softwareItem({ ...scene.parts, key: freshKey() }, scene.nonce)));
    expect(scene.kinds).toEqual(["software", "software", "software", "software"]);
  });

  it("of many replies together no more are judged", () => {
    const scene = new Scene();
    const fresh = (): Scene["parts"] => ({ ...scene.parts, key: freshKey() });
    const four = { length: 4 };
    scene.showed(...Array.from(four, () => softwareItem(fresh(), scene.nonce)));
    scene.showed(...Array.from(four, () => tpmItem({ ...fresh(), nonce: scene.nonce })));
    scene.showed(...Array.from(four, () => enclaveItem(fresh())));
    expect(scene.kinds.length).toBeLessThanOrEqual(4);
  });

  it("a piece beyond the bounds of evidence is judged, not thrown at anybody", () => {
    const scene = new Scene();
    const evidence = new Uint8Array(limits.evidenceBytes + 1);
    scene.showed({ ...nonsense("tpm2"), evidence });
    expect(scene.proof.pieces.map(({ verdict }) => verdict.parse.reason)).toEqual(["too-large"]);
    scene.blob = evidence;
    scene.known.distrustItems();
    scene.showed();
    expect(scene.proof.pieces.map(({ verdict }) => verdict.parse.reason)).toEqual(["too-large"]);
  });

  it("a host that could not be asked says why, and what it showed before counts on", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    scene.known.showedNothing("it is too far away");
    expect([scene.proof.why, scene.tier]).toEqual(["it is too far away", "key"]);
    scene.showed(enclaveItem(scene.parts));
    expect(scene.proof.why).toBeUndefined();
  });

  it("it has had its chance when it was asked, in vain or not, or can tell unasked only", () => {
    const [unasked, inVain, empty, reference] = [new Scene(), new Scene(), new Scene(), new Scene()];
    inVain.known.showedNothing("it is too far away");
    empty.showed();
    reference.hasRecord = false;
    expect([unasked, inVain, empty, reference].map(({ proof }) => proof.asked)).toEqual([false, true, true, true]);
  });
});

describe("challenges", () => {
  const shown = (): Scene => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    return scene;
  };

  it("without an answer a key proves nothing", () => {
    expect([shown().challenges, shown().tier]).toEqual([["secure-enclave unasked"], "none"]);
  });

  it("an answer counts for the attested key that gave it", () => {
    const scene = shown();
    const other = freshKey();
    scene.showed(enclaveItem(scene.parts), softwareItem({ ...scene.parts, key: other }, scene.nonce));
    scene.answered(other);
    expect(scene.challenges.toSorted()).toEqual(["secure-enclave unasked", "software answered"]);
  });

  it("an answer counts for the inference key that it was sealed to", () => {
    const scene = shown();
    scene.answered(scene.key);
    scene.inferenceKey = new Uint8Array(randomBytes(32));
    scene.showed(enclaveItem(scene.parts));
    expect(scene.challenges).toEqual(["secure-enclave unasked"]);
  });

  it.each<[number, string]>([
    [1, "answered"],
    [2, "answered"],
    [3, "missed"],
    [4, "missed"],
  ])("%i missed in a row after an answer: %s", (misses, standing) => {
    const scene = shown();
    scene.answered(scene.key);
    for (let n = 0; n < misses; n += 1) scene.challenged("missed");
    expect(scene.challenges).toEqual([`secure-enclave ${standing}`]);
    expect(scene.tier).toBe(standing === "answered" ? "key" : "none");
  });

  it("misses count without any answer before, too", () => {
    const scene = shown();
    for (let n = 0; n < 2; n += 1) scene.challenged("missed");
    expect(scene.challenges).toEqual(["secure-enclave unasked"]);
    scene.challenged("missed");
    expect(scene.challenges).toEqual(["secure-enclave missed"]);
  });

  it("an answer in between starts the count anew", () => {
    const scene = shown();
    for (const outcome of ["missed", "missed", "answered", "missed", "missed"] as const) scene.challenged(outcome);
    expect(scene.challenges).toEqual(["secure-enclave answered"]);
  });

  it("one wrong signature is enough, and misses after it do not cover it", () => {
    const scene = shown();
    scene.answered(scene.key);
    scene.challenged("failed");
    expect([scene.challenges, scene.tier]).toEqual([["secure-enclave failed"], "none"]);
    scene.challenged("missed");
    expect(scene.challenges).toEqual(["secure-enclave failed"]);
  });

  it.each(["missed", "failed"] as const)("a key that %s counts again when it answers", (outcome) => {
    const scene = shown();
    for (let n = 0; n < 3; n += 1) scene.challenged(outcome);
    scene.answered(scene.key);
    expect(scene.tier).toBe("key");
  });

  it.each([
    [240_000, "answered"],
    [240_001, "unasked"],
    [-240_000, "answered"],
    [-240_001, "unasked"],
  ])("%i ms after an answer: %s", (ms, standing) => {
    const scene = shown();
    scene.answered(scene.key);
    scene.nowMs += ms;
    expect(scene.challenges).toEqual([`secure-enclave ${standing}`]);
  });

  it("a host without a record cannot be challenged, whatever was answered before", () => {
    const scene = shown();
    scene.answered(scene.key);
    scene.hasRecord = false;
    expect([scene.challenges, scene.tier]).toEqual([["secure-enclave impossible"], "none"]);
  });

  it("without an inference key that may be used no answer counts", () => {
    const scene = shown();
    scene.answered(scene.key);
    scene.inferenceKey = undefined;
    expect([scene.challenges, scene.tier]).toEqual([["secure-enclave unasked"], "none"]);
  });

  it("of sixteen keys at most something is kept, and those heard of last stay", () => {
    const scene = shown();
    scene.challenged("failed");
    const others = Array.from({ length: 15 }, freshKey);
    scene.answered(...others);
    expect(scene.challenges).toEqual(["secure-enclave failed"]);
    scene.challenged("missed");
    scene.answered(...Array.from({ length: 15 }, freshKey));
    expect(scene.challenges).toEqual(["secure-enclave failed"]);
    scene.answered(freshKey());
    expect([scene.challenges, scene.tier]).toEqual([["secure-enclave unasked"], "none"]);
  });
});

describe("when evidence is asked for again", () => {
  const challenged = (): Scene => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    return scene;
  };

  it("at once when none has come", () => {
    expect(new Scene().wantsItems).toBe(true);
  });

  it("not while a challenge vouches for recent evidence", () => {
    expect(challenged().wantsItems).toBe(false);
  });

  it("at half of its life, so that no request waits for it", () => {
    const scene = challenged();
    scene.nowMs += 330_000;
    scene.challenged("answered");
    expect(scene.wantsItems).toBe(false);
    scene.nowMs += 1;
    expect(scene.wantsItems).toBe(true);
  });

  it("when nothing vouches that it is recent", () => {
    const scene = challenged();
    for (let n = 0; n < 3; n += 1) scene.challenged("missed");
    expect(scene.wantsItems).toBe(true);
  });

  it("when the inference key is another one", () => {
    const scene = challenged();
    scene.inferenceKey = new Uint8Array(randomBytes(32));
    expect(scene.wantsItems).toBe(true);
  });

  it("when it is distrusted", () => {
    const scene = challenged();
    scene.known.distrustItems();
    expect(scene.wantsItems).toBe(true);
  });

  it("when the clock was set back behind it, and then what it showed before is not stuck", () => {
    const scene = challenged();
    scene.nowMs -= 10_000;
    expect(scene.wantsItems).toBe(true);
    scene.nowMs -= 3_600_000;
    expect([scene.wantsItems, scene.tier]).toEqual([true, "none"]);
    scene.showed(enclaveItem(scene.parts));
    scene.challenged("answered");
    expect([scene.wantsItems, scene.tier]).toEqual([false, "key"]);
  });
});

describe("pins", () => {
  const standings = ({ proof }: Scene): unknown =>
    Object.fromEntries(proof.pieces.map(({ item, pin }) => [item.kind, pin.standing]));

  it("a value like the pin agrees, and reaches its tier", () => {
    const scene = new Scene();
    scene.pinned({ kind: "secure-enclave" });
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    expect([standings(scene), scene.tier]).toEqual([{ "secure-enclave": "agrees" }, "pinned"]);
  });

  it("a pin of this session confirms nothing, also when the clock was set back since", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    const [piece] = scene.proof.pieces;
    const value = piece && shownBy(piece);
    if (value) scene.book = withFirstContact(scene.book, scene.id, value, scene.nowMs - 5_000);
    scene.context = { ...nobody, ofThisSession: new Set([pinName(scene.id, "secure-enclave")]) };
    expect([standings(scene), scene.tier]).toEqual([{ "secure-enclave": "first-contact" }, "key"]);
  });

  it("a key that the operator accepts agrees without a pin", () => {
    const scene = new Scene();
    scene.showed(enclaveItem(scene.parts));
    scene.answered(scene.key);
    scene.context = { ...nobody, acceptedKeys: new Set([fingerprintOf(scene.key.point)]) };
    expect(scene.tier).toBe("pinned");
  });

  describe("of another kind", () => {
    /** The pinned key is a program's, `meets` is what the host shows of it; beside it stands a key of another kind. */
    function besides(meets: (pinned: TestKey, scene: Scene) => EvidenceItem): Scene & { pinnedKey: TestKey } {
      const scene = new Scene();
      const pinnedKey = freshKey();
      scene.pinned({ kind: "software", key: fingerprintOf(pinnedKey.point) });
      scene.showed(enclaveItem(scene.parts), meets(pinnedKey, scene));
      scene.answered(scene.key);
      return Object.assign(scene, { pinnedKey });
    }
    const speaking = (key: TestKey, { parts, nonce }: Scene): EvidenceItem => softwareItem({ ...parts, key }, nonce);

    it("are met by evidence that speaks for this node and key now", () => {
      const scene = besides(speaking);
      scene.answered(scene.pinnedKey);
      expect([standings(scene), scene.tier]).toEqual([{ "secure-enclave": "none", software: "agrees" }, "key"]);
    });

    it.each<[string, (pinned: TestKey, scene: Scene) => EvidenceItem]>([
      ["another inference key", (key, { parts }) => softwareItem({ ...parts, key, inferenceKey: new Uint8Array(32) })],
      ["another node", (key, { parts }) => softwareItem({ ...parts, key, id: freshId() })],
      ["a time to come", (key, { parts }) => softwareItem({ ...parts, key, atMs: parts.atMs + 60_000 })],
    ])("are not met by a copy that is for %s", (_what, copy) => {
      const scene = besides(copy);
      scene.answered(scene.pinnedKey);
      expect([standings(scene), scene.tier]).toEqual([{ "secure-enclave": "disagrees", software: "agrees" }, "none"]);
    });

    it.each(["missed", "failed"] as const)("are not met by a key that %s its challenges", (outcome) => {
      const scene = besides(speaking);
      for (let n = 0; n < 3; n += 1) scene.challenged(outcome, scene.pinnedKey);
      expect([standings(scene), scene.tier]).toEqual([{ "secure-enclave": "disagrees", software: "agrees" }, "none"]);
    });

    it("are not met by a copy that is too old", () => {
      const scene = besides((key, { parts }) => softwareItem({ ...parts, key, atMs: parts.atMs - 700_000 }));
      scene.answered(scene.pinnedKey);
      expect(scene.tier).toBe("none");
    });

    it("are not met by a key that has answered nothing", () => {
      const scene = besides((key, { parts }) => softwareItem({ ...parts, key }));
      scene.challenged("missed", scene.pinnedKey);
      expect(scene.tier).toBe("none");
    });
  });

  it("another build is not given the standing of an older piece with the pinned one", () => {
    const scene = new Scene();
    scene.pinned({ kind: "secure-enclave", measurement: "aa" });
    const old = enclaveItem({ ...scene.parts, build: "aa", atMs: scene.nowMs - 600_000 });
    scene.showed(old, enclaveItem({ ...scene.parts, build: "bb" }));
    scene.answered(scene.key);
    const byBuild = scene.proof.pieces.map(({ claims, pin }) => `${claims.measurement?.value} ${pin.standing}`);
    expect(byBuild.toSorted()).toEqual(["aa agrees", "bb disagrees"]);
  });

  it("a build that is no digest cannot be pinned, but its key can", () => {
    const scene = new Scene();
    scene.showed(enclaveItem({ ...scene.parts, build: "version 3; rm" }));
    const [piece] = scene.proof.pieces;
    const key = fingerprintOf(scene.key.point);
    expect(piece && shownBy(piece)).toEqual({ kind: "secure-enclave", key, measurement: undefined });
  });

  it("a piece that no key has signed has nothing to pin", () => {
    const scene = new Scene();
    scene.pinned({ kind: "secure-enclave" });
    scene.showed(nonsense("secure-enclave"));
    const [piece] = scene.proof.pieces;
    expect([piece && shownBy(piece), piece?.pin.standing]).toEqual([undefined, "none"]);
  });
});

describe("what a chip has shown", () => {
  const chip = madeChip();
  const withChip = (): Scene => new Scene({ roots: [chip.root] });
  const secret = new Uint8Array(32).fill(5);
  const residence = ({ proof }: Scene): string | undefined => proof.pieces[0]?.verdict["key-residence"].reason;

  it("that a key is kept in it counts for that key", () => {
    const scene = withChip();
    const item = tpmItem({ ...scene.parts, nonce: scene.nonce, chip });
    scene.showed(item);
    expect(residence(scene)).toBe("not-activated");
    scene.known.hasResidence(scene.key.point, tpm2.residence?.(item, secret)?.proof ?? new Uint8Array());
    scene.answered(scene.key);
    expect([residence(scene), scene.tier]).toEqual(["key-in-chip", "vendor"]);
    // it outlives the piece that it was asked for
    scene.nowMs += 2_000;
    scene.showed(tpmItem({ ...scene.parts, nonce: scene.nonce, chip, chipMs: 3_000 }));
    expect(residence(scene)).toBe("key-in-chip");
  });

  it("for another key of the same chip it counts nothing", () => {
    const scene = withChip();
    const item = tpmItem({ ...scene.parts, nonce: scene.nonce, chip });
    scene.showed(item);
    scene.known.hasResidence(scene.key.point, tpm2.residence?.(item, secret)?.proof ?? new Uint8Array());
    scene.known.distrustItems();
    scene.showed(tpmItem({ ...scene.parts, key: freshKey(), nonce: scene.nonce, chip }));
    expect(residence(scene)).toBe("not-activated");
  });

  /** Shows a quote in the place of all before. @returns what came of its time */
  function freshOf(scene: Scene, item: EvidenceItem): string | undefined {
    scene.known.distrustItems();
    scene.showed(item);
    return scene.proof.pieces[0]?.verdict.fresh.reason;
  }

  it("its time never goes back, and a copy does not move it", () => {
    const scene = new Scene();
    const at = (chipMs: number): EvidenceItem => tpmItem({ ...scene.parts, chipMs });
    expect([3_000, 1_000, 2_000, 3_000].map((chipMs) => freshOf(scene, at(chipMs)))).toEqual([
      "own-time",
      "older-than-seen",
      "older-than-seen",
      "own-time",
    ]);
  });

  it("its time is that of one key", () => {
    const scene = new Scene();
    freshOf(scene, tpmItem({ ...scene.parts, chipMs: 3_000 }));
    expect(freshOf(scene, tpmItem({ ...scene.parts, key: freshKey(), chipMs: 1_000 }))).toBe("own-time");
  });

  it("a quote that is not for this host does not move its time", () => {
    const scene = new Scene();
    freshOf(scene, tpmItem({ ...scene.parts, id: freshId(), chipMs: 9_000 }));
    expect(freshOf(scene, tpmItem({ ...scene.parts, chipMs: 1_000 }))).toBe("own-time");
  });

  it("that a key is kept in it and its time are kept beside each other", () => {
    const scene = withChip();
    const at = (chipMs: number): EvidenceItem => tpmItem({ ...scene.parts, chipMs, chip });
    scene.showed(at(3_000));
    scene.known.hasResidence(scene.key.point, tpm2.residence?.(at(3_000), secret)?.proof ?? new Uint8Array());
    expect([freshOf(scene, at(1_000)), residence(scene)]).toEqual(["older-than-seen", "key-in-chip"]);
    expect([freshOf(scene, at(4_000)), residence(scene)]).toEqual(["own-time", "key-in-chip"]);
  });

  it("of sixteen keys at most it is kept", () => {
    const scene = new Scene();
    const old = tpmItem({ ...scene.parts, chipMs: 1_000 });
    freshOf(scene, tpmItem({ ...scene.parts, chipMs: 3_000 }));
    const show = (): unknown => freshOf(scene, tpmItem({ ...scene.parts, key: freshKey(), chipMs: 3_000 }));
    for (let n = 0; n < 15; n += 1) show();
    expect(freshOf(scene, old)).toBe("older-than-seen");
    show();
    expect(freshOf(scene, old)).toBe("own-time");
  });
});

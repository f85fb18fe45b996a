/**
 * Lists of builds on random bytes, with changes, and in random order: a decoder returns a value or throws a MeshError, and
 * whatever is offered, what a node holds is signed and never older than before. SEALMESH_FUZZ_RUNS raises the count.
 */
import { describe, expect, it } from "vitest";
import { isMeshError } from "../../src/base/errors.ts";
import { buildListIn } from "../../src/node/build-lists.ts";
import { judgeBuild, type ListBook, readBuildList, takeBuildList } from "../../src/policy/builds.ts";
import { decodeBuildList, decodeSignedBuildList, encodeBuildList } from "../../src/wire/builds.ts";
import { digestA, digestB, listed, listKey, listOf, signedList } from "../support/build-lists.ts";
import { fc } from "../support/fast-check.ts";

const numRuns = Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300);
const caseMs = 1_000;
const key = listKey();
const stranger = listKey();
const trust = { keys: new Set([key.id]), sigstore: undefined };
const now = Date.now();

const plain = encodeBuildList(
  listOf([listed(digestA), listed(digestB, { revoked: true, expiresMs: 1 })], { note: "n" }),
);
const good = signedList(key, listOf([listed(digestA)]));

/** Bytes near `bytes`: some of them others, and perhaps cut. */
const near = (bytes: Uint8Array): fc.Arbitrary<Uint8Array> =>
  fc
    .tuple(fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(bytes.length))
    .map(([changes, cut]) => {
      const out = bytes.slice(0, cut === 0 ? bytes.length : cut);
      for (const [at, byte] of changes) if (at < out.length) out[at] = byte;
      return out;
    });

function holds(run: () => unknown): void {
  const started = performance.now();
  try {
    run();
  } catch (thrown) {
    if (!isMeshError(thrown)) throw thrown;
  }
  expect(performance.now() - started).toBeLessThan(caseMs);
}

describe("decoders of lists", () => {
  it.each<[string, Uint8Array, (bytes: Uint8Array) => unknown]>([
    ["decodeBuildList", plain, decodeBuildList],
    ["decodeSignedBuildList", good, decodeSignedBuildList],
    ["buildListIn", good, (bytes) => buildListIn(`sealmesh-builds-v1:${Buffer.from(bytes).toString("latin1")}`)],
  ])("%s returns or throws a MeshError", (_name, bytes, decode) => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), near(bytes)), (input) => holds(() => decode(input))),
      { numRuns },
    );
  });

  it("readBuildList throws for nothing, and takes nothing that was changed", () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 400 }), near(good)), (input) => {
        const read = readBuildList(input, trust, now);
        expect(read.kind === "good").toBe(Buffer.compare(input, good) === 0);
      }),
      { numRuns },
    );
  });
});

it("whatever comes in whatever order: held is the highest number of the trusted key, and what it revokes is refused", () => {
  const offer = fc.record({ seq: fc.nat(9), ours: fc.boolean(), revoked: fc.boolean(), broken: fc.boolean() });
  fc.assert(
    fc.property(fc.array(offer, { maxLength: 12 }), (offers) => {
      let book: ListBook = new Map();
      let highest = -1;
      let revoked = false;
      for (const { seq, ours, revoked: revokes, broken } of offers) {
        const list = listOf([listed(digestA, { revoked: revokes })], { seq: BigInt(seq) });
        const bytes = signedList(ours ? key : stranger, list);
        const last = bytes.length - 40; // inside signature or key
        if (broken) bytes[last] = (bytes[last] ?? 0) ^ 1;
        const taken = takeBuildList(book, bytes, trust, now);
        const isNews = ours && !broken && seq > highest;
        expect(taken.kind === "taken").toBe(isNews);
        if (taken.kind !== "taken") continue;
        book = taken.book;
        highest = seq;
        revoked = revokes;
      }
      const lists = [...book.values()];
      expect(lists.map(({ list }) => Number(list.seq))).toEqual(highest < 0 ? [] : [highest]);
      const expected = highest < 0 ? "no-list" : revoked ? "revoked" : "accepted";
      expect(judgeBuild(lists, { digest: digestA, platform: "linux" }, now).outcome).toBe(expected);
    }),
    { numRuns: Math.min(numRuns, 200) },
  );
});

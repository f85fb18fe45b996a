/** Lists of builds as bytes: what is written is read again, and nothing else is. */
import { describe, expect, it } from "vitest";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import {
  type BuildList,
  buildListSigningBytes,
  decodeBuildList,
  decodeSignedBuildList,
  encodeBuildList,
  encodeSignedBuildList,
} from "../../../src/wire/builds.ts";
import { decodeGossip, encodeGossip } from "../../../src/wire/gossip.ts";
import { limits } from "../../../src/wire/limits.ts";
import { digestA, digestB, listed, listKey, listOf, signedList } from "../../support/build-lists.ts";
import { expectCode } from "../../support/expect-code.ts";

const list: BuildList = {
  seq: 2n ** 63n,
  issuedAtMs: 1_767_225_600_000,
  notBeforeMs: 1_767_225_600_000,
  expiresMs: 1_767_225_700_000,
  builds: [listed(digestA, { notBeforeMs: 5, expiresMs: 6 }), listed(digestB, { platform: "linux", revoked: true })],
  note: "for the winter",
};
const signature = new Uint8Array(64).fill(1);
const key = new Uint8Array(32).fill(2);

describe("a list", () => {
  it("is read as it was written", () => {
    expect(decodeBuildList(encodeBuildList(list))).toEqual(list);
    expect(decodeBuildList(encodeBuildList({ ...list, builds: [], note: undefined }))).toEqual({
      ...list,
      builds: [],
      note: undefined,
    });
  });

  it("shares no memory with its bytes, and fits with as many builds as it may have", () => {
    const many = Array.from({ length: limits.buildsPerList }, (_, at) =>
      listed(at.toString(16).padStart(64, "0"), { version: `10.20.30-beta.${at}`, expiresMs: list.expiresMs }),
    );
    const signed = encodeBuildList({ ...list, builds: many });
    expect(signed.length).toBeLessThan(limits.buildListBytes - limits.sigstoreBundleBytes);
    const read = decodeBuildList(signed);
    signed.fill(0);
    expect(read.builds).toEqual(many);
  });

  it.each<[string, Partial<BuildList>]>([
    ["too many builds", { builds: Array.from({ length: limits.buildsPerList + 1 }, () => listed(digestA)) }],
    ["a version that moves a terminal", { builds: [listed(digestA, { version: "\u001b[2J" })] }],
    ["no version", { builds: [listed(digestA, { version: "" })] }],
    ["a version without end", { builds: [listed(digestA, { version: "v".repeat(300) })] }],
    ["a platform that is none", { builds: [listed(digestA, { platform: "Linux x64" })] }],
    ["a note with a line break", { note: "a\nb" }],
    ["an end before its beginning", { expiresMs: list.notBeforeMs }],
    ["a time beyond what a number holds", { expiresMs: 2 ** 60 }],
  ])("with %s is not written", (_what, change) => {
    expectCode("E_WIRE", () => encodeBuildList({ ...list, ...change }));
  });

  it("is signed behind a label of its own", () => {
    expect(buildListSigningBytes(utf8("x"))).toEqual(utf8("sealmesh-build-list-v1\0x"));
  });
});

describe("a signed list", () => {
  const signed = encodeBuildList(list);

  it("has a key and a signature, or a bundle", () => {
    const byKey = { signed, seal: { kind: "key", key, signature } } as const;
    const byBundle = { signed, seal: { kind: "sigstore", bundle: utf8("{}") } } as const;
    expect(decodeSignedBuildList(encodeSignedBuildList(byKey))).toEqual(byKey);
    expect(decodeSignedBuildList(encodeSignedBuildList(byBundle))).toEqual(byBundle);
  });

  it("with both, with neither, or with parts of a wrong size is none", () => {
    const byKey = encodeSignedBuildList({ signed, seal: { kind: "key", key, signature } });
    const bundle = encodeSignedBuildList({ signed: new Uint8Array(), seal: { kind: "sigstore", bundle: utf8("{}") } });
    expectCode("E_WIRE", () => decodeSignedBuildList(concat([byKey, bundle])));
    expectCode("E_WIRE", () => decodeSignedBuildList(new Uint8Array()));
    for (const seal of [
      { kind: "key", key: key.subarray(1), signature },
      { kind: "key", key, signature: signature.subarray(1) },
      { kind: "sigstore", bundle: new Uint8Array(limits.sigstoreBundleBytes + 1) },
    ] as const) {
      expectCode("E_WIRE", () => decodeSignedBuildList(encodeSignedBuildList({ signed, seal })));
    }
    expectCode("E_WIRE", () => decodeSignedBuildList(new Uint8Array(limits.buildListBytes + 1)));
  });
});

describe("field 1001", () => {
  const signer = listKey();
  const other = listKey();
  const frameWith = (buildLists: readonly Uint8Array[]): Uint8Array =>
    encodeGossip({
      sender: signer.id,
      announcements: [
        {
          id: signer.id,
          role: "worker",
          httpPort: undefined,
          version: undefined,
          hostname: undefined,
          models: [],
          runtimes: [],
          address: undefined,
          meshId: undefined,
          inferenceKey: undefined,
          ownership: undefined,
          posture: [],
          evidence: undefined,
          record: undefined,
          buildLists,
        },
      ],
    });
  const listsIn = (bytes: Uint8Array): readonly Uint8Array[] | undefined =>
    decodeGossip(bytes, signer.id).announcements[0]?.buildLists;

  it("carries lists byte for byte, one for each signer", () => {
    const lists = [signedList(signer, listOf([listed(digestA)])), signedList(other, listOf([listed(digestB)]))];
    expect(listsIn(frameWith(lists))).toEqual(lists);
    expect(listsIn(frameWith([]))).toBeUndefined();
  });

  it("costs neither the entry nor more memory than its bounds, whatever is in it", () => {
    const good = Uint8Array.of(7);
    const long = new Uint8Array(limits.buildListBytes + 1);
    expect(listsIn(frameWith([long, good]))).toEqual([good]);
    const many = Array.from({ length: 50 }, (_, at) => Uint8Array.of(at));
    expect(listsIn(frameWith(many))).toEqual(many.slice(-limits.buildListsPerFrame));
  });
});

/**
 * Relayers of the reference read a blob and write it anew. Where that changes what was signed, a good host fails; where
 * it does not, somebody else's text is kept as if it were the host's. Ours keep the bytes that came.
 */
import { describe, expect, it } from "vitest";
import { verifyEvidence } from "../../src/attest/verify.ts";
import { fromUtf8, utf8 } from "../../src/base/bytes.ts";
import { type Announcement, decodeGossip, encodeGossip } from "../../src/wire/gossip.ts";
import { decodeEvidenceItem, encodeEvidenceItem } from "../../src/wire/evidence.ts";
import { blobItem, goodBlob, host, inputFor, signedBlob } from "../support/evidence.ts";

const good = fromUtf8(goodBlob);
/** As somebody might write it who reads it into numbers and dates. */
const spaced = utf8(JSON.stringify(JSON.parse(good), undefined, 2));
const withMore = utf8(good.replace(/}$/, ',"note":"not signed"}'));

const announcement: Announcement = {
  id: host,
  role: "host",
  httpPort: 9337,
  version: "0.65.0",
  hostname: undefined,
  models: [],
  runtimes: [],
  address: { id: host, relays: [], direct: [] },
  meshId: undefined,
  inferenceKey: undefined,
  ownership: undefined,
  posture: [],
  evidence: undefined,
  record: undefined,
};

describe("A10: evidence that others have in their hands", () => {
  it.each([
    ["as the reference writes it", goodBlob],
    ["with white space", spaced],
    ["with a member of somebody else", withMore],
    ["that is no JSON at all", utf8("\u0000 not JSON")],
  ])("goes through gossip and through a file byte for byte: %s", (_name, evidence) => {
    const frame = encodeGossip({ sender: host, announcements: [{ ...announcement, evidence }] });
    expect(decodeGossip(frame, host).announcements[0]?.evidence).toEqual(evidence);
    expect(decodeEvidenceItem(encodeEvidenceItem(blobItem(evidence)))).toEqual(blobItem(evidence));
  });

  it("what was only laid out anew is still what was signed, and what was added is no claim", () => {
    const untouched = verifyEvidence(inputFor(blobItem(goodBlob)));
    for (const evidence of [spaced, withMore]) expect(verifyEvidence(inputFor(blobItem(evidence)))).toEqual(untouched);
  });

  it.each([
    ["a time in another form", good, "2026-05-05T00:00:00.123456789+00:00", "2026-05-05T00:00:00.123456789Z"],
    ["a time without its last digits", good, ".123456789", ".123"],
    [
      "an id in capitals",
      good,
      /"node_endpoint_id":"[^"]*"/,
      (id: string) => id.replace(/:.*/, (hex) => hex.toUpperCase()),
    ],
    [
      "memory that went through a double",
      fromUtf8(signedBlob({ memoryBytes: 9_007_199_254_740_993n })),
      "9007199254740993",
      String(JSON.parse("9007199254740993")),
    ],
  ] as const)("%s is refused by its signature", (_name, before, found, put) => {
    expect(verifyEvidence(inputFor(blobItem(utf8(before)))).verdict.signature.outcome).toBe("pass");
    const after = typeof put === "string" ? before.replace(found, put) : before.replace(found, put);
    expect(after).not.toBe(before);
    expect(verifyEvidence(inputFor(blobItem(utf8(after)))).verdict.signature.reason).toBe("signature-wrong");
  });
});

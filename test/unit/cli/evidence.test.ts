/** The demo's evidence on records made by hand: a relay that saw text, and records that prove nothing, must not pass. */
import { join } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterAll, describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { type Evidence, readEvidence } from "../../../src/cli/demo/evidence.ts";
import { fileTap, type TapEntry } from "../../../src/transport/tap.ts";
import { encodeFrame } from "../../../src/wire/frame.ts";
import { expectCode } from "../../support/expect-code.ts";

const directory = mkdtempSync(join(tmpdir(), "sealmesh-test-"));
afterAll(() => rmSync(directory, { recursive: true }));

const peer = endpointId("677edd9c7a6fbaa5d609dc7005ce8011d54e0314acf89ca172057bc140ede62a");
const question = "What is the ciphertext of a relay?";
const pieces = ["Nothing", " that the", " relay", " could open."];
const noise = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 151 + (at >> 4)) & 0xff);
const names = '{"model":"","ephemeral_public_key":"';
const sealed = `${names}AAAA","ciphertext":"${Buffer.from(noise(300)).toString("base64")}"}`;
const request = Buffer.concat([Uint8Array.of(0xe1), utf8(sealed)]);
const response = Buffer.concat([Uint8Array.of(0xe1), noise(400)]);
const frame = encodeFrame(noise(40));

let files = 0;
/** Writes a record as a relay would, each stream's bytes cut in two. */
function evidenceOf(streams: readonly Partial<TapEntry>[]): Evidence {
  files += 1;
  const file = join(directory, `${files}.jsonl`);
  const sink = fileTap(file);
  for (const given of streams) {
    const { bytes = noise(10), ...about } = given;
    const entry = { connection: 1, peer, alpn: "sealmesh/1", stream: 0, openedBy: "peer", direction: "in" } as const;
    const half = bytes.length >> 1;
    for (const part of [bytes.subarray(0, half), bytes.subarray(half)]) sink({ ...entry, ...about, bytes: part });
  }
  return readEvidence(file, question, pieces);
}

const towardsHost = { bytes: Buffer.concat([Uint8Array.of(0x02), frame, request]) };
const back = { direction: "out", bytes: Buffer.concat([frame, response]) } as const;
const onward = { connection: 2, openedBy: "us", direction: "out" } as const;
const toHost = { ...onward, bytes: Buffer.concat([Uint8Array.of(0x03), frame, request]) };
const gossip = { connection: 3, alpn: "mesh-llm/1", bytes: utf8("\u0001 host relay client 0.65.1+sealmesh") } as const;

describe("readEvidence", () => {
  it("counts streams and bytes, and finds nothing in envelopes and gossip", () => {
    const evidence = evidenceOf([gossip, towardsHost, back, toHost]);
    expect(evidence).toMatchObject({ envelopeStreams: 2, gossipStreams: 1, finds: [] });
    expect(evidence.request).toEqual(new Uint8Array(request));
    expect(evidence.response).toEqual(new Uint8Array(response));
  });

  it("tells a word of the answer from the envelope's own member names", () => {
    const bytes = Buffer.concat([back.bytes, utf8("ciphertext")]);
    expect(evidenceOf([towardsHost, { ...back, bytes }]).finds).toMatchObject([{ text: "ciphertext" }]);
  });

  it.each([
    { what: "the question", text: question },
    { what: "one piece of the answer", text: " that the" },
    { what: "an HTTP head", text: "HTTP/1.1 200 OK" },
  ])("finds $what in an envelope stream", ({ text }) => {
    const bytes = Buffer.concat([back.bytes, utf8(text)]);
    expect(evidenceOf([towardsHost, { ...back, bytes }]).finds).not.toEqual([]);
    const hidden = Buffer.concat([towardsHost.bytes, utf8(Buffer.from(text).toString("base64"))]);
    expect(evidenceOf([{ bytes: hidden }, back]).finds).not.toEqual([]);
  });

  it("finds a piece of the question in gossip", () => {
    const bytes = Buffer.concat([gossip.bytes, utf8("is the ciphertext of")]);
    expect(evidenceOf([{ ...gossip, bytes }, towardsHost, back]).finds).not.toEqual([]);
  });

  it("refuses a record that shows no exchange, or not all of it", () => {
    expectCode("E_BUG", () => evidenceOf([gossip]));
    expectCode("E_BUG", () => evidenceOf([towardsHost]));
    expectCode("E_BUG", () =>
      evidenceOf([towardsHost, { ...back, bytes: Buffer.concat([frame, utf8("HTTP/1.1 200")]) }]),
    );
    expectCode("E_BUG", () =>
      evidenceOf([towardsHost, { ...back, bytes: Buffer.concat([frame, Uint8Array.of(0xe1)]) }]),
    );
  });
});

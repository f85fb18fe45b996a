/**
 * What the relay saw: reads the record of all bytes above QUIC that its process received and sent (transport/tap.ts),
 * finds the streams that carried the exchange, and searches everything for the question and the answer.
 */
import { readFileSync } from "node:fs";
import { concat, fromHex, readU32le, utf8, view } from "../../base/bytes.ts";
import { MeshError } from "../../base/errors.ts";
import { envelopeByte, sealStreams } from "../../wire/stream-types.ts";
import { type Find, longWords, runsOf, search } from "./search.ts";

export interface Evidence {
  /** Streams that carried envelopes: the client's to the relay, and the relay's to the host. */
  readonly envelopeStreams: number;
  /** All other streams: who is there, under which keys and addresses. */
  readonly gossipStreams: number;
  /** Bytes on the client's stream, towards the host and back. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** All bytes that were searched. */
  readonly searchedBytes: number;
  /** The envelopes as they passed, from their first byte. */
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  /** How many different texts were searched for. */
  readonly searchedTexts: number;
  readonly finds: readonly Find[];
}

/** One direction of one stream of the relay. */
interface Carried {
  readonly alpn: string;
  readonly openedBy: "us" | "peer";
  readonly direction: "in" | "out";
  readonly bytes: Uint8Array;
}

/** Texts that stand in every exchange of this kind in the clear, whatever the question. */
const httpMarks = ["HTTP/1.1", "/v1/chat", "chat.completion", '"messages"', '"content"', "text/event-stream"];

/** The envelope's own JSON names, in the clear by design: "ciphertext" there is no word of the answer. */
const envelopeNames = ['{"model":"","ephemeral_public_key":"', '","ciphertext":"'];

/**
 * @param pieces the answer as it was streamed: a piece may have travelled apart from its neighbours
 * @throws       E_BUG the record holds no exchange, or the search cannot find what it is looking for in plain bytes
 */
export function readEvidence(tapFile: string, question: string, pieces: readonly string[]): Evidence {
  const answer = pieces.join("");
  const carried = readTap(tapFile);
  const envelopes = carried.filter(isEnvelopeStream);
  const request = envelopes.find(({ openedBy, direction }) => openedBy === "peer" && direction === "in");
  const response = envelopes.find(({ openedBy, direction }) => openedBy === "peer" && direction === "out");
  if (!request || !response) throw new MeshError("E_BUG", "the relay's record shows no envelope in both directions");
  if (!isEnvelope(request) || !isEnvelope(response)) {
    throw new MeshError("E_BUG", "the relay carried something else than an envelope");
  }
  if (request.bytes.length < question.length || response.bytes.length < answer.length) {
    throw new MeshError("E_BUG", "the relay's record is shorter than the question and the answer: it is not complete");
  }
  // in the envelopes each longer word counts; in gossip "relay" is a node's role, so only longer runs do
  const words = [...new Set([...longWords(question), ...longWords(answer), ...pieces.filter(isLong), ...httpMarks])];
  const runs = [...new Set([...runsOf(question), ...runsOf(answer)])];
  if (search(utf8(JSON.stringify({ question, answer })), [...words, ...runs]).length < runs.length) {
    throw new MeshError("E_BUG", "the search does not even find the question and the answer in plain text");
  }
  const finds = carried.flatMap((stream) => {
    const haystack = isEnvelopeStream(stream) ? withoutNames(stream.bytes) : stream.bytes;
    return search(haystack, isEnvelopeStream(stream) ? [...words, ...runs] : runs);
  });
  const streamCount = new Set(carried.map(({ stream }) => stream)).size;
  const envelopeStreams = new Set(envelopes.map(({ stream }) => stream)).size;
  return {
    envelopeStreams,
    gossipStreams: streamCount - envelopeStreams,
    requestBytes: request.bytes.length,
    responseBytes: response.bytes.length,
    searchedBytes: carried.reduce((sum, { bytes }) => sum + bytes.length, 0),
    request: envelopeOf(request.bytes),
    response: envelopeOf(response.bytes),
    searchedTexts: words.length + runs.length,
    finds,
  };
}

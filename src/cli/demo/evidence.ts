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
  /** Connection and stream: the same for both directions. */
  readonly stream: string;
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
  const envelopeStreams = new Set(carried.filter(opensEnvelopeStream).map(({ stream }) => stream));
  const fromClient = carried.filter(({ stream, openedBy }) => envelopeStreams.has(stream) && openedBy === "peer");
  const towardsHost = fromClient.find(({ direction }) => direction === "in");
  const back = fromClient.find(({ direction }) => direction === "out");
  if (!towardsHost || !back) throw new MeshError("E_BUG", "the relay's record shows no envelope in both directions");
  const request = afterFrame(towardsHost.bytes, 1); // behind the type byte
  const response = afterFrame(back.bytes, 0);
  if (request[0] !== envelopeByte || response[0] !== envelopeByte) {
    throw new MeshError("E_BUG", "the relay carried something else than an envelope");
  }
  if (request.length < question.length || response.length < answer.length) {
    throw new MeshError("E_BUG", "the relay's record is shorter than the question and the answer: it is not complete");
  }
  // in the envelopes each longer word counts; in gossip "relay" is a node's role, so only longer runs do
  const words = [...new Set([...longWords(question), ...longWords(answer), ...pieces.filter(isLong), ...httpMarks])];
  const runs = [...new Set([...runsOf(question), ...runsOf(answer)])];
  const found = new Set(search(utf8(`${question}\n${answer}`), runs).map(({ text }) => text));
  if (found.size < runs.length) throw new MeshError("E_BUG", "the search does not even find a text in itself");
  const finds = carried.flatMap((stream) =>
    envelopeStreams.has(stream.stream)
      ? search(withoutNames(stream.bytes), [...words, ...runs])
      : search(stream.bytes, [...httpMarks, ...runs]),
  );
  const streamCount = new Set(carried.map(({ stream }) => stream)).size;
  return {
    envelopeStreams: envelopeStreams.size,
    gossipStreams: streamCount - envelopeStreams.size,
    searchedBytes: carried.reduce((sum, { bytes }) => sum + bytes.length, 0),
    request,
    response,
    searchedTexts: words.length + runs.length,
    finds,
  };
}

function isLong(piece: string): boolean {
  return piece.trim().length >= 5;
}

function readTap(file: string): Carried[] {
  const parts = new Map<string, Omit<Carried, "bytes"> & { readonly parts: Uint8Array[] }>();
  for (const line of readFileSync(file, "utf8").split("\n")) {
    if (line === "") continue;
    const entry = readEntry(line);
    const stream = `${entry.connection}/${entry.alpn}/${entry.stream}`;
    const key = `${stream}/${entry.direction}`;
    const { alpn, opened_by: openedBy, direction } = entry;
    const known = parts.get(key) ?? { stream, alpn, openedBy, direction, parts: [] };
    known.parts.push(fromHex(entry.hex));
    parts.set(key, known);
  }
  return [...parts.values()].map(({ parts: pieces, ...about }) => ({ ...about, bytes: concat(pieces) }));
}

/** One line of fileTap's: ours, from a process of ours. */
interface TapLine {
  readonly connection: number;
  readonly alpn: string;
  readonly stream: number;
  readonly opened_by: "us" | "peer";
  readonly direction: "in" | "out";
  readonly hex: string;
}

function readEntry(line: string): TapLine {
  const value: unknown = JSON.parse(line);
  if (typeof value === "object" && value !== null && "hex" in value && "stream" in value && "alpn" in value) {
    return value as TapLine;
  }
  throw new MeshError("E_BUG", "the relay's record has a line of another shape");
}

/** Whether the opener's first byte says that envelopes travel here: from an asker to us, or from us to a host. */
function opensEnvelopeStream({ alpn, openedBy, direction, bytes }: Carried): boolean {
  if (alpn !== "sealmesh/1") return false;
  if (openedBy === "peer") return direction === "in" && bytes[0] === sealStreams.relay;
  return direction === "out" && bytes[0] === sealStreams.relayed;
}

/** What follows the frame (u32 LE length | bytes) that the relay and its neighbour exchange first. */
function afterFrame(bytes: Uint8Array, start: number): Uint8Array {
  return bytes.length < start + 4 ? bytes.subarray(bytes.length) : bytes.subarray(start + 4 + readU32le(bytes, start));
}

/** A copy with the names blanked out once, where they stand. */
function withoutNames(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  for (const name of envelopeNames) {
    const at = view(copy).indexOf(name);
    if (at !== -1) copy.fill(0x20, at, at + name.length);
  }
  return copy;
}

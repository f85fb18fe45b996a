/**
 * Embeddings in the encoding that the caller asked for: an engine that ignores `encoding_format` answers floats, which the
 * official client, having asked for base64, turns into an empty vector without a word (engines.md §4.1).
 */
import { fromBase64, toBase64, view } from "../base/bytes.ts";
import { isRecord, type Json } from "../base/json.ts";

export type EmbeddingEncoding = "base64" | "float";

const float32Bytes = 4;

/**
 * The same answer with every vector as base64 (little-endian float32, 4 bytes a number) or as a list of numbers. Whatever
 * has another shape stays as it is: a vector that already is as asked, numbers that are none, text that is no base64.
 */
export function embeddingsAsAsked(json: Json, asked: EmbeddingEncoding): Json {
  const { data } = json;
  if (!Array.isArray(data)) return json;
  return { ...json, data: data.map((item: unknown) => (isRecord(item) ? converted(item, asked) : item)) };
}

function converted(item: Json, asked: EmbeddingEncoding): Json {
  const { embedding } = item;
  const vector = asked === "base64" ? toText(embedding) : toNumbers(embedding);
  return vector === undefined ? item : { ...item, embedding: vector };
}

function toText(embedding: unknown): string | undefined {
  if (!Array.isArray(embedding) || !embedding.every((value) => typeof value === "number")) return undefined;
  const bytes = new Uint8Array(embedding.length * float32Bytes);
  const floats = view(bytes);
  embedding.forEach((value: number, index) => floats.writeFloatLE(value, index * float32Bytes));
  return toBase64(bytes);
}

function toNumbers(embedding: unknown): number[] | undefined {
  if (typeof embedding !== "string") return undefined;
  let bytes: Uint8Array;
  try {
    bytes = fromBase64(embedding);
  } catch {
    return undefined;
  }
  if (bytes.length % float32Bytes !== 0) return undefined;
  const floats = view(bytes);
  const numbers = Array.from({ length: bytes.length / float32Bytes }, (_, index) =>
    floats.readFloatLE(index * float32Bytes),
  );
  // JSON has no infinity and would make it null
  return numbers.every(Number.isFinite) ? numbers : undefined;
}

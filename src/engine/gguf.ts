/**
 * A look at the head of a GGUF file before llama.cpp sees it, so that a broken or unfit file is a sentence and not an
 * aborted process. It finds what was seen to abort (engines.md §2) and files cut short; it does not prove that a file is
 * good, and the child process stays the safety.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 keys | keys: string name, u32 type, value | tensors: string name,
 *     u32 dimensions, u64 sizes[dimensions] (fastest first), u32 type, u64 offset | padding | tensor data
 *     string = u64 length | bytes; all little-endian
 */
import { open } from "node:fs/promises";
import { view } from "../base/bytes.ts";
import { MeshError, systemCode } from "../base/errors.ts";

export interface GgufHead {
  /** "llama", "qwen3"; undefined when the file does not say. */
  readonly architecture: string | undefined;
  /** Name that its maker gave the model. */
  readonly name: string | undefined;
  readonly trainContextSize: number | undefined;
  readonly hasChatTemplate: boolean;
  /** False when the head is longer than the bytes that were looked at: then only part of it was checked. */
  readonly complete: boolean;
}

// the largest vocabularies (260,000 tokens with merges) need about 12 MiB
const headLimitBytes = 32 * 1024 * 1024;
// far beyond any model; keeps a hostile count from costing time
const keyLimit = 10_000;
const tensorLimit = 100_000;
const dimensionLimit = 8;
const nameLimitBytes = 4096;
const depthLimit = 2;

/**
 * Reads and checks the head of a file.
 *
 * @throws E_CONFIG with a sentence: not there, not readable, not GGUF, cut short, or unfit for llama.cpp
 */
export async function readGgufHead(path: string): Promise<GgufHead> {
  try {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const bytes = new Uint8Array(Math.min(size, headLimitBytes));
      let filled = 0;
      while (filled < bytes.length) {
        const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, filled);
        if (bytesRead === 0) break;
        filled += bytesRead;
      }
      return decodeGgufHead(bytes.subarray(0, filled), size);
    } finally {
      await file.close();
    }
  } catch (thrown) {
    throw fileError(thrown);
  }
}

function fileError(thrown: unknown): unknown {
  switch (systemCode(thrown)) {
    case "ENOENT":
      return new MeshError("E_CONFIG", "there is no such file", { cause: thrown });
    case "EACCES":
    case "EPERM":
      return new MeshError("E_CONFIG", "the file may not be read by this user", { cause: thrown });
    case "EISDIR":
      return new MeshError("E_CONFIG", "it is a directory, not a GGUF file", { cause: thrown });
    default:
      return thrown;
  }
}

/** A value of the head, as far as it is of use here. Lists of strings are kept only for the vocabulary. */
type Value = string | number | boolean | { readonly list: readonly string[] | undefined; readonly length: number };

/**
 * Decodes and checks a head.
 *
 * @param bytes     the first bytes of the file; borrowed
 * @param fileBytes size of the whole file
 * @throws E_CONFIG with a sentence
 */
export function decodeGgufHead(bytes: Uint8Array, fileBytes: number): GgufHead {
  const cursor = new Cursor(bytes);
  const values = new Map<string, Value>();
  let complete = true;
  try {
    const { tensors, keys } = readCounts(cursor);
    for (let index = 0; index < keys; index++) {
      const key = cursor.string(nameLimitBytes, "a key");
      values.set(key, readValue(cursor, key));
    }
    readTensors(cursor, tensors, alignmentOf(values), fileBytes);
  } catch (thrown) {
    if (!(thrown instanceof PastEnd)) throw thrown;
    if (fileBytes <= bytes.length) throw unfit("the file is cut short: its head does not end");
    complete = false;
  }
  check(values, complete);
  const architecture = text(values.get("general.architecture"));
  return {
    architecture,
    name: text(values.get("general.name")),
    trainContextSize: number(values.get(`${architecture}.context_length`)),
    hasChatTemplate: text(values.get("tokenizer.chat_template")) !== undefined,
    complete,
  };
}

function readCounts(cursor: Cursor): { tensors: number; keys: number } {
  if (cursor.length === 0) throw unfit("the file is empty");
  if (cursor.length < 4 || cursor.take(4).toString("latin1") !== "GGUF") throw unfit("the file is not a GGUF file");
  const version = cursor.u32();
  if (version === 0x03000000 || version === 0x02000000) throw unfit("the file is for big-endian machines");
  if (version !== 2 && version !== 3) throw unfit(`the file has GGUF version ${version}; only 2 and 3 can be read`);
  const tensors = cursor.count(tensorLimit, "tensors");
  const keys = cursor.count(keyLimit, "keys");
  if (tensors === 0) throw unfit("the file holds no tensors; it may be a vocabulary alone");
  return { tensors, keys };
}

// bytes of a value of each type; 8 = string and 9 = list are read apart
const valueBytes: ReadonlyMap<number, number> = new Map([
  [0, 1],
  [1, 1],
  [2, 2],
  [3, 2],
  [4, 4],
  [5, 4],
  [6, 4],
  [7, 1],
  [10, 8],
  [11, 8],
  [12, 8],
]);
const stringType = 8;
const listType = 9;

function readValue(cursor: Cursor, key: string): Value {
  const type = cursor.u32();
  if (type === stringType) return cursor.string(headLimitBytes, key);
  if (type === listType) return readList(cursor, key === "tokenizer.ggml.tokens", 1);
  return readScalar(cursor, type);
}

function readList(cursor: Cursor, keep: boolean, depth: number): Value {
  const type = cursor.u32();
  const length = cursor.count(headLimitBytes, "values in a list");
  const size = valueBytes.get(type);
  if (size !== undefined) {
    cursor.skip(size * length);
    return { list: undefined, length };
  }
  const list: string[] = [];
  for (let index = 0; index < length; index++) {
    if (type === stringType) {
      if (keep) list.push(cursor.string(headLimitBytes, "a token"));
      else cursor.skip(cursor.u64());
    } else if (type === listType && depth < depthLimit) {
      readList(cursor, false, depth + 1);
    } else {
      throw unfit(`the file has a value of unknown type ${type}`);
    }
  }
  return { list: keep ? list : undefined, length };
}

function readScalar(cursor: Cursor, type: number): Value {
  const size = valueBytes.get(type);
  if (size === undefined) throw unfit(`the file has a value of unknown type ${type}`);
  const bytes = cursor.take(size);
  switch (type) {
    case 1:
      return bytes.readInt8(0);
    case 2:
      return bytes.readUInt16LE(0);
    case 3:
      return bytes.readInt16LE(0);
    case 4:
      return bytes.readUInt32LE(0);
    case 5:
      return bytes.readInt32LE(0);
    case 6:
      return bytes.readFloatLE(0);
    case 7:
      return bytes[0] !== 0;
    case 10:
      return Number(bytes.readBigUInt64LE(0));
    case 11:
      return Number(bytes.readBigInt64LE(0));
    case 12:
      return bytes.readDoubleLE(0);
    default:
      return bytes.readUInt8(0);
  }
}

/** Values and bytes of one block of a tensor type, for the types whose size is certain; others are not measured. */
const blocks: ReadonlyMap<number, readonly [values: number, bytes: number]> = new Map([
  [0, [1, 4]], // F32
  [1, [1, 2]], // F16
  [2, [32, 18]], // Q4_0
  [3, [32, 20]], // Q4_1
  [6, [32, 22]], // Q5_0
  [7, [32, 24]], // Q5_1
  [8, [32, 34]], // Q8_0
  [10, [256, 84]], // Q2_K
  [11, [256, 110]], // Q3_K
  [12, [256, 144]], // Q4_K
  [13, [256, 176]], // Q5_K
  [14, [256, 210]], // Q6_K
  [30, [1, 2]], // BF16
]);

function readTensors(cursor: Cursor, tensors: number, alignment: number, fileBytes: number): void {
  let end = 0;
  for (let index = 0; index < tensors; index++) {
    cursor.string(nameLimitBytes, "a tensor's name");
    const dimensions = cursor.u32();
    if (dimensions > dimensionLimit) throw unfit(`a tensor has ${dimensions} dimensions`);
    let count = 1;
    for (let dimension = 0; dimension < dimensions; dimension++) count *= cursor.u64();
    const block = blocks.get(cursor.u32());
    const offset = cursor.u64();
    end = Math.max(end, offset + (block === undefined ? 0 : Math.ceil(count / block[0]) * block[1]));
  }
  const start = Math.ceil(cursor.offset / alignment) * alignment;
  if (start + end > fileBytes) {
    throw unfit(`the file is cut short: it has ${fileBytes} bytes where ${start + end} are needed`);
  }
}

function alignmentOf(values: ReadonlyMap<string, Value>): number {
  const alignment = number(values.get("general.alignment")) ?? 32;
  if (!Number.isInteger(alignment) || alignment < 1 || alignment > 65_536) {
    throw unfit(`the file has the alignment ${alignment}`);
  }
  return alignment;
}

/** What llama.cpp answers with an abort of the whole process instead of an error. */
function check(values: ReadonlyMap<string, Value>, complete: boolean): void {
  const architecture = text(values.get("general.architecture"));
  if (complete && architecture === undefined) throw unfit("the file does not name its architecture");
  if (complete && architecture === "llama") {
    for (const name of ["llama.feed_forward_length", "llama.attention.head_count"]) {
      const value = values.get(name);
      if (value === undefined) throw unfit(`the file lacks the key ${name}`);
      if (typeof value === "number" && !(value > 0)) throw unfit(`the file has ${value} as ${name}`);
    }
  }
  const tokenizer = text(values.get("tokenizer.ggml.model"));
  if (tokenizer === "none") throw unfit("the file has no tokenizer, so text cannot be read or written");
  const tokens = values.get("tokenizer.ggml.tokens");
  if (tokenizer === "llama" && typeof tokens === "object" && tokens.list !== undefined) {
    const known = new Set(tokens.list);
    for (let byte = 0; byte < 256; byte++) {
      const token = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
      if (!known.has(token)) throw unfit(`the file's vocabulary lacks the byte token ${token}`);
    }
  }
}

function unfit(message: string): MeshError {
  return new MeshError("E_CONFIG", message);
}

function text(value: Value | undefined): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function number(value: Value | undefined): number | undefined {
  return typeof value === "number" ? value : undefined;
}

/** Thrown by the cursor alone, caught by the decoder alone. */
class PastEnd extends Error {}

class Cursor {
  readonly #bytes: Buffer;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = view(bytes);
  }

  get length(): number {
    return this.#bytes.length;
  }

  take(length: number): Buffer {
    const start = this.offset;
    this.skip(length);
    return this.#bytes.subarray(start, start + length);
  }

  skip(length: number): void {
    if (length > this.#bytes.length - this.offset) throw new PastEnd();
    this.offset += length;
  }

  u32(): number {
    return this.take(4).readUInt32LE(0);
  }

  /** Beyond 2^53 not exact, and far past any end. */
  u64(): number {
    return Number(this.take(8).readBigUInt64LE(0));
  }

  count(limit: number, what: string): number {
    const value = this.u64();
    if (value > limit) throw unfit(`the file claims ${value} ${what}`);
    return value;
  }

  string(limitBytes: number, what: string): string {
    const length = this.u64();
    if (length > limitBytes) throw unfit(`the file claims ${length} bytes for ${what}`);
    return this.take(length).toString("utf8");
  }
}

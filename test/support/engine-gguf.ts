/**
 * GGUF files for tests, written from nothing: a tiny llama with random weights that loads in milliseconds and answers
 * with noise, and the same file with parts left out or cut off.
 */
import { writeFile } from "node:fs/promises";

export type GgufValue =
  | { readonly type: "u32"; readonly value: number }
  | { readonly type: "f32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "strings"; readonly value: readonly string[] }
  | { readonly type: "i32s"; readonly value: readonly number[] };

export interface GgufTensor {
  readonly name: string;
  /** Fastest first. */
  readonly sizes: readonly number[];
  readonly data: Float32Array;
}

const typeIds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, list: 9 } as const;
const alignment = 32;

/** Encodes a version 3 file with F32 tensors. */
export function encodeGguf(keys: ReadonlyMap<string, GgufValue>, tensors: readonly GgufTensor[]): Buffer {
  const parts: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(keys.size)];
  for (const [key, value] of keys) parts.push(text(key), ...encodeValue(value));
  let offset = 0;
  for (const { name, sizes, data } of tensors) {
    parts.push(text(name), u32(sizes.length), ...sizes.map(u64), u32(0), u64(offset));
    offset += padded(data.byteLength);
  }
  const head = Buffer.concat(parts);
  const body = tensors.map(({ data }) =>
    Buffer.concat([
      Buffer.from(data.buffer, data.byteOffset, data.byteLength),
      Buffer.alloc(padded(data.byteLength) - data.byteLength),
    ]),
  );
  return Buffer.concat([head, Buffer.alloc(padded(head.length) - head.length), ...body]);
}

function encodeValue(value: GgufValue): Buffer[] {
  switch (value.type) {
    case "u32":
      return [u32(typeIds.u32), u32(value.value)];
    case "f32": {
      const bytes = Buffer.alloc(4);
      bytes.writeFloatLE(value.value);
      return [u32(typeIds.f32), bytes];
    }
    case "bool":
      return [u32(typeIds.bool), Buffer.from([value.value ? 1 : 0])];
    case "string":
      return [u32(typeIds.string), text(value.value)];
    case "strings":
      return [u32(typeIds.list), u32(typeIds.string), u64(value.value.length), ...value.value.map(text)];
    case "i32s":
      return [u32(typeIds.list), u32(typeIds.i32), u64(value.value.length), ...value.value.map(u32)];
  }
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function padded(length: number): number {
  return Math.ceil(length / alignment) * alignment;
}

const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

export interface RandomModelOptions {
  /** @default 32 */
  readonly width?: number;
  /** @default 1 */
  readonly layers?: number;
  /** Trained context. @default 2048 */
  readonly contextLength?: number;
  /** @default "bytes" byte-level BPE without merges; "sentencepiece" has byte tokens */
  readonly vocabulary?: "bytes" | "sentencepiece";
  /** @default ChatML; null leaves it out */
  readonly chatTemplate?: string | null;
  /** Keys left out. */
  readonly without?: readonly string[];
  /** Tokens of the vocabulary to be written otherwise. */
  readonly renameToken?: readonly [from: string, to: string];
  /** Keys added or replaced. */
  readonly keys?: Readonly<Record<string, GgufValue>>;
  /**
   * The end-of-text token is never drawn: answers run to their limit.
   * @default true
   */
  readonly endless?: boolean;
}

/** A llama of random weights that speaks ChatML and writes random bytes of printable text. */
export function randomModel(options: RandomModelOptions = {}): Buffer {
  const { width = 32, layers = 1, contextLength = 2048, without = [], keys: extra = {}, endless = true } = options;
  const heads = 2;
  const hidden = width * 2;
  const { tokens, types, keys: tokenizer } = vocabularyOf(options);
  const all = new Map<string, GgufValue>([
    ["general.architecture", { type: "string", value: "llama" }],
    ["general.name", { type: "string", value: "random" }],
    ["llama.context_length", { type: "u32", value: contextLength }],
    ["llama.embedding_length", { type: "u32", value: width }],
    ["llama.block_count", { type: "u32", value: layers }],
    ["llama.feed_forward_length", { type: "u32", value: hidden }],
    ["llama.attention.head_count", { type: "u32", value: heads }],
    ["llama.attention.layer_norm_rms_epsilon", { type: "f32", value: 1e-5 }],
    ...tokenizer,
    ...Object.entries(extra),
  ]);
  if (options.chatTemplate !== null) {
    all.set("tokenizer.chat_template", { type: "string", value: options.chatTemplate ?? chatTemplate });
  }
  for (const key of without) all.delete(key);

  const random = generator(7);
  const matrix = (name: string, from: number, to: number): GgufTensor => {
    const data = new Float32Array(from * to);
    for (let index = 0; index < data.length; index++) data[index] = (random() - 0.5) * (2 / Math.sqrt(from));
    return { name, sizes: [from, to], data };
  };
  const ones = (name: string): GgufTensor => ({ name, sizes: [width], data: new Float32Array(width).fill(1) });
  const output = matrix("output.weight", width, tokens.length);
  // printable tokens only, unless asked otherwise: all others keep a logit of zero, which the constant below undercuts
  const embedding = matrix("token_embd.weight", width, tokens.length);
  for (let token = 0; token < tokens.length; token++) {
    // the first coordinate is large and positive in every embedding, so it survives the norms as a bias
    embedding.data[token * width] = 8;
    const printable = types[token] === 1 && /^[\x20-\x7e]$/.test(tokens[token] ?? "");
    const ends = types[token] === 3 && !endless;
    output.data[token * width] = printable ? 1 : ends ? 1.3 : -4;
  }
  const tensors: GgufTensor[] = [embedding];
  for (let layer = 0; layer < layers; layer++) {
    const at = `blk.${layer}.`;
    tensors.push(
      ones(`${at}attn_norm.weight`),
      matrix(`${at}attn_q.weight`, width, width),
      matrix(`${at}attn_k.weight`, width, width),
      matrix(`${at}attn_v.weight`, width, width),
      matrix(`${at}attn_output.weight`, width, width),
      ones(`${at}ffn_norm.weight`),
      matrix(`${at}ffn_gate.weight`, width, hidden),
      matrix(`${at}ffn_up.weight`, width, hidden),
      matrix(`${at}ffn_down.weight`, hidden, width),
    );
  }
  tensors.push(ones("output_norm.weight"), output);
  return encodeGguf(all, tensors);
}

export async function writeRandomModel(path: string, options: RandomModelOptions = {}): Promise<void> {
  await writeFile(path, randomModel(options));
}

interface Vocabulary {
  readonly tokens: readonly string[];
  /** 1 normal, 2 unknown, 3 control, 6 byte. */
  readonly types: readonly number[];
  readonly keys: readonly (readonly [string, GgufValue])[];
}

function vocabularyOf({ vocabulary = "bytes", renameToken }: RandomModelOptions): Vocabulary {
  const { tokens, types, model } = vocabulary === "bytes" ? byteVocabulary() : sentencePieceVocabulary();
  const renamed = tokens.map((token) => (token === renameToken?.[0] ? renameToken[1] : token));
  const end = tokens.indexOf("<|im_end|>");
  const keys: [string, GgufValue][] = [
    ["tokenizer.ggml.model", { type: "string", value: model }],
    ["tokenizer.ggml.tokens", { type: "strings", value: renamed }],
    ["tokenizer.ggml.token_type", { type: "i32s", value: types }],
    ["tokenizer.ggml.bos_token_id", { type: "u32", value: tokens.indexOf("<|im_start|>") }],
    ["tokenizer.ggml.eos_token_id", { type: "u32", value: end }],
    ["tokenizer.ggml.add_bos_token", { type: "bool", value: false }],
  ];
  if (vocabulary === "bytes") {
    keys.push(["tokenizer.ggml.pre", { type: "string", value: "qwen2" }]);
    keys.push(["tokenizer.ggml.merges", { type: "strings", value: [] }]);
  } else {
    keys.push(["tokenizer.ggml.add_space_prefix", { type: "bool", value: false }]);
  }
  return { tokens: renamed, types, keys };
}

/** One token a byte, as GPT-2 writes bytes: printable ones as themselves, the others from U+0100 on. */
function byteVocabulary(): { tokens: string[]; types: number[]; model: string } {
  const tokens: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    tokens.push(String.fromCodePoint(printable ? byte : next++));
  }
  const types = tokens.map(() => 1);
  tokens.push("<|im_start|>", "<|im_end|>");
  types.push(3, 3);
  return { tokens, types, model: "gpt2" };
}

function sentencePieceVocabulary(): { tokens: string[]; types: number[]; model: string } {
  const tokens = ["<unk>", "<|im_start|>", "<|im_end|>"];
  const types = [2, 3, 3];
  for (let byte = 0; byte < 256; byte++) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    types.push(6);
  }
  for (let code = 33; code < 127; code++) {
    tokens.push(String.fromCharCode(code));
    types.push(1);
  }
  return { tokens, types, model: "llama" };
}

/** A small linear generator: the file must be the same in every run. */
function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

// What goes into the model file: llama.cpp's names for the metadata and the tensors of a "llama".

import { CHAT_TEMPLATE } from "./chat.mjs";
import { encodeGguf } from "./gguf.mjs";
import { SPECIAL_TOKENS } from "./tokenizer.mjs";
import { NORM_EPSILON, ROPE_BASE } from "./transformer.mjs";

const FILE_TYPE_Q8_0 = 7;
const TOKEN_NORMAL = 1;
const TOKEN_CONTROL = 3;

const LAYER_TENSORS = [
  ["attn_norm", "attentionNorm"],
  ["attn_q", "query"],
  ["attn_k", "key"],
  ["attn_v", "value"],
  ["attn_output", "output"],
  ["ffn_norm", "hiddenNorm"],
  ["ffn_gate", "gate"],
  ["ffn_up", "up"],
  ["ffn_down", "down"],
];

function listMetadata(name, { width, layers, heads, hidden, positions }, tokenizer, merges, weightCount) {
  const { vocabulary, ordinaryCount, special } = tokenizer;
  const kinds = vocabulary.map((_, id) => (id < ordinaryCount ? TOKEN_NORMAL : TOKEN_CONTROL));
  const [start, , end] = SPECIAL_TOKENS.map((token) => special[token]);
  return [
    ["general.architecture", "string", "llama"],
    ["general.name", "string", name],
    ["general.size_label", "string", `${(weightCount / 1e6).toFixed(1)}M`],
    ["general.license", "string", "mit"],
    ["general.file_type", "u32", FILE_TYPE_Q8_0],
    ["general.quantization_version", "u32", 2],
    ["llama.vocab_size", "u32", vocabulary.length],
    ["llama.context_length", "u32", positions],
    ["llama.embedding_length", "u32", width],
    ["llama.block_count", "u32", layers],
    ["llama.feed_forward_length", "u32", hidden],
    ["llama.attention.head_count", "u32", heads],
    ["llama.attention.head_count_kv", "u32", heads],
    ["llama.attention.layer_norm_rms_epsilon", "f32", NORM_EPSILON],
    ["llama.rope.dimension_count", "u32", width / heads],
    ["llama.rope.freq_base", "f32", ROPE_BASE],
    ["tokenizer.ggml.model", "string", "gpt2"],
    ["tokenizer.ggml.pre", "string", "qwen2"],
    ["tokenizer.ggml.tokens", "array", { type: "string", items: vocabulary }],
    ["tokenizer.ggml.token_type", "array", { type: "i32", items: kinds }],
    ["tokenizer.ggml.merges", "array", { type: "string", items: merges }],
    ["tokenizer.ggml.bos_token_id", "u32", start],
    ["tokenizer.ggml.eos_token_id", "u32", end],
    ["tokenizer.ggml.padding_token_id", "u32", start],
    ["tokenizer.ggml.add_bos_token", "bool", false],
    ["tokenizer.chat_template", "string", CHAT_TEMPLATE],
  ];
}

function listTensors({ width, layers, hidden }, parameters, sharpness) {
  const matrix = (name, values, inputs) => {
    return { name: `${name}.weight`, type: "Q8_0", sizes: [inputs, values.length / inputs], values };
  };
  const norm = (name, values) => {
    return { name: `${name}.weight`, type: "F32", sizes: [width], values };
  };
  const blocks = Array.from({ length: layers }, (_, layer) =>
    LAYER_TENSORS.map(([theirs, ours]) => {
      const name = `blk.${layer}.${theirs}`;
      const values = parameters[`${layer}.${ours}`];
      return ours.endsWith("Norm") ? norm(name, values) : matrix(name, values, ours === "down" ? hidden : width);
    }),
  );
  return [
    matrix("token_embd", parameters.embedding, width),
    ...blocks.flat(),
    norm(
      "output_norm",
      parameters.finalNorm.map((weight) => weight * sharpness),
    ),
  ];
}

/** @returns the bytes of the GGUF file, weights as Q8_0 and norms as F32 */
export function encodeModel({ name, shape, sharpness, tokenizer, merges, model }) {
  return encodeGguf(
    listMetadata(name, shape, tokenizer, merges, model.weights.length),
    listTensors(shape, model.parameters, sharpness),
  );
}

// Byte-level byte-pair encoding: learns merges from a text and applies them. The way a text is first cut into words
// must be exactly what llama.cpp does for `tokenizer.ggml.pre = qwen2`, or the model meets unknown tokens.

/** The pre-tokenizer called "qwen2": contractions, words with one leading character, single digits, marks, spaces. */
const WORD = new RegExp(
  [
    "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])",
    "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+",
    "\\p{N}",
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*",
    "\\s*[\\r\\n]+",
    "\\s+(?!\\S)",
    "\\s+",
  ].join("|"),
  "gu",
);

export const SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/** Byte -> the printable character that stands for it in a GPT-2 vocabulary: itself, or one from U+0100 on. */
const BYTE_CHARACTERS = (() => {
  let substitutes = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(printable ? byte : 256 + substitutes++);
  });
})();

const cut = (text) => text.match(WORD) ?? [];
const toCharacters = (word) => Array.from(Buffer.from(word, "utf8"), (byte) => BYTE_CHARACTERS[byte]);

function applyMerge(parts, left, right) {
  const merged = [];
  for (let index = 0; index < parts.length; index++) {
    if (parts[index] === left && parts[index + 1] === right) merged.push(parts[index] + parts[++index]);
    else merged.push(parts[index]);
  }
  return merged;
}

function countPairs(words) {
  const counts = new Map();
  for (const { parts, count } of words) {
    for (let index = 0; index + 1 < parts.length; index++) {
      const pair = `${parts[index]} ${parts[index + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  }
  return counts;
}

/** @returns at most `limit` merges "left right", most frequent first, each seen twice or more; ties: the lesser pair */
export function learnMerges(texts, limit) {
  const frequency = new Map();
  for (const word of texts.flatMap(cut)) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const words = Array.from(frequency, ([word, count]) => ({ parts: toCharacters(word), count }));
  const merges = [];
  while (merges.length < limit) {
    let best;
    let bestCount = 1;
    for (const [pair, count] of countPairs(words)) {
      if (count > bestCount || (count === bestCount && best !== undefined && pair < best)) {
        best = pair;
        bestCount = count;
      }
    }
    if (best === undefined) break;
    merges.push(best);
    const [left, right] = best.split(" ");
    for (const word of words) word.parts = applyMerge(word.parts, left, right);
  }
  return merges;
}

/** @returns the vocabulary (bytes, merges, special tokens), encode(text) and the id of each special token */
export function createTokenizer(merges) {
  const ordinary = [...BYTE_CHARACTERS.toSorted(), ...merges.map((merge) => merge.replace(" ", ""))];
  const vocabulary = [...ordinary, ...SPECIAL_TOKENS];
  const ids = new Map(ordinary.map((token, id) => [token, id]));
  const ranks = new Map(merges.map((merge, rank) => [merge, rank]));
  const known = new Map();

  function encodeWord(word) {
    let parts = toCharacters(word);
    for (;;) {
      let best = Infinity;
      for (let index = 0; index + 1 < parts.length; index++) {
        best = Math.min(best, ranks.get(`${parts[index]} ${parts[index + 1]}`) ?? Infinity);
      }
      if (best === Infinity) return parts.map((part) => ids.get(part));
      const [left, right] = merges[best].split(" ");
      parts = applyMerge(parts, left, right);
    }
  }

  return {
    vocabulary,
    ordinaryCount: ordinary.length,
    special: Object.fromEntries(SPECIAL_TOKENS.map((token, index) => [token, ordinary.length + index])),
    encode: (text) =>
      cut(text).flatMap((word) => {
        if (!known.has(word)) known.set(word, encodeWord(word));
        return known.get(word);
      }),
  };
}

// A small llama (RMSNorm, interleaved rotary positions, SwiGLU, tied embedding) with its backward pass written by hand.
// Sequences are packed one after the other into one batch; no token attends to another sequence. gradient-check.mjs
// compares the backward pass with finite differences.

import { createArena, matrix, transposed } from "./arena.mjs";
import { createRandom } from "./random.mjs";

export const NORM_EPSILON = 1e-5;
export const ROPE_BASE = 10000;

/** @returns [name, rows, columns] of every parameter; a weight maps `columns` inputs to `rows` outputs */
function listParameters({ vocabulary, width, layers, hidden }) {
  const perLayer = (layer) => [
    [`${layer}.attentionNorm`, 1, width],
    [`${layer}.query`, width, width],
    [`${layer}.key`, width, width],
    [`${layer}.value`, width, width],
    [`${layer}.output`, width, width],
    [`${layer}.hiddenNorm`, 1, width],
    [`${layer}.gate`, hidden, width],
    [`${layer}.up`, hidden, width],
    [`${layer}.down`, width, hidden],
  ];
  const blocks = Array.from({ length: layers }, (_, layer) => perLayer(layer)).flat();
  return [["embedding", vocabulary, width], ...blocks, ["finalNorm", 1, width]];
}

function initialDeviation(name, { width, layers, hidden }) {
  if (name === "embedding") return 0.05;
  // The two projections that write into the residual stream start smaller, since 2 x layers of them add up there.
  if (name.endsWith(".output")) return 0.5 / Math.sqrt(width * 2 * layers);
  if (name.endsWith(".down")) return 0.5 / Math.sqrt(hidden * 2 * layers);
  return 0.7 / Math.sqrt(width);
}

/**
 * @param shape     { vocabulary, width, layers, heads, hidden, positions }
 * @param maxTokens the most tokens that one batch may hold
 * @param seed      of the initial weights
 * @returns         { parameters: name -> Float32Array; weights, gradients: flat views of all; run() }
 */
export async function createTransformer(shape, maxTokens, seed) {
  const { vocabulary, width, layers, heads, hidden, positions } = shape;
  const headWidth = width / heads;
  const list = listParameters(shape);
  const parameterCount = list.reduce((sum, [, rows, columns]) => sum + rows * columns, 0);
  const scoreCount = maxTokens * positions * heads;
  const floats =
    2 * parameterCount +
    layers * (maxTokens * (8 * width + 4 * hidden + 2) + scoreCount) +
    maxTokens * (11 * width + 3 * hidden + vocabulary) +
    positions * positions +
    Math.max(vocabulary, hidden) * width;
  const { allocate, multiply } = await createArena(floats * 4 + (1 << 20));

  const weights = allocate(parameterCount);
  const gradients = allocate(parameterCount);
  const parameters = {};
  const weightAt = {};
  const gradientOf = {};
  let offset = 0;
  const random = createRandom(seed);
  for (const [name, rows, columns] of list) {
    const end = offset + rows * columns;
    const values = weights.values.subarray(offset, end);
    parameters[name] = values;
    weightAt[name] = weights.at + offset * 4;
    gradientOf[name] = { at: gradients.at + offset * 4, values: gradients.values.subarray(offset, end) };
    const deviation = initialDeviation(name, shape);
    for (let index = 0; index < values.length; index++) values[index] = rows === 1 ? 1 : random.normal() * deviation;
    offset = end;
  }

  const perToken = (count) => allocate(maxTokens * count);
  const blocks = Array.from({ length: layers }, () => ({
    input: perToken(width),
    inputScale: perToken(1),
    normed: perToken(width),
    query: perToken(width),
    key: perToken(width),
    value: perToken(width),
    scores: allocate(scoreCount),
    mixed: perToken(width),
    middle: perToken(width),
    middleScale: perToken(1),
    middleNormed: perToken(width),
    gate: perToken(hidden),
    sigmoid: perToken(hidden),
    up: perToken(hidden),
    product: perToken(hidden),
  }));
  const last = { input: perToken(width), scale: perToken(1), normed: perToken(width), picked: perToken(width) };
  const logits = perToken(vocabulary);
  const slope = {
    stream: perToken(width),
    branch: perToken(width),
    query: perToken(width),
    key: perToken(width),
    value: perToken(width),
    mixed: perToken(width),
    gate: perToken(hidden),
    up: perToken(hidden),
    product: perToken(hidden),
    scores: allocate(positions * positions),
  };
  const flipped = allocate(Math.max(vocabulary, hidden) * width);

  const half = headWidth / 2;
  const cosines = new Float32Array(positions * half);
  const sines = new Float32Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let pair = 0; pair < half; pair++) {
      const angle = position * ROPE_BASE ** ((-2 * pair) / headWidth);
      cosines[position * half + pair] = Math.cos(angle);
      sines[position * half + pair] = Math.sin(angle);
    }
  }

  /** flipped[column][row] = source[row][column]; the source's rows are `stride` floats apart. */
  function flip(source, start, rows, columns, stride) {
    const target = flipped.values;
    for (let row = 0; row < rows; row++) {
      const from = start + row * stride;
      for (let column = 0; column < columns; column++) target[column * rows + row] = source[from + column];
    }
  }

  /** target[count][outputs] = source[count][inputs] x the transposed weight. */
  function project({ count, outputs, inputs }, source, name, target) {
    const size = { rows: count, columns: outputs, inner: inputs };
    flip(parameters[name], 0, outputs, inputs, inputs);
    multiply(size, matrix(source.at, inputs), matrix(flipped.at, outputs), matrix(target.at, outputs));
  }

  /** The backward pass of project(): adds to the weight's gradient, and sets (or adds to) the slopes of the source. */
  function projectBack({ count, outputs, inputs }, slopes, source, name, sourceSlopes, { add = false } = {}) {
    const given = matrix(slopes.at, outputs);
    const weight = matrix(weightAt[name], inputs);
    const gradient = matrix(gradientOf[name].at, inputs);
    const onward = { rows: count, columns: inputs, inner: outputs };
    const gathered = { rows: outputs, columns: inputs, inner: count };
    multiply(onward, given, weight, matrix(sourceSlopes.at, inputs), { add });
    multiply(gathered, transposed(given), matrix(source.at, inputs), gradient, { add: true });
  }

  function normalise(count, source, name, target, scales) {
    const from = source.values;
    const to = target.values;
    const weight = parameters[name];
    for (let token = 0; token < count; token++) {
      const start = token * width;
      let squares = 0;
      for (let index = start; index < start + width; index++) squares += from[index] * from[index];
      const scale = 1 / Math.sqrt(squares / width + NORM_EPSILON);
      scales.values[token] = scale;
      for (let index = 0; index < width; index++) to[start + index] = from[start + index] * scale * weight[index];
    }
  }

  /** Adds to the slope of the stream, because the stream also goes past the norm. */
  function normaliseBack(count, slopes, source, name, scales, streamSlopes) {
    const from = source.values;
    const given = slopes.values;
    const target = streamSlopes.values;
    const weight = parameters[name];
    const gradient = gradientOf[name].values;
    for (let token = 0; token < count; token++) {
      const start = token * width;
      const scale = scales.values[token];
      let dot = 0;
      for (let index = 0; index < width; index++) {
        const weighted = given[start + index] * from[start + index];
        dot += weighted * weight[index];
        gradient[index] += weighted * scale;
      }
      const pull = (dot * scale * scale * scale) / width;
      for (let index = 0; index < width; index++) {
        target[start + index] += given[start + index] * weight[index] * scale - from[start + index] * pull;
      }
    }
  }

  /** Turns the pairs (2i, 2i + 1) of each head by the token's position; direction -1 turns back. */
  function rotate(batch, array, direction) {
    const values = array.values;
    for (let token = 0; token < batch.count; token++) {
      const table = batch.position[token] * half;
      for (let start = token * width; start < (token + 1) * width; start += headWidth) {
        for (let pair = 0; pair < half; pair++) {
          const cosine = cosines[table + pair];
          const sine = sines[table + pair] * direction;
          const even = values[start + 2 * pair];
          const odd = values[start + 2 * pair + 1];
          values[start + 2 * pair] = even * cosine - odd * sine;
          values[start + 2 * pair + 1] = even * sine + odd * cosine;
        }
      }
    }
  }

  const scoreScale = 1 / Math.sqrt(headWidth);

  /** Scores of one head in one sequence -> weights: softmax over the positions up to the own one, 0 behind it. */
  function softmaxCausal(scores, start, length) {
    for (let row = 0; row < length; row++) {
      const from = start + row * length;
      let highest = -Infinity;
      for (let index = from; index <= from + row; index++) highest = Math.max(highest, scores[index]);
      let sum = 0;
      for (let index = from; index <= from + row; index++) {
        scores[index] = Math.exp((scores[index] - highest) * scoreScale);
        sum += scores[index];
      }
      for (let index = from; index <= from + row; index++) scores[index] /= sum;
      scores.fill(0, from + row + 1, from + length);
    }
  }

  /** Slopes of the weights -> slopes of the scores, in place. */
  function softmaxCausalBack(slopes, scores, start, length) {
    for (let row = 0; row < length; row++) {
      const from = row * length;
      let dot = 0;
      for (let index = 0; index <= row; index++) dot += slopes[from + index] * scores[start + from + index];
      for (let index = 0; index <= row; index++) {
        slopes[from + index] = scores[start + from + index] * (slopes[from + index] - dot) * scoreScale;
      }
      slopes.fill(0, from + row + 1, from + length);
    }
  }

  /**
   * Visits each head of each sequence: its length, its first float in a [token][width] array, the start of its scores,
   * and the two sizes of product that attention has.
   */
  function forEachHead(batch, visit) {
    let start = 0;
    for (const { first, length } of batch.spans) {
      const toScores = { rows: length, columns: length, inner: headWidth };
      const toHead = { rows: length, columns: headWidth, inner: length };
      for (let head = 0; head < heads; head++) {
        visit({ length, column: first * width + head * headWidth, start, toScores, toHead });
        start += length * length;
      }
    }
  }

  function attend(batch, block) {
    forEachHead(batch, ({ length, column, start, toScores, toHead }) => {
      const part = (array) => matrix(array.at + column * 4, width);
      const scores = matrix(block.scores.at + start * 4, length);
      flip(block.key.values, column, length, headWidth, width);
      multiply(toScores, part(block.query), matrix(flipped.at, length), scores);
      softmaxCausal(block.scores.values, start, length);
      multiply(toHead, scores, part(block.value), part(block.mixed));
    });
  }

  function attendBack(batch, block) {
    forEachHead(batch, ({ length, column, start, toScores, toHead }) => {
      const part = (array) => matrix(array.at + column * 4, width);
      const scores = matrix(block.scores.at + start * 4, length);
      const slopes = matrix(slope.scores.at, length);
      multiply(toHead, transposed(scores), part(slope.mixed), part(slope.value));
      flip(block.value.values, column, length, headWidth, width);
      multiply(toScores, part(slope.mixed), matrix(flipped.at, length), slopes);
      softmaxCausalBack(slope.scores.values, block.scores.values, start, length);
      multiply(toHead, slopes, part(block.key), part(slope.query));
      multiply(toHead, transposed(slopes), part(block.query), part(slope.key));
    });
  }

  function gateHidden(count, block) {
    const { gate, sigmoid, up, product } = block;
    for (let index = 0; index < count * hidden; index++) {
      const open = 1 / (1 + Math.exp(-gate.values[index]));
      sigmoid.values[index] = open;
      product.values[index] = gate.values[index] * open * up.values[index];
    }
  }

  function gateHiddenBack(count, block) {
    const { gate, sigmoid, up } = block;
    for (let index = 0; index < count * hidden; index++) {
      const input = gate.values[index];
      const open = sigmoid.values[index];
      const given = slope.product.values[index];
      slope.up.values[index] = given * input * open;
      slope.gate.values[index] = given * up.values[index] * open * (1 + input * (1 - open));
    }
  }

  function addTo(target, source, count) {
    for (let index = 0; index < count; index++) target.values[index] += source.values[index];
  }

  /** The sizes of the projections of a batch. */
  const listProjections = ({ count, counted }) => ({
    square: { count, outputs: width, inputs: width },
    widen: { count, outputs: hidden, inputs: width },
    narrow: { count, outputs: width, inputs: hidden },
    toVocabulary: { count: counted.length, outputs: vocabulary, inputs: width },
  });

  function forward(batch) {
    const { count, token } = batch;
    const { square, widen, narrow, toVocabulary } = listProjections(batch);
    const embedding = parameters.embedding;
    for (let index = 0; index < count; index++) {
      const row = embedding.subarray(token[index] * width, (token[index] + 1) * width);
      blocks[0].input.values.set(row, index * width);
    }
    blocks.forEach((block, layer) => {
      const next = blocks[layer + 1]?.input ?? last.input;
      normalise(count, block.input, `${layer}.attentionNorm`, block.normed, block.inputScale);
      project(square, block.normed, `${layer}.query`, block.query);
      project(square, block.normed, `${layer}.key`, block.key);
      project(square, block.normed, `${layer}.value`, block.value);
      rotate(batch, block.query, 1);
      rotate(batch, block.key, 1);
      attend(batch, block);
      project(square, block.mixed, `${layer}.output`, block.middle);
      addTo(block.middle, block.input, count * width);
      normalise(count, block.middle, `${layer}.hiddenNorm`, block.middleNormed, block.middleScale);
      project(widen, block.middleNormed, `${layer}.gate`, block.gate);
      project(widen, block.middleNormed, `${layer}.up`, block.up);
      gateHidden(count, block);
      project(narrow, block.product, `${layer}.down`, next);
      addTo(next, block.middle, count * width);
    });
    normalise(count, last.input, "finalNorm", last.normed, last.scale);
    // Only tokens that count in the loss go through the vocabulary, the dearest projection of all.
    batch.counted.forEach((index, row) => {
      last.picked.values.set(last.normed.values.subarray(index * width, (index + 1) * width), row * width);
    });
    project(toVocabulary, last.picked, "embedding", logits);
  }

  /** Cross-entropy of the counted tokens; replaces each logit by its slope. */
  function measureLoss(batch) {
    const values = logits.values;
    const whole = batch.weight.reduce((sum, weight) => sum + weight, 0);
    let loss = 0;
    let correct = 0;
    batch.counted.forEach((index, row) => {
      const start = row * vocabulary;
      const wanted = start + batch.target[index];
      const share = batch.weight[index] / whole;
      let best = start;
      for (let at = start; at < start + vocabulary; at++) if (values[at] > values[best]) best = at;
      const highest = values[best];
      if (best === wanted) correct++;
      let sum = 0;
      for (let at = start; at < start + vocabulary; at++) {
        values[at] = Math.exp(values[at] - highest);
        sum += values[at];
      }
      loss -= Math.log(values[wanted] / sum + 1e-30) * share;
      for (let at = start; at < start + vocabulary; at++) values[at] *= share / sum;
      values[wanted] -= share;
    });
    return { loss, correct, counted: batch.counted.length, tokens: batch.count };
  }

  function backward(batch) {
    const { count } = batch;
    const { square, widen, narrow, toVocabulary } = listProjections(batch);
    const { stream, branch } = slope;
    gradients.values.fill(0);
    stream.values.fill(0, 0, count * width);
    // slope.mixed serves for the picked rows here: it has their size and is not needed before the blocks.
    projectBack(toVocabulary, logits, last.picked, "embedding", slope.mixed);
    branch.values.fill(0, 0, count * width);
    batch.counted.forEach((index, row) => {
      branch.values.set(slope.mixed.values.subarray(row * width, (row + 1) * width), index * width);
    });
    normaliseBack(count, branch, last.input, "finalNorm", last.scale, stream);
    for (let layer = layers - 1; layer >= 0; layer--) {
      const block = blocks[layer];
      projectBack(narrow, stream, block.product, `${layer}.down`, slope.product);
      gateHiddenBack(count, block);
      projectBack(widen, slope.gate, block.middleNormed, `${layer}.gate`, branch);
      projectBack(widen, slope.up, block.middleNormed, `${layer}.up`, branch, { add: true });
      normaliseBack(count, branch, block.middle, `${layer}.hiddenNorm`, block.middleScale, stream);
      projectBack(square, stream, block.mixed, `${layer}.output`, slope.mixed);
      attendBack(batch, block);
      rotate(batch, slope.query, -1);
      rotate(batch, slope.key, -1);
      projectBack(square, slope.query, block.normed, `${layer}.query`, branch);
      projectBack(square, slope.key, block.normed, `${layer}.key`, branch, { add: true });
      projectBack(square, slope.value, block.normed, `${layer}.value`, branch, { add: true });
      normaliseBack(count, branch, block.input, `${layer}.attentionNorm`, block.inputScale, stream);
    }
    const embeddingGradient = gradientOf.embedding.values;
    for (let index = 0; index < count; index++) {
      const to = batch.token[index] * width;
      const from = index * width;
      for (let column = 0; column < width; column++) embeddingGradient[to + column] += stream.values[from + column];
    }
  }

  function pack(sequences) {
    const batch = { count: 0, token: [], target: [], position: [], weight: [], counted: [], spans: [] };
    for (const { tokens, weights: weight } of sequences) {
      const length = tokens.length - 1; // the last token is only predicted
      if (length > positions) throw new Error(`a sequence of ${length} tokens is longer than ${positions}`);
      batch.spans.push({ first: batch.count, length });
      for (let position = 0; position < length; position++) {
        if (weight[position + 1] > 0) batch.counted.push(batch.count + position);
        batch.weight.push(weight[position + 1]);
        batch.token.push(tokens[position]);
        batch.target.push(tokens[position + 1]);
        batch.position.push(position);
      }
      batch.count += length;
    }
    if (batch.count > maxTokens) throw new Error(`a batch of ${batch.count} tokens is larger than ${maxTokens}`);
    return batch;
  }

  /**
   * @param sequences { tokens, weights }[] (chat.mjs), at most maxTokens in all
   * @returns         { loss: weighted mean, correct, counted, tokens }; with learn, the gradients are set as well
   */
  function run(sequences, { learn }) {
    const batch = pack(sequences);
    forward(batch);
    const result = measureLoss(batch);
    if (learn) backward(batch);
    return result;
  }

  return { parameters, weights: weights.values, gradients: gradients.values, run };
}

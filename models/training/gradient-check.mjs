// Compares the backward pass of transformer.mjs with finite differences, on a tiny model and two short sequences.
// The error of a parameter is the distance between the two slopes in relation to their size; float32 allows about 1 %.
//
//   node models/training/gradient-check.mjs

import { createTransformer } from "./transformer.mjs";

const STEP = 1e-2;
const SAMPLES = 8;
const TOLERANCE = 0.02;

const shape = { vocabulary: 40, width: 16, layers: 2, heads: 2, hidden: 32, positions: 32 };
const sequences = [
  { tokens: [1, 5, 9, 3, 7, 2, 8], weights: [0, 0, 0, 3, 2, 1, 1] },
  { tokens: [4, 6, 2, 9, 30, 31, 3, 3, 9], weights: [0, 0, 3, 1, 0, 1, 1, 1, 1] },
];

const model = await createTransformer(shape, 64, 3);
model.run(sequences, { learn: true });
const gradients = model.gradients.slice();
const lossNow = () => model.run(sequences, { learn: false }).loss;

let worst = 0;
for (const [name, values] of Object.entries(model.parameters)) {
  const first = values.byteOffset / 4 - model.weights.byteOffset / 4;
  let distance = 0;
  let size = 0;
  for (let sample = 0; sample < SAMPLES; sample++) {
    const index = (sample * 7919 + 13) % values.length;
    const kept = values[index];
    values[index] = kept + STEP;
    const above = lossNow();
    values[index] = kept - STEP;
    const below = lossNow();
    values[index] = kept;
    const measured = (above - below) / (2 * STEP);
    const computed = gradients[first + index];
    distance += (measured - computed) ** 2;
    size += measured ** 2 + computed ** 2;
  }
  const error = Math.sqrt(distance / (size + 1e-12));
  worst = Math.max(worst, error);
  if (error > TOLERANCE) console.log(`${name}: ${(error * 100).toFixed(2)} %`);
}
console.log(`worst error ${(worst * 100).toFixed(2)} %, allowed ${TOLERANCE * 100} %`);
process.exitCode = worst > TOLERANCE ? 1 : 0;

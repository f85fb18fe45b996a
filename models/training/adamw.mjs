// The AdamW optimiser: gradients clipped by their global norm, moments with bias correction, decoupled weight decay.

/**
 * @param weights, gradients flat arrays of the same length, kept
 * @param options { beta1, beta2, epsilon, weightDecay, clip }
 * @returns       step(rate): applies the gradients once
 */
export function createAdamW(weights, gradients, { beta1, beta2, epsilon, weightDecay, clip }) {
  const mean = new Float32Array(weights.length);
  const square = new Float32Array(weights.length);
  let steps = 0;
  return function step(rate) {
    steps++;
    let squares = 0;
    for (let index = 0; index < gradients.length; index++) squares += gradients[index] * gradients[index];
    const shrink = Math.min(1, clip / Math.sqrt(squares));
    const meanCorrection = 1 / (1 - beta1 ** steps);
    const squareCorrection = 1 / (1 - beta2 ** steps);
    for (let index = 0; index < weights.length; index++) {
      const gradient = gradients[index] * shrink;
      mean[index] = beta1 * mean[index] + (1 - beta1) * gradient;
      square[index] = beta2 * square[index] + (1 - beta2) * gradient * gradient;
      const direction = (mean[index] * meanCorrection) / (Math.sqrt(square[index] * squareCorrection) + epsilon);
      weights[index] -= rate * (direction + weightDecay * weights[index]);
    }
  };
}

// Pseudo-random numbers from a seed (sfc32), so that every run of the trainer draws the same ones. Not for keys.

/** @returns next() in [0, 1), below(n), chance(p), pick(list), normal(): mean 0, deviation 1, shuffle(list) in place */
export function createRandom(seed) {
  let a = 0x2545f491;
  let b = 0x6c078965;
  let c = seed | 0;
  let counter = 1;
  const next = () => {
    const sum = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let round = 0; round < 20; round++) next(); // mixes the seed into all of the state
  const below = (limit) => Math.floor(next() * limit);
  return {
    next,
    below,
    chance: (probability) => next() < probability,
    pick: (list) => list[below(list.length)],
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    shuffle(list) {
      for (let last = list.length - 1; last > 0; last--) {
        const other = below(last + 1);
        [list[last], list[other]] = [list[other], list[last]];
      }
      return list;
    },
  };
}

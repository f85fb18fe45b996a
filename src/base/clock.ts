/** Time as an input: whatever compares times takes a Clock, so that a test can move it. */
export interface Clock {
  /** Unix time in milliseconds. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

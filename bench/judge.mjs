// Holds the figures of a run to the gates, and writes a gate down for people. Pure; test/unit/bench holds it.
import { figures, shown } from "./figures.mjs";
import { gates } from "./gates.mjs";

/** What the noise of a machine may add to a noisy gate at most, as a share: on a busier one a run says nothing. */
const mostNoise = 0.15;

/**
 * @param medianOf (figure, whose) → number; undefined when it was not measured
 * @param noise    share by which the CPU time of a fixed piece of work varied in this run
 * @returns        each gate with `value` and `limit`, the same as `ratio` and `factor` of what it is held to, and `outcome`: pass,
 *                 miss or not measured
 */
export function judged(medianOf, noise) {
  return gates.map(({ must, figure, whose, than = null, most, least, plus = 0, noisy = false }) => {
    const factor = (most ?? least) * (noisy ? 1 + Math.min(noise, mostNoise) : 1);
    const about = { must, figure, whose, than, sense: most === undefined ? "least" : "most", factor, plus };
    const value = medianOf(figure, whose);
    const base = than === null ? 1 : medianOf(figure, than);
    // a floor that added nothing is no measure of anything
    if (!isNumber(value) || !isNumber(base) || base <= 0) {
      return { ...about, value: null, limit: null, ratio: null, outcome: "not measured" };
    }
    const limit = factor * base + plus;
    const passes = most === undefined ? value >= limit : value <= limit;
    return { ...about, value, limit, ratio: value / base, outcome: passes ? "pass" : "miss" };
  });
}

/**
 * Whether a run may end with 0.
 * @param options noPeer: gates that need the peer may be unmeasured · isWhole: others may not
 */
export function allPass(rows, { noPeer, isWhole }) {
  return rows.every(({ outcome, than }) => {
    if (outcome === "not measured") return !isWhole || (noPeer && than === "peer");
    return outcome === "pass";
  });
}

/** The cells of a gate's row: which of the demands, what is held to what, what it is, what it must be, what came of it. */
export function gateCells({ must, figure, whose, than, sense, factor, plus, value, limit, ratio, outcome }) {
  const { title, unit } = figures[figure];
  const isRatio = than !== null && plus === 0;
  const sign = sense === "most" ? "≤" : "≥";
  const is = value === null ? "-" : isRatio ? shown(ratio) : `${shown(value)} ${unit}`;
  const bound = isRatio ? shown(factor) : limit === null ? "-" : `${shown(limit)} ${unit}`;
  return [
    String(must),
    `${title}: ${whose}${than === null ? "" : ` / ${than}`}`,
    is,
    `${sign} ${bound}`,
    outcome === "pass" ? "pass" : outcome.toUpperCase(),
  ];
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

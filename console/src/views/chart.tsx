/** A small chart of one number over the last exchanges: bars, the middle value, and what they were in words. */
import type { JSX } from "preact";
import { useId } from "preact/hooks";

export interface ChartPoint {
  /** Null: not known, and drawn as a gap. */
  readonly value: number | null;
  readonly label: string;
}

export interface ChartProps {
  readonly title: string;
  /** Oldest first; the last 60 are drawn. */
  readonly points: readonly ChartPoint[];
  readonly text: (value: number) => string;
}

const drawn = 60;
const height = 72;
const step = 10;

export function Chart({ title, points, text }: ChartProps): JSX.Element {
  const id = useId();
  const last = points.slice(-drawn);
  const values = last.flatMap(({ value }) => (value === null ? [] : [value])).toSorted((a, b) => a - b);
  const most = values.at(-1) ?? 0;
  const middle = values[Math.floor((values.length - 1) / 2)];
  const slowest = values.at(-1);
  const said =
    middle === undefined
      ? "No value yet"
      : `Median ${text(middle)}, most ${text(slowest ?? middle)}, of ${values.length}`;
  const width = drawn * step;
  const offset = width - last.length * step;
  return (
    <figure class="card chart" aria-labelledby={id}>
      <figcaption id={id}>
        <span class="label">{title}</span>
        <span class="chart-value">{middle === undefined ? "–" : text(middle)}</span>
        <span class="muted">{middle === undefined ? "no value yet" : `median; most ${text(slowest ?? middle)}`}</span>
      </figcaption>
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={`${title}. ${said}.`}>
        <line class="chart-base" x1={0} x2={width} y1={height - 0.5} y2={height - 0.5} />
        {last.map(({ value, label }, index) => {
          if (value === null) return null;
          const tall = most === 0 ? 1 : Math.max(2, (value / most) * (height - 4));
          return (
            <rect
              class="chart-bar"
              key={index}
              x={offset + index * step + 1.5}
              y={height - tall}
              width={step - 3}
              height={tall}
              rx={1.5}
            >
              <title>{`${label}: ${text(value)}`}</title>
            </rect>
          );
        })}
      </svg>
    </figure>
  );
}

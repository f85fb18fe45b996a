/**
 * Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4). As much of that as /metrics needs;
 * names and labels are the program's own, and a mistake in them is thrown at once. Written here because the usual library
 * brings more on disk than all of this package.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */

/** One value for each label's name; all of them, every time. */
export type Labels<Name extends string> = Readonly<Record<Name, string>>;

export interface MetricOptions<Name extends string> {
  readonly name: string;
  readonly help: string;
  /** @default none */
  readonly labelNames?: readonly Name[];
  readonly registers: readonly Registry[];
}

/** One line: the name's ending, labels beside those of the series, and a value. */
interface Sample {
  readonly suffix: string;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly value: number;
}

interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  samples(): Iterable<Sample>;
}

export class Registry {
  readonly contentType = "text/plain; version=0.0.4; charset=utf-8";
  readonly #metrics = new Map<string, Metric>();

  /** @throws Error a name that is none, or is taken */
  add(metric: Metric): void {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(metric.name)) throw new Error(`${metric.name} is no name of a metric`);
    if (this.#metrics.has(metric.name)) throw new Error(`there are two metrics ${metric.name}`);
    this.#metrics.set(metric.name, metric);
  }

  /** In the order in which they were made. */
  get described(): readonly Pick<Metric, "name" | "help" | "type">[] {
    return [...this.#metrics.values()].map(({ name, help, type }) => ({ name, help, type }));
  }

  metrics(): Promise<string> {
    const texts = [...this.#metrics.values()].map((metric) => {
      const { name, help, type } = metric;
      const lines = [...metric.samples()].map(
        ({ suffix, labels, value }) => `${name}${suffix}${labelText(labels)} ${valueText(value)}\n`,
      );
      return `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n${lines.join("")}`;
    });
    return Promise.resolve(texts.join("\n"));
  }
}

/** The values of one metric, by their labels. */
class Series<Name extends string, Value> {
  readonly #names: readonly Name[];
  readonly #first: () => Value;
  readonly #values = new Map<string, { readonly labels: Sample["labels"]; readonly value: Value }>();

  /** @throws Error a label's name that is none */
  constructor(names: readonly Name[], first: () => Value) {
    for (const name of names) {
      if (!/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) || name === "le") throw new Error(`${name} is no name of a label`);
    }
    this.#names = names;
    this.#first = first;
    // without labels there is one series, and it is there from the beginning
    if (names.length === 0) this.at({} as Labels<Name>);
  }

  at(labels: Labels<Name>): Value {
    const key = JSON.stringify(this.#names.map((name) => labels[name]));
    const known = this.#values.get(key);
    if (known) return known.value;
    const value = this.#first();
    const pairs = this.#names.map((name) => [name, labels[name]] as const);
    this.#values.set(key, { labels: pairs, value });
    return value;
  }

  clear(): void {
    this.#values.clear();
    if (this.#names.length === 0) this.at({} as Labels<Name>);
  }

  get all(): readonly { readonly labels: Sample["labels"]; readonly value: Value }[] {
    return [...this.#values.values()];
  }
}

export interface CounterOptions<Name extends string> extends MetricOptions<Name> {
  /** Called before each reading, where the counting is done elsewhere. */
  readonly collect?: (this: Counter<Name>) => void;
}

/** Goes up alone. */
export class Counter<Name extends string = never> implements Metric {
  readonly name: string;
  readonly help: string;
  readonly type = "counter";
  readonly #series: Series<Name, { sum: number }>;
  readonly #collect: CounterOptions<Name>["collect"];

  constructor({ name, help, labelNames = [], registers, collect }: CounterOptions<Name>) {
    this.name = name;
    this.help = help;
    this.#series = new Series(labelNames, () => ({ sum: 0 }));
    this.#collect = collect;
    for (const registry of registers) registry.add(this);
  }

  /** @param by 0 or more; with 0 the series is there from now on. @throws Error less than 0 */
  inc(labels: Labels<Name>, by = 1): void {
    if (!(by >= 0)) throw new Error(`${this.name} cannot go down`);
    this.#series.at(labels).sum += by;
  }

  /** Forgets all that was counted: for what is counted elsewhere, and read anew. */
  reset(): void {
    this.#series.clear();
  }

  *samples(): Iterable<Sample> {
    this.#collect?.call(this);
    for (const { labels, value } of this.#series.all) yield { suffix: "", labels, value: value.sum };
  }
}

export interface GaugeOptions<Name extends string> extends MetricOptions<Name> {
  /** Called before each reading, to set it. */
  readonly collect?: (this: Gauge<Name>) => void;
}

/** Goes up and down. */
export class Gauge<Name extends string = never> implements Metric {
  readonly name: string;
  readonly help: string;
  readonly type = "gauge";
  readonly #series: Series<Name, { value: number }>;
  readonly #collect: GaugeOptions<Name>["collect"];

  constructor({ name, help, labelNames = [], registers, collect }: GaugeOptions<Name>) {
    this.name = name;
    this.help = help;
    this.#series = new Series(labelNames, () => ({ value: 0 }));
    this.#collect = collect;
    for (const registry of registers) registry.add(this);
  }

  /** Without labels: of a metric that has none. */
  set(value: number): void;
  set(labels: Labels<Name>, value: number): void;
  set(labels: Labels<Name> | number, value = 0): void {
    if (typeof labels === "number") this.#series.at({} as Labels<Name>).value = labels;
    else this.#series.at(labels).value = value;
  }

  /** Forgets what was set: series of labels that mean nobody any more. */
  reset(): void {
    this.#series.clear();
  }

  *samples(): Iterable<Sample> {
    this.#collect?.call(this);
    for (const { labels, value } of this.#series.all) yield { suffix: "", labels, value: value.value };
  }
}

export interface HistogramOptions<Name extends string> extends MetricOptions<Name> {
  /** Upper bounds, rising; the last one, +Inf, is added. */
  readonly buckets: readonly number[];
}

interface Observed {
  /** For each bound and +Inf, how many values were not above it and above the bound before. */
  readonly counts: number[];
  sum: number;
}

export class Histogram<Name extends string = never> implements Metric {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  readonly #series: Series<Name, Observed>;

  /** @throws Error bounds that do not rise */
  constructor({ name, help, labelNames = [], buckets, registers }: HistogramOptions<Name>) {
    this.name = name;
    this.help = help;
    this.#bounds = [...buckets, Number.POSITIVE_INFINITY];
    if (this.#bounds.some((bound, at) => at > 0 && !(bound > (this.#bounds[at - 1] ?? bound)))) {
      throw new Error(`the buckets of ${name} do not rise`);
    }
    this.#series = new Series(labelNames, () => ({ counts: this.#bounds.map(() => 0), sum: 0 }));
    for (const registry of registers) registry.add(this);
  }

  /** NaN is not counted: it would be all that is left of the sum. */
  observe(labels: Labels<Name>, value: number): void {
    const at = this.#bounds.findIndex((bound) => value <= bound);
    if (at < 0) return;
    const observed = this.#series.at(labels);
    observed.counts[at] = (observed.counts[at] ?? 0) + 1;
    observed.sum += value;
  }

  *samples(): Iterable<Sample> {
    for (const { labels, value } of this.#series.all) {
      let total = 0;
      for (const [at, bound] of this.#bounds.entries()) {
        total += value.counts[at] ?? 0;
        yield { suffix: "_bucket", labels: [["le", valueText(bound)], ...labels], value: total };
      }
      yield { suffix: "_sum", labels, value: value.sum };
      yield { suffix: "_count", labels, value: total };
    }
  }
}

function labelText(labels: Sample["labels"]): string {
  if (labels.length === 0) return "";
  return `{${labels.map(([name, value]) => `${name}="${escaped(value).replaceAll('"', '\\"')}"`).join(",")}}`;
}

function escaped(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function valueText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}

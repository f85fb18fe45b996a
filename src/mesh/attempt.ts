/** One try to get an answer, for the report and for the rule of retries. Never content. */
import { type EndpointId, shortId } from "../base/brand.ts";
import { abortError } from "../base/deadline.ts";
import { type ErrorCode, MeshError, toMeshError } from "../base/errors.ts";
import type { Flow } from "../base/flow.ts";
import type { Signal } from "../base/signal.ts";
import { mayMoveOn, refusalText } from "../openai/refusal.ts";
import type { PlainRoute, SealedRoute } from "../policy/decide.ts";
import { type ByteSource, flowOfSource, sourceOf } from "../tunnel/http.ts";

/** A way that did not lead to the host. Of the request only a relay that had led there before has got anything: its envelope. */
export interface FailedWay {
  /** Null: the host's own connection. */
  readonly relay: EndpointId | null;
  readonly outcome: ErrorCode;
  /** For a person, in our own words. */
  readonly reason: string;
}

export interface Attempt {
  readonly host: EndpointId;
  readonly sealed: boolean;
  readonly route: "direct" | "relay";
  readonly relay: EndpointId | undefined;
  readonly outcome: "answered" | ErrorCode;
  /** Whether this host may have worked on the request; "no" only on its own word, or when nothing was sent. */
  readonly processed: "yes" | "maybe" | "no";
  /** Why it failed, for a person, in our own words; null when it answered. */
  readonly reason: string | null;
  /** In the order in which they were tried, before the one that the request took or as all there was. */
  readonly failed_ways: readonly FailedWay[];
}

/** For one way when the time for all of them is over, ms: a living peer answers within it. */
const leastPathMs = 500;

/** What the attempt that is being made has come to. */
export class Trial {
  readonly #route: SealedRoute | PlainRoute;
  readonly #usedRelays = new Set<EndpointId>();
  readonly #failedWays: FailedWay[] = [];
  #relay: EndpointId | undefined;
  /** Request bytes may have reached the host. */
  sent = false;
  /** The same of an earlier envelope to this host, of which nothing came back: a later refusal speaks for itself alone. */
  sentBefore = false;
  /** A chunk of the answer was opened: no other host may be asked any more (wire.md §7). */
  answerBegan = false;
  /** The answer was the host's own word that it did nothing with the request. */
  refused = false;
  readonly #pathUntilMs: number;

  /** @param pathUntilMs performance.now() at which the search for a way to a host is over, for all attempts together */
  constructor(route: SealedRoute | PlainRoute, pathUntilMs: number) {
    this.#route = route;
    this.#pathUntilMs = pathUntilMs;
  }

  /** Whether no further way is to be looked for. */
  get late(): boolean {
    return performance.now() >= this.#pathUntilMs;
  }

  /** How long one way may take that would get `ms`: what is left, but enough for a peer that lives. */
  within(ms: number): number {
    return Math.min(ms, Math.max(leastPathMs, this.#pathUntilMs - performance.now()));
  }

  /** The relay that the bytes go through; undefined on the host's own connection. */
  get relay(): EndpointId | undefined {
    return this.#relay;
  }

  use(relay: EndpointId | undefined): void {
    this.#relay = relay;
    if (relay) this.#usedRelays.add(relay);
  }

  /** The way that is in use did not lead to the host. */
  failedWay({ code, message }: MeshError): void {
    this.sentBefore = this.sent; // a relay that says no may have passed the envelope on
    this.#failedWays.push({ relay: this.#relay ?? null, outcome: code, reason: message });
  }

  /** The same relays, those that this attempt has used already last: one that cuts must not be able to block a host. */
  freshFirst(relays: readonly EndpointId[]): readonly EndpointId[] {
    const used = (relay: EndpointId): boolean => this.#usedRelays.has(relay);
    return [...relays.filter((relay) => !used(relay)), ...relays.filter(used)];
  }

  /** What came so far was a refusal, and the same host is asked again. */
  startAnew(): void {
    this.answerBegan = false;
    this.refused = false;
    this.sent = false;
  }

  /** Whether another host may be asked: nothing of an answer has come, or all of it was a refusal (wire.md §7). */
  get mayMoveOn(): boolean {
    return this.refused || !this.answerBegan;
  }

  /** @param failure undefined when the host answered */
  report(failure?: MeshError): Attempt {
    const { host, kind } = this.#route;
    const began = !failure || this.answerBegan;
    const processed = this.refused ? (this.sentBefore ? "maybe" : "no") : began ? "yes" : this.sent ? "maybe" : "no";
    return {
      host,
      sealed: kind === "sealed",
      route: this.#relay ? "relay" : "direct",
      relay: this.#relay,
      outcome: failure?.code ?? "answered",
      processed,
      reason: failure ? ((this.refused ? refusalText(failure.code) : undefined) ?? failure.message) : null,
      failed_ways: [...this.#failedWays],
    };
  }

  /** Notes the first byte that comes out of `source`, and tells an abort by the other side from the caller's own. */
  watch(source: ByteSource, signal: Signal): ByteSource {
    const inner = flowOfSource(source);
    const flow: Flow = {
      now: () => {
        try {
          const bytes = inner.now();
          if (bytes instanceof Uint8Array) this.answerBegan = true;
          return bytes;
        } catch (thrown) {
          throw signal.aborted ? abortError(signal) : brokenOff(thrown, "E_TRUNCATED");
        }
      },
      more: () => inner.more(),
    };
    return sourceOf(flow, () => source.isOver?.() ?? false);
  }
}

/** An abort that the caller did not ask for is the other side's doing: E_ABORTED says that the caller has gone. */
export function brokenOff(thrown: unknown, code: "E_LOST" | "E_RELAY" | "E_TRUNCATED"): MeshError {
  const error = toMeshError(thrown);
  if (error.code !== "E_ABORTED") return error;
  return new MeshError(code, "the host or a relay broke the exchange off", { cause: error });
}

/** The last attempt's error, with all that was tried. */
export class AskError extends MeshError {
  readonly attempts: readonly Attempt[];

  constructor(failure: MeshError, attempts: readonly Attempt[]) {
    const { param, retryAfterSeconds } = failure;
    super(failure.code, `${withFullStop(failure.message)}${triedText(attempts)}`, {
      cause: failure,
      ...(param === undefined ? {} : { param }),
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    });
    this.attempts = attempts;
  }
}

/** What a failed exchange has tried; nothing for failures before the first attempt. */
export function attemptsOf(error: MeshError): readonly Attempt[] {
  return error instanceof AskError ? error.attempts : [];
}

/** Empty after one refusal: the host's own sentence says it all. */
function triedText(attempts: readonly Attempt[]): string {
  const [only, ...others] = attempts;
  const isRefusal = only?.processed === "no" && only.outcome !== "answered" && mayMoveOn(only.outcome);
  if (isRefusal && others.length === 0) return "";
  const tried = attempts.map(({ host, route, outcome, processed }) => {
    return `${shortId(host)} (${route}, ${outcome}, ${processed === "no" ? "not processed" : "maybe processed"})`;
  });
  return ` Tried: ${tried.join("; ")}.`;
}

function withFullStop(text: string): string {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

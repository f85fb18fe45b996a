/** The reports of one node's exchanges, from the headers of their answers and from what the node tells at their ends. */
import { MeshError } from "../base/errors.ts";
import type { ExchangeReport } from "../node/exchanges.ts";
import type { Answered, FactorVerdict, KnownAtOnce, PendingReport, Report } from "./report.ts";
import { orAborted } from "./start.ts";

interface Entry {
  now: KnownAtOnce | undefined;
  readonly ended: Promise<ExchangeReport>;
  end: ((report: ExchangeReport) => void) | undefined;
}

/** Ended exchanges that are kept, as many as a node keeps. */
const kept = 200;

/** The reports of one node. */
export class Reports {
  readonly #entries = new Map<string, Entry>();
  /** Ids of those that have ended, oldest first. */
  readonly #ended: string[] = [];

  /** The head of an answer has come. @param verdict of its host, read at once */
  begun({ headers }: Response, verdict: (host: string) => readonly FactorVerdict[]): void {
    const id = headers.get("x-request-id");
    const host = headers.get("x-sealmesh-host") ?? undefined;
    // without a host there was no exchange, or one that has ended already
    if (id === null || (host === undefined && !this.#entries.has(id))) return;
    this.#entry(id).now = knownAtOnce(id, headers, host === undefined ? [] : verdict(host));
  }

  ended(report: ExchangeReport): void {
    this.#entry(report.id).end?.(report);
    this.#ended.push(report.id);
    if (this.#ended.length > kept) this.#entries.delete(this.#ended.shift() ?? "");
  }

  /** Rejects with E_NOT_FOUND for what is no answer of a model, or one of long ago, and as the signal says. */
  of({ headers }: Answered, signal: AbortSignal | undefined): PendingReport {
    const all = headers instanceof Headers ? headers : new Headers({ ...headers });
    const id = all.get("x-request-id") ?? "";
    const entry = this.#entries.get(id);
    const now = entry?.now ?? knownAtOnce(id, all, []);
    const ended = entry
      ? entry.ended.then((report) => whole(now, report))
      : Promise.reject(
          new MeshError("E_NOT_FOUND", `no exchange has the id of this answer; the last ${kept} are kept`),
        );
    const pending = orAborted(ended, signal);
    pending.catch(() => undefined); // whoever only looks at `now` has nothing to catch
    return Object.assign(pending, { now });
  }

  #entry(id: string): Entry {
    const known = this.#entries.get(id);
    if (known) return known;
    let end: Entry["end"];
    const entry: Entry = {
      now: undefined,
      ended: new Promise((resolve) => (end = resolve)),
      end: (report) => end?.(report),
    };
    this.#entries.set(id, entry);
    return entry;
  }
}

const sealings = { true: "sealed", false: "plain", local: "local" } as const;
const routes = ["direct", "relay", "local"] as const;
const tiers = ["none", "key", "pinned", "vendor", "measured"] as const;

/** The headers are this node's own: what a host sends under these names is dropped on the way. */
function knownAtOnce(id: string, headers: Headers, verdict: readonly FactorVerdict[]): KnownAtOnce {
  const of = (name: string): string | undefined => headers.get(`x-sealmesh-${name}`) ?? undefined;
  const sealed = of("sealed");
  return {
    id,
    host: of("host"),
    route: routes.find((route) => route === of("route")),
    sealed: sealed === "true" || sealed === "false" || sealed === "local" ? sealings[sealed] : undefined,
    tier: tiers.find((tier) => tier === of("attested")),
    evidence: of("evidence")?.split(";", 1)[0],
    verdict,
  };
}

function whole(now: KnownAtOnce, report: ExchangeReport): Report {
  const { status, code, model, attempts, prompt_tokens, completion_tokens, cached_tokens, first_token_ms, ms } = report;
  return {
    ...now,
    status,
    code: code ?? undefined,
    model,
    attempts: attempts.map(({ host, route, outcome, reason }) => ({
      host,
      route,
      outcome,
      reason: reason ?? undefined,
    })),
    tokens: {
      prompt: prompt_tokens ?? undefined,
      completion: completion_tokens ?? undefined,
      cached: cached_tokens ?? undefined,
    },
    firstTokenMs: first_token_ms ?? undefined,
    ms,
  };
}

/** One try to get an answer, for the report and for the rule of retries. Never content. */
import { type EndpointId, shortId } from "../base/brand.ts";
import { type ErrorCode, MeshError, toMeshError } from "../base/errors.ts";
import type { PlainRoute, SealedRoute } from "../policy/decide.ts";
import type { ByteSource } from "../tunnel/http.ts";

export interface Attempt {
  readonly host: EndpointId;
  readonly sealed: boolean;
  readonly route: "direct" | "relay";
  readonly relay: EndpointId | undefined;
  readonly outcome: "answered" | ErrorCode;
  /** Whether this host may have seen and worked on the request. */
  readonly processed: "yes" | "maybe" | "no";
}

/** What the attempt that is being made has come to. */
export class Trial {
  readonly #route: SealedRoute | PlainRoute;
  readonly #usedRelays = new Set<EndpointId>();
  #relay: EndpointId | undefined;
  /** Request bytes may have reached the host. */
  sent = false;
  /** A chunk of the answer was opened: no other host may be asked any more (wire.md §7). */
  answerBegan = false;

  constructor(route: SealedRoute | PlainRoute) {
    this.#route = route;
  }

  /** The relay that the bytes go through; undefined on the host's own connection. */
  get relay(): EndpointId | undefined {
    return this.#relay;
  }

  use(relay: EndpointId | undefined): void {
    this.#relay = relay;
    if (relay) this.#usedRelays.add(relay);
  }

  /** The same relays, those that this attempt has used already last: one that cuts must not be able to block a host. */
  freshFirst(relays: readonly EndpointId[]): readonly EndpointId[] {
    const used = (relay: EndpointId): boolean => this.#usedRelays.has(relay);
    return [...relays.filter((relay) => !used(relay)), ...relays.filter(used)];
  }

  report(outcome: "answered" | ErrorCode): Attempt {
    const { host, kind } = this.#route;
    const processed = outcome === "answered" || this.answerBegan ? "yes" : this.sent ? "maybe" : "no";
    const route = this.#relay ? "relay" : "direct";
    return { host, sealed: kind === "sealed", route, relay: this.#relay, outcome, processed };
  }

  /** Notes the first byte that comes out of `source`, and tells an abort by the other side from the caller's own. */
  watch(source: ByteSource, signal: AbortSignal): ByteSource {
    return {
      read: async () => {
        try {
          const bytes = await source.read();
          if (bytes) this.answerBegan = true;
          return bytes;
        } catch (thrown) {
          throw signal.aborted ? thrown : brokenOff(thrown, "E_TRUNCATED");
        }
      },
    };
  }
}

/** An abort that the caller did not ask for is the other side's doing: E_ABORTED says that the caller has gone. */
export function brokenOff(thrown: unknown, code: "E_LOST" | "E_RELAY" | "E_TRUNCATED"): MeshError {
  const error = toMeshError(thrown);
  if (error.code !== "E_ABORTED") return error;
  return new MeshError(code, "the host or a relay broke the exchange off", { cause: error });
}

/** The last attempt's error, with what was tried. */
export function withAttempts(error: MeshError, attempts: readonly Attempt[]): MeshError {
  const tried = attempts.map(({ host, route, outcome, processed }) => {
    return `${shortId(host)} (${route}, ${outcome}, ${processed === "no" ? "not processed" : "maybe processed"})`;
  });
  return new MeshError(error.code, `${error.message}. Tried: ${tried.join("; ")}`, { cause: error });
}

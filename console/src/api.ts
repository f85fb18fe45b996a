/**
 * Questions to the node, by the console port that this page came from. Every failure is an ApiError whose message can be
 * shown as it is.
 */
import { useCallback, useEffect, useState } from "preact/hooks";
import { sessionHeader, sessionIs } from "./session.ts";

/** What the node answered instead, or that it did not answer (status 0). */
export class ApiError extends Error {
  readonly status: number;
  /** `error.code` of the answer, or "". */
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export interface Asking {
  readonly method?: "GET" | "POST" | "DELETE";
  /** Sent as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** @throws ApiError; what `signal` fired with when it has */
export async function askNode(path: string, { method = "GET", body, signal }: Asking = {}): Promise<Response> {
  const headers = { ...sessionHeader(), ...(body === undefined ? {} : { "content-type": "application/json" }) };
  let answer: Response;
  try {
    const text = body === undefined ? null : JSON.stringify(body);
    answer = await fetch(path, { method, headers, body: text, signal: signal ?? null });
  } catch (thrown) {
    if (signal?.aborted) throw thrown;
    throw new ApiError(0, "unreachable", "The node does not answer. It may have stopped.");
  }
  if ("authorization" in headers) sessionIs(answer.status !== 401);
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

/** @throws as askNode */
export async function askJson<T>(path: string, asking?: Asking): Promise<T> {
  return (await (await askNode(path, asking)).json()) as T;
}

/** What an answer that is an error says. */
export async function errorOf(answer: Response): Promise<ApiError> {
  const fallback = `The node answered ${answer.status}, without a reason.`;
  try {
    const { error } = (await answer.json()) as { error?: { message?: unknown; code?: unknown } };
    const { message, code } = error ?? {};
    return new ApiError(
      answer.status,
      typeof code === "string" ? code : "",
      typeof message === "string" ? sentence(message) : fallback,
    );
  } catch {
    return new ApiError(answer.status, "", fallback);
  }
}

/** The node's errors begin in lower case, as parts of a line; here they stand by themselves. */
function sentence(message: string): string {
  const begun = message.slice(0, 1).toUpperCase() + message.slice(1);
  return /[.!?…]$/.test(begun) ? begun : `${begun}.`;
}

/** What can be said about any failure. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

export type Loaded<T> =
  | { readonly state: "loading"; readonly value: T | undefined }
  | { readonly state: "ready"; readonly value: T }
  | { readonly state: "failed"; readonly value: T | undefined; readonly error: ApiError };

/**
 * What a route says, asked when the view opens and again when `key` changes; the old value stays while it is asked.
 * @param path null: nothing is asked
 */
export function useAsked<T>(path: string | null, key: unknown = null): Loaded<T> & { readonly again: () => void } {
  const [loaded, setLoaded] = useState<Loaded<T>>({ state: "loading", value: undefined });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    setLoaded(({ value }) => ({ state: "loading", value }));
    askJson<T>(path, { signal: stop.signal }).then(
      (value) => setLoaded({ state: "ready", value }),
      (thrown: unknown) => {
        if (stop.signal.aborted) return;
        const error = thrown instanceof ApiError ? thrown : new ApiError(0, "", messageOf(thrown));
        setLoaded(({ value }) => ({ state: "failed", value, error }));
      },
    );
    return () => stop.abort();
  }, [path, key, round]);
  const again = useCallback(() => setRound((before) => before + 1), []);
  return { ...loaded, again };
}

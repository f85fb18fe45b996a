/** Reads what a node's console tells as it happens (server-sent events), for commands that go on until they are stopped. */
import { isMeshError, MeshError } from "../base/errors.ts";
import { sseReader } from "../openai/sse.ts";
import { answerError, consoleUrl, type ConsoleFlags, readDocument } from "./local-node.ts";

export interface ConsoleEvent {
  /** From its `event:` line; "" where there is none. */
  readonly event: string;
  /** Without control characters in any text. */
  readonly document: unknown;
}

export interface FollowOptions {
  /** Ends it, without an error. */
  readonly signal: AbortSignal;
  readonly headers?: Readonly<Record<string, string>>;
}

/** A node says at least that it is there this often, ms; twice that is silence. */
const silenceMs = 40_000;

/**
 * Until the node ends, or `signal` aborts.
 * @throws E_UNREACHABLE nobody there, somebody else, or silence · E_INPUT it is not for us
 */
export async function* followConsole(
  flags: ConsoleFlags,
  path: string,
  { signal, headers = {} }: FollowOptions,
): AsyncGenerator<ConsoleEvent, void> {
  const base = consoleUrl(flags);
  const silent = new AbortController();
  const give = (): void => silent.abort();
  let timer = setTimeout(give, silenceMs);
  let begun = false;
  try {
    const either = AbortSignal.any([signal, silent.signal]);
    const response = await fetch(new URL(path, base), { headers, signal: either, redirect: "error" });
    const isStream = response.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
    if (!response.ok) throw answerError(base, response.status, readDocument(await response.text()));
    if (!isStream || !response.body) {
      throw new MeshError("E_UNREACHABLE", `what answers at ${base.origin} is no console of a sealmesh node`);
    }
    const reader = sseReader();
    for await (const bytes of response.body) {
      clearTimeout(timer);
      timer = setTimeout(give, silenceMs);
      begun = true;
      for (const { event = "", data } of reader.read(bytes)) yield { event, document: readDocument(data) };
    }
  } catch (thrown) {
    if (signal.aborted) return;
    if (isMeshError(thrown)) throw thrown;
    // a node that ends takes its connections with it
    if (begun && !silent.signal.aborted) return;
    const what = silent.signal.aborted ? "has fallen silent" : "does not answer";
    throw new MeshError("E_UNREACHABLE", `the node at ${base.origin} ${what}`, { cause: thrown });
  } finally {
    clearTimeout(timer);
  }
}

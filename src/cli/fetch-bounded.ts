/** Gets one document over HTTP: no larger, no later and from no other host than was asked for. Judges nothing in it. */
import { concat } from "../base/bytes.ts";
import { isMeshError, MeshError } from "../base/errors.ts";

export interface FetchOptions {
  readonly maxBytes: number;
  /** For the whole of it, ms. */
  readonly ms: number;
}

export interface Fetched {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** More than these lead in a circle. */
const maxRedirects = 3;

/**
 * @throws E_UNREACHABLE nobody there, or not in time · E_INPUT it leads to another host, or the answer is too large
 */
export async function fetchBounded(url: URL, { maxBytes, ms }: FetchOptions): Promise<Fetched> {
  const signal = AbortSignal.timeout(ms);
  try {
    const response = await follow(url, signal);
    return { status: response.status, bytes: await wholeBody(response, maxBytes) };
  } catch (thrown) {
    if (isMeshError(thrown)) throw thrown;
    const why = signal.aborted ? `gave no whole answer within ${ms / 1000} s` : "does not answer";
    throw new MeshError("E_UNREACHABLE", `${url.origin} ${why}`, { cause: thrown });
  }
}

async function follow(start: URL, signal: AbortSignal): Promise<Response> {
  let url = start;
  for (let redirects = 0; redirects <= maxRedirects; redirects++) {
    const response = await fetch(url, { signal, redirect: "manual" });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status > 399 || location === null) return response;
    await response.body?.cancel();
    if (!URL.canParse(location, url.href)) break;
    const next = new URL(location, url);
    // what another host says is not what was asked for, nor is what anybody on the way can write
    if (next.hostname !== start.hostname || !/^https?:$/.test(next.protocol)) break;
    if (url.protocol === "https:" && next.protocol !== "https:") break;
    url = next;
  }
  throw new MeshError("E_INPUT", `${start.origin} leads elsewhere; give the address where the document itself is`);
}

async function wholeBody(response: Response, maxBytes: number): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  // leaving the loop early cancels the rest
  for await (const piece of response.body ?? []) {
    length += piece.length;
    if (length > maxBytes) throw new MeshError("E_INPUT", `the answer has more than ${maxBytes} bytes`);
    pieces.push(piece);
  }
  return concat(pieces);
}

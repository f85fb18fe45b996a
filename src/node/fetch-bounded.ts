/** Gets one document over HTTP: no larger, no later and from no other host than was asked for. Judges nothing in it. */
import { concat } from "../base/bytes.ts";
import { isMeshError, MeshError, systemCode } from "../base/errors.ts";

export interface FetchOptions {
  readonly maxBytes: number;
  /** For the whole of it, ms. */
  readonly ms: number;
  /** Ends it at once, as E_UNREACHABLE. */
  readonly signal?: AbortSignal;
  /** How it is asked, where not by a plain GET: a request that says more goes to this very address and is led nowhere else. */
  readonly request?: {
    readonly method?: "GET" | "POST" | "DELETE";
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string;
  };
}

export interface Fetched {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** More than these lead in a circle. */
const maxRedirects = 3;

/**
 * @throws E_UNREACHABLE nobody there, not in time, or TLS that does not hold · E_INPUT it leads to another host, or the
 *         answer is too large · E_USAGE there is a password in the address
 */
export async function fetchBounded(url: URL, options: FetchOptions): Promise<Fetched> {
  const { maxBytes, ms, signal: ending, request } = options;
  if (hasPassword(url)) {
    const why = "which other users of this machine can read in a list of processes";
    throw new MeshError(
      "E_USAGE",
      `the address of ${url.host} has a user name or password in it, ${why}: leave it out`,
    );
  }
  const time = AbortSignal.timeout(ms);
  const signal = ending ? AbortSignal.any([time, ending]) : time;
  try {
    const asked = request && { ...request, signal, redirect: "manual" as const };
    const response = asked ? await fetch(url, asked) : await follow(url, signal);
    return { status: response.status, bytes: await wholeBody(response, maxBytes) };
  } catch (thrown) {
    if (isMeshError(thrown)) throw thrown;
    const why = time.aborted
      ? `gave no whole answer within ${ms / 1000} s`
      : (tlsComplaint(thrown) ?? "does not answer");
    throw new MeshError("E_UNREACHABLE", `${url.origin} ${why}`, { cause: thrown });
  }
}

function hasPassword({ username, password }: URL): boolean {
  return username !== "" || password !== "";
}

/** Undefined when it was not TLS that failed. */
function tlsComplaint(thrown: unknown): string | undefined {
  const code = systemCode(thrown instanceof Error ? thrown.cause : undefined);
  if (/^ERR_SSL_|^EPROTO$/.test(code)) {
    return `speaks no TLS that can be understood here (${code}): is it an http:// address?`;
  }
  if (!/CERT|SIGNATURE$|^UNABLE_TO_|^INVALID_|^HOSTNAME_/.test(code)) return undefined;
  const next = "fetch it yourself and give the file. Commands that run no node heed NODE_EXTRA_CA_CERTS as well";
  return `shows a TLS certificate that does not hold here (${code}): ${next}`;
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
    if (next.hostname !== start.hostname || !/^https?:$/.test(next.protocol) || hasPassword(next)) break;
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

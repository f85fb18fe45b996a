/**
 * One request for a model: asked from where the part ends, followed where it leads, and no further. A key goes to the one
 * origin that it is for. Judges status and headers, reads no body. Called by download.ts.
 */
import { MeshError } from "../base/errors.ts";
import { isDigest, type Part } from "./download-files.ts";
import type { HttpAnswer, HttpClient } from "./http.ts";
import { isSafe, type ModelSource, type RemoteFile, shown } from "./model-source.ts";

export interface ModelRequest {
  readonly source: ModelSource;
  readonly file: RemoteFile;
  /** Of Hugging Face. */
  readonly token: string | undefined;
  /** What is there already. */
  readonly begun: Part | undefined;
  readonly signal: AbortSignal;
}

export type ModelAnswer =
  /** The whole from byte `offset` on. */
  | {
      readonly kind: "bytes";
      readonly offset: number;
      readonly bytes: number | undefined;
      /** The answer says where it ends; otherwise a connection that breaks looks like the end. */
      readonly endIsTold: boolean;
      readonly etag: string | undefined;
      readonly sha256: string | undefined;
      readonly body: HttpAnswer["body"];
      readonly discard: () => void;
    }
  /** The part is as long as the whole. */
  | { readonly kind: "complete"; readonly sha256: string | undefined }
  /** The part is of something else by now: it must go. */
  | { readonly kind: "stale" }
  /** Another try may do better. */
  | { readonly kind: "later"; readonly why: string; readonly afterMs: number | undefined };

/** What the origin of the address has said on the way, which those that it leads to do not know. */
interface Told {
  sha256: string | undefined;
  bytes: number | undefined;
}

const mostRedirects = 5;
/** Of retry-after, ms. */
const mostWaitMs = 60_000;

/** @throws E_INPUT it is not there, or not for us, or no model · E_ENGINE, E_TIMEOUT, E_ABORTED as HttpClient.send() */
export async function requestModel(client: HttpClient, request: ModelRequest): Promise<ModelAnswer> {
  const { source, file, token, begun, signal } = request;
  const told: Told = { sha256: undefined, bytes: undefined };
  let { url } = file;
  for (let redirects = 0; redirects <= mostRedirects; redirects++) {
    const isHub = url.origin === source.huggingFace;
    const headers = {
      accept: "*/*",
      "accept-encoding": "identity",
      "user-agent": "sealmesh",
      ...(isHub && token !== undefined ? { authorization: `Bearer ${token}` } : {}),
      ...rangeOf(begun),
    };
    const answer = await client.send({ method: "GET", url, headers, signal });
    if (isHub) hear(told, answer.headers);
    const { location } = answer.headers;
    if (![301, 302, 303, 307, 308].includes(answer.status) || location === undefined) {
      return judged(answer, told, url, request);
    }
    answer.discard();
    const next = URL.canParse(location, url.href) ? new URL(location, url) : undefined;
    if (!next || !isSafe(next) || (url.protocol === "https:" && next.protocol !== "https:")) {
      throw new MeshError("E_INPUT", `${shown(url.href)} leads to an address that is not followed: it must be https`);
    }
    url = next;
  }
  throw new MeshError("E_INPUT", `${shown(file.url.href)} leads in a circle`);
}

function rangeOf(begun: Part | undefined): Record<string, string> {
  if (!begun) return {};
  const range = { range: `bytes=${begun.length}-` };
  // without a validator its checksum is known, which the whole is held to in the end
  return begun.etag === undefined ? range : { ...range, "if-range": begun.etag };
}

/** Hugging Face tells SHA-256 and size of a large file before it leads elsewhere. */
function hear(told: Told, headers: Readonly<Record<string, string>>): void {
  const etag = headers["x-linked-etag"]?.replace(/^W\//, "").replaceAll('"', "").toLowerCase();
  if (isDigest(etag)) told.sha256 = etag;
  told.bytes = size(headers["x-linked-size"]) ?? told.bytes;
}

function judged(answer: HttpAnswer, told: Told, url: URL, request: ModelRequest): ModelAnswer {
  const { status, headers, body } = answer;
  const discard = (): void => answer.discard();
  const { begun } = request;
  const { sha256 } = told;
  if (status !== 200 && status !== 206) {
    discard();
    if (status === 416 && begun) {
      const [, total] = /^bytes \*\/([0-9]{1,20})$/.exec(headers["content-range"] ?? "") ?? [];
      const isWhole = Number(total) === begun.length && sameSum(begun, sha256);
      return isWhole ? { kind: "complete", sha256: sha256 ?? begun.sha256 } : { kind: "stale" };
    }
    return refused(status, headers, url, request);
  }
  const coding = headers["content-encoding"] ?? "identity";
  if (coding !== "identity") {
    discard();
    throw new MeshError(
      "E_INPUT",
      `${shown(url.href)} is sent ${coding}-compressed, which cannot be gone on with later`,
    );
  }
  const etag = strong(headers["etag"]);
  const common = { etag, sha256, body, discard };
  if (status === 200) {
    const bytes = size(headers["content-length"]) ?? told.bytes;
    const endIsTold = bytes !== undefined || /\bchunked\b/i.test(headers["transfer-encoding"] ?? "");
    return { kind: "bytes", offset: 0, bytes, endIsTold, ...common };
  }
  const [, from, total] =
    /^bytes ([0-9]{1,20})-[0-9]{1,20}\/([0-9]{1,20}|\*)$/.exec(headers["content-range"] ?? "") ?? [];
  const bytes = size(total) ?? told.bytes;
  const fits =
    begun !== undefined &&
    Number(from) === begun.length &&
    (begun.etag === undefined || etag === undefined || etag === begun.etag) &&
    (begun.bytes === undefined || bytes === undefined || bytes === begun.bytes) &&
    sameSum(begun, sha256);
  if (fits) return { kind: "bytes", offset: begun.length, ...common, bytes: bytes ?? begun.bytes, endIsTold: true };
  discard();
  return { kind: "stale" };
}

function sameSum(begun: Part, sha256: string | undefined): boolean {
  return begun.sha256 === undefined || sha256 === undefined || begun.sha256 === sha256;
}

/** @throws E_INPUT it will not be different the next time */
function refused(
  status: number,
  headers: Readonly<Record<string, string>>,
  url: URL,
  { source, token }: ModelRequest,
): ModelAnswer {
  const address = shown(url.href);
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const seconds = size(headers["retry-after"]);
    const afterMs = seconds === undefined ? undefined : Math.min(seconds * 1_000, mostWaitMs);
    return { kind: "later", why: `${url.origin} answered with status ${status}`, afterMs };
  }
  if (status === 401 || status === 403)
    throw new MeshError("E_INPUT", `${address} ${notAllowed(status, source, token)}`);
  if (status === 404 || status === 410) {
    throw new MeshError("E_INPUT", `${address} is not there (status ${status}): see whether its name is right`);
  }
  throw new MeshError("E_INPUT", `${address} answered with status ${status}, which is no model`);
}

function notAllowed(status: number, source: ModelSource, token: string | undefined): string {
  if (source.huggingFace === undefined) return `is not for everybody (status ${status}), and no key is sent there`;
  const page = "its page may ask you to agree to a licence first";
  if (token !== undefined) return `is not for the key in HF_TOKEN (status ${status}): ${page}`;
  return `is gated, private or not there (status ${status}): set HF_TOKEN or --hf-token-file to a key of yours; ${page}`;
}

/** A weak one does not say that the bytes are the same. */
function strong(etag: string | undefined): string | undefined {
  return etag !== undefined && /^"[\x21\x23-\x7e]{1,200}"$/.test(etag) ? etag : undefined;
}

function size(text: string | undefined): number | undefined {
  const number = text !== undefined && /^[0-9]{1,20}$/.test(text) ? Number(text) : undefined;
  return number !== undefined && Number.isSafeInteger(number) ? number : undefined;
}

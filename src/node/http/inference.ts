/**
 * One inference request, top to bottom: read, understood, answered by an engine of this machine or by a host, counted,
 * brought into the form that was asked for, written. The same for streamed and whole, sealed, plain and local answers.
 */
import { once } from "../../base/body.ts";
import { fingerprintOf } from "../../attest/proof.ts";
import type { EndpointId } from "../../base/brand.ts";
import type { Budget } from "../../base/budget.ts";
import { utf8 } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import type { Places } from "../../base/places.ts";
import { isRecord, type Json, parseJsonText } from "../../base/json.ts";
import type { Signal } from "../../base/signal.ts";
import type { Engine } from "../../engine/engine.ts";
import type { Asked, AskRequest } from "../../exchange.ts";
import { type Attempt, attemptsOf } from "../../mesh/attempt.ts";
import { embeddingsAsAsked } from "../../openai/embeddings.ts";
import { openAiErrorAnswer } from "../../openai/foreign.ts";
import { mayMoveOn } from "../../openai/refusal.ts";
import { type NormalisedRequest, normalisedRequest, parseRequest, requestOf, withModel } from "../../openai/request.ts";
import type { ResponseStore } from "../../openai/responses/store.ts";
import { messagesPath, responsesPath, translated, type Translation } from "../../openai/translation.ts";
import { type Account, metered } from "../../openai/usage.ts";
import type { RouteProof } from "../../policy/decide.ts";
import { type ExchangeAttestation, type ExchangeReport, reportedCode } from "../exchanges.ts";
import type { Choice } from "../routing.ts";
import { type BodyTiming, checkSize } from "./body.ts";
import type { Asking, Reply } from "./lanes.ts";
import { repeated, unknownModel } from "./models.ts";
import { collected, isEventStream, type Outgoing } from "./write.ts";

export interface InferenceParts {
  readonly self: EndpointId;
  /** Our engine for a model, if one has it now. */
  readonly engineFor: (model: string) => Pick<Engine, "answer"> | undefined;
  /** Ids of models that this machine serves, and of all that the mesh serves. */
  readonly localModels: () => readonly string[];
  readonly meshModels: () => readonly string[];
  /** Whether a host of the mesh has the model too. */
  readonly isElsewhere: (model: string) => boolean;
  /** Which model answers; see routing.ts. @throws E_INPUT, E_NO_HOST, E_MODEL */
  readonly choose: (path: string, json: Json, asker: EndpointId | undefined) => Choice;
  readonly ask: (request: AskRequest) => Promise<Asked>;
  /** Whether a host could be asked again now: its evidence may have run out since. */
  readonly proofNow: (host: EndpointId) => ExchangeAttestation["at_end"];
  /** Conversations of callers on this machine; peers have none here. */
  readonly store: ResponseStore;
  /** Exchanges of callers on this machine at a time, and bytes of their bodies. */
  readonly places: Places;
  readonly budget: Budget;
  /** Told of each exchange of this machine's callers when it has ended. */
  readonly onAsked: (report: ExchangeReport, error: MeshError | undefined, traceparent: unknown) => void;
  readonly timing: BodyTiming & { readonly unreadMs: number };
}

export interface Caller {
  /** The peer that asks; undefined for this machine. */
  readonly asker: EndpointId | undefined;
  readonly id: string;
  /** performance.now() when the request arrived. */
  readonly startedMs: number;
  /** Fires when the caller has gone. */
  readonly signal: Signal;
}

export interface Inference {
  readonly asking: Asking;
  readonly reply: Reply;
  /** One of {@link inferencePaths}. */
  readonly path: string;
  readonly caller: Caller;
}

const chatPath = "/v1/chat/completions";
const embeddingsPath = "/v1/embeddings";

/** What can be asked; what of it a model can do is its engine's to say. */
export const inferencePaths: ReadonlySet<string> = new Set([
  chatPath,
  "/v1/completions",
  embeddingsPath,
  responsesPath,
  messagesPath,
]);

/** Who answered, over which route, sealed how, and what that host had proven: what the x-sealmesh-* headers say. */
interface Served {
  readonly host: EndpointId;
  readonly sealed: "true" | "false" | "local";
  readonly route: "direct" | "relay" | "local";
  /** Undefined for our own engine, which has nothing to prove to us. */
  readonly proof: RouteProof | undefined;
}

/** What is known of an exchange so far. */
interface Course {
  /** Empty unless it is a model of the mesh: what else a caller wrote there is content. */
  model: string;
  status: number;
  /** `error.code` of an error answer that a host gave. */
  code: string | undefined;
  served: Served | undefined;
  attempts: readonly Attempt[];
  account: Account | undefined;
}

/** An answer, and who gave it. */
interface Obtained {
  readonly answer: Outgoing;
  readonly served: Served;
  readonly attempts: readonly Attempt[];
}

/** @throws what went wrong before the answer's head was written, or after; in the end the caller knows of both */
export async function answerInference(inference: Inference, parts: InferenceParts): Promise<void> {
  const { asking, reply, path, caller } = inference;
  const { asker, id, startedMs } = caller;
  const time = new Date().toISOString();
  const course: Course = {
    model: "",
    status: 500,
    code: undefined,
    served: undefined,
    attempts: [],
    account: undefined,
  };
  const account = asker ? undefined : parts.budget.open("local"); // a peer's bytes are counted where they arrive
  let error: MeshError | undefined;
  let release: (() => void) | undefined;
  let translation: Translation | undefined;
  try {
    // 1 room for it
    if (!asker) release = takePlace(parts.places);
    // 2 its body, as JSON
    const body = parseRequest(await asking.body(account, parts.timing));
    // 3 some requests stand for a chat request; only this machine's callers are remembered
    const store = asker ? undefined : parts.store;
    translation = translated(path, body.json, { requestId: id, store });
    // 4 as engines know it
    const enginePath = translation ? chatPath : path;
    const asked = normalisedRequest(enginePath, translation ? requestOf(translation.chat) : body);
    if (!asker) course.model = known(asked.model, parts);
    // 5 which model, for "auto" too
    const choice = parts.choose(enginePath, asked.json, asker);
    const wanted = withModel(asked, choice.model);
    checkSize(wanted.bytes.length); // what we add counts too: the bound is the same on every way
    if (!asker && choice.model !== asked.model) course.model = known(choice.model, parts);
    // 6 the answer, of our own engine or of a host
    const isKnown = course.model !== "";
    const { answer, served, attempts } = await obtain(inference, enginePath, { wanted, choice, isKnown }, parts);
    account?.close();
    Object.assign(course, { served, attempts, status: answer.status });
    if (!asker) setServed(reply, served, attempts);
    // 7 counted, in the form that was asked for, and out
    const outgoing =
      answer.status >= 400
        ? await errorAnswer(answer, course, inference)
        : await shaped(answer, { path, wanted, translation, caller, course });
    const { unreadMs } = parts.timing;
    await reply.send(outgoing, { id, unreadMs, onTold: (code) => (course.code = reportedCode(code)) });
  } catch (thrown) {
    error = toMeshError(thrown);
    if (!reply.begun) course.status = error.row.status;
    const tried = attemptsOf(error);
    if (tried.length > 0) course.attempts = tried;
    if (!asker && tried.length > 0 && !reply.begun) {
      reply.setHeader("x-sealmesh-attempts", String(tried.length));
    }
    throw inCallersTerms(error, translation);
  } finally {
    release?.();
    account?.close();
    // 8 what became of it
    if (!asker) {
      const report = reportOf(course, { id, time, path, error, startedMs, proofNow: parts.proofNow });
      parts.onAsked(report, error, asking.headers["traceparent"]);
    }
  }
}

/** What a chat request calls `messages` may have another name and other places in the caller's own request. */
function inCallersTerms(error: MeshError, translation: Translation | undefined): MeshError {
  const { code, message, param, retryAfterSeconds } = error;
  if (!translation || param === undefined || !/^messages\b/.test(param)) return error;
  return new MeshError(code, message, {
    cause: error,
    param: translation.promptParam,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/** The name, if it is one of the mesh's models. */
function known(model: string, parts: InferenceParts): string {
  return parts.localModels().includes(model) || parts.isElsewhere(model) ? model : "";
}

function takePlace(places: Places): () => void {
  const release = places.take("local");
  if (release) return release;
  throw new MeshError("E_BUSY", `this node runs ${places.taken} requests already`, { retryAfterSeconds: 1 });
}

/** What is to be answered, as engines know it. */
interface Wish {
  readonly wanted: NormalisedRequest;
  readonly choice: Choice;
  /** Whether it is a model of the mesh; not looked for where a peer asks. */
  readonly isKnown: boolean;
}

async function obtain(inference: Inference, path: string, wish: Wish, parts: InferenceParts): Promise<Obtained> {
  const { wanted, choice, isKnown } = wish;
  const { bytes, json, model } = wanted;
  const { asker, signal } = inference.caller;
  const engine = parts.engineFor(model);
  if (engine) {
    try {
      const answer = await engine.answer({ path, body: bytes, json, asker: asker ?? "local", signal });
      const served: Served = { host: parts.self, sealed: "local", route: "local", proof: undefined };
      return { answer, served, attempts: [] };
    } catch (thrown) {
      // what our engine did nothing with, another machine that has the model may answer; never in the clear, though
      const refusal = toMeshError(thrown);
      if (asker || !mayMoveOn(refusal.code) || !parts.isElsewhere(model)) throw refusal;
      return await askMesh(inference, path, wanted, choice, parts, true).catch((failure: unknown) => {
        const tried = attemptsOf(toMeshError(failure)).length > 0;
        throw tried || signal.aborted ? failure : refusal;
      });
    }
  }
  // a host that opened a request answers it or refuses: it is never passed on (protocol.md §11 D5)
  if (asker) throw new MeshError("E_MODEL", `the model "${repeated(model)}" is not served here`, { param: "model" });
  if (!isKnown) throw unknownModel(model, parts.meshModels());
  return await askMesh(inference, path, wanted, choice, parts, false);
}

async function askMesh(
  { asking, caller }: Inference,
  path: string,
  { bytes, model }: NormalisedRequest,
  choice: Choice,
  parts: InferenceParts,
  sealedOnly: boolean,
): Promise<Obtained> {
  const { signal } = caller;
  const { tokens: needTokens, conversation } = choice.needs();
  const headers: (readonly [string, string])[] = [];
  for (const [name, value] of Object.entries(asking.headers))
    if (typeof value === "string") headers.push([name, value]);
  const asked = { method: "POST", path, headers, body: bytes, model, needTokens, conversation, sealedOnly, signal };
  const { response, attempts, proof } = await parts.ask(asked);
  const last = attempts.at(-1);
  if (!last) throw new MeshError("E_BUG", "an answer without an attempt");
  const served: Served = { host: last.host, sealed: last.sealed ? "true" : "false", route: last.route, proof };
  return { answer: response, served, attempts };
}

/** Set by this node alone: what a peer sends under these names was dropped on the way. */
function setServed(reply: Reply, { host, sealed, route, proof }: Served, attempts: readonly Attempt[]): void {
  reply.setHeader("x-sealmesh-host", host);
  reply.setHeader("x-sealmesh-sealed", sealed);
  reply.setHeader("x-sealmesh-route", route);
  reply.setHeader("x-sealmesh-attempts", String(attempts.length));
  if (proof) for (const [name, value] of Object.entries(proofHeaders(proof))) reply.setHeader(name, value);
}

/** A tier, and what it rests on; evidence that was taken by its own time alone is named as such. */
function proofHeaders({ tier, kind, attestedKey, unchallenged }: RouteProof): Readonly<Record<string, string>> {
  return {
    "x-sealmesh-attested": tier,
    ...(kind === undefined ? {} : { "x-sealmesh-evidence": unchallenged ? `${kind}; unchallenged` : kind }),
    ...(attestedKey ? { "x-sealmesh-attested-key": fingerprintOf(attestedKey) } : {}),
  };
}

// ---- the answer's form

/** A host's error answer as an error object of the API that was asked. */
async function errorAnswer(answer: Outgoing, course: Course, { asking, caller }: Inference): Promise<Outgoing> {
  const { status, code, body } = openAiErrorAnswer(answer.status, await collected(answer.body));
  course.code = reportedCode(code);
  return whole({ ...answer, status }, asking.form.answer(status, answer.headers, body, caller.id));
}

interface Shaping {
  /** As the caller wrote it. */
  readonly path: string;
  readonly wanted: NormalisedRequest;
  readonly translation: Translation | undefined;
  readonly caller: Caller;
  readonly course: Course;
}

async function shaped(answer: Outgoing, shaping: Shaping): Promise<Outgoing> {
  const { path, wanted, translation, caller, course } = shaping;
  const stripUsage = wanted.stripUsage && !translation;
  // what a peer's answer takes is counted where it is asked for
  const { body, account } =
    caller.asker && !stripUsage
      ? { body: answer.body, account: undefined }
      : metered(answer.body, {
          contentType: answer.headers["content-type"] ?? "",
          stripUsage,
          startedMs: caller.startedMs,
        });
  course.account = account;
  // a peer's words: a redirect, an empty answer or a page would leave the caller without answer and without error
  if (answer.status !== 200) {
    throw new MeshError("E_ENGINE", `the host's status ${answer.status} is neither that of an answer nor of an error`);
  }
  if (isEventStream(answer.headers) !== wanted.stream) {
    throw new MeshError(
      "E_ENGINE",
      `the engine ${wanted.stream ? "did not stream" : "streamed"} although asked otherwise`,
    );
  }
  if (!wanted.stream && !isJson(answer.headers)) throw new MeshError("E_ENGINE", "the engine's answer is not JSON");
  if (translation) return await retold({ ...answer, body }, translation, wanted.model);
  if (path !== embeddingsPath) return { status: answer.status, headers: answer.headers, body };
  const bytes = await collected(body);
  const asked = wanted.json["encoding_format"] ?? "float";
  if (asked !== "base64" && asked !== "float") return whole(answer, bytes);
  const json = jsonObject(bytes);
  const given = json && encodingOf(json);
  if (!json || given === undefined || given === asked) return whole(answer, bytes);
  return whole(answer, utf8(JSON.stringify(embeddingsAsAsked(json, asked))));
}

/** The answer to the chat request as the answer to the request that it stands for. */
async function retold(answer: Outgoing, translation: Translation, model: string): Promise<Outgoing> {
  // what fails before the first byte is still an ordinary error
  if (translation.stream) return { ...answer, body: translation.events(await begun(answer.body), model) };
  const chat = jsonObject(await collected(answer.body));
  if (!chat) throw new MeshError("E_ENGINE", "the engine's answer is not a JSON object");
  return whole(answer, utf8(JSON.stringify(translation.whole(chat, model))));
}

/** The same pieces, the first of which has come. */
async function begun(body: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const pieces = body[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<Uint8Array>> | undefined = Promise.resolve(await pieces.next());
  return {
    [Symbol.asyncIterator]: () => ({
      next: () => {
        const next = first ?? pieces.next();
        first = undefined;
        return next;
      },
      return: async () => (await pieces.return?.()) ?? { done: true, value: undefined },
    }),
  };
}

function whole({ status, headers }: Outgoing, bytes: Uint8Array): Outgoing {
  const given = { ...headers, "content-type": "application/json", "content-length": String(bytes.length) };
  return { status, headers: given, body: once(bytes) };
}

/** Also when nothing is said: some old hosts do not. */
function isJson({ "content-type": type = "application/json" }: Outgoing["headers"]): boolean {
  return /^application\/(?:[\w.+-]+\+)?json *(?:;|$)/i.test(type);
}

/** Undefined for what is no JSON object. */
function jsonObject(bytes: Uint8Array): Json | undefined {
  const json = parseJsonText(new TextDecoder().decode(bytes));
  return isRecord(json) ? json : undefined;
}

/** Of the first vector; undefined where there is none. */
function encodingOf({ data }: Json): "base64" | "float" | undefined {
  const first: unknown = Array.isArray(data) ? data[0] : undefined;
  const vector = isRecord(first) ? first["embedding"] : undefined;
  return typeof vector === "string" ? "base64" : Array.isArray(vector) ? "float" : undefined;
}

// ---- the report

interface Ending {
  readonly id: string;
  readonly time: string;
  readonly path: string;
  readonly error: MeshError | undefined;
  readonly startedMs: number;
  readonly proofNow: InferenceParts["proofNow"];
}

/** An exchange goes on when its host's evidence ends in the midst of it; the report says so. */
function attestationOf(
  host: EndpointId,
  { tier, kind, attestedKey, unchallenged }: RouteProof,
  proofNow: InferenceParts["proofNow"],
): ExchangeAttestation {
  const key = attestedKey ? fingerprintOf(attestedKey) : null;
  return { tier, kind: kind ?? null, key, unchallenged, at_end: proofNow(host) };
}

function reportOf(course: Course, { id, time, path, error, startedMs, proofNow }: Ending): ExchangeReport {
  const { model, status, code, served, attempts, account } = course;
  const rounded = (ms: number | undefined): number | null => (ms === undefined ? null : Math.round(ms));
  return {
    id,
    time,
    path,
    model,
    status,
    code: code ?? error?.row.code ?? null,
    host: served?.host ?? null,
    sealed: served?.sealed ?? null,
    route: served?.route ?? null,
    attempts,
    attestation: served?.proof ? attestationOf(served.host, served.proof, proofNow) : null,
    first_byte_ms: rounded(account?.firstByteMs),
    first_token_ms: rounded(account?.firstTokenMs),
    ms: Math.round(performance.now() - startedMs),
    prompt_tokens: account?.promptTokens ?? null,
    completion_tokens: account?.completionTokens ?? null,
    cached_tokens: account?.cachedTokens ?? null,
  };
}

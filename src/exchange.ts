/**
 * The data path: ask() on the asker's side, answer() on the host's, in wire order, so that a reader sees what one side
 * seals and the other opens. Nothing else in the product carries a prompt to a peer.
 *
 * Everything above sees plain HTTP and does not know about sealing; everything below sees bytes.
 *
 * @see design.md §4 · wire.md §4, §5, §7 · protocol.md §5, §7
 */
import { type Body, once } from "./base/body.ts";
import { type EndpointId, shortId } from "./base/brand.ts";
import { toHex } from "./base/bytes.ts";
import type { Clock } from "./base/clock.ts";
import { abortError, withDeadline } from "./base/deadline.ts";
import { type ErrorCode, MeshError, toMeshError } from "./base/errors.ts";
import type { Budget } from "./base/budget.ts";
import type { Places } from "./base/places.ts";
import type { Signal } from "./base/signal.ts";
import type { ByteStream } from "./base/stream.ts";
import { type Identity, verifySignature } from "./crypto/identity.ts";
import type { InferenceKeys } from "./crypto/inference-keys.ts";
import { randomOctets } from "./crypto/box.ts";
import { AskerSeal, type OpenedRequest, openRequest } from "./crypto/seal.ts";
import type { Affinity } from "./mesh/affinity.ts";
import { AskError, type Attempt, brokenOff, Trial } from "./mesh/attempt.ts";
import { type HostChoice, type HostLoad, isFar, orderHosts, type RelayFacts, relaysTo } from "./mesh/choose.ts";
import type { Peer } from "./mesh/membership.ts";
import type { Mesh } from "./mesh/mesh.ts";
import type { Proofs } from "./mesh/proofs.ts";
import type { Roles } from "./mesh/roles.ts";
import { openAiError } from "./openai/errors.ts";
import { refusalOf } from "./openai/refusal.ts";
import {
  type Decision,
  decide,
  dependsOnEvidence,
  type HostFacts,
  type PlainRoute,
  type SealedRoute,
} from "./policy/decide.ts";
import { postureFacts } from "./policy/hardened.ts";
import { judgeOwner, noOwnerTrust, type OwnerVerdict } from "./policy/owners.ts";
import type { Policy } from "./policy/policy.ts";
import type { Refusal } from "./policy/refusals.ts";
import { abortCodes } from "./transport/transport.ts";
import { coalesced, paddedJson } from "./tunnel/disguise.ts";
import {
  allowedRequestHeaders,
  allowedResponseHeaders,
  type HeaderList,
  hostTimeHeader,
  uniqueOwnHeaders,
} from "./tunnel/headers.ts";
import {
  type ByteSource,
  bytesSource,
  encodeRequestHead,
  encodeResponse,
  type HttpRequest,
  type HttpResponse,
  readRequest,
  readResponse,
  readUpTo,
} from "./tunnel/http.ts";
import { closing, settle } from "./tunnel/lifetime.ts";
import { copyResponse, plainResponse, writePlainRequest } from "./tunnel/plain.ts";
import { askRelay } from "./tunnel/relay.ts";
import {
  type AnswerPace,
  openedResponse,
  readEnvelope,
  sealResponse,
  takeEnvelope,
  writeEnvelope,
} from "./tunnel/sealed.ts";
import type { SeenCache } from "./tunnel/seen.ts";
import { StreamReader } from "./wire/frame.ts";
import type { RequestEnvelope } from "./wire/envelope.ts";
import { headSigningBytes, readSealedHead, type SealedHead, sealedHeadFields } from "./wire/head.ts";
import { limits } from "./wire/limits.ts";
import { decodeRelayedOpen } from "./wire/relay.ts";
import { envelopeByte } from "./wire/stream-types.ts";

// ---------------------------------------------------------------------------------------------------- asking

export type RouteSetting = "auto" | "direct" | "relay";

export interface AskParts {
  readonly mesh: Mesh;
  readonly identity: Identity;
  readonly clock: Clock;
  readonly policy: Policy;
  /** What hosts have shown of themselves. */
  readonly proofs: Proofs;
  readonly route: RouteSetting;
  readonly load: HostLoad;
  readonly affinity: Affinity;
  /** Whether requests are padded, so that their size tells less (protocol.md §11 E6). */
  readonly pad: boolean;
  readonly timing: AskTiming;
  /** @default every member may answer and carry */
  readonly roles?: Roles;
  /** How this node was admitted, for hosts that it reaches through relays and that may not know it. @default an open mesh */
  readonly credential?: () => Uint8Array | undefined;
  /** Told of each host that was refused, once for each exchange. */
  readonly onRefused?: (rule: Refusal["rule"]) => void;
}

export interface AskTiming {
  /** Direct connection to a host, before a relay is tried. */
  readonly dialMs: number;
  /** All ways to hosts that are tried for one request. */
  readonly pathMs: number;
  /** A relay's answer, its own dial to the host included. */
  readonly relayMs: number;
  /** Silence of a host with a record. */
  readonly silenceMs: number;
  /** Silence of a host without one. */
  readonly referenceSilenceMs: number;
}

export interface AskRequest {
  readonly method: string;
  readonly path: string;
  /** Lower-case names, not yet filtered. */
  readonly headers: HeaderList;
  readonly body: Uint8Array;
  readonly model: string;
  /** Estimate of the tokens of prompt and answer together. */
  readonly needTokens?: number | undefined;
  /** What the turns of one conversation have in common, from openai/conversation.ts. */
  readonly conversation?: string | undefined;
  /** Never in the clear, whatever policy allows. @default false */
  readonly sealedOnly?: boolean;
  readonly signal: Signal;
}

export interface Asked {
  readonly response: HttpResponse;
  /** The last one answered. */
  readonly attempts: readonly Attempt[];
  /** What its host had proven when the prompt left. */
  readonly proof: SealedRoute["proof"];
}

/** Tries at most so many hosts, each only while no chunk of an answer has been opened (wire.md §7). */
const maxAttempts = 3;
/** How long a host that has failed, or has sent us away, comes behind the others, ms. */
const avoidMs = 10_000;

/** Requests up to this size go to a relay together with the question where they are to go, bytes. */
const aheadBytes = 16 * 1024;

/** Failures that say nothing about what the host would do with another request. */
const ofThisRequest: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["E_OVERFLOW", "E_MODEL", "E_UNSUPPORTED"]);

/**
 * Asks a host of the mesh for an answer. An error answer is delivered like any other, unless the host says by it that it
 * did nothing with the request: then the next host is asked.
 *
 * @throws E_MODEL nobody serves the model · E_NO_HOST · E_REFUSED all were refused, with the reasons · the last
 *         attempt's error, as an AskError, when all failed · E_ABORTED the caller has gone
 */
export async function ask(asked: AskRequest, parts: AskParts): Promise<Asked> {
  const { mesh, load, affinity } = parts;
  const request = parts.pad ? { ...asked, body: paddedJson(asked.body, limits.requestBodyBytes) } : asked;
  // 1 who serves the model, best first, and what they have shown of themselves
  const hosts = await candidates(request, parts);
  // 2 who of them may get it, and how
  let routes = allowedRoutes(hosts, request, parts);
  // 3 try them, each anew sealed to that host alone
  const attempts: Attempt[] = [];
  let lastFailure: MeshError | undefined;
  const pathUntilMs = performance.now() + parts.timing.pathMs;
  for (;;) {
    const [first, ...others] = routes;
    if (!first) throw new MeshError("E_NO_HOST", "no host could be tried");
    // what was decided before an earlier attempt may not hold any more
    const route = attempts.length === 0 ? first : stillAllowed(first, parts);
    if (!route) {
      routes = others;
      if (others.length > 0) continue;
      throw new AskError(lastFailure ?? new MeshError("E_REFUSED", "no host may be asked any more"), attempts);
    }
    const trial = new Trial(route, pathUntilMs);
    try {
      const { response, proof } = await attempt(request, route, trial, parts);
      attempts.push(trial.report());
      if (response.status >= 500) {
        avoid(parts, route.host); // it is the answer, but the next one may fare better elsewhere
      } else {
        load.trust(route.host);
        affinity.remember(request.conversation, { model: request.model, host: route.host });
      }
      return { response, attempts, proof };
    } catch (thrown) {
      if (request.signal.aborted) throw abortError(request.signal);
      const failure = brokenOff(thrown, "E_LOST");
      lastFailure = failure;
      attempts.push(trial.report(failure));
      if (failure.code === "E_TIMEOUT") mesh.probe(trial.relay ?? route.host);
      if (!ofThisRequest.has(failure.code)) avoid(parts, route.host, trial.refused ? undefined : trial.relay);
      routes = failure.code === "E_OVERFLOW" ? withMoreRoom(others, route.host, hosts) : others;
      if (!trial.mayMoveOn || routes.length === 0 || attempts.length === maxAttempts) {
        throw new AskError(failure, attempts);
      }
    }
  }
}

/** The route as it would be decided now, if it is still one of that kind. */
function stillAllowed(route: SealedRoute | PlainRoute, parts: AskParts): SealedRoute | PlainRoute | undefined {
  const decision = decisionOf(route.host, parts);
  return decision.kind === "allow" && decision.route.kind === route.kind ? decision.route : undefined;
}

/** Puts peers behind others for some time: a host, and the relay to it where nobody can tell which of them has failed. */
function avoid({ load, clock }: AskParts, ...peers: readonly (EndpointId | undefined)[]): void {
  for (const id of peers) if (id) load.avoid(id, clock.now() + avoidMs);
}

/** After an overflow: hosts with a larger context than that one, or one that nobody knows. */
function withMoreRoom<Route extends { readonly host: EndpointId }>(
  routes: readonly Route[],
  full: EndpointId,
  hosts: readonly HostChoice[],
): readonly Route[] {
  const room = (id: EndpointId): number | undefined => hosts.find((host) => host.id === id)?.contextTokens;
  const tooSmall = room(full) ?? 0;
  return routes.filter(({ host }) => (room(host) ?? Number.POSITIVE_INFINITY) > tooSmall);
}

async function candidates(request: AskRequest, parts: AskParts): Promise<readonly HostChoice[]> {
  const { mesh, policy, load, affinity, clock, roles } = parts;
  const { model, needTokens, conversation } = request;
  const preferred = affinity.of(conversation)?.host;
  const isOwned = ({ id, ownership }: Peer): boolean =>
    policy.ownership?.prefers(policy.ownership.judge(id, ownership)) ?? false;
  const order = (): readonly HostChoice[] =>
    orderHosts(mesh, { model, needTokens, preferred, isOwned, load, nowMs: clock.now(), roles });
  const hosts = order();
  if (hosts.length === 0) {
    throw new MeshError("E_MODEL", `no machine of the mesh serves the model "${model}"`, { param: "model" });
  }
  const isKnown = ({ key }: HostChoice): boolean => key.kind === "record" || key.kind === "announced";
  const known = hosts.some(isKnown) ? hosts : await withKnownKeys(hosts, order, request, parts);
  if (parts.policy.attested === undefined && !parts.policy.hardened) return known;
  const allowed = (): boolean => decisionsOf(known, request, parts).some(({ kind }) => kind === "allow");
  await parts.proofs.prepare(unproven(known, request, parts), allowed, request.signal);
  return order();
}

/** What is decided about one host now, by itself: as if no other had the model. */
export function decisionOf(id: EndpointId, parts: FactParts): Decision {
  const [decision] = decide([factsOf(id, parts)], parts.policy, parts.clock.now());
  if (!decision) throw new MeshError("E_BUG", "nothing was decided");
  return decision;
}

/** Hosts that evidence could let through: nobody is asked for it who would be refused in any case. */
function unproven(hosts: readonly HostChoice[], request: AskRequest, parts: AskParts): readonly EndpointId[] {
  const decisions = decisionsOf(hosts, request, parts);
  return hosts.map(({ id }) => id).filter((_id, index) => dependsOnEvidence(decisions[index]));
}

async function withKnownKeys(
  hosts: readonly HostChoice[],
  order: () => readonly HostChoice[],
  request: AskRequest,
  parts: AskParts,
): Promise<readonly HostChoice[]> {
  // of a host that others only name, nothing is known at first hand: meet it, or ask for its record, if its key has expired
  const unclear = hosts.filter(({ key }) => key.kind === "unknown" || key.kind === "withheld").slice(0, maxAttempts);
  const learning = Promise.allSettled(unclear.map((host) => learnKey(host, request, parts)));
  const { signal } = request;
  await withDeadline(learning, { what: "the hosts' keys", ms: parts.timing.pathMs, signal }).catch(() => undefined);
  return order();
}

/** From the host itself, else from relays that have its record: it is signed, whoever passes it on. @throws E_UNREACHABLE */
async function learnKey({ id, key }: HostChoice, { signal }: AskRequest, parts: AskParts): Promise<void> {
  const { mesh, route, timing } = parts;
  const options = { dialMs: timing.dialMs, signal };
  if (route !== "relay") {
    try {
      return await (key.kind === "unknown" ? mesh.ensureMet(id, options) : mesh.refreshRecord(id, id, options));
    } catch (thrown) {
      if (route === "direct") throw thrown;
    }
  }
  for (const relay of relaysTo(mesh, id, relayFacts(parts)).slice(0, maxAttempts)) {
    const asking = mesh.refreshRecord(id, relay, options);
    // one that keeps silent must leave time for the next
    await withDeadline(asking, { what: "the record", ms: timing.pathMs / maxAttempts, signal }).catch(() => undefined);
    if (mesh.keyStanding(id).kind === "record") return;
  }
}

function relayFacts({ load, clock, roles }: AskParts): RelayFacts {
  return { load, nowMs: clock.now(), roles };
}

/** What there is to decide by about a host, as of now. */
export function factsOf(id: EndpointId, parts: FactParts): HostFacts {
  const { mesh, proofs } = parts;
  const ownership = ownershipOf(id, parts);
  const owner = ownership?.status === "verified" ? ownership.owner : undefined;
  const key = mesh.keyStanding(id);
  const proof = proofs.of(id);
  const { record, saidPosture } = mesh.peer(id) ?? {};
  const inRecord = key.kind === "record" ? record?.fields.posture : undefined;
  const posture = postureFacts({ inRecord, inGossip: saidPosture !== undefined, proof });
  return { id, key, proof, owner, distrusted: ownership?.refusal, posture };
}

/** Undefined where nobody wants to know. */
function ownershipOf(id: EndpointId, { mesh, policy, clock }: FactParts): OwnerVerdict | undefined {
  const claim = mesh.peer(id)?.ownership;
  if (policy.ownership) return policy.ownership.judge(id, claim);
  return policy.owners && judgeOwner(claim, id, noOwnerTrust, clock.now());
}

type FactParts = Pick<AskParts, "mesh" | "proofs" | "policy" | "clock">;

function decisionsOf(
  hosts: readonly HostChoice[],
  { sealedOnly = false }: Pick<AskRequest, "sealedOnly">,
  parts: AskParts,
): readonly Decision[] {
  const policy = sealedOnly ? { ...parts.policy, plain: false } : parts.policy;
  const facts = hosts.map(({ id }) => factsOf(id, parts));
  return decide(facts, policy, parts.clock.now());
}

function allowedRoutes(
  hosts: readonly HostChoice[],
  request: AskRequest,
  parts: AskParts,
): readonly (SealedRoute | PlainRoute)[] {
  const { model } = request;
  const decisions = decisionsOf(hosts, request, parts);
  for (const decision of decisions) if (decision.kind === "refuse") parts.onRefused?.(decision.refusal.rule);
  const allowed = decisions.flatMap((decision) => (decision.kind === "allow" ? [decision.route] : []));
  const reachable = allowed.filter((route) => parts.route !== "relay" || (route.kind === "sealed" && route.relayable));
  if (reachable.length > 0) return reachable;
  const reasons = decisions.map((decision, index) => {
    const why = decision.kind === "refuse" ? decision.refusal.text : "it cannot be asked through a relay";
    return `${shortId(hosts[index]?.id ?? parts.identity.id)} (${why})`;
  });
  throw new MeshError("E_REFUSED", `every host of "${model}" was refused: ${reasons.join("; ")}`);
}

async function attempt(
  request: AskRequest,
  route: SealedRoute | PlainRoute,
  trial: Trial,
  parts: AskParts,
): Promise<Answer> {
  const release = endedOrGone(parts.load.add(route.host), request.signal);
  try {
    const { response, proof } =
      route.kind === "plain"
        ? { response: await attemptPlain(request, route, trial, parts), proof: route.proof }
        : await attemptSealed(request, route, trial, parts);
    const body = response.body.onEnd((_whole, broken) => {
      release();
      if (broken && !request.signal.aborted) avoid(parts, route.host, trial.relay);
    });
    const answer = { status: response.status, headers: allowedResponseHeaders(response.headers), body };
    return { response: answer.status < 400 ? answer : await unlessRefused(answer, trial), proof };
  } catch (thrown) {
    release();
    throw thrown;
  }
}

/** A response, and what its host had proven for the key that the request was sealed to. */
interface Answer<Response = HttpResponse> {
  readonly response: Response;
  readonly proof: SealedRoute["proof"];
}

/** One whose body tells of its end. */
type BegunResponse = HttpResponse & { readonly body: Body };

/** An error answer is short and read here, whole. @throws the refusal, when it says that the host did nothing */
async function unlessRefused(response: HttpResponse, trial: Trial): Promise<HttpResponse> {
  const body = await readUpTo(limits.errorBodyBytes, response.body);
  const refusal = refusalOf(response.status, body, response.headers["retry-after"]);
  if (!refusal) return { ...response, body: once(body) };
  trial.refused = true;
  throw refusal;
}

/** Seals once; a second time when the host could not open (its key has changed) or its clock is another, never more. */
async function attemptSealed(
  request: AskRequest,
  route: SealedRoute,
  trial: Trial,
  parts: AskParts,
): Promise<Answer<BegunResponse>> {
  const send = async (by: SealedRoute, clockOffsetMs: number): Promise<Answer<BegunResponse>> => {
    return { response: await sealAndSend(request, by, trial, parts, clockOffsetMs), proof: by.proof };
  };
  try {
    return await send(route, 0);
  } catch (thrown) {
    if (thrown instanceof ClockDiffers) {
      trial.startAnew(); // what was opened is a refusal: nothing was processed
      return await send(route, thrown.offsetMs);
    }
    const refused = toMeshError(thrown).code === "E_OPEN" && route.order === "indexed" && !request.signal.aborted;
    const viaRelay = trial.relay;
    const fresh = refused && !trial.answerBegan ? await refreshedRoute(request, route, trial, parts) : undefined;
    if (!fresh) throw thrown;
    trial.sentBefore = trial.sent; // who cut may have been a relay, behind which the host works
    avoid(parts, viaRelay);
    return await send(fresh, 0);
  }
}

async function sealAndSend(
  request: AskRequest,
  route: SealedRoute,
  trial: Trial,
  parts: AskParts,
  clockOffsetMs: number,
): Promise<BegunResponse> {
  const { clock, timing } = parts;
  const seal = new AskerSeal(route.hostKey);
  let leaveRelay = (): void => undefined;
  const end = endedOrGone(() => {
    seal.end();
    leaveRelay();
  }, request.signal);
  let close: (whole: boolean) => void = end;
  try {
    const silenceMs = route.order === "indexed" ? timing.silenceMs : timing.referenceSilenceMs;
    // 1 the HTTP request with the signed head, sealed to the host's inference key: once, whichever ways these bytes are sent
    let envelope: RequestEnvelope | undefined;
    const send = async (stream: ByteStream): Promise<void> => {
      envelope ??= sealedRequest(request, route, seal, trial, parts, clock.now() + clockOffsetMs);
      trial.sent = true;
      await writeEnvelope(stream, envelope, silenceMs);
    };
    // 2 a stream to the host, direct or through a relay; a relay that has led there before gets the envelope with the question
    const { stream, reader, sending = send(stream) } = await openPath(send, request, route, trial, parts);
    close = closing(stream, reader, request.signal, end);
    if (trial.relay && !request.signal.aborted) leaveRelay = parts.load.add(trial.relay);
    await sending.catch((thrown: unknown) => {
      throw asOpenFailure(thrown); // a host may refuse before it has read everything
    });
    envelope = undefined; // it may be large, and the answer may take minutes
    // 3 the answer, chunk after chunk
    const opener = seal.openResponse(route.order);
    let opened = false;
    const source = openedResponse(reader, { hostKey: route.hostKey, opener, silenceMs }, (what) => {
      opened = true;
      if (what === "chunk") trial.answerBegan = true; // an empty one too: the host is at work
    });
    const response = await readResponse(trial.watch(source, request.signal)).catch((thrown: unknown) => {
      throw opened ? thrown : asOpenFailure(thrown);
    });
    throwIfClockDiffers(response, clock.now(), trial);
    // 4 hand the rest to the caller; the exchange's key goes when the answer ends, however it ends, read or not
    const { status, headers, body } = response;
    return { status, headers, body: body.onEnd(close) };
  } catch (thrown) {
    close(false);
    throw thrown;
  }
}

async function attemptPlain(
  request: AskRequest,
  route: PlainRoute,
  trial: Trial,
  parts: AskParts,
): Promise<BegunResponse> {
  const { mesh, timing } = parts;
  const dialMs = trial.within(timing.dialMs);
  const stream = await mesh.openTunnel(route.host, { dialMs, signal: request.signal });
  const close = closing(stream, stream, request.signal, () => undefined);
  try {
    // the connection may be a new one, and the gossip on it may have shown a key since the decision
    if (mesh.keyStanding(route.host).kind !== "none") throw new MeshError("E_REFUSED", "the host shows a key now");
    trial.sent = true;
    const headers = allowedRequestHeaders(request.headers);
    const plain = { method: request.method, path: request.path, headers, body: request.body };
    await withDeadline(writePlainRequest(stream, plain), { what: "the request's way", ms: timing.referenceSilenceMs });
    const response = await readResponse(trial.watch(plainResponse(stream, timing.referenceSilenceMs), request.signal));
    const body = response.body.onEnd((whole) => {
      close(whole);
      if (whole) stream.finish().catch(() => undefined); // our side stayed open for the whole answer
    });
    return { ...response, body };
  } catch (thrown) {
    close(false);
    throw thrown;
  }
}

/** A stream that leads to the host. */
interface Path {
  readonly stream: ByteStream;
  readonly reader: StreamReader;
  /** The sending of the envelope, where it has begun already. */
  readonly sending?: Promise<void> | undefined;
}

type Send = (stream: ByteStream) => Promise<void>;

/** Tries ways until one leads to the host: what a relay says before that harms nothing but its own place. */
async function openPath(
  send: Send,
  request: AskRequest,
  route: SealedRoute,
  trial: Trial,
  parts: AskParts,
): Promise<Path> {
  trial.use(undefined);
  let failure: MeshError | undefined;
  for (const relay of waysTo(route, trial, parts)) {
    trial.use(relay);
    try {
      return await openWay(relay, route.host, { send, request, trial, parts });
    } catch (thrown) {
      failure = brokenOff(thrown, relay ? "E_RELAY" : "E_LOST");
      if (request.signal.aborted) throw failure;
      trial.failedWay(failure);
      if (relay) avoid(parts, relay);
      if (relay && trial.late) break;
    }
  }
  throw failure ?? new MeshError("E_UNREACHABLE", `no relay of the mesh knows ${shortId(route.host)}`);
}

/** The host's own connection (undefined) and relays, in the order in which they are tried. */
function waysTo({ host, relayable }: SealedRoute, trial: Trial, parts: AskParts): readonly (EndpointId | undefined)[] {
  const { mesh, route, load, clock } = parts;
  const direct = route === "relay" ? [] : [undefined];
  if (route === "direct" || !relayable) return direct;
  const relays = trial.freshFirst(relaysTo(mesh, host, relayFacts(parts))).slice(0, maxAttempts);
  return isFar(mesh, host, load, clock.now()) ? [...relays, ...direct] : [...direct, ...relays];
}

interface WayParts {
  readonly send: Send;
  readonly request: AskRequest;
  readonly trial: Trial;
  readonly parts: AskParts;
}

async function openWay(
  relay: EndpointId | undefined,
  host: EndpointId,
  { send, request, trial, parts }: WayParts,
): Promise<Path> {
  const { mesh, timing, load, clock } = parts;
  const { signal } = request;
  const dialing = { dialMs: trial.within(timing.dialMs), signal };
  if (!relay) {
    try {
      const stream = await mesh.openTunnel(host, dialing);
      return { stream, reader: new StreamReader(stream) };
    } catch (thrown) {
      if (!signal.aborted) load.missed(host, clock.now());
      throw thrown;
    }
  }
  const stream = await mesh.openSeal(relay, dialing);
  const reader = new StreamReader(stream);
  const startedMs = performance.now();
  // a round trip less where it has led there before
  const isAhead = load.wayMs(relay, host, clock.now()) !== undefined && request.body.length <= aheadBytes;
  let sending: Promise<void> | undefined;
  const sendAhead = (): void => {
    sending = send(stream);
    sending.catch(() => undefined); // why it failed is the relay's to say first
  };
  try {
    const asking = { ms: trial.within(timing.relayMs), signal };
    await askRelay(stream, reader, host, isAhead ? { ...asking, behind: sendAhead } : asking);
  } catch (thrown) {
    if (!signal.aborted) load.unproven(relay, host);
    throw thrown;
  }
  load.reached(relay, host, performance.now() - startedMs, clock.now());
  return { stream, reader, sending };
}

function sealedRequest(
  request: AskRequest,
  route: SealedRoute,
  seal: AskerSeal,
  trial: Trial,
  { identity, credential }: AskParts,
  timeMs: number,
): RequestEnvelope {
  const { method, path, body } = request;
  const relayed = trial.relay && { credential: credential?.() };
  const head = makeHead(request, route, seal, relayed, timeMs, identity);
  const headers = [...allowedRequestHeaders(request.headers), ...sealedHeadFields(head)];
  return seal.sealRequest(encodeRequestHead({ method, path, headers, body }), body);
}

function makeHead(
  request: AskRequest,
  route: SealedRoute,
  seal: AskerSeal,
  relayed: { readonly credential: Uint8Array | undefined } | undefined,
  timeMs: number,
  identity: Identity,
): SealedHead {
  const id = randomOctets(16);
  const head: SealedHead = { version: 1, id, timeMs, to: route.host, from: identity.id, signature: undefined };
  if (!relayed) return head; // QUIC proves us on a direct stream
  const { method, path, body } = request;
  const signed = headSigningBytes({ ...head, ephemeralKey: seal.ephemeralKey, method, path, body });
  return { ...head, signature: identity.sign(signed), credential: relayed.credential };
}

/** Asks for the host's record once; a route to its key of now, or undefined when there is none that may be used. */
async function refreshedRoute(
  request: AskRequest,
  route: SealedRoute,
  trial: Trial,
  parts: AskParts,
): Promise<SealedRoute | undefined> {
  const { mesh, policy, proofs, timing } = parts;
  const from = trial.relay ?? route.host;
  const refreshing = mesh.refreshRecord(route.host, from, { dialMs: timing.dialMs, signal: request.signal });
  const refreshed = withDeadline(refreshing, { what: "the host's record", ms: timing.relayMs });
  // a relay that cuts may keep the record back as well; it must not be able to block the host, and the next one is another
  await (trial.relay ? refreshed.catch(() => undefined) : refreshed);
  const decided = (): Decision => decisionOf(route.host, parts);
  // evidence is tied to the key, so that for another key there must be other evidence
  const isAllowed = (): boolean => decided().kind === "allow";
  if (policy.attested !== undefined) await proofs.prepare([route.host], isAllowed, request.signal);
  const decision = decided();
  return decision.kind === "allow" && decision.route.kind === "sealed" ? decision.route : undefined;
}

/** The host's clock differs by more than the window; its sealed 425 said by how much. */
class ClockDiffers extends MeshError {
  readonly offsetMs: number;

  constructor(offsetMs: number) {
    super("E_CLOCK", `the host's clock differs from ours by ${Math.round(offsetMs / 1000)} s`);
    this.offsetMs = offsetMs;
  }
}

function throwIfClockDiffers(response: HttpResponse, nowMs: number, trial: Trial): void {
  const hostTime = response.headers[hostTimeHeader];
  if (response.status !== 425 || !hostTime || !/^[0-9]{1,15}$/.test(hostTime)) return;
  trial.refused = true;
  throw new ClockDiffers(Number(hostTime) - nowMs);
}

/** Before the header a host gives one sign for every failed opening: the stream ends or is reset. */
function asOpenFailure(thrown: unknown): MeshError {
  const error = toMeshError(thrown);
  if (error.code !== "E_ABORTED" && error.code !== "E_TRUNCATED") return error;
  return new MeshError("E_OPEN", "the host did not open the request", { cause: error });
}

// ------------------------------------------------------------------------------------------------- answering

export interface AnswerParts {
  readonly identity: Identity;
  readonly keys: InferenceKeys;
  readonly clock: Clock;
  readonly seen: SeenCache;
  /** Exchanges per connection's peer, counted before anything of them is read. */
  readonly places: Places;
  /** Bytes of requests that are held at a time. */
  readonly budget: Budget;
  /** Pieces of an answer that come within so many ms are sealed together; 0: each by itself. */
  readonly coalesceMs: number;
  /** The node's own routes; gives the raw response bytes. */
  readonly serve: (request: HttpRequest, asker: EndpointId, signal: Signal) => ByteSource;
  readonly timing: AnswerTiming;
  /** Whether this host is stopping: running exchanges finish, new ones are sent elsewhere. */
  readonly draining: () => boolean;
  /**
   * Whether who asks may: undefined, or a sentence of ours why not. The asker is proven by then; `credential` is what it
   * sends along through a relay, not yet checked. @default every member may
   */
  readonly mayAsk?: (asker: EndpointId, credential: Uint8Array | undefined) => string | undefined;
}

export interface AnswerTiming extends AnswerPace {
  /** First byte, and whole request, ms. */
  readonly firstByteMs: number;
  readonly requestMs: number;
}

/** What became of an exchange that was accepted. */
export interface Answered {
  readonly asker: EndpointId;
  /** False when the answer broke off. */
  readonly whole: boolean;
}

export type Arrival =
  /** Stream 0x04 on the asker's own connection. */
  | { readonly kind: "direct"; readonly peer: EndpointId }
  /** Stream `relayed` from a relay; who asks stands in the signed head. */
  | { readonly kind: "relayed"; readonly relay: EndpointId };

/**
 * Answers one exchange on a stream whose type byte has been read. Every request that does not open, is a replay or is
 * not meant for us ends in the same way: the stream is aborted with one code.
 *
 * @throws MeshError for the log; the stream is over when it settles
 */
export async function answer(
  stream: ByteStream,
  reader: StreamReader,
  arrival: Arrival,
  parts: AnswerParts,
): Promise<Answered> {
  const { timing, places, budget } = parts;
  const wait = <T>(work: Promise<T>, what: string, ms: number): Promise<T> =>
    withDeadline(work, { what, ms, signal: stream.aborted });
  const peer = arrival.kind === "direct" ? arrival.peer : arrival.relay;
  const held = budget.open(peer);
  const release = places.take(peer);
  try {
    // 0 room for it, before anything of it is taken
    if (!release) throw new MeshError("E_BUSY", "this peer has too many exchanges here already");
    held.take(reader.received); // what came with the type byte
    reader.meter((bytes) => held.take(bytes));
    if (arrival.kind === "relayed") {
      const frame = await wait(reader.frame(limits.relayFrameBytes), "the relay's frame", timing.firstByteMs);
      decodeRelayedOpen(frame);
    }
    // 1 what comes: an envelope, or on the asker's own connection plain HTTP
    if (!reader.ready()) await wait(reader.peekByte(), "the request's first byte", timing.firstByteMs);
    const [first] = reader.waiting;
    if (first !== envelopeByte) {
      if (arrival.kind === "relayed") throw new MeshError("E_WIRE", "only envelopes pass a relay");
      return await answerPlain(stream, reader, arrival.peer, parts);
    }
    // 2 open it
    reader.takeByte();
    const envelope = takeEnvelope(reader) ?? (await wait(readEnvelope(reader), "the sealed request", timing.requestMs));
    const opened = openRequest(envelope, parts.keys.opening);
    try {
      return await answerOpened(stream, opened, envelope.ephemeralKey, arrival, parts);
    } finally {
      opened.seal.end();
    }
  } catch (thrown) {
    stream.abort(abortCodes.refused);
    throw thrown;
  } finally {
    release?.();
    held.close();
  }
}

async function answerOpened(
  stream: ByteStream,
  opened: OpenedRequest,
  ephemeralKey: Uint8Array,
  arrival: Arrival,
  parts: AnswerParts,
): Promise<Answered> {
  const { clock, seen, timing } = parts;
  const respond = (response: ByteSource): Promise<boolean> => sealResponse(stream, opened.seal, response, timing);
  // 3 a request of ours, in time, from whom it says, who may ask
  const request = await readRequest(bytesSource(opened.plaintext)).catch(async (thrown: unknown) => {
    const error = toMeshError(thrown);
    // the same words as on every other way: a larger request is no wrong one
    if (error.code === "E_TOO_LARGE") await respond(errorResponse(error, clock.now()));
    throw error;
  });
  const head = readSealedHead(uniqueOwnHeaders(request.headers));
  const now = clock.now();
  if (head && Math.abs(head.timeMs - now) > limits.clockSkewMs) {
    if (head.to !== parts.identity.id) throw new MeshError("E_OPEN", "the request is meant for another host");
    await respond(errorResponse(new MeshError("E_CLOCK", "the clocks of asker and host differ"), now));
    throw new MeshError("E_CLOCK", "the asker's clock differs");
  }
  const asker = provenAsker(request, head, opened, ephemeralKey, arrival, parts.identity.id);
  const refused = refusedAsker(asker, head?.credential, parts);
  if (refused) {
    await respond(errorResponse(refused, now));
    throw refused;
  }
  // 4 never seen before
  try {
    const marks = [`key ${toHex(ephemeralKey)}`, ...(head ? [`id ${asker} ${toHex(head.id)}`] : [])];
    // without a head there is no time to go by: remembered for as long as the key opens
    seen.add(marks, asker, head ? head.timeMs + limits.clockSkewMs : opened.key.notAfterMs, now);
    if (parts.draining()) throw stopping();
  } catch (thrown) {
    const error = toMeshError(thrown);
    // a replay ends like everything that does not open; who is only too early is told so
    if (error.code === "E_BUSY" || error.code === "E_DRAINING") await respond(errorResponse(error, now));
    throw error;
  }
  // 5 the same HTTP app that serves localhost; every piece sealed as it comes, the end authenticated
  const served = parts.serve(withAllowedHeaders(request), asker, stream.aborted);
  return { asker, whole: await respond(parts.coalesceMs > 0 ? coalesced(served, parts.coalesceMs) : served) };
}

async function answerPlain(
  stream: ByteStream,
  reader: StreamReader,
  peer: EndpointId,
  parts: AnswerParts,
): Promise<Answered> {
  const { timing } = parts;
  const taking = { what: "the request", ms: timing.requestMs, signal: stream.aborted };
  let served: ByteSource;
  try {
    const request = await withDeadline(readRequest(reader), taking);
    const refused = refusedAsker(peer, undefined, parts) ?? (parts.draining() ? stopping() : undefined);
    served = refused
      ? errorResponse(refused, parts.clock.now())
      : parts.serve(withAllowedHeaders(request), peer, stream.aborted);
  } catch (thrown) {
    const error = toMeshError(thrown);
    if (error.code !== "E_TOO_LARGE") throw error;
    await copyResponse(stream, errorResponse(error, parts.clock.now()), timing.unreadMs);
    await withDeadline(readToEnd(reader), taking); // an asker in the midst of writing sees the answer only behind it
    throw error;
  }
  const whole = await copyResponse(stream, served, timing.unreadMs);
  settle(stream, reader); // the asker keeps its side open for as long as the answer lasts
  return { asker: peer, whole };
}

function withAllowedHeaders({ method, path, headers, body }: HttpRequest): HttpRequest {
  return { method, path, headers: allowedRequestHeaders(headers), body };
}

/** Who asks: the QUIC peer on a direct stream, the signer of the head through a relay. @throws E_OPEN anything else */
function provenAsker(
  request: HttpRequest,
  head: SealedHead | undefined,
  opened: OpenedRequest,
  ephemeralKey: Uint8Array,
  arrival: Arrival,
  self: EndpointId,
): EndpointId {
  const refuse = (why: string): MeshError => new MeshError("E_OPEN", why);
  if (!head) {
    // a reference asker: its connection is all that names it
    if (arrival.kind === "relayed") throw refuse("a request without a head came through a relay");
    return arrival.peer;
  }
  if (!opened.marked) throw refuse("the request's nonce lacks its mark");
  if (head.to !== self) throw refuse("the request is meant for another host");
  if (arrival.kind === "direct") {
    if (head.from !== arrival.peer) throw refuse("the request names another asker than the connection");
    return head.from;
  }
  const { method, path, body } = request;
  const signed = headSigningBytes({ ...head, ephemeralKey, method, path, body });
  if (!head.signature || !verifySignature(head.from, signed, head.signature))
    throw refuse("the head's signature does not hold");
  return head.from;
}

// --------------------------------------------------------------------------------------------------- helpers

function refusedAsker(
  asker: EndpointId,
  credential: Uint8Array | undefined,
  { mayAsk }: AnswerParts,
): MeshError | undefined {
  const why = mayAsk?.(asker, credential);
  return why === undefined ? undefined : new MeshError("E_REFUSED", why);
}

function stopping(): MeshError {
  return new MeshError("E_DRAINING", "this host is stopping");
}

/** Runs `done` once: when it is called, or when the caller goes, since an answer may never be read. */
function endedOrGone(done: () => void, caller: Signal): () => void {
  let ended = false;
  const end = (): void => {
    caller.removeEventListener("abort", end);
    if (!ended) done();
    ended = true;
  };
  caller.addEventListener("abort", end);
  return end;
}

/** Takes what still comes, and keeps nothing of it. @throws E_BUSY more than the peer's share */
async function readToEnd(reader: StreamReader): Promise<void> {
  while (await reader.read());
}

function errorResponse(error: MeshError, nowMs: number): ByteSource {
  const { status, headers, body } = openAiError(error, "");
  return bytesSource(encodeResponse(status, { ...headers, [hostTimeHeader]: String(nowMs) }, body));
}

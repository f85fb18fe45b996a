/**
 * Hosts that show evidence, inside the test's own process: an honest one, which to a verifier looks like a Mac with a
 * Secure Enclave, and attackers that answer the two streams by hand. The key of both is one of a program, as nobody could
 * tell.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { openChallenge } from "../../src/attest/challenge.ts";
import type { Collector, CollectorKind, EvidenceRequest } from "../../src/attest/collect/collector.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { signReferenceBlob } from "../../src/attest/kinds/secure-enclave.ts";
import { fingerprintOf } from "../../src/attest/proof.ts";
import type { EndpointId } from "../../src/base/brand.ts";
import { empty, toBase64 } from "../../src/base/bytes.ts";
import type { KeyPair } from "../../src/crypto/box.ts";
import type { InferenceKey } from "../../src/crypto/inference-keys.ts";
import type { AttestationReport, HostReport } from "../../src/node/attestation-report.ts";
import type { Flags } from "../../src/node/config.ts";
import type { PeerStatus } from "../../src/node/status.ts";
import type { Connection } from "../../src/transport/transport.ts";
import {
  attestCodes,
  type ChallengeReply,
  type ChallengeRequest,
  decodeChallengeReply,
  decodeChallengeRequest,
  decodeEvidenceReply,
  decodeEvidenceRequest,
  encodeChallengeReply,
  encodeChallengeRequest,
  encodeEvidenceReply,
  encodeEvidenceRequest,
  type EvidenceReply,
  type EvidenceRequest as EvidenceQuestion,
} from "../../src/wire/attestation.ts";
import { referenceChallengeBytes } from "../../src/wire/challenge.ts";
import type { ReferenceAttestation } from "../../src/wire/evidence.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { limits } from "../../src/wire/limits.ts";
import { sealStreams } from "../../src/wire/stream-types.ts";
import {
  attestationArea,
  bindingOf,
  forgedItem,
  forgedQuote,
  forgedSignature,
  pcrValues,
  type SoftwareKey,
  statementOf,
} from "./tpm-forger.ts";
import { signDer, type TestKey, testKey } from "./evidence.ts";
import { eventually, temporaryDirectory, type TestNode } from "./mesh.ts";
import { type AttackedMesh, call, type Called, openWith, type RawPeer, relayHandler } from "./raw-peer.ts";

// ---- an honest host

export const freshKey = (): TestKey => testKey(randomBytes(32).toString("hex"));

/** A machine with an enclave: the key outlives the node, as the machine keeps it. A test may change it at any time. */
export class Enclave implements CollectorKind {
  readonly kind = "secure-enclave";
  key: TestKey;
  /** What the machine's clock is ahead of the right one, ms; negative: behind. */
  clockAheadMs = 0;
  /** What differs in the next blobs. */
  says: Partial<ReferenceAttestation> = {};
  /** Run before each; a test lets them fail. */
  beforeMaking: () => void = () => undefined;
  beforeSigning: () => void = () => undefined;
  /** Signs the challenges instead of `key`. */
  signer: TestKey | undefined;
  /** Blobs that it has made. */
  made = 0;
  /** Signatures over challenges that it was asked for. */
  asked = 0;

  constructor(key: TestKey = freshKey()) {
    this.key = key;
  }

  get fingerprint(): string {
    return fingerprintOf(this.key.point);
  }

  wanted(): boolean {
    return true;
  }

  create(): Collector {
    return {
      kind: this.kind,
      keyLife: "machine",
      collect: async (request) => {
        this.beforeMaking();
        this.made += 1;
        const issuedAtMs = request.issuedAtMs + this.clockAheadMs;
        return await blobOf(this.key, { ...request, issuedAtMs }, this.says);
      },
      sign: async (message) => {
        this.asked += 1;
        this.beforeSigning();
        return signDer(this.signer ?? this.key, message);
      },
    };
  }
}

/** The reference's blob by `key`, in time and with all flags on unless `says` differs. */
export async function blobOf(
  key: TestKey,
  { endpointId, inferenceKey, issuedAtMs }: Pick<EvidenceRequest, "endpointId" | "inferenceKey" | "issuedAtMs">,
  says: Partial<ReferenceAttestation> = {},
): Promise<EvidenceItem> {
  const attestation: ReferenceAttestation = {
    chipName: "Apple M4 Max",
    hardwareModel: "Mac16,1",
    memoryBytes: 68_719_476_736n,
    sip: true,
    secureBoot: true,
    rdmaDisabled: true,
    endpointId,
    inferenceKey: toBase64(inferenceKey),
    attestedKey: toBase64(key.point),
    binaryHash: "",
    timestamp: new Date(issuedAtMs).toISOString().replace("Z", "000000+00:00"),
    ...says,
  };
  const evidence = await signReferenceBlob(attestation, (message) => Promise.resolve(signDer(key, message)));
  return { kind: "secure-enclave", version: 1, evidence, collateral: [], issuedAtMs };
}

/** A TPM's quote by a program, right in everything that a program can get right. */
export function quoteBy(
  key: SoftwareKey,
  { endpointId, inferenceKey, issuedAtMs }: Pick<EvidenceRequest, "endpointId" | "inferenceKey" | "issuedAtMs">,
  nonce: Uint8Array | undefined,
  resets = 5,
): EvidenceItem {
  const area = attestationArea(key);
  const extraData = bindingOf(key, { endpointId, inferenceKey, nonce }, statementOf(issuedAtMs));
  const quote = forgedQuote({ area, extraData, pcrValues, resets });
  return forgedItem({ area, quote, signature: forgedSignature(key, quote), pcrValues, issuedAtMs });
}

export interface EnclaveHost {
  readonly host: TestNode;
  readonly enclave: Enclave;
}

/** A host of the model "scripted" with an enclave. */
export async function enclaveHost(
  mesh: AttackedMesh,
  engineUrl: string,
  flags: Flags = {},
  enclave: Enclave = new Enclave(),
): Promise<EnclaveHost> {
  const host = await mesh.start("serve", { engine: [engineUrl], ...flags }, { collectors: [enclave] });
  return { host, enclave };
}

// ---- who demands

/** Writes a configuration file. @returns its path, for `Flags.config` */
export function configFile(text: string): string {
  const path = join(temporaryDirectory(), "config.toml");
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}

export const demandsKey: Flags = { requireAttestedHosts: "key" };
/** The shortest interval between challenges that there is. */
export const everySecond = "[challenge]\ninterval = 1\n";

/** A client that has met all of `peers` and knows the model "scripted". */
export async function demandingClient(
  mesh: AttackedMesh,
  peers: readonly (TestNode | RawPeer)[],
  flags: Flags = demandsKey,
): Promise<TestNode> {
  const join = peers.map((peer) => ("apiUrl" in peer ? peer.invite() : peer.invite));
  const client = await mesh.start("client", { join, ...flags });
  await eventually("the client has met all of them", () => client.status().peers.length >= peers.length);
  await eventually("the client knows the model", () => client.models().includes("scripted"));
  return client;
}

export function shownOf(client: TestNode, host: TestNode | RawPeer): PeerStatus["attestation"] {
  const found = client.status().peers.find(({ endpoint_id }) => endpoint_id === idOf(host));
  if (!found) throw new Error("the peer is not known");
  return found.attestation;
}

/** Calls until an answer passes `wanted`; a host that was just asked for its evidence is not asked again at once. */
export async function callUntil(
  client: TestNode,
  what: string,
  wanted: (answer: Called) => boolean,
  ms = 8_000,
): Promise<Called> {
  const untilMs = performance.now() + ms;
  for (;;) {
    const answer = await call(client);
    if (wanted(answer)) return answer;
    if (performance.now() > untilMs)
      throw new Error(`waited ${ms} ms in vain: ${what}; the last answer: ${answer.text}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** What the client's document says of one host. It asks the host first, as far as something is open. */
export async function documentOf(client: TestNode): Promise<AttestationReport> {
  return (await (await fetch(`${client.apiUrl}/v1/mesh/attestation/scripted`)).json()) as AttestationReport;
}

export async function hostIn(client: TestNode, host: TestNode | RawPeer): Promise<HostReport> {
  const found = (await documentOf(client)).hosts.find(({ endpoint_id }) => endpoint_id === idOf(host));
  if (!found || found.this_node) throw new Error("the host is not in the document");
  return found;
}

function idOf(node: TestNode | RawPeer): EndpointId {
  return "apiUrl" in node ? node.endpointId : node.id;
}

// ---- who attacks

/** What a peer by hand answers; each falls back to what an honest host with `key` would do. */
export interface ShownByHand {
  readonly evidence?: (question: EvidenceQuestion) => Promise<EvidenceReply> | EvidenceReply;
  readonly challenge?: (request: ChallengeRequest, from: EndpointId) => Promise<ChallengeReply> | ChallengeReply;
}

/** Lets `peer` serve both streams, as the holder of `key`. A later call replaces what an earlier one set. */
export function attestByHand(peer: RawPeer, key: TestKey, shown: ShownByHand = {}): void {
  const honest = honestly(peer, key);
  const { evidence = honest.evidence, challenge = honest.challenge } = shown;
  peer.handlers.evidence = async (stream, reader) => {
    const question = decodeEvidenceRequest(await reader.frame(limits.attestFrameBytes));
    await stream.write(encodeFrame(encodeEvidenceReply(await evidence(question))));
    await stream.finish();
  };
  peer.handlers.challenge = async (stream, reader, from) => {
    const request = decodeChallengeRequest(await reader.frame(limits.attestFrameBytes));
    await stream.write(encodeFrame(encodeChallengeReply(await challenge(request, from))));
    await stream.finish();
  };
}

function honestly(peer: RawPeer, key: TestKey): Required<ShownByHand> {
  return {
    evidence: async () => {
      const request = { endpointId: peer.id, inferenceKey: peer.key.publicKey, issuedAtMs: Date.now() };
      return shows(await blobOf(key, request));
    },
    challenge: ({ sealed }) => answers(sealed, peer.id, peer.key, key),
  };
}

export function shows(...items: readonly EvidenceItem[]): EvidenceReply {
  return { code: attestCodes.ok, items, residenceAnswer: undefined };
}

export const refusesChallenge: ChallengeReply = { code: attestCodes.badRequest, sealed: empty };

/** The answer of whoever holds `inference` and `key`, as the product's host seals it. */
export function answers(sealed: Uint8Array, self: EndpointId, inference: KeyPair, key: TestKey): ChallengeReply {
  const opening: InferenceKey = { ...inference, createdMs: 0, notAfterMs: Number.MAX_SAFE_INTEGER };
  const opened = openChallenge(sealed, [opening], self);
  const signature = signDer(key, referenceChallengeBytes(toBase64(key.point), opened.nonce));
  const reply = opened.seal([{ kind: "secure-enclave", attestedKey: key.point, signature }]);
  return { code: attestCodes.ok, sealed: reply };
}

/** Asks over a connection of "sealmesh/1", as a client or a relay does. */
export async function challengeBy(connection: Connection, request: ChallengeRequest): Promise<ChallengeReply> {
  const frame = encodeFrame(encodeChallengeRequest(request));
  const stream = await openWith(connection, Uint8Array.of(sealStreams.challenge), frame);
  await stream.finish();
  return decodeChallengeReply(await new StreamReader(stream).frame(limits.attestFrameBytes));
}

export async function evidenceBy(
  connection: Connection,
  question: Partial<EvidenceQuestion> = {},
): Promise<EvidenceReply> {
  const asked = { nonce: undefined, target: undefined, hops: 0, question: undefined, ...question };
  const stream = await openWith(
    connection,
    Uint8Array.of(sealStreams.evidence),
    encodeFrame(encodeEvidenceRequest(asked)),
  );
  await stream.finish();
  return decodeEvidenceReply(await new StreamReader(stream).frame(limits.evidenceReplyBytes));
}

/** Whether a prompt, sealed or not, came to a peer. */
export function gotPrompt(peer: RawPeer): boolean {
  return peer.opened.some((stream) => ["mesh-llm/1 4", "sealmesh/1 2", "sealmesh/1 3"].includes(stream));
}

// ---- relays

/** How a relay by hand treats what passes on the two streams; each passes it on unless it is set. */
export interface CarriedByHand {
  evidence?: ((question: EvidenceQuestion) => Promise<EvidenceReply>) | undefined;
  challenge?: ((request: ChallengeRequest, from: EndpointId) => Promise<ChallengeReply>) | undefined;
}

/** What an honest relay does with each. */
export interface PassedOn {
  readonly evidence: (question: EvidenceQuestion) => Promise<EvidenceReply>;
  readonly challenge: (request: ChallengeRequest) => Promise<ChallengeReply>;
}

/** Lets `relay` carry both streams to `host`; `ways` may be changed at any time. @returns what passes on as it is */
export function carryByHand(relay: RawPeer, host: Connection, ways: CarriedByHand = {}): PassedOn {
  const on: PassedOn = {
    evidence: (question) => evidenceBy(host, { ...question, hops: 1 }),
    challenge: (request) => challengeBy(host, { ...request, hops: 1 }),
  };
  attestByHand(relay, freshKey(), {
    evidence: (question) => (ways.evidence ?? on.evidence)(question),
    challenge: (request, from) => (ways.challenge ?? on.challenge)(request, from),
  });
  return on;
}

export interface AttestedRelayedMesh extends EnclaveHost {
  readonly relay: RawPeer;
  readonly client: TestNode;
  readonly ways: CarriedByHand;
  readonly passOn: PassedOn;
  /** Envelopes that the relay has carried. */
  readonly envelopes: Uint8Array[];
  /** Starts a further client behind the same relay. */
  join(flags?: Flags): Promise<TestNode>;
}

/** A real host with an enclave and a client that demands `key`, which know each other through the attacker's relay alone. */
export async function attestedRelayedMesh(
  mesh: AttackedMesh,
  engineUrl: string,
  ways: CarriedByHand = {},
  flags: Flags = demandsKey,
): Promise<AttestedRelayedMesh> {
  const { host, enclave } = await enclaveHost(mesh, engineUrl);
  const relay = await mesh.raw();
  await relay.meet(host);
  const toHost = await relay.dial(host, "sealmesh/1");
  relay.announcements = (to) =>
    to === host.endpointId ? [relay.own()] : [relay.entryOf(host.endpointId), relay.own()];
  const envelopes: Uint8Array[] = [];
  relay.handlers.relay = relayHandler(() => Promise.resolve(toHost), { onEnvelope: (bytes) => envelopes.push(bytes) });
  const passOn = carryByHand(relay, toHost, ways);
  const join = async (more: Flags = {}): Promise<TestNode> => {
    const client = await mesh.start("client", { join: [relay.invite], route: "relay", ...flags, ...more });
    await eventually("the client knows the model", () => client.models().includes("scripted"));
    return client;
  };
  return { host, enclave, relay, client: await join(), ways, passOn, envelopes, join };
}

/** Challenges and evidence between meshes on an in-memory network: direct, through relays, and what is refused. */
import { randomBytes } from "node:crypto";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { ChallengeAsk } from "../../../src/attest/challenge.ts";
import type { EvidenceItem } from "../../../src/attest/evidence.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import { empty, toBase64 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { silentLog } from "../../../src/base/log.ts";
import type { Signal } from "../../../src/base/signal.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../../src/crypto/identity.ts";
import { InferenceKeys } from "../../../src/crypto/inference-keys.ts";
import { signRecord } from "../../../src/crypto/record.ts";
import { type AskPath, askChallenge, askEvidence } from "../../../src/mesh/attest-ask.ts";
import {
  attestHandlers,
  type AttestServeParts,
  type AttestSource,
  type PassingOn,
} from "../../../src/mesh/attest-serve.ts";
import { relayCapability, relaysNaming } from "../../../src/mesh/choose.ts";
import { Mesh, type StreamHandler } from "../../../src/mesh/mesh.ts";
import { memoryNetwork } from "../../../src/transport/memory.ts";
import { alpns, type Transport, type TransportKind } from "../../../src/transport/transport.ts";
import {
  attestCodes,
  type AttestWay,
  decodeChallengeReply,
  encodeChallengeReply,
  encodeChallengeRequest,
} from "../../../src/wire/attestation.ts";
import { referenceChallengeBytes } from "../../../src/wire/challenge.ts";
import { encodeFrame, StreamReader } from "../../../src/wire/frame.ts";
import { limits } from "../../../src/wire/limits.ts";
import { sealStreams } from "../../../src/wire/stream-types.ts";
import { signDer, testKey } from "../../support/evidence.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { eventually } from "../../support/mesh.ts";
import { RawPeer } from "../../support/raw-peer.ts";

const attested = testKey();
const item: EvidenceItem = {
  kind: "made-up",
  version: 1,
  evidence: Uint8Array.of(1, 2),
  collateral: [Uint8Array.of(3)],
  issuedAtMs: 7,
};
const never = new Promise<never>(() => undefined);
const clock = { now: () => Date.now() };
const plenty = { burst: 1_000, perSecond: 1_000 };
const bounds = {
  rate: { perHolder: plenty, total: plenty, holders: 100 },
  places: { total: 32, perHolder: 8 },
};
const timing = { frameMs: 1_000, answerMs: 1_000, carryMs: 1_000 };
/** For questions whose replies are looked at afterwards. */
const anyReply = (): boolean => true;
const signal = new AbortController().signal;

/** What the host was asked, and what it answers. */
class Source implements AttestSource {
  readonly nonces: (Uint8Array | undefined)[] = [];
  signed = 0;
  items: readonly EvidenceItem[] = [item];

  evidence(nonce: Uint8Array | undefined): Promise<readonly EvidenceItem[]> {
    this.nonces.push(nonce);
    return Promise.resolve(this.items);
  }

  answerResidence(kind: string, question: Uint8Array): Promise<Uint8Array> {
    if (kind !== item.kind) return Promise.reject(new MeshError("E_INPUT", "no such question"));
    return Promise.resolve(question.toReversed());
  }

  sign(nonce: Uint8Array): ReturnType<AttestSource["sign"]> {
    this.signed += 1;
    const signature = signDer(attested, referenceChallengeBytes(toBase64(attested.point), nonce));
    return Promise.resolve([{ kind: item.kind, attestedKey: attested.point, signature }]);
  }
}

interface Member {
  readonly id: EndpointId;
  readonly identity: Identity;
  readonly keys: InferenceKeys;
  readonly source: Source;
  readonly mesh: Mesh;
  readonly transport: Transport;
  /** How it asks others. */
  path(change?: Partial<AskPath>): AskPath;
}

interface MemberOptions extends Partial<Omit<AttestServeParts, "self" | "keys" | "reach">> {
  readonly relays?: boolean;
  /** Has no streams for evidence at all, as earlier versions. */
  readonly old?: boolean;
  /** In place of its own. */
  readonly challenge?: StreamHandler;
  readonly seed?: Uint8Array | undefined;
  /** Members that it cannot dial. */
  readonly unreachable?: readonly Member[];
}

async function member(network: TransportKind, options: MemberOptions = {}): Promise<Member> {
  const { relays = false, old = false, challenge, seed, unreachable = [], ...parts } = options;
  const identity = identityFrom(seed ?? newIdentitySeed());
  const keys = new InferenceKeys({ clock });
  const started = await network.start({ secretKey: identity.seed, alpns, bind: "127.0.0.1:0" });
  const transport: Transport = {
    kind: started.kind,
    id: started.id,
    address: () => started.address(),
    incoming: () => started.incoming(),
    close: () => started.close(),
    dial: (target, how) =>
      unreachable.some(({ id }) => id === target.id)
        ? Promise.reject(new MeshError("E_UNREACHABLE", "there is a wall in between"))
        : started.dial(target, how),
  };
  const now = Date.now();
  const validity = { issuedAtMs: now, notAfterMs: now + 60_000, keyNotAfterMs: now + 60_000 };
  const capabilities = relays ? ["seal.v1", relayCapability] : ["seal.v1"];
  const record = signRecord(identity, { seq: 1n, ...validity, inferenceKey: keys.current.publicKey, capabilities });
  const source = new Source();
  const refuse = (): Promise<void> => Promise.reject(new Error("not in this test"));
  const handlers = attestHandlers({
    self: identity.id,
    keys: () => keys.opening,
    source,
    answering: bounds,
    relayed: bounds,
    carrying: bounds,
    timing,
    ...(relays
      ? {
          reach: (target: EndpointId, _way: PassingOn, asker: Signal) =>
            mesh.peer(target)?.met ? mesh.openSeal(target, { dialMs: 500, signal: asker }) : undefined,
        }
      : {}),
    ...parts,
  });
  const mesh: Mesh = new Mesh({
    transport,
    clock,
    log: silentLog,
    describe: () => ({
      role: "worker",
      models: [],
      runtimes: [],
      httpPort: 1,
      hostname: undefined,
      version: "0.65.1",
      record,
    }),
    shown: new Map(),
    onShown: () => undefined,
    onChange: () => undefined,
    handlers: { http: refuse, relayed: refuse, ...(old ? {} : handlers), ...(challenge ? { challenge } : {}) },
    meetMentioned: false,
  });
  onTestFinished(() => mesh.close());
  mesh.start();
  const path = (change: Partial<AskPath> = {}): AskPath => ({
    mesh,
    route: "auto",
    dialMs: 500,
    ms: 2_000,
    ...change,
  });
  return { id: identity.id, identity, keys, source, mesh, transport, path };
}

/** Host and asker that met. */
async function pair(options: MemberOptions = {}) {
  const network = memoryNetwork();
  const host = await member(network, options);
  const asker = await member(network);
  await asker.mesh.join(host.transport.address());
  return { network, host, asker };
}

/** Host and asker that know each other by the relay alone; with `walled` the asker cannot dial the host. */
async function triangle(options: { host?: MemberOptions; relay?: MemberOptions; walled?: boolean } = {}) {
  const network = memoryNetwork();
  const host = await member(network, options.host);
  const relay = await member(network, { relays: true, ...options.relay });
  const asker = await member(network, { unreachable: options.walled ? [host] : [] });
  await relay.mesh.join(host.transport.address());
  await asker.mesh.join(relay.transport.address());
  await eventually("the asker knows the host", () => asker.mesh.peer(host.id)?.record !== undefined);
  return { network, host, relay, asker };
}

function challengeFor(asker: Member, host: Member, verifier: EndpointId = asker.id): ChallengeAsk {
  const ask = new ChallengeAsk({ verifier, host: host.id, inferenceKey: host.keys.current.publicKey });
  onTestFinished(() => ask.end());
  return ask;
}

/** Challenges the host and judges what comes. */
async function held(asker: Member, host: Member, path: AskPath = asker.path()): Promise<readonly Uint8Array[]> {
  const ask = challengeFor(asker, host);
  return ask.judge(await askChallenge(host.id, ask.sealed, path, signal, anyReply)).held;
}

describe("on the host's own connection", () => {
  it("a challenge is answered with the key that the host holds", async () => {
    const { host, asker } = await pair();
    expect(await held(asker, host)).toEqual([attested.point]);
  });

  it("evidence comes, made with the nonce, and with the answer to a question", async () => {
    const { host, asker } = await pair();
    const nonce = new Uint8Array(randomBytes(32));
    const question = { kind: item.kind, question: Uint8Array.of(1, 2, 3) };
    const reply = await askEvidence(host.id, { nonce, question }, asker.path(), signal);
    expect(reply).toEqual({ code: attestCodes.ok, items: [item], residenceAnswer: Uint8Array.of(3, 2, 1) });
    expect(host.source.nonces).toEqual([nonce]);
  });

  it("a question that cannot be answered costs the evidence nothing", async () => {
    const { host, asker } = await pair();
    const question = { kind: "other", question: empty };
    const reply = await askEvidence(host.id, { question }, asker.path(), signal);
    expect(reply).toEqual({ code: attestCodes.ok, items: [item], residenceAnswer: undefined });
  });

  it("a host without evidence says that it has none", async () => {
    const { host, asker } = await pair();
    host.source.items = [];
    expect((await askEvidence(host.id, {}, asker.path(), signal)).items).toEqual([]);
  });

  it("no reply is longer than an asker reads: items that do not fit are left out", async () => {
    const { host, asker } = await pair();
    const long = { ...item, collateral: [new Uint8Array(limits.evidenceBytes), new Uint8Array(40_000)] };
    const broken = { ...item, evidence: new Uint8Array(limits.evidenceBytes + 1) };
    host.source.items = [broken, item, long, long, long];
    const { items } = await askEvidence(host.id, {}, asker.path(), signal);
    expect(items.map(({ collateral }) => collateral.length)).toEqual([1, 2, 2]);
  });

  it("a challenge in somebody else's name is refused, and nothing is signed", async () => {
    const { host, asker } = await pair();
    const other = identityFrom(newIdentitySeed());
    const { sealed } = challengeFor(asker, host, other.id);
    await rejectsWith("E_REFUSED", askChallenge(host.id, sealed, asker.path(), signal, anyReply));
    expect(host.source.signed).toBe(0);
  });

  it("all that does not open has one face", async () => {
    const { network, host, asker } = await pair();
    const third = await member(network);
    const forAnother = challengeFor(asker, third).sealed;
    const changed = challengeFor(asker, host).sealed.map((byte, at) => (at === 99 ? byte ^ 1 : byte));
    for (const sealed of [forAnother, changed, new Uint8Array(222), empty]) {
      await rejectsWith("E_OPEN", askChallenge(host.id, sealed, asker.path(), signal, anyReply));
    }
    expect(host.source.signed).toBe(0);
  });

  it("hardware that fails or hangs is said to be unable, in time", async () => {
    const { host, asker } = await pair({ timing: { ...timing, answerMs: 40 } });
    host.source.sign = () => Promise.reject(new MeshError("E_BUSY", "the chip has too much to do"));
    await rejectsWith("E_TIMEOUT", held(asker, host));
    host.source.sign = () => never;
    await rejectsWith("E_TIMEOUT", held(asker, host));
    host.source.evidence = () => never;
    await rejectsWith("E_TIMEOUT", askEvidence(host.id, {}, asker.path(), signal));
  });

  it("whoever leaves stops what was begun", async () => {
    const { host, asker } = await pair();
    let stopped = false;
    host.source.sign = (_nonce: Uint8Array, gone?: Signal) => {
      gone?.addEventListener("abort", () => (stopped = true));
      host.source.signed += 1;
      return never;
    };
    const caller = new AbortController();
    const asking = askChallenge(host.id, challengeFor(asker, host).sealed, asker.path(), caller.signal, anyReply);
    await eventually("it is being signed", () => host.source.signed === 1);
    caller.abort();
    await rejectsWith("E_ABORTED", asking);
    await eventually("the host knows", () => stopped);
  });
});

describe("bounds", () => {
  it("a peer that asks too often is told so, and another is not", async () => {
    const rate = { ...bounds.rate, perHolder: { burst: 2, perSecond: 1 } };
    let nowMs = 0;
    const { network, host, asker } = await pair({ answering: { ...bounds, rate }, now: () => nowMs });
    const second = await member(network);
    await second.mesh.join(host.transport.address());
    await held(asker, host);
    await askEvidence(host.id, {}, asker.path(), signal);
    await rejectsWith("E_BUSY", held(asker, host));
    await rejectsWith("E_BUSY", askEvidence(host.id, {}, asker.path(), signal));
    expect(await held(second, host)).toHaveLength(1);
    nowMs = 1_000;
    expect(await held(asker, host)).toHaveLength(1);
  });

  it("only so many are answered at a time, and places come back", async () => {
    const places = { total: 2, perHolder: 1 };
    const { host, asker } = await pair({ answering: { ...bounds, places } });
    let release = (): void => undefined;
    const held1 = new Promise<readonly EvidenceItem[]>((resolve) => {
      release = () => resolve([item]);
    });
    host.source.evidence = (nonce) => {
      host.source.nonces.push(nonce);
      return held1;
    };
    const first = askEvidence(host.id, {}, asker.path(), signal);
    await eventually("the first is under way", () => host.source.nonces.length === 1);
    await rejectsWith("E_BUSY", held(asker, host));
    release();
    await first;
    expect(await held(asker, host)).toHaveLength(1);
  });
});

describe("through a relay", () => {
  it("challenges and evidence arrive, and the relay sees nothing of a challenge that it could use", async () => {
    const { host, relay, asker } = await triangle();
    const path = asker.path({ route: "relay" });
    expect(await held(asker, host, path)).toEqual([attested.point]);
    const nonce = new Uint8Array(randomBytes(32));
    expect((await askEvidence(host.id, { nonce }, path, signal)).items).toEqual([item]);
    expect(host.source.nonces).toEqual([nonce]);
    expect(relay.source.nonces).toEqual([]);
    expect(relay.source.signed).toBe(0);
    expect(asker.mesh.isConnected(host.id)).toBe(false);
  });

  it("it is asked when the host cannot be reached, and not with the route direct", async () => {
    const { host, asker } = await triangle({ walled: true });
    expect(await held(asker, host)).toEqual([attested.point]);
    await rejectsWith("E_UNREACHABLE", held(asker, host, asker.path({ route: "direct" })));
  });

  it("it is not asked when the host itself has answered", async () => {
    const { host, asker } = await triangle();
    await asker.mesh.ensureMet(host.id, { dialMs: 500, signal });
    host.source.sign = () => {
      host.source.signed += 1;
      return Promise.reject(new MeshError("E_LOST", "the chip is gone"));
    };
    await rejectsWith("E_TIMEOUT", held(asker, host));
    expect(host.source.signed).toBe(1);
  });

  it("the host cannot know who asks: a relayed challenge is answered in any name", async () => {
    const { host, asker } = await triangle();
    const ask = challengeFor(asker, host, identityFrom(newIdentitySeed()).id);
    const reply = await askChallenge(host.id, ask.sealed, asker.path({ route: "relay" }), signal, anyReply);
    expect(ask.judge(reply).held).toHaveLength(1);
  });

  it("another relay is asked when one is of an earlier version, and when one tells a lie", async () => {
    const network = memoryNetwork();
    const asked: string[] = [];
    const liar: StreamHandler = async (stream, reader) => {
      await reader.frame(limits.attestFrameBytes);
      asked.push("liar");
      await stream.write(encodeFrame(encodeChallengeReply({ code: attestCodes.unable, sealed: empty })));
      await stream.finish();
    };
    const host = await member(network);
    const asker = await member(network, { unreachable: [host] });
    // relays as near as one another are asked by their ids
    const [first, second, third] = Array.from({ length: 3 }, newIdentitySeed).toSorted((a, b) =>
      identityFrom(a).id < identityFrom(b).id ? -1 : 1,
    );
    const relays = [
      await member(network, { relays: true, seed: first, old: true }),
      await member(network, { relays: true, seed: second, challenge: liar }),
      await member(network, { relays: true, seed: third }),
    ];
    for (const relay of relays) {
      await relay.mesh.join(host.transport.address());
      await asker.mesh.join(relay.transport.address());
    }
    await eventually("all name the host", () => relaysNaming(asker.mesh, host.id).length === 3);
    // among relays that know the host it is left to chance; here each in turn comes first
    let chance = 0;
    const random = vi.spyOn(Math, "random").mockImplementation(() => (chance += 0.01));
    onTestFinished(() => random.mockRestore());
    expect(await held(asker, host)).toEqual([attested.point]);
    expect(asked).toEqual(["liar"]);
  });

  it("a reply that a relay made up is not taken for the host's: the next relay is asked", async () => {
    const network = memoryNetwork();
    const forger: StreamHandler = async (stream, reader) => {
      await reader.frame(limits.attestFrameBytes);
      await stream.write(encodeFrame(encodeChallengeReply({ code: attestCodes.ok, sealed: new Uint8Array(80) })));
      await stream.finish();
    };
    const host = await member(network);
    const asker = await member(network, { unreachable: [host] });
    const relays = [
      await member(network, { relays: true, challenge: forger }),
      await member(network, { relays: true }),
    ];
    for (const relay of relays) {
      await relay.mesh.join(host.transport.address());
      await asker.mesh.join(relay.transport.address());
    }
    await eventually("both name the host", () => relaysNaming(asker.mesh, host.id).length === 2);
    const ask = challengeFor(asker, host);
    const isAnswer = (reply: Uint8Array): boolean => reply.some((byte) => byte !== 0);
    for (let round = 0; round < 4; round += 1) {
      const reply = await askChallenge(host.id, ask.sealed, asker.path({ route: "relay" }), signal, isAnswer);
      expect(ask.judge(reply).held).toEqual([attested.point]);
    }
  });

  it("what cannot be passed on is told apart by its code", async () => {
    const { network, host, relay, asker } = await triangle();
    const stranger = await member(network);
    const way = { target: stranger.id, hops: 0 };
    expect(await codeFrom(asker, relay.id, way)).toBe(attestCodes.unknownTarget);
    expect(await codeFrom(asker, relay.id, { target: host.id, hops: 2 })).toBe(attestCodes.refused);
    expect(await codeFrom(asker, relay.id, { target: asker.id, hops: 0 })).toBe(attestCodes.refused);
    await asker.mesh.ensureMet(host.id, { dialMs: 500, signal });
    expect(await codeFrom(asker, host.id, { target: relay.id, hops: 0 })).toBe(attestCodes.refused);
    expect(host.source.signed).toBe(0);
  });

  it("a host that hangs is unreachable by it, and its place is free again", async () => {
    const carrying = { ...bounds, places: { total: 1, perHolder: 1 } };
    const { host, relay, asker } = await triangle({ relay: { carrying, timing: { ...timing, carryMs: 50 } } });
    host.source.sign = () => never;
    const { sealed } = challengeFor(asker, host);
    const way = { target: host.id, hops: 0 };
    expect(await codeFrom(asker, relay.id, way, sealed)).toBe(attestCodes.unreachable);
    expect(await codeFrom(asker, relay.id, way, sealed)).toBe(attestCodes.unreachable);
  });

  it("who passes nothing on refuses, and who carries too much is busy", async () => {
    const rate = { ...bounds.rate, perHolder: { burst: 1, perSecond: 0.001 } };
    const { host, relay, asker } = await triangle({ relay: { carrying: { ...bounds, rate } } });
    const path = asker.path({ route: "relay" });
    expect(await held(asker, host, path)).toHaveLength(1);
    await rejectsWith("E_BUSY", held(asker, host, path));
    expect(await held(asker, relay)).toHaveLength(1); // its own answers are counted apart
  });

  it("without any, a host that cannot be reached is unreachable", async () => {
    const { host, relay, asker } = await triangle({ walled: true });
    await relay.mesh.close();
    await rejectsWith("E_UNREACHABLE", held(asker, host));
  });
});

describe("who is not asked, and who is not answered", () => {
  it("a peer without a record is refused before any stream is opened", async () => {
    const network = memoryNetwork();
    const asker = await member(network);
    const reference = await RawPeer.start(network, { kind: "reference" });
    await asker.mesh.join(reference.transport.address());
    await rejectsWith("E_REFUSED", askChallenge(reference.id, empty, asker.path(), signal, anyReply));
    await rejectsWith("E_REFUSED", askEvidence(reference.id, {}, asker.path({ route: "relay" }), signal));
    expect(reference.opened.filter((name) => name.startsWith("sealmesh/1"))).toEqual([]);
  });

  it("a host of an earlier version, which knows no such stream, is lost", async () => {
    const { host, asker } = await pair({ old: true });
    await rejectsWith("E_LOST", held(asker, host));
  });

  it("a stranger gets nothing before gossip", async () => {
    const { network, host } = await pair();
    const stranger = await RawPeer.start(network);
    const connection = await stranger.dial(host.transport.address(), "sealmesh/1");
    for (const type of [sealStreams.challenge, sealStreams.evidence]) {
      const stream = await connection.open();
      await stream.write(Uint8Array.of(type, 0, 0, 0, 0));
      await rejectsWith("E_ABORTED", stream.read());
    }
    expect(host.source.nonces).toEqual([]);
  });

  it("what is no request gets the code for it, however it is wrong", async () => {
    const { host, asker } = await pair();
    for (const payload of [Uint8Array.of(0xff), Uint8Array.of(8, 1), new Uint8Array(limits.attestFrameBytes + 1)]) {
      const stream = await asker.mesh.openSeal(host.id, { dialMs: 500, signal });
      await stream.write(Uint8Array.of(sealStreams.challenge, ...encodeFrame(payload)));
      const reply = decodeChallengeReply(await new StreamReader(stream).frame(limits.attestFrameBytes));
      expect(reply.code).toBe(attestCodes.badRequest);
    }
  });

  it("a request that does not come is not waited for", async () => {
    const { host, asker } = await pair({ timing: { ...timing, frameMs: 30 } });
    const stream = await asker.mesh.openSeal(host.id, { dialMs: 500, signal });
    await stream.write(Uint8Array.of(sealStreams.challenge, 9, 0));
    await rejectsWith("E_ABORTED", stream.read());
  });
});

/** What a node says to a challenge frame that goes this way. */
async function codeFrom(asker: Member, to: EndpointId, way: AttestWay, sealed: Uint8Array = empty): Promise<number> {
  const stream = await asker.mesh.openSeal(to, { dialMs: 500, signal });
  const frame = encodeFrame(encodeChallengeRequest({ ...way, sealed }));
  await stream.write(Uint8Array.of(sealStreams.challenge, ...frame));
  await stream.finish();
  return decodeChallengeReply(await new StreamReader(stream).frame(limits.attestFrameBytes)).code;
}

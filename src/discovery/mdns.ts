/**
 * Meshes of the local network, by multicast DNS: service _mesh-llm._tcp.local (protocol.md §3.6, RFC 6762, RFC 6763).
 * Needs no server, no route and no internet. Nothing is signed there, so whatever is heard is a hint where to knock.
 */
import { networkInterfaces } from "node:os";
import makeMdns from "multicast-dns";
import { sleep } from "../base/deadline.ts";
import { MeshError } from "../base/errors.ts";
import { decodeInvite } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import type { Discovery, DiscoveryKind, DiscoveryParts, FindOptions, Listing, Offer } from "./discovery.ts";
import { sameName, unlessUnreadable } from "./listing.ts";
import { decodeText, encodeText } from "./mdns-text.ts";

const service = "_mesh-llm._tcp.local";
/** A listing holds so long, and is told anew after so long. */
const lifeSeconds = 120;
const repeatMs = 60_000;
/** Neighbours answer within this time, ms; after a third of it they are asked again, as a datagram may be lost. */
const usualAnswersMs = 1_500;
/** Answers to questions are at least so far apart, ms (RFC 6762 §6). */
const answerPauseMs = 1_000;
/** Interfaces that are used; containers and virtual machines add dozens. */
const mostInterfaces = 8;
/** Records of one message that are looked at: a node sends four. */
const mostRecords = 64;

export interface MdnsOptions {
  /** UDP port. @default 5353 */
  readonly port?: number;
  /** IPv4 addresses of the interfaces to use. @default those of this machine, loopback only where there is no other */
  readonly addresses?: () => readonly string[];
  /** Longest wait for neighbours, ms. @default 1500 */
  readonly answersMs?: number;
}

export function mdnsKind(options: MdnsOptions = {}): DiscoveryKind {
  return {
    source: "lan",
    wanted: ({ lan }) => lan,
    start: (parts) => new MdnsDiscovery(parts, options),
  };
}

export const mdnsDiscovery: DiscoveryKind = mdnsKind();

type Multicast = ReturnType<typeof makeMdns>;

class MdnsDiscovery implements Discovery {
  readonly source = "lan";
  readonly #parts: DiscoveryParts;
  readonly #options: MdnsOptions;
  /** One for each interface, by its address: only so does a question leave through all of them. */
  readonly #sockets = new Map<string, Multicast>();
  /** What was heard, by endpoint id, oldest first. */
  readonly #heard = new Map<string, Listing>();
  #offer: Offer | undefined;
  #repeating: NodeJS.Timeout | undefined;
  #answeredMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(parts: DiscoveryParts, options: MdnsOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  async announce(offer: Offer): Promise<void> {
    this.#offer = offer;
    clearTimeout(this.#repeating);
    this.#tell(lifeSeconds);
    this.#repeatLater();
    if (this.#sockets.size === 0) throw new MeshError("E_UNREACHABLE", "this machine has no network to be found on");
  }

  async withdraw(): Promise<void> {
    clearTimeout(this.#repeating);
    if (!this.#offer) return;
    this.#tell(0);
    this.#offer = undefined;
  }

  async find({ ms, signal, name }: FindOptions): Promise<readonly Listing[]> {
    this.#openSockets();
    if (this.#sockets.size === 0) throw new MeshError("E_UNREACHABLE", "this machine has no network to look on");
    this.#ask();
    const waitMs = Math.min(ms, this.#options.answersMs ?? usualAnswersMs);
    await sleep(waitMs / 3, signal);
    this.#ask();
    await sleep((waitMs * 2) / 3, signal);
    const now = this.#parts.clock.now();
    return [...this.#heard.values()].filter(
      ({ expiresAtMs, meshName }) => expiresAtMs > now && (name === undefined || sameName(meshName ?? "", name)),
    );
  }

  async close(): Promise<void> {
    await this.withdraw();
    this.#closed = true;
    // what was sent last is still on its way out
    await sleep(20);
    const sockets = [...this.#sockets.values()];
    this.#sockets.clear();
    await Promise.all(sockets.map((socket) => new Promise<void>((resolve) => socket.destroy(resolve))));
  }

  #repeatLater(): void {
    this.#repeating = setTimeout(() => {
      this.#tell(lifeSeconds);
      this.#repeatLater();
    }, repeatMs);
    this.#repeating.unref();
  }

  // ---- saying

  #ask(): void {
    for (const socket of this.#sockets.values()) socket.query([{ name: service, type: "PTR" }]);
  }

  /** @param ttl seconds; 0: it is no longer true */
  #tell(ttl: number): void {
    this.#openSockets();
    for (const [address, socket] of this.#sockets) {
      const offer = this.#offer;
      if (offer) socket.respond(recordsOf(offer, address, ttl));
    }
  }

  // ---- hearing

  #answer(questions: readonly { readonly name: string }[]): void {
    const now = this.#parts.clock.now();
    const meant = questions.slice(0, mostRecords).some(({ name }) => sameName(name, service));
    if (!meant || !this.#offer || now - this.#answeredMs < answerPauseMs) return;
    this.#answeredMs = now;
    this.#tell(lifeSeconds);
  }

  #hear(records: readonly Heard[]): void {
    const now = this.#parts.clock.now();
    for (const { type, name, ttl = 0, data } of records.slice(0, mostRecords)) {
      if (type !== "TXT" || !name.toLowerCase().endsWith(`.${service}`)) continue;
      const lifeMs = Math.min(ttl, lifeSeconds) * 1_000;
      const listing = unlessUnreadable(() => decodeText(partsOf(data), Math.max(lifeMs, 1), now));
      if (!listing) continue;
      this.#heard.delete(listing.endpointId);
      if (lifeMs > 0) this.#heard.set(listing.endpointId, listing);
    }
    for (const [id, { expiresAtMs }] of this.#heard) {
      if (expiresAtMs <= now || this.#heard.size > limits.mdnsListings) this.#heard.delete(id);
    }
  }

  // ---- sockets

  /** For interfaces that have come since the last time: networks come and go while a node runs. */
  #openSockets(): void {
    if (this.#closed) return;
    const addresses = (this.#options.addresses ?? ownAddresses)().slice(0, mostInterfaces);
    for (const [address, socket] of this.#sockets) {
      if (!addresses.includes(address)) this.#drop(address, socket);
    }
    for (const address of addresses) {
      if (!this.#sockets.has(address)) this.#open(address);
    }
  }

  #open(address: string): void {
    const { port } = this.#options;
    const socket = makeMdns({ interface: address, bind: "0.0.0.0", ...(port === undefined ? {} : { port }) });
    this.#sockets.set(address, socket);
    socket.on("error", (cause: unknown) => {
      this.#drop(address, socket);
      this.#parts.onTrouble(
        "lan",
        new MeshError("E_UNREACHABLE", "no multicast on a network of this machine", { cause }),
      );
    });
    socket.on("warning", () => undefined); // what strangers send, and networks that go
    socket.on("query", ({ questions = [] }) => this.#answer(questions));
    socket.on("response", ({ answers = [], additionals = [] }) => this.#hear([...answers, ...additionals]));
  }

  #drop(address: string, socket: Multicast): void {
    this.#sockets.delete(address);
    socket.destroy();
  }
}

/** A record as the codec has read it. */
interface Heard {
  readonly type: string;
  readonly name: string;
  readonly ttl?: number | undefined;
  readonly data?: unknown;
}

function partsOf(data: unknown): readonly Uint8Array[] {
  const parts: readonly unknown[] = Array.isArray(data) ? data : [data];
  return parts.filter((part) => part instanceof Uint8Array);
}

/** @param address of the interface that it is told on */
function recordsOf(offer: Offer, address: string, ttl: number): NonNullable<Parameters<Multicast["respond"]>[0]> {
  const { id, direct } = decodeInvite(offer.token).address;
  const short = id.slice(0, 16);
  const instance = `sealmesh-${short}.${service}`;
  const host = `sealmesh-${short}.local`;
  const port = Number(direct[0]?.split(":").at(-1) ?? 0);
  const text = encodeText(offer).map((part) => Buffer.from(part));
  return [
    { name: service, type: "PTR", ttl, data: instance },
    { name: instance, type: "SRV", ttl, data: { target: host, port } },
    { name: instance, type: "TXT", ttl, data: text },
    { name: host, type: "A", ttl, data: address },
  ];
}

/** One IPv4 address of each interface. */
function ownAddresses(): readonly string[] {
  const first = Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter(({ family }) => family === "IPv4").slice(0, 1),
  );
  const outside = first.filter(({ internal }) => !internal);
  return (outside.length > 0 ? outside : first).map(({ address }) => address);
}

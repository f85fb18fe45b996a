/**
 * Faster ways for streams beside another transport: many of them in a session on one of its own streams, and the direct path,
 * TLS 1.3 over TCP, between peers that reach each other so. The transport below makes and ends connections, proves who the
 * peer is and crosses NATs; here each connection gets a faster way for its new streams as soon as there is one, in the
 * background, and loses it without losing a stream. What a stream carries is sealed above, on every way.
 *
 * @see docs/wire.md, docs/performance.md
 */
import { networkInterfaces } from "node:os";
import type { EndpointId } from "../base/brand.ts";
import { identityFrom, type Identity } from "../crypto/identity.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { encodeOffer, maxAddresses } from "./direct-offer.ts";
import { DirectPeer } from "./direct-peer.ts";
import { isRemote, plainIp } from "./ip.ts";
import { parseSocketAddress } from "./socket-address.ts";
import { openTlsLink, type TlsLink } from "./tls-link.ts";
import type { Connection, DialOptions, Transport, TransportKind, TransportOptions } from "./transport.ts";

/** The same transport, and sessions and a direct path beside its connections. */
export function withDirectTls(below: TransportKind): TransportKind {
  return withSessions("direct-tls", below, true);
}

/** The same transport, and sessions on its own streams. */
export function withMux(below: TransportKind): TransportKind {
  return withSessions(below.kind, below, false);
}

function withSessions(kind: string, below: TransportKind, usesTls: boolean): TransportKind {
  return {
    kind,
    async start(options) {
      const base = await below.start(options);
      try {
        const transport = new SessionTransport(kind, base, options);
        if (usesTls) await transport.listen();
        return transport;
      } catch (thrown) {
        await base.close();
        throw thrown;
      }
    },
  };
}

class SessionTransport implements Transport {
  readonly kind: string;
  readonly id: EndpointId;
  readonly instance: string;
  readonly #base: Transport;
  readonly #options: TransportOptions;
  readonly #identity: Identity;
  readonly #peers = new Map<EndpointId, DirectPeer>();
  #link: TlsLink | undefined;
  /** What was offered last, and of which addresses it speaks. */
  #offer: { readonly about: string; readonly bytes: Uint8Array } | undefined;
  #closed = false;

  constructor(kind: string, base: Transport, options: TransportOptions) {
    this.kind = kind;
    this.id = base.id;
    this.instance = base.instance ?? "";
    this.#base = base;
    this.#options = options;
    this.#identity = identityFrom(options.secretKey);
  }

  /** Begins with the direct path. @throws E_PORT */
  async listen(): Promise<void> {
    const { secretKey, offersDirect = true } = this.#options;
    // the same number as the UDP port: one rule for a firewall, where it is free
    const [own = ""] = this.#base.address().direct;
    const port = parseSocketAddress(own)?.port ?? 0;
    this.#link = await openTlsLink({
      secretKey,
      host: offersDirect ? this.#bindHost() : undefined,
      port,
      onSocket: (socket, peer) => {
        const known = this.#peers.get(peer);
        if (known) void known.accept(socket);
        else socket.destroy(); // who is not connected already has no use for a faster way
      },
    });
  }

  address(): EndpointAddress {
    return this.#base.address();
  }

  async dial(target: EndpointAddress, options: DialOptions): Promise<Connection> {
    return this.#wrap(await this.#base.dial(target, options));
  }

  async *incoming(): AsyncGenerator<Connection, void> {
    for await (const connection of this.#base.incoming()) yield this.#wrap(connection);
  }

  offer(): Uint8Array | undefined {
    const port = this.#link?.port;
    if (port === undefined) return undefined;
    const addresses = this.#addresses();
    const about = addresses.join(" ");
    if (this.#offer?.about !== about) {
      this.#offer = { about, bytes: encodeOffer({ issuedAtMs: Date.now(), port, addresses }, this.#identity) };
    }
    return this.#offer.bytes;
  }

  takeOffer(from: EndpointId, offer: Uint8Array): void {
    this.#peers.get(from)?.takeOffer(offer);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#link?.close();
    const closing = this.#base.close();
    for (const peer of this.#peers.values()) peer.end();
    await closing;
  }

  #wrap(connection: Connection): Connection {
    const { peer: id } = connection;
    let peer = this.#peers.get(id);
    if (!peer) {
      peer = new DirectPeer({
        id,
        instance: this.instance,
        link: this.#link,
        onGone: () => this.#peers.delete(id),
      });
      if (!this.#closed) this.#peers.set(id, peer);
    }
    return peer.wrap(connection);
  }

  /** "" for all addresses. */
  #bindHost(): string {
    const host = parseSocketAddress(this.#options.bind ?? "0.0.0.0:0")?.host ?? "";
    return host === "0.0.0.0" || host === "::" ? "" : host;
  }

  /** Where others could dial, besides where our packets come from: that they see themselves. */
  #addresses(): readonly string[] {
    const { advertise = [] } = this.#options;
    const named = advertise.map((socket) => parseSocketAddress(socket)?.host ?? "");
    const bound = this.#bindHost();
    const own = Object.values(networkInterfaces()).flatMap((all = []) => all.map(({ address }) => address));
    const all = named.length > 0 ? named : bound === "" ? own : [bound];
    return [...new Set(all.map(plainIp).filter((ip) => ip !== undefined))].filter(isRemote).slice(0, maxAddresses);
  }
}

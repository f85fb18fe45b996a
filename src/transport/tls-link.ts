/**
 * TLS 1.3 over TCP between two nodes: each side's certificate has its endpoint key, there is no authority, and a
 * handshake without the other's certificate, with another protocol or one that resumes an earlier one ends it. What
 * crosses an accepted socket is not looked at here.
 *
 * @see RFC 8446 §4.4.3 (both sides sign the handshake), docs/wire.md
 */
import { constants } from "node:crypto";
import type { AddressInfo } from "node:net";
import { type SecureContextOptions, type Server, type TLSSocket, connect, createServer } from "node:tls";
import { type EndpointId, shortId } from "../base/brand.ts";
import { tookLonger } from "../base/deadline.ts";
import { MeshError, systemCode, toMeshError } from "../base/errors.ts";
import { endpointCertificate } from "../crypto/endpoint-certificate.ts";
import { endpointOfKey } from "../crypto/identity.ts";

const protocol = "sealmesh-direct/1";
/** Sockets that have not shown an endpoint key yet. */
const maxHandshakes = 64;
const handshakeMs = 5_000;

export interface TlsLink {
  /** Where it listens; undefined: nowhere. */
  readonly port: number | undefined;
  /**
   * @param host numeric
   * @throws E_UNREACHABLE nothing there, or time is up · E_WIRE whoever is there is not `peer`
   */
  dial(host: string, port: number, peer: EndpointId, ms: number): Promise<TLSSocket>;
  close(): void;
}

export interface TlsLinkOptions {
  /** 32-byte Ed25519 seed of the node's identity. */
  readonly secretKey: Uint8Array;
  /** Numeric host, "" for all; undefined: do not listen. */
  readonly host: string | undefined;
  /** Tried first; another one if it is taken. */
  readonly port: number;
  /** Somebody has dialed and proved an endpoint key. */
  readonly onSocket: (socket: TLSSocket, peer: EndpointId) => void;
}

export async function openTlsLink({ secretKey, host, port, onSocket }: TlsLinkOptions): Promise<TlsLink> {
  const about: SecureContextOptions & { readonly ALPNProtocols: string[] } = {
    ...endpointCertificate(secretKey),
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ALPNProtocols: [protocol],
    secureOptions: constants.SSL_OP_NO_TICKET,
    ca: [], // nobody vouches for a key; without this Node reads all its authorities, which takes 50 ms
  };
  const server =
    host === undefined
      ? undefined
      : createServer({
          ...about,
          requestCert: true,
          rejectUnauthorized: false, // by an authority: there is none; the key is looked at below
          handshakeTimeout: handshakeMs,
        });
  let accepted = 0;
  let proven = 0;
  server?.on("connection", (socket) => {
    if (accepted - proven >= maxHandshakes) return socket.destroy();
    accepted += 1;
    socket.once("close", () => (accepted -= 1));
  });
  server?.on("tlsClientError", (_error, socket) => socket.destroy());
  server?.on("secureConnection", (socket) => {
    proven += 1;
    socket.once("close", () => (proven -= 1));
    socket.on("error", () => socket.destroy());
    const peer = provenPeer(socket);
    if (peer) onSocket(socket, peer);
    else socket.destroy();
  });
  if (server) await listen(server, host ?? "", port);
  return {
    port: server ? (server.address() as AddressInfo).port : undefined,
    dial: (at, to, peer, ms) => dial({ ...about, host: at, port: to }, peer, ms),
    close: () => void server?.close(),
  };
}

/** @throws E_PORT, when not even another port is to be had */
async function listen(server: Server, host: string, wanted: number): Promise<void> {
  const at = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once("error", reject);
      server.listen({ port, ...(host === "" ? {} : { host }) }, () => {
        server.off("error", reject);
        resolve();
      });
    });
  try {
    await at(wanted).catch(() => at(0));
  } catch (cause) {
    throw new MeshError("E_PORT", `this machine lets nobody listen on TCP ${host === "" ? "at all" : host}`, { cause });
  }
  server.on("error", () => undefined); // of a single connection that could not be accepted
}

function dial(
  options: SecureContextOptions & { readonly host: string; readonly port: number; readonly ALPNProtocols: string[] },
  peer: EndpointId,
  ms: number,
): Promise<TLSSocket> {
  const what = `the direct path to ${shortId(peer)} at ${options.host} port ${options.port}`;
  return new Promise((resolve, reject) => {
    const fail = (error: MeshError): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const socket = connect({ ...options, rejectUnauthorized: false }, () => {
      if (provenPeer(socket) !== peer) return fail(new MeshError("E_WIRE", `${what}: it is not that node`));
      clearTimeout(timer);
      resolve(socket);
    });
    const timer = setTimeout(() => fail(tookLonger(what, ms, "E_UNREACHABLE")), ms);
    // after the handshake has been accepted, too: an error without listener would end the process
    socket.on("error", (cause) => {
      // something listens there that speaks no TLS of ours; a connection that broke says nothing of who is there
      const isAnswered = /^(?:ERR_SSL|ERR_TLS|EPROTO)/.test(systemCode(cause));
      fail(
        new MeshError(isAnswered ? "E_WIRE" : "E_UNREACHABLE", `${what} failed: ${toMeshError(cause).message}`, {
          cause,
        }),
      );
    });
    socket.once("close", () => fail(new MeshError("E_UNREACHABLE", `${what} was closed`)));
  });
}

/** Whose key the other side has proved; undefined: nobody's, or not in the way that is wanted. */
function provenPeer(socket: TLSSocket): EndpointId | undefined {
  if (socket.alpnProtocol !== protocol || socket.isSessionReused()) return undefined;
  try {
    const certificate = socket.getPeerX509Certificate();
    return certificate && endpointOfKey(certificate.publicKey);
  } catch {
    return undefined; // a key of a kind that this Node does not know
  }
}

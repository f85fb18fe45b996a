/** Two transports that have dialed each other, and the few things that most transport tests do with a stream. */
import { readFileSync } from "node:fs";
import { concat, fromHex } from "../../src/base/bytes.ts";
import { sleep } from "../../src/base/deadline.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { newIdentitySeed } from "../../src/crypto/identity.ts";
import { DirectConnection } from "../../src/transport/direct-connection.ts";
import type { TapEntry } from "../../src/transport/tap.ts";
import {
  type Alpn,
  alpns,
  type Connection,
  type Transport,
  type TransportKind,
  type TransportOptions,
} from "../../src/transport/transport.ts";

export interface ConnectedPair {
  /** The transport that dialed. */
  readonly dialer: Transport;
  readonly acceptor: Transport;
  /** The connection as the dialer has it. */
  readonly near: Connection;
  /** The connection as the acceptor has it. */
  readonly far: Connection;
  /** Opens a stream from the dialer; the acceptor has read its first byte. */
  openBoth(): Promise<{ readonly ours: ByteStream; readonly theirs: ByteStream }>;
  close(): Promise<void>;
}

/** A transport on loopback with a fresh identity. */
export function startOnLoopback(kind: TransportKind, options: Partial<TransportOptions> = {}): Promise<Transport> {
  return kind.start({ secretKey: newIdentitySeed(), alpns, bind: "127.0.0.1:0", ...options });
}

export async function connectedPair(kind: TransportKind, alpn: Alpn = "sealmesh/1"): Promise<ConnectedPair> {
  const [dialer, acceptor] = await Promise.all([startOnLoopback(kind), startOnLoopback(kind)]);
  const [near, far] = await connect(dialer, acceptor, alpn);
  const streams = far.streams()[Symbol.asyncIterator]();
  await inSession(near, far);
  return {
    dialer,
    acceptor,
    near,
    far,
    async openBoth() {
      const ours = await near.open();
      await ours.write(Uint8Array.of(7));
      const theirs = (await streams.next()).value as ByteStream;
      await theirs.read();
      return { ours, theirs };
    },
    async close() {
      await Promise.all([dialer.close(), acceptor.close()]);
    },
  };
}

/** Dials and takes the first incoming connection; for one use per acceptor. */
export async function connect(
  dialer: Transport,
  acceptor: Transport,
  alpn: Alpn = "sealmesh/1",
): Promise<[Connection, Connection]> {
  const near = await dialer.dial(acceptor.address(), { alpn, timeoutMs: 5_000 });
  const { value } = await acceptor.incoming()[Symbol.asyncIterator]().next();
  const far = value as Connection;
  await upgrade(dialer, acceptor, [near, far]);
  return [near, far];
}

/** Waits for the session that both sides have, where the transport makes one; the acceptor's streams must be listened for. */
export async function inSession(...ends: readonly Connection[]): Promise<void> {
  const untilMs = performance.now() + 3_000;
  const lacks = (end: Connection): boolean =>
    end instanceof DirectConnection && end.alpn === "sealmesh/1" && !end.inSession;
  while (ends.some(lacks)) {
    if (performance.now() > untilMs) throw new Error("no session after 3 s");
    await sleep(5);
  }
}

/** Gives the dialer what mesh/ would bring it, and waits until both sides have the direct path; nothing where none is offered. */
export async function upgrade(dialer: Transport, acceptor: Transport, ends: readonly Connection[]): Promise<void> {
  const offer = acceptor.offer?.();
  if (!offer || !dialer.takeOffer) return;
  const untilMs = performance.now() + 3_000;
  while (ends.some((end) => end.path()?.kind !== "tls")) {
    dialer.takeOffer(acceptor.id, offer); // counts once; not before it has seen the connection
    if (performance.now() > untilMs) throw new Error("no direct path after 3 s");
    await sleep(5);
  }
}

/** Everything up to the peer's end. */
export async function readToEnd(stream: ByteStream): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const bytes = await stream.read();
    if (bytes === undefined) return concat(parts);
    parts.push(bytes);
  }
}

/** Bytes that differ everywhere, so that a lost or repeated piece shows. */
export function patternBytes(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let index = 0; index < length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

/** Resolves when the stream's `aborted` has fired, with the ms it took; rejects after `withinMs`. */
export function whenAborted(stream: ByteStream, withinMs: number): Promise<number> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`aborted did not fire within ${withinMs} ms`)), withinMs);
    const settle = (): void => {
      clearTimeout(timer);
      resolve(performance.now() - started);
    };
    if (stream.aborted.aborted) settle();
    else stream.aborted.addEventListener("abort", settle, { once: true });
  });
}

/** The entries that a fileTap wrote, with the time of each. */
export function readTapFile(path: string): (TapEntry & { readonly t: number })[] {
  return readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const { hex, opened_by: openedBy, ...entry } = JSON.parse(line);
      return { ...entry, openedBy, bytes: fromHex(hex) };
    });
}

/**
 * A tap records every byte that crosses the streams of a transport, above QUIC and below everything else: the means to
 * show that what a relay carries is ciphertext. It changes nothing but time. Not for normal operation: what it records
 * on a host or a client may be a prompt's plain text.
 */
import { appendFileSync } from "node:fs";
import type { EndpointId } from "../base/brand.ts";
import { toHex } from "../base/bytes.ts";
import { type Clock, systemClock } from "../base/clock.ts";
import type { ByteStream } from "../base/stream.ts";
import type { Alpn, Connection, Transport } from "./transport.ts";

export interface TapEntry {
  /** Serial of the connection. */
  readonly connection: number;
  readonly peer: EndpointId;
  readonly alpn: Alpn;
  /** Counts the streams of the connection from 0, whoever opened them. */
  readonly stream: number;
  readonly openedBy: "us" | "peer";
  readonly direction: "in" | "out";
  /** Borrowed until the sink returns. Outgoing bytes are recorded before they are written, so never too few. */
  readonly bytes: Uint8Array;
}

export type TapSink = (entry: TapEntry) => void;

/** The same transport, with each stream's bytes shown to `sink` on their way. */
export function tapTransport(transport: Transport, sink: TapSink): Transport {
  return {
    kind: transport.kind,
    id: transport.id,
    address: () => transport.address(),
    dial: async (target, options) => tapConnection(await transport.dial(target, options), sink),
    ...(transport.offer && { offer: () => transport.offer?.() }),
    ...(transport.takeOffer && { takeOffer: (from, offer) => transport.takeOffer?.(from, offer) }),
    incoming: () => mapped(transport.incoming(), (connection) => tapConnection(connection, sink)),
    close: () => transport.close(),
  };
}

/** A sink that appends JSON lines: {t (Unix ms), connection, peer, alpn, stream, opened_by, direction, hex}. */
export function fileTap(path: string, clock: Clock = systemClock): TapSink {
  return ({ connection, peer, alpn, stream, openedBy, direction, bytes }) => {
    const line = {
      t: clock.now(),
      connection,
      peer,
      alpn,
      stream,
      opened_by: openedBy,
      direction,
      hex: toHex(bytes),
    };
    // synchronous, so that the record is complete whenever the process ends
    appendFileSync(path, `${JSON.stringify(line)}\n`, { mode: 0o600 });
  };
}

function tapConnection(connection: Connection, sink: TapSink): Connection {
  const { peer, alpn, dialed, serial, closed } = connection;
  let streams = 0;
  const tap = (stream: ByteStream, openedBy: TapEntry["openedBy"]): ByteStream => {
    const about = { connection: serial, peer, alpn, stream: streams, openedBy };
    streams += 1;
    return tapStream(stream, (direction, bytes) => sink({ ...about, direction, bytes }));
  };
  return {
    peer,
    alpn,
    dialed,
    serial,
    closed,
    open: async () => tap(await connection.open(), "us"),
    streams: () => mapped(connection.streams(), (stream) => tap(stream, "peer")),
    close: (code) => connection.close(code),
    rttMs: () => connection.rttMs(),
    path: () => connection.path(),
  };
}

function tapStream(
  stream: ByteStream,
  record: (direction: TapEntry["direction"], bytes: Uint8Array) => void,
): ByteStream {
  return {
    async read() {
      const bytes = await stream.read();
      if (bytes !== undefined) record("in", bytes);
      return bytes;
    },
    async write(bytes) {
      if (bytes.length > 0) record("out", bytes);
      await stream.write(bytes);
    },
    finish: () => stream.finish(),
    abort: (code) => stream.abort(code),
    aborted: stream.aborted,
  };
}

async function* mapped<T>(source: AsyncIterable<T>, change: (value: T) => T): AsyncGenerator<T, void> {
  for await (const value of source) yield change(value);
}

/** What a session runs on: a TLS socket, or a stream of QUIC; and what is said before it on either. */
import type { TLSSocket } from "node:tls";
import { concat, plain, toHex, view } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import type { ByteStream } from "../base/stream.ts";
import type { Carrier, CarrierEvents } from "./mux-session.ts";

/** What the dialing side says first on a carrier. */
export interface Hello {
  /** A new session, or one that has lost its carrier. */
  readonly kind: "new" | "resume";
  /** 16 bytes as hex. */
  readonly session: string;
  /** Bytes of the other side's sequence that have come. */
  readonly received: number;
  /** {@link Transport.instance} of who says it. */
  readonly instance: string;
}

/** What it is answered with; undefined in the place of it: refused. */
export type Welcome = Pick<Hello, "received" | "instance">;

/** u8 version 1 | u8 0 new, 1 resume | 16 bytes session | u48 LE received | 8 bytes instance */
export const helloBytes = 32;
/** u8 0 welcome, 1 refused | u48 LE received | 8 bytes instance */
export const replyBytes = 15;
const version = 1;

export function encodeHello({ kind, session, received, instance }: Hello): Uint8Array {
  const out = Buffer.alloc(helloBytes);
  out[0] = version;
  out[1] = kind === "new" ? 0 : 1;
  out.write(session, 2, "hex");
  out.writeUIntLE(received, 18, 6);
  out.write(instance, 24, "hex");
  return out;
}

/** @throws E_WIRE another version, or malformed */
export function decodeHello(bytes: Uint8Array): Hello {
  const [first, kind = 2] = bytes;
  if (bytes.length !== helloBytes || first !== version || kind > 1) {
    throw new MeshError("E_WIRE", "the hello of a direct path is malformed, or of another version");
  }
  return {
    kind: kind === 0 ? "new" : "resume",
    session: toHex(bytes.subarray(2, 18)),
    received: readU48(bytes, 18),
    instance: toHex(bytes.subarray(24)),
  };
}

/** @param welcome undefined: refused */
export function encodeReply(welcome: Welcome | undefined): Uint8Array {
  const out = Buffer.alloc(replyBytes);
  out[0] = welcome ? 0 : 1;
  out.writeUIntLE(welcome?.received ?? 0, 1, 6);
  out.write(welcome?.instance ?? "", 7, "hex");
  return out;
}

/** @returns undefined: refused · @throws E_WIRE malformed */
export function decodeReply(bytes: Uint8Array): Welcome | undefined {
  const [status] = bytes;
  if (bytes.length !== replyBytes || status === undefined || status > 1) {
    throw new MeshError("E_WIRE", "the answer to the hello of a direct path is malformed");
  }
  return status === 0 ? { received: readU48(bytes, 1), instance: toHex(bytes.subarray(7)) } : undefined;
}

function readU48(bytes: Uint8Array, at: number): number {
  return view(bytes).readUIntLE(at, 6);
}

/** Takes exactly so many bytes; what comes behind them stays. @throws E_LOST it ended first · E_TIMEOUT */
export function readExactly(socket: TLSSocket, length: number, ms: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      clearTimeout(timer);
      socket.off("readable", look);
      socket.off("close", onClose);
      finish();
    };
    const look = (): void => {
      const bytes: unknown = socket.read(length);
      if (bytes instanceof Uint8Array) settle(() => (bytes.length === length ? resolve(bytes) : onClose()));
    };
    const onClose = (): void => settle(() => reject(new MeshError("E_LOST", "the direct path was cut")));
    const timer = setTimeout(() => settle(() => reject(new MeshError("E_TIMEOUT", "the direct path is silent"))), ms);
    socket.on("readable", look);
    socket.once("close", onClose);
    look();
  });
}

/** Bytes that wait in a carrier; on QUIC they take a hundred times as long, and tokens of other streams stand behind them. */
const maxWaiting = { tls: 512 * 1024, quic: 128 * 1024 } as const;

/** For a socket that has been closed orderly and does not go, ms. */
const lingerMs = 1_000;

export function tlsCarrier(socket: TLSSocket): Carrier {
  let onSent = (): void => undefined;
  socket.setNoDelay(true);
  return {
    kind: "tls",
    maxWaiting: maxWaiting.tls,
    get waiting() {
      return socket.writableLength;
    },
    send(frames) {
      if (!socket.writable) return;
      const last = frames.length - 1;
      socket.cork();
      frames.forEach((frame, index) => socket.write(frame, index === last ? () => onSent() : undefined));
      socket.uncork();
    },
    start(events) {
      ({ onSent } = events);
      socket.on("data", (bytes: Buffer) => events.onBytes(plain(bytes)));
      socket.once("close", events.onClosed);
      if (socket.destroyed) setImmediate(events.onClosed);
    },
    close() {
      socket.destroySoon();
      setTimeout(() => socket.destroy(), lingerMs).unref();
    },
    destroy: () => void socket.destroy(),
  };
}

/**
 * @param stream on which hello and reply pass before the session's bytes
 * @param source of what comes behind them: who read them may have taken more
 */
export function streamCarrier(stream: ByteStream, source: Pick<ByteStream, "read">): Carrier {
  let events: CarrierEvents | undefined;
  let queue: Buffer[] = [];
  let waiting = 0;
  let writing = false;
  let closing = false;
  const write = async (): Promise<void> => {
    if (writing) return;
    writing = true;
    while (queue.length > 0) {
      const bytes = concat(queue);
      queue = [];
      await stream.write(bytes);
      waiting -= bytes.length;
      events?.onSent();
    }
    writing = false;
    if (closing) await stream.finish();
  };
  const proceed = (): void => void write().catch(() => stream.abort());
  return {
    kind: "quic",
    maxWaiting: maxWaiting.quic,
    get waiting() {
      return waiting;
    },
    send(frames) {
      queue.push(...frames);
      for (const { length } of frames) waiting += length;
      proceed();
    },
    start(given) {
      events = given;
      void readAll(source, given);
    },
    close() {
      closing = true;
      proceed();
      setTimeout(() => stream.abort(), lingerMs).unref();
    },
    destroy: () => stream.abort(),
  };
}

async function readAll(source: Pick<ByteStream, "read">, { onBytes, onClosed }: CarrierEvents): Promise<void> {
  try {
    for (;;) {
      const bytes = await source.read();
      if (!bytes) break;
      onBytes(bytes);
    }
  } catch {
    // lost or aborted: over, in any case
  }
  onClosed();
}

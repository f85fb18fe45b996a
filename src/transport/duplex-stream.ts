/**
 * A ByteStream over two halves, as QUIC and the memory network have them; both transports use this one class, so that
 * ends and aborts mean the same everywhere.
 *
 * It assumes the worst of the halves: an operation on a half may wait for the one before it, so `stop` hangs behind a
 * pending `read` and `reset` behind a blocked `write` (@number0/iroh locks each half this way). Therefore an abort
 * (1) fails everything local at once, (2) tells the peer out of band, through `owner.notify`, and (3) resets and stops
 * the halves in the background whenever they let it. Both halves stay referenced until then, because a dropped one
 * would look finished to the peer.
 */
import { concat, empty } from "../base/bytes.ts";
import { unlessAborted } from "../base/deadline.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { Aborter, type Signal } from "../base/signal.ts";
import type { ByteStream } from "../base/stream.ts";
import { abortCodes } from "./transport.ts";

/** Both halves of one stream. Failures are E_ABORTED (the peer reset or stopped this half) or E_LOST. */
export interface StreamHalves {
  /** Up to 64 KiB, undefined at the clean end. */
  read(): Promise<Uint8Array | undefined>;
  /** At most 64 KiB, borrowed until the promise settles. */
  write(bytes: Uint8Array): Promise<void>;
  finish(): Promise<void>;
  /** Ends the sending half at once. */
  reset(code: number): Promise<void>;
  /** Tells the peer that we read no further. */
  stop(code: number): Promise<void>;
}

export interface StreamOwner {
  /** Tells the peer's end of this stream that we aborted it; may be lost. */
  notify(code: number): void;
  /** Both halves have ended, nobody needs the stream any more. */
  released(): void;
}

/** Larger writes are cut, so that a half is never held for long. */
const sliceBytes = 64 * 1024;

/** A notice is repeated once if the halves are still held after this time, as datagrams may be lost. */
const repeatNoticeMs = 150;

export class DuplexStream implements ByteStream {
  readonly #halves: StreamHalves;
  readonly #owner: StreamOwner;
  readonly #abortion = new Aborter();
  #reading: "open" | "ended" = "open";
  #writing: "open" | "finished" | "stopped" = "open";
  /** A stream's type byte, taken by {@link offer} and not yet written. */
  #held: Uint8Array = empty;
  /** When nothing follows in this turn of the event loop. */
  #due: NodeJS.Immediate | undefined;
  #flushing: Promise<void> | undefined;
  /** Aborted, or both directions ended cleanly. */
  #over = false;

  constructor(halves: StreamHalves, owner: StreamOwner) {
    this.#halves = halves;
    this.#owner = owner;
  }

  get aborted(): Signal {
    return this.#abortion;
  }

  async read(): Promise<Uint8Array | undefined> {
    this.aborted.throwIfAborted();
    if (this.#reading === "ended") return undefined;
    const bytes = await this.#attempt(this.#halves.read());
    if (bytes === undefined) {
      this.#reading = "ended";
      this.#releaseIfEnded();
    }
    return bytes;
  }

  /** Takes a single byte, the type of a stream, to go out with what follows: all else is waited for by whoever writes it. */
  offer(bytes: Uint8Array): boolean {
    this.#requireWriting();
    if (bytes.length !== 1 || this.#held.length > 0 || this.#flushing) return false;
    this.#held = bytes.slice();
    this.#due = setImmediate(() => void this.#flush()?.catch(() => undefined)); // whoever writes next learns of it
    return true;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#requireWriting();
    if (this.#flushing) await this.#flushing;
    const all = this.#held.length > 0 ? concat([this.#takeHeld(), bytes]) : bytes;
    for (let offset = 0; offset < all.length; offset += sliceBytes) {
      await this.#writeSlice(all.subarray(offset, offset + sliceBytes));
    }
  }

  async finish(): Promise<void> {
    this.aborted.throwIfAborted();
    if (this.#writing !== "open") return;
    this.#writing = "finished";
    await this.#flush();
    await this.#attempt(this.#halves.finish());
    this.#releaseIfEnded();
  }

  abort(code: number = abortCodes.cancelled): void {
    const error = new MeshError("E_ABORTED", "we aborted the stream");
    if (this.#over) {
      // the peer has stopped reading, which ended nothing here: whoever works for this stream must still learn it
      if (this.#writing === "stopped") this.#abortion.abort(error);
      return;
    }
    const released = this.end(error, code);
    this.#owner.notify(code);
    const repeat = setTimeout(() => this.#owner.notify(code), repeatNoticeMs);
    void released.then(() => clearTimeout(repeat));
  }

  /**
   * Ends both directions without telling the peer, who aborted or is gone: everything that waits fails with `error`.
   * Resolves, always, when both halves have been let go.
   */
  async end(error: MeshError, code: number = abortCodes.cancelled): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    this.#takeHeld();
    this.#abortion.abort(error);
    await Promise.allSettled([this.#halves.reset(code), this.#halves.stop(code)]);
    this.#owner.released();
  }

  #requireWriting(): void {
    this.aborted.throwIfAborted();
    if (this.#writing === "finished") throw new MeshError("E_BUG", "a finished stream takes no more bytes");
    if (this.#writing === "stopped") throw new MeshError("E_ABORTED", "the peer reads no further");
  }

  #takeHeld(): Uint8Array {
    const held = this.#held;
    this.#held = empty;
    clearImmediate(this.#due);
    this.#due = undefined;
    return held;
  }

  /** Writes what is held. */
  #flush(): Promise<void> | undefined {
    const held = this.#takeHeld();
    if (held.length === 0) return this.#flushing;
    this.#flushing = this.#writeSlice(held).finally(() => (this.#flushing = undefined));
    return this.#flushing;
  }

  async #writeSlice(slice: Uint8Array): Promise<void> {
    try {
      await unlessAborted(this.#halves.write(slice), this.aborted);
    } catch (thrown) {
      const error = toMeshError(thrown);
      // a peer may drop its reading half and still answer (mesh-llm does): only our writing ends here
      if (error.code !== "E_ABORTED") void this.end(error);
      this.#writing = "stopped";
      this.#releaseIfEnded();
      throw error;
    }
  }

  /** Waits for a half; a failure of it ends the whole stream. */
  async #attempt<T>(work: Promise<T>): Promise<T> {
    try {
      return await unlessAborted(work, this.aborted);
    } catch (thrown) {
      const error = toMeshError(thrown);
      void this.end(error);
      throw error;
    }
  }

  #releaseIfEnded(): void {
    if (this.#over || this.#reading === "open" || this.#writing === "open") return;
    this.#over = true;
    this.#owner.released();
  }
}

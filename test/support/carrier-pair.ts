/** Two ends of a wire that a test can cut, for sessions: bytes arrive in pieces of any size, in order, later than they were sent. */
import type { Carrier, CarrierEvents } from "../../src/transport/mux-session.ts";

export interface CarrierPair {
  readonly near: Carrier;
  readonly far: Carrier;
  /** Both ends are closed; what is on the way is lost. */
  cut(): void;
  /** Nothing arrives any more, and nobody is told. */
  silence(): void;
  /** Bytes that have arrived, of either direction. */
  carried(): number;
}

/** @param pieceBytes how the bytes are cut on their way @param cutAfter bytes after which the wire breaks by itself */
export function carrierPair(
  kind: Carrier["kind"] = "tls",
  pieceBytes = 1_000,
  cutAfter = Number.POSITIVE_INFINITY,
): CarrierPair {
  let open = true;
  let silent = false;
  let carried = 0;
  const ends: { events?: CarrierEvents }[] = [{}, {}];
  const cut = (): void => {
    if (!open) return;
    open = false;
    for (const end of ends) setImmediate(() => end.events?.onClosed());
  };
  const deliver = (to: { events?: CarrierEvents }, bytes: Uint8Array): void => {
    if (!open || silent) return;
    const room = Math.max(0, cutAfter - carried);
    const arriving = bytes.slice(0, room);
    carried += arriving.length;
    if (arriving.length > 0) to.events?.onBytes(arriving);
    if (arriving.length < bytes.length) cut();
  };
  const carrier = (own: number): Carrier => {
    const other = ends[1 - own] ?? {};
    return {
      kind,
      waiting: 0,
      maxWaiting: 512 * 1024,
      send(frames) {
        const all = Buffer.concat([...frames]);
        for (let at = 0; at < all.length; at += pieceBytes) {
          const piece = all.subarray(at, at + pieceBytes);
          setImmediate(() => deliver(other, piece));
        }
        setImmediate(() => open && ends[own]?.events?.onSent());
      },
      start(events) {
        Object.assign(ends[own] ?? {}, { events });
        if (!open) setImmediate(events.onClosed);
      },
      close: () => setImmediate(() => setImmediate(cut)),
      destroy: cut,
    };
  };
  return { near: carrier(0), far: carrier(1), cut, silence: () => (silent = true), carried: () => carried };
}

/**
 * What was read of other nodes' claims of owners, so that a signature is looked at once, and which of them counts for a node. Any
 * owner can sign that any node is theirs, and an old claim can be passed on after it was taken back: what a node shows itself
 * counts first, and what others say of it can never make it worse. Bounded; for ownership.ts.
 */
import type { EndpointId } from "../base/brand.ts";
import { equal } from "../base/bytes.ts";
import { type OwnerVerdict, readClaim, type ReadClaim } from "../policy/owners.ts";

export interface PeerClaimsOptions {
  /** Nodes remembered, by what they showed and by what was heard of them; the oldest go first. */
  readonly nodes: number;
  /** What a claim amounts to now. */
  readonly judge: (read: ReadClaim, id: EndpointId) => OwnerVerdict;
  readonly prefers: (verdict: OwnerVerdict) => boolean;
}

interface Seen {
  readonly bytes: Uint8Array | undefined;
  readonly read: ReadClaim;
}

export class PeerClaims {
  readonly #options: PeerClaimsOptions;
  readonly #shown = new Map<EndpointId, Seen>();
  /** `last` was heard last, `best` is what counts of all that was heard. */
  readonly #heard = new Map<EndpointId, { readonly last: Seen; readonly best: Seen }>();

  constructor(options: PeerClaimsOptions) {
    this.#options = options;
  }

  /** A node shows it on its own connection, or shows that it has none. */
  show(id: EndpointId, bytes: Uint8Array | undefined): OwnerVerdict {
    const before = this.#shown.get(id);
    const seen = before && isSame(before.bytes, bytes) ? before : readAnew(bytes, id);
    this.#keep(this.#shown, id, seen);
    return this.#options.judge(seen.read, id);
  }

  /** @param heard what the mesh keeps of it, from whomever */
  of(id: EndpointId, heard: Uint8Array | undefined): OwnerVerdict {
    const { judge } = this.#options;
    const shown = this.#shown.get(id);
    const own = shown && judge(shown.read, id);
    if (own?.claim && own.status !== "expired") return own;
    const best = this.#hear(id, heard);
    if (!best) return own ?? judge(readClaim(undefined, id), id);
    const isWorse = own && shown && this.#rank(id, shown) < this.#rank(id, best);
    return isWorse ? own : judge(best.read, id);
  }

  /** Whether the node has shown on its own connection whose it is, or that it is nobody's. */
  hasShown(id: EndpointId): boolean {
    return this.#shown.has(id);
  }

  #hear(id: EndpointId, bytes: Uint8Array | undefined): Seen | undefined {
    const before = this.#heard.get(id);
    if (!bytes || (before && isSame(before.last.bytes, bytes))) return before?.best;
    const last = readAnew(bytes, id);
    const best = before && this.#rank(id, before.best) < this.#rank(id, last) ? before.best : last;
    this.#keep(this.#heard, id, { last, best });
    return best;
  }

  /** Lower is better for the node. */
  #rank(id: EndpointId, { read }: Seen): number {
    const verdict = this.#options.judge(read, id);
    if (verdict.refusal !== undefined) return 3;
    if (verdict.status !== "verified") return 2;
    return this.#options.prefers(verdict) ? 0 : 1;
  }

  #keep<T>(place: Map<EndpointId, T>, id: EndpointId, what: T): void {
    place.delete(id);
    place.set(id, what);
    const [oldest] = place.keys();
    if (place.size > this.#options.nodes && oldest !== undefined) place.delete(oldest);
  }
}

function readAnew(bytes: Uint8Array | undefined, id: EndpointId): Seen {
  return { bytes: bytes?.slice(), read: readClaim(bytes, id) };
}

/** Two texts of a claim, or none. */
export function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : equal(a, b);
}

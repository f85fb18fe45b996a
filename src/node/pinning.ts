/**
 * The pins of a running node, changed by its operator over the console port: what `sealmesh trust` does to the file beside a
 * node, the node does itself and at once. What a pin means is for policy/pins.ts.
 */
import { shortId, type EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { MeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { shownBy } from "../mesh/known-host.ts";
import type { Proofs } from "../mesh/proofs.ts";
import { type Pin, type PinBook, type ShownValue, withConfirmed, withoutPins } from "../policy/pins.ts";
import { timeText } from "./attestation-report.ts";
import type { PinStore } from "./pin-store.ts";

/** One pin, as `sealmesh trust list --json` has it too. */
export interface PinDocument {
  readonly endpoint_id: EndpointId;
  readonly kind: string;
  /** Fingerprint of the attested key, 32 hex digits. */
  readonly key: string;
  /** Digest of the build; null: the host showed none. */
  readonly measurement: string | null;
  /** By the operator; false: a first contact. */
  readonly confirmed: boolean;
  /** ISO 8601 in UTC. */
  readonly pinned_at: string;
}

export interface PinningOptions {
  readonly pins: Pick<PinStore, "book" | "update">;
  readonly proofs: Pick<Proofs, "of">;
  /** Forgets, wherever something is kept of them, the nodes that the book lists as forgotten. */
  readonly carryOut: () => void;
  readonly clock: Clock;
  readonly log: Log;
  /** Called after each change. */
  readonly onChange: () => void;
}

export class Pinning {
  readonly #options: PinningOptions;

  constructor(options: PinningOptions) {
    this.#options = options;
  }

  list(): readonly PinDocument[] {
    return this.#options.pins.book.pins.map(pinDocument);
  }

  /**
   * The operator has compared a fingerprint, and it is right. Pins the key that has it, if the host holds it now: what a
   * person saw may have changed since, and what has answered no challenge may have been put there by somebody on the way.
   *
   * @param key fingerprint, 32 hex digits
   * @returns   pins of this host before and after
   * @throws    E_INPUT the host shows another key, or that key has answered no challenge · E_STATE
   */
  confirm(
    id: EndpointId,
    key: string,
  ): { readonly before: readonly PinDocument[]; readonly pins: readonly PinDocument[] } {
    const { pins, clock, log, onChange } = this.#options;
    const value = this.#shown(id, key);
    let before: readonly Pin[] = [];
    let after: readonly Pin[] = [];
    pins.update((book) => {
      before = pinsOf(book, id);
      const changed = withConfirmed(book, id, value, clock.now());
      after = pinsOf(changed, id);
      return changed;
    });
    log.write("info", { event: "pin-confirmed", peer: id, kind: value.kind, key });
    onChange();
    return { before: before.map(pinDocument), pins: after.map(pinDocument) };
  }

  /** Forgets a host's pins, and that it ever showed a key. @returns what was pinned @throws E_STATE */
  forget(id: EndpointId): readonly PinDocument[] {
    const { pins, carryOut, clock, log, onChange } = this.#options;
    let removed: readonly Pin[] = [];
    pins.update((book) => {
      removed = pinsOf(book, id);
      return withoutPins(book, id, clock.now());
    });
    carryOut();
    log.write("info", { event: "pins-forgotten", peer: id, pins: removed.length });
    onChange();
    return removed.map(pinDocument);
  }

  /** @throws E_INPUT */
  #shown(id: EndpointId, key: string): ShownValue {
    const { pieces } = this.#options.proofs.of(id);
    const shown = pieces.flatMap((piece) => {
      const value = shownBy(piece);
      return value ? [{ value, challenge: piece.challenge }] : [];
    });
    const found = shown.find(({ value }) => value.key === key);
    if (!found) {
      const now =
        shown.length === 0 ? "no attested key" : `another key: ${shown.map(({ value }) => value.key).join(", ")}`;
      const message = `${shortId(id)} shows ${now}. Look at it again, and compare fingerprints anew before you confirm one`;
      throw new MeshError("E_INPUT", message, { param: "key" });
    }
    if (found.challenge === "answered") return found.value;
    const why = "the key has answered no challenge, so that it may be another machine's";
    const next = "ask for its evidence again, or pin it with `sealmesh trust pin` if you know it to be right";
    throw new MeshError("E_INPUT", `${shortId(id)} is not pinned: ${why}; ${next}`, { param: "key" });
  }
}

function pinsOf(book: PinBook, id: EndpointId): readonly Pin[] {
  return book.pins.filter(({ endpointId }) => endpointId === id);
}

function pinDocument({ endpointId, kind, key, measurement, confirmed, pinnedAtMs }: Pin): PinDocument {
  return {
    endpoint_id: endpointId,
    kind,
    key,
    measurement: measurement ?? null,
    confirmed,
    pinned_at: timeText(pinnedAtMs),
  };
}

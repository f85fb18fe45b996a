/**
 * What a peer may cost this node by what it tells: bytes of frames while they come, signatures that are looked at, and the
 * time that everybody else waits for meanwhile. Knows no entry and believes nothing; for mesh.ts.
 *
 * @see protocol.md §11 Q4
 */
import type { EndpointId } from "../base/brand.ts";
import { type Account, Budget, type BudgetOptions } from "../base/budget.ts";
import { Rate, type RateOptions } from "../base/rate.ts";

export interface HearingOptions {
  /** Bytes of gossip frames that are received or waited for, of members and of everybody else. */
  readonly members: BudgetOptions;
  readonly strangers: BudgetOptions;
  /** Signatures on entries about third nodes, by who brings them. What is known byte for byte costs none. */
  readonly signatures: RateOptions;
}

export const hearingLimits: HearingOptions = {
  // four frames at their bound from one member, and many members at once
  members: { total: 268_435_456, perHolder: 33_554_432 },
  // a first frame can hold a whole table; strangers that send such frames wait for one another, and no member for them
  strangers: { total: 67_108_864, perHolder: 9_437_184 },
  // a whole table at once, as a newcomer gets it, and then news: several times what a mesh of 4,096 hosts has to tell
  signatures: {
    perHolder: { burst: 4_096, perSecond: 128 },
    total: { burst: 8_192, perSecond: 512 },
    holders: 32_768,
  },
};

/** Work on a frame holds up everything else for about so long at a time, ms. */
const sliceMs = 4;

export class Hearing {
  readonly #members: Budget;
  readonly #strangers: Budget;
  readonly #signatures: Rate;
  /** The last frame of each peer that is looked at or waits for it. */
  readonly #turns = new Map<EndpointId, Promise<unknown>>();

  constructor({ members, strangers, signatures }: HearingOptions = hearingLimits) {
    this.#members = new Budget(members);
    this.#strangers = new Budget(strangers);
    this.#signatures = new Rate(signatures);
  }

  /** Room for what comes on one stream; to be closed when it has been dealt with. */
  receive(from: EndpointId, isMember: boolean): Account {
    return (isMember ? this.#members : this.#strangers).open(from);
  }

  /** Whether one more signature that `from` brought is looked at. */
  mayCheck(from: EndpointId): boolean {
    return this.#signatures.take(from, performance.now());
  }

  /** One frame of a peer after the other, in the order in which they came: many at once are no more of the time. */
  async inTurn<T>(from: EndpointId, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(from);
    const mine = before ? before.then(work, work) : work();
    this.#turns.set(from, mine);
    try {
      return await mine;
    } finally {
      if (this.#turns.get(from) === mine) this.#turns.delete(from);
    }
  }
}

/** The items one after the other; whatever else this process has to do gets its turn in between. */
export async function* inSlices<T>(items: readonly T[]): AsyncGenerator<T, void, undefined> {
  let sinceMs = performance.now();
  for (const item of items) {
    if (performance.now() - sinceMs > sliceMs) {
      await new Promise((resolve) => setImmediate(resolve));
      sinceMs = performance.now();
    }
    yield item;
  }
}

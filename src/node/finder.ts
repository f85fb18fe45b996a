/**
 * Finding as a running thing: performs what node/finding.ts decides, over every way to find meshes that is wanted, and
 * keeps the listing of this node true. Started by node.ts, which lends it the mesh.
 */
import { withDeadline } from "../base/deadline.ts";
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Discovery, Listing, Offer, Source } from "../discovery/discovery.ts";
import type { EndpointAddress } from "../wire/address.ts";
import { decodeInvite } from "../wire/invite.ts";
import {
  type Finding,
  type FindingAction,
  type FindingEvent,
  type FindingSettings,
  findingStep,
  newFinding,
} from "./finding.ts";

export interface FinderParts {
  readonly settings: FindingSettings;
  /** Closed with the finder. */
  readonly discoveries: readonly Discovery[];
  readonly clock: Clock;
  readonly log: Log;
  /** Members that were met, without us. */
  readonly members: () => ReadonlySet<EndpointId>;
  /** Resolves when the node there is met. @throws when it cannot be, or is none of a mesh that we may join */
  readonly join: (address: EndpointAddress, signal: AbortSignal) => Promise<void>;
  /** What is told of this mesh, as of now. */
  readonly offer: () => Offer;
  /** Called when the publication state changes. */
  readonly onChange: () => void;
  readonly timing: FinderTiming;
}

/** All in ms. */
export interface FinderTiming {
  readonly findMs: number;
  readonly joinMs: number;
  readonly tickMs: number;
  readonly listingNewsMs: number;
}

/** Words of mesh-llm's status (protocol.md §9.2). */
export type PublicationState = "private" | "public" | "publish_failed";

/** An event without what the finder adds to each. */
type Happening = FindingEvent extends infer Each
  ? Each extends FindingEvent
    ? Omit<Each, "mesh" | "jitter">
    : never
  : never;

export class Finder {
  readonly #parts: FinderParts;
  readonly #closing = new AbortController();
  #state: Finding;
  #ticking: NodeJS.Timeout | undefined;
  /** Where the listing stands, or failed to. */
  readonly #standing = new Map<Source, boolean>();
  #told: { readonly text: string; readonly atMs: number } | undefined;
  #saidNothingFound = false;
  readonly #settled = new Waiter();

  constructor(parts: FinderParts) {
    this.#parts = parts;
    this.#state = newFinding(parts.settings);
  }

  start(): void {
    this.#step({ kind: "start" });
    this.#ticking = setInterval(() => {
      this.#step({ kind: "tick" });
      if (this.#state.listed) this.#renew();
    }, this.#parts.timing.tickMs);
  }

  /** Resolves when this node is in a mesh, found or created, or its first look found none. */
  get settled(): Promise<void> {
    return this.#settled.done;
  }

  get publication(): PublicationState {
    const places = [...this.#standing.values()];
    if (!this.#state.listed || places.length === 0) return "private";
    return places.includes(true) ? "public" : "publish_failed";
  }

  async close(): Promise<void> {
    clearInterval(this.#ticking);
    this.#closing.abort();
    await Promise.all(this.#parts.discoveries.map((discovery) => discovery.close().catch(() => undefined)));
  }

  /** One event, and everything that follows from it. */
  #step(happening: Happening): void {
    if (this.#closing.signal.aborted) return;
    const mesh = { members: this.#parts.members() };
    const event = { ...happening, mesh, jitter: Math.random() } as FindingEvent; // spreading loses which kind it is
    const { state, actions } = findingStep(this.#state, event, this.#parts.clock.now());
    this.#state = state;
    for (const action of actions) this.#perform(action);
    if (state.phase === "settled") this.#settled.end();
  }

  #perform(action: FindingAction): void {
    const { log } = this.#parts;
    switch (action.kind) {
      case "look":
        return void this.#look();
      case "dial":
        return void this.#dial(action.listing);
      case "create":
        return log.write("info", { event: "mesh-created", mesh: this.#parts.settings.meshId });
      case "list":
        return this.#announce();
      case "unlist":
        this.#told = undefined;
        for (const discovery of this.#parts.discoveries) discovery.withdraw().catch(() => undefined);
        this.#standing.clear();
        return this.#parts.onChange();
      case "nothing-found":
        this.#settled.end();
        if (!this.#saidNothingFound) log.write("warn", { event: "mesh-not-found" });
        this.#saidNothingFound = true;
        return;
      case "not-joined":
        return log.write("warn", { event: "mesh-not-joined", peer: action.listing.endpointId, why: action.why });
    }
  }

  async #look(): Promise<void> {
    const { discoveries, settings, timing } = this.#parts;
    const { signal } = this.#closing;
    const answers = await Promise.all(
      discoveries.map(async (discovery) => {
        try {
          const finding = discovery.find({ ms: timing.findMs, signal, name: settings.name });
          // a way to look that forgets its own deadline must not end all looking
          return await withDeadline(finding, { what: "looking for meshes", ms: timing.findMs * 2, signal });
        } catch {
          return []; // what cannot be asked has found nothing; that it could not be told either is said there
        }
      }),
    );
    this.#step({ kind: "found", listings: answers.flat() });
  }

  async #dial({ token, endpointId, source }: Listing): Promise<void> {
    const { join, log, timing } = this.#parts;
    const giveUp = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, giveUp.signal]);
    try {
      const joining = join(decodeInvite(token).address, signal);
      await withDeadline(joining, { what: "joining", ms: timing.joinMs, code: "E_UNREACHABLE", signal });
      log.write("info", { event: "mesh-found", peer: endpointId, source });
      this.#saidNothingFound = false;
      this.#step({ kind: "joined", id: endpointId });
    } catch (thrown) {
      giveUp.abort();
      if (this.#closing.signal.aborted) return;
      const { code, message } = toMeshError(thrown);
      log.write("info", { event: "join-failed", peer: endpointId, code, what: message });
      this.#step({ kind: "failed", id: endpointId });
    }
  }

  // ---- being listed

  #announce(): void {
    const offer = this.#parts.offer();
    this.#told = { text: JSON.stringify(offer), atMs: this.#parts.clock.now() };
    for (const discovery of this.#parts.discoveries) void this.#announceAt(discovery, offer);
  }

  async #announceAt(discovery: Discovery, offer: Offer): Promise<void> {
    const { log, onChange } = this.#parts;
    const { source } = discovery;
    const before = this.#standing.get(source);
    try {
      await discovery.announce(offer);
      this.#standing.set(source, true);
      if (before !== true) log.write("info", { event: "mesh-listed", source, invite_only: offer.inviteOnly });
    } catch (thrown) {
      this.#standing.set(source, false);
      const { code, message } = toMeshError(thrown);
      if (before !== false) log.write("warn", { event: "mesh-not-listed", source, code, what: message });
    }
    if (before !== this.#standing.get(source)) onChange();
  }

  /** News of models and members are told soon, but not in a rush. */
  #renew(): void {
    const { clock, timing, offer } = this.#parts;
    if (!this.#told || clock.now() - this.#told.atMs < timing.listingNewsMs) return;
    if (JSON.stringify(offer()) !== this.#told.text) this.#announce();
  }
}

/** A promise that somebody else ends, once. */
class Waiter {
  end: () => void = () => undefined;
  readonly done: Promise<void> = new Promise((resolve) => (this.end = resolve));
}

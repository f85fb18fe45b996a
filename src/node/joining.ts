/**
 * How a node comes into its mesh and stays in it: admitted by invites, joined to the members that they name, found by name
 * and listed for others. Knows no bytes; admission.ts decides who is a member, finder.ts what to look for.
 */
import type { EndpointId } from "../base/brand.ts";
import type { Clock } from "../base/clock.ts";
import { sleep, withDeadline } from "../base/deadline.ts";
import { isMeshError, MeshError, toMeshError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Signal } from "../base/signal.ts";
import type { DiscoveryParts, Offer } from "../discovery/discovery.ts";
import { bareToken } from "../discovery/listing.ts";
import type { Mesh } from "../mesh/mesh.ts";
import type { Invite } from "../wire/invite.ts";
import type { Admission } from "./admission.ts";
import type { NodeConfig } from "./config.ts";
import { defaults } from "./defaults.ts";
import { Finder, type PublicationState } from "./finder.ts";
import { findingTiming } from "./finding.ts";
import { type FindingConfig, isMet } from "./finding-config.ts";

export interface JoiningOptions {
  readonly self: EndpointId;
  readonly config: Pick<NodeConfig, "join" | "finding" | "policy">;
  readonly mesh: Mesh;
  readonly admission: Admission;
  readonly clock: Clock;
  readonly log: Log;
  /** Secret key of listings, made when it is needed. */
  readonly nostrKey: () => Uint8Array;
  /** An invite of this node without a grant: what a listing may hold. */
  readonly token: () => string;
  /** Models of the whole mesh. */
  readonly models: () => readonly string[];
  readonly onChange: () => void;
  /** Fires when the node stops. */
  readonly stopping: Signal;
}

export class Joining {
  readonly #options: JoiningOptions;
  #finder: Finder | undefined;

  constructor(options: JoiningOptions) {
    this.#options = options;
  }

  get publication(): PublicationState {
    return this.#finder?.publication ?? "private";
  }

  /**
   * Waits for the first attempts only; what did not succeed is tried again for as long as the node runs.
   * @throws E_INVITE nobody will admit this node by these invites, so that there is nothing to try again
   */
  async start(): Promise<void> {
    const { config, admission } = this.#options;
    if (admission.role === undefined && config.join.length === 0) throw neverAdmitted(admission);
    // one after the other: the first that admits us is enough, and no use of another is spent
    let refused: MeshError | undefined;
    let mayStill = false;
    for (const invite of config.join) {
      try {
        await this.#join(invite);
        mayStill = true;
      } catch (thrown) {
        refused ??= toMeshError(thrown);
      }
    }
    if (refused !== undefined && !mayStill) throw refused;
    if (config.finding) await this.#find(config.finding);
  }

  async close(): Promise<void> {
    await this.#finder?.close();
  }

  async #join(invite: Invite): Promise<void> {
    const { mesh, admission, log, stopping } = this.#options;
    const { address } = invite;
    try {
      const joining = this.#admitted(invite).then(() => mesh.join(address, stopping));
      await withDeadline(joining, { what: "joining", ms: defaults.joinMs, code: "E_UNREACHABLE" });
    } catch (thrown) {
      const { code, message } = toMeshError(thrown);
      const isFinal = code === "E_INVITE" && admission.role === undefined;
      const next = isFinal ? "" : "; trying again";
      log.write("warn", { event: "join-failed", peer: address.id, code, what: `${message}${next}` });
      if (isFinal) throw thrown;
      if (admission.role === undefined) this.#askAgain(invite).catch(() => undefined); // ends with the node
    }
    mesh.keepJoined(address);
  }

  /** Nothing to do where a credential counts already, or none is asked for. */
  #admitted(invite: Invite): Promise<boolean> {
    const { mesh, admission, stopping } = this.#options;
    return admission.join(invite, (signal) => mesh.openSealUnmet(invite.address, signal), stopping);
  }

  /** Until we are a member, by this invite or by another one, or its issuer says no. */
  async #askAgain(invite: Invite): Promise<void> {
    const { mesh, admission, log, stopping } = this.#options;
    for (let waitMs: number = defaults.admissionRetryMs[0]; admission.role === undefined;) {
      await sleep(waitMs, stopping);
      waitMs = Math.min(2 * waitMs, defaults.admissionRetryMs[1]);
      try {
        if (await this.#admitted(invite)) mesh.keepJoined(invite.address);
      } catch (thrown) {
        if (!isMeshError(thrown) || thrown.code !== "E_INVITE") continue;
        const { code, message } = thrown;
        return log.write("error", { event: "join-failed", peer: invite.address.id, code, what: message });
      }
    }
  }

  /** Waits a while for what the first look brings; it goes on for as long as the node does. */
  async #find(finding: FindingConfig): Promise<void> {
    const { self, config, mesh, clock, log, onChange, stopping } = this.#options;
    const parts: DiscoveryParts = {
      settings: finding,
      clock,
      nostrKey: this.#options.nostrKey(),
      onTrouble: (source, { code, message }) =>
        log.write("warn", { event: "mesh-not-listed", source, code, what: message }),
    };
    // WebSockets and multicast: most nodes are told whom to join
    const { discoveryKinds } = await import("../discovery/registry.ts");
    if (stopping.aborted) return; // nobody would close what is started now
    const finder = new Finder({
      settings: {
        ...finding,
        self,
        meshId: this.#meshId(),
        demands: (minimum) => isMet(minimum, config.policy),
        timing: findingTiming,
      },
      discoveries: discoveryKinds.filter((kind) => kind.wanted(finding)).map((kind) => kind.start(parts)),
      clock,
      log,
      members: () => new Set(mesh.peers.flatMap(({ id, met }) => (met ? [id] : []))),
      join: (address, signal) => mesh.join(address, signal),
      offer: () => this.#offer(finding),
      onChange,
      timing: {
        findMs: defaults.findMs,
        joinMs: defaults.foundJoinMs,
        tickMs: defaults.findingTickMs,
        listingNewsMs: defaults.listingNewsMs,
      },
    });
    this.#finder = finder;
    finder.start();
    const options = { what: "finding a mesh", ms: defaults.firstFindMs, signal: stopping };
    await withDeadline(finder.settled, options).catch(() => undefined);
  }

  /** What the world may know of this mesh: names and numbers, and an invite that admits nobody by itself. */
  #offer({ name, region, inviteOnly }: FindingConfig): Offer {
    const { mesh, models, token } = this.#options;
    const met = mesh.peers.filter((peer) => peer.met);
    const clients = met.filter(({ role }) => role === "client").length;
    return {
      token: bareToken(token()),
      meshName: name,
      meshId: this.#meshId(),
      serving: models(),
      wanted: [],
      onDisk: [],
      totalVramBytes: 0,
      nodeCount: met.length - clients + 1,
      clientCount: clients,
      maxClients: 0,
      region,
      inviteOnly,
    };
  }

  /** An open mesh that was joined by address, and has not told its id so far, goes by the node that lists it. */
  #meshId(): string {
    return this.#options.admission.meshId ?? this.#options.self.slice(0, 32);
  }
}

function neverAdmitted({ meshId = "" }: Admission): MeshError {
  const why = `this node was not admitted to its mesh ${meshId.slice(0, 8)}, or not for longer than until now`;
  return new MeshError("E_INVITE", `${why}: start it with an invite (--join-file)`);
}

/**
 * Who may get a prompt, and how: (what a host has shown, policy, now) -> decision. A prompt travels by a SealedRoute or a
 * PlainRoute, and only this file makes them: there is no other code path to a stream, and none from one kind to the other.
 *
 * @see design.md §4, §5.5
 */
import type { EndpointId } from "../base/brand.ts";
import type { ChunkOrder } from "../crypto/seal.ts";
import type { Policy } from "./policy.ts";

/** What is believed about a host's inference key, and from where (wire.md §2, design.md §5.4). */
export type KeyStanding =
  /** In a record signed by the host's endpoint key. */
  | { readonly kind: "record"; readonly key: Uint8Array; readonly notAfterMs: number }
  /** Field 36 on the host's own connection, from a host that never had a record. */
  | { readonly kind: "announced"; readonly key: Uint8Array }
  /** Showed a key once, shows none now that may be used: somebody strips it, or it has expired. */
  | { readonly kind: "withheld"; readonly why: string }
  /** Showed none, on its own connection, after our own gossip exchange there. */
  | { readonly kind: "none" }
  /** Nothing is known at first hand. */
  | { readonly kind: "unknown" };

export interface HostFacts {
  readonly id: EndpointId;
  readonly key: KeyStanding;
}

const made: unique symbol = Symbol("made by policy/decide");

export interface SealedRoute {
  readonly kind: "sealed";
  readonly host: EndpointId;
  /** 32 bytes. */
  readonly hostKey: Uint8Array;
  readonly order: ChunkOrder;
  /** Only what a record says may be believed through somebody else. */
  readonly relayable: boolean;
  readonly [made]: true;
}

export interface PlainRoute {
  readonly kind: "plain";
  readonly host: EndpointId;
  readonly [made]: true;
}

export type Decision =
  | { readonly kind: "allow"; readonly route: SealedRoute | PlainRoute }
  | { readonly kind: "refuse"; readonly rule: "key-withheld" | "no-key" | "plain-not-allowed"; readonly why: string };

/**
 * Decides about each host that serves the model, in order. A host without a key is refused as long as another one opens
 * envelopes: plain is for a model that nobody offers sealed.
 */
export function decide(hosts: readonly HostFacts[], policy: Policy, nowMs: number): readonly Decision[] {
  const sealed = hosts.map((host) => sealedRoute(host, nowMs));
  const anySealed = sealed.some((route) => route !== undefined);
  return hosts.map((host, index): Decision => {
    const route = sealed[index];
    return route ? { kind: "allow", route } : withoutKey(host, policy, anySealed);
  });
}

function sealedRoute(host: HostFacts, nowMs: number): SealedRoute | undefined {
  const { id, key } = host;
  if (key.kind === "record" && nowMs <= key.notAfterMs) {
    return { kind: "sealed", host: id, hostKey: key.key, order: "indexed", relayable: true, [made]: true };
  }
  if (key.kind === "announced") {
    return { kind: "sealed", host: id, hostKey: key.key, order: "unordered", relayable: false, [made]: true };
  }
  return undefined;
}

function withoutKey(host: HostFacts, policy: Policy, anySealed: boolean): Decision {
  const { id, key } = host;
  switch (key.kind) {
    case "record":
      return refuse("key-withheld", "its inference key has expired and it has published no other");
    case "withheld":
      return refuse("key-withheld", key.why);
    case "announced":
    case "unknown":
      return refuse("no-key", "nothing is known about its inference key at first hand");
    case "none":
      if (anySealed)
        return refuse("plain-not-allowed", "it has no inference key, and another host of this model has one");
      if (!policy.plain) return refuse("plain-not-allowed", "it has no inference key, and policy demands one");
      return { kind: "allow", route: { kind: "plain", host: id, [made]: true } };
  }
}

function refuse(rule: "key-withheld" | "no-key" | "plain-not-allowed", why: string): Decision {
  return { kind: "refuse", rule, why };
}

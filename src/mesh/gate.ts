/**
 * Who may be a member: asked about every peer that shows itself on its own connection, before anything that it says is
 * taken or answered; and again about those that others name, and that are known. The mesh knows no grants and no owners;
 * what does is built in node/ and passed in.
 */
import type { EndpointId } from "../base/brand.ts";
import type { VerifiedRecord } from "../crypto/record.ts";
import type { MemberRole } from "../wire/admission.ts";

/** What a peer shows of itself, or what is known of it. */
export interface Credentials {
  readonly id: EndpointId;
  /** From itself, on its own connection, now; or from others, or kept since. What is not signed by the node itself is not its word then. */
  readonly from: "itself" | "elsewhere";
  /** Verified; undefined: it signs none, as a reference node. */
  readonly record: VerifiedRecord | undefined;
  /** Field 28 as sent, not yet checked. */
  readonly ownership: Uint8Array | undefined;
}

export type Admittance =
  | { readonly kind: "member"; readonly role: MemberRole }
  /** `why` in our own words, for a log and a status: nothing of what the peer wrote. */
  | { readonly kind: "refused"; readonly why: string };

/** Cheap to ask again about the same bytes: every gossip does. */
export interface Gate {
  judge(shown: Credentials): Admittance;
}

/** An open mesh: whoever knocks is a member, and may do everything. */
export const openGate: Gate = { judge: () => ({ kind: "member", role: "host" }) };

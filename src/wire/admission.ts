/**
 * How a node becomes a member of a mesh: what a grant, a proof and a credential are as bytes (stream 0x06 of
 * "sealmesh/1"). Bytes and fields only: signatures and times are checked in crypto/.
 */

/** What a member may do: ask; ask, answer and carry; carry alone. */
export const memberRoles = ["client", "host", "relay"] as const;
export type MemberRole = (typeof memberRoles)[number];

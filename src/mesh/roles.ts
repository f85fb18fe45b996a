/**
 * What members may do, by the role that they were admitted with. Choosing asks it before a member is taken for a host or a
 * relay. Who has which role is not decided here: mesh/gate.ts has judged it, and whoever builds the node passes it in.
 */
import type { EndpointId } from "../base/brand.ts";
import type { MemberRole } from "../wire/admission.ts";

export interface Roles {
  mayAnswer(id: EndpointId): boolean;
  mayCarry(id: EndpointId): boolean;
}

/** An open mesh: everybody may do everything. */
export const everyRole: Roles = { mayAnswer: () => true, mayCarry: () => true };

/** @param roleOf undefined: no member, or none that has shown what it was admitted as; it may nothing */
export function rolesBy(roleOf: (id: EndpointId) => MemberRole | undefined): Roles {
  return {
    mayAnswer: (id) => roleOf(id) === "host",
    mayCarry: (id) => roleOf(id) === "host" || roleOf(id) === "relay",
  };
}

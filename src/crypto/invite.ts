/** Invites as people paste them, with what needs a key checked too: see wire/invite.ts for their form. */
import { equal } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { decodeInvite, type Invite } from "../wire/invite.ts";
import { bearerKeyOf, verifyGrant } from "./admission.ts";

/**
 * Whether its grant has expired is not looked at: a member that holds a credential starts by the same invite again.
 *
 * @param token as pasted
 * @throws      E_INVITE with a sentence that says what is wrong with it
 */
export function readInvite(token: string): Invite {
  const invite = decodeInvite(token);
  const { granted } = invite;
  if (granted === undefined) return invite;
  if (!equal(bearerKeyOf(granted.bearerSeed), granted.grant.bearer)) {
    throw new MeshError("E_INVITE", "the invite's secret does not belong to its grant: it was put together or damaged");
  }
  try {
    verifyGrant(granted.bytes);
  } catch (cause) {
    const why = "was not signed by the node that it names: it was changed on its way";
    throw new MeshError("E_INVITE", `the invite's grant ${why}`, { cause });
  }
  return invite;
}

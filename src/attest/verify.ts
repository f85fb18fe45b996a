/**
 * The one door to all kinds: picks the verifier of an item and holds the bounds that no kind needs to know. Pure, like
 * the verifiers behind it.
 */
import { evidenceKinds } from "./registry.ts";
import { isWithinEvidenceLimits } from "../wire/evidence.ts";
import { endedEarly, type Verified, type VerifyInput } from "./evidence.ts";
import { fail, unknown } from "./verdict.ts";

/** Claims and a verdict per factor; never throws for what stands in the item. */
export function verifyEvidence(input: VerifyInput): Verified {
  const kind = evidenceKinds.find((known) => known.kind === input.item.kind);
  if (kind === undefined) return endedEarly({ parse: unknown("unknown-kind") });
  if (!isWithinEvidenceLimits(input.item)) {
    return endedEarly({ parse: fail("too-large") });
  }
  return kind.verify(input);
}

/**
 * Proof in words: what each tier shows and does not, what each factor asks, and what a host lacks for a tier. The one
 * table of such sentences; CLI, errors and docs/attestation.md take them from here, the last held by a test.
 */
import { type ReasonCode, reasons } from "../attest/reasons.ts";
import type { Factor, Lack, Tier, Verdict } from "../attest/verdict.ts";

export interface TierText {
  readonly proves: string;
  readonly doesNotProve: string;
}

export const tierTexts: Readonly<Record<Tier, TierText>> = {
  none: {
    proves: "Nothing. Whatever the host shows is its own word.",
    doesNotProve: "Anything, not even that evidence which looks good is the host's own and no copy.",
  },
  key: {
    proves:
      "One party holds, now, the key that signed the evidence, and it says that it belongs to this node and this inference key.",
    doesNotProve:
      "That hardware holds the key: a program can sign the same. Any word about the machine or its software.",
  },
  pinned: {
    proves: "All of `key`, and the key is the one that you confirmed, or that this node met in an earlier session.",
    doesNotProve: "That the key was good when it was pinned, or that hardware holds it.",
  },
  vendor: {
    proves: "All of `key`, and a chain to a root that you trust says that a chip of that maker holds the key.",
    doesNotProve:
      "That the chip sits in the machine that answers you, which software runs there, or that its owner cannot read prompts.",
  },
  measured: {
    proves: "All of `vendor`, and the chip measured the code that was started: a build that you accept.",
    doesNotProve:
      "What was loaded after the measurement, or that nobody with tools can reach into the machine's memory.",
  },
};

/** What a factor asks. */
export const factorTexts: Readonly<Record<Factor, string>> = {
  parse: "Is it complete and well-formed?",
  signature: "Did the attested key sign it?",
  chain: "Does a maker vouch for it, up to a root that you trust?",
  revocation: "Has the maker taken that back?",
  binding: "Is it for this node, this inference key and this question?",
  fresh: "Was it made now, for you, or may it be a copy?",
  "key-residence": "Where is the attested key kept?",
  "device-state": "Is the machine locked down as it should be?",
  debug: "Can somebody look into it?",
  tcb: "Is its firmware recent enough?",
  measurement: "Is its code a build that you accept?",
  "gpu-link": "Does the attested GPU belong to the attested machine?",
};

type OtherLack = Exclude<Lack, Factor>;

const otherLacks: Readonly<Record<OtherLack, string>> = {
  challenge:
    "Its key has answered no challenge. Only a running node can ask for one, over its connection: a file cannot hold the answer.",
  pin: "You have not confirmed its key, and no earlier session of this node has met it.",
  "pin-disagrees": "Its key is not the one that was pinned for this node.",
  kind: "Evidence of this kind never reaches that tier.",
};

/** The sentence for a reason. */
export function explainReason(reason: ReasonCode): string {
  return reasons[reason];
}

/** One sentence for what is missing: a factor's own reason, or what evidence cannot bring along. */
export function explainLack(lack: Lack, verdict: Verdict): string {
  return isOther(lack) ? otherLacks[lack] : explainReason(verdict[lack].reason);
}

function isOther(lack: Lack): lack is OtherLack {
  return lack in otherLacks;
}

/**
 * Proof in words: what each tier shows and does not, what each factor asks, what a host lacks for a tier, and what it says
 * of its doors. The one table of such sentences; CLI, errors, docs/attestation.md and docs/hardening.md take them from
 * here, the pages held by tests.
 */
import { type ReasonCode, reasons } from "../attest/reasons.ts";
import type { Factor, Lack, Tier, Verdict } from "../attest/verdict.ts";
import type { Door, Posture } from "../wire/posture.ts";
import { type HardenedLack, hardenedLacks, type PostureFacts } from "./hardened.ts";

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

// ---- posture: the host's own word, and every sentence says so

/** What a host says when it calls a door closed. */
export const doorTexts: Readonly<Record<Door, string>> = {
  environment: "No variable that its starter left makes it load code, or write down keys or memory.",
  arguments: "It was started without flags that load code, open a debugger, or write memory to a file.",
  "core-dumps": "A crash leaves no image of its memory.",
  debugger:
    "From its start on, other programs of its user can neither attach to it nor open its memory, and none was attached then.",
  inspector: "Node's own debugger is shut, and no signal opens it.",
  privileges: "Nothing that it starts can gain rights that it does not have.",
  "memory-lock": "Inference keys stay in memory and do not go to swap.",
  "ptrace-scope": "The system lets programs attach to their own children at most.",
  swap: "The machine has no swap.",
  "core-pattern": "Images of crashed programs are handed to no other program.",
  lockdown: "The kernel is locked down, in part at least: root cannot change it while it runs.",
  "secure-boot": "The machine starts signed systems only.",
  sip: "macOS protects its own files and processes (System Integrity Protection), without exceptions.",
  rdma: "Other machines cannot reach into its memory over the network.",
  "hardened-runtime": "The program is signed with the hardened runtime.",
};

/** What hardenedLacks found, each with what the host says of it. */
export function hardenedLacksText(posture: Posture): string {
  const { platform, doors } = posture;
  const textOf = (lack: HardenedLack): string => {
    if (lack === "platform") return `nothing is defined for its platform (${platform})`;
    return lack === "hardening" ? "hardening (switched off, wholly or in part)" : `${lack} (${doors[lack]})`;
  };
  return hardenedLacks(posture).map(textOf).join(", ");
}

/** How far the word of a posture reaches. */
export function postureReach({ engine }: Posture): string {
  switch (engine) {
    case "external":
      return "Its engine is another program, which sees the prompts and of which nothing is said.";
    case "embedded":
      return "This is said of the node and of its engine.";
    case "none":
      return "It has no engine of its own.";
  }
}

/** One or two sentences on what a host says of its doors; undefined when it says nothing. */
export function explainPosture(facts: PostureFacts): string | undefined {
  switch (facts.kind) {
    case "none":
      return undefined;
    case "unsigned":
      return "It tells a posture in gossip alone, where nobody signs it: that counts for nothing.";
    case "disagrees":
      return "Its record and its evidence are both signed, and tell different postures.";
    case "signed": {
      const { posture } = facts;
      const lacks = hardenedLacksText(posture);
      const said = lacks === "" ? "that it is hardened" : `that it is not hardened: ${lacks}`;
      return `The host says, signed, ${said}. ${postureReach(posture)}`;
    }
  }
}

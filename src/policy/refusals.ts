/**
 * Why a host is refused: the one table of rules and sentences. decide.ts picks the rule; CLI, errors, status and
 * docs/policy.md print what stands here. The words for factors are those of explain.ts. Nothing that a peer wrote gets
 * into a sentence, except what has the form of a name or of hex digits.
 */
import { fingerprintOf, type HostProof, type PieceProof, type PinnedValue } from "../attest/proof.ts";
import { type Factor, factors, type Lack, type Tier } from "../attest/verdict.ts";
import type { EndpointId } from "../base/brand.ts";
import { withoutControls } from "../wire/gossip.ts";
import { explainLack } from "./explain.ts";
import { isDigest, isKindName, isPinnable } from "./pins.ts";

/** In the order in which a decision comes to them. */
export type RuleName =
  | "host-not-listed"
  | "owner-distrusted"
  | "owner-not-accepted"
  | "key-withheld"
  | "no-key"
  | "plain-not-allowed"
  | "encryption-required"
  | "builds-missing"
  | "build-not-told"
  | "build-disagrees"
  | "build-revoked"
  | "builds-expired"
  | "build-unknown"
  | "pin-changed"
  | "not-asked"
  | "no-evidence"
  | "challenge-failed"
  | "challenge-missed"
  | "stale"
  | "no-challenge"
  | "challenge-unanswered"
  | "tier-not-reached"
  | "posture-missing"
  | "posture-unsigned"
  | "posture-disagrees"
  | "not-hardened";

export interface RefusalRule {
  /** The setting that asks; "always" where none switches it off. A refusal names the one that is in force. */
  readonly demand: string;
  /** What the rule asks. */
  readonly asks: string;
  /** What is told of a refused host; names in braces are filled in. */
  readonly sentence: string;
  /** What a person can do. */
  readonly doNext: string;
}

export interface Refusal {
  readonly rule: RuleName;
  /** The flag with its value, e.g. "--require-attested-hosts=vendor", the key of the file, or "always". */
  readonly demand: string;
  /** What keeps the piece that lacks least from the tier; empty for rules that do not look at evidence. */
  readonly lacks: readonly Lack[];
  /** Each thing that is wrong by itself; one at least. */
  readonly reasons: readonly RefusalReason[];
  /** Demand, rule and sentences, ready to print. */
  readonly text: string;
}

export interface RefusalReason {
  /** What was found: the reason of a factor, what else the evidence lacks, or the rule. */
  readonly code: string;
  readonly sentence: string;
}

export const always = "always";
export const demands: Readonly<
  Record<"hosts" | "owners" | "ownership" | "encryption" | "attested" | "hardened" | "builds", string>
> = {
  hosts: "--allow-hosts",
  owners: "[policy] owners",
  ownership: "--trust-policy",
  encryption: "--require-encryption",
  attested: "--require-attested-hosts",
  hardened: "--require-hardened",
  builds: "--allow-builds",
};

export const refusalRules: Readonly<Record<RuleName, RefusalRule>> = {
  "host-not-listed": {
    demand: demands.hosts,
    asks: "Is it one of the hosts that you listed?",
    sentence: "It is not on the list of hosts that may be asked.",
    doNext: "Add its endpoint id to the list, if you mean it to be asked.",
  },
  "owner-distrusted": {
    demand: demands.ownership,
    asks: "Were neither the host, its owner nor the owner's claim revoked here, and does it have such an owner as is demanded?",
    sentence: "It is refused: {why}.",
    doNext: "See `sealmesh owner status`; the host's owner can sign anew with `sealmesh owner sign-node`.",
  },
  "owner-not-accepted": {
    demand: demands.owners,
    asks: "Has one of the owners that you listed signed that the host is theirs?",
    sentence: "Its owner is {owner}, and only those on your list are accepted.",
    doNext: "Add the owner's id to the list, or let the owner renew the claim: it holds for some days only.",
  },
  "key-withheld": {
    demand: always,
    asks: "Does a host that has shown an inference key show one that can be used?",
    sentence: "There is no key to seal to: {why}.",
    doNext: "Restart the host, which makes a new key; if it stays so, somebody on the way may be taking the key out.",
  },
  "no-key": {
    demand: always,
    asks: "Is its inference key, or that it has none, known from the host itself?",
    sentence: "Nothing is known about its inference key at first hand.",
    doNext:
      "Let this node reach the host itself, or join with the host's own invite; what others tell of it is not believed.",
  },
  "plain-not-allowed": {
    demand: `${always}, or ${demands.encryption}`,
    asks: "May a prompt go to it in the clear? Never where another host of the model opens sealed ones.",
    sentence: "It has no inference key, and {why}.",
    doNext: "Update the host to a version that seals, or ask one that does.",
  },
  "encryption-required": {
    demand: demands.attested,
    asks: "Is there an inference key that evidence can vouch for?",
    sentence: "It has no inference key, so nothing can be sealed to it, and no evidence can be tied to it.",
    doNext: "Update the host to a version that seals, or ask one that does.",
  },
  "builds-missing": {
    demand: demands.builds,
    asks: "Is there a list of accepted builds that can be used?",
    sentence: "There is no list of accepted builds to go by.",
    doNext: "See in `sealmesh status` why the file or address of `--allow-builds` gave none.",
  },
  "build-not-told": {
    demand: demands.builds,
    asks: "Does the host say, signed, which build it runs?",
    sentence: "It says nothing, signed, of the build that it runs.",
    doNext: "Run a version of sealmesh on the host that measures itself: `sealmesh measure` there prints the digest.",
  },
  "build-disagrees": {
    demand: demands.builds,
    asks: "Do its record and its evidence name the same build?",
    sentence: "Its record names the build {digest}, and its evidence another one: {other}.",
    doNext:
      "Ask again in a moment: it may have just been updated. If it stays so, see whether two programs run under its identity.",
  },
  "build-revoked": {
    demand: demands.builds,
    asks: "Is its build one that no signer of your lists has taken back?",
    sentence: "The host says, signed, that it runs the build {digest} ({version}), which was revoked.",
    doNext: "Update the host to a build that is accepted.",
  },
  "builds-expired": {
    demand: demands.builds,
    asks: "Is the list in force, and what it says of the build?",
    sentence: "The host says, signed, that it runs the build {digest}. {why}",
    doNext: "Get a newer list from whoever signs it; `sealmesh builds show FILE` tells from when until when one holds.",
  },
  "build-unknown": {
    demand: demands.builds,
    asks: "Is the build that it says it runs on a list? A host can lie about it: the word is its own.",
    sentence: "The host says, signed, that it runs the build {digest}, which is on no list of accepted ones.",
    doNext:
      "Compare the digest with what `sealmesh measure` prints for a copy that you trust. If it is the same, let it be put on the list.",
  },
  "pin-changed": {
    demand: always,
    asks: "Does it show the key and the build that were pinned for it?",
    sentence: "It shows {shown}, but {pinned} is pinned for it. {accept}",
    doNext:
      "Ask whoever runs the host whether its machine, its TPM or its program was changed, compare the fingerprints, and then run the command.",
  },
  "not-asked": {
    demand: `${demands.attested}, or ${demands.hardened}`,
    asks: "Was it asked for evidence since this node started?",
    sentence: "It has not been asked for evidence yet.",
    doNext: "Nothing: it is asked before a prompt would go to it. `sealmesh verify ID` asks at once.",
  },
  "no-evidence": {
    demand: demands.attested,
    asks: "Has it shown any evidence?",
    sentence: "It has shown no evidence.",
    doNext: "Let the host make some: it needs a TPM (`serve --tpm`), or a Mac with a Secure Enclave.",
  },
  "challenge-failed": {
    demand: demands.attested,
    asks: "Was every challenge that came back signed by the attested key?",
    sentence: "A challenge came back with a wrong signature; its key counts for nothing until it answers one rightly.",
    doNext: "Look at the host before you ask it again: its evidence may belong to another machine.",
  },
  "challenge-missed": {
    demand: demands.attested,
    asks: "Does its key still answer challenges?",
    sentence:
      "Its key has left three challenges in a row without an answer, and counts for nothing until it answers one.",
    doNext: "See on the host whether its TPM or Secure Enclave still answers; nothing needs to be done here.",
  },
  stale: {
    demand: demands.attested,
    asks: "Is all that the tier needs still in date?",
    sentence: "{reasons}",
    doNext:
      "See on the host why it makes no new evidence, and compare the clocks; `[policy] evidence_max_age` says how old it may be.",
  },
  "no-challenge": {
    demand: demands.attested,
    asks: "Can it be challenged at all? Nodes of mesh-llm cannot.",
    sentence: "It can answer no challenge, so its evidence may be a copy of another's.",
    doNext:
      "Run sealmesh on the host. `--accept-unchallenged` takes such evidence by its own time where `key` is demanded; it stays `none`.",
  },
  "challenge-unanswered": {
    demand: demands.attested,
    asks: "Has its key answered a challenge?",
    sentence: "Its key has answered no challenge yet.",
    doNext: "Ask again in a moment; if it stays so, see whether the host can be reached and still has that key.",
  },
  "tier-not-reached": {
    demand: demands.attested,
    asks: "Does one piece of its evidence reach the tier?",
    sentence: "Its {kind} evidence reaches `{tier}`. It lacks: {lacks}",
    doNext: "Give the host what it lacks, or demand less: docs/attestation.md says what each tier is worth.",
  },
  "posture-missing": {
    demand: demands.hardened,
    asks: "Does the host say, signed, how it is closed to others?",
    sentence: "It says nothing, signed, of how it is closed to others; what an older record of it said counts no more.",
    doNext:
      "Update the host: this version says it by itself. If it did so before, ask whoever runs it what was changed.",
  },
  "posture-unsigned": {
    demand: demands.hardened,
    asks: "Is what it says signed, in its record or in evidence whose key has answered a challenge?",
    sentence: "It tells a posture in gossip alone, where nobody signs it: that counts as unknown.",
    doNext: "Run sealmesh on the host. Nodes of mesh-llm sign no posture, whatever they tell.",
  },
  "posture-disagrees": {
    demand: `${demands.hardened}, or ${demands.builds}`,
    asks: "Do its record and its evidence say the same?",
    sentence: "Its record and its evidence are both signed, and tell different postures.",
    doNext:
      "Ask again in a moment: it may have just changed. If it stays so, look at the host, and whether two programs run under its identity.",
  },
  "not-hardened": {
    demand: demands.hardened,
    asks: "Are all doors closed that its platform needs closed? The answer is the host's own word.",
    sentence: "The host says, signed, that it is not hardened: {lacks}. {reach}",
    doNext: "See `sealmesh status` on the host, and docs/hardening.md for what closes each door.",
  },
};

/** Rules about what a host says of itself. */
export const postureRules: ReadonlySet<RuleName> = new Set<RuleName>([
  "posture-missing",
  "posture-unsigned",
  "posture-disagrees",
  "not-hardened",
]);

/** Rules about the build that a host says it runs. */
export const buildRules: ReadonlySet<RuleName> = new Set<RuleName>([
  "builds-missing",
  "build-not-told",
  "build-disagrees",
  "build-revoked",
  "builds-expired",
  "build-unknown",
]);

/** What came in the way of newer evidence, in our own words. */
const whyNone = "Asking it for evidence failed: {why}.";
const alsoLacks = "It also lacks: {lacks}";

/** A refusal by a rule that looks at no evidence. */
export function refusal(rule: RuleName, demand: string, names: Readonly<Record<string, string>> = {}): Refusal {
  return withoutLacks(rule, demand, [filled(refusalRules[rule].sentence, names)]);
}

/** Nothing was shown. */
export function refusalWithout(demand: string, { asked, why }: Pick<HostProof, "asked" | "why">): Refusal {
  if (!asked && why === undefined) return refusal("not-asked", demand);
  const { sentence } = refusalRules["no-evidence"];
  return withoutLacks("no-evidence", demand, [sentence, ...whyText(why)]);
}

function withoutLacks(rule: RuleName, demand: string, sentences: readonly string[]): Refusal {
  const reasons = [{ code: rule, sentence: sentences.join(" ") }];
  return { rule, demand, lacks: [], reasons, text: textOf(rule, demand, sentences) };
}

/** What was found in the piece of evidence that a refusal is about. */
export interface Shortfall {
  readonly piece: PieceProof;
  /** Whose it is. */
  readonly id: EndpointId;
  /** What it reaches. */
  readonly tier: Tier;
  readonly lacks: readonly Lack[];
  /** Why the host has shown no newer evidence. */
  readonly why: string | undefined;
  /** {@link Policy.acceptArguments} */
  readonly acceptArguments: string | undefined;
}

/** A refusal for what a piece of evidence lacks. */
export function refusalOf(rule: RuleName, demand: string, shortfall: Shortfall): Refusal {
  const { piece, tier, lacks, why } = shortfall;
  const told = toldBy(rule, shortfall);
  const others = lacks.filter((lack) => !told.includes(lack));
  const names = {
    ...(rule === "pin-changed" ? pinNames(shortfall) : {}),
    kind: kindText(piece.item.kind),
    tier,
    lacks: lacksText(lacks, piece),
    reasons: told.map((lack) => explainLack(lack, piece.verdict)).join(" "),
  };
  const sentences = [
    filled(refusalRules[rule].sentence, names),
    ...(others.length > 0 ? [filled(alsoLacks, { lacks: lacksText(others, piece) })] : []),
    ...(rule === "stale" ? whyText(why) : []),
  ];
  const own = { code: rule, sentence: sentences[0] ?? "" };
  // these sentences are a list of what it lacks, or say no more
  const isOnlyLacks = rule === "tier-not-reached" || rule === "stale";
  const named = lacks.filter((lack) => isOnlyLacks || !told.includes(lack));
  const reasons = [...(isOnlyLacks ? [] : [own]), ...named.map((lack) => reasonFor(lack, piece))];
  return { rule, demand, lacks, reasons, text: textOf(rule, demand, sentences) };
}

/** The lacks that the sentence of a rule speaks of. */
function toldBy(rule: RuleName, { piece, lacks }: Shortfall): readonly Lack[] {
  // with another key than the pinned one, what else is missing does not matter
  if (rule === "pin-changed" || rule === "tier-not-reached") return lacks;
  if (rule === "stale") return lacks.filter((lack) => isFactor(lack) && piece.verdict[lack].outcome === "stale");
  return ["challenge"];
}

/** Each lack with the code of its reason, where it has one, and its sentence. */
function lacksText(lacks: readonly Lack[], piece: PieceProof): string {
  return lacks
    .map((lack) => {
      const { code, sentence } = reasonFor(lack, piece);
      return `${lack}${code === lack ? "" : ` (${code})`}: ${sentence}`;
    })
    .join(" ");
}

function reasonFor(lack: Lack, piece: PieceProof): RefusalReason {
  const code = isFactor(lack) ? piece.verdict[lack].reason : lack;
  return { code, sentence: lack === "challenge" ? challengeText(piece) : explainLack(lack, piece.verdict) };
}

/** The running node knows more of a challenge than the sentence for files says. */
function challengeText({ challenge }: PieceProof): string {
  switch (challenge) {
    case "failed":
      return refusalRules["challenge-failed"].sentence;
    case "missed":
      return refusalRules["challenge-missed"].sentence;
    case "impossible":
      return refusalRules["no-challenge"].sentence;
    case "unasked":
    case "answered":
      return refusalRules["challenge-unanswered"].sentence;
  }
}

function pinNames({ piece, id, acceptArguments = "" }: Shortfall): Readonly<Record<string, string>> {
  const { item, claims, pin } = piece;
  const { attestedKey, measurement } = claims;
  const shown = attestedKey && {
    kind: item.kind,
    key: fingerprintOf(attestedKey),
    measurement: measurement?.value,
  };
  const accept =
    shown && isPinnable(shown)
      ? `If you know why it changed, accept it with \`${acceptCommand(id, shown)}${acceptArguments}\`.`
      : "What it shows cannot be pinned.";
  const isBuildTold = (shown?.measurement ?? pin.pinned?.measurement) !== undefined;
  return { shown: valueText(shown, isBuildTold), pinned: valueText(pin.pinned, isBuildTold), accept };
}

/** The command line that pins what a node shows. */
export function acceptCommand(id: EndpointId, { kind, key, measurement }: PinnedValue): string {
  const build = measurement === undefined ? "" : ` --measurement ${measurement}`;
  return `sealmesh trust pin ${id} --kind ${kind} --key ${key}${build}`;
}

function valueText(value: PinnedValue | undefined, isBuildTold: boolean): string {
  if (value === undefined) return "another key";
  const { kind, key, measurement } = value;
  const build = measurement === undefined ? "no build" : `build ${isDigest(measurement) ? measurement : "unreadable"}`;
  return `${kindText(kind)} key ${key}${isBuildTold ? ` with ${build}` : ""}`;
}

function kindText(kind: string): string {
  return isKindName(kind) ? kind : "unknown";
}

function isFactor(lack: Lack): lack is Factor {
  return factors.some((factor) => factor === lack);
}

function whyText(why: string | undefined): readonly string[] {
  return why === undefined ? [] : [filled(whyNone, { why: withoutControls(why).replace(/\.$/, "") })];
}

function textOf(rule: RuleName, demand: string, sentences: readonly string[]): string {
  return `${demand === always ? "" : `${demand}: `}${rule}: ${sentences.join(" ")}`;
}

function filled(sentence: string, names: Readonly<Record<string, string>>): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) => names[name] ?? whole);
}

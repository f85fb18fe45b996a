/** Short words with a colour: how something travels, what was proven, what became of it. The word says it all; colour helps. */
import type { ComponentChildren, JSX } from "preact";
import { Icon, type IconName } from "./icon.tsx";

export type Tone = "good" | "warn" | "bad" | "calm";

export function Badge(props: {
  readonly tone: Tone;
  readonly icon?: IconName;
  readonly title?: string;
  readonly children: ComponentChildren;
}): JSX.Element {
  const { tone, icon, title, children } = props;
  return (
    <span class={`badge ${tone}`} title={title}>
      {icon && <Icon name={icon} />}
      {children}
    </span>
  );
}

export type Sealing = "sealed" | "plain" | "refused" | "unasked" | "old" | "local" | "none";

const sealings: Readonly<Record<Sealing, { readonly tone: Tone; readonly icon: IconName; readonly word: string }>> = {
  sealed: { tone: "good", icon: "sealed", word: "sealed" },
  plain: { tone: "warn", icon: "plain", word: "plain" },
  refused: { tone: "bad", icon: "refused", word: "refused" },
  unasked: { tone: "calm", icon: "unknown", word: "not asked yet" },
  old: { tone: "warn", icon: "stale", word: "proof is old" },
  local: { tone: "calm", icon: "sealed", word: "on this machine" },
  none: { tone: "calm", icon: "unknown", word: "not sent" },
};

export function SealBadge({ sealing }: { readonly sealing: Sealing }): JSX.Element {
  const { tone, icon, word } = sealings[sealing];
  return (
    <Badge tone={tone} icon={icon}>
      {word}
    </Badge>
  );
}

export const tierMeanings: Readonly<Record<string, string>> = {
  none: "It has proven nothing: whatever it says is its own word.",
  key: "One party holds its inference key and the key of its evidence. A program on any machine can do that.",
  pinned: "The same, with a key that you confirmed or that this node met before.",
  vendor: "The same, and a maker whose root you trust says that its chip holds the key.",
  measured: "The same, and the chip has measured the code that was started.",
};

/** @param tier null: this machine, which proves nothing to itself */
export function TierBadge({ tier }: { readonly tier: string | null }): JSX.Element {
  if (tier === null) return <Badge tone="calm">this machine</Badge>;
  return (
    <Badge tone={tier === "none" ? "calm" : "good"} title={tierMeanings[tier] ?? ""}>
      {tier === "none" ? "no proof" : `tier ${tier}`}
    </Badge>
  );
}

const outcomes: Readonly<Record<"pass" | "fail" | "unknown" | "stale", Tone>> = {
  pass: "good",
  fail: "bad",
  unknown: "calm",
  stale: "warn",
};

export function OutcomeBadge({ outcome }: { readonly outcome: keyof typeof outcomes }): JSX.Element {
  return (
    <Badge tone={outcomes[outcome]} icon={outcome}>
      {outcome}
    </Badge>
  );
}

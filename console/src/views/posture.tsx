/** How a node says that it is closed to others, and which build it says it runs: its own word, and the page says so. */
import type { JSX } from "preact";
import { Badge, type Tone } from "../parts/badges.tsx";
import { Facts } from "../parts/facts.tsx";
import type { PeerStatus } from "../types.ts";

const standings: Readonly<Record<PeerStatus["posture"]["standing"], string>> = {
  signed: "Its own word, signed. It proves nothing.",
  unsigned: "Told in gossip alone, where nobody signs it: it counts for nothing.",
  disagrees: "It says two different things, both signed.",
  none: "It says nothing about this.",
};

export function Posture({ posture, build }: Pick<PeerStatus, "posture" | "build">): JSX.Element {
  const { standing, said, text } = posture;
  return (
    <section class="card" aria-labelledby="posture-title">
      <h2 id="posture-title">Posture and build</h2>
      <p class="muted">{standings[standing]}</p>
      {text !== null && <p>{text}</p>}
      {said && <Doors doors={said.doors} />}
      {said && <Facts rows={factsOf(said)} />}
      {build && <p>{build.text}</p>}
    </section>
  );
}

type Said = NonNullable<PeerStatus["posture"]["said"]>;

export function factsOf(said: Said): readonly (readonly [string, JSX.Element | string])[] {
  return [
    ["Platform", said.platform],
    ["Engine", said.engine === "external" ? "another program, of which nothing is said" : said.engine],
    ["Build", said.build === null ? "not told" : <code class="long">{said.build}</code>],
    ["Runtime", said.runtime === null ? "not told" : <code class="long">{said.runtime}</code>],
  ];
}

const tones: Readonly<Record<string, Tone>> = { closed: "good", open: "warn", unknown: "calm" };

export function Doors({ doors }: { readonly doors: Said["doors"] }): JSX.Element {
  return (
    <ul class="doors" aria-label="Doors">
      {Object.entries(doors).map(([door, state]) => (
        <li key={door}>
          <span>{door}</span>
          <Badge tone={tones[state] ?? "calm"}>{state}</Badge>
        </li>
      ))}
    </ul>
  );
}

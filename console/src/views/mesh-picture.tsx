/** The picture of the mesh, as SVG. Every peer is a link with a name of its own; form and word say what colour says too. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { linkTo } from "../route.ts";
import { nameOf, ownName, peerSealing, peerSealingWords, type RoleWord, roleOf, routeWords } from "../words.ts";
import type { PeerStatus, Status } from "../types.ts";
import { type Edge, layoutOf, type PlacedPeer, type PlacedRest, type Point } from "./mesh-layout.ts";

export function MeshPicture({ status }: { readonly status: Status }): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const { current } = frame;
    if (!current) return undefined;
    const observer = new ResizeObserver(() => setWidth(Math.floor(current.clientWidth)));
    observer.observe(current);
    setWidth(Math.floor(current.clientWidth));
    return () => observer.disconnect();
  }, []);
  const layout = layoutOf(status.peers, Math.max(width, 280));
  return (
    <div ref={frame} class="picture">
      {width > 0 && (
        <svg
          width={layout.width}
          height={layout.height}
          viewBox={`0 0 ${layout.width} ${layout.height}`}
          role="group"
          aria-label="Picture of the mesh; the list below says the same"
        >
          <g aria-hidden="true">
            {layout.edges.map((edge) => (
              <Line key={edge.peer.endpoint_id} edge={edge} />
            ))}
            {!layout.narrow && layout.edges.map((edge) => <Word key={edge.peer.endpoint_id} edge={edge} />)}
          </g>
          <Self at={layout.self} status={status} />
          {layout.peers.map((placed) => (
            <PeerNode
              key={placed.peer.endpoint_id}
              placed={placed}
              room={roomOf(placed, layout.width)}
              narrow={layout.narrow}
            />
          ))}
          {layout.rest.map((rest) => (
            <Rest key={rest.role} rest={rest} />
          ))}
        </svg>
      )}
    </div>
  );
}

/** Characters that fit beside a peer. */
function roomOf({ x, side }: PlacedPeer, width: number): number {
  const px = side === "above" ? 136 : side === "right" ? width - x - 34 : x - 34;
  return Math.max(6, Math.floor(px / 7.2));
}

function Line({ edge }: { readonly edge: Edge }): JSX.Element {
  const { peer, points, relayed } = edge;
  const d = points.map(({ x, y }, index) => `${index === 0 ? "M" : "L"}${x} ${y}`).join("");
  return <path class={`edge ${toneOf(peer)}${relayed ? " relayed" : ""}`} d={d} />;
}

function Word({ edge: { peer, relayed, label } }: { readonly edge: Edge }): JSX.Element | null {
  const word = wordOf(peer, relayed);
  if (word === "") return null;
  const half = word.length * 3.4 + 10;
  return (
    <g class={`word ${toneOf(peer)}`}>
      <rect x={label.x - half} y={label.y - 11} width={half * 2} height={22} rx={11} />
      <text x={label.x} y={label.y + 4} text-anchor="middle">
        {word}
      </text>
    </g>
  );
}

const tones = { sealed: "good", plain: "warn", refused: "bad", unasked: "calm", old: "warn" } as const;

function toneOf(peer: PeerStatus): string {
  const sealing = peerSealing(peer);
  if (roleOf(peer) !== "host" || (peer.route === "none" && sealing !== "refused")) return "calm";
  return tones[sealing];
}

function wordOf(peer: PeerStatus, relayed: boolean): string {
  const sealing = peerSealing(peer);
  if (roleOf(peer) !== "host") return "";
  if (sealing === "refused") return "refused";
  if (peer.route === "none") return "no route";
  return relayed ? `${peerSealingWords[sealing]}, relayed` : peerSealingWords[sealing];
}

interface CaptionProps extends Point {
  readonly side: PlacedPeer["side"] | "below";
  readonly name: string;
  /** The line below it; what comes first may stand out. */
  readonly first?: { readonly text: string; readonly proven: boolean };
  readonly under: string;
}

/** What stands beside a node of the picture. */
function Caption({ x, y, side, name, first, under }: CaptionProps): JSX.Element {
  const anchor = side === "right" ? "start" : side === "left" ? "end" : "middle";
  const across = side === "right" ? x + 28 : side === "left" ? x - 28 : x;
  const down = side === "above" ? y - 42 : side === "below" ? y + 52 : y - 3;
  return (
    <>
      <text class="name" x={across} y={down} text-anchor={anchor}>
        {name}
      </text>{" "}
      <text class="under" x={across} y={down + 17} text-anchor={anchor}>
        {first && <tspan class={first.proven ? "tier proven" : "tier"}>{first.text}</tspan>}
        {under}
      </text>
    </>
  );
}

function Self({ at, status }: { readonly at: Point; readonly status: Status }): JSX.Element {
  const { x, y } = at;
  const name = short(ownName(status), 22);
  const beside = x < 60;
  return (
    <a class="node self" href={linkTo({ view: "peer", id: status.endpoint_id })}>
      <circle class="halo" cx={x} cy={y} r={31} />
      <circle class="body" cx={x} cy={y} r={24} />
      <path class="glyph" d={`M${x} ${y - 13}v6M${x + 11} ${y + 6.5}l-5.2-3M${x - 11} ${y + 6.5}l5.2-3`} />
      <circle class="glyph" cx={x} cy={y} r={5} />
      <Caption x={beside ? x + 14 : x} y={y} side={beside ? "right" : "below"} name={name} under="this node" />
    </a>
  );
}

interface PeerNodeProps {
  readonly placed: PlacedPeer;
  /** Characters that fit beside it. */
  readonly room: number;
  /** Its line has no word on it: the word stands here. */
  readonly narrow: boolean;
}

function PeerNode({ placed, room, narrow }: PeerNodeProps): JSX.Element {
  const { peer, role, side, x, y } = placed;
  const isHost = role === "host";
  const sealing = peerSealing(peer);
  const { tier } = peer.attestation;
  const name = short(nameOf(peer), room);
  const proof = tier === "none" ? "no proof" : `tier ${tier}`;
  const first = isHost ? { text: proof, proven: tier !== "none" } : undefined;
  const more = narrow ? wordOf(peer, false) : peer.models.join(", ");
  const under = isHost ? short(` · ${more}`, Math.max(3, room - 9)) : role;
  // as it reads on the screen, and then what lines and forms say
  const spoken = [`${name} ${first?.text ?? ""}${under}`, ...(isHost ? ["host", peerSealingWords[sealing]] : [])];
  return (
    <a
      class={`node ${role}${isHost && sealing === "refused" ? " refused" : ""}`}
      href={linkTo({ view: "peer", id: peer.endpoint_id })}
      aria-label={[...spoken, routeWords[peer.route]].join(", ")}
    >
      <Shape role={role} x={x} y={y} />
      <Caption x={x} y={y} side={side} name={name} under={under} {...(first ? { first } : {})} />
    </a>
  );
}

function Shape({ role, x, y }: { readonly role: RoleWord; readonly x: number; readonly y: number }): JSX.Element {
  switch (role) {
    case "host":
      return (
        <>
          <rect class="body" x={x - 17} y={y - 17} width={34} height={34} rx={9} />
          <path
            class="glyph"
            d={`M${x - 8} ${y - 4.5}h16M${x - 8} ${y + 4.5}h16M${x - 3.5} ${y - 9}v0M${x - 8.5} ${y - 9}h17v18h-17Z`}
          />
        </>
      );
    case "relay":
      return (
        <>
          <path class="body" d={`M${x} ${y - 19}L${x + 19} ${y}L${x} ${y + 19}L${x - 19} ${y}Z`} />
          <path class="glyph" d={`M${x - 7} ${y - 2.5}h12l-3.5-3.5M${x + 7} ${y + 3}h-12l3.5 3.5`} />
        </>
      );
    case "client":
      return (
        <>
          <circle class="body" cx={x} cy={y} r={15} />
          <path class="glyph" d={`M${x - 6.5} ${y - 5}h13v8h-13ZM${x - 9} ${y + 6}h18`} />
        </>
      );
  }
}

function Rest({ rest: { role, peers, refused, x, y, side } }: { readonly rest: PlacedRest }): JSX.Element {
  const under = refused > 0 ? `${refused} refused, in the list` : "in the list";
  return (
    <a class="node rest" href="#/mesh" onClick={toList} aria-label={`${peers} more ${under}, ${role}s`}>
      <circle class="body" cx={x} cy={y} r={15} />
      <path class="glyph" d={`M${x - 6} ${y}h0.1M${x} ${y}h0.1M${x + 6} ${y}h0.1`} />
      <Caption x={x} y={y} side={side} name={`${peers} more`} under={under} />
    </a>
  );
}

function toList(event: Event): void {
  event.preventDefault();
  document.querySelector("#peers")?.scrollIntoView();
}

function short(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, Math.max(1, characters - 1))}…`;
}

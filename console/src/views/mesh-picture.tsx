/** The picture of the mesh, as SVG. Every peer is a link with a name of its own; form and word say what colour says too. */
import type { JSX } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { linkTo } from "../route.ts";
import { nameOf, ownName, type RoleWord, roleOf, routeWords, some } from "../words.ts";
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
  return Math.max(6, Math.floor(px / 7.6));
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

function toneOf(peer: PeerStatus): string {
  const { sealed, route } = peer;
  if (roleOf(peer) !== "host") return "calm";
  if (sealed === "refused") return "bad";
  return route === "none" ? "calm" : sealed === "plain" ? "warn" : "good";
}

function wordOf(peer: PeerStatus, relayed: boolean): string {
  const { sealed, route } = peer;
  if (roleOf(peer) !== "host") return "";
  if (sealed === "refused") return "refused";
  if (route === "none") return "no route";
  return relayed ? `${sealed}, relayed` : sealed;
}

function Self({ at, status }: { readonly at: Point; readonly status: Status }): JSX.Element {
  const name = ownName(status);
  const beside = at.x < 60;
  return (
    <a class="node self" href={linkTo({ view: "peer", id: status.endpoint_id })} aria-label={`${name}, this node`}>
      <circle class="halo" cx={at.x} cy={at.y} r={31} />
      <circle class="body" cx={at.x} cy={at.y} r={24} />
      <path
        class="glyph"
        d={`M${at.x} ${at.y - 13}v6M${at.x + 11} ${at.y + 6.5}l-5.2-3M${at.x - 11} ${at.y + 6.5}l5.2-3`}
      />
      <circle class="glyph" cx={at.x} cy={at.y} r={5} />
      <text
        class="name"
        x={beside ? at.x + 42 : at.x}
        y={beside ? at.y - 2 : at.y + 52}
        text-anchor={beside ? "start" : "middle"}
      >
        {short(name, 22)}
      </text>
      <text
        class="under"
        x={beside ? at.x + 42 : at.x}
        y={beside ? at.y + 16 : at.y + 70}
        text-anchor={beside ? "start" : "middle"}
      >
        this node
      </text>
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
  const refused = role === "host" && peer.sealed === "refused";
  const name = nameOf(peer);
  const anchor = side === "right" ? "start" : side === "left" ? "end" : "middle";
  const textX = side === "right" ? x + 28 : side === "left" ? x - 28 : x;
  const textY = side === "above" ? y - 42 : y - 3;
  const { tier } = peer.attestation;
  const spoken = `${name}, ${role}${refused ? ", refused" : role === "host" ? `, ${peer.sealed}` : ""}, ${routeWords[peer.route]}`;
  return (
    <a
      class={`node ${role}${refused ? " refused" : ""}`}
      href={linkTo({ view: "peer", id: peer.endpoint_id })}
      aria-label={spoken}
    >
      <Shape role={role} x={x} y={y} />
      <text class="name" x={textX} y={textY} text-anchor={anchor}>
        {short(name, room)}
      </text>
      <text class="under" x={textX} y={textY + 17} text-anchor={anchor}>
        {role === "host" && (
          <tspan class={tier === "none" ? "tier" : "tier proven"}>
            {tier === "none" ? "no proof" : `tier ${tier}`}
          </tspan>
        )}
        {role !== "host"
          ? role
          : short(
              ` · ${narrow ? wordOf(peer, peer.route === "relay") : peer.models.join(", ")}`,
              Math.max(3, room - 9),
            )}
      </text>
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
  const textX = side === "right" ? x + 28 : side === "left" ? x - 28 : x;
  return (
    <a class="node rest" href="#/mesh" onClick={toList} aria-label={`${some(peers, role)} more, in the list`}>
      <circle class="body" cx={x} cy={y} r={15} />
      <path class="glyph" d={`M${x - 6} ${y}h0.1M${x} ${y}h0.1M${x + 6} ${y}h0.1`} />
      <text
        class="name"
        x={textX}
        y={side === "above" ? y - 42 : y - 3}
        text-anchor={side === "right" ? "start" : side === "left" ? "end" : "middle"}
      >
        {`${peers} more`}
      </text>
      <text
        class="under"
        x={textX}
        y={side === "above" ? y - 25 : y + 14}
        text-anchor={side === "right" ? "start" : side === "left" ? "end" : "middle"}
      >
        {refused > 0 ? `in the list, ${refused} refused` : "in the list"}
      </text>
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

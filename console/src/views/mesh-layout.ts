/**
 * Where things stand in the picture of the mesh: this node in the middle, who answers to its right, who asks to its left,
 * relays above. The same mesh gives the same picture, in px of the place there is. More peers than fit are one entry.
 * Pure: knows no screen and no colour.
 */
import { nameOf, peerSealing, type RoleWord, roleOf } from "../words.ts";
import type { PeerStatus } from "../types.ts";

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface PlacedPeer extends Point {
  readonly peer: PeerStatus;
  readonly role: RoleWord;
  /** Where its name stands. */
  readonly side: "left" | "right" | "above";
}

/** Peers that are in the list alone. */
export interface PlacedRest extends Point {
  readonly role: RoleWord;
  readonly peers: number;
  readonly refused: number;
  readonly side: "left" | "right" | "above";
}

export interface Edge {
  readonly peer: PeerStatus;
  /** From this node, over the relay if there is one in the picture, to the peer. */
  readonly points: readonly Point[];
  /** Goes through a relay, whether that is in the picture or not. */
  readonly relayed: boolean;
  /** Where its word stands. */
  readonly label: Point;
}

export interface Layout {
  readonly width: number;
  readonly height: number;
  /** Drawn as branches; lines have no room for words. */
  readonly narrow: boolean;
  readonly self: Point;
  readonly peers: readonly PlacedPeer[];
  readonly rest: readonly PlacedRest[];
  readonly edges: readonly Edge[];
}

/** Peers of one role that are shown one by one; with all three roles full the picture has 24. */
export const shownOfRole: Readonly<Record<RoleWord, number>> = { host: 12, client: 7, relay: 5 };

/** With more hosts behind relays, lines over the relays would cross: dashes alone say it then, and the list names the relay. */
const drawnOverRelays = 4;

const slot = 64;
const padding = 40;
/** Below this the picture is a list of branches: names need their width, px. */
const narrowBelow = 640;

export function layoutOf(peers: readonly PeerStatus[], width: number): Layout {
  const groups = groupsOf(peers);
  return width < narrowBelow ? narrow(groups, width) : wide(groups, width);
}

interface Group {
  readonly shown: readonly PeerStatus[];
  readonly rest: readonly PeerStatus[];
}
type Groups = Readonly<Record<RoleWord, Group>>;

function groupsOf(peers: readonly PeerStatus[]): Groups {
  // relays that lead to a host are in the picture first: a line goes over them
  const ways = new Set(peers.map(({ via }) => via));
  const leads = (peer: PeerStatus): number => Number(roleOf(peer) === "relay" && ways.has(peer.endpoint_id));
  const group = (role: RoleWord): Group => {
    const all = peers.filter((peer) => roleOf(peer) === role).toSorted((a, b) => leads(b) - leads(a) || order(a, b));
    // the last place is for "and so many more"
    const places = all.length <= shownOfRole[role] ? all.length : shownOfRole[role] - 1;
    return { shown: all.slice(0, places), rest: all.slice(places) };
  };
  return { host: group("host"), client: group("client"), relay: group("relay") };
}

/** Those that may be asked first, so that they are in the picture; then those behind a relay; by name, and by id where names are the same. */
function order(a: PeerStatus, b: PeerStatus): number {
  const refused = Number(isRefused(a)) - Number(isRefused(b));
  if (refused !== 0) return refused;
  // next to the relays, so that lines do not cross
  const relayed = Number(b.route === "relay") - Number(a.route === "relay");
  if (relayed !== 0) return relayed;
  return compare(nameOf(a), nameOf(b)) || compare(a.endpoint_id, b.endpoint_id);
}

function isHost(peer: PeerStatus): boolean {
  return roleOf(peer) === "host";
}

function isRefused(peer: PeerStatus): boolean {
  return isHost(peer) && peerSealing(peer) === "refused";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function size({ shown, rest }: Group): number {
  return shown.length + (rest.length > 0 ? 1 : 0);
}

function wide(groups: Groups, width: number): Layout {
  const relays = size(groups.relay);
  const rows = Math.max(size(groups.host), size(groups.client), 1);
  const top = padding + (relays > 0 ? 92 : 0);
  const height = Math.max(top + rows * slot + padding, relays > 0 ? 360 : 300);
  const middle = top + (height - padding - top) / 2;
  const hasClients = size(groups.client) > 0;
  // without anybody on the left the whole picture moves there
  const self = {
    x: Math.round(width * (hasClients ? 0.46 : rows === 1 && size(groups.host) + relays === 0 ? 0.5 : 0.26)),
    y: middle,
  };
  const hostX = Math.round(width * 0.72);
  const clientX = Math.round(width * 0.2);
  const placed: PlacedPeer[] = [];
  const rest: PlacedRest[] = [];
  const column = (role: RoleWord, x: number, side: "left" | "right"): void => {
    const group = groups[role];
    const count = size(group);
    // a shallow arc: the ends stand a little nearer to this node
    const bend = (index: number): number => {
      const off = count < 2 ? 0 : (index - (count - 1) / 2) / ((count - 1) / 2);
      return Math.round(off * off * 34) * (side === "right" ? -1 : 1);
    };
    const at = (index: number): Point => ({ x: x + bend(index), y: middle + (index - (count - 1) / 2) * slot });
    group.shown.forEach((peer, index) => placed.push({ peer, role, side, ...at(index) }));
    if (group.rest.length > 0) rest.push({ ...restOf(role, group), side, ...at(count - 1) });
  };
  column("host", hostX, "right");
  column("client", clientX, "left");
  const gap = Math.min(150, (width - 2 * padding) / Math.max(relays, 1));
  const relayX = (index: number): number => {
    const centre = hasClients || relays > 1 ? Math.max(self.x, padding + (relays * gap) / 2) : (self.x + hostX) / 2;
    return Math.round(centre + (index - (relays - 1) / 2) * gap);
  };
  groups.relay.shown.forEach((peer, index) => {
    placed.push({ peer, role: "relay", side: "above", x: relayX(index), y: padding + 40 });
  });
  if (groups.relay.rest.length > 0) {
    rest.push({ ...restOf("relay", groups.relay), side: "above", x: relayX(relays - 1), y: padding + 40 });
  }
  return { width, height, narrow: false, self, peers: placed, rest, edges: edgesOf(self, placed) };
}

function narrow(groups: Groups, width: number): Layout {
  const self = { x: 32, y: 44 };
  const placed: PlacedPeer[] = [];
  const rest: PlacedRest[] = [];
  let y = self.y + 84;
  for (const role of ["relay", "host", "client"] as const) {
    const x = role === "relay" ? 76 : 112;
    for (const peer of groups[role].shown) {
      placed.push({ peer, role, side: "right", x, y });
      y += slot + 8;
    }
    if (groups[role].rest.length > 0) {
      rest.push({ ...restOf(role, groups[role]), side: "right", x, y });
      y += slot;
    }
  }
  const edges = edgesOf(self, placed).map((edge) => ({ ...edge, points: steps(edge.points) }));
  return { width, height: y, narrow: true, self, peers: placed, rest, edges };
}

/** Down first and then across, as branches of a tree are drawn. */
function steps(points: readonly Point[]): readonly Point[] {
  return points.flatMap((point, index) => {
    const before = points[index - 1];
    return before === undefined ? [point] : [{ x: before.x, y: point.y }, point];
  });
}

function restOf(role: RoleWord, { rest }: Group): { role: RoleWord; peers: number; refused: number } {
  return { role, peers: rest.length, refused: rest.filter(isRefused).length };
}

function edgesOf(self: Point, placed: readonly PlacedPeer[]): readonly Edge[] {
  const behind = placed.filter(({ peer, role }) => role === "host" && peer.via !== null).length;
  return placed
    .filter(({ peer, role }) => peer.route !== "none" || role === "host")
    .map((at) => {
      const { peer, role } = at;
      // what travels to others than hosts is gossip: it has no way that would be worth drawing
      const relay =
        role === "host" && behind <= drawnOverRelays
          ? placed.find(({ peer: other }) => other.endpoint_id === peer.via)
          : undefined;
      const from = relay ?? self;
      const points = relay ? [self, relay, at] : [self, at];
      // nearer to the peer, where the lines are apart
      const share = 0.56;
      const label = { x: from.x + (at.x - from.x) * share, y: from.y + (at.y - from.y) * share };
      return { peer, points, relayed: peer.route === "relay", label };
    })
    .toSorted((a, b) => Number(isHost(a.peer)) - Number(isHost(b.peer))); // what may carry prompts is drawn last, and seen
}

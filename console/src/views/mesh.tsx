/** View 1: who is in the mesh, how a prompt would travel to each, and what each has proven. A picture, and the same as a list. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { askNode } from "../api.ts";
import type { Change } from "../live.ts";
import { SealBadge, TierBadge } from "../parts/badges.tsx";
import { Copyable } from "../parts/controls.tsx";
import { Empty } from "../parts/states.tsx";
import { linkTo } from "../route.ts";
import { clockTime, duration, nameOf, peerSealing, roleOf, routeWords, shortId, some } from "../words.ts";
import type { PeerStatus, Status } from "../types.ts";
import { MeshPicture } from "./mesh-picture.tsx";

export function MeshView(props: { readonly status: Status; readonly changes: readonly Change[] }): JSX.Element {
  const { status, changes } = props;
  return (
    <>
      <header class="head">
        <div>
          <h1>Mesh</h1>
          <p class="lead">{summaryOf(status)}</p>
        </div>
        {status.api_port !== null && (
          <div class="endpoint">
            <span class="label">OpenAI API on this machine</span>
            <Copyable text={`http://127.0.0.1:${status.api_port}/v1`} label="the address of the API" />
          </div>
        )}
      </header>
      <section class="card flush" aria-label="Picture">
        <MeshPicture status={status} />
        {status.peers.length > 0 && <Legend />}
      </section>
      <Unasked peers={status.peers} />
      {status.peers.length === 0 ? <Alone status={status} /> : <PeerList peers={status.peers} />}
      <Changes changes={changes} />
    </>
  );
}

function summaryOf({ peers, models, mesh_name: name }: Status): string {
  const hosts = peers.filter((peer) => roleOf(peer) === "host");
  const refused = hosts.filter((host) => peerSealing(host) === "refused").length;
  const parts = [some(peers.length, "peer"), some(hosts.length, "host"), some(models.length, "model")];
  const said = `${name === null ? "" : `${name}: `}${parts.join(", ")}`;
  return refused === 0 ? said : `${said}; ${some(refused, "host")} refused`;
}

/** Asked by one click: for a node evidence costs something, and it asks only when a prompt is to go out. */
function Unasked({ peers }: { readonly peers: readonly PeerStatus[] }): JSX.Element | null {
  const [asking, setAsking] = useState(false);
  const unasked = peers.filter((peer) => roleOf(peer) === "host" && ["unasked", "old"].includes(peerSealing(peer)));
  if (unasked.length === 0) return null;
  const ask = async (): Promise<void> => {
    setAsking(true);
    // one after the other: what they show comes with the next status, and is kept fresh from then on
    for (const { endpoint_id: id } of unasked) await askNode(`/api/explain/${id}`).catch(() => undefined);
    setAsking(false);
  };
  return (
    <div class="notice calm row">
      <p>{`${some(unasked.length, "host")} ${unasked.length === 1 ? "has" : "have"} not been asked for evidence lately.`}</p>
      <button type="button" class="button" disabled={asking} onClick={() => void ask()}>
        {asking ? "Asking …" : "Ask now"}
      </button>
    </div>
  );
}

function Legend(): JSX.Element {
  return (
    <ul class="legend" aria-label="Lines">
      <li class="good">sealed: readable by the host alone</li>
      <li class="warn">plain: readable on the way</li>
      <li class="bad">refused: no prompt</li>
      <li class="dashed">dashed: through a relay</li>
    </ul>
  );
}

function Alone({ status }: { readonly status: Status }): JSX.Element {
  return (
    <Empty title="Nobody else is here yet">
      <p>
        {status.is_host ? "This node answers for its own models. " : "There is no host yet, so nothing can be asked. "}
        <a href={linkTo({ view: "invite" })}>Invite another machine</a>
        {"; it appears here as soon as it joins."}
      </p>
    </Empty>
  );
}

/** A list that is longer can be searched. */
const searchedFrom = 12;

function PeerList({ peers }: { readonly peers: readonly PeerStatus[] }): JSX.Element {
  const [wanted, setWanted] = useState("");
  const word = wanted.trim().toLowerCase();
  const fits = (peer: PeerStatus): boolean =>
    [nameOf(peer), peer.endpoint_id, roleOf(peer), peerSealing(peer), ...peer.models].some((text) =>
      text.toLowerCase().includes(word),
    );
  const shown = peers.filter(fits).toSorted((a, b) => rank(a) - rank(b) || nameOf(a).localeCompare(nameOf(b)));
  return (
    <section id="peers" aria-labelledby="peers-title">
      <div class="section-head">
        <h2 id="peers-title">Peers</h2>
        {peers.length > searchedFrom && (
          <input
            type="search"
            class="input"
            placeholder="Name, id or model"
            aria-label="Search peers"
            value={wanted}
            onInput={({ currentTarget }) => setWanted(currentTarget.value)}
          />
        )}
      </div>
      <div class="card flush">
        <table class="table stacked">
          <thead>
            <tr>
              <th scope="col">Peer</th>
              <th scope="col">Role</th>
              <th scope="col">Route</th>
              <th scope="col">Prompts</th>
              <th scope="col">Proof</th>
              <th scope="col">Models</th>
              <th scope="col" class="number">
                Round trip
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((peer) => (
              <Row key={peer.endpoint_id} peer={peer} peers={peers} />
            ))}
          </tbody>
        </table>
        {shown.length === 0 && <p class="placeholder">No peer fits.</p>}
      </div>
    </section>
  );
}

const ranks = { host: 0, relay: 1, client: 2 } as const;

function rank(peer: PeerStatus): number {
  return ranks[roleOf(peer)];
}

function Row({ peer, peers }: { readonly peer: PeerStatus; readonly peers: readonly PeerStatus[] }): JSX.Element {
  const role = roleOf(peer);
  const via = peers.find(({ endpoint_id }) => endpoint_id === peer.via);
  return (
    <tr data-peer={peer.endpoint_id}>
      <th scope="row">
        <a class="peer-link" href={linkTo({ view: "peer", id: peer.endpoint_id })}>
          {nameOf(peer)}
        </a>
        <code class="under">{shortId(peer.endpoint_id)}</code>
      </th>
      <td data-label="Role">{role}</td>
      <td data-label="Route">{via ? `through ${nameOf(via)}` : routeWords[peer.route]}</td>
      <td data-label="Prompts" class={blank(role !== "host")}>
        {role === "host" ? <SealBadge sealing={peerSealing(peer)} /> : <span class="muted">takes none</span>}
      </td>
      <td data-label="Proof" class={blank(role !== "host")}>
        {role === "host" ? <TierBadge tier={peer.attestation.tier} /> : <span class="muted">–</span>}
      </td>
      <td data-label="Models" class={blank(peer.models.length === 0)}>
        {peer.models.length === 0 ? <span class="muted">–</span> : <span class="models">{peer.models.join(", ")}</span>}
      </td>
      <td data-label="Round trip" class={peer.rtt_ms === null ? "number blank" : "number"}>
        {duration(peer.rtt_ms)}
      </td>
    </tr>
  );
}

/** A cell that says nothing has no line on a phone. */
function blank(says: boolean): string | undefined {
  return says ? "blank" : undefined;
}

function Changes({ changes }: { readonly changes: readonly Change[] }): JSX.Element | null {
  if (changes.length === 0) return null;
  return (
    <section aria-labelledby="changes-title">
      <h2 id="changes-title">While you were looking</h2>
      <ol class="changes">
        {changes.map(({ atMs, text, tone }) => (
          <li key={`${atMs} ${text}`} class={tone}>
            <time>{clockTime(atMs)}</time>
            <span>{text}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}

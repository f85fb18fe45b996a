/** View 2: one peer. What it does, what it has proven factor by factor, and whether its key is pinned. */
import type { JSX } from "preact";
import { useAsked } from "../api.ts";
import { Badge, SealBadge, TierBadge } from "../parts/badges.tsx";
import { Id } from "../parts/controls.tsx";
import { Facts } from "../parts/facts.tsx";
import { Back } from "../parts/back.tsx";
import { Empty, Shown } from "../parts/states.tsx";
import type { Session } from "../session.ts";
import type { AttestationReport, ExplainReport, PeerStatus, Status } from "../types.ts";
import { count, duration, nameOf, type PeerSealing, peerSealing, roleOf, routeWords } from "../words.ts";
import { Evidence } from "./evidence.tsx";
import { OwnNode } from "./own-node.tsx";
import { PinCard } from "./pin.tsx";
import { Posture } from "./posture.tsx";
import { Inline } from "./prose.tsx";

export interface PeerViewProps {
  /** Endpoint id, or the beginning of one. */
  readonly id: string;
  readonly status: Status;
  readonly session: Session;
}

export function PeerView({ id, status, session }: PeerViewProps): JSX.Element {
  if (status.endpoint_id.startsWith(id)) return <OwnNode status={status} />;
  const peer = status.peers.find(({ endpoint_id }) => endpoint_id.startsWith(id));
  if (peer === undefined) return <Gone id={id} />;
  return <Known key={peer.endpoint_id} peer={peer} status={status} session={session} />;
}

function Gone({ id }: { readonly id: string }): JSX.Element {
  return (
    <>
      <Back />
      <h1>This peer is not here</h1>
      <Empty title="It has left the mesh, or this node has not met it.">
        <p>
          <code>{id}</code>
        </p>
      </Empty>
    </>
  );
}

function Known({
  peer,
  status,
  session,
}: {
  readonly peer: PeerStatus;
  readonly status: Status;
  readonly session: Session;
}): JSX.Element {
  const { endpoint_id: id, attestation } = peer;
  const role = roleOf(peer);
  // asked anew when the view opens, and again when something about the peer has changed
  const version = JSON.stringify([attestation, peer.sealed, peer.posture.standing, peer.models]);
  const explained = useAsked<ExplainReport>(`/api/explain/${id}`, version);
  const asked = useAsked<AttestationReport>(role === "host" ? `/api/attestation/${id}` : null, attestation.fingerprint);
  const via = status.peers.find(({ endpoint_id }) => endpoint_id === peer.via);
  return (
    <>
      <Back />
      <header class="head">
        <div>
          <h1>{nameOf(peer)}</h1>
          <p class="lead">
            <Id id={id} />
          </p>
        </div>
        <p class="badges">
          <Badge tone="calm">{role}</Badge>
          {role === "host" && <SealBadge sealing={peerSealing(peer)} />}
          {role === "host" && <TierBadge tier={attestation.tier} />}
        </p>
      </header>
      {role === "host" && <Decision peer={peer} explained={explained} />}
      <section class="card" aria-labelledby="facts-title">
        <h2 id="facts-title">What it is</h2>
        <Facts
          rows={[
            ["State", peer.state],
            ["Route", via ? `through ${nameOf(via)}` : routeWords[peer.route]],
            ["Round trip", duration(peer.rtt_ms)],
            ["Runs", peer.version === null ? "it does not say" : `version ${peer.version}`],
            ["Inference key", peer.inference_key === null ? "none" : <code>{peer.inference_key}</code>],
            ["Owner", ownerText(peer)],
          ]}
        />
        {peer.model_states.length > 0 && <Models peer={peer} />}
      </section>
      {role === "host" && (
        <>
          <PinCard peer={peer} session={session} asked={asked} />
          <section class="card" aria-labelledby="evidence-title">
            <div class="section-head">
              <h2 id="evidence-title">Evidence</h2>
              <button type="button" class="button" onClick={asked.again} disabled={asked.state === "loading"}>
                {asked.state === "loading" ? "Asking …" : "Ask anew"}
              </button>
            </div>
            <Shown asked={asked} what="its evidence: it is asked now">
              {(report) => <Evidence report={report} />}
            </Shown>
          </section>
          <Posture posture={peer.posture} build={peer.build} />
        </>
      )}
    </>
  );
}

const titleOf: Readonly<Record<PeerSealing, string>> = {
  sealed: "It may be asked.",
  plain: "It may be asked, in the clear.",
  refused: "It is refused: no prompt goes there.",
  unasked: "It has not been asked for its evidence yet.",
  old: "Its evidence is too old. It is asked for newer one before a prompt goes there.",
};

function Decision(props: {
  readonly peer: PeerStatus;
  readonly explained: ReturnType<typeof useAsked<ExplainReport>>;
}): JSX.Element {
  const { peer, explained } = props;
  const { allowed, refusal } = peer.attestation;
  const sealing = peerSealing(peer);
  const text = explained.value?.hosts[0]?.text;
  return (
    <section
      class={allowed ? "notice good" : sealing === "unasked" || sealing === "old" ? "notice calm" : "notice bad"}
      aria-label="Decision"
    >
      <p class="notice-title">{titleOf[sealing]}</p>
      <p>
        <Inline text={text ?? refusal ?? ""} />
      </p>
    </section>
  );
}

function Models({ peer }: { readonly peer: PeerStatus }): JSX.Element {
  return (
    <table class="table stacked">
      <thead>
        <tr>
          <th scope="col">Model</th>
          <th scope="col" class="number">
            Context, tokens
          </th>
          <th scope="col">Load</th>
        </tr>
      </thead>
      <tbody>
        {peer.model_states.map(({ id, context_length: context, busy, queue }) => (
          <tr key={id}>
            <th scope="row">{id}</th>
            <td data-label="Context, tokens" class="number">
              {count(context)}
            </td>
            <td data-label="Load">
              {busy === null ? "it does not say" : busy ? `full, ${count(queue ?? 0)} waiting` : "has room"}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const ownerWords: Readonly<Record<string, string>> = {
  unsigned: "nobody has signed that it is theirs",
  verified: "signed by its owner",
};

function ownerText({ owner }: PeerStatus): JSX.Element | string {
  const words = ownerWords[owner.status] ?? owner.status;
  if (owner.owner_id === undefined) return words;
  return (
    <>
      {`${words}${owner.node_label === undefined ? "" : ` as ${owner.node_label}`}: `}
      <code>{owner.owner_id.slice(0, 16)}</code>
    </>
  );
}

/** View 6: lets other machines in. Makes an invite, shows it as text, as a picture for a phone and as a command, takes it back. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { askJson, askNode, messageOf, useAsked } from "../api.ts";
import { Badge, type Tone } from "../parts/badges.tsx";
import { Confirm } from "../parts/controls.tsx";
import { Empty, NeedsSession, Shown } from "../parts/states.tsx";
import type { Session } from "../session.ts";
import type { InviteDocument, MadeInviteDocument, Status } from "../types.ts";
import { count, dayTime, shortId, timeLeft } from "../words.ts";
import { Token, useNow } from "./token.tsx";

/** From one look at the list to the next, ms. */
const lookMs = 3_000;

interface InviteProps {
  readonly status: Status;
  readonly session: Session;
}

export function InviteView({ status, session }: InviteProps): JSX.Element {
  const invites = useAsked<{ readonly invites: readonly InviteDocument[] }>(
    session === "valid" ? "/api/invites" : null,
    // who joins by one is a peer in a moment; what else changes is seen a little later
    `${status.peers.map(({ id }) => id).join()} ${Math.floor(useNow() / lookMs)}`,
  );
  const [made, setMade] = useState<MadeInviteDocument | null>(null);
  return (
    <>
      <header class="head">
        <div>
          <h1>Invite</h1>
          <p class="lead">Who has an invite can join this mesh: to answer, to ask, or to relay.</p>
        </div>
      </header>
      <NeedsSession session={session} todo="To make and see invites" />
      {session === "valid" && (
        <>
          {made ? (
            <Token made={made} close={() => setMade(null)} />
          ) : (
            <MakeForm
              made={(one) => {
                setMade(one);
                invites.again();
              }}
            />
          )}
          <section aria-labelledby="invites-title">
            <h2 id="invites-title">Invites of this node</h2>
            <Shown asked={invites} what="the invites">
              {({ invites: list }) => <List invites={list} changed={invites.again} />}
            </Shown>
          </section>
        </>
      )}
    </>
  );
}

const lives: readonly (readonly [string, string])[] = [
  ["900", "15 minutes"],
  ["3600", "1 hour"],
  ["86400", "1 day"],
  ["604800", "1 week"],
  ["2592000", "30 days"],
];

function MakeForm({ made }: { readonly made: (invite: MadeInviteDocument) => void }): JSX.Element {
  const [failed, setFailed] = useState("");
  const [busy, setBusy] = useState(false);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (!(event.currentTarget instanceof HTMLFormElement)) return;
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setFailed("");
    askJson<MadeInviteDocument>("/api/invites", { method: "POST", body: wishOf(form) }).then(
      made,
      (thrown: unknown) => {
        setBusy(false);
        setFailed(messageOf(thrown));
      },
    );
  };
  return (
    <form class="card invite-form" onSubmit={submit} aria-labelledby="make-title">
      <h2 id="make-title">A new invite</h2>
      <div class="fields">
        <label class="field">
          <span class="label">For</span>
          <select class="input" name="role">
            <option value="">anything that this node may do</option>
            <option value="host">a host: it answers, and asks</option>
            <option value="client">a client: it asks</option>
            <option value="relay">a relay: it carries for others</option>
          </select>
        </label>
        <label class="field">
          <span class="label">Uses</span>
          <select class="input" name="uses">
            <option value="1">one machine</option>
            <option value="5">five machines</option>
            <option value="">no limit</option>
          </select>
        </label>
        <label class="field">
          <span class="label">Expires in</span>
          <select class="input" name="life">
            {lives.map(([seconds, text]) => (
              <option key={seconds} value={seconds} selected={seconds === "86400"}>
                {text}
              </option>
            ))}
          </select>
        </label>
        <label class="field">
          <span class="label">Note, for you</span>
          <input class="input" name="note" maxLength={60} autocomplete="off" placeholder="the desk in the lab" />
        </label>
      </div>
      <label class="check">
        <input type="checkbox" name="delegable" />
        may invite others in turn
      </label>
      {failed !== "" && (
        <p class="notice bad" role="alert">
          {failed}
        </p>
      )}
      <div class="actions start">
        <button type="submit" class="button primary" disabled={busy}>
          Make the invite
        </button>
      </div>
    </form>
  );
}

/** What is left out is as the node would have it. */
function wishOf(form: FormData): object {
  const text = (name: string): string => {
    const value = form.get(name);
    return typeof value === "string" ? value.trim() : "";
  };
  return {
    expires_seconds: Number(text("life")),
    delegable: form.has("delegable"),
    ...(text("role") === "" ? {} : { role: text("role") }),
    ...(text("uses") === "" ? {} : { uses: Number(text("uses")) }),
    ...(text("note") === "" ? {} : { note: text("note") }),
  };
}

const tones: Readonly<Record<InviteDocument["state"], Tone>> = {
  open: "good",
  expired: "calm",
  "used-up": "calm",
  revoked: "bad",
};

function List({
  invites,
  changed,
}: {
  readonly invites: readonly InviteDocument[];
  readonly changed: () => void;
}): JSX.Element {
  const now = useNow();
  const [revoking, revoke] = useState<InviteDocument | null>(null);
  if (invites.length === 0) {
    return (
      <Empty title="There is none">
        <p>In an open mesh nobody needs one; otherwise make the first above.</p>
      </Empty>
    );
  }
  return (
    <>
      <div class="card flush">
        <table class="table stacked">
          <thead>
            <tr>
              <th scope="col">Invite</th>
              <th scope="col">For</th>
              <th scope="col">Used</th>
              <th scope="col">Expires</th>
              <th scope="col">State</th>
              <th scope="col">
                <span class="unseen">Revoke</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {invites.map((invite) => (
              <tr key={invite.id} data-invite={invite.id}>
                <th scope="row">
                  {invite.note ?? (invite.standing ? "shown at the start" : "no note")}
                  <code class="under">{shortId(invite.id)}</code>
                </th>
                <td data-label="For">{invite.role}</td>
                <td data-label="Used">{`${count(invite.used_by.length)} of ${invite.uses === null ? "any number" : count(invite.uses)}`}</td>
                <td data-label="Expires" title={dayTime(invite.expires)}>
                  {timeLeft(Date.parse(invite.expires), now)}
                </td>
                <td data-label="State">
                  <Badge tone={tones[invite.state]}>{invite.state}</Badge>
                </td>
                <td class="number">
                  {invite.revoked === null && (
                    <button
                      type="button"
                      class="button"
                      aria-label={`Revoke ${invite.note ?? shortId(invite.id)}`}
                      onClick={() => revoke(invite)}
                    >
                      Revoke
                    </button>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {revoking && (
        <Confirm
          title="Revoke this invite?"
          verb="Revoke it"
          danger
          act={async () => {
            await askNode(`/api/invites/${revoking.id}`, { method: "DELETE" });
            changed();
          }}
          close={() => revoke(null)}
        >
          <p>
            Nobody can join by it any more, and{" "}
            {revoking.used_by.length === 0
              ? "nobody has."
              : `the ${revoking.used_by.length} that joined by it are put out of the mesh.`}
          </p>
        </Confirm>
      )}
    </>
  );
}

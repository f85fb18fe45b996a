/** Which key stands for a host, and the two things a person can do about it: confirm the key that it shows, or forget it. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { askNode, type Loaded, useAsked } from "../api.ts";
import { Confirm } from "../parts/controls.tsx";
import { Icon } from "../parts/icon.tsx";
import { NeedsSession } from "../parts/states.tsx";
import type { Session } from "../session.ts";
import type { AttestationReport, PeerStatus, PinDocument } from "../types.ts";
import { dayTime, nameOf } from "../words.ts";

interface PinCardProps {
  readonly peer: PeerStatus;
  readonly session: Session;
  readonly asked: Loaded<AttestationReport> & { readonly again: () => void };
}

type Dialog =
  | { readonly about: "nothing" | "forget" | "another key" }
  /** `key` is the one that was shown when it opened. */
  | { readonly about: "pin"; readonly key: string };

const standings: Readonly<Record<NonNullable<PeerStatus["attestation"]["pin"]>, string>> = {
  none: "No key is pinned for it.",
  "first-contact": "It was met in this session. From the next one on, its key counts as pinned, unless it changes.",
  agrees: "It shows the key that is pinned for it.",
  disagrees:
    "It shows another key than the one that is pinned for it. Until you say that this is right, it is refused.",
};

export function PinCard({ peer, session, asked }: PinCardProps): JSX.Element {
  const { fingerprint, pin } = peer.attestation;
  const id = peer.endpoint_id;
  const pins = useAsked<{ readonly pins: readonly PinDocument[] }>(
    session === "valid" ? "/api/pins" : null,
    `${pin} ${fingerprint}`,
  );
  const own = pins.value?.pins.filter(({ endpoint_id }) => endpoint_id === id) ?? [];
  const [dialog, open] = useState<Dialog>({ about: "nothing" });
  // what a person compares stays what it was when they began; what is confirmed is that and nothing newer
  const isOutdated = dialog.about === "pin" && dialog.key !== fingerprint;
  useEffect(() => {
    if (isOutdated) open({ about: "another key" });
  }, [isOutdated]);
  const close = (): void => open({ about: "nothing" });
  const done = (): void => {
    pins.again();
    asked.again();
  };
  const isShown = ({ key }: PinDocument): boolean => key === fingerprint;
  const confirmed = own.some((one) => one.confirmed && isShown(one));
  return (
    <section class="card" aria-labelledby="pin-title">
      <h2 id="pin-title">Pinned key</h2>
      <p>
        {pin === null
          ? "It has shown no key that could be pinned."
          : confirmed
            ? "You have confirmed the key that it shows."
            : standings[pin]}
      </p>
      {fingerprint !== null && (
        <p>
          <span class="label">{["The key that it shows", ...own.filter(isShown).map(pinnedText)].join(", ")}</span>
          <Fingerprint hex={fingerprint} />
        </p>
      )}
      {own
        .filter((one) => !isShown(one))
        .map((one) => (
          <p key={one.kind}>
            <span class="label">{`Another key, ${pinnedText(one)}`}</span>
            <Fingerprint hex={one.key} differs={fingerprint !== null} />
          </p>
        ))}
      {dialog.about === "another key" && (
        <p class="notice bad" role="alert">
          It no longer shows the key that you were comparing. Nothing was confirmed.
        </p>
      )}
      <NeedsSession session={session} todo="To confirm or forget keys" />
      {session === "valid" && (
        <div class="actions start">
          {fingerprint !== null && !confirmed && (
            <button type="button" class="button primary" onClick={() => open({ about: "pin", key: fingerprint })}>
              <Icon name="key" />
              Confirm this key
            </button>
          )}
          {own.length > 0 && (
            <button type="button" class="button" onClick={() => open({ about: "forget" })}>
              Forget
            </button>
          )}
        </div>
      )}
      {dialog.about === "pin" && !isOutdated && (
        <Confirm
          title={`Is this the key of ${nameOf(peer)}?`}
          verb="It is right: pin it"
          act={async () => {
            await askNode(`/api/pins/${id}`, { method: "POST", body: { key: dialog.key } });
            done();
          }}
          close={close}
        >
          <p>
            Compare it with what whoever runs that machine reads out there, from <code>sealmesh verify</code> with its
            own id. If both are the same, confirm it.
          </p>
          <Fingerprint hex={dialog.key} />
          <p class="muted">From then on the host is refused whenever it shows another key.</p>
        </Confirm>
      )}
      {dialog.about === "forget" && (
        <Confirm
          title={`Forget the key of ${nameOf(peer)}?`}
          verb="Forget it"
          danger
          act={async () => {
            await askNode(`/api/pins/${id}`, { method: "DELETE" });
            done();
          }}
          close={close}
        >
          {own.map(({ kind, key }) => (
            <Fingerprint key={kind} hex={key} />
          ))}
          <p class="muted">Whatever key it shows next is taken as its first.</p>
        </Confirm>
      )}
    </section>
  );
}

function pinnedText({ confirmed, pinned_at: at }: PinDocument): string {
  return `pinned ${confirmed ? "by you" : "at the first contact"}, ${dayTime(at)}`;
}

/** In groups of four digits, so that two people can compare it. */
function Fingerprint({ hex, differs = false }: { readonly hex: string; readonly differs?: boolean }): JSX.Element {
  return (
    <code class={differs ? "fingerprint differs" : "fingerprint"} data-fingerprint={hex}>
      {(hex.match(/.{1,4}/g) ?? []).map((group, index) => (
        <span key={index}>{group}</span>
      ))}
    </code>
  );
}

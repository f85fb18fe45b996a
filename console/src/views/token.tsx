/** A new invite, the one time that it is shown: as a picture, as a command to paste, and how long it holds. */
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { encode } from "uqr";
import { CopyButton } from "../parts/controls.tsx";
import type { MadeInviteDocument } from "../types.ts";
import { dayTime, timeLeft } from "../words.ts";

const theInvite = "The invite";

export function Token({ made, close }: { readonly made: MadeInviteDocument; readonly close: () => void }): JSX.Element {
  const { token, invite } = made;
  const now = useNow();
  const commands: readonly (readonly [string, string])[] = [
    ...(invite?.role === "client" || invite?.role === "relay"
      ? []
      : [["On a machine with models", `sealmesh serve --engine auto --join ${token}`] as const]),
    ...(invite?.role === "relay" ? [] : [["On a machine that asks", `sealmesh client --join ${token}`] as const]),
    ...(invite?.role === "relay" ? [["On a machine that relays", `sealmesh relay --join ${token}`] as const] : []),
  ];
  return (
    <section class="card token" aria-labelledby="token-title">
      <div class="section-head">
        <h2 id="token-title">Your invite</h2>
        <button type="button" class="button" onClick={close}>
          Done
        </button>
      </div>
      <p>
        It is shown this once. Give it to nobody else: who has it can join.
        {invite && (
          <>
            {" "}
            <strong class="countdown">{timeLeft(Date.parse(invite.expires), now)}</strong>
            <span class="muted">{`, until ${dayTime(invite.expires)}`}</span>
          </>
        )}
      </p>
      <div class="token-body">
        <QrCode text={token} />
        <div class="token-texts">
          <Pasted label={theInvite} text={token} />
          {commands.map(([label, text]) => (
            <Pasted key={label} label={label} text={text} />
          ))}
        </div>
      </div>
    </section>
  );
}

function Pasted({ label, text }: { readonly label: string; readonly text: string }): JSX.Element {
  return (
    <div class="pasted">
      <div class="section-head">
        <span class="label">{label}</span>
        <CopyButton text={text} label={label.toLowerCase()} wide />
      </div>
      <pre class={label === theInvite ? "command" : "command line"} tabIndex={0}>
        {text}
      </pre>
    </div>
  );
}

/** Dark on light in either theme: readers want it so. */
function QrCode({ text }: { readonly text: string }): JSX.Element {
  const { data, size } = encode(text, { ecc: "L", border: 3 });
  const path = data.flatMap((row, y) => row.flatMap((dark, x) => (dark ? [`M${x} ${y}h1v1h-1z`] : []))).join("");
  return (
    <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label="The invite as a QR code">
      <rect class="qr-ground" width={size} height={size} />
      <path class="qr-dark" d={path} />
    </svg>
  );
}

/** The time, every second. */
export function useNow(): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

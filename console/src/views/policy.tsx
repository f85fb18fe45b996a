/** View 5: what this node demands of hosts, who passes and who does not, and how that would be with other demands. */
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useAsked } from "../api.ts";
import { SealBadge, TierBadge } from "../parts/badges.tsx";
import { Empty, Shown } from "../parts/states.tsx";
import { linkTo } from "../route.ts";
import type { PolicyHost, PolicyReport, Status } from "../types.ts";
import { shortId, some } from "../words.ts";
import { Inline } from "./prose.tsx";

/** What is tried; null: as it is. */
interface WhatIf {
  readonly tier: string | null;
  readonly encryption: boolean | null;
  readonly hardened: boolean | null;
}

const asItIs: WhatIf = { tier: null, encryption: null, hardened: null };

function pathOf({ tier, encryption, hardened }: WhatIf): string {
  const query = new URLSearchParams();
  if (tier !== null) query.set("require_attested_hosts", tier);
  if (encryption !== null) query.set("require_encryption", encryption ? "1" : "0");
  if (hardened !== null) query.set("require_hardened", hardened ? "1" : "0");
  return `/api/policy${query.size === 0 ? "" : `?${query}`}`;
}

export function PolicyView({ status }: { readonly status: Status }): JSX.Element {
  const [trying, setTrying] = useState(asItIs);
  // what follows from the policy changes with what the peers show
  const version = JSON.stringify([
    status.policy,
    status.peers.map(({ attestation, sealed, models }) => [attestation, sealed, models]),
  ]);
  const now = useAsked<PolicyReport>("/api/policy", version);
  const tried = useAsked<PolicyReport>(trying === asItIs ? null : pathOf(trying), version);
  const shown = trying === asItIs ? now : tried;
  return (
    <>
      <header class="head">
        <div>
          <h1>Policy</h1>
          <p class="lead">What a host must show before a prompt may go to it.</p>
        </div>
      </header>
      <div class="two">
        <section class="card" aria-labelledby="demands-title">
          <h2 id="demands-title">This node demands</h2>
          <Shown asked={now} what="the policy">
            {(report) => <Demands demanded={report.demanded} policy={status.policy} />}
          </Shown>
        </section>
        <WhatIfForm trying={trying} change={setTrying} policy={status.policy} />
      </div>
      <section aria-labelledby="hosts-title">
        <div class="section-head">
          <h2 id="hosts-title">{trying === asItIs ? "Who passes now" : "Who would pass"}</h2>
          {shown.value && <p class="muted">{summaryOf(shown.value)}</p>}
        </div>
        <Shown asked={shown} what="the decisions">
          {(report) => <Hosts report={report} now={now.value} />}
        </Shown>
      </section>
    </>
  );
}

function summaryOf({ hosts }: PolicyReport): string {
  const allowed = hosts.filter(({ decision }) => decision === "allow").length;
  return `${allowed} of ${some(hosts.length, "host")}`;
}

function Demands(props: { readonly demanded: readonly string[]; readonly policy: Status["policy"] }): JSX.Element {
  const { demanded, policy } = props;
  const open = [
    ...(policy.require_attested_hosts === null ? ["evidence"] : []),
    ...(policy.require_encryption
      ? []
      : ["that prompts are always sealed: a host without a key may get them in the clear"]),
    ...(policy.require_hardened ? [] : ["that hosts say they are hardened"]),
  ];
  return (
    <>
      {demanded.length === 0 && <p>Nothing: every member that has a model may get prompts for it.</p>}
      <ul class="plain-list">
        {demanded.map((one) => (
          <li key={one}>
            <Inline text={one} />
          </li>
        ))}
      </ul>
      {open.length > 0 && (
        <>
          <h3 class="label">It does not demand</h3>
          <ul class="plain-list open">
            {open.map((one) => (
              <li key={one}>{one}</li>
            ))}
          </ul>
        </>
      )}
      <p class="muted">
        Flags and <code>config.toml</code> say so, and the invite that it joined by; docs/policy.md lists all demands.
      </p>
    </>
  );
}

interface WhatIfProps {
  readonly trying: WhatIf;
  readonly change: (trying: WhatIf) => void;
  readonly policy: Status["policy"];
}

const tierOptions: readonly (readonly [string, string])[] = [
  ["none", "no evidence"],
  ["key", "key: it holds its keys now"],
  ["pinned", "pinned: a key that you know"],
  ["vendor", "vendor: a maker vouches"],
  ["measured", "measured: the code too"],
];

function WhatIfForm({ trying, change, policy }: WhatIfProps): JSX.Element {
  const tier = trying.tier ?? policy.require_attested_hosts ?? "none";
  return (
    <section class="card" aria-labelledby="whatif-title">
      <div class="section-head">
        <h2 id="whatif-title">What if it demanded …</h2>
        {trying !== asItIs && (
          <button type="button" class="button" onClick={() => change(asItIs)}>
            As it is
          </button>
        )}
      </div>
      <label class="field">
        <span class="label">Evidence of tier</span>
        <select
          class="input"
          value={tier}
          onChange={({ currentTarget }) => change({ ...trying, tier: currentTarget.value })}
        >
          {tierOptions.map(([value, text]) => (
            <option key={value} value={value}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <Check
        text="that prompts are always sealed"
        value={trying.encryption ?? policy.require_encryption}
        change={(encryption) => change({ ...trying, encryption })}
      />
      <Check
        text="that hosts say they are hardened"
        value={trying.hardened ?? policy.require_hardened}
        change={(hardened) => change({ ...trying, hardened })}
      />
      <p class="muted">This only looks: the node goes on with its own policy, and no host is asked.</p>
    </section>
  );
}

function Check(props: {
  readonly text: string;
  readonly value: boolean;
  readonly change: (value: boolean) => void;
}): JSX.Element {
  const { text, value, change } = props;
  return (
    <label class="check">
      <input type="checkbox" checked={value} onChange={({ currentTarget }) => change(currentTarget.checked)} />
      {text}
    </label>
  );
}

function Hosts({
  report,
  now,
}: {
  readonly report: PolicyReport;
  readonly now: PolicyReport | undefined;
}): JSX.Element {
  if (report.hosts.length === 0) {
    return (
      <Empty title="There is no other host">
        <p>
          <a href={linkTo({ view: "invite" })}>Invite one</a> to see what it would have to show.
        </p>
      </Empty>
    );
  }
  return (
    <ul class="decisions">
      {report.hosts.map((host) => (
        <Decision
          key={`${host.endpoint_id} ${host.models.join(" ")}`}
          host={host}
          before={report.what_if ? sameIn(now, host) : undefined}
        />
      ))}
    </ul>
  );
}

function sameIn(report: PolicyReport | undefined, host: PolicyHost): PolicyHost | undefined {
  return report?.hosts.find(
    ({ endpoint_id: id, models }) => id === host.endpoint_id && models.join() === host.models.join(),
  );
}

function Decision({
  host,
  before,
}: {
  readonly host: PolicyHost;
  readonly before: PolicyHost | undefined;
}): JSX.Element {
  const { endpoint_id: id, decision, reasons, sentence, tier, route, models } = host;
  const allowed = decision === "allow";
  const unasked = reasons.some(({ rule }) => rule === "not-asked");
  const old = reasons.some(({ rule }) => rule === "stale");
  const changed = before !== undefined && before.decision !== decision;
  return (
    <li class={`card decision ${allowed ? "good" : "bad"}`} data-host={id}>
      <div class="section-head">
        <h3>
          <a href={linkTo({ view: "peer", id })}>{host.name ?? shortId(id)}</a>
        </h3>
        <p class="badges">
          {changed && <span class="changed">{allowed ? "refused as it is" : "passes as it is"}</span>}
          <SealBadge sealing={allowed ? (route ?? "none") : unasked ? "unasked" : old ? "old" : "refused"} />
          <TierBadge tier={tier} />
        </p>
      </div>
      <p class="muted">{models.join(", ")}</p>
      {allowed || reasons.length === 0 ? (
        <p>
          <Inline text={sentence} />
        </p>
      ) : (
        <ul class="reasons">
          {reasons.map(({ rule, code, sentence: why }) => (
            <li key={`${rule} ${code}`}>
              <code>{code}</code>{" "}
              <span>
                <Inline text={why} />
              </span>
              {rule !== code && <span class="muted">{` (${rule})`}</span>}
            </li>
          ))}
        </ul>
      )}
    </li>
  );
}

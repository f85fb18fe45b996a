/** This node itself: its engines, how it is closed, what it shows to others, what it carries for them. */
import type { JSX } from "preact";
import { Back } from "../parts/back.tsx";
import { Badge } from "../parts/badges.tsx";
import { Id } from "../parts/controls.tsx";
import { Facts } from "../parts/facts.tsx";
import type { EngineStatus, Status } from "../types.ts";
import { count, dayTime, ownName, some } from "../words.ts";
import { Doors, factsOf } from "./posture.tsx";

export function OwnNode({ status }: { readonly status: Status }): JSX.Element {
  const { hardening, relayed, admission, posture, evidence } = status;
  return (
    <>
      <Back />
      <header class="head">
        <div>
          <h1>{ownName(status)}</h1>
          <p class="lead">
            This node. <Id id={status.endpoint_id} />
          </p>
        </div>
        <p class="badges">
          <Badge tone="calm">{status.node_state}</Badge>
          <Badge tone={hardening.on ? "good" : "warn"}>{hardening.on ? "hardened" : "not hardened"}</Badge>
        </p>
      </header>
      <section class="card" aria-labelledby="engines-title">
        <h2 id="engines-title">Engines</h2>
        {status.engines.length === 0 ? (
          <p class="muted">It has none: it asks, and does not answer.</p>
        ) : (
          status.engines.map((engine) => <Engine key={engine.name} engine={engine} />)
        )}
        <Facts
          rows={[
            ["Running now", `${count(admission.running)} of at most ${count(admission.max_running)}`],
            ["Waiting", `${count(admission.queued)} of at most ${count(admission.max_queued)}`],
            [
              "Carried for others",
              status.relays_for_others
                ? `${some(relayed.streams, "stream")}, ${count(relayed.bytes)} bytes`
                : "it does not relay",
            ],
          ]}
        />
      </section>
      <section class="card" aria-labelledby="own-evidence-title">
        <h2 id="own-evidence-title">What it shows of itself</h2>
        {evidence.length === 0 && <p class="muted">No evidence: others know it by its word alone.</p>}
        {evidence.map(({ kind, note, issued_at: issued, why }) => (
          <p key={kind}>
            <Badge tone={why === null ? "calm" : "warn"}>{kind}</Badge>{" "}
            {why ?? (issued === null ? "not made yet" : `made ${dayTime(issued)}`)}{" "}
            {note !== null && <span class="muted">{note}</span>}
          </p>
        ))}
      </section>
      <section class="card" aria-labelledby="own-posture-title">
        <h2 id="own-posture-title">Posture</h2>
        <p class="muted">How this process is closed to other programs, as it tells others.</p>
        <Doors doors={posture.doors} />
        <Facts rows={factsOf(posture)} />
      </section>
    </>
  );
}

function Engine({ engine }: { readonly engine: EngineStatus }): JSX.Element {
  const { name, kind, state, why, models, running, waiting } = engine;
  return (
    <div class="engine">
      <p>
        <strong>{name}</strong> <span class="muted">{kind}</span>{" "}
        <Badge tone={state === "up" ? "good" : state === "down" ? "bad" : "calm"}>{state}</Badge>
      </p>
      {why !== null && <p class="bad">{why}</p>}
      <p class="muted">{`${models.map(({ id }) => id).join(", ") || "no model"}; ${count(running)} running, ${count(waiting)} waiting`}</p>
    </div>
  );
}

/** What a host has shown of its machine: every factor with its verdict and its sentence, and what the evidence claims. */
import type { JSX } from "preact";
import { Badge, OutcomeBadge } from "../parts/badges.tsx";
import { Facts } from "../parts/facts.tsx";
import { Empty } from "../parts/states.tsx";
import type { AttestationReport, FactorRow, PieceReport } from "../types.ts";
import { clockTime, dayTime } from "../words.ts";

export function Evidence({ report }: { readonly report: AttestationReport }): JSX.Element {
  const host = report.hosts.find(({ this_node: own }) => !own);
  if (host === undefined || host.this_node || host.evidence.length === 0) {
    return (
      <Empty title="It has shown no evidence">
        <p>{host?.why ?? "Whatever it says of itself is its own word."}</p>
      </Empty>
    );
  }
  return (
    <>
      <p class="muted">{`Checked at ${clockTime(report.checked_at)}, with an answer that was asked for then.`}</p>
      {host.evidence.map((piece, index) => (
        <Piece key={index} piece={piece} />
      ))}
      <details class="more">
        <summary>Check it yourself</summary>
        <p>
          Save what <code>{`/api/attestation/${host.endpoint_id}`}</code> answers as <code>attestation.json</code>, and
          run:
        </p>
        <pre class="command">{report.check.command}</pre>
      </details>
    </>
  );
}

const challengeWords: Readonly<Record<PieceReport["challenge"], string>> = {
  unasked: "not asked yet",
  answered: "answered: it holds both keys now",
  missed: "missed",
  failed: "answered wrongly",
  impossible: "cannot be asked",
};

function Piece({ piece }: { readonly piece: PieceReport }): JSX.Element {
  const kind = typeof piece.item["kind"] === "string" ? piece.item["kind"] : "unknown";
  // what was looked at first; what nothing could be said about is there, and out of the way
  const settled = piece.factors.filter(({ outcome }) => outcome !== "unknown");
  const open = piece.factors.filter(({ outcome }) => outcome === "unknown");
  return (
    <article class="piece" aria-label={`Evidence of kind ${kind}`}>
      <p class="badges">
        <Badge tone="calm">{kind}</Badge>
        <span class="muted">{`Challenge: ${challengeWords[piece.challenge]}`}</span>
      </p>
      <Factors rows={[...settled, ...open]} />
      <details class="more">
        <summary>{`What it claims (${piece.claims.length})`}</summary>
        <Facts
          rows={piece.claims.map(({ claim, value, by }) => [claim, <Claim key={claim} value={value} by={by} />])}
        />
      </details>
    </article>
  );
}

function Factors({ rows }: { readonly rows: readonly FactorRow[] }): JSX.Element {
  return (
    <ul class="factors">
      {rows.map(({ factor, asks, outcome, sentence }) => (
        <li key={factor} data-factor={factor}>
          <OutcomeBadge outcome={outcome} />
          <p>
            <code class="factor">{factor}</code> <span class="muted">{asks}</span>
          </p>
          <p>{sentence}</p>
        </li>
      ))}
    </ul>
  );
}

const words = { signature: "shown by the signature", self: "its own word", vendor: "its maker's word" } as const;

function Claim({ value, by }: { readonly value: string; readonly by: keyof typeof words }): JSX.Element {
  const isTime = /^\d{4}-\d\d-\d\dT/.test(value);
  return (
    <>
      {isTime ? dayTime(value) : <code class="long">{value}</code>} <span class="muted">{words[by]}</span>
    </>
  );
}

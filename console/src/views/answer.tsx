/** One turn of the chat: the question, the answer as it comes, and under it what is known of who gave it. */
import type { JSX } from "preact";
import { SealBadge, type Sealing, TierBadge } from "../parts/badges.tsx";
import { linkTo } from "../route.ts";
import type { ExchangeReport, Status } from "../types.ts";
import { count, duration, nodeName, sealingOf, some, tokensPerSecond, waitingWords } from "../words.ts";
import type { Told } from "./conversation.ts";
import { Inline, Prose } from "./prose.tsx";

export interface Turn {
  readonly question: string;
  readonly model: string;
  readonly text: string;
  readonly state: "answering" | "whole" | "stopped" | "failed";
  /** Why it failed, in a sentence or two. */
  readonly why: string;
  readonly told: Told | undefined;
}

interface AnswerProps {
  readonly turn: Turn;
  readonly status: Status;
  /** What the node knows of it, once it has ended. */
  readonly report: ExchangeReport | undefined;
}

export function Answer({ turn, status, report }: AnswerProps): JSX.Element {
  const { question, model, text, state, why, told } = turn;
  return (
    <article class="turn">
      <p class="asked">{question}</p>
      <div class={`answer ${state}`}>
        <p class="answer-by">{model}</p>
        {text !== "" && <Prose text={text} />}
        {state === "answering" && text === "" && (
          <p class="muted waiting">{waitingWords(sealingOf({ sealed: sealedWord(told?.sealed) }))}</p>
        )}
        {state === "stopped" && <p class="muted">You stopped it.</p>}
        {state === "failed" && (
          <p class="notice bad" role="alert">
            <Inline text={why} />
          </p>
        )}
        <Provenance turn={turn} status={status} report={report} />
      </div>
    </article>
  );
}

function Provenance({ turn: { told }, status, report }: AnswerProps): JSX.Element | null {
  const host = report?.host ?? (told?.host || null);
  if (host === null || host === undefined) return null;
  const sealing: Sealing = sealingOf({ sealed: report?.sealed ?? sealedWord(told?.sealed) });
  const route = report?.route ?? told?.route ?? "";
  const relay = report?.attempts.findLast(({ outcome }) => outcome === "answered")?.relay;
  const proven = report ? report.attestation : told?.tier ? { tier: told.tier, kind: told.evidence } : null;
  return (
    <footer class="provenance">
      <p class="badges">
        <SealBadge sealing={sealing} />
        <TierBadge tier={sealing === "local" ? null : (proven?.tier ?? "none")} />
      </p>
      <p>
        {"Answered by "}
        <a href={linkTo({ view: "peer", id: host })}>{nodeName(status, host)}</a>
        {route === "relay"
          ? ` through ${relay === undefined ? "a relay" : nodeName(status, relay)}`
          : route === "direct"
            ? " directly"
            : ""}
        {proven?.kind ? `, proven by ${proven.kind} evidence` : ""}
        {"."}
      </p>
      {report && <p>{numbersOf(report)}</p>}
    </footer>
  );
}

function sealedWord(said: string | undefined): ExchangeReport["sealed"] {
  return said === "true" || said === "false" || said === "local" ? said : null;
}

function numbersOf(report: ExchangeReport): string {
  const rate = tokensPerSecond(report);
  return [
    report.completion_tokens === null ? "tokens not counted" : some(report.completion_tokens, "token"),
    ...(report.first_token_ms === null ? [] : [`first after ${duration(report.first_token_ms)}`]),
    `${duration(report.ms)} in all`,
    ...(rate === null ? [] : [`${rate < 100 ? rate.toFixed(1) : count(Math.round(rate))} tokens/s`]),
  ].join(" · ");
}

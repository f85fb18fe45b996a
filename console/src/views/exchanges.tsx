/** View 3: what this machine asked for lately. Who answered, how it travelled, how long it took; never what was said. */
import type { JSX } from "preact";
import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { SealBadge, TierBadge } from "../parts/badges.tsx";
import { Facts } from "../parts/facts.tsx";
import { Icon } from "../parts/icon.tsx";
import { Empty } from "../parts/states.tsx";
import { linkTo } from "../route.ts";
import type { ExchangeReport, Status } from "../types.ts";
import { clockTime, count, dayTime, duration, nodeName, sealingOf, some, tokensPerSecond } from "../words.ts";
import { Chart } from "./chart.tsx";

interface ExchangesProps {
  readonly status: Status;
  /** Newest first. */
  readonly exchanges: readonly ExchangeReport[];
}

/** Shown without being asked for more. */
const shownAtFirst = 30;

export function ExchangesView({ status, exchanges }: ExchangesProps): JSX.Element {
  const [all, showAll] = useState(false);
  const shown = all ? exchanges : exchanges.slice(0, shownAtFirst);
  return (
    <>
      <header class="head">
        <div>
          <h1>Exchanges</h1>
          <p class="lead">
            The last ones that programs on this machine asked for. What was said in them is kept nowhere.
          </p>
        </div>
      </header>
      <Totals status={status} />
      {exchanges.length === 0 ? (
        <Empty title="Nothing has been asked yet">
          <p>
            Try the <a href={linkTo({ view: "chat" })}>chat</a>, or point a program at the address on the mesh page.
          </p>
        </Empty>
      ) : (
        <>
          <Charts exchanges={exchanges} />
          <List status={status} exchanges={shown} />
          {shown.length < exchanges.length && (
            <p class="actions">
              <button type="button" class="button" onClick={() => showAll(true)}>
                {`Show all ${exchanges.length}`}
              </button>
            </p>
          )}
        </>
      )}
    </>
  );
}

function Totals({ status }: { readonly status: Status }): JSX.Element {
  const { requests, by_sealing: sealing, completion_tokens: tokens, by_outcome: outcomes } = status.exchanges.totals;
  const failed = requests - (outcomes["ok"] ?? 0);
  const figures: readonly (readonly [string, number, string])[] = [
    ["asked", requests, ""],
    ["sealed", sealing.sealed, "good"],
    ["plain", sealing.plain, sealing.plain > 0 ? "warn" : ""],
    ["on this machine", sealing.local, ""],
    ["not whole", failed, failed > 0 ? "bad" : ""],
    ["tokens answered", tokens, ""],
  ];
  return (
    <dl class="figures" aria-label="Since the node started">
      {figures.map(([name, value, tone]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd class={tone}>{count(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function Charts({ exchanges }: { readonly exchanges: readonly ExchangeReport[] }): JSX.Element {
  const times = exchanges.toReversed();
  return (
    <div class="charts">
      <Chart
        title="Time to first token"
        points={times.map((one) => ({ value: one.first_token_ms, label: clockTime(one.time) }))}
        text={(value) => duration(value)}
      />
      <Chart
        title="Tokens per second"
        points={times.map((one) => ({ value: tokensPerSecond(one), label: clockTime(one.time) }))}
        text={(value) => (value < 100 ? value.toFixed(1) : count(Math.round(value)))}
      />
    </div>
  );
}

function List({ status, exchanges }: ExchangesProps): JSX.Element {
  const [open, setOpen] = useState<string | null>(null);
  return (
    <div class="card flush">
      <table class="table stacked">
        <caption class="unseen">Exchanges, newest first</caption>
        <thead>
          <tr>
            <th scope="col">Time</th>
            <th scope="col">Model</th>
            <th scope="col">Host</th>
            <th scope="col">Sealed how</th>
            <th scope="col">Route</th>
            <th scope="col" class="number">
              First token
            </th>
            <th scope="col" class="number">
              Tokens
            </th>
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          {exchanges.map((report) => (
            <Fragment key={report.id}>
              <Row
                status={status}
                report={report}
                open={open === report.id}
                turn={() => setOpen(open === report.id ? null : report.id)}
              />
              {open === report.id && (
                <tr class="opened">
                  <td colSpan={8} id={`detail-${report.id}`}>
                    <Detail status={status} report={report} />
                  </td>
                </tr>
              )}
            </Fragment>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface RowProps {
  readonly status: Status;
  readonly report: ExchangeReport;
  readonly open: boolean;
  readonly turn: () => void;
}

function Row({ status, report, open, turn }: RowProps): JSX.Element {
  const tries = report.attempts.length;
  const failed = report.code !== null || report.status >= 400;
  return (
    <tr data-exchange={report.id}>
      <th scope="row">
        <button
          type="button"
          class="opener"
          aria-expanded={open}
          aria-controls={open ? `detail-${report.id}` : undefined}
          onClick={turn}
        >
          <Icon name="more" />
          <time dateTime={report.time}>{clockTime(report.time)}</time>
        </button>
      </th>
      <td data-label="Model">{report.model === "" ? <span class="muted">unknown</span> : report.model}</td>
      <td data-label="Host">
        {report.host === null ? <span class="muted">nobody</span> : nodeName(status, report.host)}
      </td>
      <td data-label="Sealed how">
        <SealBadge sealing={sealingOf(report)} />
      </td>
      <td data-label="Route">
        {report.route === "relay"
          ? "through a relay"
          : report.route === "local"
            ? "on this machine"
            : (report.route ?? "–")}
      </td>
      <td data-label="First token" class="number">
        {duration(report.first_token_ms)}
      </td>
      <td data-label="Tokens" class="number">
        {count(report.completion_tokens)}
      </td>
      <td data-label="Outcome">
        {failed ? <span class="bad">{report.code ?? String(report.status)}</span> : "whole"}
        {tries > 1 && <span class="muted">{`, ${some(tries, "attempt")}`}</span>}
      </td>
    </tr>
  );
}

function Detail({ status, report }: { readonly status: Status; readonly report: ExchangeReport }): JSX.Element {
  const rate = tokensPerSecond(report);
  return (
    <div class="detail">
      <Facts
        rows={[
          ["Began", dayTime(report.time)],
          ["Took", duration(report.ms)],
          ["First byte", duration(report.first_byte_ms)],
          [
            "Prompt tokens",
            `${count(report.prompt_tokens)}${report.cached_tokens ? `, ${count(report.cached_tokens)} from the cache` : ""}`,
          ],
          ["Answer tokens", count(report.completion_tokens)],
          ["Tokens per second", rate === null ? "–" : rate.toFixed(1)],
          ["Proven", provenText(report)],
          ["Request id", <code key="id">{report.id}</code>],
        ]}
      />
      {report.code === "refused" && report.attempts.length === 0 && (
        <p>
          No host was asked: the policy of this node refuses all that have the model.{" "}
          <a href={linkTo({ view: "policy" })}>See why</a>.
        </p>
      )}
      {report.attempts.length > 0 && (
        <>
          <h3>Attempts</h3>
          <ol class="attempts">
            {report.attempts.map((attempt, index) => (
              <li key={index}>
                <strong>{nodeName(status, attempt.host)}</strong>{" "}
                {attempt.route === "relay" && attempt.relay !== undefined
                  ? `through ${nodeName(status, attempt.relay)}`
                  : attempt.route}
                {attempt.sealed ? ", sealed: " : ", plain: "}
                {attempt.reason === null ? (
                  "answered"
                ) : (
                  <span class="bad">{`${attempt.outcome}, ${attempt.reason}`}</span>
                )}
                {attempt.reason !== null && <span class="muted">{` (${processedWords[attempt.processed]})`}</span>}
                {attempt.failed_ways.map((way, at) => (
                  <p key={at} class="muted">
                    {`${way.relay === null ? "Directly" : `Through ${nodeName(status, way.relay)}`}: ${way.outcome}, ${way.reason}`}
                  </p>
                ))}
              </li>
            ))}
          </ol>
        </>
      )}
    </div>
  );
}

const processedWords = { yes: "processed", maybe: "maybe processed", no: "not processed" } as const;

function provenText({ attestation, sealed }: ExchangeReport): JSX.Element | string {
  if (attestation === null) return sealed === "local" ? "nothing to prove: this machine" : "–";
  const { kind, key, at_end: end } = attestation;
  return (
    <>
      <TierBadge tier={attestation.tier} /> {kind ?? "no evidence"} {key !== null && <code>{key.slice(0, 16)}</code>}
      {end !== "current" && <span class="bad">{` (${end} by its end)`}</span>}
    </>
  );
}

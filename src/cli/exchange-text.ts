/** Exchanges as a table, for `status`. Pure: reports in, text out. */
import type { ExchangeReport, ExchangeTotals } from "../node/exchanges.ts";
import { type Cell, type Column, tableOf, type TableOptions } from "./table.ts";
import { counted } from "./output.ts";
import { millisecondsText, sealingCell, sealingWord } from "./words.ts";

const columns: readonly Column[] = [
  { head: "UTC" },
  { head: "model", least: 8 },
  { head: "answer", least: 8 },
  { head: "host" },
  { head: "route" },
  { head: "prompt" },
  { head: "first", drop: 3, right: 7 },
  { head: "whole", right: 7 },
  { head: "tokens", drop: 2 },
];

export function exchangeTable(recent: readonly ExchangeReport[], options: TableOptions): string {
  return tableOf(columns, recent.map(exchangeCells), options);
}

function exchangeCells(report: ExchangeReport): readonly Cell[] {
  const { time, model, status, code, host, sealed, route, ms, first_token_ms: firstMs } = report;
  const { prompt_tokens: asked, completion_tokens: answered } = report;
  return [
    time.slice(11, 19),
    model || "-",
    code === null ? `${status}` : { text: `${status} ${code}`, style: "red" },
    host === null ? "-" : route === "local" ? "this node" : host.slice(0, 10),
    route ?? "-",
    sealingCell(sealingWord(sealed)),
    millisecondsText(firstMs),
    millisecondsText(ms),
    `${asked ?? "-"} / ${answered ?? "-"}`,
  ];
}

/** "last exchanges (9 in all, 100 tokens in, 20 out)" */
export function exchangesHead({ requests, prompt_tokens: asked, completion_tokens: answered }: ExchangeTotals): string {
  return `last exchanges (${requests} in all, ${counted(asked, "token")} in, ${answered} out)`;
}

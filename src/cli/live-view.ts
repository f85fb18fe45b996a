/**
 * What `serve` and `client` show under their ready text while somebody looks at them: peers, models, what runs and what was
 * asked and answered last. Changes in place, four times a second at most; warnings and errors stand above it. Elsewhere (a
 * pipe, a service, TERM=dumb, --plain) the log has its plain lines instead. The lines themselves are a pure function.
 */
import { shortId } from "../base/brand.ts";
import type { Log, LogEvent, LogLevel } from "../base/log.ts";
import type { Status } from "../node/status.ts";
import { LiveScreen } from "./live-screen.ts";
import { counted, isLively, labelled, type Paint, paintFor } from "./output.ts";
import { inOrder, peersHead, peerTable } from "./peer-text.ts";
import { type Cell, cutTo, tableOf } from "./table.ts";
import { durationText, fewOf, millisecondsText, sealingCell, sealingWord } from "./words.ts";

/** One line of what was asked and answered last. */
export type Seen = { readonly atMs: number } & Extract<
  LogEvent,
  { event: "exchange-asked" | "exchange-answered" | "exchange-refused" | "relay-carried" }
>;

export interface ViewState {
  readonly status: Pick<Status, "peers" | "models" | "admission" | "exchanges" | "inflight_requests" | "engines">;
  /** Newest first. */
  readonly seen: readonly Seen[];
  readonly upSeconds: number;
}

export interface ViewSize {
  readonly width: number;
  readonly height: number;
}

/** Lines of each list; a small terminal has fewer. */
const most = { peers: 6, seen: 5, models: 5 } as const;
/** Lines that are no rows of a list: heads, and empty ones between. */
const frame = 10;
/** Between two looks at the node, and between two changes of the picture, ms. */
const lookMs = 1_000;
const soonestMs = 250;

/** No line is longer than `width - 1`, and there are fewer than `height`. */
export function viewLines({ status, seen, upSeconds }: ViewState, size: ViewSize, paint: Paint): readonly string[] {
  const width = Math.max(size.width - 1, 20);
  const rows = Math.max(size.height - frame, 2);
  const seenRows = Math.min(most.seen, seen.length, Math.ceil(rows / 2));
  const peers = inOrder(status.peers);
  const peerRows = Math.min(most.peers, peers.length, Math.max(rows - seenRows, 1));
  const { running, queued } = status.admission;
  const { totals } = status.exchanges;
  const row = (label: string, text: string): string => labelled(label, [cutTo(text, width - 20)], paint);
  const lines = [
    row("up", durationText(upSeconds)),
    row("models", fewOf(status.models, most.models) || "none yet"),
    row("running", `${counted(status.inflight_requests, "request")}; engines: ${running} running, ${queued} waiting`),
    row(
      "asked here",
      `${counted(totals.requests, "request")}, ${totals.prompt_tokens} tokens in, ${totals.completion_tokens} out`,
    ),
    "",
    paint("bold", peersHead(peers)),
  ];
  if (peerRows > 0) {
    lines.push(...peerTable(peers.slice(0, peerRows), { paint, width }).split("\n"));
    if (peers.length > peerRows) lines.push(paint("dim", `  and ${peers.length - peerRows} more: sealmesh peers`));
  }
  if (seenRows > 0) lines.push("", ...seenTable(seen.slice(0, seenRows), namesOf(peers), paint, width));
  lines.push("", paint("dim", cutTo("  Control-C stops. Ask: sealmesh chat. Look closer: sealmesh console", width)));
  return lines.slice(0, Math.max(size.height - 1, 1));
}

function namesOf(peers: Status["peers"]): ReadonlyMap<string, string> {
  return new Map(peers.map(({ endpoint_id: id, hostname }) => [id, hostname ?? shortId(id)]));
}

function seenTable(
  seen: readonly Seen[],
  names: ReadonlyMap<string, string>,
  paint: Paint,
  width: number,
): readonly string[] {
  const columns = [
    { head: "last" },
    { head: "what", least: 8 },
    { head: "with", least: 8 },
    { head: "route", drop: 2 },
    { head: "prompt" },
    { head: "took", drop: 3, right: 7 },
  ];
  return tableOf(
    columns,
    seen.map((one) => seenCells(one, names)),
    { paint, width },
  ).split("\n");
}

function seenCells(one: Seen, names: ReadonlyMap<string, string>): readonly Cell[] {
  const time = new Date(one.atMs).toTimeString().slice(0, 8);
  const name = (id: Parameters<typeof shortId>[0]): string => names.get(id) ?? shortId(id);
  switch (one.event) {
    case "exchange-asked": {
      const { model, status, code, host, route, sealed, ms } = one;
      const what = `asked ${model || "a request"}${code ? `: ${status} ${code}` : ""}`;
      const whom = host === undefined ? "nobody" : route === "local" ? "this node" : name(host);
      const word = sealed === "true" || sealed === "false" || sealed === "local" ? sealed : null;
      const text: Cell = code ? { text: what, style: "red" } : what;
      return [time, text, whom, route === "none" ? "-" : route, sealingCell(sealingWord(word)), millisecondsText(ms)];
    }
    case "exchange-answered":
      return [time, one.whole ? "answered" : "answered in part", name(one.peer), "-", "-", millisecondsText(one.ms)];
    case "exchange-refused":
      return [time, { text: `refused: ${one.code}`, style: "red" }, name(one.peer), "-", "-", "-"];
    case "relay-carried":
      return [time, "carried", `${name(one.from)} to ${name(one.to)}`, "relay", "sealed", millisecondsText(one.ms)];
  }
}

// ---- on the terminal

export interface LiveView {
  /** Ends it; its lines go. */
  close(): void;
}

export interface LiveLog extends Log {
  /** From now on the view is there, until it is closed. */
  show(status: () => Status): LiveView;
}

/** Whether this process has a terminal for it. */
export function isForLiveView(flags: { readonly plain?: boolean }): boolean {
  return !(flags.plain ?? false) && isLively(process.stdout) && process.stderr.isTTY;
}

/** A log whose entries are lines until the view is shown; from then on warnings and errors alone, above it. */
export function liveLog(lines: Log): LiveLog {
  const seen: Seen[] = [];
  let screen: LiveScreen | undefined;
  let changed: () => void = () => undefined;
  return {
    write(level, entry) {
      note(seen, entry);
      if (!screen) return lines.write(level, entry);
      if (isLoud(level)) screen.above(() => lines.write(level, entry));
      changed();
    },
    show(status) {
      const view = startView(status, seen, () => (screen = undefined));
      screen = view.screen;
      changed = view.changed;
      return view;
    },
  };
}

function isLoud(level: LogLevel): boolean {
  return level === "warn" || level === "error";
}

/** Of the others the status tells. */
function note(seen: Seen[], entry: LogEvent): void {
  const { event } = entry;
  const isSeen =
    event === "exchange-asked" ||
    event === "exchange-answered" ||
    event === "exchange-refused" ||
    event === "relay-carried";
  if (!isSeen) return;
  seen.unshift({ atMs: Date.now(), ...entry });
  seen.length = Math.min(seen.length, most.seen);
}

function startView(
  status: () => Status,
  seen: readonly Seen[],
  onClose: () => void,
): LiveView & { readonly screen: LiveScreen; readonly changed: () => void } {
  const { stdout } = process;
  const screen = new LiveScreen(stdout);
  const paint = paintFor(stdout);
  const started = performance.now();
  let drawnMs = Number.NEGATIVE_INFINITY;
  let soon: NodeJS.Timeout | undefined;
  const draw = (): void => {
    clearTimeout(soon);
    soon = undefined;
    drawnMs = performance.now();
    const upSeconds = Math.floor((drawnMs - started) / 1_000);
    screen.draw(
      viewLines({ status: status(), seen, upSeconds }, { width: stdout.columns, height: stdout.rows }, paint),
    );
  };
  const changed = (): void => {
    soon ??= setTimeout(draw, Math.max(0, drawnMs + soonestMs - performance.now()));
  };
  const looking = setInterval(changed, lookMs);
  // Control-Z gives the terminal away and `fg` takes it back
  const onStop = (): void => {
    screen.rest();
    process.kill(process.pid, "SIGSTOP");
  };
  const onContinue = (): void => {
    screen.anew();
    changed();
  };
  stdout.on("resize", changed);
  process.on("SIGTSTP", onStop).on("SIGCONT", onContinue);
  draw();
  return {
    screen,
    changed,
    close() {
      clearInterval(looking);
      clearTimeout(soon);
      stdout.off("resize", changed);
      process.off("SIGTSTP", onStop).off("SIGCONT", onContinue);
      screen.close(false);
      onClose();
    },
  };
}

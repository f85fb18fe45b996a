/** `sealmesh logs`: what the node of this machine has logged lately, from its own memory, and what it logs from now on. */
import { MeshError, toMeshError } from "../../base/errors.ts";
import { isRecord } from "../../base/json.ts";
import type { LogLevel } from "../../base/log.ts";
import type { LogEntry } from "../../node/log-ring.ts";
import type { Command } from "../command.ts";
import { followConsole } from "../follow.ts";
import { addSessionFlags, askConsole, consoleUrl, neededSession, type SessionFlags } from "../local-node.ts";
import { logLine } from "../log.ts";
import { type Paint, paintFor, printJson, printLine, printNote } from "../output.ts";

interface LogsFlags extends SessionFlags {
  readonly follow?: boolean;
  readonly level?: string;
  readonly lines?: string;
  readonly json?: boolean;
}

/** A node answers at once, or it is stuck. */
const answerMs = 5_000;
/** Entries that are shown unless more are asked for: half a screen. */
const usualLines = 20;
const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

export const logs: Command = {
  description:
    "Shows the last entries of the log of the node that runs on this machine. It keeps a thousand of them in memory; there " +
    "is never a word of a prompt or an answer among them. What a service logged before is with its manager: journalctl on " +
    "Linux, the files that its launchd unit names on a Mac.",
  examples: [
    { what: "the last ones", line: "sealmesh logs" },
    { what: "warnings and errors, and those that come", line: "sealmesh logs --follow --level warn" },
    { what: "all that are kept, for programs", line: "sealmesh logs --lines 1000 --level debug --json" },
  ],
  addFlags: (command) =>
    addSessionFlags(command)
      .option("-f, --follow", "go on with what comes, until Control-C")
      .option("--level <level>", "debug, info, warn or error, and what is worse (default: info)")
      .option("-n, --lines <n>", `entries to begin with (default: ${usualLines})`)
      .option("--json", "one JSON document, or with --follow one a line"),
  run: async (given) => {
    const flags = given as LogsFlags;
    const level = levelFrom(flags.level ?? "info");
    const most = linesFrom(flags.lines ?? String(usualLines));
    const wanted = ({ level: its }: LogEntry): boolean => levels.indexOf(its) >= levels.indexOf(level);
    const kept = await fetchLogs(flags);
    const fitting = kept.filter(wanted);
    const shown = most === 0 ? [] : fitting.slice(-most);
    const paint = paintFor(process.stdout);
    const print = (entry: LogEntry): void => {
      if (flags.json) printJson(entry);
      else printText(entry, paint);
    };
    if (flags.json && !flags.follow) printJson({ entries: shown });
    else shown.forEach(print);
    if (!flags.json && !flags.follow) sayCounts(kept.length, fitting.length, shown.length);
    if (flags.follow) {
      await follow(flags, kept.at(-1)?.seq ?? 0, (entry) => {
        if (wanted(entry)) print(entry);
      });
    }
    return 0;
  },
};

function sayCounts(kept: number, fitting: number, shown: number): void {
  const dim = (text: string): void => printNote(paintFor(process.stderr)("dim", text));
  if (fitting === 0) dim(`nothing of this level was logged; ${kept} entries in all`);
  else if (fitting > shown) dim(`the last ${shown} of ${fitting}: --lines ${fitting} shows all`);
}

function printText({ time, level, entry }: LogEntry, paint: Paint): void {
  const line = logLine(new Date(time), level, entry, paint);
  if (line !== undefined) printLine(line);
}

/** @throws E_UNREACHABLE no node answers: says where a service's log is · as neededSession() */
async function fetchLogs(flags: LogsFlags): Promise<readonly LogEntry[]> {
  const answered = async (): Promise<unknown> => {
    return await askConsole(flags, "/api/logs", answerMs, { headers: neededSession(flags) });
  };
  const document = await answered().catch((thrown: unknown) => {
    const error = toMeshError(thrown);
    if (error.code !== "E_UNREACHABLE" && error.code !== "E_INPUT") throw error;
    throw new MeshError(error.code, `${error.message} (of a service that has ended: ${journal()})`, { cause: error });
  });
  if (isRecord(document) && Array.isArray(document["entries"])) return document["entries"].filter(isEntry);
  throw new MeshError(
    "E_UNREACHABLE",
    `what answers at ${consoleUrl(flags).origin} shows no log: is it an older sealmesh?`,
  );
}

/** Where the platform keeps what a service has written. */
function journal(): string {
  if (process.platform === "darwin") return "its launchd unit names the files; `sealmesh service print` shows it";
  return "`journalctl --user -u sealmesh`, or `journalctl -u sealmesh` for one of the system";
}

/** Until Control-C, or the node's end. */
async function follow(flags: LogsFlags, after: number, onEntry: (entry: LogEntry) => void): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort()).once("SIGTERM", () => stop.abort());
  const options = { signal: stop.signal, headers: neededSession(flags) };
  for await (const { event, document } of followConsole(flags, `/api/logs/follow?after=${after}`, options)) {
    if (event === "log" && isEntry(document) && document.seq > after) onEntry(document);
  }
  if (!stop.signal.aborted) printNote("the node has ended");
}

/** Enough to know our own document; it is only printed. */
function isEntry(value: unknown): value is LogEntry {
  return isRecord(value) && typeof value["seq"] === "number" && isRecord(value["entry"]);
}

/** @throws E_USAGE */
function levelFrom(text: string): LogLevel {
  const level = levels.find((known) => known === text);
  if (level !== undefined) return level;
  throw new MeshError("E_USAGE", `--level takes one of ${levels.join(", ")}, not "${text}"`);
}

/** @throws E_USAGE */
function linesFrom(text: string): number {
  if (/^[0-9]{1,5}$/.test(text)) return Number(text);
  throw new MeshError("E_USAGE", `--lines takes a number, not "${text}"`);
}

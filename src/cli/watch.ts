/** Shows something of the status of a node once, or again whenever it changes: for `peers` and `models`. */
import type { Command as Commander } from "commander";
import type { Status } from "../node/status.ts";
import { LiveScreen } from "./live-screen.ts";
import type { SessionFlags } from "./local-node.ts";
import { fetchStatus, followStatus } from "./local-status.ts";
import { isLively, type Paint, paintFor, printJson, printLine, printNote } from "./output.ts";
import { cutTo, widthOf } from "./table.ts";

export interface WatchFlags extends SessionFlags {
  readonly watch?: boolean;
  readonly json?: boolean;
}

export interface Shown {
  /** What programs get: one document, or one a line while it is watched. */
  readonly document: (status: Status) => object;
  readonly text: (status: Status, paint: Paint, width: number) => string;
}

export function addWatchFlags(command: Commander): Commander {
  return command
    .option("-w, --watch", "show it again whenever it changes, until Control-C")
    .option("--json", "one JSON document, or with --watch one a line");
}

/** @throws as fetchStatus() */
export async function show(flags: WatchFlags, shown: Shown): Promise<number> {
  const paint = paintFor(process.stdout);
  const { stdout } = process;
  const print = (status: Status): void => {
    if (flags.json) printJson(shown.document(status));
    else printLine(shown.text(status, paint, widthOf(stdout)));
  };
  if (!flags.watch) {
    print(await fetchStatus(flags));
    return 0;
  }
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort()).once("SIGTERM", () => stop.abort());
  const screen = !flags.json && isLively(stdout) ? new LiveScreen(stdout) : undefined;
  let last = "";
  try {
    for await (const status of followStatus(flags, stop.signal)) {
      // other things change as well
      const now = JSON.stringify(shown.document(status));
      if (now === last) continue;
      last = now;
      if (!screen) print(status);
      else screen.draw(fitted(shown.text(status, paint, stdout.columns - 1), stdout));
    }
  } finally {
    screen?.close(true);
  }
  if (!stop.signal.aborted) printNote("the node has ended");
  return 0;
}

/** What is higher than the terminal could not change in place. */
function fitted(text: string, { rows, columns }: NodeJS.WriteStream): readonly string[] {
  const lines = text.split("\n");
  const room = Math.max(rows - 2, 1);
  return lines.length <= room ? lines : [...lines.slice(0, room - 1), cutTo("  ...", columns - 1)];
}

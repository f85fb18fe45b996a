/**
 * A node as a process: starts it, says when it is ready, and ends it by signal. Shared by `serve`, `client` and `relay`.
 *
 *   first SIGINT or SIGTERM     running requests finish, the node leaves the mesh: exit code 0
 *   second one                  stops at once: 130 or 143; not if it comes within a tenth of a second
 *   end of stdin, parent gone   (--stop-with-stdin, IPC channel) as the first signal, with little patience
 */
import { shortId } from "../base/brand.ts";
import { sleep } from "../base/deadline.ts";
import { MeshError, unlessMeshError } from "../base/errors.ts";
import type { Log, LogEvent } from "../base/log.ts";
import { withMachine } from "../harden/harden.ts";
import type { HardeningReport } from "../harden/report.ts";
import { type Mode, type NodeConfig, resolveConfig } from "../node/config.ts";
import { defaults } from "../node/defaults.ts";
import { type Node, startNode } from "../node/node.ts";
import type { Status } from "../node/status.ts";
import { readSession } from "../node/session.ts";
import { version } from "../node/version.ts";
import { withoutControls } from "../wire/gossip.ts";
import { isForLiveView, liveLog } from "./live-view.ts";
import { consoleLink } from "./local-node.ts";
import { progressBar, progressOf } from "./progress.ts";
import { jsonLog, prettyLog } from "./log.ts";
import type { NodeProcessFlags } from "./node-flags.ts";
import { labelled, type OutputFormat, paintFor, printJson, printLine, printNote } from "./output.ts";

/** What a program reads from stdout when the node can serve (--log-format json). */
export interface ReadyLine {
  readonly event: "ready";
  /** Without "/v1"; null: a relay has none. */
  readonly api_url: string | null;
  readonly console_url: string | null;
  readonly endpoint_id: string;
  /** Admits further nodes; empty: this node may not invite. */
  readonly invite: string;
  /** Of the whole mesh, known now. */
  readonly models: readonly string[];
  readonly pid: number;
}

/** A start that takes longer says what it is doing, this often, ms. */
const progressMs = 2_000;
/** Patience with running requests when whoever started the node has gone, ms. */
const orphanDrainMs = 2_000;
/** Control-C under `npm run` and the end of timeout(1) arrive twice: a second signal this soon is the first one, ms. */
const echoMs = 100;
/** What may be closed in an orderly way after all patience is over, ms. */
const closingMs = 800;
/** The same after a drain, where nothing presses, ms. */
const leavingMs = 5_000;

/** Runs a node until it is told to stop. @returns the exit code */
export async function runNode(
  mode: Mode,
  flags: Partial<NodeProcessFlags>,
  hardening: HardeningReport | undefined,
): Promise<number> {
  // main.ts finds the command without a parser: what it has missed must not hold prompts
  if (hardening === undefined) {
    throw new MeshError("E_USAGE", `"${mode}" must be the first word, and -h and --help can be no value of a flag`);
  }
  const format = flags.logFormat ?? "pretty";
  const config = resolveConfig(mode, flags);
  if (mode === "serve" && config.engines.length === 0) {
    throw new MeshError("E_USAGE", "nothing to serve: give --model FILE.gguf or --engine URL|auto");
  }
  if (config.tap !== undefined) {
    printNote(`warning: --debug-tap records all bytes of this node above QUIC in ${config.tap}; not for normal use`);
  }
  if (format === "pretty") sayHardening(flags.hardening ?? true, hardening);
  const stop = stopRequests(flags.stopWithStdin ?? false);
  const progress = startProgress(config, format);
  const live = format === "pretty" && isForLiveView(flags) ? liveLog(prettyLog()) : undefined;
  const log = format === "json" ? jsonLog : progress.watch(live ?? prettyLog());
  // a Mac's own tools take their time: the machine's doors are told when they are known
  const starting = withMachine(hardening).then((report) =>
    startNode(config, { log, hardening: report, onStopAsked: stop.asked }),
  );
  starting.catch(() => undefined); // looked at below, or nobody is interested any more
  let node: Node | undefined;
  try {
    node = await Promise.race([starting, stop.first.then(() => undefined)]);
  } finally {
    progress.end();
  }
  if (!node) {
    // asked to stop before it was ready: there is nothing to finish
    await Promise.race([starting.then((started) => started.stop(0)).catch(() => undefined), sleep(closingMs)]);
    return 0;
  }
  sayReady(node, mode, format, linkOf(config, format));
  const view = live?.show(() => node.status());
  const first = await stop.first.finally(() => view?.close());
  return await stopped(node, first, stop.second);
}

interface StopRequest {
  /** Exit code if this one ends the process by force. */
  readonly forcedExit: number;
  readonly drainMs: number;
}

interface StopRequests {
  readonly first: Promise<StopRequest>;
  /** Makes the first request: somebody asks the console port for the end. */
  readonly asked: () => void;
  /** The second signal; the end of stdin does not count twice. */
  readonly second: Promise<StopRequest>;
}

function stopRequests(withStdin: boolean): StopRequests {
  let signals = 0;
  let lastSignalMs = Number.NEGATIVE_INFINITY;
  let first: (request: StopRequest) => void = () => undefined;
  let second: (request: StopRequest) => void = () => undefined;
  const requests: StopRequests = {
    // a signal that comes later is the second one; asked twice, it is asked once
    asked: () => {
      if (signals === 0) onSignal(0);
    },
    first: new Promise((resolve) => (first = resolve)),
    second: new Promise((resolve) => (second = resolve)),
  };
  const onSignal = (forcedExit: number): void => {
    const now = performance.now();
    const isEcho = now - lastSignalMs < echoMs;
    lastSignalMs = now;
    if (isEcho) return;
    signals += 1;
    const request = { forcedExit, drainMs: defaults.drainMs };
    if (signals === 1) first(request);
    else second(request);
  };
  process.on("SIGINT", () => onSignal(130));
  process.on("SIGTERM", () => onSignal(143));
  // from a terminal it says that the terminal has gone, and nobody will press Control-C; from elsewhere it means nothing
  const fromTerminal = process.stdin.isTTY;
  process.on("SIGHUP", () => {
    if (fromTerminal) onSignal(129);
  });
  const orphaned = (): void => first({ forcedExit: 0, drainMs: orphanDrainMs });
  if (withStdin) {
    for (const event of ["end", "close", "error"] as const) process.stdin.once(event, orphaned);
    process.stdin.resume();
  }
  if (process.connected) process.once("disconnect", orphaned);
  return requests;
}

/** Drains, unless a second signal cuts it short; ends in any case. */
async function stopped(node: Node, first: StopRequest, second: Promise<StopRequest>): Promise<number> {
  let exitCode = 0;
  const forced = second.then(async ({ forcedExit }) => {
    exitCode = forcedExit;
    await Promise.race([node.stop(0), sleep(closingMs)]);
  });
  const drained = node.stop(first.drainMs);
  const late = sleep(first.drainMs + leavingMs).then(() => {
    throw new MeshError("E_BUG", "the node did not end in time after its requests had");
  });
  await Promise.race([drained, forced, late]);
  return exitCode;
}

// ---- progress

interface Progress {
  /** The same log, from which progress is read. */
  watch(log: Log): Log;
  end(): void;
}

/** What can be counted has a bar; for the rest, every two seconds, one line on stderr that says what takes so long. */
function startProgress(config: NodeConfig, format: OutputFormat): Progress {
  const started = performance.now();
  const bar = progressBar({ shown: format === "pretty" });
  let ended = false;
  let doing = config.engines.length > 0 ? "starting the engine" : "starting";
  const observe = (entry: LogEvent): void => {
    bar.clear();
    const step = ended ? undefined : progressOf(entry);
    if (step) bar.show(step);
    if (entry.event === "engine-up" || entry.event === "engine-down") doing = "starting";
    if (entry.event === "node-started") {
      const named = config.join.map(({ address }) => shortId(address.id)).join(", ");
      doing = named === "" ? "looking for a mesh" : `joining ${named}`;
    }
  };
  const timer = setInterval(() => {
    if (format === "pretty" && !bar.isShown)
      printNote(`${doing} (${Math.round((performance.now() - started) / 1000)} s)`);
  }, progressMs);
  return {
    watch: (log) => ({
      write(level, entry) {
        observe(entry);
        log.write(level, entry);
      },
    }),
    end: () => {
      ended = true;
      clearInterval(timer);
      bar.clear();
    },
  };
}

/** A person learns what was taken away, and what their debugging leaves open. */
function sayHardening(wanted: boolean, { scrubbed }: HardeningReport): void {
  if (!wanted) printNote("warning: --no-hardening leaves this process open to others; peers are told");
  if (scrubbed.length > 0) {
    printNote(`note: taken away from this node: ${scrubbed.join(", ")}; docs/hardening.md says why`);
  }
}

// ---- ready

/**
 * The console's link with the session in it, for a person at a terminal. What is written elsewhere (a pipe, a journal)
 * others may read: undefined there, and `sealmesh console` prints it.
 */
function linkOf({ dataDir }: NodeConfig, format: OutputFormat): string | undefined {
  if (format === "json" || !process.stdout.isTTY) return undefined;
  const session = unlessMeshError(() => readSession(dataDir));
  return session && consoleLink(session);
}

function sayReady(node: Node, mode: Mode, format: OutputFormat, link: string | undefined): void {
  const { apiUrl, consoleUrl, endpointId: endpoint_id } = node;
  const models = node.models();
  const invite = inviteOf(node);
  const { mesh } = node.status();
  if (format === "json") {
    const ready: ReadyLine = {
      event: "ready",
      api_url: apiUrl ?? null,
      console_url: consoleUrl ?? null,
      endpoint_id,
      invite,
      models,
      pid: process.pid,
    };
    printJson(ready);
    return;
  }
  const paint = paintFor(process.stdout);
  const lines = [
    paint("bold", `sealmesh ${version} is ready`),
    "",
    labelled(
      "OpenAI base URL",
      [apiUrl === undefined ? "none: a relay asks nobody" : paint("cyan", `${apiUrl}/v1`)],
      paint,
    ),
    labelled("console", [link === undefined ? (consoleUrl ?? "none (--headless)") : paint("cyan", link)], paint),
    labelled("endpoint id", [shortId(endpoint_id)], paint),
    labelled("mesh", [meshText(mesh)], paint),
    ...(mode === "relay" ? [] : [labelled("models", models.length > 0 ? models : [noModelsText(node, mode)], paint)]),
    "",
    ...inviteLines(mode, invite),
    "",
  ];
  printLine(lines.join("\n"));
}

/** A host is there to be joined; others make an invite when somebody needs one. */
function inviteLines(mode: Mode, invite: string): readonly string[] {
  if (invite === "") return ["This node may not invite others."];
  // elsewhere it would stay in a journal, which others may read
  if (mode === "serve" && process.stdout.isTTY) return ["Others join with", `  sealmesh client --join ${invite}`];
  return ["`sealmesh invite` makes an invite, by which others join."];
}

function meshText({ mode, name, why }: Status["mesh"]): string {
  const named = name === null ? "" : ` (${withoutControls(name)})`;
  if (mode === "open") return `open: anybody who has this node's address is a member${named}`;
  return `invite-only${named}${why === null ? "" : `: ${why}`}`;
}

/** Empty: it may not invite, or its list of invites is full or cannot be written; it serves all the same. */
function inviteOf(node: Node): string {
  return (node.mayInvite && unlessMeshError(() => node.invite())) || "";
}

function noModelsText(node: Node, mode: Mode): string {
  const down = node.status().engines.find(({ state }) => state === "down");
  if (down) return withoutControls(`none: ${down.name} is down (${down.why ?? "no reason known"})`);
  if (mode === "serve") return "none yet";
  return "none yet: they come with the hosts of the mesh";
}

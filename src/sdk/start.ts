/**
 * A node inside this process: started in a directory of the program or a temporary one, given up when the program does not
 * want it any more, and closed so that nothing of it stays. For connect.ts and serve.ts.
 */
import { MeshError } from "../base/errors.ts";
import { unlessAborted } from "../base/deadline.ts";
import { type Log, type LogEvent, silentLog } from "../base/log.ts";
import type { NodeConfig } from "../node/config.ts";
import { type Node, type NodeOptions, startNode } from "../node/node.ts";
import type { JoinOptions } from "./options.ts";
import { placeOf } from "./settings.ts";

export interface Inside {
  readonly node: Node;
  /** Once; later calls wait for the same end, and a shorter time shortens it. */
  close(drainMs: number): Promise<void>;
}

export interface StartParts {
  readonly options: Pick<JoinOptions, "dataDir" | "log" | "signal">;
  /** @throws E_USAGE, E_CONFIG, E_INVITE */
  readonly config: (dataDir: string) => NodeConfig;
  /** Whether a start without any other member is none. */
  readonly needsMesh: boolean;
  readonly onAsked?: NodeOptions["onAsked"];
}

/** @throws as startNode, E_UNREACHABLE, and the signal's reason; nothing is left then, or will be in a moment */
export async function startInside({ options, config, needsMesh, onAsked }: StartParts): Promise<Inside> {
  const { signal, dataDir, log = silentLog } = options;
  signal?.throwIfAborted();
  const place = placeOf(dataDir);
  const joining = watched(log);
  let starting: Promise<Node> | undefined;
  try {
    starting = startNode(config(place.dataDir), { log: joining.log, ...(onAsked ? { onAsked } : {}) });
    const node = await orAborted(starting, signal);
    if (needsMesh && node.status().peers.length === 0) throw joining.failure();
    return {
      node,
      close: (drainMs) => node.stop(drainMs).finally(place.leave),
    };
  } catch (thrown) {
    const ended = (starting ?? Promise.reject(thrown))
      .then((node) => node.stop(0))
      .catch(() => undefined) // it has not started, which is what is thrown
      .finally(place.leave);
    if (!signal?.aborted) await ended;
    throw thrown;
  }
}

/** Settles as `work` does, or rejects with the signal's own reason, as everything on the web does. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return await work;
  try {
    return await unlessAborted(work, signal);
  } catch (thrown) {
    throw signal.aborted ? signal.reason : thrown;
  }
}

/** The same log, from which the reason is read why nobody was joined. */
function watched(log: Log): { readonly log: Log; failure(): MeshError } {
  let failed: Extract<LogEvent, { event: "join-failed" }> | undefined;
  return {
    log: {
      write(level, entry) {
        if (entry.event === "join-failed") failed = entry;
        try {
          log.write(level, entry);
        } catch {
          // what a program does with its log is no affair of the mesh
        }
      },
    },
    failure: () => {
      const what = failed?.what.replace(/; trying again$/, "") ?? "no member of the mesh was found";
      return new MeshError(failed?.code ?? "E_UNREACHABLE", what);
    },
  };
}

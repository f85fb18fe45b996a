/** `sealmesh stop`: has the node of this machine end in order, and waits until it has. */
import { sleep } from "../../base/deadline.ts";
import { MeshError } from "../../base/errors.ts";
import { isRunning } from "../../base/running.ts";
import { defaults } from "../../node/defaults.ts";
import type { Command } from "../command.ts";
import { addSessionFlags, askConsole, neededSession, type SessionFlags } from "../local-node.ts";
import { fetchStatus } from "../local-status.ts";
import { counted, printJson, printLine, printNote } from "../output.ts";

interface StopFlags extends SessionFlags {
  readonly json?: boolean;
}

/** A node answers at once, or it is stuck. */
const answerMs = 5_000;
const pollMs = 50;
/** A wait that is longer says so, this often, ms. */
const progressMs = 2_000;
/** Running requests may finish, and then everything is closed, ms. */
const patienceMs = defaults.drainMs + 10_000;

export const stop: Command = {
  description:
    "Tells the node that runs on this machine to end as at Control-C: it takes no new requests, lets running ones finish, and " +
    "leaves the mesh. Returns when it has ended. A service that its manager starts again is stopped there.",
  examples: [
    { what: "the node of this machine", line: "sealmesh stop" },
    { what: "another one", line: "sealmesh stop --data-dir /var/lib/sealmesh" },
  ],
  addFlags: (command) => addSessionFlags(command).option("--json", "one JSON document"),
  run: async (given) => {
    const flags = given as StopFlags;
    const headers = neededSession(flags);
    const { pid, name, inflight_requests: running } = await fetchStatus(flags);
    const started = performance.now();
    await askConsole(flags, "/api/stop", answerMs, { method: "POST", headers });
    const waited = (): number => performance.now() - started;
    const waiting = setInterval(() => {
      if (flags.json) return;
      const why = running > 0 ? `${counted(running, "request")} may finish` : "it leaves the mesh";
      printNote(`stopping: ${why} (${Math.round(waited() / 1_000)} s)`);
    }, progressMs);
    try {
      while (isRunning(pid)) {
        if (waited() > patienceMs) {
          throw new MeshError("E_TIMEOUT", `process ${pid} has not ended within ${patienceMs / 1_000} s`);
        }
        await sleep(pollMs);
      }
    } finally {
      clearInterval(waiting);
    }
    if (flags.json) printJson({ stopped: true, pid, ms: Math.round(waited()) });
    else printLine(`${name ?? "the node"} has stopped (process ${pid})`);
    return 0;
  },
};

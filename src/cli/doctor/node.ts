/** Checks of `sealmesh doctor`: the node that runs here, the settings of one, and the Node that runs it. */
import { isMeshError, type MeshError } from "../../base/errors.ts";
import { version } from "../../node/version.ts";
import { withoutControls } from "../../wire/gossip.ts";
import { counted } from "../output.ts";
import { type Check, check, fail, type Finding, ok, skip, warn } from "./check.ts";
import { type DoctorContext, type RunningNode, withoutHome } from "./context.ts";

export const runningNode: Check = check("node", (context) => context, judgeNode);

export function judgeNode({ running, session }: Pick<DoctorContext, "running" | "session">): Finding {
  if (!running) {
    if (!session) return skip("no node runs here", "start one: `sealmesh serve --engine auto`, or `sealmesh client`");
    return warn(
      "a node has left a session in its data directory, and does not answer",
      "see whether it still runs; it may have been killed, or be stuck",
    );
  }
  const { status, ready } = running;
  const refused = status.peers.filter(({ attestation, role }) => role === "Host" && !attestation.allowed);
  const seen = `${status.mode}, process ${status.pid}, sealmesh ${status.version}: ${counted(status.models.length, "model")}, ${counted(status.peers.length, "peer")}`;
  if (status.version !== version) {
    return warn(`${seen}; this command is sealmesh ${version}`, "start the node again, so that both are the same");
  }
  // a relay answers nobody, so it is never ready for requests
  if (!ready && status.mode !== "relay")
    return warn(`${seen}; not ready: ${notReadyWhy(running)}`, "`sealmesh status` says more");
  const [first] = refused;
  if (first) {
    const why = withoutControls(first.attestation.refusal ?? "no reason known");
    return warn(
      `${seen}; ${counted(refused.length, "host")} refused: ${why}`,
      "`sealmesh explain ID` says what is lacking",
    );
  }
  return ok(`${seen}, ready`);
}

function notReadyWhy({ status }: RunningNode): string {
  return status.engines.length > 0 ? "no engine is up" : "no host is there";
}

export const settings: Check = check("settings", ({ config }) => config, judgeSettings);

export function judgeSettings(config: object | MeshError): Finding {
  if (!isMeshError(config)) return ok("whole and understood; `sealmesh config show` lists them");
  return fail(config.code, withoutHome(config.message), config.row.hint);
}

/** Least version that runs us, and the one to take. */
const least = [20, 19] as const;
const recommended = 24;

export const nodeVersion: Check = check("node-version", () => process.versions.node, judgeNodeVersion);

export function judgeNodeVersion(text: string): Finding {
  const [major = 0, minor = 0] = text.split(".").map(Number);
  const take = `install Node ${recommended}`;
  if (major < least[0] || (major === least[0] && minor < least[1])) {
    return fail("E_CONFIG", `Node ${text} is older than ${least.join(".")}`, take);
  }
  if (major < 22) return warn(`Node ${text} runs, and gets no security fixes any more`, take);
  return ok(`Node ${text}`);
}

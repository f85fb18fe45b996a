/**
 * A mesh with something to see, as real processes: a host with the demo model and a TPM, a host that is reached through a
 * relay alone, a host without evidence, a relay, and the client whose console it is, which demands evidence.
 *
 *     desk ──── gpu-box        --model demo.gguf, TPM: tier vendor
 *       ├─ edge-relay ── studio-mac   scripted engine, TPM, out of the client's direct reach
 *       └────── old-laptop     scripted engine, no evidence: refused
 *
 * Needs swtpm and Linux (support/udp-forwarder.ts).
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readSession } from "../../src/node/session.ts";
import { until } from "./e2e.ts";
import { type EngineProcess, startEngineProcess } from "./engine-server.ts";
import { demoModel, type NodeProcess, startProcess, tempDir } from "./processes.ts";
import { startTpmMaker, type Swtpm, type TpmMaker } from "./swtpm.ts";
import { apart, forwardTo, inviteVia, type UdpForwarder } from "./udp-forwarder.ts";

export interface ConsoleMesh {
  readonly gpuBox: NodeProcess;
  readonly studioMac: NodeProcess;
  readonly oldLaptop: NodeProcess;
  readonly relay: NodeProcess;
  /** The node of the console. */
  readonly desk: NodeProcess;
  /** Of studio-mac: its answers come word for word. */
  readonly slowEngine: EngineProcess;
  /** Of gpu-box. */
  readonly tpm: Swtpm;
  /** Starts `desk` again in its directory, at its port. */
  readonly startDesk: () => Promise<NodeProcess>;
  close(): Promise<void>;
}

export const slowModel = "qwen3-30b-a3b";
export const refusedModel = "mistral-small-3.2";

/** Of a node's console, with the session in it, as `sealmesh console` prints it. */
export function consoleLink({ dataDir }: NodeProcess): string {
  const session = readSession(dataDir);
  if (!session) throw new Error("no node with a console runs there");
  return `${session.consoleUrl.replace("127.0.0.1", "localhost")}/#session=${session.token}`;
}

export async function startConsoleMesh(): Promise<ConsoleMesh> {
  const directory = tempDir();
  const file = (name: string, text: string | Uint8Array): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const maker: TpmMaker = await startTpmMaker();
  const [tpm, otherTpm] = [await maker.makeTpm(), await maker.makeTpm()];
  file("maker.der", maker.intermediate);
  const hostConfig = file("host.toml", `[attest]\ntpm_certificates = ["maker.der"]\nrefresh = 2\n`);
  const proof = ({ place }: Swtpm): string[] => ["--tpm", place, "--config", hostConfig];
  const [slowEngine, plainEngine] = await Promise.all([
    startEngineProcess({ models: [slowModel, "gemma-3-12b"], text: prose, tokens: 60, tokenMs: 40 }),
    startEngineProcess({ models: [refusedModel] }),
  ]);
  // its sockets are looked up from outside, which a hardened process allows to nobody but root
  const apartHost = ["--bind", apart.host, "--no-hardening", ...proof(otherTpm)];
  const studioMac = await startNode(["serve", "--engine", slowEngine.url, "--name", "studio-mac", ...apartHost]);
  const forwarder: UdpForwarder = await forwardTo(studioMac.pid);
  const viaForwarder = ["--join", inviteVia(studioMac.ready.invite, forwarder.address)];
  const relay = await startNode(["relay", "--name", "edge-relay", ...viaForwarder]);
  const joining = ["--join", relay.ready.invite];
  const deskDirectory = tempDir();
  const deskConfig = file(
    "desk.toml",
    `[policy]\nroots = [${JSON.stringify(file("root.der", maker.root))}]\n[challenge]\ninterval = 2\n`,
  );
  let ports: readonly string[] = [];
  const startDesk = async (): Promise<NodeProcess> => {
    const settings = ["--config", deskConfig, "--data-dir", deskDirectory, "--bind", apart.client];
    const demands = ["--require-attested-hosts=key", "--name", "desk", ...settings, ...ports];
    const node = await startNode(["client", ...joining, ...demands]);
    ports = ["--console", new URL(node.ready.console_url ?? "").port];
    return node;
  };
  const [gpuBox, oldLaptop, desk] = await Promise.all([
    startNode(["serve", "--model", demoModel, "--name", "gpu-box", ...proof(tpm), ...joining]),
    startNode(["serve", "--engine", plainEngine.url, "--name", "old-laptop", ...joining]),
    startDesk(),
  ]);
  const mesh: ConsoleMesh = {
    gpuBox,
    studioMac,
    oldLaptop,
    relay,
    desk,
    slowEngine,
    tpm,
    startDesk,
    close: async () => {
      forwarder.close();
      await Promise.all([slowEngine.kill(), plainEngine.kill(), maker.close()]);
    },
  };
  await until("all is known", () => isKnown(mesh), 40_000);
  return mesh;
}

/** Six programs that start at once on two cores take their time. */
function startNode(args: readonly string[]): Promise<NodeProcess> {
  return startProcess(args, { readyMs: 60_000 });
}

async function isKnown({ desk, gpuBox, studioMac, oldLaptop }: ConsoleMesh): Promise<boolean> {
  const { peers } = await desk.status();
  const at = ({ ready }: NodeProcess): string => {
    const peer = peers.find(({ endpoint_id: id }) => id === ready.endpoint_id);
    return `${peer?.route} ${peer?.models.length}`;
  };
  return at(gpuBox) === "direct 1" && at(studioMac) === "relay 2" && at(oldLaptop) === "direct 1";
}

/** What studio-mac says, slowly. */
const prose =
  "A relay carries sealed bytes from the node that asks to the host that answers. It knows who asks whom, when, and how " +
  "much; it has no key, so it cannot read a word. If it drops, reorders or cuts what it carries, both ends notice.";

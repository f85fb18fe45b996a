/**
 * Two machines on one cable, as network namespaces of Linux: each has its loopback and one end of the cable, and no route
 * anywhere else. Needs root; they end with the test runner.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

export interface Cable {
  /** Addresses of the two ends. */
  readonly addresses: readonly [string, string];
  /** What runs a command at one end: words to put before it. */
  readonly within: readonly [readonly string[], readonly string[]];
  close(): Promise<void>;
}

/** Why there are no namespaces here; undefined when there are. */
export const namespacesMissing: string | undefined = missing();
if (namespacesMissing !== undefined) console.warn(`tests in network namespaces are skipped: ${namespacesMissing}`);

function missing(): string | undefined {
  const probe = "ip link add sm0 type veth peer name sm1";
  const tried = spawnSync("unshare", ["--net", "sh", "-c", probe], { encoding: "utf8" });
  if (tried.error) return "unshare is not installed: apt-get install -y util-linux iproute2";
  return tried.status === 0 ? undefined : "this machine allows no namespaces, or has no veth (root is needed)";
}

export async function layCable(): Promise<Cable> {
  const addresses = ["10.77.0.1", "10.77.0.2"] as const;
  const ends = await Promise.all([openNamespace(), openNamespace()]);
  const [first, second] = ends;
  const within = [inside(first), inside(second)] as const;
  run([
    ...within[0],
    "ip",
    "link",
    "add",
    "cable",
    "type",
    "veth",
    "peer",
    "name",
    "cable",
    "netns",
    String(second.pid),
  ]);
  addresses.forEach((address, at) => {
    for (const line of ["link set lo up", `address add ${address}/24 dev cable`, "link set cable up"]) {
      run([...(within[at] ?? []), "ip", ...line.split(" ")]);
    }
  });
  return {
    addresses,
    within,
    async close() {
      await Promise.all(
        ends.map(async (end) => {
          const ended = once(end, "exit");
          end.stdin?.end();
          await ended;
        }),
      );
    },
  };
}

/** A process that waits in a namespace of its own, and ends with its stdin. */
async function openNamespace(): Promise<ChildProcess> {
  const child = spawn("unshare", ["--net", "sh", "-c", "echo ready; exec cat"], { stdio: ["pipe", "pipe", "inherit"] });
  await once(child.stdout, "data");
  return child;
}

function inside({ pid }: ChildProcess): readonly string[] {
  return ["nsenter", `--net=/proc/${pid}/ns/net`, "--"];
}

function run([program = "", ...words]: readonly string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")}: ${stderr}`);
}

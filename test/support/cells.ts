/**
 * Cells: network namespaces of Linux, each with a node alone in it, whatever it tells its peers of its sockets. What leads
 * out of one is a porter (cell-porter.mjs), for the test's own questions, and, in a forwarded cell, for datagrams:
 * the only interface there is the loopback, so that every byte to another node passes through the test (udp-fabric.ts).
 * Made as root, or by anybody where user namespaces are allowed; they end with the test runner.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { Agent, fetch } from "undici";
import { tempDir } from "./processes.ts";

const isRoot = process.getuid?.() === 0;
const unshare = isRoot ? ["--net"] : ["--map-root-user", "--net"];

/** Why there are no cells here; undefined when there are. */
export const cellsMissing: string | undefined = missing();
if (cellsMissing !== undefined) console.warn(`tests in network namespaces are skipped: ${cellsMissing}`);

export interface Cell {
  readonly pid: number;
  /** Words before a command that is to run in it. */
  readonly within: readonly string[];
  /** To 127.0.0.1 of the cell. */
  readonly fetch: (
    url: string,
    init?: CellRequest,
  ) => Promise<{ readonly status: number; readonly text: () => Promise<string> }>;
  /** The porter's end of a Unix connection. */
  open(line: string): Socket;
  /** `ip ...` in it. @throws Error with what it says */
  ip(words: string): void;
  /** Any command in it. @returns whether it went well */
  try(command: string): boolean;
  close(): Promise<void>;
}

export interface CellRequest {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** @param addresses loopback addresses at which the porter takes datagrams; none: it takes none */
export async function openCell(addresses: readonly string[] = []): Promise<Cell> {
  const path = join(tempDir(), "porter");
  const porter = [process.execPath, join(import.meta.dirname, "cell-porter.mjs"), path, addresses.join(",")];
  const words = [...unshare, "sh", "-c", 'ip link set lo up && exec "$@"', "sh", ...porter];
  const child = spawn("unshare", words, { stdio: ["pipe", "pipe", "inherit"] });
  await once(child.stdout, "data");
  const within = enter(child);
  const open = (line: string): Socket => {
    const socket = connect(path);
    socket.on("error", () => undefined); // told by its end
    socket.write(`${line}\n`);
    return socket;
  };
  const agent = new Agent({
    connect: ({ port }, done) => {
      const socket = open(`tcp ${port}`);
      socket.once("connect", () => done(null, socket));
      socket.once("error", (error) => done(error, null));
    },
  });
  return {
    pid: child.pid ?? 0,
    within,
    fetch: (url, init) => fetch(url, { ...init, dispatcher: agent }),
    open,
    ip: (line) => run([...within, "ip", ...line.split(" ")]),
    try: (command) => spawnSync("nsenter", [...within.slice(1), ...command.split(" ")]).status === 0,
    async close() {
      await agent.destroy();
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
    },
  };
}

function missing(): string | undefined {
  if (process.platform !== "linux") return "they are Linux's";
  const tried = spawnSync("unshare", [...unshare, "ip", "link", "set", "lo", "up"], { encoding: "utf8" });
  if (tried.error) return "unshare is not installed: apt-get install -y util-linux iproute2";
  return tried.status === 0 ? undefined : "this machine allows no namespaces, or has no iproute2";
}

function enter({ pid }: ChildProcess): readonly string[] {
  return isRoot
    ? ["nsenter", `--net=/proc/${pid}/ns/net`, "--"]
    : ["nsenter", "--user", "--net", "--preserve-credentials", "--target", String(pid), "--"];
}

function run([program = "", ...words]: readonly string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${words.join(" ")}: ${stderr}`);
}

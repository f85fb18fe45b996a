/**
 * What a Mac is and how it is set up, asked of its own tools, each by its absolute path and with an empty environment.
 * What a tool does not say in exactly the expected words is unknown, never good. Tried with recorded outputs, not yet on
 * Apple hardware.
 *
 * System integrity protection, secure boot and remote memory access change in recovery mode only, so that they stay what
 * they are while a process runs.
 *
 * @see protocol.md §8.1, §8.2 · man pages csrutil(8), system_profiler(8), sysctl(8)
 */
import { execFile } from "node:child_process";

/** What could be measured; undefined = it was not said. */
export interface Posture {
  /** System integrity protection is wholly on. */
  readonly sip: boolean | undefined;
  /** "Full Security". */
  readonly secureBoot: boolean | undefined;
  /** Remote memory access is off. */
  readonly rdmaDisabled: boolean | undefined;
}

export interface Machine {
  /** Such as "Apple M4 Max"; undefined = it was not said. */
  readonly chip: string | undefined;
  /** Such as "Mac16,1"; empty = it was not said. */
  readonly model: string;
  /** 0 = it was not said. */
  readonly memoryBytes: bigint;
}

/**
 * Runs a program of the system.
 *
 * @returns its standard output when it ended well, in time and within bounds; else undefined
 */
export type RunCommand = (path: string, args: readonly string[]) => Promise<string | undefined>;

export const runCommand: RunCommand = (path, args) =>
  new Promise((resolve) => {
    const options = {
      cwd: "/",
      // the user's language and search paths are none of its business
      env: { LANG: "C", LC_ALL: "C", PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
      encoding: "utf8",
      timeout: 10_000,
      killSignal: "SIGKILL",
      maxBuffer: 65_536,
    } as const;
    execFile(path, [...args], options, (error, stdout) => resolve(error === null ? stdout : undefined));
  });

export async function readMachine(run: RunCommand): Promise<Machine> {
  const sysctl = async (name: string): Promise<string | undefined> => {
    const line = (await run("/usr/sbin/sysctl", ["-n", name]))?.trim();
    return line === undefined || !/^[ -~]{1,200}$/.test(line) ? undefined : line;
  };
  const [chip, model, memory = ""] = await Promise.all([
    sysctl("machdep.cpu.brand_string"),
    sysctl("hw.model"),
    sysctl("hw.memsize"),
  ]);
  return { chip, model: model ?? "", memoryBytes: /^\d{1,18}$/.test(memory) ? BigInt(memory) : 0n };
}

export async function readPosture(run: RunCommand): Promise<Posture> {
  const [sip, boot, rdma] = await Promise.all([
    run("/usr/bin/csrutil", ["status"]),
    run("/usr/sbin/system_profiler", ["-json", "SPiBridgeDataType"]),
    run("/usr/bin/rdma_ctl", ["status"]),
  ]);
  return { sip: parseSip(sip), secureBoot: parseSecureBoot(boot), rdmaDisabled: parseRdma(rdma) };
}

/** "enabled (Custom Configuration)" has parts that are off: the reference takes it for on. */
export function parseSip(output: string | undefined): boolean | undefined {
  const status = /^System Integrity Protection status: ([^\n]+)\.\n/.exec(`${output?.trimEnd() ?? ""}\n`)?.[1];
  if (status === "enabled") return output?.trimEnd().includes("\n") ? undefined : true;
  return status === "disabled" || status?.endsWith("(Custom Configuration)") ? false : undefined;
}

/**
 * The words are in the language of the system: in another one than English they are unknown.
 *
 * @param output {"SPiBridgeDataType":[{"ibridge_secure_boot":"Full Security",…}]}
 */
export function parseSecureBoot(output: string | undefined): boolean | undefined {
  const document = parseJson(output ?? "");
  const list = memberOf(document, "SPiBridgeDataType");
  const level = Array.isArray(list) && list.length === 1 ? memberOf(list[0], "ibridge_secure_boot") : undefined;
  if (level === "Full Security") return true;
  return ["Reduced Security", "Permissive Security", "Medium Security", "No Security"].some((word) => word === level)
    ? false
    : undefined;
}

/** Where there is no such tool, nothing has said that it is off: the reference takes that for off. */
export function parseRdma(output: string | undefined): boolean | undefined {
  const status = output?.trim();
  return status === "disabled" ? true : status === "enabled" ? false : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

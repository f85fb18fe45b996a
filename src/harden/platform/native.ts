/**
 * The system calls that hardening needs and Node does not have, through koffi. Loaded when needed, because it takes a
 * moment, and because the package may be missing: then nothing of this can be done, and who asks says "unknown".
 */
import { MeshError } from "../../base/errors.ts";
import { requirePackage } from "../../base/package.ts";

/** PR_* of linux/prctl.h. */
export const prctlOptions = {
  setDeathSignal: 1,
  getDumpable: 3,
  setDumpable: 4,
  setNoNewPrivs: 38,
  getNoNewPrivs: 39,
  /** Yama's; EINVAL where that is not built in. */
  setPtracer: 0x59616d61,
} as const;

/** PT_DENY_ATTACH of macOS's sys/ptrace.h. */
const denyAttach = 31;
/** CS_OPS_STATUS of XNU's codesign.h. */
const signingStatus = 0;
/** RLIMIT_CORE is the same number on both. */
const coreLimit = 4;
/** SIGPROF and SIG_IGN of signal.h, the same on both. */
const profileSignal = 27;
const ignored = 1;
/** F_SETFD of fcntl.h. */
const setDescriptorFlags = 2;

export interface Native {
  /**
   * Replaces the program of this process, with the same id and the same open descriptors of those that were kept open.
   * @returns only when that failed: errno
   */
  execve(file: string, words: readonly string[], environment: readonly string[]): number;
  /** Lets a descriptor outlive execve(); Node marks those that it was started with otherwise. */
  keepOpen(descriptor: number): void;
  /** Soft and hard limit of core files to 0; not to be undone without privileges. @returns whether it worked */
  forbidCoreFiles(): boolean;
  /** Whether both limits are 0; undefined: they could not be read. */
  coreFilesForbidden(): boolean | undefined;
  /** Linux. @returns the result; -1 it failed */
  prctl(option: number, value: number): number;
  /** macOS: nobody may attach from now on. @returns whether it worked */
  denyAttach(): boolean;
  /** macOS: flags of the running program's signature (CS_*); undefined: they could not be read. */
  signingFlags(): number | undefined;
}

/** The C library of this system, by the name that koffi takes; null: the one that Node itself uses. */
const libraries: Partial<Record<NodeJS.Platform, string | null>> = {
  linux: null,
  darwin: "/usr/lib/libSystem.B.dylib",
};

/**
 * @param platform, library others than this machine's only in tests
 * @returns undefined: no such system, or koffi is not installed or does not run here
 */
export function loadNative(
  platform: NodeJS.Platform = process.platform,
  library: string | null | undefined = libraries[platform],
): Native | undefined {
  if (library === undefined) return undefined;
  try {
    const koffi: Koffi = requirePackage("koffi");
    return bind(koffi, platform, library);
  } catch {
    return undefined;
  }
}

type Koffi = (typeof import("koffi"))["default"];
type Call = (...args: unknown[]) => number;

function bind(koffi: Koffi, platform: NodeJS.Platform, library: string | null): Native {
  const libc = koffi.load(library);
  const execve: Call = libc.func("int execve(const char *file, const char **words, const char **environment)");
  const setrlimit: Call = libc.func("int setrlimit(int resource, const uint8_t *limits)");
  const getrlimit: Call = libc.func("int getrlimit(int resource, _Out_ uint8_t *limits)");
  // it takes what it takes by its second argument, and macOS passes such arguments in another way
  const signal: Call = libc.func("intptr_t signal(int number, intptr_t handler)");
  const fcntl: Call = libc.func("int fcntl(int descriptor, int command, ...)");
  return {
    execve: (file, words, environment) => {
      // one that --cpu-prof has under way would end the new program, which has no handler for it yet
      signal(profileSignal, ignored);
      execve(file, [...words, null], [...environment, null]);
      return koffi.errno();
    },
    keepOpen: (descriptor) => void fcntl(descriptor, setDescriptorFlags, "int", 0),
    // two numbers of 4 or 8 bytes: all zero in either case
    forbidCoreFiles: () => setrlimit(coreLimit, new Uint8Array(16)) === 0,
    coreFilesForbidden: () => {
      const limits = new Uint8Array(16);
      return getrlimit(coreLimit, limits) === 0 ? limits.every((byte) => byte === 0) : undefined;
    },
    ...(platform === "darwin" ? ofMac(libc) : ofLinux(libc)),
  };
}

type Library = ReturnType<Koffi["load"]>;

function ofLinux(libc: Library): Pick<Native, "prctl" | "denyAttach" | "signingFlags"> {
  const prctl: Call = libc.func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)");
  return {
    prctl: (option, value) => prctl(option, value, 0, 0, 0),
    denyAttach: () => wrongSystem("ptrace(PT_DENY_ATTACH)"),
    signingFlags: () => wrongSystem("csops"),
  };
}

function ofMac(libc: Library): Pick<Native, "prctl" | "denyAttach" | "signingFlags"> {
  const ptrace: Call = libc.func("int ptrace(int request, int process, void *address, int data)");
  const csops: Call = libc.func("int csops(int process, unsigned int operation, _Out_ uint32_t *flags, size_t size)");
  return {
    prctl: () => wrongSystem("prctl"),
    denyAttach: () => ptrace(denyAttach, 0, null, 0) === 0,
    signingFlags: () => {
      const flags = new Uint32Array(1);
      return csops(process.pid, signingStatus, flags, 4) === 0 ? flags[0] : undefined;
    },
  };
}

function wrongSystem(name: string): never {
  throw new MeshError("E_BUG", `this system has no ${name}`);
}

/** Apple's libraries without a Mac: stand-in.c, compiled and loaded. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import koffi from "koffi";
import type { KeyStore } from "../../../src/attest/collect/collector.ts";
import type { AppleLibraries } from "../../../src/attest/collect/apple/security-framework.ts";

const directory = mkdtempSync(join(tmpdir(), "sealmesh-stand-in-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));
const library = join(directory, "stand-in.so");
const source = join(import.meta.dirname, "stand-in.c");
const compiled = spawnSync(
  "cc",
  ["-std=gnu11", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", library, source, "-lcrypto"],
  { encoding: "utf8" },
);

/** Why it cannot be compiled here; undefined when it was. */
export const standInMissing: string | undefined =
  compiled.error !== undefined || /openssl\/.*No such file/.test(compiled.stderr)
    ? "a C compiler or OpenSSL's headers are not installed: apt-get install -y gcc libc6-dev libssl-dev"
    : undefined;
if (standInMissing !== undefined) console.warn(`Secure Enclave tests are skipped: ${standInMissing}`);
else if (compiled.status !== 0) throw new Error(compiled.stderr);

export const standInLibraries: AppleLibraries = { coreFoundation: library, security: library };

export interface StandIn {
  /** Objects that were made and not released. */
  liveObjects(): number;
  violations(): number;
  lastViolation(): string;
  /** Names of the calls to Security since the last reset, with one space between. */
  calls(): string;
  /** Everything as at the start, an empty keychain too. */
  reset(): void;
  /** @param code of the error; 0: nothing and no error */
  failNext(name: string, code: number): void;
  slowNext(name: string, ms: number): void;
  setChip(is: boolean): void;
  setEntitled(is: boolean): void;
  setHandles(is: boolean): void;
  setHeedsHandles(is: boolean): void;
  setHeedsToken(is: boolean): void;
  setHashesTwice(is: boolean): void;
  changeChip(): void;
  /** Any of its functions as C has it. */
  raw(name: string, result: string, inputs: readonly string[]): (...args: unknown[]) => unknown;
  /** The string that a constant names. */
  constant(name: string): bigint;
}

/** @throws where it was not compiled */
export function standIn(): StandIn {
  const loaded = koffi.load(library);
  const set = (name: string): ((is: boolean) => void) => loaded.func(name, "void", ["bool"]);
  return {
    liveObjects: loaded.func("standin_live_objects", "long", []),
    violations: loaded.func("standin_violations", "long", []),
    lastViolation: loaded.func("standin_last_violation", "str", []),
    calls: loaded.func("standin_calls", "str", []),
    reset: loaded.func("standin_reset", "void", []),
    failNext: loaded.func("standin_fail_next", "void", ["str", "long"]),
    slowNext: loaded.func("standin_slow_next", "void", ["str", "uint"]),
    setChip: set("standin_set_chip"),
    setEntitled: set("standin_set_entitled"),
    setHandles: set("standin_toid"),
    setHeedsHandles: set("standin_heed_toid"),
    setHeedsToken: set("standin_heed_token"),
    setHashesTwice: set("standin_hash_twice"),
    changeChip: loaded.func("standin_change_chip", "void", []),
    raw: (name, result, inputs) => loaded.func(name, result, [...inputs]),
    constant: (name) => koffi.decode(loaded.symbol(name), "void *") as bigint,
  };
}

/** A file in memory. */
export interface MemoryStore extends KeyStore {
  kept: Uint8Array | undefined;
  writes: number;
}

export function memoryStore(kept?: Uint8Array): MemoryStore {
  return {
    kept,
    writes: 0,
    read(): Uint8Array | undefined {
      return this.kept;
    },
    write(bytes): void {
      this.kept = Uint8Array.from(bytes);
      this.writes += 1;
    },
  };
}

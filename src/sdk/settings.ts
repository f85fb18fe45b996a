/**
 * What a program says of its node, as the settings that a command line gives: the rules for them stand in node/config.ts, once.
 * Also where the node keeps its state, and how errors name what was wrong with an option. For connect.ts and serve.ts.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { MeshError, toMeshError } from "../base/errors.ts";
import { configFrom, type Flags, type Mode, type NodeConfig } from "../node/config.ts";
import type { MemberOptions } from "./options.ts";

export function memberFlags(options: MemberOptions): Flags {
  const { join: joined, discover, name, bind, advertise, irohRelays, relayTraffic = false } = options;
  return given({
    join: typeof joined === "string" ? [joined] : joined,
    discover: discover === false ? undefined : discover,
    name,
    bind,
    advertise,
    relay: typeof irohRelays === "string" ? [irohRelays] : irohRelays,
    relayTraffic,
  });
}

/** Without what is undefined: a flag that is not there is not given. */
export function given<T extends object>(flags: { readonly [Name in keyof T]: T[Name] | undefined }): T {
  return Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined)) as T;
}

/** @throws E_USAGE, E_CONFIG, E_INVITE naming the option */
export function checked(mode: Mode, flags: Flags, dataDir: string): NodeConfig {
  try {
    return configFrom(mode, { ...flags, dataDir });
  } catch (thrown) {
    const { code, message } = toMeshError(thrown);
    throw new MeshError(code, asOptions(message), { cause: thrown });
  }
}

/** "--require-hardened" is the option requireHardened here. */
function asOptions(message: string): string {
  return message.replace(/(?<![\w-])--([a-z]+(?:-[a-z]+)*)/g, (_flag, name: string) => {
    return name.replace(/-([a-z])/g, (_dash, letter: string) => letter.toUpperCase());
  });
}

/** Where a node keeps its state. */
export interface Place {
  readonly dataDir: string;
  /** Removes it, if nothing in it is to outlive the node. */
  readonly leave: () => void;
}

/** @throws E_STATE no directory can be made */
export function placeOf(dataDir: string | undefined): Place {
  if (dataDir !== undefined) return { dataDir: resolve(dataDir), leave: () => undefined };
  let made: string;
  try {
    made = mkdtempSync(join(tmpdir(), "sealmesh-"));
  } catch (cause) {
    throw new MeshError("E_STATE", `${tmpdir()} cannot be written: give the node a directory (dataDir)`, { cause });
  }
  temporary.add(made);
  if (temporary.size === 1) process.once("exit", removeAll);
  return {
    dataDir: made,
    leave: () => {
      temporary.delete(made);
      if (temporary.size === 0) process.off("exit", removeAll);
      rmSync(made, { recursive: true, force: true });
    },
  };
}

/** A program that ends without close() leaves no key behind; one that is killed does. */
const temporary = new Set<string>();

function removeAll(): void {
  for (const directory of temporary) rmSync(directory, { recursive: true, force: true });
}

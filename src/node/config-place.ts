/**
 * Where the configuration file is. Apart from config.ts, because a process that hardens itself must know before it loads
 * anything else.
 */
import { lstatSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { MeshError, systemCode } from "../base/errors.ts";

/** Instead of a file's name: the one at its usual place is not read either. */
export const noFile = "none";

/**
 * @param flag value of --config
 * @returns    path of the file to read; undefined: none
 * @throws     E_CONFIG whether there is one cannot be seen
 */
export function configFile(flag: string | undefined): string | undefined {
  const { path, exists } = placeOfConfigFile(flag);
  return exists ? path : undefined;
}

export interface ConfigPlace {
  /** Undefined: none is read. */
  readonly path: string | undefined;
  /** One that was named is taken to be there. */
  readonly exists: boolean;
}

/** The same with the place where one would be looked for, if there is none. */
export function placeOfConfigFile(flag: string | undefined): ConfigPlace {
  const asked = flag ?? (process.env["SEALMESH_CONFIG"] || undefined);
  if (asked === noFile) return { path: undefined, exists: false };
  return asked === undefined ? usualPlace() : { path: asked, exists: true };
}

/** The platform's place for configuration. */
function usualPlace(): ConfigPlace {
  const { APPDATA, CONFIGURATION_DIRECTORY } = process.env;
  let folder = join(configFolder(), "sealmesh");
  if (process.platform === "darwin") folder = join(homedir(), "Library/Application Support/sealmesh");
  if (process.platform === "win32") folder = join(APPDATA ?? homedir(), "sealmesh");
  // of a service manager, the first of several
  const [ofService] = CONFIGURATION_DIRECTORY?.split(":") ?? [];
  if (ofService) folder = ofService;
  const file = join(folder, "config.toml");
  try {
    // a link that leads nowhere is not nothing: whoever made it meant to have a policy
    if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) statSync(folder);
    return { path: file, exists: lstatSync(file, { throwIfNoEntry: false }) !== undefined };
  } catch (cause) {
    // there may be a policy in it: going on as if there were none is no choice
    const why = `whether there is a ${file} cannot be seen (${systemCode(cause)})`;
    throw new MeshError("E_CONFIG", `${why}: name a file with --config FILE, or go without with --config none`, {
      cause,
    });
  }
}

/** $XDG_CONFIG_HOME of this user. */
export function configFolder(): string {
  return process.env["XDG_CONFIG_HOME"] || join(homedir(), ".config");
}

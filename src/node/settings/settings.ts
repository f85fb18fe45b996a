/** The table of settings, in the order of the help. A new one is one row here, a line in config.ts, and for the file one in config-file.ts. */
import { demandSettings } from "./demands.ts";
import { machineSettings } from "./machine.ts";
import { meshSettings } from "./meshes.ts";
import { servingSettings } from "./serving.ts";
import type { Setting } from "./setting.ts";

export const settings: readonly Setting[] = [
  ...servingSettings,
  ...meshSettings,
  ...machineSettings,
  ...demandSettings,
];

/** Names of the files that are looked for in $CREDENTIALS_DIRECTORY. */
export const credentialNames: readonly string[] = settings.flatMap(({ credential }) => credential ?? []);

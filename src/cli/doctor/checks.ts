/** The checks of `sealmesh doctor`, those first that most often say what is wrong. A new one is one function, and one line here. */
import type { Check } from "./check.ts";
import { clock, dataDirectory } from "./machine.ts";
import { engine, graphics } from "./models.ts";
import { irohRelays, localNetwork, ports } from "./network.ts";
import { nodeVersion, runningNode, settings } from "./node.ts";
import { hardening, securityChip } from "./protection.ts";

export const checks: readonly Check[] = [
  runningNode,
  settings,
  engine,
  ports,
  dataDirectory,
  localNetwork,
  irohRelays,
  clock,
  nodeVersion,
  hardening,
  securityChip,
  graphics,
];

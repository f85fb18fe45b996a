/** Checks of `sealmesh doctor`: how a node can close itself here, and which chip could prove what it says. */
import { existsSync } from "node:fs";
import { isMeshError } from "../../base/errors.ts";
import { macMachine } from "../../harden/platform/darwin.ts";
import { linuxMachine } from "../../harden/platform/linux.ts";
import { loadNative } from "../../harden/platform/native.ts";
import type { DoorReport } from "../../harden/report.ts";
import { type Check, check, fail, type Finding, ok, skip, warn } from "./check.ts";
import type { DoctorContext, SeenStatus } from "./context.ts";
import { mayUse } from "./models.ts";

// ---- hardening

export interface HardeningSeen {
  readonly platform: NodeJS.Platform;
  /** Whether the system calls that hardening needs can be made. */
  readonly native: boolean;
  /** Of the node that runs here. */
  readonly running: Pick<SeenStatus["hardening"], "on" | "node" | "engine"> | undefined;
  readonly machine: Readonly<Record<string, DoorReport>>;
}

export const hardening: Check = check("hardening", lookAtHardening, judgeHardening);

async function lookAtHardening({ running }: DoctorContext): Promise<HardeningSeen> {
  const { platform } = process;
  const native = loadNative();
  const known = running?.status.hardening;
  const asked = platform === "linux" ? linuxMachine().doors : platform === "darwin" ? await macMachine(native) : {};
  return { platform, native: native !== undefined, running: known, machine: known?.machine ?? asked };
}

export function judgeHardening({ platform, native, running, machine }: HardeningSeen): Finding {
  const page = "docs/hardening.md says what each of them lets others do";
  if (platform !== "linux" && platform !== "darwin") return skip("nothing is done on this system: peers are told so");
  if (!native)
    return warn("the system calls for it cannot be made: koffi is missing or does not run here", "npm install koffi");
  if (running && !running.on)
    return warn(
      "the node that runs here leaves doors open as its settings want it",
      "leave --no-hardening and [hardening] out",
    );
  const open = (doors: Readonly<Record<string, DoorReport>>): readonly string[] =>
    Object.entries(doors).flatMap(([name, { state, why }]) => (state === "open" ? `${name} (${why})` : []));
  const own = running ? [...open(running.node), ...(running.engine ? open(running.engine) : [])] : [];
  if (own.length > 0) return warn(`open at the node that runs here: ${own.slice(0, 3).join("; ")}`, page);
  const around = open(machine);
  const done = running ? "the node that runs here has closed itself" : "a node can close itself here";
  if (around.length > 0) return warn(`${done}; open at the machine: ${around.slice(0, 3).join("; ")}`, page);
  return ok(`${done}, and nothing is seen open at the machine`);
}

// ---- security chip

export interface ChipSeen {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** The kernel's TPM 2.0; undefined: there is none. */
  readonly device: { readonly path: string; readonly allowed: boolean } | undefined;
  /** The place that is set. */
  readonly set: string | undefined;
}

const tpmDevice = "/dev/tpmrm0";

export const securityChip: Check = check("security-chip", lookForChip, judgeChip);

function lookForChip({ config }: DoctorContext): ChipSeen {
  const { platform, arch } = process;
  const set = isMeshError(config) ? undefined : config.attest.tpm;
  const path = set?.startsWith("/") ? set : tpmDevice;
  const device = existsSync(path) ? { path, allowed: mayUse(path) } : undefined;
  return { platform, arch, device: platform === "linux" ? device : undefined, set };
}

export function judgeChip({ platform, arch, device, set }: ChipSeen): Finding {
  if (platform === "darwin") {
    if (arch !== "arm64") return skip("not looked for: Macs without Apple's chip have none that counts");
    return ok("Secure Enclave: every Mac with Apple's chip has one (not yet run on hardware)");
  }
  if (set !== undefined && !set.startsWith("/")) return skip("an emulator is set as TPM; it is not asked");
  if (!device) {
    if (set !== undefined)
      return fail(
        "E_CONFIG",
        `${set} is set as TPM, and is not there`,
        "leave --tpm and [attest] tpm out, or switch the TPM on in the firmware",
      );
    return skip("no TPM 2.0 seen: this machine cannot prove what it is, and serves all the same");
  }
  if (!device.allowed) {
    return warn(`TPM 2.0 at ${device.path}, not allowed for this user`, "sudo usermod -aG tss USER, then log in anew");
  }
  if (set === undefined)
    return ok(
      `TPM 2.0 at ${device.path}, not in use`,
      `prove this machine with it: sealmesh serve --tpm ${device.path}`,
    );
  return ok(`TPM 2.0 at ${device.path}, set and allowed`);
}

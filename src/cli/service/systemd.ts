/**
 * Units of systemd as text: one for the whole machine, with a user of its own that exists while it runs, and one for a user. What is in
 * packaging/ is made by the same function. Written for systemd 247 and later.
 */
import type { ServicePlan } from "./plan.ts";

export type Scope = "user" | "system";

export const unitName = "sealmesh.service";

export interface UnitOptions {
  readonly scope: Scope;
  /** Absolute: what runs the words, such as node and our main file. */
  readonly program: readonly string[];
  readonly plan: Pick<ServicePlan, "mode" | "words">;
  /** Name and absolute path of each credential. */
  readonly credentials: readonly { readonly name: string; readonly path: string }[];
  /** Groups of the machine whose devices it may use; a group that is not there would keep it from starting. */
  readonly groups: readonly string[];
}

/** Seconds: a node finishes what it has begun in 30. */
const stopSeconds = 45;

export function systemdUnit({ scope, program, plan, credentials, groups }: UnitOptions): string {
  const system = scope === "system";
  const lines = [
    "# Made by `sealmesh service`; a change is lost when it is made again. `systemctl edit` keeps yours beside it.",
    "[Unit]",
    `Description=sealmesh ${plan.mode}`,
    ...(system ? ["Wants=network-online.target", "After=network-online.target time-sync.target"] : []),
    "# an engine, a disk or a network that is away for long must not end it for good",
    "StartLimitIntervalSec=0",
    "",
    "[Service]",
    "Type=exec",
    `ExecStart=${[...program, ...plan.words].map(quoted).join(" ")}`,
    "Restart=on-failure",
    "RestartSec=5",
    "# wrong usage, bad input, refused, configuration: trying again changes nothing",
    "RestartPreventExitStatus=64 65 77 78",
    `TimeoutStopSec=${stopSeconds}`,
    "KillMode=mixed",
    ...credentials.map(({ name, path }) => `LoadCredential=${name}:${escaped(path)}`),
    "",
    ...(system ? ofSystem(groups) : ofUser()),
    "",
    "[Install]",
    `WantedBy=${system ? "multi-user.target" : "default.target"}`,
  ];
  return `${lines.join("\n")}\n`;
}

function ofSystem(groups: readonly string[]): readonly string[] {
  return [
    "# a user that exists while it runs; the data directory is /var/lib/sealmesh, the file /etc/sealmesh/config.toml",
    "DynamicUser=yes",
    "StateDirectory=sealmesh",
    "StateDirectoryMode=0700",
    "CacheDirectory=sealmesh",
    "ConfigurationDirectory=sealmesh",
    ...(groups.length > 0 ? [`SupplementaryGroups=${groups.join(" ")}`] : []),
    "UMask=0077",
    "",
    "# what it cannot do; MemoryDenyWriteExecute is not here, because Node makes code while it runs",
    ...everywhere,
    "ProtectSystem=strict",
    "ProtectHome=yes",
    "PrivateTmp=yes",
    "ProtectControlGroups=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectHostname=yes",
    "CapabilityBoundingSet=",
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
    "",
    "# TPM, guests of SEV-SNP and TDX, graphics; no other device",
    "DevicePolicy=closed",
    ...["/dev/tpmrm0", "/dev/sev-guest", "/dev/tdx_guest"].map((device) => `DeviceAllow=${device} rw`),
    ...["char-drm", "char-nvidia-frontend", "char-nvidia", "char-nvidia-uvm", "/dev/kfd"].map(
      (device) => `DeviceAllow=${device} rw`,
    ),
  ];
}

function ofUser(): readonly string[] {
  return [
    "# what it cannot do; file systems are not closed to it, because a user's manager needs user namespaces for that",
    "UMask=0077",
    ...everywhere,
  ];
}

const everywhere: readonly string[] = [
  "NoNewPrivileges=yes",
  "LimitCORE=0",
  "LockPersonality=yes",
  "RestrictRealtime=yes",
  "RestrictSUIDSGID=yes",
  "SystemCallArchitectures=native",
];

/** % begins a specifier. */
function escaped(text: string): string {
  return text.replaceAll("%", "%%");
}

/** One word of ExecStart=, as systemd.service(5) has it: $ would be a variable. */
function quoted(word: string): string {
  const text = escaped(word).replaceAll("$", () => "$$");
  return /^[A-Za-z0-9_@%+=:,./$-]+$/.test(text) ? text : `"${text.replaceAll(/["\\]/g, (letter) => `\\${letter}`)}"`;
}

/** A launchd agent as text, for macOS. Printed, and installed by hand: it has not yet run on hardware. */
import { homedir } from "node:os";
import { join } from "node:path";
import type { ServicePlan } from "./plan.ts";

export const agentLabel = "org.sealmesh.node";

export interface AgentOptions {
  readonly program: readonly string[];
  readonly plan: Pick<ServicePlan, "words">;
  /** Flag and absolute path of each secret's file: launchd hands over no credentials. */
  readonly secrets: readonly { readonly flag: string; readonly path: string }[];
  /** @default ~/Library/Logs */
  readonly logs?: string;
}

export function launchdAgent({ program, plan, secrets, logs }: AgentOptions): string {
  const folder = logs ?? join(homedir(), "Library/Logs");
  const words = [...program, ...plan.words, ...secrets.flatMap(({ flag, path }) => [flag, path])];
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Made by \`sealmesh service print\`. Not yet run on hardware. -->
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>${agentLabel}</string>
  <key>ProgramArguments</key>
  <array>
${words.map((word) => `    <string>${escaped(word)}</string>`).join("\n")}
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>ProcessType</key>
  <string>Background</string>
  <key>ThrottleInterval</key>
  <integer>10</integer>
  <key>ExitTimeOut</key>
  <integer>45</integer>
  <key>Umask</key>
  <integer>63</integer>
  <key>HardResourceLimits</key>
  <dict>
    <key>Core</key>
    <integer>0</integer>
  </dict>
  <key>StandardOutPath</key>
  <string>${escaped(join(folder, "sealmesh.log"))}</string>
  <key>StandardErrorPath</key>
  <string>${escaped(join(folder, "sealmesh.log"))}</string>
</dict>
</plist>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** What the tools of a Mac were heard to say. */
import type { RunCommand } from "../../../src/attest/collect/apple/facts.ts";

/** Output of `path arguments` on a MacBook Pro (M4 Max) with everything as it is delivered. */
export const macOutputs: Readonly<Record<string, string>> = {
  "/usr/sbin/sysctl -n machdep.cpu.brand_string": "Apple M4 Max\n",
  "/usr/sbin/sysctl -n hw.model": "Mac16,5\n",
  "/usr/sbin/sysctl -n hw.memsize": "68719476736\n",
  "/usr/bin/csrutil status": "System Integrity Protection status: enabled.\n",
  "/usr/sbin/system_profiler -json SPiBridgeDataType": JSON.stringify(
    {
      SPiBridgeDataType: [
        { ibridge_model_identifier_top: "Mac16,5", ibridge_sb_sip: "Enabled", ibridge_secure_boot: "Full Security" },
      ],
    },
    undefined,
    2,
  ),
  "/usr/bin/rdma_ctl status": "disabled\n",
};

/** Says what is in `outputs`, and fails for anything else; `asked` is every command that was run. */
export function recorded(outputs: Readonly<Record<string, string>> = macOutputs): {
  readonly run: RunCommand;
  readonly asked: string[];
} {
  const asked: string[] = [];
  const run: RunCommand = async (path, args) => {
    const command = [path, ...args].join(" ");
    asked.push(command);
    return outputs[command];
  };
  return { run, asked };
}

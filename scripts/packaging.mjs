// packaging/: units that a package can ship as they are, made by the functions behind `sealmesh service print`.
import { fromProduct } from "./product.mjs";

const program = ["/usr/local/bin/sealmesh"];
const plan = { mode: "serve", words: ["serve"] };

/** File below the root -> its text. */
export async function packagingFiles(root) {
  const { systemdUnit, launchdAgent } = await fromProduct(root, {
    "cli/service/systemd.ts": ["systemdUnit"],
    "cli/service/launchd.ts": ["launchdAgent"],
  });
  const unit = (scope) => systemdUnit({ scope, program, plan, credentials: [], groups: [] });
  return {
    "packaging/systemd/system/sealmesh.service": unit("system"),
    "packaging/systemd/user/sealmesh.service": unit("user"),
    "packaging/launchd/org.sealmesh.node.plist": launchdAgent({ program, plan, secrets: [], logs: "/tmp" }),
  };
}

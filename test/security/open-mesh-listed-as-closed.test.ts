/** A mesh that is listed as one that asks for invites must ask for them: --invite-only never runs an open one. */
import { expect, it } from "vitest";
import { rejectsWith } from "../support/expect-code.ts";
import { temporaryDirectory, testMesh } from "../support/mesh.ts";

const quiet = { nostrRelay: ["none"] } as const;

it("beside --open-mesh it is refused", async () => {
  const asked = testMesh().start("serve", { ...quiet, openMesh: true, publish: true, inviteOnly: true });
  await rejectsWith("E_USAGE", asked);
});

it("in the directory of an open mesh it is refused", async () => {
  const dataDir = temporaryDirectory();
  const open = await testMesh().start("serve", { ...quiet, dataDir });
  expect(open.status().mesh.mode).toBe("open");
  await open.stop(0);
  const closed = { ...quiet, dataDir, openMesh: false, meshName: "club", publish: true, inviteOnly: true } as const;
  await rejectsWith("E_CONFIG", testMesh().start("serve", closed));
});

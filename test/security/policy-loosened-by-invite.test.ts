/**
 * A mesh says with its invite what its members must demand. A member with a laxer policy must not become the hole through
 * which prompts go to hosts that prove nothing, and no invite may loosen what an operator demands.
 */
import { describe, expect, it } from "vitest";
import type { Flags } from "../../src/node/config.ts";
import { decodeInvite, encodeInvite, type MinimumPolicy } from "../../src/wire/invite.ts";
import { demandingClient, shownOf } from "../support/attested-mesh.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { eventually, type TestNode } from "../support/mesh.ts";
import { asked, type AttackedMesh, attackedMesh, call } from "../support/raw-peer.ts";

function demandOf(node: TestNode): unknown {
  const { policy } = node.status();
  const hardened = policy.require_hardened ? ["hardened"] : [];
  return [policy.require_attested_hosts, policy.require_encryption, policy.accept_unchallenged, ...hardened];
}

async function joined(mesh: AttackedMesh, minimum: MinimumPolicy | undefined, flags: Flags = {}): Promise<TestNode> {
  const seed = await mesh.start("client");
  return await mesh.start("client", {
    join: [encodeInvite(decodeInvite(seed.invite()).address, { policy: minimum })],
    ...flags,
  });
}

describe("the stricter of two policies", () => {
  it("a joiner that demands nothing takes over the minimum: an unproven host of that mesh gets no prompt of its", async () => {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url], inviteRequires: ["key"] });
    const lax = await demandingClient(mesh, [host], { acceptUnchallenged: true });
    expect(demandOf(lax)).toEqual(["key", false, false]);
    const refused = await call(lax);
    expect([refused.status, refused.message]).toEqual([
      503,
      expect.stringContaining("--require-attested-hosts=key: no-evidence"),
    ]);
    expect(shownOf(lax, host).allowed).toBe(false);
    expect(asked(engine)).toEqual([]);
    await engine.close();
  });

  it.each<[string, MinimumPolicy | undefined, Flags, unknown]>([
    [
      "the invite's tier over a lower one",
      { attested: "vendor", encryption: false },
      { requireAttestedHosts: "key" },
      ["vendor", false, false],
    ],
    [
      "the operator's tier over a lower one",
      { attested: "key", encryption: false },
      { requireAttestedHosts: "vendor" },
      ["vendor", false, false],
    ],
    [
      "each point by itself",
      { attested: undefined, encryption: true },
      { requireAttestedHosts: "pinned" },
      ["pinned", true, false],
    ],
    [
      "the word that a host is hardened, where either asks for it",
      { attested: undefined, encryption: false, hardened: true },
      { requireAttestedHosts: "pinned" },
      ["pinned", false, false, "hardened"],
    ],
    [
      "no mercy for the unchallenged",
      { attested: "key", encryption: false },
      { requireAttestedHosts: "key", acceptUnchallenged: true },
      ["key", false, false],
    ],
    [
      "what was set here, where the invite says nothing",
      undefined,
      { requireAttestedHosts: "key", acceptUnchallenged: true },
      ["key", false, true],
    ],
  ])("wins: %s", async (_name, minimum, flags, expected) => {
    expect(demandOf(await joined(attackedMesh(), minimum, flags))).toEqual(expected);
  });

  it("is passed on: whoever joins by a member's invite demands it too, and a member cannot take it out", async () => {
    const mesh = attackedMesh();
    const seed = await mesh.start("client", { inviteRequires: ["vendor"] });
    const member = await mesh.start("client", { join: [seed.invite()], inviteRequires: ["encryption"] });
    expect(decodeInvite(member.invite()).minimum).toEqual({ attested: "vendor", encryption: true });
    const lax = await mesh.start("client", { join: [member.invite()], inviteRequires: ["none"] });
    expect(demandOf(lax)).toEqual(["vendor", true, false]);
    expect(decodeInvite(lax.invite()).minimum).toEqual({ attested: "vendor", encryption: true });
    await eventually("they have met", () => lax.status().peers.length > 0);
  });
});

it("what the invite demanded is demanded after a restart without it, and in invites of then", async () => {
  const mesh = attackedMesh();
  const seed = await mesh.start("client", { inviteRequires: ["vendor"] });
  const member = await mesh.start("client", { join: [seed.invite()] });
  await member.stop(0);
  const again = await mesh.start("client", { dataDir: member.dataDir });
  expect(demandOf(again)).toEqual(["vendor", false, false]);
  expect(decodeInvite(again.invite()).minimum).toMatchObject({ attested: "vendor" });
});

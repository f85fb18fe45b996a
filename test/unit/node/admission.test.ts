import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { toHex } from "../../../src/base/bytes.ts";
import { grantsOf, verifyCredential } from "../../../src/crypto/admission.ts";
import { readInvite } from "../../../src/crypto/invite.ts";
import { decodeInvite } from "../../../src/wire/invite.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";
import { circle, shown } from "../../support/members.ts";

const dayMs = 86_400_000;

describe("a node that is started without an invite", () => {
  it("makes an invite-only mesh, of which it is a host that may invite", async () => {
    const { admission, directory } = await circle().member();
    expect(admission.mode).toBe("invite");
    expect(admission.meshId).toMatch(/^[0-9a-f]{32}$/);
    expect(admission.status()).toMatchObject({ role: "host", may_invite: true, why: null });
    for (const file of ["mesh.json", "mesh-authority"]) {
      expect(statSync(join(directory, file)).mode & 0o777, file).toBe(0o600);
    }
  });

  it("belongs to the same mesh, by the same credential, after a restart", async () => {
    const node = await circle().member();
    const { meshId, credential } = node.admission;
    node.restart();
    expect(node.admission.meshId).toBe(meshId);
    expect(node.admission.credential).toEqual(credential);
  });

  it("that made its mesh gets a new credential from it when the old one has ended", async () => {
    const all = circle();
    const node = await all.member();
    all.nowMs += 11 * 365 * dayMs;
    expect(node.admission.status().why).toBe("this node's credential has ended");
    node.restart();
    expect(node.admission.status()).toMatchObject({ role: "host", why: null });
  });

  it("does not start when it cannot tell which mesh it belongs to", async () => {
    const node = await circle().member();
    writeFileSync(join(node.directory, "mesh.json"), "{", { mode: 0o600 });
    expectCode("E_STATE", () => node.restart());
  });
});

describe("an open mesh", () => {
  it("has an id that stays, everybody for a member, and no credential", async () => {
    const all = circle();
    const node = await all.member({ open: true });
    const { meshId } = node.admission;
    expect(meshId).toMatch(/^[0-9a-f]{32}$/);
    expect(node.admission.credential).toBeUndefined();
    expect(shown(node, (await all.member()).identity, undefined)).toEqual({ kind: "member", role: "host" });
    node.restart();
    expect(node.admission).toMatchObject({ mode: "open", meshId });
  });

  it("has the id of its name, if it has one", async () => {
    const node = await circle().member({ open: true, name: "poker-night", openId: "0123456789abcdef" });
    expect(node.admission).toMatchObject({ meshId: "0123456789abcdef", meshName: "poker-night" });
  });

  it("that is joined by address tells its id later, once", async () => {
    const all = circle();
    const first = await all.member({ open: true });
    const second = await all.member({ join: [first.admission.invite().token] });
    expect(second.admission).toMatchObject({ mode: "open", meshId: undefined });
    second.admission.adoptId("ab".repeat(16));
    second.admission.adoptId("cd".repeat(16));
    second.restart();
    expect(second.admission.meshId).toBe("ab".repeat(16));
  });

  it("gives invites without a secret, and none with limits", async () => {
    const { admission } = await circle().member({ open: true });
    expect(decodeInvite(admission.standingInvite() ?? "").granted).toBeUndefined();
    expectCode("E_INPUT", () => admission.invite({ uses: 1 }));
  });

  it("is not made of a directory that belongs to an invite-only one, by a flag or by an invite", async () => {
    const all = circle();
    const node = await all.member();
    const open = await all.member({ open: true });
    expectCode("E_CONFIG", () => node.restart({ open: true }));
    expectCode("E_CONFIG", () => node.restart({ join: [open.admission.invite().token] }));
    node.restart();
    expect(node.admission.mode).toBe("invite");
  });
});

describe("an invite", () => {
  it("admits, in its role, and the new member is one for all others", async () => {
    const all = circle();
    const founder = await all.member();
    const { token, grant } = founder.admission.invite({ role: "client", delegable: false, uses: 3, note: "for Ada" });
    const ada = await all.joined(founder, token);
    const other = await all.joined(founder, founder.admission.invite().token);
    expect(ada.admission.status()).toMatchObject({ role: "client", may_invite: false });
    expect(ada.admission.meshId).toBe(founder.admission.meshId);
    expect(founder.judge(ada)).toEqual({ kind: "member", role: "client" });
    expect(other.judge(ada)).toEqual({ kind: "member", role: "client" });
    expect(ada.judge(founder)).toEqual({ kind: "member", role: "host" });
    expect(ada.told.own).toBe(1);
    expect(founder.admission.list()[1]).toMatchObject({
      id: grant?.id,
      note: "for Ada",
      usedBy: [{ endpoint: ada.identity.id }],
    });
  });

  it("of a member that was invited admits too, and its use is told by the credential", async () => {
    const all = circle();
    const founder = await all.member();
    const second = await all.joined(founder, founder.admission.standingInvite() ?? "");
    const { token, grant } = second.admission.invite({ role: "relay" });
    const third = await all.joined(second, token);
    expect(founder.judge(third)).toEqual({ kind: "member", role: "relay" });
    const { authority } = readInvite(token).granted?.grant ?? {};
    if (!authority || !third.admission.credential) throw new Error("no credential");
    const { links } = verifyCredential(third.admission.credential, { authority, subject: third.identity.id });
    expect(grantsOf(links).at(-1)).toEqual({ issuer: second.identity.id, grant: grant?.id });
  });

  it("is not needed by who was admitted: a restart with the same one, expired by then, asks nobody", async () => {
    const all = circle();
    const founder = await all.member();
    const { token } = founder.admission.invite({ lifeMs: 60_000 });
    const joiner = await all.joined(founder, token);
    all.nowMs += dayMs;
    joiner.restart({ join: [token] });
    await founder.transport.close();
    expect(await all.join(joiner, founder, token)).toBe(false);
    expect(founder.judge(joiner).kind).toBe("member");
    joiner.restart();
    expect(founder.judge(joiner).kind).toBe("member");
  });

  it("to another mesh leaves the credential for the first one where it is", async () => {
    const all = circle();
    const [one, two] = [await all.member(), await all.member()];
    const first = one.admission.invite().token;
    const joiner = await all.joined(one, first);
    joiner.restart({ join: [two.admission.invite().token] });
    expect(joiner.admission).toMatchObject({ meshId: two.admission.meshId, credential: undefined });
    joiner.restart({ join: [first] });
    expect(one.judge(joiner).kind).toBe("member");
  });

  it("of two meshes at once is no way to start, nor one beside --open-mesh", async () => {
    const all = circle();
    const [one, two] = [(await all.member()).admission.invite().token, (await all.member()).admission.invite().token];
    const open = (await all.member({ open: true })).admission.invite().token;
    await rejectsWith("E_USAGE", all.member({ join: [one, two] }));
    await rejectsWith("E_USAGE", all.member({ join: [one, open] }));
    await rejectsWith("E_USAGE", all.member({ join: [one], open: true }));
  });

  it("carries the name of the mesh", async () => {
    const all = circle();
    const founder = await all.member({ name: "team" });
    const joiner = await all.joined(founder, founder.admission.invite().token);
    joiner.restart();
    expect(joiner.admission.meshName).toBe("team");
  });

  it("used again by the same node costs no use and gives a fresh credential", async () => {
    const all = circle();
    const founder = await all.member();
    const { token } = founder.admission.invite({ uses: 1 });
    const joiner = await all.joined(founder, token);
    writeFileSync(join(joiner.directory, "mesh.json"), '{"version":1,"meshes":[]}', { mode: 0o600 });
    joiner.restart({ join: [token] });
    expect(await all.join(joiner, founder, token)).toBe(true);
    expect(founder.admission.list()[0]?.usedBy).toHaveLength(1);
  });

  it("is not issued by a member that may not, nor in a wider role than its own", async () => {
    const all = circle();
    const founder = await all.member();
    const silent = await all.joined(founder, founder.admission.invite({ delegable: false }).token);
    const client = await all.joined(founder, founder.admission.invite({ role: "client" }).token);
    expectCode("E_REFUSED", () => silent.admission.invite());
    expect(silent.admission.standingInvite()).toBeUndefined();
    expect(silent.admission.mayInvite).toBe(false);
    expectCode("E_REFUSED", () => client.admission.invite({ role: "host" }));
    expect(decodeInvite(client.admission.standingInvite() ?? "").granted?.grant.role).toBe("client");
  });

  it("is not issued by a node that was not admitted so far", async () => {
    const all = circle();
    const founder = await all.member();
    const waiting = await all.member({ join: [founder.admission.invite().token] });
    expect(waiting.admission.mayInvite).toBe(false);
    expect(waiting.admission.status()).toMatchObject({
      role: null,
      why: "this node was not admitted to its mesh so far",
    });
    expect(founder.judge(waiting)).toMatchObject({ kind: "refused", why: expect.stringContaining("no credential") });
  });

  it("ends where the chain may not grow any more", async () => {
    const all = circle();
    let last = await all.member();
    for (let depth = 1; depth < 8; depth += 1) last = await all.joined(last, last.admission.standingInvite() ?? "");
    expect(last.admission.role).toBe("host");
    expect(last.admission.standingInvite()).toBeUndefined();
    expectCode("E_REFUSED", () => last.admission.invite());
  });
});

describe("the invite that a node shows by itself", () => {
  it("stays the same, also after a restart, until less than a day is left", async () => {
    const all = circle();
    const node = await all.member();
    const first = node.admission.standingInvite();
    expect(decodeInvite(first ?? "").granted?.grant).toMatchObject({ role: "host", delegable: true, uses: 0 });
    all.nowMs += 5 * dayMs;
    node.restart();
    expect(node.admission.standingInvite()).toBe(first);
    all.nowMs += 1.5 * dayMs;
    expect(node.admission.standingInvite()).not.toBe(first);
    expect(node.admission.list()).toHaveLength(2);
  });

  it("is another one after it was taken back", async () => {
    const node = await circle().member();
    const first = node.admission.standingInvite();
    node.admission.revoke(node.admission.list()[0]?.id ?? "");
    expect(node.admission.standingInvite()).not.toBe(first);
  });

  it("is the only one whose secret is on disk", async () => {
    const node = await circle().member();
    const standing = decodeInvite(node.admission.standingInvite() ?? "").granted;
    const other = decodeInvite(node.admission.invite().token).granted;
    const text = readFileSync(join(node.directory, "invites.json"), "utf8");
    const forms = (seed: Uint8Array | undefined): readonly string[] =>
      seed ? [toHex(seed), Buffer.from(seed).toString("base64url")] : [];
    expect(forms(standing?.bearerSeed).some((form) => text.includes(form))).toBe(true);
    expect(forms(other?.bearerSeed).some((form) => text.includes(form))).toBe(false);
  });
});

describe("taking back", () => {
  it("names an invite by its first digits, and says when nothing or too much is named", async () => {
    const { admission } = await circle().member();
    const { grant } = admission.invite();
    expectCode("E_INPUT", () => admission.revoke("abc"));
    expectCode("E_INPUT", () => admission.revoke("../x"));
    expect(admission.revoke("0".repeat(32))).toBeUndefined();
    expect(admission.revoke(grant?.id.slice(0, 8) ?? "")).toMatchObject({ id: grant?.id, state: "revoked" });
  });

  it("is told in the record as long as somebody was admitted", async () => {
    const all = circle();
    const node = await all.member();
    const [used, unused] = [node.admission.invite(), node.admission.invite()];
    await all.joined(node, used.token);
    for (const { grant } of [used, unused]) node.admission.revoke(grant?.id ?? "");
    expect(node.admission.revokedGrants.map(toHex)).toEqual([used.grant?.id]);
    expect(node.told).toEqual({ own: 2, revoked: 2 });
    node.admission.revoke(used.grant?.id ?? "");
    expect(node.told.own).toBe(2);
  });

  it("is kept by those who heard of it", async () => {
    const all = circle();
    const founder = await all.member();
    const { token, grant } = founder.admission.invite();
    const [out, stays] = [
      await all.joined(founder, token),
      await all.joined(founder, founder.admission.invite().token),
    ];
    founder.admission.revoke(grant?.id ?? "");
    expect(stays.judge(out).kind).toBe("member");
    stays.judge(founder);
    await new Promise(setImmediate);
    expect(stays.told.revoked).toBe(1);
    expect(stays.judge(out)).toMatchObject({ kind: "refused" });
    expect(existsSync(join(stays.directory, "revoked-grants.json"))).toBe(false);
    stays.admission.keep();
    stays.restart();
    expect(stays.judge(out)).toMatchObject({ kind: "refused" });
    expect(out.admission.status().why).toBeNull(); // it has not heard so far
    out.judge(founder);
    expect(out.admission.status().why).toContain("taken back");
  });
});

/** A member of one mesh shows its credential to another, or has the invite of one mesh used at the other. */
import { expect, it } from "vitest";
import { admissionCodes } from "../../src/wire/admission.ts";
import { circle, grantedBy, rawAdmission, shown } from "../support/members.ts";

it("the credential is for another mesh, whoever made that one", async () => {
  const all = circle();
  const [one, two] = [await all.member(), await all.member()];
  const member = await all.joined(one, one.admission.invite().token);
  expect(two.judge(member)).toEqual({ kind: "refused", why: "the credential is refused: it is for another mesh" });
  expect(two.judge(one)).toMatchObject({ kind: "refused" });
  expect(one.judge(two)).toMatchObject({ kind: "refused" });
});

it("a member that went to another mesh is judged by that one's authority alone", async () => {
  const all = circle();
  const [one, two] = [await all.member(), await all.member()];
  const other = await all.joined(one, one.admission.invite().token);
  const node = await all.joined(one, one.admission.invite().token);
  expect(node.judge(other).kind).toBe("member");
  const { token } = two.admission.invite();
  node.restart({ join: [token] });
  await all.join(node, two, token);
  expect(node.judge(other)).toMatchObject({ kind: "refused" });
  expect(node.judge(two)).toEqual({ kind: "member", role: "host" });
});

it("an invite of the mesh that the issuer was in before admits nobody to the one that it is in now", async () => {
  const all = circle();
  const [one, two] = [await all.member(), await all.member()];
  const { bytes } = grantedBy(one.admission.invite().token);
  const { token } = two.admission.invite();
  one.restart({ join: [token] });
  await all.join(one, two, token);
  const stranger = await all.member({ open: true });
  const challenge = await (await rawAdmission(all, stranger, one)).request(bytes);
  expect(challenge).toEqual({ code: admissionCodes.unknownGrant });
  expect(shown(one, two.identity, two.record()).kind).toBe("member");
});

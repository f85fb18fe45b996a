/** Somebody joins by an invite after its end: with his own clock, with one that is put back, or in the midst of it. */
import { expect, it } from "vitest";
import { proveBearer } from "../../src/crypto/admission.ts";
import { admissionCodes } from "../../src/wire/admission.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { circle, grantedBy, rawAdmission } from "../support/members.ts";

it("a joiner says when the invite has expired, and asks nobody", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ lifeMs: 60_000 });
  const joiner = await all.member({ join: [token] });
  all.nowMs += 60_000;
  await founder.transport.close();
  await rejectsWith("E_INVITE", all.join(joiner, founder, token));
  await expect(all.join(joiner, founder, token)).rejects.toThrow("expired on 2027-01-15 08:01 UTC");
});

it("the issuer goes by its own clock, to the millisecond", async () => {
  const all = circle();
  const founder = await all.member();
  const { bytes } = grantedBy(founder.admission.invite({ lifeMs: 60_000 }).token);
  const joiner = await all.member({ open: true });
  all.nowMs += 59_999;
  expect(await (await rawAdmission(all, joiner, founder)).request(bytes)).toMatchObject({ code: admissionCodes.ok });
  all.nowMs += 1;
  expect(await (await rawAdmission(all, joiner, founder)).request(bytes)).toEqual({ code: admissionCodes.expired });
});

it("an invite that ends while the proof is on its way admits nobody", async () => {
  const all = circle();
  const founder = await all.member();
  const { bytes, bearerSeed } = grantedBy(founder.admission.invite({ lifeMs: 60_000 }).token);
  const joiner = await all.member({ open: true });
  const raw = await rawAdmission(all, joiner, founder);
  const joinerNonce = new Uint8Array(32);
  const challenge = await raw.request(bytes, joinerNonce);
  if (challenge.code !== admissionCodes.ok) throw new Error("no challenge");
  const ids = { joiner: joiner.identity.id, issuer: founder.identity.id };
  const proof = proveBearer(bearerSeed, { ...ids, joinerNonce, issuerNonce: challenge.nonce, grant: bytes });
  all.nowMs += 60_000;
  expect(await raw.prove(proof)).toEqual({ code: admissionCodes.expired });
  expect(founder.admission.list()[0]?.usedBy).toEqual([]);
});

it("a credential that has ended makes nobody a member, beyond what clocks differ", async () => {
  const all = circle();
  const founder = await all.member();
  const joiner = await all.joined(founder, founder.admission.invite().token);
  all.nowMs += 10 * 365 * 86_400_000 + 300_000;
  expect(founder.judge(joiner).kind).toBe("member");
  all.nowMs += 1;
  expect(founder.judge(joiner)).toEqual({ kind: "refused", why: "its credential has ended" });
});

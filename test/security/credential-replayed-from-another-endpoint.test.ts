/** Records are public: whoever hears one has the credential in it. Shown by another node, it must be worth nothing. */
import { expect, it } from "vitest";
import { circle, shown } from "../support/members.ts";

const another = { kind: "refused", why: "the credential is refused: it is another node's" };

it("in the thief's own record it is another node's", async () => {
  const all = circle();
  const founder = await all.member();
  const member = await all.joined(founder, founder.admission.invite().token);
  const thief = await all.member();
  const { credential } = member.admission;
  expect(shown(founder, thief.identity, thief.record({ credential }))).toEqual(another);
  expect(shown(member, thief.identity, thief.record({ credential: founder.admission.credential }))).toEqual(another);
});

it("what was found for its owner before says nothing for the thief, and the other way round", async () => {
  const all = circle();
  const founder = await all.member();
  const member = await all.joined(founder, founder.admission.invite().token);
  const thief = await all.member();
  const { credential } = member.admission;
  for (let round = 0; round < 2; round += 1) {
    expect(founder.judge(member)).toEqual({ kind: "member", role: "host" });
    expect(shown(founder, thief.identity, thief.record({ credential }))).toEqual(another);
  }
});

it("without a record, and without a credential in it, nobody is a member", async () => {
  const all = circle();
  const founder = await all.member();
  const stranger = await all.member({ open: true });
  expect(shown(founder, stranger.identity, undefined)).toMatchObject({ kind: "refused" });
  expect(founder.judge(stranger)).toMatchObject({ kind: "refused" });
});

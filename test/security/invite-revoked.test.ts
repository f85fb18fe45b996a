/** Somebody joins by an invite that was taken back, or stays a member after it was; or invites others meanwhile. */
import { expect, it } from "vitest";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { RevokedGrants } from "../../src/node/revoked-grants.ts";
import { grantIdFromBytes } from "../../src/wire/admission.ts";
import { defaults } from "../../src/node/defaults.ts";
import { join } from "node:path";
import { rejectsWith } from "../support/expect-code.ts";
import { circle, type Circle, type Member } from "../support/members.ts";
import { temporaryDirectory } from "../support/mesh.ts";

const gone = { kind: "refused", why: "its credential rests on an invite that was taken back" };

async function threeInARow(all: Circle): Promise<{ founder: Member; second: Member; third: Member; id: string }> {
  const founder = await all.member();
  const { token, grant } = founder.admission.invite();
  const second = await all.joined(founder, token);
  const third = await all.joined(second, second.admission.invite().token);
  return { founder, second, third, id: grant?.id ?? "" };
}

it("nobody is admitted by it any more", async () => {
  const all = circle();
  const founder = await all.member();
  const { token, grant } = founder.admission.invite();
  const joiner = await all.member({ join: [token] });
  founder.admission.revoke(grant?.id ?? "");
  await rejectsWith("E_INVITE", all.join(joiner, founder, token));
  expect(founder.events).toContainEqual({ event: "admission-refused", peer: joiner.identity.id, reason: "revoked" });
});

it("whoever it admitted is out at once, and so are all whom they have invited", async () => {
  const all = circle();
  const { founder, second, third, id } = await threeInARow(all);
  founder.admission.revoke(id);
  expect(founder.judge(second)).toEqual(gone);
  expect(founder.judge(third)).toEqual(gone);
});

it("another member puts them out as soon as it hears of it, from whomever", async () => {
  const all = circle();
  const { founder, second, third, id } = await threeInARow(all);
  const other = await all.joined(founder, founder.admission.invite().token);
  founder.admission.revoke(id);
  other.admission.hear(founder.record());
  expect(other.judge(second)).toEqual(gone);
  expect(other.judge(third)).toEqual(gone);
});

it("who was put out can neither invite nor take back what it did", async () => {
  const all = circle();
  const { founder, second, third, id } = await threeInARow(all);
  const late = second.admission.invite();
  founder.admission.revoke(id);
  second.judge(founder);
  expect(second.admission.mayInvite).toBe(false);
  const joiner = await all.member({ join: [late.token] });
  await rejectsWith("E_INVITE", all.join(joiner, second, late.token));
  // it goes on all the same: its word counts for nothing
  const other = await all.joined(founder, founder.admission.invite().token);
  other.judge(founder);
  second.admission.revoke(second.admission.list()[1]?.id ?? "");
  other.admission.hear(second.record());
  expect(other.judge(third)).toEqual(gone);
});

it("a member takes back its own invites and nobody else's", async () => {
  const all = circle();
  const { founder, second, third, id } = await threeInARow(all);
  const other = await all.joined(founder, founder.admission.invite().token);
  // the id is the founder's: in the name of the second it means nothing
  const forged = second.record();
  const told = { ...forged.fields, revokedGrants: [Buffer.from(id, "hex")] };
  other.admission.hear({ ...forged, fields: told });
  expect(other.judge(second).kind).toBe("member");
  expect(other.judge(third).kind).toBe("member");
  // nor with the credential of the second in the name of the founder
  other.admission.hear({ ...forged, fields: { ...told, endpointId: founder.identity.id } });
  expect(other.judge(second).kind).toBe("member");
});

it("members that come late in the chain cannot push out what earlier ones have taken back", () => {
  const path = join(temporaryDirectory(), "revoked-grants.json");
  const revoked = new RevokedGrants(path);
  const id = (number: number): ReturnType<typeof grantIdFromBytes> => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, number);
    return grantIdFromBytes(bytes);
  };
  const issuer = (): ReturnType<typeof identityFrom>["id"] => identityFrom(newIdentitySeed()).id;
  const founder = issuer();
  revoked.hear(founder, 1, [id(1)]);
  const early = issuer();
  revoked.hear(early, 2, [id(2)]);
  const { total, perIssuer } = defaults.revocations;
  for (let round = 0; round <= total / perIssuer; round += 1) {
    const deep = issuer();
    // a member that tells ever others of its own only loses its own
    for (let at = 0; at < 2 * perIssuer; at += 64) {
      revoked.hear(
        deep,
        3,
        Array.from({ length: 64 }, (_, index) => id(1_000 + at + index)),
      );
    }
  }
  expect(revoked.size).toBe(total);
  expect(revoked.has(founder, id(1))).toBe(true);
  expect(revoked.has(early, id(2))).toBe(true);
  revoked.keep();
  expect(new RevokedGrants(path).has(founder, id(1))).toBe(true);
});

it("of those that come equally late, who says most loses of it first, and what was pushed out comes back to no end", () => {
  const revoked = new RevokedGrants(join(temporaryDirectory(), "revoked-grants.json"));
  const { total } = defaults.revocations;
  const issuer = (): ReturnType<typeof identityFrom>["id"] => identityFrom(newIdentitySeed()).id;
  const honest = issuer();
  expect(revoked.hear(honest, 3, grants(1, 0))).toBe(true);
  const many = Array.from({ length: total / 64 + 10 }, (_, at) => ({ id: issuer(), told: grants(64, 1_000 * at) }));
  for (const { id, told } of many) revoked.hear(id, 3, told);
  expect(revoked.size).toBe(total);
  expect(grants(1, 0).every((id) => revoked.has(honest, id))).toBe(true);
  const late = issuer();
  expect(revoked.hear(late, 3, grants(1, 7))).toBe(true);
  expect(grants(1, 7).every((id) => revoked.has(late, id))).toBe(true);
  // said again and again, it changes nothing: nobody is judged anew for it
  for (let round = 0; round < 2; round += 1) {
    for (const { id, told } of many) expect(revoked.hear(id, 3, told)).toBe(false);
  }
});

it("one record has everybody judged anew once, however often and by however many it is told", async () => {
  const all = circle();
  const { founder, second, id } = await threeInARow(all);
  const other = await all.joined(founder, founder.admission.invite().token);
  founder.admission.revoke(id);
  const record = founder.record();
  for (let round = 0; round < 100; round += 1) other.admission.hear(record);
  second.admission.hear(record);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  expect(other.told.revoked).toBe(1);
});

function grants(count: number, from: number): readonly ReturnType<typeof grantIdFromBytes>[] {
  return Array.from({ length: count }, (_, at) => {
    const bytes = new Uint8Array(16);
    new DataView(bytes.buffer).setUint32(0, from + at);
    return grantIdFromBytes(bytes);
  });
}

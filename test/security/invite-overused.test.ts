/** An invite for one node is used by more: one after the other, at the same time, or with a counter that was not written. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { proveBearer } from "../../src/crypto/admission.ts";
import { admissionCodes, type AdmissionReply } from "../../src/wire/admission.ts";
import { rejectsWith } from "../support/expect-code.ts";
import { circle, type Circle, grantedBy, type Member, rawAdmission } from "../support/members.ts";

async function tryWith(
  all: Circle,
  joiner: Member,
  issuer: Member,
  token: string,
): Promise<() => Promise<AdmissionReply>> {
  const { bytes, bearerSeed } = grantedBy(token);
  const raw = await rawAdmission(all, joiner, issuer);
  const joinerNonce = new Uint8Array(32);
  const challenge = await raw.request(bytes, joinerNonce);
  if (challenge.code !== admissionCodes.ok) throw new Error(`refused with ${challenge.code}`);
  const ids = { joiner: joiner.identity.id, issuer: issuer.identity.id };
  return () => raw.prove(proveBearer(bearerSeed, { ...ids, joinerNonce, issuerNonce: challenge.nonce, grant: bytes }));
}

it("the second node is told that it is used up", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ uses: 1 });
  await all.joined(founder, token);
  const second = await all.member({ join: [token] });
  await rejectsWith("E_INVITE", all.join(second, founder, token));
  expect(founder.admission.list()[0]).toMatchObject({ state: "used-up" });
});

it("of several at once, all of which have seen it unused, one is admitted", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ uses: 1 });
  const joiners = await Promise.all(Array.from({ length: 5 }, () => all.member({ open: true })));
  const proving = await Promise.all(joiners.map((joiner) => tryWith(all, joiner, founder, token)));
  const codes = (await Promise.all(proving.map((prove) => prove()))).map(({ code }) => code);
  expect(codes.filter((code) => code === admissionCodes.ok)).toHaveLength(1);
  expect(codes.filter((code) => code === admissionCodes.usedUp)).toHaveLength(4);
  expect(founder.admission.list()[0]?.usedBy).toHaveLength(1);
});

it("uses are counted across a restart of the issuer", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ uses: 1 });
  await all.joined(founder, token);
  founder.restart();
  await rejectsWith("E_INVITE", all.joined(founder, token));
});

it("nobody is admitted while another process holds the file, and the use is not counted", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ uses: 1 });
  const joiner = await all.member({ join: [token] });
  const lock = join(founder.directory, "invites.json.lock");
  writeFileSync(lock, `${process.ppid} held\n`, { mode: 0o600 });
  await rejectsWith("E_BUSY", all.join(joiner, founder, token));
  rmSync(lock);
  expect(await all.join(joiner, founder, token)).toBe(true);
  expect(founder.admission.list()[0]?.usedBy).toHaveLength(1);
});

it("one stranger that tries without end is sent away, and others are not", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite();
  const { bytes } = grantedBy(token);
  const stranger = await all.member({ open: true });
  const codes: number[] = [];
  for (let round = 0; round < 8; round += 1) {
    codes.push((await (await rawAdmission(all, stranger, founder)).request(bytes)).code);
  }
  expect(codes.slice(0, 5)).toEqual([0, 0, 0, 0, 0]);
  expect(codes.slice(6)).toEqual([admissionCodes.busy, admissionCodes.busy]);
  expect((await all.joined(founder, token)).admission.role).toBe("host");
});

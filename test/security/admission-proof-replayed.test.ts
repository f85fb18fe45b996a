/**
 * A proof of the bearer key is used a second time: by another node, at another issuer, or in a later exchange. Whoever listens
 * at an issuer that he runs himself sees proofs, and must gain nothing by them.
 */
import { expect, it } from "vitest";
import { proveBearer, signGrant } from "../../src/crypto/admission.ts";
import { admissionCodes, type AdmissionContext } from "../../src/wire/admission.ts";
import { circle, grantedBy, rawAdmission } from "../support/members.ts";

const zeros = new Uint8Array(32);

it("in a later exchange it does not hold: the issuer's nonce is another one", async () => {
  const all = circle();
  const founder = await all.member();
  const { bytes, bearerSeed } = grantedBy(founder.admission.invite().token);
  const joiner = await all.member({ open: true });
  const first = await rawAdmission(all, joiner, founder);
  const challenge = await first.request(bytes, zeros);
  if (challenge.code !== admissionCodes.ok) throw new Error("no challenge");
  const context: AdmissionContext = {
    joiner: joiner.identity.id,
    issuer: founder.identity.id,
    joinerNonce: zeros,
    issuerNonce: challenge.nonce,
    grant: bytes,
  };
  const proof = proveBearer(bearerSeed, context);
  expect((await first.prove(proof)).code).toBe(admissionCodes.ok);
  const second = await rawAdmission(all, joiner, founder);
  await second.request(bytes, zeros);
  expect(await second.prove(proof)).toEqual({ code: admissionCodes.notProven });
});

it.each([
  ["another node's", { joiner: true }],
  ["for another issuer", { issuer: true }],
  ["with another nonce of the joiner", { joinerNonce: new Uint8Array(32).fill(1) }],
  ["with another nonce of the issuer", { issuerNonce: new Uint8Array(32).fill(1) }],
  ["for another grant", { grant: true }],
] as const)("%s, it does not hold", async (_what, change) => {
  const all = circle();
  const founder = await all.member();
  const { bytes, bearerSeed, grant } = grantedBy(founder.admission.invite().token);
  const [joiner, other] = [await all.member({ open: true }), await all.member()];
  const raw = await rawAdmission(all, joiner, founder);
  const challenge = await raw.request(bytes, zeros);
  if (challenge.code !== admissionCodes.ok) throw new Error("no challenge");
  const right = { joiner: joiner.identity.id, issuer: founder.identity.id, joinerNonce: zeros, grant: bytes };
  const context: AdmissionContext = {
    ...right,
    issuerNonce: challenge.nonce,
    ...("joiner" in change ? { joiner: other.identity.id } : {}),
    ...("issuer" in change ? { issuer: other.identity.id } : {}),
    ...("joinerNonce" in change ? { joinerNonce: change.joinerNonce } : {}),
    ...("issuerNonce" in change ? { issuerNonce: change.issuerNonce } : {}),
    ...("grant" in change ? { grant: signGrant(founder.identity, { ...grant, uses: 7 }).bytes } : {}),
  };
  expect(await raw.prove(proveBearer(bearerSeed, context))).toEqual({ code: admissionCodes.notProven });
  expect(founder.admission.list()[0]?.usedBy).toEqual([]);
});

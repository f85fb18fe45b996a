/** An invite is made up, put together from two, or widened: as a text that people paste, and as frames on the stream. */
import { describe, expect, it } from "vitest";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../src/base/bytes.ts";
import { isMeshError } from "../../src/base/errors.ts";
import { bearerKeyOf, proveBearer, signGrant, verifyCredential } from "../../src/crypto/admission.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { readInvite } from "../../src/crypto/invite.ts";
import {
  admissionCodes,
  decodeCredential,
  decodeSignedGrant,
  encodeCredential,
  encodeGrant,
  encodeLink,
  encodeSignedGrant,
  grantId,
  type Link,
  linkSigningBytes,
} from "../../src/wire/admission.ts";
import { codeOf, expectCode } from "../support/expect-code.ts";
import { circle, type Circle, credentialOf, grantedBy, type Member, rawAdmission, shown } from "../support/members.ts";

function complaint(token: string): string {
  try {
    readInvite(token);
  } catch (thrown) {
    if (isMeshError(thrown) && thrown.code === "E_INVITE") return thrown.message;
    throw thrown;
  }
  return "none";
}

/** The token with some members of `sealmesh` changed; undefined takes one away. */
function changed(token: string, ours: Readonly<Record<string, unknown>>): string {
  const json = JSON.parse(fromUtf8(fromBase64Url(token)));
  return toBase64Url(utf8(JSON.stringify({ ...json, sealmesh: { ...json.sealmesh, ...ours } })));
}

describe("as it is pasted", () => {
  it("is refused with a sentence of its own for each part that does not fit", async () => {
    const all = circle();
    const [founder, other] = [await all.member(), await all.member()];
    const { token } = founder.admission.invite({ role: "client" });
    const theirs = other.admission.invite().token;
    const { grant, bytes, bearerSeed } = grantedBy(token);
    const { signature } = decodeSignedGrant(bytes);
    const widened = encodeSignedGrant({ signed: encodeGrant({ ...grant, role: "host" }), signature });
    const b64 = toBase64Url;
    const sentences = [
      [changed(token, { bearer: b64(newIdentitySeed()) }), "does not belong to its grant"],
      [changed(token, { grant: b64(widened) }), "was not signed by the node that it names"],
      [changed(token, { grant: b64(grantedBy(theirs).bytes) }), "of another node than its address"],
      [changed(token, { grant: b64(bytes.subarray(0, 90)) }), "grant is damaged"],
      [changed(token, { grant: b64(new Uint8Array(600)) }), "grant is damaged"],
      [changed(token, { grant: 7 }), "grant is damaged"],
      [changed(token, { bearer: b64(bearerSeed.subarray(1)) }), "it has not 32 bytes"],
      [changed(token, { bearer: undefined }), "a grant without its secret"],
      [changed(token, { grant: undefined }), "a secret without its grant"],
    ] as const;
    for (const [forged, sentence] of sentences) expect(complaint(forged)).toContain(sentence);
    expect(complaint(token)).toBe("none");
  });
});

/** Goes through the stream with a grant and a secret, and says how it ended. */
async function admitted(all: Circle, issuer: Member, grant: Uint8Array, seed: Uint8Array): Promise<number> {
  const joiner = await all.member({ open: true });
  const raw = await rawAdmission(all, joiner, issuer);
  const joinerNonce = new Uint8Array(32);
  const challenge = await raw.request(grant, joinerNonce);
  if (challenge.code !== admissionCodes.ok) return challenge.code;
  const ids = { joiner: joiner.identity.id, issuer: issuer.identity.id };
  const { code } = await raw.prove(proveBearer(seed, { ...ids, joinerNonce, issuerNonce: challenge.nonce, grant }));
  return code;
}

describe("on the stream", () => {
  it("is unknown when its issuer did not sign it, or not this", async () => {
    const all = circle();
    const founder = await all.member();
    const { grant, bytes, bearerSeed } = grantedBy(founder.admission.invite({ role: "client" }).token);
    const { signature } = decodeSignedGrant(bytes);
    const wider = encodeSignedGrant({ signed: encodeGrant({ ...grant, role: "host" }), signature });
    expect(await admitted(all, founder, wider, bearerSeed)).toBe(admissionCodes.unknownGrant);
    const mallory = identityFrom(newIdentitySeed());
    expect(await admitted(all, founder, signGrant(mallory, grant).bytes, bearerSeed)).toBe(admissionCodes.unknownGrant);
    expect(await admitted(all, founder, bytes.subarray(1), bearerSeed)).toBe(admissionCodes.unknownGrant);
  });

  it("does nothing for who has it without its secret", async () => {
    const all = circle();
    const founder = await all.member();
    const { bytes } = grantedBy(founder.admission.invite().token);
    expect(await admitted(all, founder, bytes, newIdentitySeed())).toBe(admissionCodes.notProven);
  });

  it("that the issuer never entered is unknown, though its own key signed it", async () => {
    const all = circle();
    const founder = await all.member();
    const { grant } = grantedBy(founder.admission.invite().token);
    const seed = newIdentitySeed();
    const extra = { ...grant, id: grantId("ab".repeat(16)), bearer: bearerKeyOf(seed) };
    const { bytes } = signGrant(founder.identity, extra);
    expect(await admitted(all, founder, bytes, seed)).toBe(admissionCodes.unknownGrant);
  });
});

describe("by a member that gives more than it has", () => {
  async function chainOf(
    options: Parameters<Member["admission"]["invite"]>[0],
    last: Partial<Link>,
  ): Promise<{
    readonly founder: Member;
    readonly mallory: Member;
    readonly friend: Member;
    readonly bytes: Uint8Array;
  }> {
    const all = circle();
    const founder = await all.member();
    const { token } = founder.admission.invite(options);
    const mallory = await all.joined(founder, token);
    const friend = await all.member({ join: [token] });
    const own = credentialOf(mallory, token);
    const link: Link = {
      ...own.own,
      issuer: mallory.identity.id,
      subject: friend.identity.id,
      grantId: grantId("ab".repeat(16)),
      ...last,
    };
    const signed = encodeLink(link);
    const signature = mallory.identity.sign(linkSigningBytes(signed));
    return {
      founder,
      mallory,
      friend,
      bytes: encodeCredential([...decodeCredential(own.bytes), { signed, signature }]),
    };
  }

  it.each([
    ["may not invite", { delegable: false }, {}, "a member that may not invite has invited"],
    ["a host, as a client", { role: "client" }, { role: "host" }, "a role that it did not have"],
    ["a client, as a relay", { role: "relay" }, { role: "client" }, "a role that it did not have"],
    ["longer than it has itself", {}, { notAfterMs: Number.MAX_SAFE_INTEGER }, "a link outlives the one before"],
    ["signed in another's name", {}, { issuer: identityFrom(newIdentitySeed()).id }, "do not follow one another"],
  ] as const)("%s, the credential is nobody's", async (_what, options, last, why) => {
    const { founder, friend, bytes } = await chainOf(options, last);
    const judged = shown(founder, friend.identity, friend.record({ credential: bytes }));
    expect(judged).toMatchObject({ kind: "refused", why: expect.stringContaining(why) });
  });

  it("but what it may give, it gives", async () => {
    const { founder, friend, bytes } = await chainOf({}, { role: "client", delegable: false });
    const judged = shown(founder, friend.identity, friend.record({ credential: bytes }));
    expect(judged).toEqual({ kind: "member", role: "client" });
  });

  it("with one byte changed anywhere, it is nobody's", async () => {
    const { founder, friend, bytes } = await chainOf({}, {});
    const { credential } = founder.admission;
    if (!credential) throw new Error("no credential");
    const { authority } = credentialOf(founder, founder.admission.invite().token).own;
    for (let at = 0; at < bytes.length; at += 1) {
      const broken = bytes.slice();
      broken[at] = (broken[at] ?? 0) ^ 1;
      expectCode("E_WIRE", () => verifyCredential(broken, { authority, subject: friend.identity.id }));
    }
    expect(verifyCredential(bytes, { authority, subject: friend.identity.id }).own.role).toBe("host");
  });
});

it("an issuer that gives something else than its invite says is found out by who joins", async () => {
  const all = circle();
  const founder = await all.member();
  const { token } = founder.admission.invite({ role: "client" });
  const joiner = await all.member({ join: [token] });
  const honest = founder.admission.admit.bind(founder.admission);
  founder.admission.admit = (granted, id) => honest({ ...granted, grant: { ...granted.grant, role: "host" } }, id);
  expect(await all.join(joiner, founder, token).then(() => "joined", codeOf)).toBe("E_WIRE");
  expect(joiner.admission.credential).toBeUndefined();
});

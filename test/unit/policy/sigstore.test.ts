/** Sigstore bundles over lists of builds, made by a Sigstore of the test's own and checked offline. */
import { beforeAll, describe, expect, it } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { sigstoreSigner } from "../../../src/policy/sigstore.ts";
import { expectCode } from "../../support/expect-code.ts";
import { type BundleChange, identity, issuer, type SigstoreWorld, sigstoreWorld } from "../../support/sigstore.ts";

const message = utf8("sealmesh-build-list-v1\0 and a list");
let world: SigstoreWorld;
let stranger: SigstoreWorld;

beforeAll(async () => {
  world = await sigstoreWorld();
  stranger = await sigstoreWorld();
});

const refuses = async (change: BundleChange, signed = message, from = world): Promise<string | undefined> => {
  const signer = sigstoreSigner({ trustedRoot: world.root, issuer, identity });
  return signer.refuses(message, await from.bundle(signed, change));
};

describe("a bundle", () => {
  it("of that issuer and identity, in both logs, holds", async () => {
    expect(await refuses({})).toBeUndefined();
  });

  it("holds for the beginning of an identity before a star, and for no other place in it", async () => {
    const bundle = await world.bundle(message);
    const with_ = (wanted: string): string | undefined =>
      sigstoreSigner({ trustedRoot: world.root, issuer, identity: wanted }).refuses(message, bundle);
    expect(with_(identity.replace("v1.0.0", "*"))).toBeUndefined();
    const other = "the certificate names another identity";
    expect(with_("github.com/me/sealmesh*")).toBe(other);
    // the library alone would take these for patterns that fit
    expect(with_(identity.replaceAll("github", "g.thub"))).toBe(other);
    expect(with_(".*")).toBe(other);
    expect(with_(identity.slice(0, -1))).toBe(other);
  });

  it.each<[string, BundleChange, string]>([
    ["of another issuer", { issuer: "https://elsewhere.example" }, "the certificate names another issuer"],
    ["of another identity", { identity: `${identity}-mine` }, "the certificate names another identity"],
    [
      "without an entry in a transparency log",
      { edit: (bundle) => void bundle.verificationMaterial.tlogEntries.splice(0) },
      "nothing that you trust says when it was made",
    ],
    [
      "with an entry whose promise was changed",
      {
        edit: ({ verificationMaterial: { tlogEntries } }) => {
          for (const entry of tlogEntries) entry.integratedTime = String(Number(entry.integratedTime) + 1);
        },
      },
      "the transparency log's promise does not hold",
    ],
    [
      "with a key instead of a certificate",
      {
        edit: ({ verificationMaterial }) => {
          delete verificationMaterial.certificate;
          verificationMaterial.publicKey = { hint: "mine" };
        },
      },
      "it names a key instead of a certificate",
    ],
    [
      "over a statement",
      {
        edit: (bundle) => {
          delete bundle.messageSignature;
          bundle.dsseEnvelope = { payload: "e30=", payloadType: "text", signatures: [{ sig: "AAAA", keyid: "" }] };
        },
      },
      "the bundle is not one over a message",
    ],
  ])("%s does not hold", async (_what, change, why) => {
    expect(await refuses(change)).toBe(why);
  });

  it("over another message does not hold", async () => {
    expect(await refuses({}, utf8("another"))).toBeDefined();
  });

  it("of another Sigstore does not hold", async () => {
    expect(await refuses({}, message, stranger)).toBe(
      "its certificate does not hold, or is in no certificate log that you trust",
    );
  });

  it("whose certificate is in no certificate log does not hold", async () => {
    const unlogged = await sigstoreWorld({ withCertificateLog: false });
    const signer = sigstoreSigner({ trustedRoot: unlogged.root, issuer, identity });
    expect(signer.refuses(message, await unlogged.bundle(message))).toMatch(
      /^its certificate does not hold, or is in no/,
    );
  });

  it.each(["", "{}", "null", "[]", "\u0000", '{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'])(
    "that is %j is told as none",
    (text) => {
      const signer = sigstoreSigner({ trustedRoot: world.root, issuer, identity });
      expect(signer.refuses(message, utf8(text))).toBe("it is no Sigstore bundle that can be read");
    },
  );
});

it.each(["", "{}", "no JSON", '{"tlogs":[],"ctlogs":[],"certificateAuthorities":[]}'])(
  "a root that is %j ends the start with E_CONFIG",
  (trustedRoot) => {
    expectCode("E_CONFIG", () => sigstoreSigner({ trustedRoot, issuer, identity }));
  },
);

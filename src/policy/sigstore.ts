/**
 * Sigstore bundles as the signature of a list of builds, checked offline: roots and the one identity that counts are
 * inputs, nothing is fetched. A bundle holds when its certificate chains to a root that is given, is in a certificate log
 * that is given, names exactly that issuer and that identity, and its signature over the message is in a transparency log
 * that is given. The time that counts is that of the log.
 *
 * Loaded only where such an identity is set: the packages behind it are many.
 *
 * @see docs/builds.md
 */
import { bundleFromJSON, isBundleWithMessageSignature } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { toSignedEntity, toTrustMaterial, Verifier } from "@sigstore/verify";
import { fromUtf8, view } from "../base/bytes.ts";
import { MeshError, systemCode } from "../base/errors.ts";
import type { SigstoreSigner } from "./builds.ts";

export interface SigstoreOptions {
  /** Text of a trusted_root.json: certificate authorities, certificate logs and transparency logs. */
  readonly trustedRoot: string;
  /** Of the identity token, such as https://token.actions.githubusercontent.com; exactly. */
  readonly issuer: string;
  /** Subject alternative name of the certificate, such as a workflow's URL; exactly, or its beginning before a last "*". */
  readonly identity: string;
}

/** @throws E_CONFIG the root is none that can be read, or has no certificate authority or no log */
export function sigstoreSigner({ trustedRoot, issuer, identity }: SigstoreOptions): SigstoreSigner {
  const verifier = verifierFor(trustedRoot);
  return {
    name: `sigstore ${issuer} ${identity}`,
    refuses: (message, bytes) => {
      try {
        const bundle = bundleFromJSON(JSON.parse(fromUtf8(bytes)) as unknown);
        // an attestation would sign its own statement and not this message
        if (!isBundleWithMessageSignature(bundle)) return "the bundle is not one over a message";
        const signer = verifier.verify(toSignedEntity(bundle, view(message)));
        const { subjectAlternativeName: name, extensions } = signer.identity ?? {};
        if (extensions?.issuer !== issuer) return "the certificate names another issuer";
        return isIdentity(name, identity) ? undefined : "the certificate names another identity";
      } catch (thrown) {
        return reasonOf(thrown);
      }
    },
  };
}

function verifierFor(text: string): Verifier {
  try {
    const root = TrustedRoot.fromJSON(JSON.parse(text) as unknown);
    const material = toTrustMaterial(root);
    const { certificateAuthorities, ctlogs, tlogs } = material;
    if (certificateAuthorities.length === 0 || ctlogs.length === 0 || tlogs.length === 0) {
      throw new MeshError("E_CONFIG", "it names no certificate authority, no certificate log or no transparency log");
    }
    return new Verifier(material, { tlogThreshold: 1, ctlogThreshold: 1 });
  } catch (cause) {
    const why = cause instanceof MeshError ? `: ${cause.message}` : "";
    throw new MeshError("E_CONFIG", `the Sigstore root cannot be used${why}`, { cause });
  }
}

/** The library would take it for a regular expression, and find it anywhere in the name. */
function isIdentity(name: string | undefined, wanted: string): boolean {
  if (name === undefined) return false;
  return wanted.endsWith("*") ? name.startsWith(wanted.slice(0, -1)) : name === wanted;
}

const reasons: Readonly<Record<string, string>> = {
  TLOG_ERROR: "it is not in a transparency log that you trust",
  TLOG_INCLUSION_PROOF_ERROR: "its proof of being in the transparency log does not hold",
  TLOG_INCLUSION_PROMISE_ERROR: "the transparency log's promise does not hold",
  TLOG_MISSING_INCLUSION_ERROR: "nothing shows that it is in a transparency log",
  TLOG_BODY_ERROR: "its entry in the transparency log is about something else",
  CERTIFICATE_ERROR: "its certificate does not hold, or is in no certificate log that you trust",
  PUBLIC_KEY_ERROR: "it names a key instead of a certificate",
  SIGNATURE_ERROR: "the signature in the bundle does not hold",
  TIMESTAMP_ERROR: "nothing that you trust says when it was made",
};

/** By the error's code alone: what the library says may quote the bundle. */
function reasonOf(thrown: unknown): string {
  return reasons[systemCode(thrown)] ?? "it is no Sigstore bundle that can be read";
}

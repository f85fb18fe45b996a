/**
 * `tpm2`: a quote of a TPM 2.0 (layout: collect/tpm/evidence.ts). With a certificate for the chip, and once the chip has
 * shown to this verifier that it holds the attested key, a maker vouches that the key is in one of its TPMs.
 *
 * Not proven, whatever passes: that this TPM is in the machine that one talks to (a quote can come from another machine
 * of the same owner, through a cable), what that machine runs now, or what its PCRs mean.
 *
 * @see attestation.md §2.4 · TCG TPM 2.0 Library, Part 1, "Attestation"
 */
import { createHash } from "node:crypto";
import { concat, empty, equal, latin1, lengthPrefixed } from "../../base/bytes.ts";
import { unlessMeshError } from "../../base/errors.ts";
import { explicit, isContext, oid, readDer, sequence, set } from "../../crypto/der.ts";
import { p256Point, verifyP256 } from "../../crypto/p256.ts";
import { type Certificate, type ChainFailure, verifyChain } from "../../crypto/x509.ts";
import { expectedBinding } from "../binding.ts";
import type { Claims, Source } from "../claims.ts";
import { sized } from "../collect/tpm/bytes.ts";
import { makeCredential } from "../collect/tpm/credential.ts";
import { decodeTpmEvidence, type TpmEvidence } from "../collect/tpm/evidence.ts";
import {
  attribute,
  decodePublicArea,
  decodeQuote,
  decodeSignature,
  hierarchy,
  keyObjectOf,
  nameOf,
  pcrDigestOf,
  pointOf,
  type PublicArea,
  qualifiedNameOf,
  type Quote,
} from "../collect/tpm/structures.ts";
import {
  type BootCounters,
  endedEarly,
  type EvidenceKind,
  freshByOwnTime,
  judgeBound,
  judgeMeasurement,
  statementClaims,
  type Verified,
  type VerifyInput,
} from "../evidence.ts";
import { boundNonce, decodeStatement, type Statement } from "../statement.ts";
import { fail, type FactorVerdict, pass, stale, unknown, verdictOf } from "../verdict.ts";

/** tcg-kp-EKCertificate. */
const endorsementEku = "2.23.133.8.1";
/** Subject alternative name: critical in endorsement certificates, whose subject is empty. */
const alternativeName = "2.5.29.17";

export const tpm2: EvidenceKind = {
  kind: "tpm2",
  note: "It vouches for a key in a TPM, not for the machine around it or for what that runs. Tried with an emulator so far, not yet with a chip.",
  verify(input: VerifyInput): Verified {
    if (input.item.version !== 1) return endedEarly({ parse: unknown("unknown-kind") });
    const parts = unlessMeshError(() => readParts(input.item.evidence));
    return parts === undefined ? endedEarly({ parse: fail("malformed") }) : judge(parts, input);
  },
  residence(item, secret) {
    if (item.version !== 1) return undefined;
    return unlessMeshError(() => {
      const { attestationKey, endorsementKey } = readParts(item.evidence);
      if (readAttestedKey(attestationKey) === undefined || !isStatementKey(attestationKey)) return undefined;
      if (endorsementKey === undefined || !takesCredentials(endorsementKey)) return undefined;
      const { blob, encryptedSeed } = makeCredential({ endorsementKey, name: nameOf(attestationKey), secret });
      const proof = residenceProof(attestationKey, endorsementKey);
      return { question: concat([sized(blob), sized(encryptedSeed)]), answer: secret, proof };
    });
  },
};

interface Parts {
  readonly evidence: TpmEvidence;
  readonly statement: Statement;
  readonly attestationKey: PublicArea;
  readonly endorsementKey: PublicArea | undefined;
  readonly quote: Quote;
  /** r || s. */
  readonly signature: Uint8Array;
}

/** @throws E_WIRE malformed */
function readParts(bytes: Uint8Array): Parts {
  const evidence = decodeTpmEvidence(bytes);
  const { endorsementKey } = evidence;
  return {
    evidence,
    statement: decodeStatement(evidence.statement),
    attestationKey: decodePublicArea(evidence.attestationKey),
    endorsementKey: endorsementKey.length === 0 ? undefined : decodePublicArea(endorsementKey),
    quote: decodeQuote(evidence.quote),
    signature: decodeSignature(evidence.signature),
  };
}

function judge(parts: Parts, input: VerifyInput): Verified {
  const { evidence, statement, attestationKey, quote } = parts;
  const parse = pass("well-formed");
  const attestedKey = readAttestedKey(attestationKey);
  if (attestedKey === undefined) return endedEarly({ parse, signature: fail("key-unusable") });
  if (!isSigned(parts, attestedKey)) return endedEarly({ parse, signature: fail("signature-wrong") });
  const signature = pass("signature-holds");
  // a key that signs anything has signed whatever its owner wrote: nothing below would mean what it says
  if (!isStatementKey(attestationKey)) {
    return endedEarly({ parse, signature, "key-residence": fail("key-not-restricted") });
  }
  const { chain, leaf } = judgeChain(input);
  const residence = judgeResidence(parts, leaf, input);
  const source = residence.outcome === "pass" ? "vendor" : "self";
  const hasValues = pcrsMatch(evidence, quote);
  const counters = { resets: quote.resetCount, restarts: quote.restartCount, clockMs: quote.clock };
  return {
    claims: {
      attestedKey,
      ...statementClaims(statement),
      ...(leaf && residence.outcome === "pass" ? namesIn(leaf) : {}),
      ...(hasValues ? { pcrs: pcrClaim(evidence, quote, source) } : {}),
    },
    verdict: verdictOf({
      parse,
      signature,
      chain,
      revocation: unknown("no-revocation-list"),
      ...bindingAndFresh(parts, attestedKey, counters, input),
      "key-residence": residence,
      // values that were not signed must not pass as if they were
      measurement: hasValues ? judgeMeasurement(statement.measurement, input) : fail("measurement-differs"),
    }),
    counters,
  };
}

/** SEC1, 65 bytes; undefined for a key of another kind than the one that signs this kind of evidence. */
function readAttestedKey({ key, scheme, nameHash, aesBits, policy }: PublicArea): Uint8Array | undefined {
  if (key.kind !== "ec" || key.curve !== "P-256" || scheme === undefined) return undefined;
  // a policy would be a second way to use the key, or to have a TPM speak for a key that it only knows by its name
  if (nameHash !== "sha256" || aesBits !== undefined || policy.length > 0) return undefined;
  return unlessMeshError(() => p256Point(pointOf(key)));
}

/** The signature over the whole statement, and that the statement names the key which signed it. */
function isSigned({ evidence, attestationKey, quote, signature }: Parts, attestedKey: Uint8Array): boolean {
  return (
    verifyP256({ publicKey: attestedKey, message: evidence.quote, signature, form: "p1363" }) &&
    equal(quote.qualifiedSigner, qualifiedNameOf(attestationKey, hierarchy.owner))
  );
}

/**
 * Made in a TPM, never outside of it, and signing nothing that begins like a TPM's statement unless the TPM wrote it.
 * These are the key's own words until a residence question was answered: the Name in the question covers them.
 */
function isStatementKey({ attributes }: PublicArea): boolean {
  const { fixedTpm, fixedParent, sensitiveDataOrigin, restricted, sign, decrypt } = attribute;
  const needed = fixedTpm | fixedParent | sensitiveDataOrigin | restricted | sign;
  return (attributes & (needed | decrypt)) === needed;
}

/** Opens credentials and nothing else. */
function takesCredentials({ attributes, aesBits }: PublicArea): boolean {
  const { fixedTpm, fixedParent, sensitiveDataOrigin, restricted, sign, decrypt } = attribute;
  const needed = fixedTpm | fixedParent | sensitiveDataOrigin | restricted | decrypt;
  return aesBits !== undefined && (attributes & (needed | sign)) === needed;
}

function judgeChain({ item, roots, nowMs }: VerifyInput): {
  readonly chain: FactorVerdict;
  readonly leaf: Certificate | undefined;
} {
  const [certificate, ...intermediates] = item.collateral;
  if (certificate === undefined) return { chain: unknown("no-chain"), leaf: undefined };
  if (roots.length === 0) return { chain: unknown("no-roots"), leaf: undefined };
  const options = { nowMs, ekuOid: endorsementEku, allowedCriticalOids: [alternativeName] };
  const result = verifyChain(certificate, intermediates, roots, options);
  if (result.ok) return { chain: pass("chain-holds"), leaf: result.leaf };
  return { chain: chainVerdict(result.why), leaf: undefined };
}

function chainVerdict(why: ChainFailure): FactorVerdict {
  switch (why) {
    case "unknown-root":
      return unknown("unknown-root");
    case "unsupported-algorithm":
      return unknown("chain-unsupported");
    case "not-yet-valid":
      return unknown("chain-not-yet-valid");
    case "expired":
      return stale("chain-expired");
    case "limits":
    case "malformed":
    case "bad-signature":
    case "not-a-ca":
    case "path-length":
    case "key-usage":
    case "critical-extension":
    case "eku":
      return fail("chain-wrong");
  }
}

function judgeResidence(
  { attestationKey, endorsementKey }: Parts,
  leaf: Certificate | undefined,
  { seen }: VerifyInput,
): FactorVerdict {
  // an endorsement key that no maker vouches for may be a program's, and its answer with it
  if (leaf === undefined) return unknown("residence-own-word");
  if (endorsementKey === undefined || !keyObjectOf(endorsementKey.key)?.equals(leaf.publicKey)) {
    return fail("other-chip");
  }
  const proof = residenceProof(attestationKey, endorsementKey);
  return seen?.residenceProof !== undefined && equal(seen.residenceProof, proof)
    ? pass("key-in-chip")
    : unknown("not-activated");
}

/** SHA-256 over both public areas, each behind its u32 length. */
function residenceProof(...areas: readonly PublicArea[]): Uint8Array {
  const prefixed = lengthPrefixed(...areas.map(({ bytes }) => bytes));
  return Uint8Array.from(createHash("sha256").update(prefixed).digest());
}

/** One value holds node, keys, nonce and time, so what differs cannot be told apart. */
function bindingAndFresh(
  { evidence, statement, quote }: Parts,
  attestedKey: Uint8Array,
  counters: BootCounters,
  input: VerifyInput,
): { readonly binding: FactorVerdict; readonly fresh: FactorVerdict } {
  const { expected, seen } = input;
  const bound = (nonce: Uint8Array | undefined): boolean | undefined => {
    const value = expectedBinding({ ...expected, nonce: boundNonce(nonce, evidence.statement) }, attestedKey);
    return value && equal(quote.extraData, value);
  };
  // an older piece is an older piece; one that answers a question of now with a counter of before is a copy's work
  const isBehind = seen?.counters !== undefined && wentBack(seen.counters, counters);
  const answersNow = expected.nonce !== undefined && bound(expected.nonce) === true;
  const behind = answersNow ? fail("counter-went-back") : stale("older-than-seen");
  return judgeBound(bound, isBehind ? behind : freshByOwnTime(statement.issuedAtMs, input), input);
}

/** A power cut may set the clock back, but then the machine has started anew. */
function wentBack(before: BootCounters, now: BootCounters): boolean {
  const resets = (now.resets - before.resets) | 0; // modulo 2^32: the TPM adds a constant of the key
  if (resets !== 0) return resets < 0;
  return ((now.restarts - before.restarts) | 0) < 0 || now.clockMs < before.clockMs;
}

function pcrsMatch({ pcrValues }: TpmEvidence, { pcrs, pcrDigest }: Quote): boolean {
  return pcrValues.length === pcrs.length && equal(pcrDigestOf(pcrValues), pcrDigest);
}

function pcrClaim({ pcrValues }: TpmEvidence, { pcrs }: Quote, by: Source): NonNullable<Claims["pcrs"]> {
  return { value: new Map(pcrs.map((pcr, index) => [pcr, pcrValues[index] ?? empty])), by };
}

/** Maker and firmware as the certificate's alternative name has them; none when it cannot be read. */
function namesIn({ extensions }: Certificate): Pick<Claims, "tpmManufacturer" | "tpmFirmware"> {
  const extension = extensions.get(alternativeName);
  const texts = extension && unlessMeshError(() => readTpmNames(extension.value));
  const [maker, version] = [texts?.get("2.23.133.2.1"), texts?.get("2.23.133.2.3")];
  return {
    ...(maker === undefined ? {} : { tpmManufacturer: { value: maker, by: "vendor" } }),
    ...(version === undefined ? {} : { tpmFirmware: { value: version, by: "vendor" } }),
  };
}

/** Attributes of all directory names, by OID; only short visible ASCII. @throws E_WIRE another structure */
function readTpmNames(value: Uint8Array): ReadonlyMap<string, string> {
  const texts = new Map<string, string>();
  const directoryNames = sequence(readDer(value)).filter((name) => isContext(name, 4));
  for (const pair of directoryNames.flatMap((name) => sequence(explicit(name, 4))).flatMap(set)) {
    const [id, content] = sequence(pair);
    const text = latin1(content?.contents ?? empty);
    if (/^[\x20-\x7e]{1,64}$/.test(text)) texts.set(oid(id), text);
  }
  return texts;
}

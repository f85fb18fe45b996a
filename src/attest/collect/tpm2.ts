/**
 * Makes `tpm2` evidence from a TPM 2.0: a quote over the PCRs of boot, signed by a key that never leaves the chip, with
 * the binding as its extra data. Opens the TPM anew for everything it does, one thing at a time, and leaves nothing in it.
 */
import { equal } from "../../base/bytes.ts";
import { abortError, unlessAborted } from "../../base/deadline.ts";
import { MeshError } from "../../base/errors.ts";
import { ecdsaToDer } from "../../crypto/der.ts";
import { evidenceBinding } from "../binding.ts";
import type { EvidenceItem } from "../evidence.ts";
import { boundNonce, encodeStatement } from "../statement.ts";
import type { Collector, CollectorCall, CollectorKind, CollectorSettings, EvidenceRequest } from "./collector.ts";
import { tpmReader } from "./tpm/bytes.ts";
import {
  activateCredential,
  flushLeftovers,
  type LoadedKey,
  quote,
  readPcrs,
  type SignedQuote,
  signHashed,
  withPrimary,
} from "./tpm/commands.ts";
import type { Credential } from "./tpm/credential.ts";
import { openTpm, type TpmDevice } from "./tpm/device.ts";
import { encodeTpmEvidence } from "./tpm/evidence.ts";
import { attestationTemplate, type EndorsementKey, endorsementKeys } from "./tpm/keys.ts";
import { decodeQuote, decodeSignature, pcrDigestOf, type PublicArea, pointOf } from "./tpm/structures.ts";

/**
 * Firmware, boot loader, secure boot, kernel, shim. Not 10, which Linux extends all the time, and not 16 and 23, which
 * every program that may open the TPM can reset.
 */
const quotedPcrs: readonly number[] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14];
/** PCRs may change between reading and quoting; at boot a few times, later never. */
const quoteTries = 5;
/** Things that wait for the TPM. More of them are questions of others, which it cannot answer as fast as they come. */
const maxWaiting = 16;

export const tpm2Collector: CollectorKind = {
  kind: "tpm2",
  wanted: ({ tpm }) => tpm !== undefined,
  create: (settings) => new Tpm2Collector(settings),
};

class Tpm2Collector implements Collector {
  readonly kind = "tpm2";
  /** Its template makes the same key each time, until somebody clears the TPM. */
  readonly keyLife = "machine";
  readonly #place: string;
  readonly #intermediates: readonly Uint8Array[];
  #endorsement: EndorsementKey | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor({ tpm = "/dev/tpmrm0", tpmIntermediates = [] }: CollectorSettings) {
    this.#place = tpm;
    this.#intermediates = tpmIntermediates;
  }

  collect(request: EvidenceRequest, call?: CollectorCall): Promise<EvidenceItem> {
    return this.#withKey(async (device, attestationKey) => {
      const { endpointId, inferenceKey, nonce, issuedAtMs, measurement, posture } = request;
      const statement = encodeStatement({ issuedAtMs, measurement, posture });
      const extraData = evidenceBinding({
        endpointId,
        inferenceKey,
        attestedKey: attestedKeyOf(attestationKey.area),
        nonce: boundNonce(nonce, statement),
      });
      const endorsement = await this.#endorsementKey(device);
      const evidence = encodeTpmEvidence({
        statement,
        attestationKey: attestationKey.area.bytes,
        endorsementKey: endorsement.area.bytes,
        ...(await quoteWithValues(device, attestationKey, extraData)),
      });
      const { certificate } = endorsement;
      const collateral = certificate === undefined ? [] : [certificate, ...this.#intermediates];
      return { kind: this.kind, version: 1, evidence, collateral, issuedAtMs };
    }, call);
  }

  sign(message: Uint8Array, call?: CollectorCall): Promise<Uint8Array> {
    return this.#withKey(async (device, attestationKey) => {
      return ecdsaToDer(decodeSignature(await signHashed(device, attestationKey, message)));
    }, call);
  }

  async answerResidence(question: Uint8Array, call?: CollectorCall): Promise<Uint8Array> {
    const credential = readQuestion(question);
    return this.#withKey(async (device, attestationKey) => {
      const endorsement = await this.#endorsementKey(device);
      const answer = await endorsement.load(device, (endorsementKey) =>
        activateCredential(device, { attestationKey, endorsementKey, credential }),
      );
      if (typeof answer !== "number") return answer.slice();
      throw new MeshError("E_OPEN", "the question where the key is kept was for another key or another TPM");
    }, call);
  }

  /** Found once: it stays the same for the life of the chip. */
  async #endorsementKey(device: TpmDevice): Promise<EndorsementKey> {
    this.#endorsement ??= (await endorsementKeys(device))[0];
    if (this.#endorsement === undefined) throw new MeshError("E_CONFIG", "the TPM has no endorsement key");
    return this.#endorsement;
  }

  /** Runs `use` with the attestation key in the TPM, after everything that came before. */
  async #withKey<T>(
    use: (device: TpmDevice, attestationKey: LoadedKey) => Promise<T>,
    { signal }: CollectorCall = {},
  ): Promise<T> {
    if (this.#waiting >= maxWaiting)
      throw new MeshError("E_BUSY", "the TPM has too much to do", { retryAfterSeconds: 1 });
    const work = async (): Promise<T> => {
      if (signal?.aborted) throw abortError(signal);
      const device = await openTpm(this.#place);
      try {
        await flushLeftovers(device);
        return await withPrimary(device, attestationTemplate, (key) => use(device, key));
      } finally {
        await device.close();
      }
    };
    this.#waiting += 1;
    const done = this.#last.then(work).finally(() => {
      this.#waiting -= 1;
    });
    this.#last = done.catch(() => undefined);
    // a command cannot be taken back, and what follows it tidies up: only the caller stops waiting
    return signal ? unlessAborted(done, signal) : done;
  }
}

/** SEC1, 65 bytes. */
function attestedKeyOf({ key }: PublicArea): Uint8Array {
  if (key.kind !== "ec") throw new MeshError("E_CONFIG", "the TPM made a key of another kind than it was asked for");
  return pointOf(key);
}

/** A quote together with the PCR values that it is over. */
async function quoteWithValues(
  device: TpmDevice,
  key: LoadedKey,
  extraData: Uint8Array,
): Promise<SignedQuote & { readonly pcrValues: readonly Uint8Array[] }> {
  for (let left = quoteTries; left > 0; left -= 1) {
    const pcrValues = await readPcrs(device, quotedPcrs);
    const signed = await quote(device, key, { extraData, pcrs: quotedPcrs });
    if (equal(decodeQuote(signed.quote).pcrDigest, pcrDigestOf(pcrValues))) return { ...signed, pcrValues };
  }
  throw new MeshError("E_CONFIG", "the TPM's PCRs change too often to be quoted");
}

/** 2B blob | 2B encrypted seed. */
function readQuestion(question: Uint8Array): Credential {
  const reader = tpmReader(question);
  const credential = { blob: reader.sized(256), encryptedSeed: reader.sized(512) };
  reader.end();
  return credential;
}

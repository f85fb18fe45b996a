/** A host with a TPM, and the verifier's side of asking it where its key is kept. */
import { randomBytes } from "node:crypto";
import type { Collector } from "../../src/attest/collect/collector.ts";
import { collectorKinds } from "../../src/attest/collect/registry.ts";
import { openTpm, type TpmDevice } from "../../src/attest/collect/tpm/device.ts";
import type { EvidenceItem, KeySeen } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import type { Swtpm, TpmMaker } from "./swtpm.ts";
import { host, inferenceKey } from "./tpm-forger.ts";

export function collectorFor({ place }: Swtpm, { intermediate }: TpmMaker): Collector {
  const kind = collectorKinds.find((known) => known.kind === "tpm2");
  if (kind === undefined) throw new Error("tpm2 is not in the registry");
  return kind.create({ tpm: place, tpmIntermediates: [intermediate] });
}

/** Evidence of now, for the host and key of tpm-forger.ts. */
export function collectFrom(collector: Collector, nonce?: Uint8Array): Promise<EvidenceItem> {
  return collector.collect({ endpointId: host, inferenceKey, nonce, issuedAtMs: Date.now() });
}

/**
 * Asks `collector` about the keys of `item`.
 *
 * @returns what the verifier then knows; nothing when the answer is wrong
 * @throws  as the collector
 */
export async function askResidence(collector: Collector, item: EvidenceItem): Promise<KeySeen> {
  const question = tpm2.residence?.(item, new Uint8Array(randomBytes(32)));
  if (question === undefined) throw new Error("the item names no key that could be asked");
  const answer = await collector.answerResidence?.(question.question);
  return answer && Buffer.from(answer).equals(question.answer) ? { residenceProof: question.proof } : {};
}

export async function withDevice<T>({ place }: Swtpm, use: (device: TpmDevice) => Promise<T>): Promise<T> {
  const device = await openTpm(place);
  try {
    return await use(device);
  } finally {
    await device.close();
  }
}

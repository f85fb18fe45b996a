/**
 * GET /v1/mesh/attestation/{model}: what the hosts of a model have shown, the verdicts, and what a third party needs to
 * check them again. For callers on this machine; what stands in it is made by attestation-report.ts.
 */
import type { Signal } from "../../base/signal.ts";
import type { Reply } from "./lanes.ts";
import { decodeName, unknownModel } from "./models.ts";

export interface AttestationParts {
  /** Ids of models that the mesh serves. */
  readonly meshModels: () => readonly string[];
  /** Asks the hosts of the model first. The signal fires when the caller has gone. */
  readonly attestation: (model: string, signal: Signal) => Promise<object>;
}

/** The model's name as it stands in a path of this route; names have slashes, which clients encode or leave. */
export function attestedModel(path: string): string | undefined {
  return /^\/v1\/mesh\/attestation\/(.+)$/.exec(path)?.[1];
}

/** @throws E_INPUT a name that is not properly encoded · E_MODEL nobody serves it */
export async function showAttestation(
  reply: Reply,
  encoded: string,
  { meshModels, attestation }: AttestationParts,
  signal: Signal,
): Promise<void> {
  const model = decodeName(encoded);
  const known = meshModels();
  if (!known.includes(model)) throw unknownModel(model, known);
  reply.json(await attestation(model, signal));
}

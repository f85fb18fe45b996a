/**
 * The 32 bytes that tie evidence to a node, its inference key, its attested key and the question it answers. Kinds with
 * a slot of 32 bytes hold them as they are; one of 64 bytes holds them and 32 zeros, which are checked.
 *
 *   SHA-256("sealmesh-evidence-binding-v1\0" | s(endpoint id[32]) | s(inference key[32]) | s(attested key) | s(nonce))
 *   s(x) = u32 LE length | x;  attested key: SEC1, 65 bytes, or empty;  nonce: empty when nobody asked
 *
 * @see attestation.md §0
 */
import { createHash } from "node:crypto";
import type { EndpointId } from "../base/brand.ts";
import { concat, empty, fromHex, lengthPrefixed } from "../base/bytes.ts";
import { evidenceLabels } from "../wire/labels.ts";
import type { Expected } from "./evidence.ts";

export interface BindingParts {
  readonly endpointId: EndpointId;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array;
  /** SEC1, 65 bytes; undefined for kinds without one. */
  readonly attestedKey: Uint8Array | undefined;
  /** undefined = unsolicited. */
  readonly nonce: Uint8Array | undefined;
}

/** @returns 32 bytes */
export function evidenceBinding({ endpointId, inferenceKey, attestedKey, nonce }: BindingParts): Uint8Array {
  const parts = lengthPrefixed(fromHex(endpointId, 32), inferenceKey, attestedKey ?? empty, nonce ?? empty);
  const digest = createHash("sha256")
    .update(concat([evidenceLabels.binding, parts]))
    .digest();
  return Uint8Array.from(digest);
}

/**
 * The binding that evidence must hold.
 *
 * @returns undefined when node or inference key are not known: then nothing can be compared
 */
export function expectedBinding(
  { endpointId, inferenceKey, nonce }: Expected,
  attestedKey: Uint8Array | undefined,
): Uint8Array | undefined {
  if (endpointId === undefined || inferenceKey === undefined) return undefined;
  return evidenceBinding({ endpointId, inferenceKey, attestedKey, nonce });
}

/**
 * What makes evidence on this machine. One collector per kind; each owns its attested key, which lives as long as the
 * machine can keep it. Who asks, and how often, is for the node.
 */
import type { EndpointId } from "../../base/brand.ts";
import type { EvidenceItem } from "../evidence.ts";

/** What evidence must be tied to. */
export interface EvidenceRequest {
  readonly endpointId: EndpointId;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array;
  /** 32 bytes that a verifier asked with; undefined = nobody asked. */
  readonly nonce: Uint8Array | undefined;
  /** Unix ms. */
  readonly issuedAtMs: number;
}

export interface CollectorCall {
  /** Ends the wait. Hardware finishes what it has begun all the same. */
  readonly signal?: AbortSignal;
}

export type Availability =
  | { readonly available: true }
  /** One sentence for a person at this machine. */
  | { readonly available: false; readonly why: string };

/** Every method that speaks to hardware also fails as the hardware does: E_CONFIG, E_TIMEOUT, E_LOST, E_ABORTED, E_BUSY. */
export interface Collector {
  readonly kind: string;
  /** Whether evidence can be made here and now. Never throws for the hardware's reasons. */
  available(call?: CollectorCall): Promise<Availability>;
  /** Fresh evidence. */
  collect(request: EvidenceRequest, call?: CollectorCall): Promise<EvidenceItem>;
  /**
   * The attested key's signature over SHA-256 of the message, for challenges (protocol.md §8.6).
   *
   * @returns DER ECDSA P-256
   */
  sign(message: Uint8Array, call?: CollectorCall): Promise<Uint8Array>;
  /**
   * Answers a question of the kind's `residence` (attest/evidence.ts); missing where the kind has none.
   *
   * @throws E_WIRE no such question · E_OPEN it is for another key or machine
   */
  answerResidence?(question: Uint8Array, call?: CollectorCall): Promise<Uint8Array>;
}

export interface CollectorSettings {
  /** Device path or HOST:PORT of the TPM. @default "/dev/tpmrm0" */
  readonly tpm?: string;
  /** Certificates between the TPM's own one and its maker's root, DER: a TPM does not hold them. @default none */
  readonly tpmIntermediates?: readonly Uint8Array[];
}

/** A row of the registry. */
export interface CollectorKind {
  readonly kind: string;
  /** Touches no hardware yet. */
  create(settings: CollectorSettings): Collector;
}

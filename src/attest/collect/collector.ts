/**
 * What makes evidence on this machine. One collector per kind; each owns its attested key, which lives as long as the
 * machine can keep it. Who asks, and how often, is for the node.
 */
import type { EndpointId } from "../../base/brand.ts";
import type { Signal } from "../../base/signal.ts";
import type { EvidenceItem } from "../evidence.ts";
import type { RunCommand } from "./apple/facts.ts";
import type { AppleLibraries } from "./apple/security-framework.ts";

/** What evidence must be tied to. */
export interface EvidenceRequest {
  readonly endpointId: EndpointId;
  /** 32 bytes. */
  readonly inferenceKey: Uint8Array;
  /** 32 bytes that a verifier asked with; undefined = nobody asked. */
  readonly nonce: Uint8Array | undefined;
  /** Unix ms. */
  readonly issuedAtMs: number;
  /** Digest of the build that runs, 64 lower-case hex digits. @default it is not named */
  readonly measurement?: string | undefined;
  /** How process and machine are set up, as encoded by whoever measured it. @default it is not told */
  readonly posture?: Uint8Array | undefined;
}

/** machine: found again after a restart · process: pins of it end with the process. */
export type KeyLife = "machine" | "process";

/** A file for the handle of a key that lives in a chip, mode 0600: whoever can read it here can use the key. */
export interface KeyStore {
  /** undefined = nothing was kept. */
  read(): Uint8Array | undefined;
  /** On disk when it returns. */
  write(bytes: Uint8Array): void;
}

export interface CollectorCall {
  /** Ends the wait. Hardware finishes what it has begun all the same. */
  readonly signal?: Signal;
}

/** Every method that speaks to hardware also fails as the hardware does: E_CONFIG, E_TIMEOUT, E_LOST, E_ABORTED, E_BUSY. */
export interface Collector {
  readonly kind: string;
  /** Whether evidence of this kind holds a nonce: for one that does not, nothing is made anew for who asks. @default true */
  readonly takesNonce?: boolean;
  /** How long the attested key lives; undefined until it was opened for the first time. */
  readonly keyLife?: KeyLife | undefined;
  /** Fresh evidence. What it throws is told to the person at this machine. */
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
  /** Lets go of the attested key, after everything that is under way; missing where nothing is held between two calls. */
  close?(): Promise<void>;
}

export interface CollectorSettings {
  /** Device path or HOST:PORT of the TPM; without it nothing is made of one. */
  readonly tpm?: string;
  /** Certificates between the TPM's own one and its maker's root, DER: a TPM does not hold them. @default none */
  readonly tpmIntermediates?: readonly Uint8Array[];
  /** Where the key of a Secure Enclave is found again. @default nowhere: it may live as long as the process */
  readonly enclaveKey?: KeyStore;
  /** @default macOS's own */
  readonly appleLibraries?: AppleLibraries;
  /** @default runs it */
  readonly runCommand?: RunCommand;
  /** Makes evidence that proves nothing, for development. @default false */
  readonly software?: boolean;
}

/** A row of the registry. */
export interface CollectorKind {
  readonly kind: string;
  /** Whether these settings, and this kind of system, ask for it; whether it can be had shows when some is made. */
  wanted(settings: CollectorSettings): boolean;
  /** Touches no hardware yet. */
  create(settings: CollectorSettings): Collector;
}

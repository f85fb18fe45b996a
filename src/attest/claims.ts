/**
 * What evidence says, in one flat vocabulary for all kinds. Who says it stands beside every value, because kinds of
 * proof must not be mixed: a peer's word stays a peer's word, also when its own key signed it (protocol.md §11, A12).
 *
 * Text in here may be the peer's: it is shown (without control characters), never parsed further or believed.
 */

/** self: whoever holds the attested key · vendor: hardware whose maker's chain vouches for it. */
export type Source = "self" | "vendor";

export interface Claim<T> {
  readonly value: T;
  readonly by: Source;
}

export interface Claims {
  /** SEC1 P-256 point, 65 bytes, uncompressed. Present only when the signature over the evidence holds under it. */
  readonly attestedKey?: Uint8Array;
  /** Unix ms. */
  readonly issuedAtMs?: Claim<number>;
  readonly chip?: Claim<string>;
  readonly hardwareModel?: Claim<string>;
  /** u64. */
  readonly memoryBytes?: Claim<bigint>;
  /** System integrity protection is on. */
  readonly sip?: Claim<boolean>;
  readonly secureBoot?: Claim<boolean>;
  /** Remote memory access is off. */
  readonly rdmaDisabled?: Claim<boolean>;
  /** Digest of the build, lower-case hex. */
  readonly measurement?: Claim<string>;
  /** How the node's process and machine are set up, as it encodes it. */
  readonly posture?: Claim<Uint8Array>;
  /** Text of a certificate that anyone can write: the root says whose it is. */
  readonly tpmManufacturer?: Claim<string>;
  readonly tpmFirmware?: Claim<string>;
  /** PCR number -> value, of the bank that was quoted. */
  readonly pcrs?: Claim<ReadonlyMap<number, Uint8Array>>;
}

/**
 * Domain-separation labels: what stands before the bytes that a key signs, so that a signature made for one purpose is
 * worth nothing for another. Ours end in one zero byte; the reference's end in a colon.
 */
import { utf8 } from "../base/bytes.ts";

export interface Labels {
  /** Endpoint key over a Record (wire.md §2). */
  readonly record: Uint8Array;
  /** Endpoint key over the sealed head of a relayed request (wire.md §4). */
  readonly request: Uint8Array;
  /** Start of the plaintext of a challenge (wire.md §9). */
  readonly challenge: Uint8Array;
  /** The reference's challenge, signed by the attested key (protocol.md §8.6). */
  readonly referenceChallenge: Uint8Array;
  /** An operator's key over a list of builds (docs/builds.md). */
  readonly buildList: Uint8Array;
  /** The reference's owner key over the claim that a node is theirs (protocol.md §10). */
  readonly nodeOwnership: Uint8Array;
  /** Beside an owner's key under its passphrase, in a file (node/owner-key.ts). */
  readonly ownerKey: Uint8Array;
  /** A mesh's authority, or a member, over a Link (wire/admission.ts). */
  readonly credential: Uint8Array;
  /** Endpoint key over a Grant. */
  readonly grant: Uint8Array;
  /** Bearer key of a grant over who joins whom. */
  readonly admission: Uint8Array;
  /** Stands before an authority's key where the mesh id is made of it; nothing is signed. */
  readonly meshId: Uint8Array;
}

export const labels: Labels = {
  record: utf8("sealmesh-record-v1\0"),
  request: utf8("sealmesh-request-v1\0"),
  challenge: utf8("sealmesh-challenge-v1\0"),
  referenceChallenge: utf8("mesh-llm-challenge-v1:"),
  buildList: utf8("sealmesh-build-list-v1\0"),
  nodeOwnership: utf8("mesh-llm-node-ownership-v1:"),
  ownerKey: utf8("sealmesh-owner-key-v1\0"),
  credential: utf8("sealmesh-credential-v1\0"),
  grant: utf8("sealmesh-grant-v1\0"),
  admission: utf8("sealmesh-admission-v1\0"),
  meshId: utf8("sealmesh-mesh-id-v1\0"),
};

export interface EvidenceLabels {
  /** What ties evidence to a node (attestation.md §0). */
  readonly binding: Uint8Array;
  /** Key of the `software` kind over its statement. */
  readonly software: Uint8Array;
  /** Attested key over the reference's blob (protocol.md §8.3). */
  readonly referenceBlob: Uint8Array;
}

export const evidenceLabels: EvidenceLabels = {
  binding: utf8("sealmesh-evidence-binding-v1\0"),
  software: utf8("sealmesh-software-evidence-v1\0"),
  referenceBlob: utf8("mesh-llm-hardware-attestation-v1:"),
};

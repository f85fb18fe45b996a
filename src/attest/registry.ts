/** The kinds of evidence that this build can verify. A new one is a file in kinds/ and a line here. */
import type { EvidenceKind } from "./evidence.ts";
import { secureEnclave } from "./kinds/secure-enclave.ts";
import { software } from "./kinds/software.ts";
import { tpm2 } from "./kinds/tpm2.ts";

export const evidenceKinds: readonly EvidenceKind[] = [secureEnclave, tpm2, software];

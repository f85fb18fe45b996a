/** The kinds of evidence that this build can make. A new one is a file here and a line in the list. */
import type { CollectorKind } from "./collector.ts";
import { secureEnclaveCollector } from "./secure-enclave.ts";
import { softwareCollector } from "./software.ts";
import { tpm2Collector } from "./tpm2.ts";

/** Best first. */
export const collectorKinds: readonly CollectorKind[] = [tpm2Collector, secureEnclaveCollector, softwareCollector];

/** The ways to find meshes. A new one is a file here and a line in the list. */
import type { DiscoveryKind } from "./discovery.ts";
import { mdnsDiscovery } from "./mdns.ts";
import { nostrDiscovery } from "./nostr.ts";

export const discoveryKinds: readonly DiscoveryKind[] = [nostrDiscovery, mdnsDiscovery];

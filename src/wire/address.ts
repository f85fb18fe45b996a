/**
 * EndpointAddress: an endpoint id and where it may be reached. Its JSON form is the invite token's content and the
 * serialized_addr of gossip (protocol.md §4).
 */
import type { EndpointId } from "../base/brand.ts";

export interface EndpointAddress {
  readonly id: EndpointId;
  /** iroh relay URLs, as written by their owner. */
  readonly relays: readonly string[];
  /** Socket addresses "192.0.2.1:4433" or "[2001:db8::1]:4433". */
  readonly direct: readonly string[];
}

/** The transports a node can run on. A new kind is one file and one line here. */
import { withDirectTls, withMux } from "./direct-tls.ts";
import { irohTransport } from "./iroh.ts";
import type { TransportKind } from "./transport.ts";

export const transports: readonly TransportKind[] = [withDirectTls(irohTransport), withMux(irohTransport)];

/**
 * What nodes inside a test's process reach each other by: memory, or real sockets of the transport that SEALMESH_TEST_TRANSPORT
 * names (see the projects in vitest.config.ts). Single ways can be taken away on each. On `direct-tls` a dial gives a connection
 * whose direct path is there already: else the test would have ended before it came.
 */
import type { EndpointId } from "../../src/base/brand.ts";
import { MeshError } from "../../src/base/errors.ts";
import { withDirectTls, withMux } from "../../src/transport/direct-tls.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { type MemoryNetwork, memoryNetwork } from "../../src/transport/memory.ts";
import type { Connection, Transport, TransportKind } from "../../src/transport/transport.ts";
import { upgrade } from "./transport-pair.ts";

const realKinds: Readonly<Record<string, TransportKind>> = {
  iroh: withMux(irohTransport),
  "direct-tls": withDirectTls(irohTransport),
};

export function testNetwork(): MemoryNetwork {
  const name = process.env["SEALMESH_TEST_TRANSPORT"];
  if (name === undefined) return memoryNetwork();
  const kind = realKinds[name];
  if (!kind) throw new Error(`SEALMESH_TEST_TRANSPORT names no transport: ${name}`);
  return networkOf(kind);
}

function networkOf(kind: TransportKind): MemoryNetwork {
  const transports = new Map<EndpointId, Transport>();
  const blocked = new Set<string>();
  const live = new Set<readonly [self: EndpointId, connection: Connection]>();

  const keep = (self: EndpointId, connection: Connection): Connection => {
    const entry = [self, connection] as const;
    live.add(entry);
    void connection.closed.then(() => live.delete(entry));
    return connection;
  };

  const wrapped = (transport: Transport): Transport => ({
    kind: transport.kind,
    id: transport.id,
    address: () => transport.address(),
    ...(transport.offer && { offer: () => transport.offer?.() }),
    ...(transport.takeOffer && { takeOffer: (from, offer) => transport.takeOffer?.(from, offer) }),
    async dial(target, options) {
      if (blocked.has(pairOf(transport.id, target.id))) throw new MeshError("E_UNREACHABLE", "the test is in the way");
      const connection = await transport.dial(target, options);
      const far = transports.get(connection.peer);
      if (far?.offer?.()) await upgrade(transport, far, [connection]);
      else if (far) await upgrade(far, transport, [connection]);
      return keep(transport.id, connection);
    },
    async *incoming() {
      for await (const connection of transport.incoming()) {
        if (blocked.has(pairOf(transport.id, connection.peer))) connection.close();
        else yield keep(transport.id, connection);
      }
    },
    async close() {
      transports.delete(transport.id);
      await transport.close();
    },
  });

  return {
    kind: kind.kind,
    async start(options) {
      const transport = await kind.start(options);
      transports.set(transport.id, transport);
      return wrapped(transport);
    },
    block(a, b) {
      blocked.add(pairOf(a, b));
      for (const [self, connection] of live) if (pairOf(self, connection.peer) === pairOf(a, b)) connection.close();
    },
    unblock: (a, b) => void blocked.delete(pairOf(a, b)),
  };
}

function pairOf(a: EndpointId, b: EndpointId): string {
  return [a, b].toSorted().join(" ");
}

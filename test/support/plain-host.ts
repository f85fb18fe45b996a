/**
 * A host as it was before inference keys: it gossips without one and answers plain HTTP on its own connection. What a
 * tap on such an exchange shows is the control for what a tap on a sealed one does not.
 */
import { randomBytes } from "node:crypto";
import { afterAll } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import type { Connection, Transport } from "../../src/transport/transport.ts";
import { encodeResponse, type HttpRequest, readRequest } from "../../src/tunnel/http.ts";
import { encodeFrame, StreamReader } from "../../src/wire/frame.ts";
import { encodeGossip } from "../../src/wire/gossip.ts";
import { encodeInvite } from "../../src/wire/invite.ts";
import { limits } from "../../src/wire/limits.ts";
import { meshStreams } from "../../src/wire/stream-types.ts";

export interface PlainHost {
  readonly id: EndpointId;
  readonly invite: string;
  /** As they arrived. */
  readonly requests: readonly HttpRequest[];
}

export interface PlainAnswer {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const running: Transport[] = [];
afterAll(async () => {
  await Promise.all(running.splice(0).map((transport) => transport.close()));
});

/** Ends with the test file. Every request gets the same answer. */
export async function startPlainHost(model: string, answer: PlainAnswer): Promise<PlainHost> {
  const secretKey = new Uint8Array(randomBytes(32));
  const transport = await irohTransport.start({ secretKey, alpns: ["mesh-llm/1"], bind: "127.0.0.1:0" });
  running.push(transport);
  const requests: HttpRequest[] = [];
  void accept(transport, async (stream) => {
    const reader = new StreamReader(stream);
    const type = await reader.byte();
    if (type === meshStreams.gossip) {
      await reader.frame(limits.controlFrameBytes);
      await stream.write(gossipOf(transport, model));
    } else if (type === meshStreams.http) {
      requests.push(await readRequest(reader));
      await stream.write(encodeResponse(200, answer.headers, answer.body));
    }
    await stream.finish();
  });
  return { id: transport.id, invite: encodeInvite(transport.address()), requests };
}

function gossipOf(transport: Transport, model: string): Uint8Array {
  const own = {
    id: transport.id,
    role: "host",
    httpPort: 9337,
    version: "0.60.0",
    hostname: "old",
    models: [model],
    runtimes: [],
    address: transport.address(),
    meshId: undefined,
    inferenceKey: undefined,
    posture: [],
    evidence: undefined,
    record: undefined,
  } as const;
  return encodeFrame(encodeGossip({ sender: transport.id, announcements: [own] }));
}

async function accept(transport: Transport, serve: (stream: ByteStream) => Promise<void>): Promise<void> {
  for await (const connection of transport.incoming()) void streamsOf(connection, serve);
}

async function streamsOf(connection: Connection, serve: (stream: ByteStream) => Promise<void>): Promise<void> {
  for await (const stream of connection.streams()) serve(stream).catch(() => stream.abort());
}

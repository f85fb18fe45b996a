/** A host or a relay breaks off after an answer has begun, so that the prompt goes to another host as well. */
import { describe, expect, it } from "vitest";
import { concat, empty, toHex } from "../../src/base/bytes.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import type { TestNode } from "../support/mesh.ts";
import {
  answerHeader,
  answerSealed,
  attackedMesh,
  call,
  chatResponse,
  clientOf,
  openAsk,
  outcomes,
  prompt,
  type RawExchange,
  type RawPeer,
  secret,
} from "../support/raw-peer.ts";

interface Scene {
  readonly client: TestNode;
  /** In the order in which they are asked. */
  readonly hosts: readonly RawPeer[];
  /** Envelopes that each has opened. */
  readonly exchanges: readonly RawExchange[][];
}

/** Hosts of one model; the first does `first`, the others answer. */
async function scene(
  count: number,
  first: (stream: ByteStream, exchange: RawExchange) => Promise<void>,
): Promise<Scene> {
  const mesh = attackedMesh();
  const started = await Promise.all(
    Array.from({ length: count }, () => mesh.raw({ role: "host", models: ["scripted"] })),
  );
  const hosts = started.toSorted((a, b) => (a.id < b.id ? -1 : 1)); // same distance: the id decides
  const exchanges: RawExchange[][] = hosts.map(() => []);
  for (const [at, host] of hosts.entries()) {
    host.handlers.http = async (stream, reader) => {
      const exchange = await openAsk(reader, host.key);
      exchanges[at]?.push(exchange);
      if (at === 0) await first(stream, exchange);
      else await answerSealed(stream, exchange, chatResponse(`from ${at}`));
    };
  }
  return { client: await clientOf(mesh, hosts), hosts, exchanges };
}

const answer = chatResponse("from 0");

describe("R3: the answer breaks off after it began", () => {
  it.each<[string, (exchange: RawExchange) => readonly Uint8Array[]]>([
    ["in the body", ({ seal }) => [seal.sealChunk(answer.subarray(0, -5), false)]],
    ["in the head", ({ seal }) => [seal.sealChunk(answer.subarray(0, 10), false)]],
    ["after a sign of life from prefill", ({ seal }) => [seal.sealChunk(empty, false)]],
    [
      "with a chunk that does not open",
      ({ seal }) => [
        seal.sealChunk(answer.subarray(0, 10), false),
        seal.sealChunk(empty, false).map((b, at) => (at === 30 ? b ^ 1 : b)),
      ],
    ],
  ])("R3: %s: no other host is asked, and this one not again", async (_name, chunks) => {
    for (const stream of [false, true]) {
      const { client, hosts, exchanges } = await scene(2, async (cutting, exchange) => {
        await cutting.write(concat([answerHeader(exchange), ...chunks(exchange)]));
        await cutting.finish();
      });
      const cut = await call(client, prompt({ stream }));
      expect(cut.whole && cut.status === 200).toBe(false);
      expect(exchanges.map(({ length }) => length)).toEqual([1, 0]);
      expect(hosts.some((host) => host.couldRead(secret))).toBe(false);
      expect(outcomes(client)).not.toContain("answered");
    }
  });
});

describe("R3: before the answer began", () => {
  it("R3: another host is asked, sealed anew, and the answer says which one gave it", async () => {
    const { client, hosts, exchanges } = await scene(2, async (stream) => stream.abort());
    const answered = await call(client);
    expect([answered.content, answered.headers.get("x-sealmesh-host")]).toEqual(["from 1", hosts[1]?.id]);
    const keys = exchanges.flat().map(({ ephemeralKey }) => toHex(ephemeralKey));
    expect(new Set(keys).size).toBe(keys.length);
    const ids = exchanges.flat().map(({ head }) => toHex(head?.id ?? empty));
    expect(new Set(ids).size).toBe(ids.length);
    expect(exchanges[0]).toHaveLength(2); // once more to the same host, with its record of now
    expect(exchanges[1]?.[0]?.head?.to).toBe(hosts[1]?.id);
  });

  it("R3: at most three hosts are tried, and all are reported as maybe processed", async () => {
    const mesh = attackedMesh();
    const hosts = await Promise.all(Array.from({ length: 5 }, () => mesh.raw({ role: "host", models: ["scripted"] })));
    for (const host of hosts) {
      host.handlers.http = async (stream, reader) => {
        await openAsk(reader, host.key);
        stream.abort();
      };
    }
    const client = await clientOf(mesh, hosts);
    const failed = await call(client);
    expect([failed.status, failed.code]).toEqual([502, "cannot_open"]);
    expect(hosts.filter(({ opened }) => opened.includes("mesh-llm/1 4"))).toHaveLength(3);
    expect(failed.message?.match(/maybe processed/g)).toHaveLength(3);
  });
});

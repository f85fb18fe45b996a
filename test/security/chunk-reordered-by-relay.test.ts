/** A relay drops, repeats, swaps and mixes the chunks of a sealed answer. */
import { describe, expect, it } from "vitest";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { attackedMesh, call, outcomes, prompt, relayedMesh, type ResponseParts, secret } from "../support/raw-peer.ts";

async function* edited(parts: ResponseParts, edit: (chunks: Uint8Array[]) => Uint8Array[]): AsyncGenerator<Uint8Array> {
  const all: Uint8Array[] = [];
  for await (const part of parts) all.push(part);
  const [header = new Uint8Array(0), ...rest] = all;
  const end = rest.pop() ?? new Uint8Array(0);
  yield header;
  for (const chunk of edit(rest)) yield chunk;
  yield end;
}

describe("I1: chunks of an answer that a relay rearranges", () => {
  const edits: readonly [string, (chunks: Uint8Array[]) => Uint8Array[]][] = [
    ["drops the first one", (chunks) => chunks.slice(1)],
    ["drops one in the middle", (chunks) => chunks.filter((_, at) => at !== 1)],
    ["repeats one", (chunks) => chunks.flatMap((chunk, at) => (at === 1 ? [chunk, chunk] : [chunk]))],
    ["swaps the first two", ([first, second, ...rest]) => [second!, first!, ...rest]],
    ["swaps two later ones", ([first, second, third, ...rest]) => [first!, third!, second!, ...rest]],
    ["sends the final one again", (chunks) => [...chunks, chunks.at(-1)!]],
  ];

  it.each(edits)("I1: a relay that %s: E_ORDER, never a clean end", async (_name, edit) => {
    const engine = await startEngineServer({ tokens: 6, tokenMs: 2 });
    const { client, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    relayOptions.change = (parts) => edited(parts, edit);
    await refused(client, engine);
    // without the attack the same path works
    relayOptions.change = undefined;
    const fine = await call(client, prompt({ stream: true }));
    expect([fine.whole, fine.text.includes("[DONE]")]).toEqual([true, true]);
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  async function refused(client: Parameters<typeof call>[0], engine: ScriptedEngine): Promise<void> {
    const answer = await call(client, prompt({ stream: true }));
    expect(answer.code).toBe("chunk_order");
    expect(outcomes(client)).toEqual(["E_ORDER"]);
    expect(answer.status === 502 || !answer.whole).toBe(true);
    expect(engine.requests.filter(({ inference }) => inference)).toHaveLength(1);
  }
});

/**
 * The host's side of an exchange without a node around it: answer() on one connection of the in-memory network, with
 * bounds and waits of a test's own. Who a stream comes from is said by the test, so that one connection plays many peers.
 */
import { onTestFinished } from "vitest";
import type { EndpointId } from "../../src/base/brand.ts";
import { Budget } from "../../src/base/budget.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { Places } from "../../src/base/places.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { InferenceKeys } from "../../src/crypto/inference-keys.ts";
import { answer, type AnswerParts, type Arrival } from "../../src/exchange.ts";
import { memoryNetwork, type MemoryNetworkOptions } from "../../src/transport/memory.ts";
import { bytesSource, encodeResponse } from "../../src/tunnel/http.ts";
import { SeenCache } from "../../src/tunnel/seen.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { codeOf } from "./expect-code.ts";
import { type RawAnswer, type RawRequest, readAnswer, sealAsk, type SealedAsk } from "./raw-peer.ts";
import { connectedPair } from "./transport-pair.ts";

/** One stream that the host is answering. */
export interface Exchange {
  /** The asker's end. */
  readonly ours: ByteStream;
  readonly theirs: ByteStream;
  /** What answer() came to: "whole", "cut" or the code of its failure; with the ms that it took. */
  readonly ended: Promise<{ readonly how: string; readonly ms: number }>;
}

export interface AnsweringHost {
  readonly parts: AnswerParts;
  /** A new stream, which the host is answering already. */
  open(arrival: Arrival): Promise<Exchange>;
  /** A request of `asker`, sealed to this host. */
  seal(asker: Identity, request?: RawRequest): SealedAsk;
  /** A whole exchange of `asker`. @throws the answer is not whole */
  ask(asker: Identity): Promise<RawAnswer>;
  /** Ends the connection under all streams. */
  lose(): void;
}

export const newAsker = (): Identity => identityFrom(newIdentitySeed());

/** How a stream of `peer` comes that is its own. */
export const direct = (peer: EndpointId): Arrival => ({ kind: "direct", peer });

export async function answeringHost(
  change: Partial<AnswerParts> = {},
  network: MemoryNetworkOptions = {},
): Promise<AnsweringHost> {
  const pair = await connectedPair(memoryNetwork(network));
  onTestFinished(() => pair.close());
  const clock = { now: (): number => Date.now() };
  const identity = newAsker();
  const parts: AnswerParts = {
    identity,
    keys: new InferenceKeys({ clock }),
    clock,
    seen: new SeenCache({ total: 10_000, perAsker: 10_000 }),
    places: new Places({ total: 100, perHolder: 100 }),
    budget: new Budget({ total: 100_000_000, perHolder: 100_000_000 }),
    coalesceMs: 0,
    serve: () => bytesSource(encodeResponse(200, {}, utf8("fine"))),
    timing: { firstByteMs: 5_000, requestMs: 5_000, keepAliveMs: 5_000, unreadMs: 5_000 },
    draining: () => false,
    ...change,
  };
  const open = async (arrival: Arrival): Promise<Exchange> => {
    const { ours, theirs } = await pair.openBoth();
    const started = performance.now();
    const ended = answer(theirs, new StreamReader(theirs), arrival, parts)
      .then(({ whole }) => (whole ? "whole" : "cut"), codeOf)
      .then((how) => ({ how, ms: performance.now() - started }));
    return { ours, theirs, ended };
  };
  const seal = (asker: Identity, request: RawRequest = {}): SealedAsk =>
    sealAsk(asker, identity.id, parts.keys.current.publicKey, request);
  return {
    parts,
    open,
    seal,
    ask: async (asker) => {
      const { ours } = await open(direct(asker.id));
      const asked = seal(asker);
      await ours.write(asked.bytes);
      await ours.finish();
      return await readAnswer(new StreamReader(ours), asked);
    },
    lose: () => pair.near.close(),
  };
}

/** Nothing of an exchange is left at the host. */
export function heldBy({ parts: { places, budget } }: AnsweringHost): { places: number; bytes: number } {
  return { places: places.taken, bytes: budget.taken };
}

/** An asker fills the host's memory of seen envelopes, so that an old one would fall out of it and could be replayed. */
import { describe, expect, it } from "vitest";
import { answer, type AnswerParts } from "../../src/exchange.ts";
import { Budget } from "../../src/base/budget.ts";
import { Places } from "../../src/base/places.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { InferenceKeys } from "../../src/crypto/inference-keys.ts";
import { bytesSource, encodeResponse } from "../../src/tunnel/http.ts";
import { SeenCache } from "../../src/tunnel/seen.ts";
import { StreamReader } from "../../src/wire/frame.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { memoryNetwork } from "../../src/transport/memory.ts";
import { codeOf } from "../support/expect-code.ts";
import { readAnswer, sealAsk, type SealedAsk } from "../support/raw-peer.ts";
import { connectedPair } from "../support/transport-pair.ts";

describe("R1: the memory of seen envelopes is full", () => {
  it("R1: it refuses with 429 and forgets nothing inside the window", async () => {
    const pair = await connectedPair(memoryNetwork());
    const clock = { ms: 1_000_000, now: (): number => clock.ms };
    const identity = identityFrom(newIdentitySeed());
    const asker = identityFrom(newIdentitySeed());
    let served = 0;
    const parts: AnswerParts = {
      identity,
      keys: new InferenceKeys({ clock }),
      clock,
      seen: new SeenCache({ total: 8, perAsker: 4 }),
      places: new Places({ total: 8, perHolder: 8 }),
      budget: new Budget({ total: 1_000_000, perHolder: 1_000_000 }),
      coalesceMs: 0,
      serve: () => {
        served += 1;
        return bytesSource(encodeResponse(200, {}, utf8("fine")));
      },
      timing: { firstByteMs: 1_000, requestMs: 1_000, keepAliveMs: 1_000, unreadMs: 1_000 },
      draining: () => false,
    };
    const seal = (timeMs = clock.ms): SealedAsk =>
      sealAsk(asker, identity.id, parts.keys.current.publicKey, { timeMs });
    /** Status of the answer, or the code that the host refused with. */
    const send = async (ask: SealedAsk): Promise<number | string> => {
      const { ours, theirs } = await pair.openBoth();
      await ours.write(ask.bytes);
      await ours.finish();
      const answering = answer(theirs, new StreamReader(theirs), { kind: "direct", peer: asker.id }, parts);
      const refused = answering.then(() => undefined, codeOf);
      const reading = readAnswer(new StreamReader(ours), ask).then(
        ({ status }) => status,
        () => undefined,
      );
      const code = await refused; // also given for what was answered with an error
      return (await reading) ?? code ?? "unread";
    };

    const [first, second, third] = [seal(), seal(), seal()] as const; // two marks each: two fill the asker's share
    expect([await send(first), await send(second)]).toEqual([200, 200]);
    expect(await send(third)).toBe(429);
    expect(await send(seal())).toBe(429);
    expect(await send(first)).toBe("E_REPLAY");
    clock.ms += 300_000; // the last moment at which the first could be accepted
    expect(await send(first)).toBe("E_REPLAY");
    expect(await send(seal())).toBe(429);
    clock.ms += 1;
    expect(await send(seal())).toBe(200); // room again, and the time refuses what was forgotten
    expect(await send(first)).toBe(425);
    expect(served).toBe(3);
    await pair.close();
  });
});

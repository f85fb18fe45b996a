/** Both ends of a relay's stream, when the other side takes nothing: bytes and a place would be held for ever. */
import { expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { concat } from "../../../src/base/bytes.ts";
import type { ByteStream } from "../../../src/base/stream.ts";
import { askRelay, carry } from "../../../src/tunnel/relay.ts";
import { encodeFrame, StreamReader } from "../../../src/wire/frame.ts";
import { encodeRelayOpen } from "../../../src/wire/relay.ts";
import { envelopeByte } from "../../../src/wire/stream-types.ts";
import { rejectsWith } from "../../support/expect-code.ts";

const target = endpointId("1".repeat(64));
const never = new Promise<never>(() => undefined);

interface Scripted {
  readonly stream: ByteStream;
  readonly over: AbortController;
}

/** A stream that gives these pieces, then its end or nothing, and takes `taken` writes. */
function scripted(pieces: readonly Uint8Array[], taken: number, ends = false): Scripted {
  const over = new AbortController();
  const left = [...pieces];
  let writes = 0;
  const stream: ByteStream = {
    read: () => (left.length > 0 || ends ? Promise.resolve(left.shift()) : never),
    write: () => ((writes += 1) <= taken ? Promise.resolve() : never),
    finish: () => Promise.resolve(),
    abort: () => over.abort(),
    aborted: over.signal,
  };
  return { stream, over };
}

it("who asks gives a relay up that does not even take the question", async () => {
  const { stream, over } = scripted([], 0);
  const options = { ms: 40, signal: new AbortController().signal };
  await rejectsWith("E_TIMEOUT", askRelay(stream, new StreamReader(stream), target, options));
  expect(over.signal.aborted).toBe(true);
});

it.each([
  ["the asker, its reply", 0, 1],
  ["the asker, the answer", 1, 2],
  ["the host, the request", 1, 1],
])("the relay gives both up when one of them takes nothing: %s", async (_name, byAsker, byHost) => {
  const open = encodeFrame(encodeRelayOpen({ target, hops: 0 }));
  const asker = scripted([concat([open, Uint8Array.of(envelopeByte)])], byAsker, true);
  const host = scripted([Uint8Array.of(envelopeByte)], byHost);
  const carried = carry(asker.stream, new StreamReader(asker.stream), {
    from: endpointId("2".repeat(64)),
    reach: () => Promise.resolve(host.stream),
    admit: () => true,
    reachMs: 40,
    firstByteMs: 60_000,
    idleMs: 40,
  });
  await rejectsWith("E_TIMEOUT", carried);
  expect([asker.over.signal.aborted, host.over.signal.aborted]).toEqual([true, true]);
});

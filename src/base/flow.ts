/**
 * Bytes on their way through layers that each look at them: what is there is taken by plain calls, and only who has nothing
 * left waits. A stream of tokens passes ten layers; a promise in each of them costs several times what the token does.
 */

/** The next piece, never empty; "end" behind the last one, however often; undefined: nothing is there yet. */
export type Now = Uint8Array | "end" | undefined;

export interface Flow {
  /** @throws how it broke, instead of an end */
  now(): Now;
  /** After now() gave undefined: resolves when it may give something. Never rejects: what went wrong, now() throws. */
  more(): Promise<void>;
}

/** What is next, to be awaited: a promise only where there is something to wait for. Undefined at the end. @throws as {@link Flow.now} */
export function next(flow: Flow): Promise<Uint8Array | undefined> | Uint8Array | undefined {
  const piece = flow.now();
  if (piece === undefined) return waited(flow);
  return piece === "end" ? undefined : piece;
}

async function waited(flow: Flow): Promise<Uint8Array | undefined> {
  let piece: Now;
  while (piece === undefined) {
    await flow.more();
    piece = flow.now();
  }
  return piece === "end" ? undefined : piece;
}

/** What a function gives that is called for each piece; undefined is the end. It is not called again behind that, or a failure. */
export function flowing(read: () => Promise<Uint8Array | undefined>): Flow {
  let there: Now;
  let failure: { readonly thrown: unknown } | undefined;
  const take = (piece: Uint8Array | undefined): void => void (there = piece ?? "end");
  const fail = (thrown: unknown): void => void (failure = { thrown });
  return {
    now() {
      if (failure) throw failure.thrown;
      const piece = there;
      if (piece !== "end") there = undefined;
      return piece;
    },
    more: () => read().then(take, fail),
  };
}

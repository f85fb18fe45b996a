/** Bodies of requests and answers: bytes that are pulled piece by piece. */

/** A body that is all there: one piece. */
export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield await Promise.resolve(bytes);
}

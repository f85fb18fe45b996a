// What the load generator asks of the mock engine, as words of an ordinary chat request in the shape that OpenAI documents.

/**
 * @param asked tokens of a stream, ms between two of them; or bytes of a whole answer. padding: bytes of an image in the request
 * @returns     the body of POST /v1/chat/completions
 */
export function chatRequest({ tokens = 0, paceMs = 0, bytes = 1_024, padding = 0 }) {
  const words = `bench:tokens=${tokens},pace=${paceMs},bytes=${bytes};`;
  const image = () => ({
    type: "image_url",
    image_url: { url: `data:image/png;base64,${"iVBORw0KGgo+".repeat(padding / 12)}` },
  });
  const content = padding === 0 ? words : [{ type: "text", text: words }, image()];
  return Buffer.from(
    JSON.stringify({
      model: "bench",
      messages: [
        { role: "system", content: "You are a helpful assistant." },
        { role: "user", content },
      ],
      ...(tokens > 0 ? { stream: true } : {}),
    }),
  );
}

/** The same, read back from the beginning of a body. @throws Error when the words are not there */
export function readPrompt(text) {
  const [, tokens, paceMs, bytes] = /bench:tokens=(\d+),pace=(\d+),bytes=(\d+);/.exec(text) ?? [];
  if (tokens === undefined) throw new Error(`no words of the bench in: ${text.slice(0, 200)}`);
  return { tokens: Number(tokens), paceMs: Number(paceMs), bytes: Number(bytes) };
}

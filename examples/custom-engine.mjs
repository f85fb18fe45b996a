// A host whose engine is a function of this program; it says back what it is asked: npm install sealmesh
import { serve } from "sealmesh/node";

/** Gets an OpenAI request, and answers in OpenAI's form. `request.signal` fires when the caller has gone. */
async function engine(request) {
  const { messages, stream } = await request.json();
  const words = `You said: ${messages.at(-1).content}`.split(/(?= )/);
  if (!stream) {
    const message = { role: "assistant", content: words.join("") };
    return Response.json({ choices: [{ index: 0, message, finish_reason: "stop" }] });
  }
  async function* events() {
    for (const content of words) yield { delta: { content }, finish_reason: null };
    yield { delta: {}, finish_reason: "stop" };
  }
  const lines = async function* () {
    for await (const event of events()) yield `data: ${JSON.stringify({ choices: [{ index: 0, ...event }] })}\n\n`;
    yield "data: [DONE]\n\n";
  };
  const body = ReadableStream.from(lines()).pipeThrough(new TextEncoderStream());
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

const host = await serve({ models: [{ id: "parrot", contextLength: 8192 }], engine });
console.log(host.invite());
process.once("SIGTERM", () => void host.close({ drainMs: 2_000 }));

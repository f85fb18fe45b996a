/**
 * A scripted engine that is a function: what `serve({ engine })` of the SDK takes. It answers as the one behind a URL does
 * (engine-answers.mjs), from streams that make a piece when one is pulled, and counts them.
 */
import { answerTo, deltasOf, messageOf, promptTokensOf, usageOf } from "./engine-answers.mjs";

export interface ScriptedFunction {
  readonly answer: (request: Request) => Promise<Response>;
  /** For the requests that follow. */
  readonly options: { tokens: number; contextSize: number; prefillMs: number };
  /** Deltas of the newest stream that were made. */
  readonly pulled: number;
  /** Breaks all streams that run. */
  fail(): void;
}

interface Asked {
  readonly model: string;
  readonly stream?: boolean;
  readonly stream_options?: { readonly include_usage?: boolean };
  readonly messages: readonly { readonly role: string; readonly content: string }[];
}

export function scriptedFunction(given: Partial<ScriptedFunction["options"]> = {}): ScriptedFunction {
  const options = { tokens: 6, contextSize: 4096, prefillMs: 0, ...given };
  const running = new Set<ReadableStreamDefaultController<Uint8Array>>();
  let pulled = 0;
  const answer = async (request: Request): Promise<Response> => {
    const asked = (await request.json()) as Asked;
    const promptTokens = promptTokensOf(asked.messages);
    if (promptTokens >= options.contextSize) return tooLong(promptTokens, options.contextSize);
    if (options.prefillMs > 0) await new Promise((resolve) => setTimeout(resolve, options.prefillMs).unref());
    const made = answerTo({ ...options, text: undefined, contentBytes: 0 }, asked);
    const usage = usageOf(made, promptTokens, { cachedTokens: 0 });
    const head = { id: "mine", model: "not the name that was asked for", created: 1_700_000_000 };
    if (asked.stream !== true) {
      const choices = [{ index: 0, message: messageOf(made), finish_reason: made.finish }];
      return Response.json({ ...head, object: "chat.completion", choices, usage });
    }
    const wantsUsage = asked.stream_options?.include_usage === true;
    const chunk = (choices: readonly object[], more: object = {}): string =>
      `data: ${JSON.stringify({ ...head, object: "chat.completion.chunk", choices, ...more })}\n\n`;
    function* events(): Generator<string> {
      yield chunk([{ index: 0, delta: { role: "assistant", content: "" }, finish_reason: null }]);
      for (const delta of deltasOf(made)) yield chunk([{ index: 0, delta, finish_reason: null }]);
      yield chunk([{ index: 0, delta: {}, finish_reason: made.finish }]);
      if (wantsUsage) yield chunk([], { usage });
      yield "data: [DONE]\n\n";
    }
    const source = events();
    pulled = 0;
    let own: ReadableStreamDefaultController<Uint8Array>;
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        running.add((own = controller));
      },
      pull(controller) {
        const { done, value } = source.next();
        if (done) {
          running.delete(controller);
          return controller.close();
        }
        pulled += 1;
        controller.enqueue(new TextEncoder().encode(value));
      },
      cancel() {
        running.delete(own);
      },
    });
    return new Response(stream, { headers: { "content-type": "text/event-stream" } });
  };
  return {
    answer,
    options,
    get pulled() {
      return pulled;
    },
    fail() {
      for (const controller of running) controller.error(new Error("the model has gone"));
      running.clear();
    },
  };
}

function tooLong(promptTokens: number, contextSize: number): Response {
  const error = {
    message: `This model's maximum context length is ${contextSize} tokens. However, your messages resulted in ${promptTokens} tokens.`,
    type: "invalid_request_error",
    param: "messages",
    code: "context_length_exceeded",
  };
  return Response.json({ error }, { status: 400 });
}

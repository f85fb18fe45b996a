/** The official `openai` client: chat completions by its streaming helper and by `parse()`. */
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import {
  type Asker,
  type Call,
  type Client,
  dataUrl,
  Pieces,
  type Question,
  runTools,
  type Server,
  type Step,
  type Usage,
} from "./clients.ts";

type Message = OpenAI.Chat.ChatCompletionMessageParam;
/** What llama-server, vLLM and others add; the client passes it on untyped. */
interface WithReasoning {
  readonly reasoning_content?: string;
}

export const openAiChat: Client = {
  name: "openai, chat completions",
  api: "chat",
  shows: { refusal: "pieces", jsonPieces: true, events: false },
  aborted: { stream: "APIUserAbortError", whole: "APIUserAbortError" },
  at(server) {
    const client = openAiAt(server);
    return { ask: (question) => askChat(client, question), ...openAiOthers(client) };
  },
};

export function openAiAt({ baseUrl, fetch }: Server): OpenAI {
  return new OpenAI({ baseURL: baseUrl, apiKey: "secret-of-the-caller", maxRetries: 0, fetch });
}

function openAiOthers(client: OpenAI): Pick<Asker, "embed" | "complete"> {
  return {
    async embed(model, texts) {
      const { data } = await client.embeddings.create({ model, input: [...texts] });
      return data.map(({ embedding }) => embedding);
    },
    async complete(model, prompt) {
      let text = "";
      const stream = await client.completions.create({ model, prompt, temperature: 0, stream: true });
      for await (const { choices } of stream) text += choices[0]?.text ?? "";
      return text;
    },
  };
}

async function askChat(client: OpenAI, question: Question): Promise<readonly Step[]> {
  const { system, text, image, tools = {} } = question;
  const messages: Message[] = [
    ...(system === undefined ? [] : [{ role: "system", content: system } as const]),
    {
      role: "user",
      content: image
        ? [
            { type: "text", text },
            { type: "image_url", image_url: { url: dataUrl(image) } },
          ]
        : text,
    },
  ];
  const steps: Step[] = [];
  for (;;) {
    const pieces = new Pieces(question);
    const { choices, usage } = await complete(client, question, messages, pieces);
    const choice = choices[0];
    if (!choice) throw new Error("the answer has no choice");
    const { message, finish_reason: finish } = choice;
    const made = (message.tool_calls ?? []).filter((call) => call.type === "function");
    const calls: Call[] = made.map(({ function: { name, arguments: input } }) => ({
      name,
      input: JSON.parse(input) as unknown,
    }));
    steps.push({
      text: message.content ?? "",
      // the streaming helper keeps the last piece of a field that it does not know
      reasoning: question.stream ? pieces.join("reasoning") : ((message as WithReasoning).reasoning_content ?? ""),
      refusal: message.refusal ?? "",
      calls,
      ...(question.schema ? { parsed: "parsed" in message ? message.parsed : undefined } : {}),
      finish: finish === "tool_calls" ? "tool-calls" : finish === "stop" || finish === "length" ? finish : "unknown",
      usage: usage && usageOf(usage),
      pieces: pieces.list,
    });
    if (calls.length === 0) return steps;
    const results = runTools(tools, calls);
    messages.push(message);
    for (const [index, { id }] of made.entries()) {
      messages.push({ role: "tool", tool_call_id: id, content: results[index] ?? "" });
    }
  }
}

async function complete(client: OpenAI, question: Question, messages: Message[], pieces: Pieces) {
  const { model, tools = {}, schema, effort, maxTokens, temperature, signal } = question;
  const offered = Object.entries(tools).map(([name, { description, input }]) =>
    zodFunction({ name, description, parameters: input }),
  );
  const asked = {
    model,
    messages,
    ...(offered.length > 0 ? { tools: offered } : {}),
    ...(schema ? { response_format: zodResponseFormat(schema, "answer") } : {}),
    ...(effort ? { reasoning_effort: effort } : {}),
    ...(maxTokens === undefined ? {} : { max_completion_tokens: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
  };
  const options = signal ? { signal } : {};
  if (!question.stream) {
    // `parse()` takes an answer that was cut for a failure
    return schema
      ? await client.chat.completions.parse(asked, options)
      : await client.chat.completions.create(asked, options);
  }
  const stream = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } }, options);
  for await (const { choices } of stream) {
    const delta = choices[0]?.delta;
    pieces.add("reasoning", (delta as WithReasoning | undefined)?.reasoning_content);
    pieces.add("text", delta?.content);
    pieces.add("refusal", delta?.refusal);
    for (const call of delta?.tool_calls ?? []) pieces.add("arguments", call.function?.arguments);
  }
  return await stream.finalChatCompletion();
}

function usageOf(usage: OpenAI.CompletionUsage): Usage {
  return {
    input: usage.prompt_tokens,
    cached: usage.prompt_tokens_details?.cached_tokens ?? 0,
    output: usage.completion_tokens,
    reasoning: usage.completion_tokens_details?.reasoning_tokens ?? 0,
    total: usage.total_tokens,
  };
}

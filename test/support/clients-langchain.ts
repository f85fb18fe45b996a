/** `@langchain/openai`: `ChatOpenAI` over chat completions and over the Responses API. */
import {
  AIMessage,
  type AIMessageChunk,
  type BaseMessage,
  HumanMessage,
  SystemMessage,
  ToolMessage,
  type UsageMetadata,
} from "@langchain/core/messages";
import { concat } from "@langchain/core/utils/stream";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import {
  type Client,
  dataUrl,
  Pieces,
  type Question,
  runTools,
  type Server,
  type Step,
  type Usage,
} from "./clients.ts";

const aborted = { stream: "AbortError", whole: "AbortError" } as const;

export const langChainChat: Client = {
  name: "@langchain/openai, chat completions",
  api: "chat",
  shows: { refusal: "nowhere", jsonPieces: false, events: false },
  aborted,
  at(server) {
    return {
      ask: (question) => askModel(modelAt(server, question, false), question),
      embed: (model, texts) => new OpenAIEmbeddings({ model, ...connection(server) }).embedDocuments([...texts]),
    };
  },
};

export const langChainResponses: Client = {
  name: "@langchain/openai, responses",
  api: "responses",
  shows: { refusal: "whole", jsonPieces: false, events: false },
  aborted,
  at(server) {
    return { ask: (question) => askModel(modelAt(server, question, true), question) };
  },
};

function connection({ baseUrl, fetch }: Server) {
  return { apiKey: "secret-of-the-caller", maxRetries: 0, configuration: { baseURL: baseUrl, fetch } };
}

function modelAt(
  server: Server,
  { model, effort, maxTokens, temperature }: Question,
  useResponsesApi: boolean,
): ChatOpenAI {
  return new ChatOpenAI({
    model,
    useResponsesApi,
    ...connection(server),
    // a summary would make it choose the Responses API
    ...(effort ? { reasoning: useResponsesApi ? { effort, summary: "auto" } : { effort } } : {}),
    ...(maxTokens === undefined ? {} : { maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
  });
}

async function askModel(model: ChatOpenAI, question: Question): Promise<readonly Step[]> {
  const { system, text, image, tools = {} } = question;
  const messages: BaseMessage[] = [
    ...(system === undefined ? [] : [new SystemMessage(system)]),
    new HumanMessage({
      content: image
        ? [
            { type: "text", text },
            { type: "image_url", image_url: { url: dataUrl(image) } },
          ]
        : text,
    }),
  ];
  const steps: Step[] = [];
  for (;;) {
    const pieces = new Pieces(question);
    const { message, parsed } = await answer(model, question, messages, pieces);
    const made = message.tool_calls ?? [];
    steps.push({
      text: textIn(message),
      reasoning: question.stream ? pieces.join("reasoning") : reasoningIn(message),
      refusal: refusalIn(message),
      calls: made.map(({ name, args }) => ({ name, input: args as unknown })),
      ...(question.schema ? { parsed } : {}),
      finish: finishOf(message),
      usage: usageOf(message),
      pieces: pieces.list,
    });
    if (made.length === 0) return steps;
    const results = runTools(
      tools,
      made.map(({ name, args }) => ({ name, input: args as unknown })),
    );
    messages.push(message);
    for (const [index, { id }] of made.entries()) {
      messages.push(new ToolMessage({ content: results[index] ?? "", tool_call_id: id ?? "none" }));
    }
  }
}

interface Answered {
  readonly message: AIMessage | AIMessageChunk;
  readonly parsed?: unknown;
}

async function answer(
  model: ChatOpenAI,
  question: Question,
  messages: readonly BaseMessage[],
  pieces: Pieces,
): Promise<Answered> {
  const { tools, schema, signal } = question;
  const options = signal ? { signal } : {};
  if (schema) {
    const structured = model.withStructuredOutput(schema, { name: "answer", method: "jsonSchema", includeRaw: true });
    if (!question.stream) {
      const { raw, parsed } = await structured.invoke([...messages], options);
      return { message: raw as AIMessage, parsed };
    }
    let message: AIMessageChunk | undefined;
    let parsed: unknown;
    for await (const part of await structured.stream([...messages], options)) {
      if ("raw" in part) message = noted(message, part.raw as AIMessageChunk, pieces);
      if ("parsed" in part) parsed = part.parsed;
    }
    return { message: known(message), parsed };
  }
  const bound = tools
    ? model.bindTools(
        Object.entries(tools).map(([name, { description, input }]) => ({ name, description, schema: input })),
      )
    : model;
  if (!question.stream) return { message: await bound.invoke([...messages], options) };
  let message: AIMessageChunk | undefined;
  for await (const chunk of await bound.stream([...messages], options)) message = noted(message, chunk, pieces);
  return { message: known(message) };
}

/** The message so far with one chunk more. */
function noted(message: AIMessageChunk | undefined, chunk: AIMessageChunk, pieces: Pieces): AIMessageChunk {
  pieces.add("reasoning", reasoningIn(chunk));
  pieces.add("text", textIn(chunk));
  for (const { args } of chunk.tool_call_chunks ?? []) pieces.add("arguments", args);
  return message ? concat(message, chunk) : chunk;
}

function known(message: AIMessageChunk | undefined): AIMessageChunk {
  if (!message) throw new Error("the stream was empty");
  return message;
}

/** Content is a string, or blocks where the Responses API was asked. */
function textIn({ content }: AIMessage | AIMessageChunk): string {
  if (typeof content === "string") return content;
  return content
    .map((block) => (block.type === "text" && typeof block["text"] === "string" ? block["text"] : ""))
    .join("");
}

function reasoningIn({ content, additional_kwargs: more }: AIMessage | AIMessageChunk): string {
  const field = more["reasoning_content"];
  if (typeof field === "string") return field;
  if (typeof content === "string") return "";
  const blocks = content.filter(({ type }) => type === "reasoning");
  return blocks.map((block) => ("reasoning" in block ? String(block["reasoning"]) : "")).join("");
}

function refusalIn({ additional_kwargs: more }: AIMessage | AIMessageChunk): string {
  return typeof more["refusal"] === "string" ? more["refusal"] : "";
}

function finishOf({ response_metadata: metadata, tool_calls: calls = [] }: AIMessage | AIMessageChunk): Step["finish"] {
  const { finish_reason: finish, status, incomplete_details: why } = metadata as Readonly<Record<string, unknown>>;
  if (status === "incomplete" && (why as { reason?: string } | null)?.reason === "max_output_tokens") return "length";
  if (status === "completed") return calls.length > 0 ? "tool-calls" : "stop";
  if (finish === "tool_calls") return "tool-calls";
  return finish === "stop" || finish === "length" ? finish : "unknown";
}

function usageOf({
  usage_metadata: usage,
}: {
  readonly usage_metadata?: UsageMetadata | undefined;
}): Usage | undefined {
  return (
    usage && {
      input: usage.input_tokens,
      cached: usage.input_token_details?.cache_read ?? 0,
      output: usage.output_tokens,
      reasoning: usage.output_token_details?.reasoning ?? 0,
      total: usage.total_tokens,
    }
  );
}

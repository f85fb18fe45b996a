/** `ai` with its two providers: `@ai-sdk/openai-compatible` (chat) and `@ai-sdk/openai` (responses, its default). */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  embedMany,
  type EmbeddingModel,
  generateText,
  type LanguageModel,
  Output,
  stepCountIs,
  type StepResult,
  streamText,
  tool,
  type ToolSet,
} from "ai";
import { type Client, Pieces, type Question, type Step, type Usage } from "./clients.ts";

/** Three tool steps are more than any scenario takes. */
const mostSteps = 4;
const aborted = { stream: "AbortPart", whole: "AbortError" } as const;

export const aiSdkCompatible: Client = {
  name: "ai with @ai-sdk/openai-compatible",
  api: "chat",
  shows: { refusal: "nowhere", jsonPieces: false, events: false },
  aborted,
  at({ baseUrl, fetch }) {
    const provider = createOpenAICompatible({
      name: "mesh",
      baseURL: baseUrl,
      apiKey: "secret-of-the-caller",
      includeUsage: true,
      supportsStructuredOutputs: true,
      fetch,
    });
    return {
      ask: (question) =>
        question.stream
          ? askStreamed(provider(question.model), question)
          : askWhole(provider(question.model), question),
      embed: (model, texts) => embed(provider.embeddingModel(model), texts),
      async complete(model, prompt) {
        const { textStream } = streamText({
          model: provider.completionModel(model),
          prompt,
          temperature: 0,
          maxRetries: 0,
        });
        let text = "";
        for await (const piece of textStream) text += piece;
        return text;
      },
    };
  },
};

export const aiSdkOpenAi: Client = {
  name: "ai with @ai-sdk/openai",
  api: "responses",
  shows: { refusal: "as text", jsonPieces: false, events: false },
  aborted,
  at({ baseUrl, fetch }) {
    const provider = createOpenAI({ baseURL: baseUrl, apiKey: "secret-of-the-caller", fetch });
    return {
      ask: (question) =>
        question.stream
          ? askStreamed(provider(question.model), question)
          : askWhole(provider(question.model), question),
      embed: (model, texts) => embed(provider.embeddingModel(model), texts),
    };
  },
};

/** An abort is a part of the stream and no error. */
class AbortPart extends Error {}

async function askWhole(model: LanguageModel, question: Question): Promise<readonly Step[]> {
  const result = await generateText(settingsOf(model, question));
  return result.steps.map((step) => stepOf(step, [], question.schema ? { parsed: result.output } : {}));
}

async function askStreamed(model: LanguageModel, question: Question): Promise<readonly Step[]> {
  let failure: unknown;
  const result = streamText({ ...settingsOf(model, question), onError: ({ error }) => void (failure = error) });
  const steps: Pieces[] = [];
  for await (const part of result.fullStream) {
    const pieces = steps.at(-1);
    if (part.type === "start-step") steps.push(new Pieces(question));
    if (part.type === "text-delta") pieces?.add("text", part.text);
    if (part.type === "reasoning-delta") pieces?.add("reasoning", part.text);
    if (part.type === "tool-input-delta") pieces?.add("arguments", part.delta);
    if (part.type === "abort") throw new AbortPart();
  }
  if (failure !== undefined) throw failure as Error;
  const parsed = question.schema ? { parsed: await result.output } : {};
  return (await result.steps).map((step, index) => stepOf(step, steps[index]?.list ?? [], parsed));
}

function settingsOf(model: LanguageModel, question: Question) {
  const { system, text, image, tools = {}, schema, effort, maxTokens, temperature, signal } = question;
  const offered: ToolSet = Object.fromEntries(
    Object.entries(tools).map(([name, { description, input, run }]) => [
      name,
      tool({ description, inputSchema: input, execute: (given) => run(given) }),
    ]),
  );
  return {
    model,
    maxRetries: 0,
    ...(system === undefined ? {} : { system }),
    messages: [
      {
        role: "user" as const,
        content: image
          ? [
              { type: "text" as const, text },
              { type: "image" as const, image: image.base64, mediaType: image.type },
            ]
          : text,
      },
    ],
    ...(Object.keys(offered).length > 0 ? { tools: offered, stopWhen: stepCountIs(mostSteps) } : {}),
    ...(schema ? { output: Output.object({ schema, name: "answer" }) } : {}),
    ...(effort
      ? {
          providerOptions: {
            mesh: { reasoningEffort: effort },
            openai: { reasoningEffort: effort, reasoningSummary: "auto" },
          },
        }
      : {}),
    ...(maxTokens === undefined ? {} : { maxOutputTokens: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(signal ? { abortSignal: signal } : {}),
  };
}

function stepOf(step: StepResult<ToolSet>, pieces: Step["pieces"], parsed: Pick<Step, "parsed">): Step {
  const { text, reasoningText = "", toolCalls, finishReason: finish, usage } = step;
  return {
    text,
    reasoning: reasoningText,
    refusal: "",
    calls: toolCalls.map(({ toolName, input }) => ({ name: toolName, input: input as unknown })),
    ...parsed,
    finish: finish === "error" || finish === "other" ? "unknown" : finish,
    usage: usageOf(usage),
    pieces,
  };
}

function usageOf(usage: StepResult<ToolSet>["usage"]): Usage | undefined {
  if (usage.inputTokens === undefined || usage.outputTokens === undefined) return undefined;
  return {
    input: usage.inputTokens,
    cached: usage.inputTokenDetails.cacheReadTokens ?? 0,
    output: usage.outputTokens,
    reasoning: usage.outputTokenDetails.reasoningTokens ?? 0,
    total: usage.totalTokens ?? NaN,
  };
}

async function embed(model: EmbeddingModel, texts: readonly string[]): Promise<readonly (readonly number[])[]> {
  const { embeddings } = await embedMany({ model, values: [...texts], maxRetries: 0 });
  return embeddings;
}

/** The official `openai` client: the Responses API, by its streaming helper and by `parse()`. */
import type OpenAI from "openai";
import { zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import type { ParsedResponse, Response, ResponseInput } from "openai/resources/responses/responses";
import { type Client, dataUrl, Pieces, type Question, runTools, type Step } from "./clients.ts";
import { openAiAt } from "./clients-openai.ts";
import { checkedTypes } from "./clients-events.ts";

export const openAiResponses: Client = {
  name: "openai, responses",
  api: "responses",
  shows: { refusal: "pieces", jsonPieces: true, events: true },
  aborted: { stream: "APIUserAbortError", whole: "APIUserAbortError" },
  at(server) {
    const client = openAiAt(server);
    return {
      ask: (question) => askResponses(client, question),
      async goOn(model, texts) {
        const steps: Step[] = [];
        let before: string | undefined;
        for (const input of texts) {
          const named = before === undefined ? {} : { previous_response_id: before };
          const response = await client.responses.parse({ model, input, ...named });
          steps.push(stepOf(response));
          before = response.id;
        }
        return steps;
      },
    };
  },
};

async function askResponses(client: OpenAI, question: Question): Promise<readonly Step[]> {
  const { text, image, tools = {} } = question;
  const input: ResponseInput = [
    {
      role: "user",
      content: image
        ? [
            { type: "input_text", text },
            { type: "input_image", image_url: dataUrl(image), detail: "auto" },
          ]
        : text,
    },
  ];
  const steps: Step[] = [];
  for (;;) {
    const pieces = new Pieces(question);
    const { response, events } = await respond(client, question, input, pieces);
    const made = response.output.filter((item) => item.type === "function_call");
    const step = stepOf(response);
    steps.push({
      ...step,
      ...(question.schema ? { parsed: response.output_parsed } : {}),
      pieces: pieces.list,
      ...(events ? { events } : {}),
    });
    if (made.length === 0) return steps;
    const results = runTools(tools, step.calls);
    // the whole of the answer goes back, its reasoning included
    input.push(...(response.output as ResponseInput));
    for (const [index, { call_id }] of made.entries()) {
      input.push({ type: "function_call_output", call_id, output: results[index] ?? "" });
    }
  }
}

interface Responded {
  readonly response: ParsedResponse<unknown>;
  readonly events: readonly string[] | undefined;
}

async function respond(client: OpenAI, question: Question, input: ResponseInput, pieces: Pieces): Promise<Responded> {
  const { model, system, tools = {}, schema, effort, maxTokens, temperature, signal } = question;
  const offered = Object.entries(tools).map(([name, tool]) =>
    zodResponsesFunction({ name, description: tool.description, parameters: tool.input }),
  );
  const asked = {
    model,
    input,
    ...(system === undefined ? {} : { instructions: system }),
    ...(offered.length > 0 ? { tools: offered } : {}),
    ...(schema ? { text: { format: zodTextFormat(schema, "answer") } } : {}),
    ...(effort ? { reasoning: { effort, summary: "auto" as const } } : {}),
    ...(maxTokens === undefined ? {} : { max_output_tokens: maxTokens }),
    ...(temperature === undefined ? {} : { temperature }),
  };
  const options = signal ? { signal } : {};
  if (!question.stream) return { response: await client.responses.parse(asked, options), events: undefined };
  const stream = client.responses.stream(asked, options);
  const events = [];
  for await (const event of stream) {
    events.push(event);
    if (event.type === "response.output_text.delta") pieces.add("text", event.delta);
    if (event.type === "response.refusal.delta") pieces.add("refusal", event.delta);
    if (event.type === "response.reasoning_summary_text.delta") pieces.add("reasoning", event.delta);
    if (event.type === "response.function_call_arguments.delta") pieces.add("arguments", event.delta);
  }
  return { response: await stream.finalResponse(), events: checkedTypes(events) };
}

function stepOf(response: Response): Step {
  const { output, usage } = response;
  const summaries = output.flatMap((item) => (item.type === "reasoning" ? item.summary : []));
  const parts = output.flatMap((item) => (item.type === "message" ? item.content : []));
  const calls = output.filter((item) => item.type === "function_call");
  return {
    text: response.output_text,
    reasoning: summaries.map(({ text }) => text).join(""),
    refusal: parts.flatMap((part) => (part.type === "refusal" ? [part.refusal] : [])).join(""),
    calls: calls.map(({ name, arguments: given }) => ({ name, input: JSON.parse(given) as unknown })),
    finish: finishOf(response),
    usage: usage && {
      input: usage.input_tokens,
      cached: usage.input_tokens_details.cached_tokens,
      output: usage.output_tokens,
      reasoning: usage.output_tokens_details.reasoning_tokens,
      total: usage.total_tokens,
    },
    pieces: [],
  };
}

/** The API says that calls are complete where chat says why it stopped. */
function finishOf({ status, incomplete_details: why, output }: Response): Step["finish"] {
  if (status === "incomplete" && why?.reason === "max_output_tokens") return "length";
  if (status !== "completed") return "unknown";
  return output.some(({ type }) => type === "function_call") ? "tool-calls" : "stop";
}

/**
 * The scripted engine's own `/v1/responses`, written from engines.md §4.4 and OpenAI's types alone: what the product's
 * adapter makes out of chat answers is compared with it. Reasoning goes out as a summary, the form that all clients show.
 */
import { randomUUID } from "node:crypto";
import { messageOf } from "./engine-answers.mjs";

/** Messages up to and with each answer, by the id of its response. A test asks for a few. */
const conversations = new Map();

/** A request of `/v1/responses` as the chat that asks the same. */
export function chatOf(asked) {
  const { instructions, text, reasoning, tools = [], tool_choice: choice } = asked;
  return {
    ...(asked.parallel_tool_calls === undefined ? {} : { parallel_tool_calls: asked.parallel_tool_calls }),
    ...(asked.max_output_tokens === undefined ? {} : { max_tokens: asked.max_output_tokens }),
    ...(reasoning?.effort === undefined ? {} : { reasoning_effort: reasoning.effort }),
    ...(text?.format?.type === "json_schema"
      ? { response_format: { type: "json_schema", json_schema: { schema: text.format.schema } } }
      : {}),
    tool_choice: choice?.name === undefined ? choice : { type: "function", function: { name: choice.name } },
    tools: tools.map(({ name, parameters }) => ({ type: "function", function: { name, parameters } })),
    messages: [
      ...(typeof instructions === "string" ? [{ role: "system", content: instructions }] : []),
      ...conversationOf(asked),
    ],
  };
}

/** The response object of an answer in one piece. */
export function wholeResponse(asked, answer, usage) {
  return finished(asked, answer, usage, responseId(), outputOf(answer));
}

/** All events of an answer, in order; those that end in `.delta` stand for its tokens. */
export function* responseEvents(asked, answer, usage) {
  let next = 0;
  const event = (type, fields) => ({ type: `response.${type}`, sequence_number: next++, ...fields });
  const id = responseId();
  const output = outputOf(answer);
  const started = { ...responseHead(asked, id), status: "in_progress", output: [], usage: null };
  yield event("created", { response: started });
  yield event("in_progress", { response: started });
  for (const [output_index, item] of output.entries()) {
    yield event("output_item.added", { output_index, item: { ...item, ...begun[item.type] } });
    const at = { item_id: item.id, output_index };
    for (const { type, fields } of stepsOf(item, answer)) yield event(type, { ...at, ...fields });
    yield event("output_item.done", { output_index, item });
  }
  const response = finished(asked, answer, usage, id, output);
  yield event(response.status, { response });
}

// ---- inside

/** An item when it is added. */
const begun = {
  reasoning: { status: "in_progress", summary: [] },
  message: { status: "in_progress", content: [] },
  function_call: { status: "in_progress", arguments: "" },
};

/** Between the begin and the end of an item. */
function* stepsOf(item, { reasoning, text, refusal, calls }) {
  switch (item.type) {
    case "reasoning": {
      const [part] = item.summary;
      const at = { summary_index: 0 };
      yield { type: "reasoning_summary_part.added", fields: { ...at, part: { ...part, text: "" } } };
      for (const delta of reasoning) yield { type: "reasoning_summary_text.delta", fields: { ...at, delta } };
      yield { type: "reasoning_summary_text.done", fields: { ...at, text: part.text } };
      yield { type: "reasoning_summary_part.done", fields: { ...at, part } };
      return;
    }
    case "message": {
      const [part] = item.content;
      const at = { content_index: 0 };
      const refused = part.type === "refusal";
      const empty = refused ? { refusal: "" } : { text: "" };
      yield { type: "content_part.added", fields: { ...at, part: { ...part, ...empty } } };
      if (refused) {
        for (const delta of refusal) yield { type: "refusal.delta", fields: { ...at, delta } };
        yield { type: "refusal.done", fields: { ...at, refusal: part.refusal } };
      } else {
        for (const delta of text) yield { type: "output_text.delta", fields: { ...at, delta, logprobs: [] } };
        yield { type: "output_text.done", fields: { ...at, text: part.text, logprobs: [] } };
      }
      yield { type: "content_part.done", fields: { ...at, part } };
      return;
    }
    case "function_call": {
      const { pieces } = calls.find(({ id }) => id === item.call_id);
      for (const delta of pieces) yield { type: "function_call_arguments.delta", fields: { delta } };
      yield { type: "function_call_arguments.done", fields: { arguments: item.arguments, name: item.name } };
      return;
    }
    default:
      throw new Error(`there are no items of type ${item.type}`);
  }
}

/** The items of a complete answer. */
function outputOf({ reasoning, text, refusal, calls, finish }) {
  const status = finish === "length" ? "incomplete" : "completed";
  const items = [];
  if (reasoning.length > 0) {
    const summary = [{ type: "summary_text", text: reasoning.join("") }];
    items.push({ type: "reasoning", id: itemId("rs"), status: "completed", summary, content: [] });
  }
  if (calls.length === 0) {
    const part =
      refusal.length > 0
        ? { type: "refusal", refusal: refusal.join("") }
        : { type: "output_text", text: text.join(""), annotations: [], logprobs: [] };
    items.push({ type: "message", id: itemId("msg"), role: "assistant", status, content: [part] });
  }
  for (const { id, name, pieces } of calls) {
    const call = { call_id: id, name, arguments: pieces.join("") };
    items.push({ type: "function_call", id: itemId("fc"), status: "completed", ...call });
  }
  return items;
}

function finished(asked, answer, usage, id, output) {
  if (asked.store !== false) conversations.set(id, [...conversationOf(asked), messageOf(answer)]);
  const cut = answer.finish === "length";
  return {
    ...responseHead(asked, id),
    status: cut ? "incomplete" : "completed",
    incomplete_details: cut ? { reason: "max_output_tokens" } : null,
    output,
    usage: {
      input_tokens: usage.prompt_tokens,
      input_tokens_details: { cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0 },
      output_tokens: usage.completion_tokens,
      output_tokens_details: { reasoning_tokens: usage.completion_tokens_details?.reasoning_tokens ?? 0 },
      total_tokens: usage.total_tokens,
    },
  };
}

function responseHead(asked, id) {
  return {
    id,
    object: "response",
    created_at: 1_700_000_000,
    model: asked.model,
    error: null,
    incomplete_details: null,
    instructions: asked.instructions ?? null,
    metadata: asked.metadata ?? {},
    parallel_tool_calls: asked.parallel_tool_calls ?? true,
    previous_response_id: asked.previous_response_id ?? null,
    temperature: asked.temperature ?? 1,
    text: asked.text ?? { format: { type: "text" } },
    tool_choice: asked.tool_choice ?? "auto",
    tools: asked.tools ?? [],
    top_p: asked.top_p ?? 1,
  };
}

/** The messages that a request stands for, its instructions aside: those are not carried over. */
function conversationOf({ input, previous_response_id: previous }) {
  const items = typeof input === "string" ? [{ role: "user", content: input }] : input;
  return [...(conversations.get(previous) ?? []), ...items.flatMap(messagesOf)];
}

function messagesOf(item) {
  switch (item.type ?? "message") {
    case "message":
      return [{ role: item.role, content: contentOf(item.content) }];
    case "function_call": {
      const made = { id: item.call_id, type: "function", function: { name: item.name, arguments: item.arguments } };
      return [{ role: "assistant", content: null, tool_calls: [made] }];
    }
    case "function_call_output":
      return [{ role: "tool", tool_call_id: item.call_id, content: contentOf(item.output) }];
    case "reasoning":
    case "item_reference":
      return [];
    default:
      throw new Error(`there are no items of type ${item.type}`);
  }
}

function contentOf(content) {
  if (!Array.isArray(content)) return content;
  return content.map((part) => {
    switch (part.type) {
      case "input_image":
        return { type: "image_url", image_url: { url: part.image_url } };
      case "input_file":
        return { type: "file", file: { file_data: part.file_data, filename: part.filename } };
      case "input_audio":
        return { type: "input_audio", input_audio: part.input_audio };
      case "refusal":
        return { type: "text", text: part.refusal };
      default:
        return { type: "text", text: part.text };
    }
  });
}

function responseId() {
  return itemId("resp");
}

function itemId(prefix) {
  return `${prefix}_${randomUUID().replaceAll("-", "")}`;
}

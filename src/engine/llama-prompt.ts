/** From a prompt to the tokens that the model reads, in the child process (llama-child.ts). */
import type { Template } from "@huggingface/jinja";
import type { LlamaModel, Token } from "node-llama-cpp";
import { MeshError } from "../base/errors.ts";
import type { ChatMessage } from "../openai/chat.ts";
import { overflowError } from "../openai/overflow.ts";
import { longestTokenBytes, type Prompt, promptField } from "./llama-protocol.ts";

export interface PromptReader {
  readonly model: LlamaModel;
  readonly template: Template | undefined;
  readonly contextSize: number;
}

/**
 * At least one token, and fewer than the context takes. Names of control tokens in the text become these tokens, also
 * those that a caller writes, as with llama-server.
 *
 * @throws E_UNSUPPORTED no chat template · E_INPUT the template refuses, or there is no text · E_OVERFLOW
 */
export function promptTokens(reader: PromptReader, prompt: Prompt): Token[] {
  const { model, contextSize } = reader;
  const param = promptField(prompt);
  const text = prompt.kind === "text" ? prompt.text : render(reader, prompt.messages);
  if (Buffer.byteLength(text) > contextSize * longestTokenBytes) {
    throw overflowError({ limitTokens: contextSize, promptTokens: undefined, param });
  }
  const tokens = model.tokenize(text, true);
  const { bos, shouldPrependBosToken } = model.tokens;
  if (shouldPrependBosToken && bos !== null && tokens[0] !== bos) tokens.unshift(bos);
  if (tokens.length === 0) throw new MeshError("E_INPUT", `'${param}' holds no text.`, { param });
  if (tokens.length >= contextSize) {
    throw overflowError({ limitTokens: contextSize, promptTokens: tokens.length, param });
  }
  return tokens;
}

function render({ template, model }: PromptReader, messages: readonly ChatMessage[]): string {
  if (template === undefined) {
    throw new MeshError("E_UNSUPPORTED", "This model has no chat template, so it cannot answer messages.", {
      param: "messages",
    });
  }
  try {
    return template.render({
      messages,
      add_generation_prompt: true,
      bos_token: model.tokens.bosString ?? "",
      eos_token: model.tokens.eosString ?? "",
    });
  } catch (cause) {
    // templates raise for roles that they do not know, or an order that they do not take
    throw new MeshError("E_INPUT", `The model's chat template refuses these messages: ${sentence(cause)}`, {
      param: "messages",
      cause,
    });
  }
}

/** A library's own words for a person: without stack and line breaks. */
export function sentence(thrown: unknown): string {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return message.replace(/\s+/g, " ").trim().slice(0, 300);
}

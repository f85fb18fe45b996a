/**
 * The APIs that are made of chat: hosts and engines are asked for chat alone, and this node tells the answer in the words
 * of the API that was asked. One interface for all of them, so that the way of an exchange does not depend on which it is.
 */
import type { Json } from "../base/json.ts";
import { messagesAnswer } from "./messages/answer.ts";
import { planMessages } from "./messages/request.ts";
import { messagesStream } from "./messages/stream.ts";
import { responsesAnswer } from "./responses/answer.ts";
import { planResponses } from "./responses/request.ts";
import type { ResponseStore } from "./responses/store.ts";
import { responsesStream } from "./responses/stream.ts";

export const responsesPath = "/v1/responses";
export const messagesPath = "/v1/messages";

/** What was understood of one request, and the way back. */
export interface Translation {
  /** The chat request that stands for it. */
  readonly chat: Json;
  readonly stream: boolean;
  /** What the caller calls the prompt's field. */
  readonly promptParam: string;
  /** The whole chat answer, told by `model`. @throws E_ENGINE it cannot be read */
  readonly whole: (chat: Json, model: string) => Json;
  /** The bytes of its events; a failure is told in the last one, then thrown. */
  readonly events: (chat: AsyncIterable<Uint8Array>, model: string) => AsyncGenerator<Uint8Array, undefined>;
}

export interface TranslationOptions {
  readonly requestId: string;
  /** Conversations that can be gone on from; undefined: nothing is kept for this asker. */
  readonly store: ResponseStore | undefined;
}

/** @returns undefined for the APIs that engines know themselves @throws E_INPUT · E_UNSUPPORTED */
export function translated(
  path: string,
  json: Json,
  { requestId, store }: TranslationOptions,
): Translation | undefined {
  switch (path) {
    case responsesPath: {
      const plan = planResponses(json, store);
      return {
        chat: plan.chat,
        stream: plan.stream,
        promptParam: "input",
        whole: (chat, model) => responsesAnswer(plan, chat, model, store),
        events: (chat, model) => responsesStream(plan, chat, model, requestId, store),
      };
    }
    case messagesPath: {
      const plan = planMessages(json);
      return {
        chat: plan.chat,
        stream: plan.stream,
        promptParam: "messages",
        whole: (chat, model) => messagesAnswer(plan, chat, model),
        events: (chat, model) => messagesStream(plan, chat, model, requestId),
      };
    }
    default:
      return undefined;
  }
}

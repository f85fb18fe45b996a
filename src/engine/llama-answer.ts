/** The embedded engine's answers: what a job brings, as the objects that OpenAI's clients read, whole or in events. */
import { once } from "../base/body.ts";
import { utf8 } from "../base/bytes.ts";
import { type Json } from "../base/json.ts";
import {
  type AnswerHead,
  chatChunks,
  chatCompletion,
  completionId,
  type FinishReason,
  type Usage,
} from "../openai/chat.ts";
import { completionChunks, textCompletion } from "../openai/completion.ts";
import { sseDone, sseText } from "../openai/sse.ts";
import type { Answer } from "./engine.ts";
import type { Job } from "./llama-job.ts";

/** The objects of one answer. */
export interface AnswerForm {
  readonly includeUsage: boolean;
  whole(text: string, finish: FinishReason, usage: Usage): Json;
  /** Sent before the first text; undefined: nothing is. */
  start(): Json | undefined;
  content(text: string): Json;
  finish(reason: FinishReason): Json;
  usage(usage: Usage): Json;
}

export function chatForm(model: string, includeUsage: boolean): AnswerForm {
  const head = answerHead("chatcmpl", model);
  const chunks = chatChunks(head, includeUsage);
  return { ...chunks, includeUsage, start: () => chunks.role(), whole: (...parts) => chatCompletion(head, ...parts) };
}

export function completionForm(model: string, includeUsage: boolean): AnswerForm {
  const head = answerHead("cmpl", model);
  const chunks = completionChunks(head, includeUsage);
  return { ...chunks, includeUsage, start: () => undefined, whole: (...parts) => textCompletion(head, ...parts) };
}

function answerHead(prefix: "chatcmpl" | "cmpl", model: string): AnswerHead {
  return { id: completionId(prefix), created: Math.floor(Date.now() / 1000), model };
}

/** @throws what the job ends with */
export async function whole(job: Job, form: AnswerForm): Promise<Answer> {
  let text = "";
  for (;;) {
    await job.arrival();
    const { pieces, end } = job.take();
    text += pieces.join("");
    if (end === undefined) continue;
    const body = utf8(JSON.stringify(form.whole(text, end.finish, end.usage)));
    return { status: 200, headers: { "content-type": "application/json" }, body: once(body) };
  }
}

/** Resolves with the first token, so that everything that fails before still has its own status. */
export async function streamed(job: Job, form: AnswerForm): Promise<Answer> {
  await job.arrival();
  return {
    status: 200,
    headers: { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" },
    body: events(job, form),
  };
}

async function* events(job: Job, form: AnswerForm): AsyncGenerator<Uint8Array> {
  const start = form.start();
  let text = start === undefined ? "" : sseText(start);
  try {
    for (;;) {
      await job.arrival();
      const { pieces, end } = job.take();
      // what has arrived together leaves together; each token keeps its event
      for (const piece of pieces) text += sseText(form.content(piece));
      if (end !== undefined) {
        text += sseText(form.finish(end.finish));
        if (form.includeUsage) text += sseText(form.usage(end.usage));
        yield utf8(text);
        yield sseDone;
        return;
      }
      yield utf8(text);
      text = "";
    }
  } finally {
    job.leave();
  }
}

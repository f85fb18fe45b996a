/**
 * What the embedded engine's parent (llama.ts) and child (llama-child.ts) say to each other over Node's IPC channel,
 * version by version the same build: no compatibility to keep. The parent queues; the child gets no more requests than
 * it has slots.
 */
import type { ErrorCode } from "../base/errors.ts";
import type { HardeningReport, HardeningSteps } from "../harden/report.ts";
import type { ChatMessage, FinishReason, TextOptions, Usage } from "../openai/chat.ts";

/** Bytes that no vocabulary's token exceeds: a longer prompt cannot fit, and is neither carried over nor counted. */
export const longestTokenBytes = 512;

/** What the model goes on from: messages that its chat template puts together, or a text as it is. */
export type Prompt =
  | { readonly kind: "chat"; readonly messages: readonly ChatMessage[] }
  | { readonly kind: "text"; readonly text: string };

/** The request's field that holds the prompt. */
export function promptField({ kind }: Prompt): "messages" | "prompt" {
  return kind === "chat" ? "messages" : "prompt";
}

/** One text to be made. */
export interface TextRequest extends TextOptions {
  readonly prompt: Prompt;
  /** GBNF that the text must follow to its end; undefined: any text. */
  readonly grammar: string | undefined;
}

export type ToChild =
  /** The first message, once. */
  | {
      readonly type: "load";
      readonly modelPath: string;
      /** Where the engine's package is, if not beside ours. */
      readonly packageFolder: string | undefined;
      /** Wanted tokens of one request, prompt and answer; the child takes no more than the model was trained for. */
      readonly contextSize: number;
      readonly slots: number;
      readonly threads: number;
      readonly gpu: "auto" | false;
    }
  | {
      readonly type: "generate";
      readonly id: number;
      /** Prompt prefixes are shared only between requests of the same asker. */
      readonly asker: string;
      readonly request: TextRequest;
      /** Deltas the child may send before it needs more. */
      readonly credits: number;
    }
  /** IPC itself never stops a writer: the child draws the next token only while it holds a credit. */
  | { readonly type: "credit"; readonly id: number; readonly credits: number }
  /** Answered by `done` or `error` for the id once its slot is free, unless that was already on the way. */
  | { readonly type: "abort"; readonly id: number };

/** What the child is started with, as JSON in its only argument: it hardens itself before it reads a message. */
export interface ChildStart {
  /** Id of the process that started it, with which it ends. */
  readonly parent: number;
  /** false: --no-hardening. */
  readonly wanted: boolean;
  readonly steps: HardeningSteps;
  /** Names of all its variables: the parent has set them on purpose. */
  readonly variables: readonly string[];
}

export type FromChild =
  /** The first message, and again when a door has changed: what it found about itself. */
  | { readonly type: "hardened"; readonly report: HardeningReport }
  | { readonly type: "loading"; readonly percent: number }
  | {
      readonly type: "ready";
      /** Tokens of one request as granted. */
      readonly contextSize: number;
      readonly trainContextSize: number;
    }
  /** The model cannot be used; the parent ends the child. `why` is a sentence. */
  | { readonly type: "failed"; readonly why: string }
  /** Uses one credit. Whole characters only. */
  | { readonly type: "delta"; readonly id: number; readonly text: string }
  | { readonly type: "done"; readonly id: number; readonly finish: FinishReason; readonly usage: Usage }
  | {
      readonly type: "error";
      readonly id: number;
      readonly code: ErrorCode;
      readonly message: string;
      readonly param: string | undefined;
    };

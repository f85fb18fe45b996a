/**
 * In whose words a caller is told of failures: Anthropic's client reads another error object than everybody else. Known
 * from the request's head alone, so that it holds for what fails before the body is read, too.
 */
import type { MeshError } from "../../base/errors.ts";
import { type OpenAiError, openAiError } from "../../openai/errors.ts";
import { messagesError, messagesErrorAnswer } from "../../openai/messages/errors.ts";
import { messagesPath } from "../../openai/translation.ts";

export interface ErrorForm {
  /** A failure of ours. */
  readonly error: (error: MeshError, id: string) => OpenAiError;
  /** A host's error answer, given as OpenAI error object. @returns JSON, UTF-8 */
  readonly answer: (
    status: number,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    id: string,
  ) => Uint8Array;
}

export const openAiForm: ErrorForm = { error: openAiError, answer: (_status, _headers, body) => body };
const anthropicForm: ErrorForm = { error: messagesError, answer: messagesErrorAnswer };

/** What a request's head shows of who asks. */
interface Shown {
  readonly url?: string | undefined;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, unknown>>;
}

const ownRoutes = new RegExp(`^${messagesPath}(?:[/?]|$)`);

/** Whether an Anthropic client asks: it says so on every route, and its own route is nobody else's. */
export function isAnthropic({ url = "", headers }: Shown): boolean {
  return headers["anthropic-version"] !== undefined || ownRoutes.test(url);
}

export function errorFormOf(request: Shown): ErrorForm {
  return isAnthropic(request) ? anthropicForm : openAiForm;
}

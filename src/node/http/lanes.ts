/**
 * The two lanes on which requests reach the routes: node:http, for callers on this machine, and opened requests of peers
 * (peer-lane.ts). What a route sees of either stands here.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Account } from "../../base/budget.ts";
import { type BodyTiming, readBody } from "./body.ts";
import { type ErrorForm, errorFormOf } from "./error-form.ts";
import { type Outgoing, sendAnswer, sendJson, type WriteOptions } from "./write.ts";

export interface Asking {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** In whose words it is told of failures. */
  readonly form: ErrorForm;
  /** @throws as {@link readBody} */
  readonly body: (account: Account | undefined, timing: BodyTiming) => Promise<Uint8Array>;
}

export interface Reply {
  /** Whether the answer's head has been sent: nothing can be set any more, and no error object takes its place. */
  readonly begun: boolean;
  setHeader(name: string, value: string): void;
  /** Answers 200 with a JSON document. */
  json(value: object): void;
  /**
   * Settles when the answer has been written, a peer's when it can be pulled.
   * @throws what failed before the head, or ended the answer early; the caller has been told of that
   */
  send(answer: Outgoing, options: WriteOptions): Promise<void>;
}

export function askingOf(request: IncomingMessage, response: ServerResponse): Asking {
  const { method = "GET", url = "/", headers } = request;
  const body: Asking["body"] = (account, timing) => readBody(request, response, account, timing);
  return { method, url, headers, form: errorFormOf(request), body };
}

/** On node:http. */
export class HttpReply implements Reply {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get begun(): boolean {
    return this.#response.headersSent;
  }

  setHeader(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  json(value: object): void {
    sendJson(this.#response, value);
  }

  send(answer: Outgoing, options: WriteOptions): Promise<void> {
    return sendAnswer(this.#response, answer, options);
  }
}

/** The console port of a node in this process, asked as the console's page asks it. */
import { createParser } from "eventsource-parser";
import { bearer, readSession } from "../../src/node/session.ts";
import type { TestNode } from "./mesh.ts";

export interface NodeConsole {
  /** The document of a route, with the session token. @throws any status but 200 */
  get<T = unknown>(path: string): Promise<T>;
  ask(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response>;
  follow(path: string): Promise<ConsoleEvents>;
}

export interface ConsoleEvents {
  /** The next event of this name; others are passed over. */
  next<T>(name: string): Promise<T>;
  until<T>(name: string, wanted: (data: T) => boolean): Promise<T>;
  /** Resolves when the node ends the stream. */
  ended(): Promise<void>;
  close(): Promise<void>;
}

export function consoleOf(node: TestNode): NodeConsole {
  const session = readSession(node.dataDir);
  if (!session) throw new Error("this node has no console");
  const { consoleUrl, token } = session;
  const ask: NodeConsole["ask"] = (method, path, body, signal) =>
    fetch(new URL(path, consoleUrl), {
      method,
      headers: { authorization: bearer(token), ...(body ? { "content-type": "application/json" } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
      ...(signal ? { signal } : {}),
    });
  return {
    ask,
    async get<T>(path: string): Promise<T> {
      const answer = await ask("GET", path);
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as T;
    },
    follow: async (path) => eventsOf(await ask("GET", path)),
  };
}

/** The pieces of a streamed answer, for whoever reads some of them. */
export function readerOf({ body }: Response): ReadableStreamDefaultReader<Uint8Array> {
  if (!body) throw new Error("the answer has no body");
  return body.getReader() as ReadableStreamDefaultReader<Uint8Array>;
}

function eventsOf(answer: Response): ConsoleEvents {
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  const reader = readerOf(answer);
  const decoder = new TextDecoder();
  const waiting: { readonly name: string | undefined; readonly data: string }[] = [];
  const parser = createParser({ onEvent: ({ event, data }) => void waiting.push({ name: event, data }) });
  const more = async (): Promise<boolean> => {
    const { value, done } = await reader.read();
    if (!done) parser.feed(decoder.decode(value, { stream: true }));
    return !done;
  };
  const next = async <T>(name: string): Promise<T> => {
    for (;;) {
      const event = waiting.shift();
      if (event?.name === name) return JSON.parse(event.data) as T;
      if (!event && !(await more())) throw new Error(`the stream ended before an event ${name}`);
    }
  };
  return {
    next,
    async until<T>(name: string, wanted: (data: T) => boolean): Promise<T> {
      for (;;) {
        const data = await next<T>(name);
        if (wanted(data)) return data;
      }
    },
    async ended() {
      while (await more());
    },
    close: () => reader.cancel(),
  };
}

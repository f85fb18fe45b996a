/**
 * What peers ask, opened already: answered by the routes that callers on this machine have, with no HTTP server and no socket
 * between. The answer is HTTP/1.1 bytes that are pulled, a piece when it is wanted: who reads too slowly holds up the engine.
 */
import { randomUUID } from "node:crypto";
import type { EndpointId } from "../../base/brand.ts";
import { concat, empty, utf8 } from "../../base/bytes.ts";
import { abortError } from "../../base/deadline.ts";
import { type MeshError, toMeshError } from "../../base/errors.ts";
import { type Flow, next, type Now } from "../../base/flow.ts";
import type { Signal } from "../../base/signal.ts";
import { sseError } from "../../openai/sse.ts";
import { type ByteSource, encodeChunk, encodeResponseHead, type HttpRequest, lastChunk } from "../../tunnel/http.ts";
import { checkSize } from "./body.ts";
import { type ErrorForm, errorFormOf } from "./error-form.ts";
import type { Caller } from "./inference.ts";
import type { Asking, Reply } from "./lanes.ts";
import { errorAtEnd, isAlone, type Outgoing, type Reading, readingOf } from "./write.ts";

/** The routes; whatever they throw before an answer has begun is answered with an error object. */
export type Routes = (asking: Asking, reply: Reply, caller: Caller) => Promise<void>;

/**
 * @param signal fires when the peer has gone: what makes the answer ends then, read or not
 * @returns the answer; it throws when the answer breaks off
 */
export function answerPeer(request: HttpRequest, asker: EndpointId, signal: Signal, routes: Routes): ByteSource {
  const id = randomUUID();
  const { method, path: url } = request;
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) headers[name] = value;
  const form = errorFormOf({ url, headers });
  const body = (): Promise<Uint8Array> => {
    checkSize(request.body.length);
    return Promise.resolve(request.body);
  };
  const reply = new PeerReply(id, form, signal);
  routes({ method, url, headers, form, body }, reply, { asker, id, startedMs: performance.now(), signal }).catch(
    (thrown: unknown) => reply.fail(toMeshError(thrown)),
  );
  return reply;
}

/** What comes with a head travels with it up to this size; more is not copied for that. */
const joinedBytes = 65_536;

function joined(head: Uint8Array, bytes: Uint8Array): Uint8Array[] {
  return bytes.length <= joinedBytes ? [concat([head, bytes])] : [head, bytes];
}

class PeerReply implements Reply, ByteSource {
  readonly #id: string;
  readonly #form: ErrorForm;
  readonly #signal: Signal;
  readonly #headers: Record<string, string> = {};
  /** Made, and not read yet: the head, or the whole answer. */
  #made: Uint8Array[] = [];
  #wake: (() => void) | undefined;
  #reading: Reading | undefined;
  #leave: () => void = () => undefined;
  #last: Uint8Array | undefined;
  #over = false;
  #failure: MeshError | undefined;
  begun = false;

  constructor(id: string, form: ErrorForm, signal: Signal) {
    this.#id = id;
    this.#form = form;
    this.#signal = signal;
  }

  // ---- for the routes

  setHeader(name: string, value: string): void {
    this.#headers[name] = value;
  }

  json(value: object): void {
    this.#giveWhole(200, { "content-type": "application/json" }, utf8(JSON.stringify(value)));
  }

  async send(answer: Outgoing): Promise<void> {
    const { status, headers } = answer;
    const reading = readingOf(answer);
    this.#leave = () => {
      this.#signal.removeEventListener("abort", this.#leave);
      reading.leave().catch(() => undefined);
    };
    this.#signal.addEventListener("abort", this.#leave);
    if (this.#signal.aborted) this.#leave();
    const first = await next(reading.flow); // what fails before the head is still an ordinary error
    if (first && (await isAlone(answer, reading))) {
      this.#leave();
      return this.#giveWhole(status, headers, first);
    }
    this.#reading = reading;
    const piece = first && first.length > 0 ? this.#piece(first) : empty;
    this.#give(joined(encodeResponseHead(status, { ...this.#headers, ...headers }, undefined), piece));
  }

  /** Nothing was answered, and why. */
  fail(error: MeshError): void {
    this.#leave();
    if (this.begun) return;
    const { status, headers, body } = this.#form.error(error, this.#id);
    this.#giveWhole(status, headers, body);
  }

  // ---- for the reader

  readonly flow: Flow = {
    now: () => {
      const made = this.#made.shift();
      if (made) return made;
      if (this.#over) return "end";
      if (this.#failure) throw this.#failure;
      return this.begun ? this.#next() : undefined;
    },
    more: () => this.#reading?.flow.more() ?? new Promise((resolve) => (this.#wake = resolve)),
  };

  async read(): Promise<Uint8Array | undefined> {
    return await next(this.flow);
  }

  #next(): Now {
    try {
      let piece = this.#reading?.flow.now();
      while (piece?.length === 0) piece = this.#reading?.flow.now(); // a chunk without bytes would be the end
      if (piece === undefined) return undefined;
      if (piece !== "end") return this.#piece(piece);
      if (this.#signal.aborted) throw abortError(this.#signal); // it was left, and has not ended by itself
      this.#over = true;
      this.#leave();
      return lastChunk;
    } catch (thrown) {
      this.#leave();
      this.#failure = toMeshError(thrown);
      // who reads events learns why; who reads a body sees it break. Never a clean end
      if (!this.#reading?.events || (this.#last && errorAtEnd(this.#last))) throw this.#failure;
      return encodeChunk(sseError(this.#failure, this.#id));
    }
  }

  isOver(): boolean {
    return this.#over && this.#made.length === 0;
  }

  #piece(bytes: Uint8Array): Uint8Array {
    this.#last = bytes;
    return encodeChunk(bytes);
  }

  #giveWhole(status: number, headers: Readonly<Record<string, string>>, body: Uint8Array): void {
    this.#over = true;
    this.#give(joined(encodeResponseHead(status, { ...this.#headers, ...headers }, body.length), body));
  }

  #give(made: Uint8Array[]): void {
    this.begun = true;
    this.#made = made;
    this.#wake?.();
  }
}

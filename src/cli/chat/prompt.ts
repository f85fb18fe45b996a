/**
 * The line of a terminal in which questions are typed. While an answer is written nothing of what is typed shows; it is kept,
 * and stands at the next prompt. Lines that come together, as pasted text does, are one question.
 */
import { createInterface, type Interface } from "node:readline";
import { Writable } from "node:stream";

export type Typed = { readonly kind: "text"; readonly text: string } | { readonly kind: "end" };

/** Lines closer to one another than this came by no keyboard, ms. */
const togetherMs = 25;
/** A Control-C that comes this soon after an answer was meant for it, ms. */
const lateMs = 500;

export class Prompt {
  readonly #output = new MutedOutput(process.stdout);
  readonly #line: Interface;
  readonly #typed: Typed[] = [];
  #lines: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #waiting: ((typed: Typed) => void) | undefined;
  /** Stops the answer that is being written. */
  #stop: (() => void) | undefined;
  #isClosed = false;
  #answeredMs = Number.NEGATIVE_INFINITY;

  constructor(prompt: string) {
    this.#line = createInterface({ input: process.stdin, output: this.#output, terminal: true, prompt });
    this.#line.on("line", (text) => this.#collect(text));
    this.#line.on("SIGINT", () => this.#interrupt());
    this.#line.on("close", () => {
      if (!this.#isClosed) this.#leave(); // by Control-D
    });
  }

  /** Shows the prompt, and waits for what is typed there, or was meanwhile. */
  next(): Promise<Typed> {
    const [first] = this.#typed.splice(0, 1);
    if (first?.kind === "text") process.stdout.write(`${this.#line.getPrompt()}${first.text}\n`);
    if (first) return Promise.resolve(first);
    this.#line.prompt(true);
    return new Promise((resolve) => (this.#waiting = resolve));
  }

  /** Writes nothing of what is typed until `work` has ended; Control-C aborts its signal. */
  async during<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stopping = new AbortController();
    this.#stop = () => stopping.abort();
    this.#output.muted = true;
    try {
      return await work(stopping.signal);
    } finally {
      this.#stop = undefined;
      this.#output.muted = false;
      this.#answeredMs = performance.now();
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#isClosed = true;
    this.#line.close();
  }

  #collect(text: string): void {
    this.#lines.push(text);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const together = this.#lines.join("\n");
      this.#lines = [];
      this.#give({ kind: "text", text: together });
    }, togetherMs);
  }

  #interrupt(): void {
    if (this.#stop) return this.#stop();
    if (this.#line.line !== "") {
      // as shells do: the line is left as it is, and a new one begins
      this.#line.write(null, { ctrl: true, name: "e" });
      this.#line.write(null, { ctrl: true, name: "u" });
      return;
    }
    if (performance.now() - this.#answeredMs < lateMs) return;
    this.#leave();
  }

  /** Leaves the line of the prompt to whoever has the terminal next. */
  #leave(): void {
    process.stdout.write("\n");
    this.#give({ kind: "end" });
  }

  #give(typed: Typed): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting) waiting(typed);
    else this.#typed.push(typed);
  }
}

/** The terminal, or nothing: readline writes what is typed there. */
class MutedOutput extends Writable {
  muted = false;
  readonly isTTY = true;
  readonly #stream: NodeJS.WriteStream;

  constructor(stream: NodeJS.WriteStream) {
    super({ decodeStrings: false });
    this.#stream = stream;
    stream.on("resize", () => this.emit("resize"));
  }

  get columns(): number {
    return this.#stream.columns;
  }

  get rows(): number {
    return this.#stream.rows;
  }

  override _write(chunk: string, _encoding: BufferEncoding, done: () => void): void {
    if (!this.muted) this.#stream.write(chunk);
    done();
  }
}

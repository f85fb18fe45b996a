/** What the end-to-end tests share beside processes: hosts, the official client, and looks at processes from outside. */
import { readdirSync, readFileSync } from "node:fs";
import OpenAI from "openai";
import type { ExchangeReport } from "../../src/node/exchanges.ts";
import { type EngineProcess, type ScriptedEngineOptions, startEngineProcess } from "./engine-server.ts";
import { type NodeProcess, startProcess } from "./processes.ts";

/** A host whose engine is a process of its own. */
export interface Host {
  readonly node: NodeProcess;
  readonly engine: EngineProcess;
}

/** A host of one model; `member` is whom it joins, `words` are more of its command line. */
export async function startHost(
  model: string,
  options: ScriptedEngineOptions = {},
  member?: NodeProcess,
  words: readonly string[] = [],
): Promise<Host> {
  const engine = await startEngineProcess({ ...options, models: [model] });
  const joining = member ? ["--join", member.ready.invite] : [];
  return { engine, node: await startProcess(["serve", "--engine", engine.url, ...joining, ...words]) };
}

/** The official client, as a user would make it; it repeats nothing, so that a test sees what happens. */
export function openAiFor(node: NodeProcess): OpenAI {
  return new OpenAI({ baseURL: `${node.ready.api_url}/v1`, apiKey: "unused", maxRetries: 0 });
}

/** The error that the client throws; anything else fails the test. */
export async function failureOf(work: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const thrown: unknown = await work.then(
    () => "no error",
    (error: unknown) => error,
  );
  if (thrown instanceof OpenAI.APIError) return thrown;
  throw new Error(`expected an APIError, got ${String(thrown)}`);
}

/** Text of one piece of a streamed answer. */
export function textOf(chunk: OpenAI.Chat.ChatCompletionChunk): string {
  return chunk.choices[0]?.delta.content ?? "";
}

export interface Reading {
  /** Pieces of text, and when each came (performance.now()). */
  readonly words: readonly string[];
  readonly arrivals: readonly number[];
  /** "ended", or what was thrown. */
  readonly end: Promise<unknown>;
}

/** Reads a streamed answer in the background. */
export function readStream(chunks: AsyncIterable<OpenAI.Chat.ChatCompletionChunk>): Reading {
  const words: string[] = [];
  const arrivals: number[] = [];
  const read = async (): Promise<string> => {
    for await (const chunk of chunks) {
      const text = textOf(chunk);
      if (text === "") continue;
      words.push(text);
      arrivals.push(performance.now());
    }
    return "ended";
  };
  return { words, arrivals, end: read().catch((thrown: unknown) => thrown) };
}

export interface RawReading {
  /** The body so far. */
  readonly text: string;
  /** Whether HTTP says that it is whole. */
  readonly end: Promise<"whole" | "broken off">;
}

/** Asks without the official client, for what it hides; a string is sent as it is. */
export function askRaw(node: NodeProcess, body: object | string, signal?: AbortSignal): Promise<Response> {
  return fetch(`${node.ready.api_url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal: signal ?? null,
  });
}

/** Reads a body in the background. */
export function readRaw(answer: Response): RawReading {
  const reading = { text: "", end: Promise.resolve<"whole" | "broken off">("whole") };
  const decoder = new TextDecoder();
  const read = async (): Promise<"whole"> => {
    for await (const piece of answer.body ?? []) reading.text += decoder.decode(piece as Uint8Array, { stream: true });
    return "whole";
  };
  reading.end = read().catch(() => "broken off");
  return reading;
}

/** The `error` of the last event of a stream; undefined when that is none. */
export function errorEventOf(text: string): unknown {
  const [, data] = /^data: (\{"error":.*)$/.exec(text.trimEnd().split("\n").at(-1) ?? "") ?? [];
  return data === undefined ? undefined : (JSON.parse(data) as { error: unknown }).error;
}

/** What a node's console says of the exchange that an answer belongs to, once that has ended. */
export async function reportOf(node: NodeProcess, answer: Response): Promise<ExchangeReport> {
  const url = `${node.ready.console_url}/api/exchanges/${answer.headers.get("x-request-id")}`;
  let report = await fetch(url);
  await until("the exchange is reported", async () => report.ok || (report = await fetch(url)).ok, 2_000);
  return (await report.json()) as ExchangeReport;
}

/** Waits for something that has no event of its own; the deadline is the test's failure. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${what}`);
    await pause(20);
  }
}

export async function knowsModels(node: NodeProcess, ...models: readonly string[]): Promise<void> {
  await until(`${models.join(", ")} known`, async () => {
    const known = (await node.status()).models;
    return models.every((model) => known.includes(model));
  });
}

/** Waits until a node could ask every one of these hosts now, sealed and by this route. */
export async function knowsHosts(
  node: NodeProcess,
  hosts: readonly { readonly node: NodeProcess }[],
  route: "direct" | "relay" = "direct",
): Promise<void> {
  await until("all hosts are known", async () => {
    const ready = (await node.status()).peers.filter((peer) => {
      return peer.models.length > 0 && peer.sealed === "sealed" && peer.route === route;
    });
    return hosts.every((host) => ready.some(({ endpoint_id }) => endpoint_id === host.node.ready.endpoint_id));
  });
}

/** Asks for a stream and reads it. @returns the host that answered. @throws Error it did not */
export async function answeringHost(node: NodeProcess, model: string): Promise<string> {
  const answer = await askRaw(node, { model, stream: true, messages: [{ role: "user", content: "Go on" }] });
  const text = await answer.text();
  if (!answer.ok || !text.trimEnd().endsWith("[DONE]")) throw new Error(`${answer.status} ${text}`);
  return answer.headers.get("x-sealmesh-host") ?? "";
}

export async function isAnswered(node: NodeProcess, model: string): Promise<boolean> {
  return await answeringHost(node, model).then(
    () => true,
    () => false,
  );
}

export async function isConnected(node: NodeProcess, other: NodeProcess): Promise<boolean> {
  const { peers } = await node.status();
  return peers.some((peer) => peer.endpoint_id === other.ready.endpoint_id && peer.connected);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** VmRSS. Linux. */
export function residentBytes(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  if (kib === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kib) * 1024;
}

/** Ids of all processes below `pid`. Linux. */
export function descendants(pid: number): readonly number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ id: Number(name), parent: parentOf(Number(name)) }));
  const found = [pid];
  for (const ancestor of found) {
    found.push(...parents.filter(({ parent }) => parent === ancestor).map(({ id }) => id));
  }
  return found.slice(1);
}

/** Whether the process exists and has not ended: one whose exit code is all that is left has. Linux. */
export function isAlive(pid: number): boolean {
  return parentOf(pid) !== undefined;
}

function parentOf(pid: number): number | undefined {
  try {
    // "pid (name) state parent ...", and the name may hold anything
    const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return state === "Z" || state === "X" ? undefined : Number(parent);
  } catch {
    return undefined;
  }
}

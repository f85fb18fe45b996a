/**
 * The demo in order: three nodes, one question, and what the one in the middle saw. Uses nothing that a user could not:
 * the `sealmesh` command, its ready lines, and the OpenAI API of the client node.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MeshError } from "../../base/errors.ts";
import { packageFile } from "../../base/package.ts";
import { type EndpointId, shortId } from "../../base/brand.ts";
import { labelled, type Paint, paintFor, printJson, printLine, printNote } from "../output.ts";
import { ask, type DemoAnswer, requestBody, waitForModel } from "./ask.ts";
import { type Evidence, readEvidence } from "./evidence.ts";
import { type DemoNode, type DemoNodeOptions, startDemoNode } from "./nodes.ts";
import { hexDump, searchedForms } from "./search.ts";

export interface DemoFlags {
  readonly ask?: string;
  readonly keep?: boolean;
  readonly json?: boolean;
}

/** Its answer is about what the demo shows. */
const defaultQuestion = "Who can read my prompt?";
/** Gossip takes milliseconds; this is for a machine under load. */
const modelMs = 15_000;
const dumpLines = 4;
const modelFile = packageFile("models/demo.gguf");

/** @returns the exit code: 0, 76 if the relay saw text, 130 or 143 when it was stopped by signal */
export async function runDemo(flags: DemoFlags): Promise<number> {
  if (!existsSync(modelFile)) {
    throw new MeshError(
      "E_CONFIG",
      `the demo's model is missing: ${modelFile}. Get the complete source or package again`,
    );
  }
  const stopping = new AbortController();
  let signalled: number | undefined;
  const onSignal = (exitCode: number): void => {
    signalled ??= exitCode;
    stopping.abort(new MeshError("E_ABORTED", "the demo was stopped"));
  };
  process.on("SIGINT", () => onSignal(130));
  process.on("SIGTERM", () => onSignal(143));
  process.on("SIGHUP", () => onSignal(129));
  const directory = mkdtempSync(join(tmpdir(), "sealmesh-demo-"));
  const nodes: DemoNode[] = [];
  try {
    return await show(flags, directory, nodes, stopping.signal);
  } catch (thrown) {
    if (signalled === undefined) throw thrown;
    return signalled;
  } finally {
    await Promise.all(nodes.map((node) => node.stop()));
    rmSync(directory, { recursive: true, force: true });
  }
}

async function show(flags: DemoFlags, directory: string, nodes: DemoNode[], signal: AbortSignal): Promise<number> {
  const paint = paintFor(flags.json ? process.stderr : process.stdout);
  const question = flags.ask ?? defaultQuestion;
  const tapFile = join(directory, "relay-saw.jsonl");
  const started = performance.now();
  const start = async (options: Omit<DemoNodeOptions, "dataDir" | "signal">): Promise<DemoNode> => {
    const node = await startDemoNode({ ...options, dataDir: join(directory, options.name), signal });
    nodes.push(node);
    return node;
  };
  const progress = (text: string): void =>
    printNote(`${paint("dim", `${seconds(performance.now() - started)}`)}  ${text}`);

  progress("starting three nodes on this machine");
  const host = await start({ name: "host", words: ["serve", "--model", modelFile] });
  if (host.ready.models.length === 0) throw await noModel(host);
  progress(`host    ${about(host)} runs the model`);
  const relay = await start({ name: "relay", words: ["client", "--join", host.ready.invite, "--debug-tap", tapFile] });
  progress(`relay   ${about(relay)} joined the host; every byte it carries is recorded`);
  const client = await start({ name: "client", words: ["client", "--join", relay.ready.invite, "--route", "relay"] });
  const model = await waitForModel(client.ready.api_url, modelMs, signal);
  progress(`client  ${about(client)} joined through the relay and asks through it only`);

  if (!flags.json) process.stdout.write(`\n${paint("bold", "Question")}  ${question}\n${paint("bold", "Answer")}    `);
  const onPiece = (text: string): void => {
    if (!flags.json) process.stdout.write(text);
  };
  const answer = await ask({ apiUrl: client.ready.api_url, model, question, onPiece, signal });
  if (!flags.json) printLine("\n");
  checkPath(answer, host);
  const evidence = readEvidence(tapFile, question, answer.pieces);
  const totalMs = performance.now() - started;
  if (flags.json) printJson(resultDocument({ question, model, answer, evidence, totalMs }));
  else printLine(resultText(answer, evidence, paint));
  if (evidence.finds.length > 0) return failLoudly(evidence, paintFor(process.stderr));
  if (flags.keep) {
    // with --json, stdout is one document
    const print = flags.json ? printNote : printLine;
    print(keptText(nodes, client, requestBody(model, question)));
    await kept(nodes, signal);
  }
  return 0;
}

function about({ ready }: DemoNode): string {
  // the id of our own child's ready line
  return `${shortId(ready.endpoint_id as EndpointId)}, process ${ready.pid},`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Why the host has no model, in the words of its own status. */
async function noModel({ ready }: DemoNode): Promise<MeshError> {
  let why = "no reason known";
  if (ready.console_url !== null) {
    const response = await fetch(`${ready.console_url}/api/status`);
    const document = (await response.json()) as { engines?: readonly { why?: string | null }[] };
    why = document.engines?.[0]?.why ?? why;
  }
  return new MeshError("E_NO_ENGINE", `the demo's model could not be loaded: ${why}`);
}

/** The demo shows one path; an answer over another one is a failure, however good it reads. */
function checkPath({ text, host: answeredBy, sealed, route }: DemoAnswer, host: DemoNode): void {
  if (text === "") throw new MeshError("E_BUG", "the answer is empty");
  if (answeredBy !== host.ready.endpoint_id) throw new MeshError("E_BUG", `not the host answered, but "${answeredBy}"`);
  if (sealed !== "true" || route !== "relay") {
    throw new MeshError(
      "E_BUG",
      `the prompt did not travel sealed through the relay: sealed ${sealed}, route ${route}`,
    );
  }
}

function resultText(answer: DemoAnswer, evidence: Evidence, paint: Paint): string {
  const { request, response, envelopeStreams, gossipStreams, searchedBytes, searchedTexts, finds } = evidence;
  const speed = answer.tokensPerSecond === undefined ? "" : `, ${Math.round(answer.tokensPerSecond)} tokens/s`;
  const searched = `${searchedTexts} words, pieces and runs of question and answer, as ${searchedForms}`;
  const verdict = finds.length === 0 ? paint("green", "not found") : paint("red", "FOUND");
  return [
    paint("bold", "How it travelled"),
    labelled("answered by", [`${answer.host.slice(0, 16)}..., the host`], paint),
    labelled("sealed", [`yes, to the host's inference key; route: ${answer.route}`], paint),
    labelled("first token", [`after ${Math.round(answer.firstTokenMs)} ms; ${answer.tokens} tokens${speed}`], paint),
    "",
    paint("bold", "What the relay saw"),
    labelled("streams", [`${envelopeStreams} with envelopes, ${gossipStreams} of gossip and keys`], paint),
    labelled("bytes", [`${request.length} towards the host, ${response.length} back`], paint),
    labelled("the request", hexDump(request, dumpLines + 4), paint),
    labelled("the answer", hexDump(response, dumpLines), paint),
    labelled("searched for", [searched, `in all ${searchedBytes} bytes that it received or sent: ${verdict}`], paint),
  ].join("\n");
}

function resultDocument(result: {
  question: string;
  model: string;
  answer: DemoAnswer;
  evidence: Evidence;
  totalMs: number;
}): object {
  const { question, model, answer, evidence, totalMs } = result;
  return {
    question,
    answer: answer.text,
    model,
    host: answer.host,
    sealed: answer.sealed,
    route: answer.route,
    first_token_ms: Math.round(answer.firstTokenMs),
    tokens: answer.tokens,
    tokens_per_second: answer.tokensPerSecond === undefined ? null : Math.round(answer.tokensPerSecond),
    total_ms: Math.round(totalMs),
    relay_saw: {
      envelope_streams: evidence.envelopeStreams,
      gossip_streams: evidence.gossipStreams,
      request_bytes: evidence.request.length,
      response_bytes: evidence.response.length,
      searched_bytes: evidence.searchedBytes,
      searched_texts: evidence.searchedTexts,
      found: evidence.finds,
    },
  };
}

function failLoudly({ finds }: Evidence, paint: Paint): number {
  printNote(
    paint("red", "\nThe relay saw text of the question or the answer. This must never happen: please report it."),
  );
  for (const { text, encoding, offset } of finds.slice(0, 10))
    printNote(`  "${text}" as ${encoding} at byte ${offset}`);
  return new MeshError("E_WIRE", "the relay saw text").row.exit;
}

/** What a person needs to use the nodes that stay up. */
function keptText(nodes: readonly DemoNode[], client: DemoNode, request: object): string {
  const body = JSON.stringify(request).replaceAll("'", String.raw`'\''`);
  return [
    "",
    "The nodes stay up: OpenAI base URL and console of each",
    ...nodes.map(({ name, ready }) => `  ${name.padEnd(6)}  ${ready.api_url}/v1  ${ready.console_url ?? ""}`),
    "",
    "Ask through the relay with",
    `  curl -sN ${client.ready.api_url}/v1/chat/completions -H 'content-type: application/json' -d '${body}'`,
    "",
    "Press Control-C to stop them.",
    "",
  ].join("\n");
}

/** Leaves the nodes up until a signal comes, or one of them ends. */
async function kept(nodes: readonly DemoNode[], signal: AbortSignal): Promise<void> {
  const ended = nodes.map(async ({ name, exited }) => {
    throw new MeshError("E_BUG", `the ${name} ended by itself: ${await exited}`);
  });
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  await Promise.race([stopped, ...ended]);
}

/**
 * Engines by their name: `--engine vllm` is the usual address of a vLLM here, `--engine vllm=http://10.0.0.5:8000/v1` one
 * elsewhere. A new one is a row of the table. What a name adds to an address: another program that answers there is told,
 * and sentences call it by its name. docs/large-models.md says how those that span machines are started.
 */
import { MeshError } from "../base/errors.ts";
import type { EngineProgram } from "./detect.ts";

export interface EnginePreset {
  readonly name: string;
  /** With `/v1`. */
  readonly usualUrl: string;
  /** Programs that may answer there, as detection tells them apart. */
  readonly programs: readonly EngineProgram[];
}

const preset = (name: string, port: number, ...programs: EngineProgram[]): EnginePreset => {
  return { name, usualUrl: `http://127.0.0.1:${port}/v1`, programs };
};

export const enginePresets: readonly EnginePreset[] = [
  preset("ollama", 11_434, "ollama"),
  preset("lmstudio", 1_234, "lm-studio"),
  preset("llama-server", 8_080, "llama-server"),
  // these four can span machines; a llama-server with --rpc answers as any other
  preset("llama-rpc", 8_080, "llama-server"),
  preset("vllm", 8_000, "vllm"),
  preset("sglang", 30_000, "sglang"),
  preset("exo", 52_415, "exo"),
];

export interface EngineAddress {
  readonly url: string;
  readonly preset: EnginePreset | undefined;
}

/**
 * @param text of --engine: a URL, NAME, or NAME=URL
 * @throws     E_USAGE
 */
export function engineAddress(text: string): EngineAddress {
  const [, name = "", url] = /^([a-z-]+)(?:=(.*))?$/s.exec(text) ?? [];
  const known = enginePresets.find((one) => one.name === name);
  if (known && url === undefined) return { url: known.usualUrl, preset: known };
  if (known && url !== undefined && isHttp(url)) return { url, preset: known };
  if (isHttp(text)) return { url: text, preset: undefined };
  const names = enginePresets.map((one) => one.name).join(", ");
  const what = `a URL such as http://127.0.0.1:11434/v1, auto, or one of ${names}, with =URL where it is elsewhere`;
  throw new MeshError("E_USAGE", `--engine takes ${what}, not "${text}"`);
}

function isHttp(text: string): boolean {
  return /^https?:/.test(text) && URL.canParse(text);
}

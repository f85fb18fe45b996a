/** Checks of `sealmesh doctor`: what could run models here, and what it could run them on. */
import { accessSync, constants, readdirSync } from "node:fs";
import { join } from "node:path";
import { isMeshError } from "../../base/errors.ts";
import { detectEngines, type DetectedEngine } from "../../engine/detect.ts";
import { embeddedEngine } from "../../engine/embedded.ts";
import { engineFolder } from "../../engine/llama-package.ts";
import { counted } from "../output.ts";
import { type Check, check, fail, type Finding, ok, skip, warn } from "./check.ts";
import type { DoctorContext, SeenStatus } from "./context.ts";

// ---- engine

export interface EngineSeen {
  /** Of the node that runs here; undefined: none runs. */
  readonly running: SeenStatus["engines"] | undefined;
  readonly mode: SeenStatus["mode"] | undefined;
  /** What answers at the usual ports, and at those that are set. */
  readonly found: readonly DetectedEngine[];
  /** Hosts of engines that are set, and do not answer. */
  readonly silent: readonly string[];
  /** Version of the embedded engine; undefined: it is not installed. */
  readonly embedded: string | undefined;
}

export const engine: Check = check("engine", lookForEngines, judgeEngine);

async function lookForEngines({ config, running }: DoctorContext): Promise<EngineSeen> {
  const set = isMeshError(config) ? [] : config.engines.flatMap((one) => (one.kind === "openai-http" ? one.url : []));
  const [usual, ofSettings] = await Promise.all([detectEngines(), Promise.all(set.map(async (url) => await at(url)))]);
  return {
    running: running?.status.engines,
    mode: running?.status.mode,
    found: [...usual, ...ofSettings.flatMap(({ found }) => found)],
    silent: ofSettings.flatMap(({ found, url }) => (found.length === 0 ? new URL(url).host : [])),
    embedded: embeddedEngine(isMeshError(config) ? undefined : engineFolder(config.dataDir)),
  };
}

async function at(url: string): Promise<{ readonly url: string; readonly found: readonly DetectedEngine[] }> {
  return { url, found: await detectEngines({ baseUrls: [url] }) };
}

export function judgeEngine({ running, mode, found, silent, embedded }: EngineSeen): Finding {
  const down = running?.find(({ state }) => state === "down");
  if (down) {
    return fail(
      "E_NO_ENGINE",
      `${down.name} is down: ${down.why ?? "no reason known"}`,
      "start it; the node takes it up by itself",
    );
  }
  if (mode === "serve" && running) {
    return ok(
      running.map(({ name, state, models }) => `${name} is ${state}, ${counted(models.length, "model")}`).join("; "),
    );
  }
  const [first] = silent;
  if (first !== undefined)
    return fail(
      "E_NO_ENGINE",
      `nothing answers at ${first}, which is set as an engine`,
      "start it, or mend [engine] urls",
    );
  const closed = found.find(({ needsKey }) => needsKey);
  if (closed) {
    const todo = "give its key with --engine-key-file";
    return warn(`${closed.kind} at ${new URL(closed.baseUrl).host} wants a key`, todo);
  }
  const seen = [
    ...found.map(({ kind, baseUrl }) => `${kind} at ${new URL(baseUrl).host}`),
    ...(embedded === undefined ? [] : [`the embedded engine is installed (node-llama-cpp ${embedded})`]),
  ];
  if (seen.length > 0) return ok(seen.join(", "));
  return warn(
    "none answers at the usual ports, and the embedded one is not installed: this machine can be a client or relay",
    "start Ollama, LM Studio, llama-server or vLLM, or run `sealmesh engine install`",
  );
}

// ---- graphics

export interface GraphicsSeen {
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Devices, and whether this user may use each. */
  readonly devices: readonly { readonly name: string; readonly allowed: boolean }[];
}

export const graphics: Check = check("graphics", lookForGraphics, judgeGraphics);

function lookForGraphics(): GraphicsSeen {
  const { platform, arch } = process;
  const devices = [...named("/dev", /^(nvidia[0-9]+|kfd|dxg)$/), ...named("/dev/dri", /^renderD[0-9]+$/)];
  return { platform, arch, devices: platform === "linux" ? devices : [] };
}

function named(folder: string, pattern: RegExp): GraphicsSeen["devices"] {
  try {
    return readdirSync(folder)
      .filter((name) => pattern.test(name))
      .map((name) => ({ name: join(folder, name), allowed: mayUse(join(folder, name)) }));
  } catch {
    return [];
  }
}

export function mayUse(device: string): boolean {
  try {
    accessSync(device, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

export function judgeGraphics({ platform, arch, devices }: GraphicsSeen): Finding {
  const whose = "whether an engine uses it, only the engine can say";
  if (platform === "darwin" && arch === "arm64") return ok(`seen: Apple's own, by Metal; ${whose}`);
  if (platform !== "linux") return skip("not looked for on this system");
  if (devices.length === 0) return skip("none seen: models run on the processor");
  const closed = devices.filter(({ allowed }) => !allowed);
  const names = (some: GraphicsSeen["devices"]): string => some.map(({ name }) => name).join(", ");
  if (closed.length === devices.length) {
    const todo = "put this user into the groups render and video: sudo usermod -aG render,video USER, then log in anew";
    return warn(`seen, and not allowed for this user: ${names(closed)}`, todo);
  }
  return ok(`seen: ${names(devices.filter(({ allowed }) => allowed))}; ${whose}`);
}

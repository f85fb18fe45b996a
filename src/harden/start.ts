/**
 * The start before the start: a process that will hold prompts looks at what its starter has left it, and replaces itself by
 * a clean one (execve: same process id, stdio, signals and exit code, and nothing is left behind that could be outlived).
 * What must be inherited is set before. Called by cli/main.ts before anything else is loaded; it loads as little itself.
 *
 *   0  as started: dirty, or clean by chance      1, 2  started afresh; a mark says so, and is not believed:
 *      each start looks for itself. After two nothing of the starter is left, unless the mark was
 *      forged: then it is refused
 *
 * @see docs/hardening.md
 */
import { MeshError } from "../base/errors.ts";
import { type GivenFlags, ownFlags, sortFlags, sortVariables, type Variables } from "./inheritance.ts";
import { startingVariables, privilegesDoor } from "./platform/linux.ts";
import { loadNative, type Native, prctlOptions } from "./platform/native.ts";
import type { HardeningSteps } from "./report.ts";

/** "1 NODE_OPTIONS,--require": how often this process was started afresh, and what was taken away. */
const markName = "SEALMESH_STAGE";
/** A second one for those who forge the mark; more would be a loop. */
const mostStarts = 2;
/** Names that a posture has place for. */
const mostNames = 16;

export interface StartOptions {
  /** JavaScript file that is running. */
  readonly file: string;
  /** Arguments behind it. */
  readonly words: readonly string[];
  readonly steps: HardeningSteps;
}

export interface Start {
  /** Dangerous variables and flags that were taken away; sorted. */
  readonly scrubbed: readonly string[];
}

/**
 * Returns when this process is as it should be, or cannot become so; otherwise it is replaced and nothing returns.
 *
 * @throws E_USAGE the inspector was asked for · E_CONFIG dangerous variables or flags that cannot be taken away here
 */
export function startAfresh({ file, words, steps }: StartOptions): Start {
  const mark = takeMark();
  const found = lookAtStart();
  const { variables, flags } = found;
  if (steps.inspector && flags.inspecting.length > 0) {
    const flag = flags.inspecting.join(", ");
    throw new MeshError("E_USAGE", `${flag} lets others read prompts: leave it out, or debug with --no-hardening`);
  }
  const dirty = steps.environment ? [...variables.dangerous, ...flags.foreign] : [];
  const scrubbed = shortened([...mark.scrubbed, ...dirty]);
  if (isAsWanted(steps, found)) return { scrubbed: mark.scrubbed };
  const native = mark.starts < mostStarts ? loadNative() : undefined;
  if (native === undefined) {
    if (dirty.length === 0) return { scrubbed: mark.scrubbed };
    const why = "can read prompts or send them elsewhere, and cannot be taken away here";
    const what = "unset them, install the package koffi, or go on with --no-hardening";
    throw new MeshError("E_CONFIG", `${shortened(dirty).join(", ")} ${why}: ${what}`);
  }
  const environment = steps.environment ? only(variables.kept) : only(Object.keys(process.env));
  const errno = replaceProcess(native, {
    words: [process.execPath, ...(steps.environment ? wantedFlags(steps) : process.execArgv), file, ...words],
    environment: { ...environment, ...channelVariables(), [markName]: `${mark.starts + 1} ${scrubbed.join(",")}` },
    steps,
  });
  throw new MeshError("E_CONFIG", `the node could not be started afresh (errno ${errno}); see --no-hardening`);
}

/** What the starter of this process has left it. */
export interface Inheritance {
  readonly variables: Variables;
  readonly flags: GivenFlags;
  /** Whether a debugger could be talking to this process now. */
  readonly inspected: boolean;
  /** Linux: the kernel's own list of variables could not be read, so something loaded before us may have hidden some. */
  readonly hidden: boolean;
}

/** @param more variables that this process gets from us */
export function lookAtStart(more: readonly string[] = []): Inheritance {
  const names = new Set(Object.keys(process.env));
  // what was there at the start, also if something loaded before us has hidden it since
  const starting = process.platform === "linux" ? startingVariables() : [];
  for (const name of starting ?? []) names.add(name);
  const given = process.connected ? [...more, channelName, serializationName] : more;
  return {
    variables: sortVariables([...names], process.platform, given),
    flags: sortFlags(process.execArgv, ownNodeFlags()),
    inspected: isInspected(),
    hidden: starting === undefined,
  };
}

/** The flags of Node that hardened processes of ours are started with. */
export function ownNodeFlags(): readonly string[] {
  return ownFlags(process.allowedNodeEnvironmentFlags);
}

export function isInspected(): boolean {
  // a Node without an inspector has no such module to import
  return process.features.inspector && process.getBuiltinModule("node:inspector").url() !== undefined;
}

function wantedFlags({ inspector }: HardeningSteps): readonly string[] {
  return inspector ? ownNodeFlags() : [];
}

function isAsWanted(steps: HardeningSteps, { variables, flags, inspected }: Inheritance): boolean {
  const { environment, inspector, privileges } = steps;
  if (environment && (variables.dangerous.length > 0 || variables.others.length > 0)) return false;
  if (environment && flags.foreign.length > 0) return false;
  if ((environment || inspector) && !wantedFlags(steps).every((flag) => process.execArgv.includes(flag))) return false;
  if (inspector && inspected) return false;
  return !(privileges && process.platform === "linux" && privilegesDoor().state !== "closed");
}

function replaceProcess(
  native: Native,
  parts: {
    readonly words: readonly string[];
    readonly environment: Readonly<Record<string, string>>;
    readonly steps: HardeningSteps;
  },
): number {
  const { words, environment, steps } = parts;
  // what every thread of the new program inherits; a program that runs can set it for one thread only
  if (steps.privileges && process.platform === "linux") native.prctl(prctlOptions.setNoNewPrivs, 1);
  if (steps["core-dumps"]) native.forbidCoreFiles();
  const channel = channelDescriptor();
  const kept = [0, 1, 2, ...(channel === undefined ? [] : [channel]), ...descriptorsIn(words)];
  for (const descriptor of kept) native.keepOpen(descriptor);
  const pairs = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return native.execve(process.execPath, words, pairs);
}

/** Files that a shell has opened for us: "--join-file <(command)" is /dev/fd/63, or a number that Node would close. */
function descriptorsIn(words: readonly string[]): readonly number[] {
  return words.flatMap((word) => {
    const [, number] = /(?:^|=)\/(?:dev|proc\/self)\/fd\/([0-9]{1,4})$/.exec(word) ?? [];
    return number === undefined ? [] : [Number(number)];
  });
}

// ---- the mark

interface Mark {
  readonly starts: number;
  readonly scrubbed: readonly string[];
}

/** Read once, and gone. What has not its form is none. */
function takeMark(): Mark {
  const text = process.env[markName];
  delete process.env[markName];
  const [, starts, names = ""] = /^([12]) ([A-Za-z0-9_,-]{0,1000})$/.exec(text ?? "") ?? [];
  const scrubbed = shortened(names.split(",").filter((name) => name !== ""));
  return { starts: Number(starts ?? 0), scrubbed };
}

function shortened(names: readonly string[]): readonly string[] {
  const plain = names.map((name) => name.replaceAll(/[^A-Za-z0-9_-]/g, "_").slice(0, 48));
  return [...new Set(plain)].toSorted().slice(0, mostNames);
}

function only(names: readonly string[]): Record<string, string> {
  const pairs = names.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(pairs);
}

// ---- the channel of child_process.fork()

const channelName = "NODE_CHANNEL_FD";
const serializationName = "NODE_CHANNEL_SERIALIZATION_MODE";

/** Whoever forked a node ends it by closing the channel: it must live on. */
function channelDescriptor(): number | undefined {
  const channel: unknown = process.connected ? process.channel : undefined;
  const descriptor = typeof channel === "object" && channel !== null && "fd" in channel ? channel.fd : undefined;
  return typeof descriptor === "number" && descriptor > 2 ? descriptor : undefined;
}

/** Node takes them out of its environment as soon as it has read them. */
function channelVariables(): Readonly<Record<string, string>> {
  const descriptor = channelDescriptor();
  return descriptor === undefined ? {} : { [channelName]: `${descriptor}` };
}

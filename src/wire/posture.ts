/**
 * Posture: how the process that sees prompts, and its machine, are closed to others, door by door, as a node itself tells
 * it. Bytes and types only: measured in harden/, judged in policy/hardened.ts. It counts where it is signed, in a record or
 * in evidence; field 37 of an announcement is for display.
 *
 *   protobuf SecurityPosture, see proto/sealmesh.proto: 1-5 as in the reference (protocol.md §8.1), ours from 1000 up
 *
 * @see docs/hardening.md
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { MeshError } from "../base/errors.ts";
import { PostureDoorState, PostureEngine, type SecurityPosture, SecurityPostureSchema } from "./gen/sealmesh_pb.ts";
import { limits } from "./limits.ts";
import { decodeMessage } from "./protobuf.ts";

/** unknown: not measured, or it could not be; never better than open where a door must be closed. */
export type DoorState = "closed" | "open" | "unknown";

/** Doors of a process: of the node and of its embedded engine's process, the worse of the two. */
export const processDoors = [
  "environment",
  "arguments",
  "core-dumps",
  "debugger",
  "inspector",
  "privileges",
  "memory-lock",
] as const;
/** What is read of the machine. */
export const machineDoors = [
  "ptrace-scope",
  "swap",
  "core-pattern",
  "lockdown",
  "secure-boot",
  "sip",
  "rdma",
  "hardened-runtime",
] as const;
export type ProcessDoor = (typeof processDoors)[number];
export type MachineDoor = (typeof machineDoors)[number];
export type Door = ProcessDoor | MachineDoor;
export const doors: readonly Door[] = [...processDoors, ...machineDoors];

export const posturePlatforms = ["linux", "darwin", "win32", "other"] as const;
export type PosturePlatform = (typeof posturePlatforms)[number];

export interface Posture {
  readonly platform: PosturePlatform;
  readonly doors: Readonly<Record<Door, DoorState>>;
  /** false: switched off, or a step of it in the configuration. */
  readonly hardening: boolean;
  /** external: another program sees the prompts, of which nothing here is said; it wins when there are both. */
  readonly engine: "none" | "embedded" | "external";
  /** Names of dangerous variables and flags that the starter had set and that were taken away; at most 16, sorted. */
  readonly scrubbed: readonly string[];
  /** "sev-snp", "tdx", "none"; undefined = not known. */
  readonly confidentialVm: string | undefined;
  /** 64 hex digits; undefined = not told. */
  readonly build: string | undefined;
  readonly runtime: string | undefined;
}

/** Fields of the largest posture that is read, those inside its doors included. */
const fieldLimit = 256;
const maxDoors = 64;
const maxScrubbed = 16;
const digest = /^[0-9a-f]{64}$/;
/** A variable or a flag: nothing that a terminal would act on. */
const scrubbedName = /^[A-Za-z0-9_-]{1,48}$/;
const shortWord = /^[a-z0-9-]{1,16}$/;

/** Doors that the reference has a field for, which says no more than "closed" or not. */
const referenceDoors = {
  sipEnabled: "sip",
  rdmaDisabled: "rdma",
  debuggerBlocked: "debugger",
  coreDumpsDisabled: "core-dumps",
} as const satisfies Readonly<Record<string, Door>>;

const stateNumbers: Readonly<Record<DoorState, PostureDoorState>> = {
  closed: PostureDoorState.CLOSED,
  open: PostureDoorState.OPEN,
  unknown: PostureDoorState.UNKNOWN,
};
const engineNumbers: Readonly<Record<Posture["engine"], PostureEngine>> = {
  none: PostureEngine.NONE,
  embedded: PostureEngine.EMBEDDED,
  external: PostureEngine.EXTERNAL,
};

/** All doors in one state, to start from. */
export function everyDoor(state: DoorState): Record<Door, DoorState> {
  return Object.fromEntries(doors.map((door) => [door, state])) as Record<Door, DoorState>; // by the list of all
}

/** Open is worse than unknown, which is worse than closed. */
export function worseState(a: DoorState, b: DoorState): DoorState {
  if (a === "open" || b === "open") return "open";
  return a === "unknown" || b === "unknown" ? "unknown" : "closed";
}

/**
 * The same bytes for the same posture: two of them are compared by their bytes. What has not the form of a name or of a
 * digest is left out.
 *
 * @returns at most limits.postureBytes
 */
export function encodePosture(posture: Posture): Uint8Array {
  const { build, runtime, confidentialVm, scrubbed } = posture;
  const closed = (door: Door): boolean => posture.doors[door] === "closed";
  const message = create(SecurityPostureSchema, {
    sipEnabled: closed(referenceDoors.sipEnabled),
    rdmaDisabled: closed(referenceDoors.rdmaDisabled),
    debuggerBlocked: closed(referenceDoors.debuggerBlocked),
    coreDumpsDisabled: closed(referenceDoors.coreDumpsDisabled),
    ...(build !== undefined && digest.test(build) ? { binaryHash: build } : {}),
    platform: posture.platform,
    hardening: posture.hardening,
    doors: doors.map((name) => ({ name, state: stateNumbers[posture.doors[name]] })),
    engine: engineNumbers[posture.engine],
    scrubbed: tidied(scrubbed),
    ...(confidentialVm !== undefined && shortWord.test(confidentialVm) ? { confidentialVm } : {}),
    ...(runtime !== undefined && digest.test(runtime) ? { runtime } : {}),
  });
  return toBinary(SecurityPostureSchema, message);
}

/**
 * Reads the postures of reference nodes too: their four flags become doors, which are closed or else unknown. A door that
 * is not told is unknown, one that nobody here knows is skipped; what is not told of the rest reads as the least.
 *
 * @param bytes at most limits.postureBytes; the result shares no memory with it
 * @throws      E_WIRE not such a message, too large, a digest or a name that is none
 */
export function decodePosture(bytes: Uint8Array): Posture {
  if (bytes.length > limits.postureBytes) throw malformed(`it has more than ${limits.postureBytes} bytes`);
  const message = decodeMessage(SecurityPostureSchema, bytes, fieldLimit);
  const { binaryHash: build, runtime, scrubbed, confidentialVm } = message;
  for (const hash of [build, runtime]) {
    if (hash !== undefined && !digest.test(hash)) throw malformed("a digest has 64 lower-case hex digits");
  }
  if (scrubbed.length > maxScrubbed || !scrubbed.every((name) => scrubbedName.test(name))) {
    throw malformed("too many names of what was taken away, or one that is none");
  }
  if (confidentialVm !== undefined && !shortWord.test(confidentialVm)) throw malformed("a kind of machine is no word");
  return {
    platform: posturePlatforms.find((name) => name === message.platform) ?? "other",
    doors: doorsFrom(message),
    hardening: message.hardening,
    engine: engineFrom(message.engine),
    scrubbed: tidied(scrubbed),
    confidentialVm,
    build,
    runtime,
  };
}

function doorsFrom(message: SecurityPosture): Record<Door, DoorState> {
  const found = everyDoor("unknown");
  if (message.doors.length > maxDoors) throw malformed(`it has more than ${maxDoors} doors`);
  if (message.doors.length === 0) {
    for (const [field, door] of Object.entries(referenceDoors)) {
      if (message[field as keyof typeof referenceDoors]) found[door] = "closed";
    }
    return found;
  }
  for (const door of doors) {
    const told = message.doors.filter(({ name }) => name === door).map(({ state }) => stateFrom(state));
    if (told.length > 0) found[door] = told.reduce(worseState);
  }
  return found;
}

function stateFrom(number: PostureDoorState): DoorState {
  if (number === PostureDoorState.CLOSED) return "closed";
  return number === PostureDoorState.OPEN ? "open" : "unknown";
}

/** What is not told is taken for an engine of which nothing is said. */
function engineFrom(number: PostureEngine): Posture["engine"] {
  if (number === PostureEngine.NONE) return "none";
  return number === PostureEngine.EMBEDDED ? "embedded" : "external";
}

function tidied(names: readonly string[]): string[] {
  return [...new Set(names.filter((name) => scrubbedName.test(name)))].toSorted().slice(0, maxScrubbed);
}

function malformed(what: string): MeshError {
  return new MeshError("E_WIRE", `a posture is malformed: ${what}`);
}

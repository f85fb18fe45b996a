/**
 * `sealmesh trust`: the pins of this machine, which say what attested key a host had before. Works on the data directory,
 * also while a node uses it; asks nobody. What a pin counts for is in policy/pins.ts.
 */
import { lstatSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Command as Commander } from "commander";
import { evidenceKinds } from "../../attest/registry.ts";
import { type EndpointId, endpointId, shortId } from "../../base/brand.ts";
import { fromUtf8 } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { timeText } from "../../node/attestation-report.ts";
import { dataDirFrom } from "../../node/config.ts";
import { makeDirectory, readSmall, writeAtomic } from "../../node/own-files.ts";
import { PinStore } from "../../node/pin-store.ts";
import { carryOutForgotten } from "../../node/state.ts";
import {
  decodePinBook,
  encodePinBook,
  isPinnable,
  mergePins,
  type Pin,
  type PinBook,
  type ShownValue,
  withConfirmed,
  withoutPins,
} from "../../policy/pins.ts";
import { type CommandGroup, type NamedCommand, takesWord } from "../command.ts";
import { counted, type Paint, paintFor, printJson, printLine, printNote, table } from "../output.ts";
import { textWidth, widthOf } from "../table.ts";

/** A full book of pins, in bytes of JSON, is half of this. */
const bookBytes = 16_777_216;
/** Pins that a sentence names; `--json` and the list have all. */
const namedPins = 3;

interface TrustFlags {
  readonly dataDir?: string;
  readonly json?: boolean;
}

interface IdFlags extends TrustFlags {
  readonly id: string;
  readonly kind?: string;
}

function addTrustFlags(command: Commander): Commander {
  return command
    .option("--data-dir <directory>", "data directory of the node (default: the platform's place for state)")
    .option("--json", "one JSON document");
}

const list: NamedCommand = {
  name: "list",
  summary: "show all pins",
  description:
    "Shows which attested key is pinned for each host: by first contact, which counts for `pinned` from the next start of " +
    "the node on, or confirmed by you.",
  examples: [{ what: "all pins, for programs", line: "sealmesh trust list --json" }],
  addFlags: addTrustFlags,
  run: async (given) => {
    const flags = given as TrustFlags;
    const { directory, store } = opened(flags);
    const { pins } = store.book;
    if (flags.json) printJson({ data_dir: directory, pins: pins.map(pinJson) });
    else if (pins.length > 0) printLine(pinTable(pins));
    else {
      printNote(
        `no pins in ${directory}: a host is pinned when its evidence is first checked, or with \`sealmesh trust pin\``,
      );
    }
    return 0;
  },
};

interface PinFlags extends IdFlags {
  readonly key?: string;
  readonly measurement?: string;
}

const pin: NamedCommand = {
  name: "pin",
  summary: "confirm what a host's attested key is",
  description:
    "Confirms what was pinned for a host by first contact, or pins a key that you know. Compare the fingerprint with what " +
    "the host's operator sees (`sealmesh verify` with its own id), over a way that nobody on the network can change.",
  examples: [
    { what: "what was pinned by first contact is right", line: "sealmesh trust pin ID" },
    { what: "this key, as its operator read it out", line: "sealmesh trust pin ID --kind tpm2 --key FINGERPRINT" },
  ],
  addFlags: (command) => {
    takesWord(command, "id", "<id>", "endpoint id of the host, 64 hex digits")
      .option("--kind <kind>", `kind of its evidence: ${evidenceKinds.map(({ kind }) => kind).join(", ")}`)
      .option("--key <fingerprint>", "fingerprint of its attested key, 32 hex digits")
      .option("--measurement <digest>", "digest of its build, for hosts that show one");
    addTrustFlags(command);
  },
  run: async (given) => {
    const flags = given as unknown as PinFlags;
    const id = idFrom(flags.id);
    const kind = kindFrom(flags.kind);
    const value = valueFrom(kind, flags);
    const { directory, store } = opened(flags);
    ownDirectory(directory, refuseMissing);
    let before: readonly Pin[] = [];
    let after: readonly Pin[] = [];
    store.update((book) => {
      before = pinsOf(book, id, kind);
      const values = value ? [withKnownMeasurement(value, before)] : before.filter(({ confirmed }) => !confirmed);
      if (!value && before.length === 0) throw nothingPinned(id, kind, directory);
      const nowMs = Date.now();
      const changed = values.reduce((sum, one) => withConfirmed(sum, id, one, nowMs), book);
      after = pinsOf(changed, id, kind);
      return changed;
    });
    if (flags.json) printJson({ before: before.map(pinJson), pins: after.map(pinJson) });
    else {
      for (const one of after) printLine(confirmedText(one, before));
      printNote(`a node that runs on ${directory} takes this up within a second`);
    }
    return 0;
  },
};

const forget: NamedCommand = {
  name: "forget",
  summary: "remove the pins of a host",
  description:
    "Removes what is pinned for a host, and that it ever showed an inference key: it is met like a stranger again. For a " +
    "host that was set up anew under its old identity; until you know that it was, leave its pins.",
  examples: [
    { what: "all that is known of a host", line: "sealmesh trust forget ID" },
    { what: "its key of one kind only", line: "sealmesh trust forget ID --kind tpm2" },
  ],
  addFlags: (command) => {
    takesWord(command, "id", "<id>", "endpoint id of the host, 64 hex digits").option(
      "--kind <kind>",
      "only what is pinned for this kind of evidence",
    );
    addTrustFlags(command);
  },
  run: async (given) => {
    const flags = given as unknown as IdFlags;
    const id = idFrom(flags.id);
    const { kind } = flags; // a pin may be of a kind that this build does not know any more
    const { directory, store } = opened(flags);
    ownDirectory(directory, refuseMissing);
    let removed: readonly Pin[] = [];
    store.update((book) => {
      removed = pinsOf(book, id, kind);
      if (kind !== undefined && removed.length === 0) throw nothingPinned(id, kind, directory);
      return withoutPins(book, id, Date.now(), kind);
    });
    const isDone = kind !== undefined || carryOutForgotten(directory, store);
    if (flags.json) printJson({ removed: removed.map(pinJson), node_running: !isDone });
    else {
      printLine(removed.length > 0 ? pinTable(removed) : `nothing was pinned for ${id}`);
      if (removed.length > 0) printNote(`removed; the host is pinned anew when its evidence is next checked`);
      if (!isDone) printNote("the node that runs here forgets within a few seconds that the host has shown a key");
    }
    return 0;
  },
};

interface FileFlags extends TrustFlags {
  readonly file?: string;
}

const exportPins: NamedCommand = {
  name: "export",
  summary: "write confirmed pins as JSON",
  description: "Writes the pins that you confirmed to stdout, or into a file that only you can read.",
  examples: [{ what: "for another machine of yours", line: "sealmesh trust export pins.json" }],
  addFlags: (command) => {
    takesWord(command, "file", "[file]", "file to write (default: stdout)");
    addTrustFlags(command);
  },
  run: async (given) => {
    const flags = given as FileFlags;
    const { store } = opened(flags);
    const pins = store.book.pins.filter(({ confirmed }) => confirmed);
    const text = encodePinBook({ pins, forgotten: new Map() });
    if (flags.file === undefined) printLine(text.trimEnd());
    else {
      writeFile(flags.file, text);
      if (flags.json) printJson({ file: flags.file, pins: pins.length });
      else printNote(`wrote ${counted(pins.length, "confirmed pin")} to ${flags.file}`);
    }
    return 0;
  },
};

interface ImportFlags extends TrustFlags {
  readonly file: string;
  readonly replace?: boolean;
}

/** What becomes of one pin of an imported file. */
interface Change {
  readonly change: "added" | "confirmed" | "replaced" | "unchanged";
  readonly pin: Pin;
  readonly before: Pin | undefined;
}

const importPins: NamedCommand = {
  name: "import",
  summary: "take over confirmed pins from a file",
  description:
    "Takes over the confirmed pins of a file that `sealmesh trust export` wrote, and shows what changes. When one differs " +
    "from a pin that is confirmed here, nothing is taken over, unless you say --replace.",
  examples: [{ what: "the pins of another machine of yours", line: "sealmesh trust import pins.json" }],
  addFlags: (command) => {
    takesWord(command, "file", "<file>", "file with pins").option(
      "--replace",
      "let pins of the file replace confirmed ones that differ",
    );
    addTrustFlags(command);
  },
  run: async (given) => {
    const flags = given as unknown as ImportFlags;
    const imported = bookFrom(flags.file);
    const incoming = imported.pins.filter(({ confirmed }) => confirmed);
    const { directory, store } = opened(flags);
    ownDirectory(directory, makeDirectory);
    let changes: readonly Change[] = [];
    store.update((book) => {
      changes = incoming.map((one) => changeBy(one, book));
      const conflicts = changes.filter(({ change, before }) => change === "replaced" && before?.confirmed === true);
      if (conflicts.length > 0 && flags.replace !== true) throw differing(conflicts, flags.file);
      const replaced = new Set(changes.filter(({ change }) => change !== "unchanged").map(({ before }) => before));
      if (changes.every(({ change }) => change === "unchanged")) return book;
      const kept = { ...book, pins: book.pins.filter((one) => !replaced.has(one)) };
      return mergePins(kept, { pins: incoming, forgotten: new Map() });
    });
    const unconfirmed = imported.pins.length - incoming.length;
    if (flags.json) {
      const rows = changes.map(({ change, pin: one, before }) => ({
        change,
        ...pinJson(one),
        before: before === undefined ? null : pinJson(before),
      }));
      printJson({ changes: rows, unconfirmed });
    } else {
      for (const change of changes) if (change.change !== "unchanged") printLine(changeText(change));
      printNote(importSummary(changes, unconfirmed));
    }
    return 0;
  },
};

export const trust: CommandGroup = {
  description:
    "The pins of this machine: which attested key each host had when it was first seen, and which ones you have confirmed. " +
    "A host whose key has changed is refused until you say that this is right. Works while a node runs.",
  examples: [
    { what: "what is pinned", line: "sealmesh trust list" },
    { what: "a host's key is the one that its operator reads out", line: "sealmesh trust pin ID" },
  ],
  commands: [list, pin, forget, exportPins, importPins],
};

function opened({ dataDir }: TrustFlags): { readonly directory: string; readonly store: PinStore } {
  const directory = dataDirFrom(dataDir);
  return { directory, store: new PinStore(join(directory, "pins.json")) };
}

/**
 * Before anything is written: what another user wrote, its node could not read any more.
 *
 * @param otherwise when there is no such directory
 * @throws          E_STATE it is another user's · whatever `otherwise` throws
 */
function ownDirectory(directory: string, otherwise: (directory: string) => void): void {
  const status = statSync(directory, { throwIfNoEntry: false });
  if (!status?.isDirectory()) return otherwise(directory);
  const user = process.getuid?.() ?? status.uid;
  if (status.uid === user) return makeDirectory(directory); // which looks at its mode
  throw new MeshError(
    "E_STATE",
    `${directory} belongs to user ${status.uid}, and you are user ${user}: run this as that user, as its node does`,
  );
}

/** @throws E_INPUT: a directory that is misspelt is not made, and not taken for an empty one */
function refuseMissing(directory: string): void {
  throw new MeshError("E_INPUT", `there is no data directory ${directory}: name that of the node with --data-dir`);
}

/** @throws E_USAGE */
function idFrom(text: string): EndpointId {
  try {
    return endpointId(text);
  } catch (cause) {
    const why = "its first digits are not enough, because anybody can make an identity that starts with the same ones";
    throw new MeshError(
      "E_USAGE",
      `an endpoint id is given whole, 64 lower-case hex digits, not "${text}": ${why}. \`sealmesh status\` shows ids`,
      { cause },
    );
  }
}

/** @throws E_USAGE */
function kindFrom(kind: string | undefined): string | undefined {
  const known = evidenceKinds.map((one) => one.kind);
  if (kind === undefined || known.includes(kind)) return kind;
  throw new MeshError("E_USAGE", `--kind takes one of ${known.join(", ")}, not "${kind}"`);
}

/** @throws E_USAGE */
function valueFrom(kind: string | undefined, { key, measurement }: PinFlags): ShownValue | undefined {
  if (key === undefined) {
    if (measurement === undefined) return undefined;
    throw new MeshError("E_USAGE", "--measurement needs --key FINGERPRINT, the attested key that goes with it");
  }
  if (kind === undefined) throw new MeshError("E_USAGE", "--key needs --kind KIND: a host may have a key of each kind");
  if (!isPinnable({ kind, key, measurement: undefined })) {
    const where = "as `sealmesh trust list` and refusals show it";
    throw new MeshError("E_USAGE", `--key takes a fingerprint, 32 lower-case hex digits, ${where}, not "${key}"`);
  }
  const value = { kind, key, measurement };
  if (isPinnable(value)) return value;
  throw new MeshError("E_USAGE", `--measurement takes a digest in lower-case hex, not "${measurement}"`);
}

/** Who says only what the key is does not say that the build has gone. */
function withKnownMeasurement(value: ShownValue, before: readonly Pin[]): ShownValue {
  const same = before.find(({ kind, key }) => kind === value.kind && key === value.key);
  return value.measurement === undefined ? { ...value, measurement: same?.measurement } : value;
}

function pinsOf(book: PinBook, id: EndpointId, kind: string | undefined): readonly Pin[] {
  return book.pins.filter((one) => one.endpointId === id && (kind === undefined || one.kind === kind));
}

function nothingPinned(id: EndpointId, kind: string | undefined, directory: string): MeshError {
  const what = kind === undefined ? "nothing" : `no key of kind ${kind}`;
  const next = "see `sealmesh trust list`, or give the key with --kind and --key";
  return new MeshError("E_INPUT", `${what} is pinned for ${shortId(id)} in ${directory}: ${next}`);
}

/** @throws E_INPUT */
function bookFrom(file: string): PinBook {
  let text: string;
  try {
    text = fromUtf8(readSmall(file, bookBytes));
  } catch (cause) {
    const { code, message } = toMeshError(cause);
    throw new MeshError("E_INPUT", code === "E_INPUT" ? message : `${file}: ${message}`, { cause });
  }
  try {
    return decodePinBook(text);
  } catch (cause) {
    const next = "give a file that `sealmesh trust export` wrote";
    throw new MeshError("E_INPUT", `${file}: ${toMeshError(cause).message}; ${next}`, { cause });
  }
}

/** @throws E_INPUT */
function writeFile(file: string, text: string): void {
  // it would be replaced, not written to
  if (lstatSync(file, { throwIfNoEntry: false })?.isFile() === false) {
    throw new MeshError("E_INPUT", `${file} is there and is no ordinary file; without a file this goes to stdout`);
  }
  try {
    writeAtomic(file, text);
  } catch (cause) {
    throw new MeshError("E_INPUT", toMeshError(cause).message, { cause });
  }
}

function changeBy(incoming: Pin, book: PinBook): Change {
  const [before] = pinsOf(book, incoming.endpointId, incoming.kind);
  if (before === undefined) return { change: "added", pin: incoming, before };
  const isSame = before.key === incoming.key && before.measurement === incoming.measurement;
  if (!isSame) return { change: "replaced", pin: incoming, before };
  return { change: before.confirmed ? "unchanged" : "confirmed", pin: incoming, before };
}

function differing(conflicts: readonly Change[], file: string): MeshError {
  const named = conflicts.slice(0, namedPins).map(({ pin: one, before }) => {
    const here = before && valueText(before);
    return `${shortId(one.endpointId)} (${one.kind}: here ${here}, there ${valueText(one)})`;
  });
  const more = conflicts.length > namedPins ? ` and ${conflicts.length - namedPins} more` : "";
  const what = `${counted(conflicts.length, "pin")} of ${file} differ from what is confirmed here: ${named.join(", ")}${more}`;
  return new MeshError(
    "E_INPUT",
    `${what}. Nothing was imported. Ask the hosts' operators which is right; --replace takes those of the file`,
  );
}

// ---- what is printed

function pinJson({ endpointId: id, kind, key, measurement, confirmed, pinnedAtMs }: Pin): object {
  return {
    endpoint_id: id,
    kind,
    key,
    measurement: measurement ?? null,
    confirmed,
    pinned_at: timeText(pinnedAtMs),
  };
}

function pinTable(pins: readonly Pin[]): string {
  const rows = pins.map((one) => [
    one.endpointId,
    one.kind,
    one.key,
    one.measurement ?? "-",
    one.confirmed ? "confirmed" : "first contact",
    timeText(one.pinnedAtMs),
  ]);
  const paint = paintFor(process.stdout);
  const width = widthOf(process.stdout);
  const wide = table([["endpoint id", "kind", "key", "measurement", "by", "since"], ...rows], paint);
  if (wide.split("\n").every((line) => textWidth(line) <= width)) return wide;
  // ids and keys are typed again or compared: none may be cut, so each pin has a paragraph
  return pins.map((one) => pinLines(one, paint)).join("\n\n");
}

function pinLines(one: Pin, paint: Paint): string {
  const by = one.confirmed ? "confirmed" : "first contact";
  const lines = [
    `${paint("bold", shortId(one.endpointId))}  ${one.kind}  ${by}, ${timeText(one.pinnedAtMs)}`,
    `  ${paint("dim", "endpoint id")}  ${one.endpointId}`,
    `  ${paint("dim", "key        ")}  ${one.key}`,
    ...(one.measurement === undefined ? [] : [`  ${paint("dim", "measurement")}  ${one.measurement}`]),
  ];
  return lines.join("\n");
}

function valueText({ key, measurement }: Pin): string {
  return measurement === undefined ? key : `${key} with build ${measurement}`;
}

function confirmedText(one: Pin, before: readonly Pin[]): string {
  const was = before.find(({ kind }) => kind === one.kind);
  const what = `${one.endpointId}  ${one.kind}  ${valueText(one)}`;
  if (was === undefined) return `pinned     ${what}`;
  if (valueText(was) !== valueText(one)) return `replaced   ${what}, was ${valueText(was)}`;
  return was.confirmed ? `unchanged  ${what}` : `confirmed  ${what}`;
}

function changeText({ change, pin: one, before }: Change): string {
  const was = change === "replaced" && before ? `, was ${valueText(before)}` : "";
  return `${change.padEnd(9)}  ${one.endpointId}  ${one.kind}  ${valueText(one)}${was}`;
}

function importSummary(changes: readonly Change[], unconfirmed: number): string {
  const unchanged = changes.filter(({ change }) => change === "unchanged").length;
  const parts = [`${counted(changes.length - unchanged, "pin")} changed`, `${unchanged} as before`];
  if (unconfirmed > 0) parts.push(`${unconfirmed} left out, since nobody has confirmed them`);
  return parts.join(", ");
}

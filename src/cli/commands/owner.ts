/**
 * `sealmesh owner`: an owner's key, what it signs for nodes, and which owners this machine trusts or has revoked. Works on
 * files, also while a node uses them; asks nobody. What a claim counts for is in policy/owners.ts.
 */
import { join } from "node:path";
import type { Command as Commander } from "commander";
import { type EndpointId, endpointId } from "../../base/brand.ts";
import { fromUtf8 } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { dataDirArguments, dataDirFrom } from "../../node/config.ts";
import { defaults } from "../../node/defaults.ts";
import { makeDirectory, readSmall, writeAtomic } from "../../node/own-files.ts";
import { claimJson, decodeClaim, encodeClaim, openClaimFile, signClaim } from "../../node/owner-claim.ts";
import {
  newOwnerKey,
  openOwnerKey,
  type OwnerKey,
  type OwnerKeyFile,
  readOwnerKey,
  readPassphrase,
  writeOwnerKey,
} from "../../node/owner-key.ts";
import { type OwnerReport, ownerReport } from "../../node/owner-status.ts";
import { openOwnerBook } from "../../node/ownership.ts";
import { endpointIdIn } from "../../node/state.ts";
import { isListable, type OwnerBook, type OwnerList, withListed, withoutListed } from "../../policy/owner-book.ts";
import { judgeOwner, noOwnerTrust, type OwnerTrust, ownerStatusTexts, type OwnerVerdict } from "../../policy/owners.ts";
import { encodeOwnership, type SignedOwnership } from "../../wire/ownership.ts";
import { type CommandGroup, type NamedCommand, takesWord } from "../command.ts";
import { counted, labelled, paintFor, printJson, printLine, printNote, refusedExit } from "../output.ts";
import { askNewPassphrase, askPassphrase, checkedPassphrase } from "../passphrase.ts";

const dayMs = 86_400_000;
const usualDays = defaults.claimLifeMs / dayMs;
/** A claim cannot be taken back everywhere: whoever has not heard of it believes it to its end. */
const mostDays = 366;
/** Bytes of a claim as a file. */
const claimFileBytes = 8_192;

interface OwnerFlags {
  readonly dataDir?: string;
  readonly json?: boolean;
}

interface KeyFlags extends OwnerFlags {
  readonly ownerKey?: string;
  readonly passphraseFile?: string;
}

function addOwnerFlags(command: Commander): Commander {
  return command
    .option("--data-dir <directory>", "data directory of the node (default: the platform's place for state)")
    .option("--json", "one JSON document");
}

function addKeyFlags(command: Commander): Commander {
  command
    .option("--owner-key <file>", "file with the owner's key (default: owner-key.json in the data directory)")
    .option("--passphrase-file <file>", "file whose first line is the passphrase (default: it is asked for)");
  return addOwnerFlags(command);
}

// ---- init

interface InitFlags extends KeyFlags {
  /** false: --no-passphrase. */
  readonly passphrase?: boolean;
}

const init: NamedCommand = {
  name: "init",
  summary: "make an owner's key",
  description:
    "Makes a key that signs that nodes are yours, under a passphrase, in a file that only you can read. One key is enough " +
    "for all of your machines. Keep it, and a copy of it, where no node runs, unless nodes are to sign for themselves.",
  examples: [
    { what: "a key on a stick", line: "sealmesh owner init --owner-key /media/stick/owner-key.json" },
    { what: "for a node that signs for itself", line: "sealmesh owner init --no-passphrase" },
  ],
  addFlags: (command) => {
    addKeyFlags(command.option("--no-passphrase", "no passphrase: whoever can read the file has the key"));
  },
  run: async (given) => {
    const flags = given as InitFlags;
    if (flags.passphrase === false && flags.passphraseFile !== undefined) {
      throw new MeshError("E_USAGE", "give --passphrase-file or --no-passphrase, not both");
    }
    const file = keyPath(flags);
    if (flags.ownerKey === undefined) makeDirectory(dataDirFrom(flags.dataDir));
    const key = newOwnerKey(await newPassphrase(flags));
    writeOwnerKey(file, key);
    const isProtected = key.protection.kind === "passphrase";
    if (flags.json) printJson({ owner_id: key.ownerId, file, passphrase: isProtected });
    else {
      printLine(key.ownerId);
      printNote(`the key is in ${file}${isProtected ? "" : ", without a passphrase"}; make a copy of it`);
      printNote(`next, on each of your machines: sealmesh owner trust ${key.ownerId}`);
    }
    return 0;
  },
};

function newPassphrase({ passphrase, passphraseFile }: InitFlags): Promise<string> | string | undefined {
  if (passphrase === false) return undefined;
  if (passphraseFile === undefined) return askNewPassphrase();
  return checkedPassphrase(readPassphrase(passphraseFile, { pipe: true }));
}

// ---- sign-node, install

interface SignFlags extends KeyFlags {
  readonly id?: string;
  readonly label?: string;
  readonly days?: string;
  readonly out?: string;
}

const signNode: NamedCommand = {
  name: "sign-node",
  summary: "sign that a node is yours",
  description:
    `Signs that a node is yours, for ${usualDays} days unless you say otherwise. For the node of this machine the claim goes into ` +
    "its data directory, and a node that runs shows it within seconds. For another one it is printed, or goes into --out " +
    "FILE: carry it there, and run `sealmesh owner install` with it.",
  examples: [
    { what: "the node of this machine", line: "sealmesh owner sign-node" },
    { what: "another one", line: 'sealmesh owner sign-node ID --label "rack 4" --out claim.json' },
  ],
  addFlags: (command) => {
    takesWord(command, "id", "[id]", "endpoint id of the node, 64 hex digits (default: the node of this machine)")
      .option("--label <text>", "name of the node for people; everybody who hears of the node can read it")
      .option("--days <number>", `days for which it holds, up to ${mostDays} (default: ${usualDays})`)
      .option("--out <file>", "file to write, instead of installing or printing it");
    addKeyFlags(command);
  },
  run: async (given) => {
    const flags = given as SignFlags;
    const directory = dataDirFrom(flags.dataDir);
    const here = endpointIdIn(directory);
    const node = flags.id === undefined ? (here ?? missingNode(directory)) : nodeId(flags.id);
    const wishes = { node, nowMs: Date.now(), lifeMs: daysFrom(flags.days) * dayMs, label: labelFrom(flags.label) };
    const signed = signClaim(await openedKey(flags), wishes);
    if (flags.out !== undefined) {
      writeFile(flags.out, encodeClaim(signed));
      printNote(`${claimText(signed)}: wrote it to ${flags.out}`);
    } else if (node === here) {
      openClaimFile(directory).update(() => signed);
      printNote(`${claimText(signed)}: installed; a node that runs shows it within seconds`);
    } else if (!flags.json) printLine(encodeClaim(signed).trimEnd());
    if (flags.json) printJson(claimJson(signed));
    return 0;
  },
};

interface InstallFlags extends OwnerFlags {
  readonly file: string;
}

const install: NamedCommand = {
  name: "install",
  summary: "install a claim that was signed elsewhere",
  description:
    "Takes a claim that `sealmesh owner sign-node` wrote on another machine into the data directory of this one's node. A " +
    "claim that is not for this node, does not hold or has expired is refused.",
  examples: [{ what: "what was carried here", line: "sealmesh owner install claim.json" }],
  addFlags: (command) => {
    addOwnerFlags(takesWord(command, "file", "<file>", "file with the claim"));
  },
  run: async (given) => {
    const flags = given as unknown as InstallFlags;
    const directory = dataDirFrom(flags.dataDir);
    const node = endpointIdIn(directory) ?? missingNode(directory);
    const signed = claimIn(flags.file);
    const { status } = judged(signed, node, noOwnerTrust);
    if (status !== "verified") {
      throw new MeshError("E_INPUT", `${flags.file} was not installed: ${ownerStatusTexts[status]}`);
    }
    openClaimFile(directory).update(() => signed);
    if (flags.json) printJson(claimJson(signed));
    else printNote(`${claimText(signed)}: installed; a node that runs shows it within seconds`);
    return 0;
  },
};

// ---- trust, revoke

interface ListFlags extends OwnerFlags {
  readonly id: string;
  readonly undo?: boolean;
}

const trust: NamedCommand = {
  name: "trust",
  summary: "trust an owner's nodes",
  description:
    "Puts an owner on this machine's list of trusted ones: hosts of theirs are asked before others, and --trust-policy " +
    "allowlist admits only their nodes. Compare the id with what its owner reads out.",
  examples: [
    { what: "your own nodes", line: "sealmesh owner trust OWNER_ID" },
    { what: "no longer", line: "sealmesh owner trust OWNER_ID --undo" },
  ],
  addFlags: (command) => {
    takesWord(command, "id", "<id>", "owner id, 64 hex digits").option("--undo", "take the owner off the list");
    addOwnerFlags(command);
  },
  run: async (given) => changeBook("trustedOwners", "owner", given as unknown as ListFlags),
};

interface RevokeFlags extends ListFlags {
  readonly kind: string;
}

const revocable: Readonly<Record<string, OwnerList>> = {
  owner: "revokedOwners",
  cert: "revokedCerts",
  node: "revokedNodes",
};

const revoke: NamedCommand = {
  name: "revoke",
  summary: "refuse an owner, one claim or a node",
  description:
    "Puts an owner, one claim (by its certificate id) or a node on this machine's list of revoked ones. Such a node is " +
    "refused under every --trust-policy but off, by a node that runs within seconds. The list is this machine's: copy " +
    "trusted-owners.json to your others. A node whose owner or claim was revoked can leave its claim out, and is then a " +
    "node without an owner: to keep it out, revoke the node too, or require owners.",
  examples: [
    { what: "a stolen owner's key", line: "sealmesh owner revoke owner OWNER_ID" },
    { what: "a machine that is not yours any more", line: "sealmesh owner revoke node ENDPOINT_ID" },
    { what: "a mistake", line: "sealmesh owner revoke cert CERT_ID --undo" },
  ],
  addFlags: (command) => {
    takesWord(command, "kind", "<kind>", "owner, cert or node");
    takesWord(command, "id", "<id>", "its id: 64 hex digits, 32 of a cert").option("--undo", "take it off the list");
    addOwnerFlags(command);
  },
  run: async (given) => {
    const flags = given as unknown as RevokeFlags;
    const list = Object.hasOwn(revocable, flags.kind) ? revocable[flags.kind] : undefined;
    if (list) return changeBook(list, flags.kind, flags);
    throw new MeshError("E_USAGE", `what is revoked is owner, cert or node, not "${flags.kind}"`);
  },
};

/** @throws E_USAGE */
function changeBook(list: OwnerList, what: string, { id, undo = false, dataDir, json }: ListFlags): number {
  if (!isListable(list, id)) {
    const digits = list === "revokedCerts" ? 32 : 64;
    throw new MeshError(
      "E_USAGE",
      `the id of ${what === "owner" ? "an owner" : `a ${what}`} is ${digits} lower-case hex digits, not "${id}"`,
    );
  }
  const directory = dataDirFrom(dataDir);
  makeDirectory(directory);
  const book = openOwnerBook(directory);
  const before = book.book;
  book.update((now) => (undo ? withoutListed(now, list, id) : withListed(now, list, id)));
  const isChanged = book.book !== before;
  if (json) printJson({ data_dir: directory, changed: isChanged, ...bookJson(book.book) });
  else {
    const done = `${undo ? "no longer " : ""}${list === "trustedOwners" ? "trusted" : "revoked"}`;
    printLine(`${done}  ${what} ${id}${isChanged ? "" : ", as before"}`);
    if (isChanged) printNote(`a node that runs on ${directory} takes this up within seconds`);
  }
  return 0;
}

// ---- status

const ownerStatus: NamedCommand = {
  name: "status",
  summary: "show whose this machine's node is, and whom it trusts",
  description:
    "Shows the owner's key of this machine, where there is one, what its node shows as its owner's claim, and the lists of " +
    `trusted and revoked owners. Ends with ${refusedExit} when there is a claim that does not hold.`,
  examples: [{ what: "for programs", line: "sealmesh owner status --json" }],
  addFlags: (command) => {
    addOwnerFlags(command.option("--owner-key <file>", "file with the owner's key (default: as for init)"));
  },
  run: async (given) => {
    const flags = given as KeyFlags;
    const directory = dataDirFrom(flags.dataDir);
    const file = keyPath(flags);
    const key = readOwnerKey(file);
    const node = endpointIdIn(directory);
    const { book } = openOwnerBook(directory);
    const { trustedOwners: trusted, ...revoked } = book;
    const signed = openClaimFile(directory).book;
    const verdict = signed && node && judged(signed, node, { policy: "prefer-owned", trusted, ...revoked });
    const owner: OwnerReport = verdict ? ownerReport(verdict) : { status: "unsigned", verified: false };
    if (flags.json) {
      const shownKey = key ? { file, owner_id: key.ownerId, passphrase: key.protection.kind === "passphrase" } : null;
      printJson({ data_dir: directory, endpoint_id: node ?? null, key: shownKey, owner, ...bookJson(book) });
    } else printLine(statusText({ directory, node, file, key, owner, book }));
    return signed && !owner.verified ? refusedExit : 0;
  },
};

interface Shown {
  readonly directory: string;
  readonly node: EndpointId | undefined;
  readonly file: string;
  readonly key: OwnerKeyFile | undefined;
  readonly owner: OwnerReport;
  readonly book: OwnerBook;
}

function statusText({ directory, node, file, key, owner, book }: Shown): string {
  const paint = paintFor(process.stdout);
  const keyLines = key ? [key.ownerId, file] : [`none at ${file}`];
  const { status, owner_id: id, cert_id: cert, node_label: label, expires_at_unix_ms: expires } = owner;
  const claimLines = [
    `${status}: ${ownerStatusTexts[status]}`,
    ...(id === undefined ? [] : [`owner ${id}`]),
    ...(cert === undefined ? [] : [`cert ${cert}`]),
    ...(label === undefined ? [] : [`label ${label}`]),
    ...(expires === undefined ? [] : [`until ${timeText(expires)}`]),
  ];
  const listLines = (ids: ReadonlySet<string>): readonly string[] => (ids.size === 0 ? ["none"] : [...ids].toSorted());
  return [
    labelled("data directory", [directory], paint),
    labelled("endpoint id", [node ?? "no node has run here yet"], paint),
    labelled("owner's key", keyLines, paint),
    labelled("claim", claimLines, paint),
    labelled("trusted owners", listLines(book.trustedOwners), paint),
    labelled("revoked owners", listLines(book.revokedOwners), paint),
    labelled("revoked certs", listLines(book.revokedCerts), paint),
    labelled("revoked nodes", listLines(book.revokedNodes), paint),
  ].join("\n");
}

export const owner: CommandGroup = {
  description:
    "An owner is a key. It signs which nodes are theirs, and each machine has its own list of owners that it trusts, and of " +
    "what was revoked. Whose a node is says nothing of what it runs. Works while a node runs; docs/owners.md has it all.",
  examples: [
    { what: "a key, and this machine is yours", line: "sealmesh owner init && sealmesh owner sign-node" },
    { what: "what there is", line: "sealmesh owner status" },
  ],
  commands: [init, signNode, install, trust, revoke, ownerStatus],
};

// ---- what the words mean

function keyPath({ ownerKey, dataDir }: KeyFlags): string {
  return ownerKey ?? join(dataDirFrom(dataDir), "owner-key.json");
}

/** @throws E_INPUT, E_STATE, E_OPEN naming the file */
async function openedKey(flags: KeyFlags): Promise<OwnerKey> {
  const path = keyPath(flags);
  const file = readOwnerKey(path);
  if (!file) throw new MeshError("E_INPUT", `there is no owner's key ${path}: \`sealmesh owner init\` makes one`);
  const passphrase = file.protection.kind === "none" ? "" : await passphraseOf(path, flags);
  try {
    return openOwnerKey(file, () => passphrase);
  } catch (cause) {
    const { code, message } = toMeshError(cause);
    throw new MeshError(code === "E_OPEN" ? "E_INPUT" : code, `${path}: ${message}`, { cause });
  }
}

async function passphraseOf(path: string, { passphraseFile }: KeyFlags): Promise<string> {
  if (passphraseFile !== undefined) return readPassphrase(passphraseFile, { pipe: true });
  return askPassphrase(`Passphrase of ${path}: `);
}

/** @throws E_INPUT */
function missingNode(directory: string): never {
  const next = `start one with \`sealmesh serve${dataDirArguments(directory)}\`, or give the endpoint id of another`;
  throw new MeshError("E_INPUT", `no node has run in ${directory} yet: ${next}`);
}

/** @throws E_USAGE */
function nodeId(text: string): EndpointId {
  try {
    return endpointId(text);
  } catch (cause) {
    throw new MeshError("E_USAGE", `an endpoint id is given whole, 64 lower-case hex digits, not "${text}"`, { cause });
  }
}

/** @throws E_USAGE */
function daysFrom(text: string | undefined): number {
  if (text === undefined) return usualDays;
  if (/^[1-9][0-9]{0,2}$/.test(text) && Number(text) <= mostDays) return Number(text);
  throw new MeshError("E_USAGE", `--days takes a number from 1 to ${mostDays}, not "${text}"`);
}

/** @throws E_USAGE */
function labelFrom(text: string | undefined): string | undefined {
  if (text === undefined || /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u.test(text)) return text;
  throw new MeshError("E_USAGE", "--label takes up to 64 letters, digits, blanks, dots, dashes and underscores");
}

/** @throws E_INPUT */
function claimIn(file: string): SignedOwnership {
  const text = fromUtf8(readSmall(file, claimFileBytes, { pipe: true }));
  try {
    return decodeClaim(text);
  } catch (cause) {
    throw new MeshError("E_INPUT", `${file}: ${toMeshError(cause).message}`, { cause });
  }
}

/** @throws E_INPUT */
function writeFile(file: string, text: string): void {
  try {
    writeAtomic(file, text);
  } catch (cause) {
    throw new MeshError("E_INPUT", toMeshError(cause).message, { cause });
  }
}

function judged(signed: SignedOwnership, node: EndpointId, by: OwnerTrust): OwnerVerdict {
  return judgeOwner(encodeOwnership(signed), node, by, Date.now());
}

// ---- what is printed

function claimText({ claim }: SignedOwnership): string {
  const days = Math.max(0, Math.round((Number(claim.expiresAtMs) - Date.now()) / dayMs));
  return `node ${claim.node} is owned by ${claim.ownerId} for ${counted(days, "day")} (cert ${claim.certId})`;
}

/** A claim may name a time beyond what a date can hold. */
function timeText(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "a time that no clock shows" : date.toISOString();
}

function bookJson({ trustedOwners, revokedOwners, revokedCerts, revokedNodes }: OwnerBook): object {
  return {
    trusted_owners: [...trustedOwners].toSorted(),
    revoked_owners: [...revokedOwners].toSorted(),
    revoked_certs: [...revokedCerts].toSorted(),
    revoked_nodes: [...revokedNodes].toSorted(),
  };
}

/**
 * `sealmesh builds`: lists of known builds, made, signed and looked at. Works on files alone: it asks nobody and changes no
 * node. What such a list counts for is in policy/builds.ts and docs/builds.md.
 */
import { writeFileSync } from "node:fs";
import { fromHex, fromUtf8, toHex, utf8 } from "../../base/bytes.ts";
import { MeshError, systemCode, toMeshError } from "../../base/errors.ts";
import { isRecord, type Json } from "../../base/json.ts";
import { identityFrom, newIdentitySeed } from "../../crypto/identity.ts";
import { buildListIn, buildListText, listTrust, readBuildListFile } from "../../node/build-lists.ts";
import { buildSettings, type BuildSettings, keyText, secretFrom, secretText } from "../../node/build-settings.ts";
import { isoTime } from "../../node/build-status.ts";
import { readSmall, writeNew } from "../../node/own-files.ts";
import { listRefusals, listState, readBuildList } from "../../policy/builds.ts";
import {
  type BuildList,
  buildListSigningBytes,
  decodeBuildList,
  decodeSignedBuildList,
  encodeBuildList,
  encodeSignedBuildList,
  type ListedBuild,
  type ListSeal,
} from "../../wire/builds.ts";
import { rfc3339Ms } from "../../wire/evidence.ts";
import { limits } from "../../wire/limits.ts";
import { type CommandGroup, type NamedCommand, repeated, takesWord } from "../command.ts";
import { paintFor, printJson, printLine, printNote, refusedExit, table } from "../output.ts";

/** The largest is a document of `sealmesh measure` with every file in it. */
const fileBytes = 16_777_216;
const dayMs = 86_400_000;
/** Long enough for a holiday, short enough that a forgotten list ends. */
const defaultDays = 90;

// ---- keygen

interface KeygenFlags {
  readonly file: string;
  readonly json?: boolean;
}

const keygen: NamedCommand = {
  name: "keygen",
  summary: "make a key that signs lists",
  description:
    "Makes a key. The secret half goes into FILE, which must not be there yet and which only you can read; the other half " +
    "into FILE.pub, which nodes get by --build-keys. Keep the secret half where no node runs.",
  examples: [{ what: "a key for your mesh", line: "sealmesh builds keygen builds.key" }],
  addFlags: (command) => {
    takesWord(command, "file", "<file>", "file for the secret half").option("--json", "one JSON document");
  },
  run: async (given) => {
    const { file, json } = given as unknown as KeygenFlags;
    const seed = newIdentitySeed();
    const key: string = identityFrom(seed).id;
    if (!writeNew(file, secretText(seed))) throw new MeshError("E_INPUT", `${file} is there already; remove it first`);
    const publicFile = `${file}.pub`;
    writeText(publicFile, keyText(key));
    if (json) printJson({ key, file, public_file: publicFile });
    else {
      printLine(key);
      printNote(`the secret half is in ${file}; give ${publicFile}, or the key itself, to nodes with --build-keys`);
    }
    return 0;
  },
};

// ---- sign

interface SignFlags {
  readonly list?: string;
  readonly key?: string;
  readonly out?: string;
  readonly accept?: readonly string[];
  readonly revoke?: readonly string[];
  readonly expires?: string;
  readonly notBefore?: string;
  readonly note?: string;
  readonly seq?: string;
  readonly toSign?: string;
  readonly bundle?: string;
  readonly json?: boolean;
}

const sign: NamedCommand = {
  name: "sign",
  summary: "make a signed list of accepted builds",
  description:
    "Signs a list of builds. It begins with the builds of LIST, which is a signed list to go on from or a JSON file " +
    '({"builds": [{"version", "platform", "digest", "not_before", "expires", "revoked"}], "note"}); --accept adds ' +
    "documents of `sealmesh measure --json`, --revoke takes builds back. Each list replaces the one before as soon as a " +
    "node hears of it, so it must name all builds that are accepted. With --to-sign and --bundle the signature is a " +
    "Sigstore bundle that another tool makes.",
  examples: [
    { what: "the first list", line: "sealmesh builds sign --accept measured.json --key builds.key --out builds.txt" },
    {
      what: "take a build back",
      line: "sealmesh builds sign builds.txt --revoke DIGEST --key builds.key --out builds.txt",
    },
    { what: "what cosign is to sign", line: "sealmesh builds sign builds.json --to-sign builds.bin" },
    { what: "and its bundle", line: "sealmesh builds sign builds.bin --bundle builds.sigstore.json --out builds.txt" },
  ],
  addFlags: (command) => {
    takesWord(command, "list", "[list]", "list to begin with: signed, as JSON, or what --to-sign wrote")
      .option("--key <file>", "secret key of `sealmesh builds keygen`")
      .option("--out <file>", "file to write (default: stdout)")
      .option(
        "--accept <file>",
        "document of `sealmesh measure --json` whose build is accepted; may be repeated",
        repeated,
      )
      .option("--revoke <digest>", "digest of a build that is taken back; may be repeated", repeated)
      .option("--expires <when>", `end of the list: a time, or a number of days such as 30d (default: ${defaultDays}d)`)
      .option("--not-before <time>", "beginning of the list (default: now)")
      .option("--note <text>", "a note for people")
      .option("--seq <number>", "number of the list, above that of the one before (default: the time in ms)")
      .option("--to-sign <file>", "write what a Sigstore tool signs, instead of signing")
      .option("--bundle <file>", "Sigstore bundle over the file that --to-sign wrote")
      .option("--json", "one JSON document");
  },
  run: async (given) => {
    const flags = given as SignFlags;
    if (flags.bundle !== undefined) {
      const { list: toSign, bundle } = flags;
      if (toSign === undefined) throw new MeshError("E_USAGE", "--bundle needs the file that --to-sign wrote");
      return writeList(signedPart(readBytes(toSign), toSign), { kind: "sigstore", bundle: readBytes(bundle) }, flags);
    }
    const secret = flags.key === undefined ? undefined : secretFrom(readText(flags.key), flags.key);
    if (!secret && flags.toSign === undefined) {
      throw new MeshError("E_USAGE", "--key names the secret key that signs; for a Sigstore bundle, --to-sign a file");
    }
    const list = composed(flags, Date.now());
    if (list.builds.length === 0) {
      throw new MeshError("E_USAGE", "the list would be empty: name a list, or --accept or --revoke a build");
    }
    const signed = encodeBuildList(list);
    if (flags.toSign !== undefined) {
      writeBytes(flags.toSign, buildListSigningBytes(signed));
      printNote(`wrote what is to be signed to ${flags.toSign}`);
      return 0;
    }
    if (!secret) throw new MeshError("E_BUG", "no key");
    const signature = identityFrom(secret.seed).sign(buildListSigningBytes(signed));
    return writeList(signed, { kind: "key", key: fromHex(secret.key, 32), signature }, flags);
  },
};

function writeList(signed: Uint8Array, seal: ListSeal, { out, json }: SignFlags): number {
  const bytes = encodeSignedBuildList({ signed, seal });
  if (bytes.length > limits.buildListBytes) {
    throw new MeshError("E_INPUT", `the list has more than ${limits.buildListBytes} bytes: leave old builds out of it`);
  }
  decodeSignedBuildList(bytes); // what cannot be read back is not written
  const text = buildListText(bytes);
  if (out === undefined) printLine(text.trimEnd());
  else writeText(out, text);
  const list = decodeBuildList(signed);
  if (json && out !== undefined) printJson({ file: out, ...listDocument(list) });
  else if (out !== undefined) printNote(`wrote list ${list.seq} with ${list.builds.length} builds to ${out}`);
  return 0;
}

/** What stands behind the label in a file of --to-sign. */
function signedPart(bytes: Uint8Array, path: string): Uint8Array {
  const label = buildListSigningBytes(new Uint8Array());
  const isOurs = label.every((byte, at) => bytes[at] === byte);
  if (!isOurs) throw new MeshError("E_INPUT", `${path} is not what \`sealmesh builds sign --to-sign\` wrote`);
  const signed = bytes.slice(label.length);
  decodeBuildList(signed);
  return signed;
}

/** @throws E_INPUT, E_USAGE */
function composed(flags: SignFlags, nowMs: number): BuildList {
  const start = flags.list === undefined ? undefined : startFrom(flags.list);
  const accepted = (flags.accept ?? []).map(measured);
  const revoked = new Set((flags.revoke ?? []).map(digestFrom));
  const before = start?.builds ?? [];
  const added = accepted.filter((one) => !before.some((other) => sameBuild(one, other)));
  const builds = [...before, ...added].map((build) =>
    revoked.has(build.digest) ? { ...build, revoked: true } : build,
  );
  const unnamed = [...revoked].filter((digest) => !builds.some((build) => build.digest === digest));
  const notBeforeMs = flags.notBefore === undefined ? nowMs : timeFrom(flags.notBefore, "--not-before");
  const note = flags.note ?? start?.note;
  return {
    seq: seqFrom(flags.seq, start?.seq ?? 0n, nowMs),
    issuedAtMs: nowMs,
    notBeforeMs,
    expiresMs: endFrom(flags.expires ?? `${defaultDays}d`, notBeforeMs),
    builds: [...builds, ...unnamed.map(revokedBuild)],
    note: note === "" ? undefined : note,
  };
}

function sameBuild(a: ListedBuild, b: ListedBuild): boolean {
  return a.digest === b.digest && a.platform === b.platform && !b.revoked;
}

function revokedBuild(digest: string): ListedBuild {
  return {
    version: "unknown",
    platform: "any",
    digest,
    notBeforeMs: undefined,
    expiresMs: undefined,
    revoked: true,
  };
}

interface Start {
  readonly seq: bigint;
  readonly builds: readonly ListedBuild[];
  readonly note: string | undefined;
}

function startFrom(path: string): Start {
  const text = readText(path);
  const signed = buildListIn(text);
  if (signed) return decodeBuildList(decodeSignedBuildList(signed).signed);
  const document = jsonIn(text, path);
  const { builds, note } = document;
  if (!Array.isArray(builds) || (note !== undefined && typeof note !== "string")) {
    throw new MeshError("E_INPUT", `${path} has no list "builds", or a note that is no text`);
  }
  return { seq: 0n, builds: builds.map((build: unknown) => listedFrom(build, path)), note };
}

const buildMembers = ["version", "platform", "digest", "not_before", "expires", "revoked"];

function listedFrom(value: unknown, path: string): ListedBuild {
  const build: Json = isRecord(value) ? value : {};
  const strange = Object.keys(build).find((name) => !buildMembers.includes(name));
  if (strange !== undefined) {
    throw new MeshError("E_INPUT", `${path}: a build has no member of that name; there are ${buildMembers.join(", ")}`);
  }
  const { version, platform, digest, not_before: notBefore, expires, revoked = false } = build;
  if (typeof version !== "string" || typeof platform !== "string" || typeof revoked !== "boolean") {
    throw new MeshError(
      "E_INPUT",
      `${path}: a build needs a version, a platform and a digest; revoked is true or false`,
    );
  }
  return {
    version,
    platform,
    digest: digestFrom(String(digest)),
    notBeforeMs: typeof notBefore === "string" ? timeFrom(notBefore, "not_before") : undefined,
    expiresMs: typeof expires === "string" ? timeFrom(expires, "expires") : undefined,
    revoked,
  };
}

/** The build in a document of `sealmesh measure --json`. */
function measured(path: string): ListedBuild {
  const { build, version, platform, problems } = jsonIn(readText(path), path);
  if (typeof build !== "string" || typeof platform !== "string") {
    throw new MeshError(
      "E_INPUT",
      `${path} is no document of \`sealmesh measure --json\`: it names no build and platform`,
    );
  }
  if (Array.isArray(problems) && problems.length > 0) {
    throw new MeshError("E_INPUT", `${path}: that installation could not be measured whole; see its "problems"`);
  }
  const name = typeof version === "string" && version !== "" ? version : "unknown";
  return {
    version: name,
    platform,
    digest: digestFrom(build),
    notBeforeMs: undefined,
    expiresMs: undefined,
    revoked: false,
  };
}

function digestFrom(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  throw new MeshError("E_INPUT", "a digest of a build is 64 lower-case hex digits");
}

function seqFrom(text: string | undefined, before: bigint, nowMs: number): bigint {
  if (text === undefined) return before >= BigInt(nowMs) ? before + 1n : BigInt(nowMs);
  if (!/^[0-9]{1,19}$/.test(text)) throw new MeshError("E_USAGE", "--seq takes a whole number");
  const seq = BigInt(text);
  if (seq > before) return seq;
  throw new MeshError(
    "E_USAGE",
    `--seq must be above ${before}, that of the list to begin with: nodes keep the higher one`,
  );
}

function endFrom(text: string, startMs: number): number {
  const [, days] = /^([0-9]{1,5})d$/.exec(text) ?? [];
  return days === undefined ? timeFrom(text, "--expires") : startMs + Number(days) * dayMs;
}

function timeFrom(text: string, name: string): number {
  const ms = rfc3339Ms(text);
  if (ms !== undefined && ms >= 0) return Math.floor(ms);
  throw new MeshError("E_INPUT", `${name} takes a time such as 2030-01-31T00:00:00Z`);
}

// ---- verify and show

interface VerifyFlags {
  readonly file: string;
  readonly buildKeys?: readonly string[];
  readonly sigstoreRoot?: string;
  readonly sigstoreIssuer?: string;
  readonly sigstoreIdentity?: string;
  readonly at?: string;
  readonly json?: boolean;
}

const verify: NamedCommand = {
  name: "verify",
  summary: "check a list's signature and times",
  description:
    "Checks whether a signed list is by one of the given keys, or by the given Sigstore identity, and whether it is in " +
    "force. Ends with 77 when it is not.",
  examples: [{ what: "before it is published", line: "sealmesh builds verify builds.txt --build-keys builds.key.pub" }],
  addFlags: (command) => {
    takesWord(command, "file", "<file>", "signed list")
      .option("--build-keys <key>", "key that may have signed it, or a file with such keys; may be repeated", repeated)
      .option("--sigstore-root <file>", "trusted_root.json with certificate authorities and logs")
      .option("--sigstore-issuer <url>", "issuer of the identity that must have signed it")
      .option("--sigstore-identity <name>", "that identity; a last * stands for any ending")
      .option("--at <time>", "check as of this time (default: now)")
      .option("--json", "one JSON document");
  },
  run: async (given) => {
    const flags = given as unknown as VerifyFlags;
    const settings = signersFrom(flags);
    const bytes = readBuildListFile(flags.file);
    const nowMs = flags.at === undefined ? Date.now() : timeFrom(flags.at, "--at");
    const read = readBuildList(bytes, await listTrust(settings), nowMs);
    if (read.kind === "refused") {
      const { reason, why } = read;
      const text = listRefusals[reason];
      if (flags.json) printJson({ good: false, reason, text, why: why ?? null });
      else printLine(why === undefined ? text : `${text} (${why})`);
      return refusedExit;
    }
    const { signer, list } = read.list;
    const state = listState(list, nowMs);
    if (flags.json) printJson({ good: state === "in force", signer, state, ...listDocument(list) });
    else printLine(`signed by ${signer}\n${stateText(list, nowMs)}`);
    return state === "in force" ? 0 : refusedExit;
  },
};

function signersFrom(flags: VerifyFlags): BuildSettings {
  try {
    const settings = buildSettings({
      sources: undefined,
      sourcesName: "",
      keys: flags.buildKeys ?? [],
      keysName: "--build-keys",
      sigstoreRoot: flags.sigstoreRoot,
      sigstoreIssuer: flags.sigstoreIssuer,
      sigstoreIdentity: flags.sigstoreIdentity,
    });
    if (settings) return settings;
  } catch (cause) {
    throw new MeshError("E_USAGE", toMeshError(cause).message, { cause });
  }
  throw new MeshError("E_USAGE", "--build-keys says who may have signed it; `sealmesh builds show` looks without");
}

const show: NamedCommand = {
  name: "show",
  summary: "print what stands in a list",
  description:
    "Prints a signed list, and the key that it names. Checks no signature: that is `sealmesh builds verify`.",
  examples: [{ what: "for programs", line: "sealmesh builds show builds.txt --json" }],
  addFlags: (command) => {
    takesWord(command, "file", "<file>", "signed list").option("--json", "one JSON document");
  },
  run: async (given) => {
    const { file, json } = given as unknown as VerifyFlags;
    const { signed, seal } = decodeSignedBuildList(readBuildListFile(file));
    const list = decodeBuildList(signed);
    const signer = seal.kind === "key" ? toHex(seal.key) : "a Sigstore bundle";
    if (json) printJson({ signer: seal.kind === "key" ? toHex(seal.key) : null, ...listDocument(list) });
    else {
      const { builds: listed, note } = list;
      const said = note === undefined ? [] : [note];
      printLine([`list ${list.seq}, says that it is by ${signer}`, stateText(list, Date.now()), ...said].join("\n"));
      const rows = listed.map(({ version, platform, digest, revoked, notBeforeMs, expiresMs }) => [
        digest,
        version,
        platform,
        revoked ? "revoked" : "accepted",
        notBeforeMs === undefined ? "-" : isoTime(notBeforeMs),
        expiresMs === undefined ? "-" : isoTime(expiresMs),
      ]);
      printLine(table([["digest", "version", "platform", "", "from", "until"], ...rows], paintFor(process.stdout)));
    }
    return 0;
  },
};

function stateText(list: BuildList, nowMs: number): string {
  return `${listState(list, nowMs)}: from ${isoTime(list.notBeforeMs)} until ${isoTime(list.expiresMs)}`;
}

function listDocument({ seq, issuedAtMs, notBeforeMs, expiresMs, builds: listed, note }: BuildList): object {
  return {
    seq: seq.toString(),
    issued_at: isoTime(issuedAtMs),
    not_before: isoTime(notBeforeMs),
    expires: isoTime(expiresMs),
    note: note ?? null,
    builds: listed.map(({ version, platform, digest, revoked, ...times }) => ({
      version,
      platform,
      digest,
      ...(times.notBeforeMs === undefined ? {} : { not_before: isoTime(times.notBeforeMs) }),
      ...(times.expiresMs === undefined ? {} : { expires: isoTime(times.expiresMs) }),
      revoked,
    })),
  };
}

// ---- files

function readBytes(path: string): Uint8Array {
  return readSmall(path, fileBytes, { pipe: true });
}

function readText(path: string): string {
  return fromUtf8(readBytes(path));
}

function jsonIn(text: string, path: string): Json {
  try {
    const document: unknown = JSON.parse(text);
    if (isRecord(document)) return document;
  } catch {
    // told below
  }
  throw new MeshError("E_INPUT", `${path} holds neither a signed list nor a JSON object`);
}

function writeText(path: string, text: string): void {
  writeBytes(path, utf8(text));
}

function writeBytes(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    throw new MeshError("E_INPUT", `${path} cannot be written (${systemCode(cause)})`, { cause });
  }
}

export const builds: CommandGroup = {
  description:
    "Lists of builds that you accept, and of those that you have taken back. Nodes take them with --allow-builds and " +
    "--build-keys, and hear of newer ones from their peers. A host's word on its build is its own: docs/builds.md.",
  examples: [...keygen.examples, ...sign.examples.slice(0, 2), ...verify.examples],
  commands: [keygen, sign, verify, show],
};

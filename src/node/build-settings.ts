/**
 * Settings of known builds: where lists are read, whose signature on them counts. From texts of flags, variables and the
 * configuration file to checked values; called by config.ts.
 *
 *   key file      "sealmesh-builds-key:" and 64 hex digits a line; others are skipped when blank or beginning with #
 *   secret key    "sealmesh-builds-secret:" and 64 hex digits, 0600: never taken for a key that is trusted
 */
import { resolve } from "node:path";
import { fromBase64, fromHex, fromUtf8, toHex } from "../base/bytes.ts";
import { MeshError, toMeshError } from "../base/errors.ts";
import { isLoopback } from "../base/loopback.ts";
import { identityFrom } from "../crypto/identity.ts";
import { limits } from "../wire/limits.ts";
import type { BuildSource } from "./build-lists.ts";
import { isBuildKey, isUrl } from "./config-kinds.ts";
import { readSmall } from "./own-files.ts";

export interface BuildSettings {
  /** Files and addresses with lists, one of whose builds every host must say that it runs; undefined: any build will do. */
  readonly sources: readonly BuildSource[] | undefined;
  /** Ed25519 keys whose lists count, 64 lower-case hex digits each. */
  readonly keys: readonly string[];
  /** The identity whose Sigstore bundles count beside them. */
  readonly sigstore: SigstoreSettings | undefined;
}

export interface SigstoreSettings {
  /** Text of a trusted_root.json. */
  readonly trustedRoot: string;
  readonly issuer: string;
  readonly identity: string;
}

/** Texts as they were given, and the name of the setting that gave them. */
export interface BuildTexts {
  readonly sources: readonly string[] | undefined;
  readonly sourcesName: string;
  readonly keys: readonly string[];
  readonly keysName: string;
  readonly sigstoreRoot: string | undefined;
  readonly sigstoreIssuer: string | undefined;
  readonly sigstoreIdentity: string | undefined;
}

const keyPrefix = "sealmesh-builds-key:";
const secretPrefix = "sealmesh-builds-secret:";
/** A few keys and comments. */
const keyFileBytes = 16_384;
/** The public one has some 40 KiB. */
const rootBytes = 1_048_576;

/** @returns undefined when nothing is set · @throws E_CONFIG naming the setting and what it takes */
export function buildSettings(texts: BuildTexts): BuildSettings | undefined {
  const { sourcesName, keysName } = texts;
  const sources = texts.sources?.map((text) => sourceFrom(text, sourcesName));
  const keys = [...new Set(texts.keys.flatMap((text) => keysFrom(text, keysName)))];
  const sigstore = sigstoreFrom(texts);
  if (sources === undefined && keys.length === 0 && !sigstore) return undefined;
  if (keys.length === 0 && !sigstore) {
    const what = "there is nobody whose signature on a list counts: give --build-keys, or [policy] build_keys";
    throw new MeshError("E_CONFIG", `${sourcesName}: ${what}`);
  }
  if (keys.length + (sigstore ? 1 : 0) > limits.buildListsPerFrame) {
    throw new MeshError("E_CONFIG", `${keysName}: at most ${limits.buildListsPerFrame} signers can be trusted`);
  }
  return { sources, keys, sigstore };
}

/** @throws E_CONFIG */
function sourceFrom(text: string, name: string): BuildSource {
  if (!isUrl(text)) return { kind: "file", path: resolve(text) };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const secure = url?.protocol === "https:" || (url?.protocol === "http:" && isLoopback(url.hostname));
  if (!url || !secure) {
    const why = "an older list, or none, could be put in its place on the way";
    throw new MeshError("E_CONFIG", `${name} takes files and https:// addresses (${why}), not "${text}"`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new MeshError("E_CONFIG", `${name}: the address of ${url.host} has a user name or password in it`);
  }
  return { kind: "url", url: url.href };
}

/** @param text a key, or the path of a file with keys · @returns hex · @throws E_CONFIG naming the setting */
export function keysFrom(text: string, name: string): readonly string[] {
  if (isBuildKey(text)) return [keyFrom(text, name)];
  const lines = readText(text, keyFileBytes, name).split(/\r?\n/);
  const told = lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  if (told.some((line) => line.startsWith(secretPrefix))) {
    throw new MeshError("E_CONFIG", `${name}: ${text} is the secret half: name the file of the key, or the key itself`);
  }
  if (told.length === 0) throw new MeshError("E_CONFIG", `${name}: ${text} holds no key`);
  return told.map((line) => keyFrom(line.startsWith(keyPrefix) ? line.slice(keyPrefix.length) : line, name));
}

function keyFrom(text: string, name: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  try {
    return toHex(fromBase64(text, 32));
  } catch (cause) {
    const what = "keys of 64 lower-case hex digits or base64 of 32 bytes, or files with such keys";
    throw new MeshError("E_CONFIG", `${name} takes ${what}`, { cause });
  }
}

function sigstoreFrom(texts: BuildTexts): SigstoreSettings | undefined {
  const { sigstoreRoot: root, sigstoreIssuer: issuer, sigstoreIdentity: identity } = texts;
  const given = [root, issuer, identity].filter((part) => part !== undefined).length;
  if (given === 0) return undefined;
  if (root === undefined || issuer === undefined || identity === undefined) {
    const what = "sigstore_root, sigstore_issuer and sigstore_identity belong together: give all three or none";
    throw new MeshError("E_CONFIG", `[policy] ${what}`);
  }
  // with nothing before the star, anybody that the issuer knows could sign
  if (identity.replace(/\*$/, "").length < 8 || identity.slice(0, -1).includes("*")) {
    const what = "one identity, such as https://github.com/me/sealmesh/.github/workflows/release.yml@refs/tags/v1.0.0";
    throw new MeshError("E_CONFIG", `[policy] sigstore_identity takes ${what}; a last * stands for any ending`);
  }
  return { trustedRoot: readText(root, rootBytes, "[policy] sigstore_root"), issuer, identity };
}

/** What says who is trusted must not be open to others. @throws E_CONFIG */
function readText(path: string, bytes: number, name: string): string {
  try {
    return fromUtf8(readSmall(path, bytes, { trusted: true }));
  } catch (cause) {
    throw new MeshError("E_CONFIG", `${name}: ${toMeshError(cause).message}`, { cause });
  }
}

// ---- key files

export function keyText(key: string): string {
  return `# lists of builds that this key signs: give it to --build-keys\n${keyPrefix}${key}\n`;
}

/** @param seed 32 bytes */
export function secretText(seed: Uint8Array): string {
  return `# signs lists of builds (\`sealmesh builds sign\`): keep it where no node runs\n${secretPrefix}${toHex(seed)}\n`;
}

/** @returns the 32-byte seed in a file's text, and its key as hex · @throws E_INPUT */
export function secretFrom(text: string, path: string): { readonly seed: Uint8Array; readonly key: string } {
  const line = text.split(/\r?\n/).find((one) => one.startsWith(secretPrefix));
  try {
    if (line === undefined) throw new MeshError("E_INPUT", "no such line");
    const seed = fromHex(line.slice(secretPrefix.length).trim(), 32);
    return { seed, key: identityFrom(seed).id };
  } catch (cause) {
    throw new MeshError("E_INPUT", `${path} holds no secret key of \`sealmesh builds keygen\``, { cause });
  }
}

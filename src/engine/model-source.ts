/**
 * Where a model comes from when it is no file of this machine: `hf:ORG/REPO[@REVISION]/FILE.gguf`, an https address, or an
 * http one of this machine itself. Parsed once, strictly: what is named here becomes a path below the cache directory.
 * Pure: knows no network and no disk. Called by node/model-settings.ts; download.ts fetches what is found here.
 */
import { createHash } from "node:crypto";
import { MeshError } from "../base/errors.ts";
import { isLoopback } from "../base/loopback.ts";

/** One file behind an address. */
export interface RemoteFile {
  /** Without fragment, user name and password. */
  readonly url: URL;
  /** Path below the cache directory, parts without "/"; each is safe as a name. */
  readonly place: readonly string[];
  /** SHA-256 that the operator gave, 64 lower-case hex digits. */
  readonly sha256: string | undefined;
}

export interface ModelSource {
  /** As it was given, for people. */
  readonly text: string;
  /** One, or all parts of a split model in their order; the first is the one that is loaded. */
  readonly files: readonly [RemoteFile, ...RemoteFile[]];
  /** The only origin that gets `token` and whose word on checksums counts; undefined: no Hugging Face address. */
  readonly huggingFace: string | undefined;
}

export const huggingFaceUrl = "https://huggingface.co";

/** Organisations and repositories there. */
const repositoryName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$/;
/** Names of branches, tags and commits; those with a slash are not taken. */
const revisionName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** One part of a path: nothing hidden, nothing that leads up, nothing that a shell or a disk reads in its own way. */
const pathPart = /^[A-Za-z0-9_][A-Za-z0-9._+-]{0,191}$/;
const mostParts = 6;
/** Parts of one model; the largest have about a hundred. */
const mostFiles = 512;

/** Whether this names something to download, well formed or not; everything else is a file's path. */
export function isRemote(text: string): boolean {
  return /^(?:hf:|[A-Za-z][A-Za-z0-9+.-]+:\/\/)/.test(text);
}

/**
 * @param text     what stands behind --model, for which isRemote() holds
 * @param endpoint of Hugging Face, or of a mirror
 * @throws         E_USAGE naming what is wrong, and what is expected
 */
export function modelSource(text: string, endpoint: string = huggingFaceUrl): ModelSource {
  const hub = endpointUrl(endpoint);
  const at = text.indexOf("#");
  const address = at === -1 ? text : text.slice(0, at);
  const sha256 = at === -1 ? undefined : checksum(text.slice(at + 1));
  if (address.startsWith("hf:")) return hubSource(text, address.slice(3), sha256, hub);
  const url = modelUrl(address);
  const path = hubPath(url, hub);
  if (path !== undefined) return hubSource(text, path, sha256, hub);
  const name = lastName(url);
  const key = createHash("sha256").update(url.href).digest("hex").slice(0, 16);
  const first = { url, place: ["url", hostName(url), key, name], sha256 };
  const files = partNames(name, sha256).map((part): RemoteFile => {
    const partUrl = new URL(url);
    partUrl.pathname = url.pathname.replace(/[^/]*$/, encodeURIComponent(part));
    return part === name ? first : { url: partUrl, place: [...first.place.slice(0, -1), part], sha256: undefined };
  });
  return { text: shown(text), files: [files[0] ?? first, ...files.slice(1)], huggingFace: undefined };
}

/** An address as it may be shown: what stands behind "?" can be a key. */
export function shown(text: string): string {
  return text.replace(/\?[^#]*/, "").slice(0, 300);
}

// ---- Hugging Face

/** @param path ORG/REPO[@REVISION]/FILE.gguf */
function hubSource(text: string, path: string, sha256: string | undefined, hub: URL): ModelSource {
  const [organisation = "", named = "", ...rest] = path.split("/");
  const [repository = "", revision = "main", ...more] = named.split("@");
  const name = rest.at(-1);
  const isWell =
    repositoryName.test(organisation) &&
    repositoryName.test(repository) &&
    revisionName.test(revision) &&
    more.length === 0 &&
    rest.length <= mostParts &&
    rest.every((part) => isPathPart(part)) &&
    ![organisation, repository, revision].some((part) => part.includes("..") || part.endsWith("."));
  if (!isWell || name === undefined || !isGguf(name)) {
    const form = "hf:ORG/REPO/FILE.gguf, with @REVISION behind REPO if another one than main is wanted";
    throw new MeshError("E_USAGE", `--model takes ${form}, not "${shown(text)}"`);
  }
  const file = (part: string): RemoteFile => {
    const inside = [...rest.slice(0, -1), part];
    const url = new URL(hub);
    const base = hub.pathname.replace(/\/+$/, "");
    url.pathname = `${base}/${organisation}/${repository}/resolve/${revision}/${inside.join("/")}`;
    return { url, place: ["hf", organisation, repository, revision, ...inside], sha256 };
  };
  const [first = file(name), ...others] = partNames(name, sha256).map(file);
  return { text: shown(text), files: [first, ...others], huggingFace: hub.origin };
}

/** A link copied from a page of Hugging Face, as ORG/REPO@REVISION/FILE; undefined: it leads elsewhere. */
function hubPath(url: URL, hub: URL): string | undefined {
  if (url.origin !== hub.origin) return undefined;
  const path = url.pathname.slice(hub.pathname.replace(/\/+$/, "").length);
  const [, repository, revision, file] = /^\/([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/(.+)$/.exec(path) ?? [];
  return file === undefined ? undefined : `${repository}@${revision}/${file}`;
}

function endpointUrl(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !isSafe(url)) {
    throw new MeshError("E_USAGE", `HF_ENDPOINT takes an https address, such as ${huggingFaceUrl}, not "${endpoint}"`);
  }
  return new URL(`${url.origin}${url.pathname}`);
}

// ---- addresses

function modelUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new MeshError(
      "E_USAGE",
      `--model takes a file, hf:ORG/REPO/FILE.gguf or an https address, not "${shown(text)}"`,
    );
  }
  if (url.username !== "" || url.password !== "") {
    const why = "which other users of this machine can read in a list of processes: leave it out";
    throw new MeshError("E_USAGE", `--model: the address of ${url.host} has a user name or password in it, ${why}`);
  }
  if (isSafe(url)) return url;
  const why = "what comes by http from another machine can be changed on the way: use https";
  throw new MeshError("E_USAGE", `--model ${shown(text)}: ${why}`);
}

/** https, or http that does not leave this machine. */
export function isSafe({ protocol, hostname, username, password }: URL): boolean {
  if (username !== "" || password !== "") return false;
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
}

function lastName(url: URL): string {
  const last = url.pathname.split("/").at(-1) ?? "";
  let name = "";
  try {
    name = decodeURIComponent(last);
  } catch {
    // a percent sign that says nothing: refused below
  }
  if (isPathPart(name) && isGguf(name)) return name;
  const what = "its path must end in NAME.gguf, of letters, digits, dots, dashes, plus signs and underscores";
  throw new MeshError("E_USAGE", `--model ${shown(url.href)}: ${what}; the name becomes the model's`);
}

function isPathPart(part: string): boolean {
  return pathPart.test(part) && !part.includes("..") && !part.endsWith(".");
}

function isGguf(name: string): boolean {
  return /[^.]\.gguf$/i.test(name);
}

/** A host and port as one name of a folder. */
function hostName({ host }: URL): string {
  return host.replaceAll(/[^A-Za-z0-9.-]/g, "_").slice(0, 100);
}

function checksum(fragment: string): string {
  const [, digits] = /^sha256=([0-9a-fA-F]{64})$/.exec(fragment) ?? [];
  if (digits !== undefined) return digits.toLowerCase();
  throw new MeshError("E_USAGE", `--model: behind # stands sha256= and 64 hex digits, not "${fragment.slice(0, 100)}"`);
}

/** All parts of a split model, of which the first was named; one name otherwise. */
function partNames(name: string, sha256: string | undefined): readonly string[] {
  const [, stem = "", part = "", count = ""] = /^(.*)-([0-9]{5})-of-([0-9]{5})\.gguf$/i.exec(name) ?? [];
  if (count === "") return [name];
  const total = Number(count);
  if (Number(part) !== 1 || total < 1 || total > mostFiles) {
    const first = `${stem}-00001-of-${count}.gguf`;
    throw new MeshError("E_USAGE", `--model: ${name} is one part of a model; name the first one, ${first}`);
  }
  if (sha256 !== undefined && total > 1) {
    throw new MeshError("E_USAGE", `--model: #sha256= is of one file, and this model has ${total}: leave it out`);
  }
  return Array.from(
    { length: total },
    (_, at) => `${stem}-${String(at + 1).padStart(5, "0")}-of-${count}${name.slice(-5)}`,
  );
}

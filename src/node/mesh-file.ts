/**
 * Which mesh this node belongs to: mesh.json in the data directory, and mesh-authority where a mesh was made here. Written by
 * the node that holds the directory's lock, and by nobody else. Who is admitted is for admission.ts.
 */
import { type AuthorityKey, authorityKey } from "../base/brand.ts";
import { fromBase64Url, fromHex, toBase64Url, toHex } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { isRecord, type Json, parseJsonText } from "../base/json.ts";
import { meshIdOf } from "../crypto/admission.ts";
import { newIdentitySeed } from "../crypto/identity.ts";
import { isName } from "../wire/gossip.ts";
import { type MinimumPolicy, policyFrom, policyJson } from "../wire/invite.ts";
import { limits } from "../wire/limits.ts";
import { defaults } from "./defaults.ts";
import { readOwn, unusable, writeAtomic } from "./own-files.ts";

export type KnownMesh =
  | {
      readonly mode: "invite";
      /** 32 hex digits, made of the authority. */
      readonly id: string;
      readonly name: string | undefined;
      readonly authority: AuthorityKey;
      /** Encoded; undefined: we were not admitted so far. Whether it holds is not said here. */
      readonly credential: Uint8Array | undefined;
      readonly minimum?: MinimumPolicy | undefined;
    }
  | {
      readonly mode: "open";
      /** Hex digits; undefined until a member of it has told. */
      readonly id: string | undefined;
      readonly name: string | undefined;
      /** What invites to it demanded of hosts: it holds for as long as the node is a member. @default nothing */
      readonly minimum?: MinimumPolicy | undefined;
    };

/** The mesh of the last start first. @throws E_STATE */
export function readMeshes(path: string): readonly KnownMesh[] {
  const text = readOwn(path);
  if (text === undefined) return [];
  try {
    return decodeMeshes(text);
  } catch (cause) {
    // a node that forgot that its mesh is closed would make another one, open or not
    const what = "is damaged. It says to which mesh this node belongs; restore it, or move it away and join anew";
    throw unusable(path, what, cause);
  }
}

/** Those that were not used for the longest time are forgotten first. @throws E_STATE */
export function writeMeshes(path: string, meshes: readonly KnownMesh[]): void {
  writeAtomic(path, encodeMeshes(meshes.slice(0, defaults.meshesKept)));
}

export function encodeMeshes(meshes: readonly KnownMesh[]): string {
  return `${JSON.stringify({ version: 1, meshes: meshes.map(meshJson) })}\n`;
}

/** @throws MeshError it is not what {@link encodeMeshes} writes */
export function decodeMeshes(text: string): readonly KnownMesh[] {
  const json = parseJsonText(text);
  if (!isRecord(json) || json["version"] !== 1 || !Array.isArray(json["meshes"])) {
    throw new MeshError("E_INPUT", "it is not a list of meshes");
  }
  return json["meshes"].map(meshFrom);
}

function meshJson(mesh: KnownMesh): Json {
  const name = mesh.name === undefined ? {} : { name: mesh.name };
  const policy = mesh.minimum ? { policy: policyJson(mesh.minimum) } : {};
  const said = { ...name, ...policy };
  if (mesh.mode === "open") return { mode: mesh.mode, ...(mesh.id === undefined ? {} : { id: mesh.id }), ...said };
  const { mode, id, authority, credential } = mesh;
  return { mode, id, ...said, authority, ...(credential ? { credential: toBase64Url(credential) } : {}) };
}

function meshFrom(json: unknown): KnownMesh {
  if (!isRecord(json)) throw new MeshError("E_INPUT", "a mesh in it is no object");
  const { mode, id, name } = json;
  if (name !== undefined && (typeof name !== "string" || !isName(name))) {
    throw new MeshError("E_INPUT", "the name of a mesh in it is none");
  }
  const minimum = json["policy"] === undefined ? {} : { minimum: policyFrom(json["policy"]) };
  if (mode === "open") {
    if (id !== undefined && !isMeshId(id)) throw new MeshError("E_INPUT", "the id of a mesh in it is none");
    return { mode, id, name, ...minimum };
  }
  if (mode !== "invite") throw new MeshError("E_INPUT", "a mesh in it is neither open nor by invite");
  const authority = authorityKey(textOf(json["authority"]));
  if (id !== meshIdOf(authority)) throw new MeshError("E_INPUT", "the id of a mesh is not that of its authority");
  return { mode, id, name, ...minimum, authority, credential: credentialFrom(json["credential"]) };
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw new MeshError("E_INPUT", "a text in it is none");
  return value;
}

/** 16 digits for a named mesh, 32 for any other; later versions of mesh-llm have longer ones. */
export function isMeshId(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{16,64}$/.test(value);
}

function credentialFrom(value: unknown): Uint8Array | undefined {
  if (value === undefined) return undefined;
  const bytes = fromBase64Url(textOf(value));
  if (bytes.length > limits.credentialBytes) throw new MeshError("E_INPUT", "a credential in it is too long");
  return bytes;
}

/** 32-byte seed of the authority that was made here; undefined: none was. @throws E_STATE */
export function readAuthority(path: string): Uint8Array | undefined {
  const text = readOwn(path);
  if (text === undefined) return undefined;
  try {
    return fromHex(text.trim(), 32);
  } catch (cause) {
    const what =
      "does not hold 64 hex digits. It is the key of the mesh that was made here; restore it, or move it away";
    throw unusable(path, what, cause);
  }
}

/** @returns the seed of the authority, made if there is none, and on disk. @throws E_STATE */
export function authoritySeed(path: string): Uint8Array {
  const known = readAuthority(path);
  if (known) return known;
  const seed = newIdentitySeed();
  writeAtomic(path, `${toHex(seed)}\n`);
  return seed;
}

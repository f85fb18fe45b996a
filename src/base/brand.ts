/** Nominal strings: a branded id can only come from the function that checked it. */
import { toHex } from "./bytes.ts";
import { MeshError } from "./errors.ts";

declare const brand: unique symbol;
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** Ed25519 public key of a node, 64 lower-case hex digits. */
export type EndpointId = Brand<string, "EndpointId">;

/** @throws E_WIRE unless `text` is 64 lower-case hex digits */
export function endpointId(text: string): EndpointId {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new MeshError("E_WIRE", "an endpoint id is 64 lower-case hex digits");
  return text as EndpointId;
}

/** @throws E_WIRE unless `bytes` are 32 */
export function endpointIdFromBytes(bytes: Uint8Array): EndpointId {
  if (bytes.length !== 32) throw new MeshError("E_WIRE", `an endpoint id has 32 bytes, not ${bytes.length}`);
  return toHex(bytes) as EndpointId;
}

/** Ed25519 public key of the authority of an invite-only mesh, 64 lower-case hex digits: it names the mesh, and no node. */
export type AuthorityKey = Brand<string, "AuthorityKey">;

/** @throws E_WIRE unless `text` is 64 lower-case hex digits */
export function authorityKey(text: string): AuthorityKey {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new MeshError("E_WIRE", "a mesh's authority is 64 lower-case hex digits");
  return text as AuthorityKey;
}

/** @throws E_WIRE unless `bytes` are 32 */
export function authorityKeyFromBytes(bytes: Uint8Array): AuthorityKey {
  if (bytes.length !== 32) throw new MeshError("E_WIRE", `a mesh's authority has 32 bytes, not ${bytes.length}`);
  return toHex(bytes) as AuthorityKey;
}

/** First 10 hex digits, for logs and lists (protocol.md §1.1). */
export function shortId(id: EndpointId): string {
  return id.slice(0, 10);
}

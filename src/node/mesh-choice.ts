/**
 * Which mesh a node belongs to from this start on: by the invites it was given, by what its directory remembers, or a new one.
 * Pure; admission.ts carries it out. What is meant as closed never becomes open by itself.
 */
import type { AuthorityKey } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import { meshIdOf } from "../crypto/admission.ts";
import type { Invite } from "../wire/invite.ts";
import type { KnownMesh } from "./mesh-file.ts";

export interface MeshWish {
  /** For messages. */
  readonly directory: string;
  /** Of earlier starts, the last one first. */
  readonly known: readonly KnownMesh[];
  readonly invites: readonly Invite[];
  /** Whether the operator wants an open mesh. */
  readonly open: boolean;
  /** Whether the operator wants one that asks for invites, and says so. @default nothing is said */
  readonly inviteOnly?: boolean | undefined;
  readonly name: string | undefined;
  /** Of an open mesh with that name; undefined: any. */
  readonly openId: string | undefined;
}

export type MeshChoice =
  | { readonly kind: "known"; readonly mesh: KnownMesh }
  /** An invite-only mesh of our own. */
  | { readonly kind: "create" };

/** @throws E_USAGE invites that do not go together · E_CONFIG the directory belongs to an invite-only mesh */
export function chooseMesh(wish: MeshWish): MeshChoice {
  const { known, invites, name } = wish;
  const authority = authorityOf(wish);
  if (authority !== undefined) {
    const id = meshIdOf(authority);
    const told = invites.find((invite) => invite.name !== undefined)?.name;
    const mesh = known.find((one) => one.mode === "invite" && one.id === id);
    if (mesh) return { kind: "known", mesh: { ...mesh, name: mesh.name ?? told } };
    return { kind: "known", mesh: { mode: "invite", id, name: told, authority, credential: undefined } };
  }
  if (wish.inviteOnly && (wish.open || invites.length > 0 || known[0]?.mode === "open")) throw notInviteOnly(wish);
  if (wish.open || invites.length > 0) return { kind: "known", mesh: openMesh(wish) };
  const [last] = known;
  return last ? { kind: "known", mesh: { ...last, name: last.name ?? name } } : { kind: "create" };
}

/** It would be listed as one that asks for invites, and ask for none. */
function notInviteOnly({ directory, open, invites }: MeshWish): MeshError {
  if (open) return new MeshError("E_USAGE", "--open-mesh and --invite-only exclude each other: leave one of them out");
  const what = invites.length > 0 ? "this invite is for an open mesh" : `${directory} belongs to an open mesh`;
  const next = "leave it out, or give the node a directory of its own with --data-dir";
  return new MeshError("E_CONFIG", `${what}, and --invite-only asks for another one: ${next}`);
}

/** Of the one invite-only mesh that the invites admit to; undefined: to none. */
function authorityOf({ invites, open }: MeshWish): AuthorityKey | undefined {
  const authorities = new Set(invites.map(({ granted }) => granted?.grant.authority));
  if (authorities.size > 1) {
    const what = authorities.has(undefined)
      ? "one of these invites is for an invite-only mesh, and another one is for an open one"
      : "these invites are for different meshes";
    throw new MeshError("E_USAGE", `${what}: give those of one mesh`);
  }
  const [authority] = authorities;
  if (authority !== undefined && open) {
    throw new MeshError(
      "E_USAGE",
      "--open-mesh does not go with an invite to an invite-only mesh: leave one of them out",
    );
  }
  return authority;
}

function openMesh({ directory, known: [last], invites, name, openId }: MeshWish): KnownMesh {
  if (last?.mode === "invite") {
    const what = `${directory} belongs to the invite-only mesh ${last.id}`;
    const why = invites.length > 0 ? "this invite is for an open one" : "an open one was asked for";
    throw new MeshError("E_CONFIG", `${what}, and ${why}: give the node a directory of its own with --data-dir`);
  }
  // who joins an open mesh by address learns its id there
  if (last && (openId === undefined || openId === last.id)) return { ...last, name: name ?? last.name };
  return { mode: "open", id: openId, name };
}

/**
 * The grants that this node has issued, and who was admitted by them: invites.json in the data directory. Pure: a book goes
 * in, another one comes out; admission.ts keeps it by book-file.ts. Uses are counted here and nowhere else.
 */
import { type EndpointId, endpointId } from "../base/brand.ts";
import { fromBase64Url, toBase64Url } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { countOf, isRecord, type Json, parseJsonText } from "../base/json.ts";
import {
  admissionCodes,
  type AdmissionRefusal,
  type GrantId,
  grantId,
  type MemberRole,
  memberRoles,
} from "../wire/admission.ts";
import { isName } from "../wire/gossip.ts";
import { limits } from "../wire/limits.ts";
import { defaults } from "./defaults.ts";
import type { BookForm } from "./book-file.ts";

export interface IssuedGrant {
  readonly id: GrantId;
  /** 32 hex digits. */
  readonly mesh: string;
  readonly role: MemberRole;
  readonly delegable: boolean;
  /** Unix ms. */
  readonly createdMs: number;
  /** Unix ms. */
  readonly expiresMs: number;
  /** Nodes that may be admitted; 0: no limit. */
  readonly uses: number;
  /** For people. */
  readonly note: string | undefined;
  readonly usedBy: readonly Use[];
  /** Unix ms; undefined: it was not taken back. */
  readonly revokedMs: number | undefined;
  /** Of the invite that the node shows by itself; the others' secret is nowhere but in the invite. */
  readonly standing: StandingSecret | undefined;
}

export interface Use {
  readonly endpoint: EndpointId;
  /** Unix ms. */
  readonly atMs: number;
}

export interface StandingSecret {
  /** SignedGrant. */
  readonly bytes: Uint8Array;
  /** 32 bytes. */
  readonly bearerSeed: Uint8Array;
}

export interface InviteBook {
  /** Oldest first. */
  readonly grants: readonly IssuedGrant[];
}

export type GrantState = "open" | "expired" | "used-up" | "revoked";

export function grantState({ revokedMs, expiresMs, uses, usedBy }: IssuedGrant, nowMs: number): GrantState {
  if (revokedMs !== undefined) return "revoked";
  if (nowMs >= expiresMs) return "expired";
  return uses > 0 && usedBy.length >= uses ? "used-up" : "open";
}

const refusals = {
  revoked: admissionCodes.revoked,
  expired: admissionCodes.expired,
  "used-up": admissionCodes.usedUp,
} as const;

/** Why `joiner` is not admitted by this grant now; undefined: it is. Who was admitted by it before costs no use. */
export function refusalBy(
  { grants }: InviteBook,
  id: GrantId,
  joiner: EndpointId,
  nowMs: number,
): AdmissionRefusal | undefined {
  const grant = grants.find((one) => one.id === id);
  if (grant === undefined) return admissionCodes.unknownGrant;
  const state = grantState(grant, nowMs);
  const isKnown = wasAdmitted(grant, joiner);
  if (state === "open" || (state === "used-up" && isKnown)) {
    return isKnown || admissions(grants) < defaults.invites.admissions ? undefined : admissionCodes.usedUp;
  }
  return refusals[state];
}

function wasAdmitted({ usedBy }: IssuedGrant, joiner: EndpointId): boolean {
  return usedBy.some(({ endpoint }) => endpoint === joiner);
}

/** Of what was taken back nobody is a member any more: it must not keep others out. */
function admissions(grants: readonly IssuedGrant[]): number {
  return grants.reduce((sum, { usedBy, revokedMs }) => sum + (revokedMs === undefined ? usedBy.length : 0), 0);
}

/** Counts a use; the same book when this node was counted before. */
export function withUse(book: InviteBook, id: GrantId, joiner: EndpointId, nowMs: number): InviteBook {
  return changed(book, id, (grant) =>
    wasAdmitted(grant, joiner) ? grant : { ...grant, usedBy: [...grant.usedBy, { endpoint: joiner, atMs: nowMs }] },
  );
}

/** Takes a grant back; one that was taken back stays so since then. */
export function withRevoked(book: InviteBook, id: GrantId, nowMs: number): InviteBook {
  const { revokedShown } = defaults.invites;
  return changed(book, id, (grant) =>
    grant.revokedMs === undefined ? { ...grant, revokedMs: nowMs, usedBy: grant.usedBy.slice(0, revokedShown) } : grant,
  );
}

function changed(book: InviteBook, id: GrantId, change: (grant: IssuedGrant) => IssuedGrant): InviteBook {
  const grants = book.grants.map((grant) => (grant.id === id ? change(grant) : grant));
  return grants.every((grant, index) => grant === book.grants[index]) ? book : { grants };
}

/** @throws E_INPUT there are too many that must be kept */
export function withGrant(book: InviteBook, grant: IssuedGrant, nowMs: number): InviteBook {
  const kept = book.grants.filter((one) => !mayBeForgotten(one, nowMs));
  if (kept.length >= defaults.invites.grants) {
    const why = "those that admitted somebody are kept, so that they can be taken back";
    throw new MeshError("E_INPUT", `this node keeps at most ${defaults.invites.grants} invites, and has them; ${why}`);
  }
  return { grants: [...kept, grant] };
}

/** One that admitted nobody and cannot any more; the others must stay, or what they admitted could not be taken back. */
function mayBeForgotten(grant: IssuedGrant, nowMs: number): boolean {
  return grant.usedBy.length === 0 && nowMs >= grant.expiresMs + defaults.invites.keepExpiredMs;
}

/** What the record tells of: grants of this mesh that admitted somebody before they were taken back. The newest of them. */
export function revokedGrants({ grants }: InviteBook, mesh: string): readonly GrantId[] {
  return grants
    .filter((grant) => grant.mesh === mesh && grant.revokedMs !== undefined && grant.usedBy.length > 0)
    .toSorted((a, b) => (b.revokedMs ?? 0) - (a.revokedMs ?? 0))
    .slice(0, limits.revokedGrantsPerRecord)
    .map(({ id }) => id);
}

// ---- on disk

export const inviteBook: BookForm<InviteBook> = {
  empty: { grants: [] },
  decode: decodeInviteBook,
  encode: ({ grants }) => `${JSON.stringify({ version: 1, grants: grants.map(grantJson) })}\n`,
  says: "which invites this node has issued, and which it has taken back",
  of: "invites",
};

function grantJson({ standing, usedBy, note, ...grant }: IssuedGrant): Json {
  return {
    id: grant.id,
    mesh: grant.mesh,
    role: grant.role,
    delegable: grant.delegable,
    created: grant.createdMs,
    expires: grant.expiresMs,
    uses: grant.uses,
    ...(note === undefined ? {} : { note }),
    used_by: usedBy.map(({ endpoint, atMs }) => ({ endpoint, at: atMs })),
    ...(grant.revokedMs === undefined ? {} : { revoked: grant.revokedMs }),
    ...(standing === undefined
      ? {}
      : { standing: { grant: toBase64Url(standing.bytes), bearer: toBase64Url(standing.bearerSeed) } }),
  };
}

/** @throws MeshError it is not what {@link inviteBook} writes, or has more than may stand in it */
function decodeInviteBook(text: string): InviteBook {
  const json = parseJsonText(text);
  if (!isRecord(json) || json["version"] !== 1) throw damaged("its version is not 1");
  const grants = listOf(json["grants"]).map(grantFrom);
  if (grants.length > defaults.invites.grants || admissions(grants) > defaults.invites.admissions) {
    throw damaged("it has too many entries");
  }
  if (new Set(grants.map(({ id }) => id)).size < grants.length) throw damaged("a grant stands in it twice");
  return { grants };
}

function grantFrom(json: unknown): IssuedGrant {
  if (!isRecord(json)) throw damaged("a grant in it is no object");
  const { id, mesh, role, delegable, created, expires, uses, note, used_by: usedBy, revoked, standing } = json;
  const known = memberRoles.find((one) => one === role);
  if (known === undefined || typeof delegable !== "boolean") throw damaged("a grant in it cannot be read");
  return {
    id: grantId(textOf(id)),
    mesh: meshIdFrom(mesh),
    role: known,
    delegable,
    createdMs: numberOf(created),
    expiresMs: numberOf(expires),
    uses: numberOf(uses),
    note: note === undefined ? undefined : noteFrom(note),
    usedBy: listOf(usedBy).map(useFrom),
    revokedMs: revoked === undefined ? undefined : numberOf(revoked),
    standing: standing === undefined ? undefined : standingFrom(standing),
  };
}

function useFrom(json: unknown): Use {
  if (!isRecord(json)) throw damaged("a use in it is no object");
  return { endpoint: endpointId(textOf(json["endpoint"])), atMs: numberOf(json["at"]) };
}

function standingFrom(json: unknown): StandingSecret {
  if (!isRecord(json)) throw damaged("a secret in it is no object");
  const bytes = fromBase64Url(textOf(json["grant"]));
  const bearerSeed = fromBase64Url(textOf(json["bearer"]));
  if (bytes.length > limits.grantBytes || bearerSeed.length !== 32) throw damaged("a secret in it has another length");
  return { bytes, bearerSeed };
}

/** @throws MeshError unless it is a note that may be kept: a name, in its length and its characters */
export function noteFrom(value: unknown): string {
  const note = textOf(value);
  if (note === "" || !isName(note)) {
    throw new MeshError("E_INPUT", `a note has at most ${limits.nameBytes} bytes, and no control characters`);
  }
  return note;
}

function meshIdFrom(value: unknown): string {
  const id = textOf(value);
  if (!/^[0-9a-f]{32}$/.test(id)) throw damaged("the id of a mesh in it is not 32 hex digits");
  return id;
}

function textOf(value: unknown): string {
  if (typeof value !== "string") throw damaged("a text in it is none");
  return value;
}

function numberOf(value: unknown): number {
  const number = countOf(value);
  if (number === undefined) throw damaged("a number in it is none");
  return number;
}

function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw damaged("a list in it is none");
  return value;
}

function damaged(why: string): MeshError {
  return new MeshError("E_INPUT", why);
}

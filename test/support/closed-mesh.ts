/**
 * Invite-only meshes of whole nodes on one in-memory network, and peers driven by hand that were admitted, or were not.
 * Invites are made as `sealmesh invite` makes them: on the console port, with the session token.
 */
import type { EndpointId } from "../../src/base/brand.ts";
import { type Identity, identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { extendCredential, type VerifiedCredential, verifyCredential } from "../../src/crypto/admission.ts";
import { askAdmission } from "../../src/mesh/admission.ts";
import type { Flags, Mode } from "../../src/node/config.ts";
import type { InviteDocument, MadeInviteDocument } from "../../src/node/http/invites.ts";
import { bearer, readSession } from "../../src/node/session.ts";
import type { ByteStream } from "../../src/base/stream.ts";
import type { Connection } from "../../src/transport/transport.ts";
import { grantId, type MemberRole } from "../../src/wire/admission.ts";
import type { EndpointAddress } from "../../src/wire/address.ts";
import { decodeInvite } from "../../src/wire/invite.ts";
import { grantedBy } from "./members.ts";
import type { TestNode } from "./mesh.ts";
import { attackedMesh, RawPeer, type RawPeerOptions } from "./raw-peer.ts";

export interface Wish {
  readonly role?: MemberRole;
  readonly delegable?: boolean;
  readonly expires_seconds?: number;
  readonly uses?: number;
}

export interface ClosedMesh {
  start(mode: Mode, flags?: Flags): Promise<TestNode>;
  /** Knows addresses and nothing else. */
  stranger(options?: RawPeerOptions): Promise<RawPeer>;
  /** Was admitted by a node, and shows it; has not gossiped. */
  member(issuer: TestNode, wish?: Wish, options?: RawPeerOptions): Promise<RawPeer>;
}

export function closedMesh(): ClosedMesh {
  const mesh = attackedMesh();
  const closed = { openMesh: false, headless: false, console: "0" };
  return {
    start: (mode, flags = {}) => mesh.start(mode, { ...closed, ...flags }),
    stranger: (options) => mesh.raw(options),
    async member(issuer, wish = {}, options = {}) {
      const raw = await mesh.raw(options);
      await admit(raw, (await inviteOf(issuer, wish)).token);
      return raw;
    },
  };
}

/** Goes through stream 0x06 with a token, as a node does; `at` is whom it asks. @throws as askAdmission() */
export async function admit(raw: RawPeer, token: string, at?: EndpointAddress): Promise<void> {
  const connection = await raw.dial(at ?? decodeInvite(token).address, "sealmesh/1");
  const { bytes } = await askAdmission(() => connection.open(), {
    self: raw.id,
    granted: grantedBy(token),
    answerMs: 2_000,
    signal: new AbortController().signal,
    now: () => Date.now(),
  });
  raw.credential = bytes;
}

async function ask(node: TestNode, path: string, init: RequestInit): Promise<unknown> {
  const session = readSession(node.dataDir);
  if (!session) throw new Error("no session");
  const answer = await fetch(new URL(path, session.consoleUrl), {
    ...init,
    headers: { authorization: bearer(session.token), "content-type": "application/json" },
  });
  const json: unknown = await answer.json();
  if (!answer.ok) throw new Error(JSON.stringify(json));
  return json;
}

export async function inviteOf(
  node: TestNode,
  wish: Wish = {},
): Promise<{ readonly token: string; readonly id: string }> {
  const init = { method: "POST", body: JSON.stringify(wish) };
  const { token, invite } = (await ask(node, "/api/invites", init)) as MadeInviteDocument;
  if (!invite) throw new Error("the mesh is open");
  return { token, id: invite.id };
}

export async function revoke(node: TestNode, id: string): Promise<InviteDocument> {
  return ((await ask(node, `/api/invites/${id}`, { method: "DELETE" })) as { invite: InviteDocument }).invite;
}

/** What `of` was given, by an invite of the same mesh. */
export function credentialFrom(of: RawPeer, token: string): VerifiedCredential {
  if (!of.credential) throw new Error("not admitted");
  return verifyCredential(of.credential, { authority: grantedBy(token).grant.authority, subject: of.id });
}

/** A node that exists as a key alone, let in by a member that may invite. */
export interface Guest {
  readonly identity: Identity;
  readonly credential: VerifiedCredential;
}

export function guestOf(
  host: { readonly identity: Identity; readonly credential: VerifiedCredential },
  role: MemberRole = "host",
): Guest {
  const identity = identityFrom(newIdentitySeed());
  const { issuedAtMs, notAfterMs } = host.credential.own;
  const given = {
    subject: identity.id,
    role,
    delegable: true,
    issuedAtMs,
    notAfterMs,
    grantId: grantId("ab".repeat(16)),
  };
  return { identity, credential: extendCredential({ credential: host.credential, identity: host.identity, given }) };
}

/** What a stream came to for who opened it: bytes that came before its end, and whether it was aborted. */
export async function cameBack(
  stream: ByteStream,
): Promise<{ readonly bytes: number; readonly end: "ended" | "aborted" }> {
  let bytes = 0;
  try {
    for (let piece = await stream.read(); piece; piece = await stream.read()) bytes += piece.length;
    return { bytes, end: "ended" };
  } catch {
    return { bytes, end: "aborted" };
  }
}

/** Whether a node counts somebody among its peers, met by itself. */
export function isMember(node: TestNode, id: EndpointId): boolean {
  return node.status().peers.some((peer) => peer.endpoint_id === id && peer.connected);
}

/** Whether the other side has closed the connection. */
export async function isClosed(connection: Connection, ms = 1_000): Promise<boolean> {
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), ms));
  return await Promise.race([connection.closed.then(() => true), late]);
}

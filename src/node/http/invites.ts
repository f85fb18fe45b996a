/**
 * The routes of invites on the console port: made, listed and taken back by whoever has the session token. What an invite is
 * stands in admission.ts; here is JSON.
 */
import type { Context, Hono } from "hono";
import { MeshError } from "../../base/errors.ts";
import { countOf, isRecord, parseJsonText } from "../../base/json.ts";
import { memberRoles } from "../../wire/admission.ts";
import { isoTime } from "../build-status.ts";
import type { Admission, GrantStatus, InviteOptions, MadeInvite } from "../admission.ts";
import { defaults } from "../defaults.ts";
import { noteFrom } from "../invite-book.ts";
import { smallBody } from "./small-body.ts";

export type InviteParts = Pick<Admission, "invite" | "list" | "revoke">;

/** A grant as /api/invites tells it. */
export interface InviteDocument {
  readonly id: string;
  readonly state: GrantStatus["state"];
  readonly role: GrantStatus["role"];
  /** Whether who was admitted may invite others. */
  readonly delegable: boolean;
  /** ISO 8601 in UTC, all times. */
  readonly created: string;
  readonly expires: string;
  /** null: no limit. */
  readonly uses: number | null;
  readonly note: string | null;
  /** Whether the node shows it by itself. */
  readonly standing: boolean;
  readonly revoked: string | null;
  readonly used_by: readonly { readonly endpoint_id: string; readonly at: string }[];
}

/** The answer to POST /api/invites. */
export interface MadeInviteDocument {
  /** A secret, unless the mesh is open. */
  readonly token: string;
  /** null: the mesh is open. */
  readonly invite: InviteDocument | null;
}

/** Five short members. */
const bodyBytes = 4_096;

/** @param demandSession throws for a caller without the session token */
export function addInviteRoutes(app: Hono, parts: () => InviteParts, demandSession: (context: Context) => void): void {
  app.post("/api/invites", async (context) => {
    demandSession(context);
    const options = inviteOptions(await smallBody(context.req.raw, bodyBytes));
    return context.json(madeDocument(parts().invite(options)), 201);
  });
  app.get("/api/invites", (context) => {
    demandSession(context);
    return context.json({ invites: parts().list().map(inviteDocument) });
  });
  app.delete("/api/invites/:id", (context) => {
    demandSession(context);
    const revoked = parts().revoke(context.req.param("id"));
    if (revoked) return context.json({ invite: inviteDocument(revoked) });
    const message = "this node has issued no invite whose id begins so; /api/invites lists them";
    return context.json({ error: { message, type: "invalid_request_error", param: null, code: "not_found" } }, 404);
  });
}

/**
 * @param text JSON with the members role, delegable, expires_seconds, uses and note, all optional; or nothing
 * @throws     E_INPUT another member, or another value
 */
export function inviteOptions(text: string): InviteOptions {
  const json = text.trim() === "" ? {} : parseJsonText(text);
  if (!isRecord(json)) throw new MeshError("E_INPUT", "the body is no JSON object");
  const { role, delegable, expires_seconds: seconds, uses, note, ...others } = json;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw new MeshError("E_INPUT", "an invite has role, delegable, expires_seconds, uses and note, and nothing else");
  }
  const known = memberRoles.find((one) => one === role);
  if (role !== undefined && known === undefined) {
    throw new MeshError("E_INPUT", `role takes one of ${memberRoles.join(", ")}`);
  }
  if (delegable !== undefined && typeof delegable !== "boolean") {
    throw new MeshError("E_INPUT", "delegable takes true or false");
  }
  return {
    role: known,
    delegable,
    lifeMs:
      seconds === undefined ? undefined : countFrom(seconds, "expires_seconds", defaults.inviteMaxMs / 1_000) * 1_000,
    uses: uses === undefined ? undefined : countFrom(uses, "uses", defaults.invites.admissions),
    note: note === undefined ? undefined : noteFrom(note),
  };
}

function countFrom(value: unknown, name: string, most: number): number {
  const count = countOf(value);
  if (count !== undefined && count > 0 && count <= most) return count;
  throw new MeshError("E_INPUT", `${name} takes a number from 1 to ${most}`);
}

function madeDocument({ token, grant }: MadeInvite): MadeInviteDocument {
  return { token, invite: grant ? inviteDocument(grant) : null };
}

function inviteDocument({ id, state, role, delegable, uses, note, standing, ...grant }: GrantStatus): InviteDocument {
  const { createdMs, expiresMs, revokedMs, usedBy } = grant;
  return {
    id,
    state,
    role,
    delegable,
    created: isoTime(createdMs),
    expires: isoTime(expiresMs),
    uses: uses === 0 ? null : uses,
    note: note ?? null,
    standing,
    revoked: revokedMs === undefined ? null : isoTime(revokedMs),
    used_by: usedBy.map(({ endpoint, atMs }) => ({ endpoint_id: endpoint, at: isoTime(atMs) })),
  };
}

import { describe, expect, it } from "vitest";
import { inviteOptions } from "../../../src/node/http/invites.ts";
import { expectCode } from "../../support/expect-code.ts";
import { circle, type Member } from "../../support/members.ts";
import { consoleOf, session } from "./admin-parts.ts";

type Ask = (path: string, init?: RequestInit) => Promise<Response>;

function consoleWith({ admission }: Member): Ask {
  const ask = consoleOf({ token: () => admission.standingInvite() ?? null, invites: () => admission });
  const headers = { authorization: session, "content-type": "application/json" };
  return (path, init = {}) => ask(path, { headers, ...init });
}

describe("/api/invites", () => {
  it("makes an invite as it was asked for, lists it without its secret, and takes it back", async () => {
    const member = await circle().member();
    const ask = consoleWith(member);
    const body = JSON.stringify({ role: "client", delegable: false, expires_seconds: 60, uses: 2, note: "Ada" });
    const made = await ask("/api/invites", { method: "POST", body });
    expect(made.status).toBe(201);
    const { token, invite } = (await made.json()) as { token: string; invite: { id: string } };
    expect(invite).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{32}$/),
      state: "open",
      role: "client",
      delegable: false,
      created: "2027-01-15T08:00:00.000Z",
      expires: "2027-01-15T08:01:00.000Z",
      uses: 2,
      note: "Ada",
      standing: false,
      revoked: null,
      used_by: [],
    });
    const listed = await (await ask("/api/invites")).text();
    expect(JSON.parse(listed)).toEqual({ invites: [invite] });
    expect(listed).not.toContain(token);
    const revoked = await ask(`/api/invites/${invite.id.slice(0, 6)}`, { method: "DELETE" });
    expect(await revoked.json()).toMatchObject({ invite: { id: invite.id, state: "revoked" } });
    expect((await ask(`/api/invites/${"0".repeat(32)}`, { method: "DELETE" })).status).toBe(404);
    expect((await ask("/api/invites/..%2f..", { method: "DELETE" })).status).toBe(400);
  });

  it("makes one with all defaults for an empty body", async () => {
    const made = await consoleWith(await circle().member())("/api/invites", { method: "POST" });
    expect(await made.json()).toMatchObject({ invite: { role: "host", delegable: true, uses: null } });
  });

  it("says that an open mesh has none to limit", async () => {
    const ask = consoleWith(await circle().member({ open: true }));
    expect(await (await ask("/api/invites", { method: "POST" })).json()).toMatchObject({ invite: null });
    expect((await ask("/api/invites", { method: "POST", body: '{"uses":1}' })).status).toBe(400);
  });

  it("reads no more of a body than an invite needs", async () => {
    const ask = consoleWith(await circle().member());
    const answer = await ask("/api/invites", { method: "POST", body: " ".repeat(5_000) });
    expect(answer.status).toBe(400);
  });
});

it.each([
  "[]",
  "{",
  '{"role":"admin"}',
  '{"delegable":1}',
  '{"uses":0}',
  '{"uses":10001}',
  '{"uses":1.5}',
  '{"expires_seconds":-1}',
  '{"expires_seconds":31536001}',
  '{"note":""}',
  `{"note":"${"x".repeat(300)}"}`,
  '{"note":"a\\u001b[31m"}',
  '{"else":1}',
])("%s is no invite that can be made", (text) => expectCode("E_INPUT", () => inviteOptions(text)));

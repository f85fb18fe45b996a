/**
 * A program of this machine that can reach the console port, or reads the log, learns what admits to the mesh: the invite, the
 * secret in it, or the session token, which makes invites.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { toHex } from "../../src/base/bytes.ts";
import { jsonLog, prettyLog } from "../../src/cli/log.ts";
import { printWaiting } from "../../src/cli/output.ts";
import { bearer, readSession } from "../../src/node/session.ts";
import { temporaryDirectory, testMesh, type TestNode } from "../support/mesh.ts";
import { circle, grantedBy } from "../support/members.ts";

interface Console {
  readonly node: TestNode;
  readonly token: string;
  readonly ask: (path: string, authorization?: string, init?: RequestInit) => Promise<Response>;
}

async function withConsole(): Promise<Console> {
  const dataDir = temporaryDirectory();
  const node = await testMesh().start("client", { headless: false, console: "0", dataDir, openMesh: false });
  const session = readSession(dataDir);
  if (!session) throw new Error("no session");
  expect(session.consoleUrl).toBe(node.consoleUrl);
  return {
    node,
    token: session.token,
    ask: (path, authorization, init = {}) =>
      fetch(new URL(path, session.consoleUrl), { ...init, headers: authorization ? { authorization } : {} }),
  };
}

describe("the console port", () => {
  it("shows the invite to who has the session token, and nothing of it to anybody else", async () => {
    const { node, token, ask } = await withConsole();
    const invite = node.invite();
    const { bearerSeed } = grantedBy(invite);
    const wrong = [
      undefined,
      "",
      token,
      `bearer ${token}`,
      `Bearer ${token}x`,
      `Bearer ${"A".repeat(43)}`,
      "Basic Og==",
    ];
    for (const authorization of wrong) {
      const text = await (await ask("/api/status", authorization)).text();
      expect(JSON.parse(text)).toMatchObject({ token: null, mesh: { mode: "invite" } });
      for (const secret of [invite, toHex(bearerSeed), Buffer.from(bearerSeed).toString("base64url"), token]) {
        expect(text).not.toContain(secret);
      }
    }
    expect(await (await ask("/api/status", bearer(token))).json()).toMatchObject({ token: invite });
  });

  it.each([
    ["POST", "/api/invites"],
    ["GET", "/api/invites"],
    ["DELETE", "/api/invites/0123"],
  ])("answers %s %s to nobody else, and does nothing", async (method, path) => {
    const { ask } = await withConsole();
    const answer = await ask(path, "Bearer nothing", { method });
    expect(answer.status).toBe(401);
    expect(await answer.text()).not.toContain("Bearer nothing");
  });

  it("has no page or route that tells a secret", async () => {
    const { node, token, ask } = await withConsole();
    const invite = node.invite();
    for (const path of ["/", "/metrics", "/api/exchanges", "/api/evidence", "/healthz", "/api/nothing"]) {
      const text = await (await ask(path)).text();
      for (const secret of [invite, token]) expect(text, path).not.toContain(secret);
    }
  });

  it("has a token of this start alone, in a file for its owner, that goes with the node", async () => {
    const { node, token } = await withConsole();
    const path = join(node.dataDir, "session");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, "utf8")).toBe(`${node.consoleUrl}\n${token}\n`);
    await node.stop(0);
    expect(existsSync(path)).toBe(false);
    const again = await withConsole();
    expect(again.token).not.toBe(token);
  });
});

it("no log line has an invite, its secret, its grant or the session token in it", async () => {
  const lines: string[] = [];
  const keep = (text: string | Uint8Array): boolean => lines.push(String(text)) > 0;
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockImplementation(keep));
  const all = circle();
  const founder = await all.member();
  const { token, grant } = founder.admission.invite({ uses: 1, note: "private note" });
  const joiner = await all.joined(founder, token);
  await all.joined(founder, token).catch(() => undefined);
  founder.admission.revoke(grant?.id ?? "");
  const { node, token: session } = await withConsole();
  const standing = node.invite();
  for (const event of [...founder.events, ...joiner.events, ...node.events]) {
    jsonLog.write("info", event);
    prettyLog().write("info", event);
  }
  printWaiting();
  for (const spy of spies) spy.mockRestore();
  const printed = lines.join("");
  expect(printed).toContain("member-admitted");
  const secrets = [token, standing].flatMap((invite) => {
    const { bearerSeed, bytes } = grantedBy(invite);
    return [invite, ...[bearerSeed, bytes].flatMap((one) => [toHex(one), Buffer.from(one).toString("base64url")])];
  });
  for (const secret of [...secrets, session, "private note"]) expect(printed).not.toContain(secret);
});

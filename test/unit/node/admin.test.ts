import { describe, expect, it } from "vitest";
import { MeshError } from "../../../src/base/errors.ts";
import { Exchanges } from "../../../src/node/exchanges.ts";
import { type ExplainReport, policyStatus } from "../../../src/node/attestation-report.ts";
import { type AdminParts, adminApp } from "../../../src/node/http/admin.ts";
import type { Status } from "../../../src/node/status.ts";
import { openPolicy } from "../../../src/policy/policy.ts";
import { adminParts, session } from "./admin-parts.ts";
import { report } from "./reports.ts";

const status = { version: "1.2.3", pid: 7 } as Status;
const exchanges = new Exchanges();
exchanges.add(report({ id: "r1" }));
const host = "ab".repeat(32);
const explained: ExplainReport = { what: "org/m", kind: "model", policy: policyStatus(openPolicy), hosts: [] };
const asked: string[] = [];
const parts: AdminParts = adminParts({
  status: () => status,
  exchanges,
  attestation: (id) => Promise.resolve(id === host ? { hosts: [{ endpoint_id: id }] } : undefined),
  explain: (what) => {
    asked.push(what);
    if (what === "ambiguous") return Promise.reject(new MeshError("E_INPUT", "several nodes begin with it"));
    return Promise.resolve(what === "nobody" ? undefined : explained);
  },
});
const app = adminApp(parts);
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  Promise.resolve(app.request(path, { headers: { host: "127.0.0.1:3131", ...headers } }));

describe("the console port", () => {
  it("answers /api/status, and says where to look otherwise", async () => {
    expect(await (await get("/api/status")).json()).toEqual(status);
    expect(await (await get("/")).text()).toContain("/api/status");
    expect((await get("/api/secrets")).status).toBe(404);
  });

  it("shows the invite to callers with the session token, and invites to nobody else", async () => {
    expect(await (await get("/api/status", { authorization: session })).json()).toEqual({ ...status, token: "invite" });
    expect((await get("/api/invites")).status).toBe(401);
    expect((await get("/api/invites", { authorization: session })).status).toBe(503);
  });

  it.each([
    ["another name for this machine", { host: "evil.example:3131" }],
    ["a page of another origin", { origin: "https://evil.example" }],
    ["a page without an origin", { origin: "null" }],
    ["a page of another program on this machine", { origin: "http://localhost:5000" }],
    ["a page of this machine's API port", { origin: "http://127.0.0.1:9337" }],
    ["a page that says https", { origin: "https://127.0.0.1:3131" }],
    ["an image of a page elsewhere", { "sec-fetch-site": "cross-site" }],
    ["a link of a page of another port", { "sec-fetch-site": "same-site" }],
  ])("refuses %s", async (_what, headers) => {
    const answer = await get("/api/status", headers);
    expect(answer.status).toBe(403);
    expect(await answer.text()).not.toContain("1.2.3");
  });

  it.each([
    { host: "localhost:3131" },
    { host: "[::1]:3131" },
    { origin: "http://127.0.0.1:3131" },
    { "sec-fetch-site": "same-origin" },
    { "sec-fetch-site": "none" },
  ])("serves %j", async (headers) => {
    expect((await get("/api/status", headers)).status).toBe(200);
  });

  it("lists the last exchanges, and gives one by its id", async () => {
    expect(await (await get("/api/exchanges")).json()).toEqual({
      exchanges: [report({ id: "r1" })],
      totals: exchanges.totals,
    });
    expect(await (await get("/api/exchanges/r1")).json()).toEqual(report({ id: "r1" }));
    const missing = await get("/api/exchanges/r2");
    expect(missing.status).toBe(404);
    const { error } = (await missing.json()) as { error: object };
    expect(error).toMatchObject({ type: "invalid_request_error", param: null, code: "not_found" });
  });

  it("gives what a peer has shown, by its whole endpoint id", async () => {
    expect(await (await get(`/api/attestation/${host}`)).json()).toEqual({ hosts: [{ endpoint_id: host }] });
    expect((await get(`/api/attestation/${"cd".repeat(32)}`)).status).toBe(404);
    expect((await get(`/api/attestation/${host.slice(0, 10)}`)).status).toBe(400);
    expect((await get(`/api/attestation/${host.toUpperCase()}`)).status).toBe(400);
  });

  it.each(["org/m", "a b", "100%", "%2F", "ü?#&", "a//b", "../m"])(
    "explains %j, however it is encoded",
    async (name) => {
      const answer = await get(`/api/explain/${encodeURIComponent(name)}`);
      expect(asked.at(-1)).toBe(name);
      expect(await answer.json()).toEqual(explained);
    },
  );

  it("explains a name whose slashes are not encoded, and says when nobody is meant", async () => {
    await get("/api/explain/org/m");
    expect(asked.at(-1)).toBe("org/m");
    const missing = await get("/api/explain/nobody");
    expect(missing.status).toBe(404);
    expect(await missing.json()).toMatchObject({ error: { code: "not_found" } });
    const ambiguous = await get("/api/explain/ambiguous");
    expect(ambiguous.status).toBe(400);
    expect(await ambiguous.json()).toMatchObject({ error: { code: "invalid_value" } });
  });

  it("gives its numbers to Prometheus", async () => {
    const answer = await get("/metrics");
    expect(answer.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(await answer.text()).toContain('sealmesh_build_info{version="1.2.3"');
  });

  it("tells a failure with its status, as an error object", async () => {
    const starting = adminApp({
      ...parts,
      status: () => {
        throw new MeshError("E_NO_HOST", "this node is still starting", { retryAfterSeconds: 1 });
      },
    });
    const answer = await starting.request("/api/status", { headers: { host: "localhost" } });
    expect(answer.status).toBe(503);
    expect(answer.headers.get("retry-after")).toBe("1");
    expect(await answer.json()).toMatchObject({ error: { code: "no_host" } });
  });

  it.each(["/metrics", "/api/exchanges", "/api/invites", `/api/attestation/${host}`, "/api/explain/m", "/readyz"])(
    "keeps web pages away from %s",
    async (path) => {
      expect((await get(path, { origin: "https://evil.example", authorization: session })).status).toBe(403);
      expect((await get(path, { host: "evil.example" })).status).toBe(403);
    },
  );

  it("has no cross-origin permission to give", async () => {
    expect((await get("/api/status")).headers.get("access-control-allow-origin")).toBeNull();
  });
});

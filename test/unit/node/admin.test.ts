import { describe, expect, it } from "vitest";
import { adminApp } from "../../../src/node/http/admin.ts";
import type { Status } from "../../../src/node/status.ts";

const status = { version: "1.2.3", pid: 7 } as Status;
const app = adminApp({ status: () => status });
const get = (path: string, headers: Record<string, string> = {}): Promise<Response> =>
  Promise.resolve(app.request(path, { headers: { host: "127.0.0.1:3131", ...headers } }));

describe("the console port", () => {
  it("answers /api/status, and says where to look otherwise", async () => {
    expect(await (await get("/api/status")).json()).toEqual(status);
    expect(await (await get("/")).text()).toContain("/api/status");
    expect((await get("/api/secrets")).status).toBe(404);
  });

  it.each([
    ["another name for this machine", { host: "evil.example:3131" }],
    ["a page of another origin", { origin: "https://evil.example" }],
    ["a page without an origin", { origin: "null" }],
  ])("refuses %s", async (_what, headers) => {
    const answer = await get("/api/status", headers);
    expect(answer.status).toBe(403);
    expect(await answer.text()).not.toContain("1.2.3");
  });

  it.each([{ host: "localhost:3131" }, { host: "[::1]:3131" }, { origin: "http://127.0.0.1:3131" }])(
    "serves %j",
    async (headers) => {
      expect((await get("/api/status", headers)).status).toBe(200);
    },
  );

  it("has no cross-origin permission to give", async () => {
    expect((await get("/api/status")).headers.get("access-control-allow-origin")).toBeNull();
  });
});

/** Web pages of other origins, and names that were pointed at this machine (DNS rebinding), try to use the API port. */
import { describe, expect, it } from "vitest";
import type { GateRules } from "../../src/node/http/gate.ts";
import { type ErrorBody, engineOf, raw, startApi } from "../unit/node/api-server.ts";

const loopback: GateRules = {
  scheme: "http",
  names: new Set(),
  addresses: false,
  keyHashes: [],
};
const network: GateRules = {
  ...loopback,
  names: new Set(["machine", "machine.local", "api.example"]),
  addresses: true,
};

async function ask(gate: GateRules, headers: Readonly<Record<string, string>>, method = "GET", path = "/v1/models") {
  const engine = engineOf(["{}"]);
  const { port } = await startApi({ scripted: engine }, { gate });
  const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  const answer = await raw(
    port,
    `${method} ${path} HTTP/1.1\r\n${lines.join("").replaceAll("PORT", String(port))}\r\n`,
  );
  const fields = answer.head.split("\r\n").slice(1);
  const header = (name: string): string | undefined =>
    fields.find((line) => line.toLowerCase().startsWith(`${name}: `))?.slice(name.length + 2);
  return { ...answer, status: Number(answer.head.slice(9, 12)), header };
}

describe("E5: the Host header at the API port", () => {
  it.each(["localhost", "LOCALHOST:PORT", "127.0.0.1:PORT", "[::1]:PORT"])("%s is this machine", async (host) => {
    expect((await ask(loopback, { host })).status).toBe(200);
    expect((await ask(network, { host })).status).toBe(200);
  });

  it.each([
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "localhost@evil.example",
    "",
    "[::1",
    "localhost:x",
  ])("%s is not", async (host) => {
    for (const gate of [loopback, network]) {
      const answer = await ask(gate, { host });
      expect(answer.status).toBe(403);
      expect((JSON.parse(answer.body) as ErrorBody).error.code).toBe("foreign_origin");
    }
  });

  it.each(["192.168.1.5:PORT", "[fe80::1]:PORT", "10.0.0.1", "machine", "Machine.local:PORT", "api.example"])(
    "%s is, where other machines may ask",
    async (host) => {
      expect((await ask(network, { host })).status).toBe(200);
      expect((await ask(loopback, { host })).status).toBe(403);
    },
  );
});

describe("E5: the Origin header at the API port", () => {
  it.each([
    "https://evil.example",
    "http://localhost",
    "http://localhost:8080",
    "https://127.0.0.1:PORT",
    "http://evil.example:3131",
    "http://localhost:31310",
    "https://localhost:3131",
    "null",
    "file://",
    "http://localhost:3131.evil.example",
  ])("%s may not ask, and gets no leave to read", async (origin) => {
    for (const method of ["GET", "OPTIONS"]) {
      const answer = await ask(loopback, { host: "127.0.0.1:PORT", origin }, method);
      expect(answer.status).toBe(403);
      expect(answer.head.toLowerCase()).not.toContain("access-control");
    }
  });

  it("a page of this port itself may", async () => {
    const answer = await ask(loopback, { host: "127.0.0.1:PORT", origin: "http://127.0.0.1:PORT" });
    expect(answer.status).toBe(200);
    expect(answer.header("access-control-allow-origin")).toBeUndefined();
    const tls = { ...loopback, scheme: "https" } as const;
    expect((await ask(tls, { host: "localhost:PORT", origin: "https://localhost:PORT" })).status).toBe(200);
  });

  it.each(["http://localhost:3131", "http://127.0.0.1:3131", "http://[::1]:3131"])(
    "the console's page at %s is of another origin too: it asks at its own port",
    async (origin) => {
      for (const method of ["GET", "OPTIONS"]) {
        const answer = await ask(loopback, { host: "127.0.0.1:PORT", origin }, method, "/v1/chat/completions");
        expect(answer.status).toBe(403);
        expect(answer.head.toLowerCase()).not.toContain("access-control");
      }
    },
  );

  it("a preflight gets no leave, with or without keys", async () => {
    const wish = { "access-control-request-method": "POST", "access-control-request-headers": "authorization" };
    for (const gate of [loopback, { ...network, keyHashes: [new Uint8Array(32)] }]) {
      const headers = { host: "localhost:PORT", origin: "https://evil.example", ...wish };
      const answer = await ask(gate, headers, "OPTIONS", "/v1/chat/completions");
      expect(answer.status).toBe(403);
      expect(answer.head.toLowerCase()).not.toContain("access-control");
    }
  });

  it("nobody is ever allowed by *", async () => {
    for (const headers of [{}, { origin: "http://localhost:3131" }, { origin: "*" }]) {
      const answer = await ask(loopback, { host: "localhost", ...headers });
      expect(answer.head.toLowerCase()).not.toContain("access-control");
    }
  });
});

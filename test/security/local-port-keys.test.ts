/** Callers of an API port that asks for a key: without one, with a wrong one, with a right one in a wrong place. */
import { describe, expect, it } from "vitest";
import { keyHashes } from "../../src/node/api-keys.ts";
import type { GateRules } from "../../src/node/http/gate.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { engineOf, type ErrorBody, peer, startApi } from "../unit/node/api-server.ts";
import { chatOf } from "../unit/node/api-server.ts";
import { expectCode } from "../support/expect-code.ts";

const first = "sm-0123456789abcdef";
const second = "sm-fedcba9876543210";
const gate: GateRules = {
  scheme: "http",
  names: new Set(),
  addresses: false,
  keyHashes: keyHashes(`# team\n${first}\n\n  ${second}  \r\n`, "--api-key-file"),
};

describe("a port with keys", () => {
  it.each([
    ["no header", undefined],
    ["another key", "Bearer sm-0123456789abcdeg"],
    ["a beginning of a key", `Bearer ${first.slice(0, -1)}`],
    ["a key and more", `Bearer ${first}x`],
    ["two keys", `Bearer ${first} ${second}`],
    ["another scheme", `Basic ${first}`],
    ["no scheme", first],
    ["the comment", "Bearer #"],
    ["nothing behind the scheme", "Bearer "],
  ])("%s: 401, before anything else is said", async (_name, authorization) => {
    const engine = engineOf(["{}"]);
    const { url } = await startApi({ scripted: engine }, { gate });
    for (const path of ["/v1/chat/completions", "/v1/models", "/v1/models/scripted", "/nowhere"]) {
      const headers = authorization === undefined ? {} : { authorization };
      const body = path.endsWith("completions") ? JSON.stringify(chatOf("scripted")) : null;
      const answer = await fetch(url + path, { method: body === null ? "GET" : "POST", headers, body });
      expect(answer.status).toBe(401);
      expect(answer.headers.get("www-authenticate")).toBe("Bearer");
      expect(answer.headers.get("x-should-retry")).toBe("false");
      const { error } = (await answer.json()) as ErrorBody;
      expect(error).toMatchObject({ type: "authentication_error", code: "invalid_api_key" });
      expect(error.message).not.toMatch(/sm-|scripted/);
    }
    expect(engine.asked).toEqual([]);
  });

  it.each([`Bearer ${first}`, `bearer  ${second}`])("%s passes", async (authorization) => {
    const { url } = await startApi({ scripted: engineOf([]) }, { gate });
    expect((await fetch(`${url}/v1/models`, { headers: { authorization } })).status).toBe(200);
  });

  it("a key may come as x-api-key, beside a wrong one too, and a wrong one does not pass there", async () => {
    const { url } = await startApi({ scripted: engineOf([]) }, { gate });
    const status = async (headers: Readonly<Record<string, string>>): Promise<number> =>
      (await fetch(`${url}/v1/models`, { headers })).status;
    expect(await status({ "x-api-key": first })).toBe(200);
    expect(await status({ "x-api-key": "unused", authorization: `Bearer ${second}` })).toBe(200);
    expect(await status({ "x-api-key": second, authorization: "Bearer unused" })).toBe(200);
    for (const key of ["", `${first}x`, `${first}, ${second}`, `Bearer ${first}`]) {
      expect([key, await status({ "x-api-key": key })]).toEqual([key, 401]);
    }
  });

  it("a peer needs none: who it is was proven before", async () => {
    const { answerPeer } = await startApi({ scripted: engineOf(["{}"]) }, { gate });
    const request = { method: "GET", path: "/v1/models", headers: [], body: utf8("") };
    const answer = await answerPeer(request, peer, new AbortController().signal).read();
    expect(new TextDecoder().decode(answer)).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe("the file of keys", () => {
  it.each(["", "# nothing\n\n", "short", `${first}\nshort`, "a key with blanks in it", "schlüssel-0123456789"])(
    "%j cannot be used",
    (text) => expectCode("E_CONFIG", () => keyHashes(text, "--api-key-file")),
  );

  it("its keys do not stand in messages, nor in what is kept", () => {
    try {
      keyHashes("secretsecret", "--api-key-file");
      expect.unreachable();
    } catch (thrown) {
      expect(String(thrown)).toContain("line 1");
      expect(String(thrown)).not.toContain("secretsecret");
    }
    expect(gate.keyHashes.map((hash) => hash.length)).toEqual([32, 32]);
  });
});

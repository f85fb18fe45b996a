/** GET /v1/mesh/attestation/{model} on the API port: who may ask, and for what. */
import { get } from "node:http";
import { describe, expect, it } from "vitest";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { type ErrorBody, peer, startApi, type TestApi } from "./api-server.ts";

const models = ["remote", "org/m", "100% ü"];
const path = "/v1/mesh/attestation/";

async function start(asked: string[] = []): Promise<TestApi> {
  return await startApi(
    {},
    {
      meshModels: () => models,
      attestation: (model) => {
        asked.push(model);
        return Promise.resolve({ model, hosts: [] });
      },
    },
  );
}

describe("what hosts of a model have shown", () => {
  it.each([
    ["remote", "remote"],
    ["org/m", "org/m"],
    ["org%2Fm", "org/m"],
    ["100%25%20%C3%BC", "100% ü"],
  ])("is told for %s", async (encoded, model) => {
    const { url } = await start();
    const response = await fetch(`${url}${path}${encoded}`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(await response.json()).toEqual({ model, hosts: [] });
  });

  it.each([
    ["nobody", 404, "model_not_found"],
    ["%zz", 400, "invalid_value"],
    ["", 404, "not_found"],
  ])("is not told for %j", async (encoded, status, code) => {
    const asked: string[] = [];
    const { url } = await start(asked);
    const response = await fetch(`${url}${path}${encoded}`);
    expect([response.status, ((await response.json()) as ErrorBody).error.code]).toEqual([status, code]);
    expect(asked).toEqual([]);
  });

  it("is told to GET only", async () => {
    const { url } = await start();
    const response = await fetch(`${url}${path}remote`, { method: "POST", body: "{}" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET"]);
  });

  it("is not told to web pages of other origins", async () => {
    const { url } = await start();
    expect((await fetch(`${url}${path}remote`, { headers: { origin: "https://evil.example" } })).status).toBe(403);
    // images and scripts of a page come without an Origin
    const site = (value: string): Promise<number> =>
      new Promise((resolve, reject) => {
        const request = get(`${url}${path}remote`, { headers: { "sec-fetch-site": value } }, (answer) => {
          answer.resume();
          resolve(answer.statusCode ?? 0);
        });
        request.once("error", reject);
      });
    expect([await site("cross-site"), await site("same-site"), await site("none")]).toEqual([403, 403, 200]);
  });

  it("is not told to peers, for whom there is no such path", async () => {
    const asked: string[] = [];
    const { answerPeer } = await start(asked);
    const request = { method: "GET", path: `${path}remote`, headers: [], body: utf8("") };
    const source = answerPeer(request, peer, new AbortController().signal);
    let text = "";
    for (let bytes = await source.read(); bytes; bytes = await source.read()) text += Buffer.from(bytes).toString();
    expect(text).toMatch(/^HTTP\/1\.1 404 [^]*"not_found"/);
    expect(asked).toEqual([]);
  });

  it("fires its signal when the caller has gone", async () => {
    let gone: (() => void) | undefined;
    const fired = new Promise<void>((resolve) => (gone = resolve));
    const leaving = new AbortController();
    const { url } = await startApi(
      {},
      {
        meshModels: () => models,
        attestation: (_model, signal) =>
          new Promise((_resolve, reject) => {
            signal.addEventListener("abort", () => {
              gone?.();
              reject(new MeshError("E_ABORTED", "gone"));
            });
            leaving.abort();
          }),
      },
    );
    await expect(fetch(`${url}${path}remote`, { signal: leaving.signal })).rejects.toThrow();
    await fired;
  });
});

/** The lane of peers: what a route answers comes out as HTTP, whole or visibly broken, and what makes it ends with the asker. */
import { describe, expect, it } from "vitest";
import { Body, once } from "../../../src/base/body.ts";
import { fromLatin1, fromUtf8, utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { answerPeer, type Routes } from "../../../src/node/http/peer-lane.ts";
import type { Outgoing } from "../../../src/node/http/write.ts";
import type { ByteSource } from "../../../src/tunnel/http.ts";
import { events, peer, startApi } from "./api-server.ts";

const request = { method: "POST", path: "/v1/chat/completions", headers: [], body: utf8("{}") };
const options = { id: "id", unreadMs: 1_000, onTold: () => undefined };

function sending(answer: Outgoing): Routes {
  return async (_asking, reply) => await reply.send(answer, options);
}

/** Pieces, and then the failure or the end. */
function bodyOf(pieces: readonly string[], failure?: Error): { readonly body: Body; readonly left: () => number } {
  const rest = [...pieces];
  let left = 0;
  const read = async (): Promise<Uint8Array | undefined> => {
    const piece = rest.shift();
    if (piece === undefined && failure) throw failure;
    return await Promise.resolve(piece === undefined ? undefined : utf8(piece));
  };
  return { body: new Body(read, { leave: () => (left += 1) }), left: () => left };
}

/** All pieces as text, and what was thrown behind them. */
async function readAll(source: ByteSource): Promise<{ readonly pieces: readonly string[]; readonly thrown: unknown }> {
  const pieces: string[] = [];
  try {
    for (let bytes = await source.read(); bytes; bytes = await source.read()) pieces.push(fromUtf8(bytes));
    return { pieces, thrown: undefined };
  } catch (thrown) {
    return { pieces, thrown };
  }
}

function answered(routes: Routes, signal = new AbortController().signal): ByteSource {
  return answerPeer(request, peer, signal, routes);
}

const streamed = { status: 200, headers: { "content-type": events } };
const json = { status: 200, headers: { "content-type": "application/json" } };

describe("an answer to a peer", () => {
  it("that is all there has its length, and its end is known with it", async () => {
    const source = answered(sending({ ...json, body: once(utf8("{}")) }));
    expect(fromUtf8((await source.read()) ?? utf8(""))).toBe(
      "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}",
    );
    expect(source.isOver?.()).toBe(true);
    expect(await source.read()).toBeUndefined();
  });

  it("that is large is not copied behind its head", async () => {
    const large = new Uint8Array(100_000);
    const source = answered(sending({ ...json, body: once(large) }));
    expect(fromUtf8((await source.read()) ?? utf8(""))).toMatch(/content-length: 100000\r\n.*\r\n\r\n$/s);
    expect(source.isOver?.()).toBe(false);
    expect(await source.read()).toBe(large);
    expect(source.isOver?.()).toBe(true);
  });

  it("that comes in pieces is chunked, and a piece without bytes is not its end", async () => {
    const { body } = bodyOf(["data: 1\n\n", "", "data: 2\n\n"]);
    const { pieces, thrown } = await readAll(answered(sending({ ...streamed, body })));
    expect(thrown).toBeUndefined();
    // the head travels with what is there
    expect(pieces[0]).toMatch(
      /^HTTP\/1\.1 200 OK\r\n.*transfer-encoding: chunked\r\nconnection: close\r\n\r\n9\r\ndata: 1\n\n\r\n$/s,
    );
    expect(pieces.slice(1)).toEqual(["9\r\ndata: 2\n\n\r\n", "0\r\n\r\n"]);
  });

  it("that fails before its first piece is an error object", async () => {
    const failure = new MeshError("E_BUSY", "no place", { retryAfterSeconds: 2 });
    const { pieces } = await readAll(answered(sending({ ...streamed, body: bodyOf([], failure).body })));
    expect(pieces.join("")).toMatch(/^HTTP\/1\.1 (?:429|503) .*retry-after: 2\r\n.*no place/s);
  });

  it("of events that breaks off says why, and has no clean end", async () => {
    const failure = new MeshError("E_ENGINE", "it fell over");
    const { pieces, thrown } = await readAll(
      answered(sending({ ...streamed, body: bodyOf(["data: 1\n\n"], failure).body })),
    );
    expect(pieces.at(-1)).toContain("it fell over");
    expect(pieces).not.toContain("0\r\n\r\n");
    expect(thrown).toBe(failure);
  });

  it("of a body that breaks off just breaks", async () => {
    const failure = new MeshError("E_ENGINE", "it fell over");
    const { pieces, thrown } = await readAll(answered(sending({ ...json, body: bodyOf(["{", "}"], failure).body })));
    expect(pieces[0]).toMatch(/\r\n\r\n1\r\n{\r\n$/);
    expect(pieces.slice(1)).toEqual(["1\r\n}\r\n"]);
    expect(thrown).toBe(failure);
  });

  it("says which method a path takes", async () => {
    const { answerPeer: answer } = await startApi();
    const { pieces } = await readAll(answer({ ...request, method: "GET" }, peer, new AbortController().signal));
    expect(pieces.join("")).toMatch(/^HTTP\/1\.1 405 .*\r\nallow: POST\r\n/s);
  });

  it("cannot carry a header that would be read as two", async () => {
    const headers = { "content-type": "text/plain\r\nset-cookie: a" };
    const { pieces } = await readAll(answered(sending({ status: 200, headers, body: once(fromLatin1("x")) })));
    expect(pieces.join("")).toMatch(/^HTTP\/1\.1 500 /);
    expect(pieces.join("")).not.toContain("set-cookie");
  });
});

describe("an asker that goes", () => {
  it("frees what makes its answer, though nobody reads", async () => {
    const leaving = new AbortController();
    const { body, left } = bodyOf(["data: 1\n\n", "data: 2\n\n"]);
    const source = answered(sending({ ...streamed, body }), leaving.signal);
    await source.read();
    expect(left()).toBe(0);
    leaving.abort(new MeshError("E_ABORTED", "gone"));
    expect(left()).toBe(1);
  });

  it("sees no clean end of it", async () => {
    const leaving = new AbortController();
    const { body } = bodyOf(["data: 1\n\n", "data: 2\n\n"]);
    const source = answered(sending({ ...streamed, body }), leaving.signal);
    await source.read();
    leaving.abort(new MeshError("E_ABORTED", "gone"));
    const { pieces, thrown } = await readAll(source);
    expect(pieces).not.toContain("0\r\n\r\n");
    expect(thrown).toMatchObject({ code: "E_ABORTED" });
  });

  it("before there was an answer has it made for nobody", async () => {
    const { body, left } = bodyOf(["data: 1\n\n"]);
    const source = answered(sending({ ...streamed, body }), AbortSignal.abort(new MeshError("E_ABORTED", "gone")));
    const { pieces } = await readAll(source);
    expect(left()).toBe(1);
    expect(pieces).not.toContain("0\r\n\r\n");
  });
});

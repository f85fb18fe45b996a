/**
 * A request that two HTTP parsers would cut in different places hides a second one from the first of them. The API port
 * answers 400, closes, and acts on nothing that follows.
 */
import { describe, expect, it } from "vitest";
import { chatOf, engineOf, type ErrorBody, raw, startApi } from "../unit/node/api-server.ts";

/** The request that must not be seen. */
const body = JSON.stringify(chatOf("scripted"));
const smuggled = `POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${body.length}\r\n\r\n${body}`;

const start = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
const chunked = `${start}transfer-encoding: chunked\r\n\r\n`;
const end = "0\r\n\r\n";

describe("the API port", () => {
  it.each([
    ["Content-Length, then Transfer-Encoding", `${start}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n${end}`],
    ["Transfer-Encoding, then Content-Length", `${start}transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n${end}`],
    ["two lengths", `${start}content-length: 0\r\ncontent-length: 5\r\n\r\n`],
    ["the same length twice", `${start}content-length: 0\r\ncontent-length: 0\r\n\r\n`],
    ["a list of lengths", `${start}content-length: 0, 0\r\n\r\n`],
    ["a length with a sign", `${start}content-length: +0\r\n\r\n`],
    ["a hexadecimal length", `${start}content-length: 0x0\r\n\r\n`],
    ["an empty length", `${start}content-length: \r\n\r\n`],
    ["a folded header line", `${start}x-a: b\r\n c: d\r\ncontent-length: 0\r\n\r\n`],
    ["a folded length", `${start}x-a: b\r\n\tcontent-length: 5\r\n\r\n`],
    ["a folded coding", `${start}transfer-encoding:\r\n chunked\r\n\r\n${end}`],
    ["bare line feeds", "POST / HTTP/1.1\nhost: localhost\ncontent-length: 0\n\n"],
    ["one bare line feed in the head", `${start}x: y\ncontent-length: 0\r\n\r\n`],
    ["a bare line feed at the end of the head", `${start}content-length: 0\r\n\n`],
    ["a bare carriage return", `${start}x: y\rcontent-length: 5\r\n\r\n`],
    ["a NUL in a header", `${start}x: a\0b\r\ncontent-length: 0\r\n\r\n`],
    ["a blank before the colon", `${start}transfer-encoding : chunked\r\n\r\n${end}`],
    ["a blank before the name", `${start} content-length: 0\r\n\r\n`],
    ["chunked, identity", `${start}transfer-encoding: chunked, identity\r\n\r\n${end}`],
    ["identity, chunked", `${start}transfer-encoding: identity, chunked\r\n\r\n${end}`],
    ["gzip, chunked", `${start}transfer-encoding: gzip, chunked\r\n\r\n${end}`],
    ["identity", `${start}transfer-encoding: identity\r\n\r\n`],
    ["xchunked", `${start}transfer-encoding: xchunked\r\n\r\n${end}`],
    ["two codings", `${start}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n${end}`],
    ["a vertical tab before the coding", `${start}transfer-encoding:\x0bchunked\r\n\r\n${end}`],
    ["a coding with HTTP/1.0", `POST / HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n${end}`],
    ["a line feed in a chunk extension", `${chunked}0;a=\nb\r\n\r\n`],
    ["controls in a chunk extension", `${chunked}1;\x01\x02\r\nx\r\n${end}`],
    ["a line feed instead of a chunk extension", `${chunked}2;\nxx\r\n${end}`],
    ["chunks with bare line feeds", `${chunked}1\nx\n0\n\n`],
    ["a chunk longer than it says", `${chunked}1\r\nxZZ${end}`],
    ["a blank after a chunk's size", `${chunked}1 \r\nx\r\n${end}`],
    ["a negative chunk", `${chunked}-1\r\nx\r\n${end}`],
    ["a hexadecimal prefix of a chunk", `${chunked}0x1\r\nx\r\n${end}`],
    ["a chunk beyond 64 bits", `${chunked}10000000000000000\r\nx\r\n${end}`],
    ["a length in the trailer", `${chunked}0\r\ncontent-length: 5\r\n\r\n`],
    ["an absolute target", "GET http://localhost/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    ["another machine's absolute target", "GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    ["an asterisk as target", "OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n"],
    ["two hosts", "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n"],
    ["another version", "GET /v1/models HTTP/1.2\r\nhost: localhost\r\n\r\n"],
  ])("%s: 400, and the request behind it is not seen", async (_name, text) => {
    const engine = engineOf(["{}"]);
    const { port, reports } = await startApi({ scripted: engine });
    const answer = await raw(port, Buffer.from(text + smuggled, "latin1"));
    expect(answer.head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    expect(answer.head).toMatch(/\r\nconnection: close(\r\n|$)/i);
    expect((JSON.parse(answer.body) as ErrorBody).error.code).toBe("invalid_value");
    expect(answer.all.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
    expect(engine.asked).toEqual([]);
    expect(reports.every(({ code }) => code !== null)).toBe(true);
  });

  it("an ordinary second request on the same connection is answered: the test above can fail", async () => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    const last = smuggled.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    const answer = await raw(port, `GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n${last}`);
    expect(answer.all.match(/HTTP\/1\.1 200/g)).toHaveLength(2);
    expect(engine.asked).toHaveLength(1);
  });

  it("a bad request behind a good one that is still being answered ends the connection, and nothing follows", async () => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    const bad = "GET http://localhost/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    const answer = await raw(port, smuggled + bad + smuggled);
    expect(answer.all.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 400"]);
    expect(engine.asked).toHaveLength(1);
  });

  it("an unread body is no request", async () => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    const hidden = `POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${smuggled.length}\r\n\r\n${smuggled}`;
    const answer = await raw(port, hidden + smuggled);
    expect(answer.all.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 404"]);
    expect(engine.asked).toEqual([]);
  });
});

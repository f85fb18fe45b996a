/** What a caller may send, how long it may take, and how much of it there may be at a time. */
import { connect } from "node:net";
import { describe, expect, it, vi } from "vitest";
import { Budget } from "../../../src/base/budget.ts";
import { Places } from "../../../src/base/places.ts";
import { limits } from "../../../src/wire/limits.ts";
import { chatOf, engineOf, type ErrorBody, events, open, post, raw, startApi } from "./api-server.ts";

const path = "/v1/chat/completions";
const body = JSON.stringify(chatOf("scripted"));

function head(more: string, method = "POST"): string {
  return `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${more}\r\n`;
}

function codeIn(text: string): string {
  return (JSON.parse(text) as ErrorBody).error.code;
}

describe("size", () => {
  it("a body that is announced as too large is refused unread, also one of a client that waits for 100", async () => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    for (const expect100 of ["", "expect: 100-continue\r\n"]) {
      const answer = await raw(port, head(`content-length: ${limits.requestBodyBytes + 1}\r\n${expect100}`));
      expect(answer.head).toMatch(/^HTTP\/1\.1 413 /);
      expect(answer.head).toMatch(/connection: close/i);
      expect(codeIn(answer.body)).toBe("payload_too_large");
      expect(answer.all).not.toContain("100 Continue");
    }
  });

  it("a chunked body is refused when it has become too large, and a caller still sending sees why", async () => {
    const { port, reports } = await startApi({ scripted: engineOf(["{}"]) });
    const connection = open(port);
    connection.socket.write(head("transfer-encoding: chunked\r\n"));
    const chunk = Buffer.alloc(1 << 20, " ");
    const mebibytes = limits.requestBodyBytes >> 20;
    let sent = 0;
    for (; sent < 2 * mebibytes && connection.text === ""; sent += 1) {
      connection.socket.write(`${chunk.length.toString(16)}\r\n`);
      connection.socket.write(chunk);
      if (connection.socket.write("\r\n")) continue;
      // of a connection that is over nothing drains any more
      await Promise.race([new Promise((resolve) => connection.socket.once("drain", resolve)), connection.closed]);
    }
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 413 [^]*"payload_too_large"/);
    expect(sent).toBeGreaterThanOrEqual(mebibytes);
    expect(reports.map(({ status }) => status)).toEqual([413]);
  });

  it("a caller that sends all before it reads sees the refusal of an announced body too", async () => {
    const { port } = await startApi({ scripted: engineOf(["{}"]) });
    const connection = open(port);
    connection.socket.pause();
    connection.socket.write(head(`content-length: ${limits.requestBodyBytes + 1}\r\n`));
    await new Promise((resolve) => connection.socket.write(Buffer.alloc(32 << 20, " "), resolve));
    connection.socket.resume();
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 413 [^]*"payload_too_large"/);
  });

  it("a body of 64 MiB passes", async () => {
    const engine = engineOf(["{}"]);
    const { url } = await startApi({ scripted: engine });
    const frame = JSON.stringify(chatOf("scripted", { image: "" })).length;
    const large = JSON.stringify(chatOf("scripted", { image: "x".repeat(limits.requestBodyBytes - frame) }));
    expect(large.length).toBe(limits.requestBodyBytes);
    const answer = await fetch(url + path, { method: "POST", body: large });
    expect(answer.status).toBe(200);
    expect(engine.asked[0]?.body.length).toBe(limits.requestBodyBytes);
  });

  it("a head has at most 64 KiB and 100 lines", async () => {
    const { port } = await startApi();
    const lines = (count: number): string => "a: b\r\n".repeat(count - 1);
    expect((await raw(port, head(lines(99) + "connection: close\r\n", "GET"))).head).toMatch(/^HTTP\/1\.1 405 /);
    for (const many of [lines(101), `a: ${"b".repeat(70_000)}\r\n`]) {
      const answer = await raw(port, head(many, "GET"));
      expect(answer.head).toMatch(/^HTTP\/1\.1 431 /);
      expect(codeIn(answer.body)).toBe("payload_too_large");
    }
  });

  it("a body with brackets beyond number is refused, and the node goes on", async () => {
    const { url } = await startApi({ scripted: engineOf(["{}"]) });
    const deep = await fetch(url + path, { method: "POST", body: "[".repeat(5_000_000) });
    expect(deep.status).toBe(400);
    expect(codeIn(await deep.text())).toBe("invalid_value");
    expect((await post(url, path, chatOf("scripted"))).response.status).toBe(200);
  });

  it("a coded body is refused with what to do", async () => {
    const { url } = await startApi({ scripted: engineOf(["{}"]) });
    const answer = await fetch(url + path, { method: "POST", body, headers: { "content-encoding": "gzip" } });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain("content-encoding");
  });
});

describe("uploads", () => {
  it("chunked, with a client that waits for 100 Continue, arrive whole", async () => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    const connection = open(port);
    connection.socket.write(head("transfer-encoding: chunked\r\nexpect: 100-continue\r\nconnection: close\r\n"));
    await vi.waitFor(() => expect(connection.text).toBe("HTTP/1.1 100 Continue\r\n\r\n"));
    for (const piece of [body.slice(0, 10), body.slice(10)]) {
      connection.socket.write(`${piece.length.toString(16)};name="value"\r\n${piece}\r\n`);
    }
    connection.socket.write("0\r\n\r\n");
    await connection.closed;
    expect(connection.text).toMatch(/\r\n\r\nHTTP\/1\.1 200 OK\r\n/);
    expect(engine.asked[0]?.json).toEqual(JSON.parse(body));
  });

  it("a refusal comes before 100 Continue where it can", async () => {
    const { port } = await startApi({ scripted: engineOf(["{}"]) });
    const answer = await raw(port, head("content-length: 5\r\nexpect: 100-continue\r\n", "PUT"));
    expect(answer.head).toMatch(/^HTTP\/1\.1 405 [^]*\r\nallow: POST\r\n/);
    expect(answer.all).not.toContain("100 Continue");
  });

  it.each(["200-ok", "100-continue, more"])("the expectation %s is refused: 417", async (expectation) => {
    const engine = engineOf(["{}"]);
    const { port } = await startApi({ scripted: engine });
    const answer = await raw(port, `${head(`content-length: ${body.length}\r\nexpect: ${expectation}\r\n`)}${body}`);
    expect(answer.head).toMatch(/^HTTP\/1\.1 417 /);
    expect(codeIn(answer.body)).toBe("expectation_failed");
    expect(engine.asked).toEqual([]);
  });
});

describe("time", () => {
  const timing = { headMs: 150, bodyMs: 400, bodyPauseMs: 120, keepAliveMs: 150, unreadMs: 200 };

  it.each([
    ["nothing", ""],
    ["half a head", "POST /v1/models HTTP/1.1\r\nhost: "],
  ])("%s: 408 when the head is not there in time", async (_name, text) => {
    const { port } = await startApi({}, { timing });
    const started = performance.now();
    const answer = await raw(port, text);
    expect(answer.head).toMatch(/^HTTP\/1\.1 408 /);
    expect(codeIn(answer.body)).toBe("request_timeout");
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  it.each([
    ["with a length", "content-length: 100\r\n", "{", 0],
    ["in chunks", "transfer-encoding: chunked\r\n", "1\r\n{\r\n", 0],
    // never a pause, and never done
    ["drop by drop", "content-length: 100\r\n", " ", 40],
  ])("a body that stops or drips, %s: 408, and the caller may try again", async (_name, framing, piece, everyMs) => {
    const { port } = await startApi({ scripted: engineOf(["{}"]) }, { timing });
    const connection = open(port);
    connection.socket.write(head(framing) + piece);
    const dripping = everyMs > 0 ? setInterval(() => connection.socket.write(piece), everyMs) : undefined;
    await vi.waitFor(() => expect(connection.text).toMatch(/\}\}$/), 3_000);
    clearInterval(dripping);
    connection.socket.destroy();
    expect(connection.text).toMatch(/^HTTP\/1\.1 408 /);
    expect(connection.text).toMatch(/retry-after: 1\r\n/);
    expect(connection.text).toMatch(/connection: close\r\n/);
    expect(connection.text).toContain('"request_timeout"');
  });

  it("a slow but steady upload below the limits passes", async () => {
    const { port } = await startApi({ scripted: engineOf(["{}"]) }, { timing: { ...timing, bodyMs: 5_000 } });
    const connection = open(port);
    connection.socket.write(head(`content-length: ${body.length}\r\nconnection: close\r\n`));
    for (let at = 0; at < body.length; at += 8) {
      connection.socket.write(body.slice(at, at + 8));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("a body that nobody wants does not hold the connection for ever", async () => {
    const { port } = await startApi({}, { timing: { ...timing, keepAliveMs: 5_000 } });
    const connection = open(port);
    connection.socket.write("GET /v1/models HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n");
    const dripping = setInterval(() => connection.socket.write("x"), 20);
    await connection.closed;
    clearInterval(dripping);
    expect(connection.text).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("an idle connection is closed, after it was used", async () => {
    const { port } = await startApi({}, { timing });
    const connection = open(port);
    connection.socket.write("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 200 /);
    expect(connection.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  });

  it.each([
    ["a stream", events],
    ["a whole answer", "application/json"],
  ])("a caller that takes nothing of %s is cut off, and the engine is let go", async (_name, contentType) => {
    let given = 0;
    let left = false;
    const engine = {
      answer: () =>
        Promise.resolve({
          status: 200,
          headers: { "content-type": contentType },
          body: (async function* () {
            try {
              for (; given < 1_000; given += 1) yield await Promise.resolve(Buffer.alloc(1 << 20, "x"));
            } finally {
              left = true;
            }
          })(),
        }),
    };
    const { port, reports } = await startApi({ scripted: engine }, { timing });
    const asked = JSON.stringify(chatOf("scripted", { stream: contentType === events }));
    const socket = connect(port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.pause();
    socket.write(`${head(`content-length: ${asked.length}\r\n`)}${asked}`);
    await vi.waitFor(() => expect(left).toBe(true), 3_000);
    expect(given).toBeLessThan(100);
    await vi.waitFor(() => expect(reports.map(({ code }) => code)).toEqual(["aborted"]));
    socket.destroy();
  });
});

describe("how much at a time", () => {
  it("bodies beyond the budget are refused before they are read, and there is room again afterwards", async () => {
    const budget = new Budget({ total: 1_000, perHolder: 1_000 });
    const { port, url } = await startApi({ scripted: engineOf(["{}"]) }, { budget });
    const slow = open(port);
    slow.socket.write(head("content-length: 900\r\n"));
    await vi.waitFor(() => expect(budget.taken).toBe(900));
    const refused = await post(url, path, chatOf("scripted", { x: "y".repeat(100) }));
    expect(refused.response.status).toBe(429);
    expect(refused.json.error.code).toBe("rate_limit_exceeded");
    expect(Number(refused.response.headers.get("retry-after"))).toBeGreaterThan(0);
    const waiting = await raw(port, head("content-length: 101\r\nexpect: 100-continue\r\n"));
    expect(waiting.head).toMatch(/^HTTP\/1\.1 429 /);
    slow.socket.destroy();
    await vi.waitFor(() => expect(budget.taken).toBe(0));
    expect((await post(url, path, chatOf("scripted", { x: "y".repeat(100) }))).response.status).toBe(200);
    expect(budget.taken).toBe(0);
  });

  it("a body counts until its answer begins, not for as long as that lasts", async () => {
    const budget = new Budget({ total: 1_000, perHolder: 1_000 });
    let finish: () => void = () => undefined;
    const engine = {
      answer: () =>
        Promise.resolve({
          status: 200,
          headers: { "content-type": events },
          body: (async function* () {
            expect(budget.taken).toBe(0);
            yield Buffer.from("data: {}\n\n");
            await new Promise<void>((resolve) => (finish = resolve));
          })(),
        }),
    };
    const { url } = await startApi({ scripted: engine }, { budget });
    const text = JSON.stringify(chatOf("scripted", { stream: true }));
    const answer = await fetch(url + path, { method: "POST", body: text });
    expect(answer.status).toBe(200);
    finish();
    expect(await answer.text()).toBe("data: {}\n\n");
  });

  it("a chunked body is charged as it comes", async () => {
    const budget = new Budget({ total: 1_000, perHolder: 1_000 });
    const { port } = await startApi({ scripted: engineOf(["{}"]) }, { budget });
    const chunk = `258\r\n${" ".repeat(600)}\r\n`;
    const answer = await raw(port, head("transfer-encoding: chunked\r\n") + chunk + chunk);
    expect(answer.head).toMatch(/^HTTP\/1\.1 429 /);
    expect(budget.taken).toBe(0);
  });

  it("exchanges beyond the number of places are refused, and a place is free again when one has ended", async () => {
    let finish: () => void = () => undefined;
    const engine = {
      answer: () => new Promise<never>((_resolve, reject) => (finish = () => reject(new Error("the test is over")))),
    };
    const places = new Places({ total: 1, perHolder: 1 });
    const { url, reports } = await startApi({ scripted: engine, quick: engineOf(["{}"]) }, { places });
    const first = post(url, path, chatOf("scripted"));
    await vi.waitFor(() => expect(places.taken).toBe(1));
    const second = await post(url, path, chatOf("quick"));
    expect(second.response.status).toBe(429);
    expect(second.response.headers.get("retry-after")).toBe("1");
    expect((await fetch(`${url}/v1/models`)).status).toBe(200);
    finish();
    expect((await first).response.status).toBe(500);
    expect((await post(url, path, chatOf("quick"))).response.status).toBe(200);
    await vi.waitFor(() => expect(reports).toHaveLength(3));
  });
});

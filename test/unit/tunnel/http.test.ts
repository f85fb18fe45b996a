import { describe, expect, it } from "vitest";
import { concat, latin1, utf8 } from "../../../src/base/bytes.ts";
import { next, type Now } from "../../../src/base/flow.ts";
import {
  type ByteSource,
  bytesSource,
  encodeRequest,
  encodeResponse,
  readRequest,
  readResponse,
} from "../../../src/tunnel/http.ts";
import { limits } from "../../../src/wire/limits.ts";
import { rejectsWith } from "../../support/expect-code.ts";

const read = (text: string): Promise<unknown> => readRequest(bytesSource(utf8(text)));

/** The same bytes, one at a time. */
function dripping(bytes: Uint8Array): ByteSource {
  let at = 0;
  return { read: () => Promise.resolve(at < bytes.length ? bytes.subarray(at, (at += 1)) : undefined) };
}

/** Two pieces, both there or each to be waited for. */
function cutAt(bytes: Uint8Array, cut: number, waits: boolean): ByteSource {
  const left = [bytes.subarray(0, cut), bytes.subarray(cut)];
  let ready = !waits;
  const now = (): Now => {
    if (!ready) return undefined;
    ready = !waits;
    return left.shift() ?? "end";
  };
  const flow = { now, more: () => Promise.resolve(void (ready = true)) };
  return { flow, read: async () => await next(flow) };
}

async function wholeBody(text: string, source: (bytes: Uint8Array) => ByteSource = bytesSource): Promise<string> {
  const { body } = await readResponse(source(utf8(text)));
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part.slice());
  return latin1(concat(parts));
}

describe("requests", () => {
  it("are read as they were written", async () => {
    const request = {
      method: "POST",
      path: "/v1/chat/completions?a=b",
      headers: [["content-type", "application/json"]] as const,
      body: utf8('{"x":"ü"}'),
    };
    const { headers, ...rest } = await readRequest(dripping(encodeRequest(request)));
    expect(rest).toEqual({ method: request.method, path: request.path, body: request.body });
    expect(headers).toEqual([["host", "sealmesh"], ...request.headers]);
  });

  it("may come chunked, as a reference client sends them", async () => {
    const text = "POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    expect(await readRequest(dripping(utf8(text)))).toMatchObject({ body: utf8("abcde") });
  });

  it.each([
    ["two lengths", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
    ["length and coding", "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"],
    ["another coding", "POST / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n"],
    ["a signed length", "POST / HTTP/1.1\r\ncontent-length: +1\r\n\r\na"],
    ["a list of lengths", "POST / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\na"],
    ["a bare line feed", "POST / HTTP/1.1\r\na: b\nc: d\r\n\r\n"],
    ["a bare carriage return", "POST / HTTP/1.1\r\na: b\rc: d\r\n\r\n"],
    ["a folded line", "POST / HTTP/1.1\r\na: b\r\n c\r\n\r\n"],
    ["a blank before the colon", "POST / HTTP/1.1\r\na : b\r\n\r\n"],
    ["no colon", "POST / HTTP/1.1\r\nab\r\n\r\n"],
    ["a zero byte", "POST / HTTP/1.1\r\na: \0\r\n\r\n"],
    ["an absolute target", "POST http://x/ HTTP/1.1\r\n\r\n"],
    ["a blank in the target", "POST /a b HTTP/1.1\r\n\r\n"],
    ["another version", "POST / HTTP/1.0\r\n\r\n"],
    ["a response", "HTTP/1.1 200 OK\r\n\r\n"],
    ["a bad chunk size", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n"],
    ["a chunk without its end", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"],
  ])("with %s are refused: they could be read in two ways", async (_what, text) => {
    await rejectsWith("E_WIRE", read(text));
  });

  it.each([
    ["head", "POST / HTTP/1.1\r\na: b\r\n"],
    ["body", "POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nabc"],
    ["chunk", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc"],
  ])("that end inside the %s are cut, not short", async (_where, text) => {
    await rejectsWith("E_TRUNCATED", read(text));
  });

  it("are bounded before memory is taken", async () => {
    const declared = `POST / HTTP/1.1\r\ncontent-length: ${limits.requestBodyBytes + 1}\r\n\r\n`;
    await rejectsWith("E_TOO_LARGE", read(declared));
    await rejectsWith("E_WIRE", read(`POST / HTTP/1.1\r\na: ${"x".repeat(limits.httpHeadBytes)}\r\n\r\n`));
    await rejectsWith("E_WIRE", read(`POST / HTTP/1.1\r\n${"a: b\r\n".repeat(limits.httpHeaderLines + 1)}\r\n`));
    const endless: ByteSource = { read: () => Promise.resolve(utf8("x".repeat(1000))) };
    await rejectsWith("E_WIRE", readRequest(endless));
  });
});

describe("responses", () => {
  it("are read with every framing, whatever pieces they come in", async () => {
    for (const source of [bytesSource, dripping]) {
      expect(await wholeBody("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", source)).toBe("abc");
      const chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\ntrailer: x\r\n\r\n";
      expect(await wholeBody(chunked, source)).toBe("abc");
      expect(await wholeBody("HTTP/1.1 200 OK\r\n\r\nabc", source)).toBe("abc");
      expect(await wholeBody("HTTP/1.1 204 No Content\r\n\r\n", source)).toBe("");
      expect(
        await wholeBody("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", source),
      ).toBe("x");
    }
  });

  it("in chunks are the same wherever the source cuts, with waits or without", async () => {
    const chunks = ["3\r\nabc\r\n", "a;x=1\r\n0123456789\r\n", "1\r\nd\r\n", "0\r\nt: x\r\n\r\n"];
    const bytes = utf8(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${chunks.join("")}`);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      for (const waits of [false, true]) {
        expect(await wholeBody("", () => cutAt(bytes, cut, waits))).toBe("abc0123456789d");
      }
    }
  });

  it("are written so that they can be read", async () => {
    const response = await readResponse(dripping(encodeResponse(425, { "x-sealmesh-time": "5" }, utf8("{}"))));
    expect(response.status).toBe(425);
    expect(response.headers).toEqual({ "x-sealmesh-time": "5" });
  });

  it.each(["content-length: 9\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])(
    "that are cut throw: %j",
    async (rest) => {
      await rejectsWith("E_TRUNCATED", wholeBody(`HTTP/1.1 200 OK\r\n${rest}`));
    },
  );

  it.each([
    ["bytes after the body", "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"],
    ["a request in place of a response", "POST / HTTP/1.1\r\n\r\n"],
    ["interim responses without end", "HTTP/1.1 100 Continue\r\n\r\n".repeat(5)],
  ])("with %s are refused", async (_what, text) => {
    await rejectsWith("E_WIRE", wholeBody(text));
  });
});

/** An answer that failed, against its row of the error table: what a caller sees follows from the code alone. */
import { request, type RequestOptions } from "node:http";
import { expect } from "vitest";
import { type ErrorCode, errorTable } from "../../src/base/errors.ts";
import type { TestNode } from "./mesh.ts";
import { type Called, outcomes } from "./raw-peer.ts";

export interface Failed {
  readonly status: number;
  readonly text: string;
}

/** Status, type and code of the row, and a message that ends with its hint. */
export function expectRow(answer: Failed | Called, code: ErrorCode): void {
  const row = errorTable[code];
  const { error } = JSON.parse(answer.text) as { error: Record<"message" | "type" | "code", string> };
  expect({ status: answer.status, type: error.type, code: error.code }).toEqual({
    status: row.status,
    type: row.type,
    code: row.code,
  });
  expect(error.message.endsWith(row.hint)).toBe(true);
}

/** The last event of a stream that broke. */
export function expectLastEvent(text: string, code: ErrorCode): void {
  const last = text.trimEnd().split("\n\n").at(-1) ?? "";
  const { error } = JSON.parse(last.replace(/^data: /, "")) as { error: { code: string } };
  expect(error.code).toBe(errorTable[code].code);
}

/** What the log of a node says of the exchanges that its own callers asked for. */
export function expectLogged(node: TestNode, code: ErrorCode): void {
  expect(outcomes(node)).toContain(code);
}

/** One request in node:http's own terms: any method and header, and a body that need not come. */
export function send(
  { apiUrl }: Pick<TestNode, "apiUrl">,
  path: string,
  options: RequestOptions,
  body?: string,
): Promise<Failed> {
  return new Promise((resolve, reject) => {
    const asking = request(new URL(path, apiUrl), options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
      response.on("close", () => {
        asking.destroy();
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    asking.on("error", reject);
    if (body === undefined) asking.flushHeaders();
    else asking.end(body);
  });
}

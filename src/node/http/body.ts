/**
 * Reads what a caller sends, and no more than it may: a body has a size, a time as a whole and a longest pause, and all
 * bodies that are being read share one budget of memory. Refuses before the caller has been told to go on.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Account } from "../../base/budget.ts";
import { concat } from "../../base/bytes.ts";
import { MeshError, toMeshError } from "../../base/errors.ts";
import { limits } from "../../wire/limits.ts";
import { injectedBody } from "./inject.ts";

export interface BodyTiming {
  /** The whole body, ms. */
  readonly bodyMs: number;
  /** Longest pause between its bytes, ms. */
  readonly bodyPauseMs: number;
}

/**
 * @param account charged with the length that was announced, before anything is read, or with what comes
 * @throws E_TOO_LARGE · E_BUSY the budget is used up · E_SLOW not in time · E_INPUT a coded body · E_ABORTED the caller has
 *         gone. The rest of the body is not read then
 */
export async function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  account: Account | undefined,
  timing: BodyTiming,
): Promise<Uint8Array> {
  const { "content-length": length, "content-encoding": coding = "identity", expect } = request.headers;
  if (coding !== "identity") throw new MeshError("E_INPUT", "send the request body without a content-encoding");
  const announced = length === undefined ? undefined : Number(length);
  if (announced !== undefined) {
    checkSize(announced);
    account?.take(announced);
  }
  const whole = injectedBody(request);
  if (whole) return whole;
  if (expect !== undefined && request.httpVersion === "1.1") response.writeContinue();
  return await collect(request, announced === undefined ? account : undefined, timing);
}

function collect(
  request: IncomingMessage,
  account: Account | undefined,
  { bodyMs, bodyPauseMs }: BodyTiming,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let total = 0;
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      clearTimeout(whole);
      clearTimeout(pause);
      request.off("data", onData).off("end", onEnd).off("error", onLost).off("close", onLost);
      finish();
    };
    const fail = (error: MeshError): void => settle(() => reject(error));
    const onData = (part: Uint8Array): void => {
      pause.refresh();
      total += part.length;
      try {
        checkSize(total);
        account?.take(part.length);
      } catch (thrown) {
        return fail(toMeshError(thrown));
      }
      parts.push(part);
    };
    const onEnd = (): void => settle(() => resolve(parts.length === 1 && parts[0] ? parts[0] : concat(parts)));
    const onLost = (): void => fail(new MeshError("E_ABORTED", "the caller has gone"));
    const whole = setTimeout(() => fail(tooSlow(`did not arrive within ${seconds(bodyMs)}`)), bodyMs);
    const pause = setTimeout(() => fail(tooSlow(`stopped for ${seconds(bodyPauseMs)}`)), bodyPauseMs);
    request.on("data", onData).on("end", onEnd).on("error", onLost).on("close", onLost);
  });
}

/** @throws E_TOO_LARGE more than a request may have */
export function checkSize(bytes: number): void {
  if (bytes <= limits.requestBodyBytes) return;
  throw new MeshError("E_TOO_LARGE", `the request body is larger than ${limits.requestBodyBytes >> 20} MiB`);
}

function tooSlow(what: string): MeshError {
  return new MeshError("E_SLOW", `the request body ${what}`, { retryAfterSeconds: 1 });
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

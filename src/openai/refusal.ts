/**
 * What a host's error answer means for the search: one by which the host itself says that it did nothing with the request
 * lets another host be asked; any other one is the answer.
 *
 * @see wire.md §7 · protocol.md §5.4
 */
import { type ErrorCode, errorTable, MeshError } from "../base/errors.ts";
import { readUpstreamError } from "./errors.ts";
import { isOverflow } from "./overflow.ts";

/** Refusals that another host need not share, and what a host says by each. */
const refusals: ReadonlyMap<ErrorCode, string> = new Map<ErrorCode, string>([
  ["E_BUSY", "the host has no free place"],
  ["E_DRAINING", "the host is stopping"],
  ["E_MODEL", "the host does not serve the model now"],
  ["E_UNSUPPORTED", "the host's engine cannot do what was asked"],
  ["E_NO_ENGINE", "the host has no engine now"],
  ["E_CLOSED", "the host is stopping"],
  ["E_REFUSED", "the host answers no requests of this node"],
  ["E_OVERFLOW", "the prompt does not fit the host's context"],
]);

/** Whether a failure says that nothing was done with the request, and that another host may do it. */
export function mayMoveOn(code: ErrorCode): boolean {
  return refusals.has(code);
}

/** A refusal in our own words; undefined for failures of another kind. A host's words might repeat the prompt. */
export function refusalText(code: ErrorCode): string | undefined {
  return refusals.get(code);
}

/** @returns the refusal, or undefined when the answer is to be delivered */
export function refusalOf(status: number, body: Uint8Array, retryAfter: string | undefined): MeshError | undefined {
  if (status < 400) return undefined;
  const upstream = readUpstreamError(status, body);
  const { message } = upstream;
  const param = upstream.param === undefined ? {} : { param: upstream.param };
  if (isOverflow(upstream)) return new MeshError("E_OVERFLOW", message, { param: upstream.param ?? "messages" });
  // whatever its words: a host that speaks of a limit has not begun
  const code = status === 429 ? "E_BUSY" : [...refusals.keys()].find((each) => isRow(each, status, upstream.code));
  if (code === undefined) return undefined;
  const seconds = retryAfter !== undefined && /^[0-9]{1,5}$/.test(retryAfter) ? Number(retryAfter) : undefined;
  return new MeshError(code, message, { ...param, ...(seconds === undefined ? {} : { retryAfterSeconds: seconds }) });
}

function isRow(code: ErrorCode, status: number, openAiCode: string | undefined): boolean {
  const row = errorTable[code];
  return row.status === status && row.code === openAiCode;
}

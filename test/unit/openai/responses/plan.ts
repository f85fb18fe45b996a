/** Requests in short form, and the two outcomes of planning them. */
import { isMeshError } from "../../../../src/base/errors.ts";
import { planResponses, type ResponsesPlan } from "../../../../src/openai/responses/request.ts";
import { ResponseStore } from "../../../../src/openai/responses/store.ts";

type Json = Readonly<Record<string, unknown>>;

export const roomy = { entries: 1_000, bytes: 1_000_000, ageMs: 60_000 } as const;

export function newStore(): ResponseStore {
  return new ResponseStore(roomy);
}

export function plan(more: Json = {}, store?: ResponseStore): ResponsesPlan {
  return planResponses({ model: "m", input: "hi", ...more }, store);
}

/** Code and param of the refusal. */
export function refusal(more: Json, store?: ResponseStore): unknown {
  try {
    plan(more, store);
  } catch (thrown) {
    return isMeshError(thrown) ? `${thrown.code} ${thrown.param}` : thrown;
  }
  return "taken";
}

/** Names and time of answers and their parts. */
import { randomBytes } from "node:crypto";
import { toHex } from "../base/bytes.ts";

/**
 * What the id is of. In Responses: a response, a message, a function call item, its call, a reasoning item. In Messages: a
 * message, the use of a tool.
 */
export type IdPrefix = "resp" | "msg" | "fc" | "call" | "rs" | "toolu";

/** 192 random bits: who has a response's id can go on with its conversation. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${toHex(randomBytes(24))}`;
}

/** Unix time in whole seconds. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

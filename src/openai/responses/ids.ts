/** Names and time of a response and its items. */
import { randomBytes } from "node:crypto";
import { toHex } from "../../base/bytes.ts";

/** What the id is of: a response, a message, a function call item, its call, a reasoning item. */
export type IdPrefix = "resp" | "msg" | "fc" | "call" | "rs";

/** 192 random bits: who has a response's id can go on with its conversation. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${toHex(randomBytes(24))}`;
}

/** Unix time in whole seconds. */
export function unixSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

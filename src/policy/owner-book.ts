/**
 * Whom the operator of this machine trusts as owners, and what was taken back: trusted-owners.json as a value. Pure; the file
 * itself is node/book-file.ts's. What the lists do is in owners.ts.
 */
import { type EndpointId, endpointId } from "../base/brand.ts";
import { MeshError } from "../base/errors.ts";
import { isRecord, parseJsonText } from "../base/json.ts";

export interface OwnerBook {
  /** Owner ids, 64 hex digits. */
  readonly trustedOwners: ReadonlySet<string>;
  readonly revokedOwners: ReadonlySet<string>;
  /** Certificate ids, 32 hex digits: one claim each. */
  readonly revokedCerts: ReadonlySet<string>;
  readonly revokedNodes: ReadonlySet<EndpointId>;
}

export type OwnerList = keyof OwnerBook;

export const emptyOwnerBook: OwnerBook = {
  trustedOwners: new Set(),
  revokedOwners: new Set(),
  revokedCerts: new Set(),
  revokedNodes: new Set(),
};

/** Ids in one list: a large site's machines, and a file that is read in a few ms. */
const mostIds = 4_096;
const bookVersion = 1;

/** Name in the file, and digits of an id. */
const lists: Readonly<Record<OwnerList, { readonly name: string; readonly digits: number }>> = {
  trustedOwners: { name: "trusted_owners", digits: 64 },
  revokedOwners: { name: "revoked_owners", digits: 64 },
  revokedCerts: { name: "revoked_certs", digits: 32 },
  revokedNodes: { name: "revoked_nodes", digits: 64 },
};

/** Whether text may stand in this list. */
export function isListable(list: OwnerList, id: string): boolean {
  return id.length === lists[list].digits && /^[0-9a-f]+$/.test(id);
}

/**
 * @returns the same book when the id is there already
 * @throws  E_INPUT no id of that list, or the list is full
 */
export function withListed(book: OwnerBook, list: OwnerList, id: string): OwnerBook {
  if (!isListable(list, id)) throw unfit(`${lists[list].name} has ids of ${lists[list].digits} lower-case hex digits`);
  if (has(book, list, id)) return book;
  if (book[list].size >= mostIds) throw unfit(`${lists[list].name} has at most ${mostIds} ids`);
  return { ...book, [list]: new Set<string>([...book[list], id]) };
}

/** @returns the same book when the id is not there */
export function withoutListed(book: OwnerBook, list: OwnerList, id: string): OwnerBook {
  if (!has(book, list, id)) return book;
  return { ...book, [list]: new Set<string>([...book[list]].filter((one) => one !== id)) };
}

function has(book: OwnerBook, list: OwnerList, id: string): boolean {
  const ids: ReadonlySet<string> = book[list];
  return ids.has(id);
}

/**
 * JSON for a file: the same book gives the same text, whatever the order in which it came about.
 *
 *   {"version": 1, "trusted_owners": [id], "revoked_owners": [id], "revoked_certs": [id], "revoked_nodes": [id]}
 */
export function encodeOwnerBook(book: OwnerBook): string {
  const document = {
    version: bookVersion,
    [lists.trustedOwners.name]: [...book.trustedOwners].toSorted(),
    [lists.revokedOwners.name]: [...book.revokedOwners].toSorted(),
    [lists.revokedCerts.name]: [...book.revokedCerts].toSorted(),
    [lists.revokedNodes.name]: [...book.revokedNodes].toSorted(),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

/**
 * Members that are not known are skipped; a list that is missing is empty.
 *
 * @throws E_INPUT not such a document, another version, an id that is none, or more of them than a list takes
 */
export function decodeOwnerBook(text: string): OwnerBook {
  const document = parseJsonText(text);
  if (!isRecord(document)) throw unfit("it is no JSON object");
  if (document["version"] !== bookVersion) throw unfit(`its version is not ${bookVersion}`);
  return {
    trustedOwners: idsOf(document, "trustedOwners"),
    revokedOwners: idsOf(document, "revokedOwners"),
    revokedCerts: idsOf(document, "revokedCerts"),
    revokedNodes: new Set([...idsOf(document, "revokedNodes")].map(endpointId)),
  };
}

function idsOf(document: Readonly<Record<string, unknown>>, list: OwnerList): ReadonlySet<string> {
  const { name, digits } = lists[list];
  const given = document[name] ?? [];
  if (!Array.isArray(given) || given.length > mostIds) throw unfit(`${name} is no list of at most ${mostIds} ids`);
  const isId = (id: unknown): id is string => typeof id === "string" && isListable(list, id);
  if (!given.every(isId)) throw unfit(`${name} has ids of ${digits} lower-case hex digits`);
  return new Set(given);
}

function unfit(why: string): MeshError {
  return new MeshError("E_INPUT", `this list of owners cannot be used: ${why}`);
}

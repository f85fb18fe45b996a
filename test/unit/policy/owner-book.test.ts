/** The lists of owners of a machine: what may stand in them, and that nothing that cannot is taken. */
import { describe, expect, it } from "vitest";
import {
  decodeOwnerBook,
  emptyOwnerBook,
  encodeOwnerBook,
  isListable,
  type OwnerList,
  withListed,
  withoutListed,
} from "../../../src/policy/owner-book.ts";
import { expectCode } from "../../support/expect-code.ts";

const id = "ab".repeat(32);
const cert = "cd".repeat(16);

it("an id is put on its list and taken off, and the same book comes back where nothing changes", () => {
  const once = withListed(emptyOwnerBook, "revokedOwners", id);
  expect([...once.revokedOwners]).toEqual([id]);
  expect(withListed(once, "revokedOwners", id)).toBe(once);
  expect(withoutListed(once, "revokedOwners", id).revokedOwners.size).toBe(0);
  expect(withoutListed(once, "trustedOwners", id)).toBe(once);
});

it.each<[OwnerList, string, boolean]>([
  ["trustedOwners", id, true],
  ["trustedOwners", id.toUpperCase(), false],
  ["revokedOwners", cert, false],
  ["revokedCerts", cert, true],
  ["revokedCerts", id, false],
  ["revokedNodes", `${id} `, false],
  ["revokedNodes", "", false],
])("%s and %j: %s", (list, text, fits) => {
  expect(isListable(list, text)).toBe(fits);
  if (fits) expect(withListed(emptyOwnerBook, list, text)[list].size).toBe(1);
  else expectCode("E_INPUT", () => withListed(emptyOwnerBook, list, text));
});

it("a list has an end, and a full one still gives ids back", () => {
  const ids = Array.from({ length: 4_096 }, (_, index) => index.toString(16).padStart(64, "0"));
  const full = decodeOwnerBook(JSON.stringify({ version: 1, revoked_owners: ids }));
  expect(full.revokedOwners.size).toBe(4_096);
  expectCode("E_INPUT", () => withListed(full, "revokedOwners", id));
  expect(withoutListed(full, "revokedOwners", ids[0] ?? "").revokedOwners.size).toBe(4_095);
});

describe("a file", () => {
  it("may leave lists out, and have members that are not known", () => {
    expect(decodeOwnerBook('{"version": 1, "later": true}')).toEqual(emptyOwnerBook);
  });

  it("has the same text in whatever order it came about", () => {
    const [one, two] = [id, "01".repeat(32)];
    const there = withListed(withListed(emptyOwnerBook, "trustedOwners", one), "trustedOwners", two);
    const back = withListed(withListed(emptyOwnerBook, "trustedOwners", two), "trustedOwners", one);
    expect(encodeOwnerBook(there)).toBe(encodeOwnerBook(back));
  });

  it.each([
    "",
    "[]",
    "{}",
    '{"version": 2}',
    '{"version": 1, "revoked_nodes": {}}',
    '{"version": 1, "revoked_nodes": ["ab"]}',
    '{"version": 1, "revoked_certs": [1]}',
    JSON.stringify({ version: 1, trusted_owners: Array.from({ length: 4_097 }, () => id) }),
  ])("E_INPUT: %.60j", (text) => {
    expectCode("E_INPUT", () => decodeOwnerBook(text));
  });
});

import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { defaults } from "../../../src/node/defaults.ts";
import {
  grantState,
  inviteBook,
  type IssuedGrant,
  refusalBy,
  revokedGrants,
  withGrant,
  withRevoked,
  withUse,
} from "../../../src/node/invite-book.ts";
import { admissionCodes, grantId } from "../../../src/wire/admission.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode } from "../../support/expect-code.ts";

const mesh = "cd".repeat(16);
const endMs = 1_000;
const hex = (number: number, digits: number): string => number.toString(16).padStart(digits, "0");
const node = (number: number): ReturnType<typeof endpointId> => endpointId(hex(number, 64));

function issued(number: number, more: Partial<IssuedGrant> = {}): IssuedGrant {
  return {
    id: grantId(hex(number, 32)),
    mesh,
    role: "host",
    delegable: true,
    createdMs: 0,
    expiresMs: endMs,
    uses: 0,
    note: undefined,
    usedBy: [],
    revokedMs: undefined,
    standing: undefined,
    ...more,
  };
}

const used = (count: number): Pick<IssuedGrant, "usedBy"> => ({
  usedBy: Array.from({ length: count }, (_, index) => ({ endpoint: node(index), atMs: 1 })),
});

it.each([
  ["open", {}, endMs - 1],
  ["expired", {}, endMs],
  ["used-up", { uses: 2, ...used(2) }, 0],
  ["expired", { uses: 2, ...used(2) }, endMs],
  ["revoked", { uses: 2, ...used(2), revokedMs: 1 }, endMs],
] as const)("a grant is %s, whatever else it is", (state, more, nowMs) => {
  expect(grantState(issued(1, more), nowMs)).toBe(state);
});

describe("who is admitted", () => {
  const book = { grants: [issued(1, { uses: 2, ...used(2) }), issued(2)] };
  const { id } = issued(1);

  it("nobody by a grant that was never issued", () => {
    expect(refusalBy(book, issued(9).id, node(1), 0)).toBe(admissionCodes.unknownGrant);
  });

  it("by one that is used up, those who were before, and nobody else", () => {
    expect(refusalBy(book, id, node(1), 0)).toBeUndefined();
    expect(refusalBy(book, id, node(7), 0)).toBe(admissionCodes.usedUp);
    expect(withUse(book, id, node(1), 5)).toBe(book);
  });

  it("by one that has ended or was taken back, not even those", () => {
    expect(refusalBy(book, id, node(1), endMs)).toBe(admissionCodes.expired);
    expect(refusalBy(withRevoked(book, id, 1), id, node(1), 0)).toBe(admissionCodes.revoked);
  });

  it("no more in all than are kept", () => {
    const full = { grants: [issued(1, used(defaults.invites.admissions)), issued(2)] };
    expect(refusalBy(full, issued(2).id, node(0), 0)).toBe(admissionCodes.usedUp);
    expect(refusalBy(full, id, node(0), 0)).toBeUndefined();
  });
});

describe("what is kept", () => {
  const laterMs = endMs + defaults.invites.keepExpiredMs;

  it("30 days after its end, a grant that admitted somebody, and no other", () => {
    const book = { grants: [issued(1), issued(2, used(1)), issued(3, { revokedMs: 1 })] };
    expect(withGrant(book, issued(4), laterMs - 1).grants).toHaveLength(4);
    expect(withGrant(book, issued(4), laterMs).grants.map(({ id }) => id)).toEqual([issued(2).id, issued(4).id]);
  });

  it("no more grants than may stand in the file", () => {
    const grants = Array.from({ length: defaults.invites.grants }, (_, index) => issued(index, used(1)));
    expectCode("E_INPUT", () => withGrant({ grants }, issued(5_000), laterMs));
    expect(inviteBook.decode(inviteBook.encode({ grants })).grants).toHaveLength(grants.length);
    expectCode("E_INPUT", () => inviteBook.decode(inviteBook.encode({ grants: [...grants, issued(5_000)] })));
  });

  it("is not read with one grant in it twice", () => {
    expectCode("E_INPUT", () => inviteBook.decode(inviteBook.encode({ grants: [issued(1), issued(1)] })));
  });
});

it("the record tells what was taken back last, of this mesh, and only where somebody had been admitted", () => {
  const many = Array.from({ length: 70 }, (_, index) => issued(index, { ...used(1), revokedMs: index }));
  const others = [issued(100, { revokedMs: 999 }), issued(101, { ...used(1), revokedMs: 999, mesh: "ef".repeat(16) })];
  const told = revokedGrants({ grants: [...many, ...others] }, mesh);
  expect(told).toHaveLength(limits.revokedGrantsPerRecord);
  expect(told[0]).toBe(issued(69).id);
  expect(told).not.toContain(issued(0).id);
});

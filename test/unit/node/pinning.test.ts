import { describe, expect, it } from "vitest";
import { fingerprintOf, type PieceProof } from "../../../src/attest/proof.ts";
import type { EndpointId } from "../../../src/base/brand.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import { Pinning } from "../../../src/node/pinning.ts";
import { emptyPinBook, type PinBook } from "../../../src/policy/pins.ts";
import { expectCode } from "../../support/expect-code.ts";
import { attestedKey, enclave, id, otherId, showing, tpm } from "../policy/made-hosts.ts";
import { type AskConsole, consoleOf, session } from "./admin-parts.ts";

const key = fingerprintOf(attestedKey(1));
const otherKey = fingerprintOf(attestedKey(2));

class Book {
  book: PinBook = emptyPinBook;
  update(change: (book: PinBook) => PinBook): void {
    this.book = change(this.book);
  }
}

function pinningOf(...pieces: readonly PieceProof[]) {
  const pins = new Book();
  const events: LogEvent[] = [];
  const told = { changes: 0, carriedOut: [] as EndpointId[] };
  const pinning = new Pinning({
    pins,
    proofs: { of: (peer) => showing(...(peer === id ? pieces : [])) },
    carryOut: () => void told.carriedOut.push(...pins.book.forgotten.keys()),
    clock: { now: () => Date.UTC(2027, 0, 2) },
    log: { write: (_level, event) => void events.push(event) },
    onChange: () => void (told.changes += 1),
  });
  return { pinning, pins, events, told };
}

describe("pins of a running node", () => {
  it("are confirmed with what the host shows, and listed", () => {
    const { pinning, told, events } = pinningOf(tpm());
    const pin = {
      endpoint_id: id,
      kind: "tpm2",
      key,
      measurement: null,
      confirmed: true,
      pinned_at: "2027-01-02T00:00:00.000Z",
    };
    expect(pinning.confirm(id, key)).toEqual({ before: [], pins: [pin] });
    expect(pinning.list()).toEqual([pin]);
    expect(told.changes).toBe(1);
    expect(events).toEqual([{ event: "pin-confirmed", peer: id, kind: "tpm2", key }]);
  });

  it("are those of the key that was seen, where a host shows several", () => {
    const { pinning } = pinningOf(tpm({ claims: { attestedKey: attestedKey(2) } }), enclave());
    expect(pinning.confirm(id, key).pins).toMatchObject([{ kind: "secure-enclave", key }]);
  });

  it("replace the one that the host had, when the operator says that its new key is right", () => {
    const first = pinningOf(tpm());
    first.pinning.confirm(id, key);
    const second = pinningOf(tpm({ claims: { attestedKey: attestedKey(2) } }));
    second.pins.book = first.pins.book;
    expect(second.pinning.confirm(id, otherKey)).toMatchObject({ before: [{ key }], pins: [{ key: otherKey }] });
  });

  it.each([
    ["shows another key by now", [tpm({ claims: { attestedKey: attestedKey(2) } })]],
    ["shows nothing", []],
    ["has answered no challenge", [tpm({ challenge: "unasked" })]],
    ["can answer none", [tpm({ challenge: "impossible" })]],
    ["answers no more", [tpm({ challenge: "missed" })]],
    ["answered wrongly", [tpm({ challenge: "failed" })]],
    ["shows no key that holds", [tpm({ claims: {} })]],
  ])("are not made when the host %s", (_what, pieces) => {
    const { pinning, pins, told } = pinningOf(...pieces);
    expectCode("E_INPUT", () => pinning.confirm(id, key));
    expect(pins.book).toBe(emptyPinBook);
    expect(told.changes).toBe(0);
  });

  it("are forgotten at once, and only those of the host that is named", () => {
    const { pinning, told, pins } = pinningOf(tpm());
    pinning.confirm(id, key);
    expect(pinning.forget(otherId)).toEqual([]);
    expect(pinning.list()).toHaveLength(1);
    expect(pinning.forget(id)).toMatchObject([{ endpoint_id: id, key }]);
    expect(pins.book.pins).toEqual([]);
    expect(told.carriedOut).toContain(id);
    expect(told.changes).toBe(3);
  });
});

describe("/api/pins", () => {
  const json = { authorization: session, "content-type": "application/json" };
  const post = (ask: AskConsole, body: string, headers: Record<string, string> = json): Promise<Response> =>
    ask(`/api/pins/${id}`, { method: "POST", body, headers });

  it("lists, confirms and forgets", async () => {
    const { pinning } = pinningOf(tpm());
    const ask = consoleOf({ pins: () => pinning });
    const made = await post(ask, JSON.stringify({ key }));
    expect(made.status).toBe(200);
    expect(await made.json()).toMatchObject({ before: [], pins: [{ key, confirmed: true }] });
    expect(await (await ask("/api/pins", { headers: json })).json()).toMatchObject({ pins: [{ endpoint_id: id }] });
    const gone = await ask(`/api/pins/${id}`, { method: "DELETE", headers: json });
    expect(await gone.json()).toMatchObject({ removed: [{ key }] });
    expect(pinning.list()).toEqual([]);
  });

  it.each([
    ["", "no body"],
    ["{}", "no key"],
    ["[]", "no object"],
    [`{"key":"${key}","kind":"tpm2"}`, "another member"],
    [`{"key":"${key.toUpperCase()}"}`, "capitals"],
    [`{"key":"${key}${" ".repeat(2_000)}"}`, "too much"],
    [`{"key":1}`, "a number"],
  ])("does nothing with %j (%s)", async (body) => {
    const { pinning } = pinningOf(tpm());
    const answer = await post(consoleOf({ pins: () => pinning }), body);
    expect(answer.status).toBe(400);
    expect(pinning.list()).toEqual([]);
  });

  it("names a host by its whole id alone", async () => {
    const { pinning } = pinningOf(tpm());
    const ask = consoleOf({ pins: () => pinning });
    for (const part of [id.slice(0, 20), id.toUpperCase(), `${id}0`]) {
      const init = { body: JSON.stringify({ key }), headers: json };
      expect((await ask(`/api/pins/${part}`, { ...init, method: "POST" })).status).toBe(400);
      expect((await ask(`/api/pins/${part}`, { method: "DELETE", headers: json })).status).toBe(400);
    }
  });

  it("takes no body that another page's form could send", async () => {
    const { pinning } = pinningOf(tpm());
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]) {
      const headers = { authorization: session, "content-type": type };
      expect((await post(consoleOf({ pins: () => pinning }), JSON.stringify({ key }), headers)).status).toBe(400);
    }
    expect(pinning.list()).toEqual([]);
  });
});

/** A relay forges the key in the header of a sealed answer: it authenticates nothing, only opening chunks does. */
import { describe, expect, it } from "vitest";
import { concat, utf8 } from "../../src/base/bytes.ts";
import { generateKeyPair, sharedKey } from "../../src/crypto/box.ts";
import { HostSeal } from "../../src/crypto/seal.ts";
import { decodeRequestEnvelope, encodeResponseHeader, endMarker } from "../../src/wire/envelope.ts";
import { startEngineServer } from "../support/engine-server.ts";
import { attackedMesh, call, chatResponse, outcomes, relayedMesh, secret } from "../support/raw-peer.ts";

describe("K6: the key in the header of an answer", () => {
  it("K6: a relay that answers itself, under a key of its own: E_WIRE, nothing of its answer is shown", async () => {
    const engine = await startEngineServer({ text: "the host's words" });
    const { client, relay, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    relayOptions.change = (parts) => forged(parts, relay.key.publicKey);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "protocol_error"]);
    expect(answer.text).not.toContain("forged");
    expect(outcomes(client)).toEqual(["E_WIRE"]);
    relayOptions.change = undefined;
    expect((await call(client)).content).toBe("the host's words");
    expect(relay.couldRead(secret)).toBe(false);
    await engine.close();
  });

  it("K6: a header with the host's key is not enough: chunks under another key are E_OPEN", async () => {
    const engine = await startEngineServer({ text: "the host's words" });
    const { client, host, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    relayOptions.change = (parts) => forged(parts, host.keys.current.publicKey);
    const answer = await call(client);
    expect([answer.status, answer.code]).toEqual([502, "cannot_open"]);
    expect(answer.text).not.toContain("forged");
    await engine.close();
  });

  async function* forged(parts: AsyncIterable<Uint8Array>, headerKey: Uint8Array): AsyncGenerator<Uint8Array> {
    for await (const _ of parts) break; // the host has answered; the relay puts its own in place of it
    const own = generateKeyPair();
    const seal = new HostSeal(own.publicKey, sharedKey(own.secretKey, generateKeyPair().publicKey), new Uint8Array(16));
    yield encodeResponseHeader(headerKey);
    yield concat([seal.sealChunk(chatResponse("forged"), false), seal.sealChunk(utf8(""), true), endMarker]);
  }
});

describe("a tampered envelope", () => {
  it("K6: a relay that changes one bit of the request gets it refused, and the engine is not asked", async () => {
    const engine = await startEngineServer({ text: "fine" });
    const { client, host, relayOptions } = await relayedMesh(attackedMesh(), engine.url);
    relayOptions.changeRequest = (bytes) => {
      const changed = bytes.slice();
      const at = changed.length - 40;
      changed[at] = changed[at] === 0x41 ? 0x42 : 0x41; // one base64 character of the ciphertext
      expect(decodeRequestEnvelope(changed.subarray(1)).ciphertext.length).toBeGreaterThan(40);
      return changed;
    };
    expect((await call(client)).code).toBe("cannot_open");
    expect(host.events.filter(({ event }) => event === "exchange-refused").length).toBeGreaterThan(0);
    expect(engine.requests.filter(({ inference }) => inference)).toHaveLength(0);
    await engine.close();
  });
});

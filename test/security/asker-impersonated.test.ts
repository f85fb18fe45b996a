/** Somebody asks in the name of another node. */
import { describe, expect, it } from "vitest";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { startEngineServer } from "../support/engine-server.ts";
import {
  asked,
  attackedMesh,
  type RawRequest,
  readAnswer,
  refusals,
  sealAsk,
  sendDirect,
  sendRelayed,
} from "../support/raw-peer.ts";

describe("K5: who asks", () => {
  const victim = identityFrom(newIdentitySeed());

  async function scene() {
    const mesh = attackedMesh();
    const engine = await startEngineServer({ text: "fine" });
    const host = await mesh.start("serve", { engine: [engine.url] });
    const attacker = await mesh.raw();
    const direct = await attacker.meet(host);
    const relayed = await attacker.dial(host, "sealmesh/1");
    const seal = (request: RawRequest, viaRelay: boolean, from = attacker.identity) =>
      sealAsk(from, host.endpointId, host.keys.current.publicKey, request, viaRelay);
    return { engine, host, attacker, direct, relayed, seal };
  }

  it("K5: on a direct stream only the connection's own peer: E_OPEN for any other name", async () => {
    const { engine, host, direct, seal } = await scene();
    const named = seal({ head: { from: victim.id } }, false);
    await expect((await sendDirect(direct, named.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    // not even with the victim's own signature, as a relay has it from a request that it carried
    const signed = seal({ sign: (_head, bytes) => victim.sign(bytes) }, false, victim);
    await expect((await sendDirect(direct, signed.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(refusals(host)).toEqual(["E_OPEN", "E_OPEN"]);
    expect(asked(engine)).toHaveLength(0);
    const own = seal({}, false);
    expect((await readAnswer(await sendDirect(direct, own.bytes), own)).status).toBe(200);
    await engine.close();
  });

  it.each<[string, RawRequest]>([
    ["without a signature", { sign: () => undefined }],
    ["with a forged signature", { sign: () => new Uint8Array(64) }],
    ["signed by somebody else", { head: { from: victim.id } }],
    ["signed over another body", { sign: (_head, bytes) => victim.sign(bytes.slice().fill(0, -32)) }],
    ["without a head", { head: "none" }],
  ])("K5: through a relay %s: E_OPEN", async (_name, request) => {
    const { engine, host, attacker, relayed, seal } = await scene();
    const from = request.head === undefined ? victim : attacker.identity;
    const ask = seal(request, true, from);
    await expect((await sendRelayed(relayed, ask.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(refusals(host)).toEqual(["E_OPEN"]);
    expect(asked(engine)).toHaveLength(0);
    // signed by who is named, it passes
    const honest = seal({}, true, victim);
    expect((await readAnswer(await sendRelayed(relayed, honest.bytes), honest)).status).toBe(200);
    await engine.close();
  });

  it("K5: a signature holds for one envelope: not for another key, id, time, path or host", async () => {
    const { engine, host, relayed, seal } = await scene();
    let signature: Uint8Array | undefined;
    const first = seal({ sign: (_head, bytes) => (signature = victim.sign(bytes)) }, true, victim);
    expect((await readAnswer(await sendRelayed(relayed, first.bytes), first)).status).toBe(200);
    const again = seal({ sign: () => signature }, true, victim); // the same signature under a fresh ephemeral key
    await expect((await sendRelayed(relayed, again.bytes)).read()).rejects.toMatchObject({ code: "E_ABORTED" });
    expect(refusals(host)).toEqual(["E_OPEN"]);
    expect(asked(engine)).toHaveLength(1);
    await engine.close();
  });

  it("K5: every refused opening looks the same to the asker", async () => {
    const { engine, host, direct, seal, attacker } = await scene();
    const other = await attackedMesh().raw();
    const requests = [
      sealAsk(attacker.identity, host.endpointId, other.key.publicKey), // another key
      seal({ head: { from: victim.id } }, false),
      seal({ head: { to: victim.id } }, false),
      seal({ plaintext: new Uint8Array(50) }, false), // no HTTP
      seal({ nonce: new Uint8Array(24) }, false), // a nonce that could be a chunk's
      seal({ headers: [["x-sealmesh-v", "1"]] }, false), // a head that says it twice
      seal({ headers: [["content-length", "3"]] }, false), // two lengths
    ];
    const seen = new Set<string>();
    for (const { bytes } of [...requests, { bytes: Uint8Array.of(0xe1, 0x7b) }, { bytes: Uint8Array.of(0xe1) }]) {
      const reading = (await sendDirect(direct, bytes)).read();
      seen.add(
        await reading.then(
          () => "read",
          (thrown: Error) => thrown.message,
        ),
      );
    }
    expect([...seen]).toEqual(["the peer aborted the stream (code 1)"]);
    expect(refusals(host)).toHaveLength(9);
    expect(asked(engine)).toHaveLength(0);
    await engine.close();
  });
});

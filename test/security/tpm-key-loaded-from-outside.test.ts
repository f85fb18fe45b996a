/**
 * A program's key whose public area is loaded into a real, certified TPM, with all the attributes of a key that never
 * left it. The TPM does not have the private half, and must not be made to say that it holds the key.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { flushLeftovers } from "../../src/attest/collect/tpm/commands.ts";
import { makeCredential } from "../../src/attest/collect/tpm/credential.ts";
import type { TpmDevice } from "../../src/attest/collect/tpm/device.ts";
import { type EndorsementKey, endorsementKeys } from "../../src/attest/collect/tpm/keys.ts";
import { decodePublicArea, nameOf } from "../../src/attest/collect/tpm/structures.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import {
  attestationArea,
  bindingOf,
  forgedItem,
  forgedQuote,
  forgedSignature,
  goodAttributes,
  inputFor,
  pcrValues,
  sized,
  softwareKey,
  type SoftwareKey,
} from "../support/tpm-forger.ts";
import { withDevice } from "../support/tpm-host.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");
const u32 = (value: number): Buffer => hex(value.toString(16).padStart(8, "0"));
const activateCredential = u32(0x147);
/** "May be used for ActivateCredential", which everybody fulfils. */
const policy = createHash("sha256").update(Buffer.alloc(32)).update(u32(0x16c)).update(activateCredential).digest();
const passwordSession = hex("40000009 0000 01 0000");
const policySession = (handle: Buffer): Buffer => Buffer.concat([handle, hex("0000 01 0000")]);
const secret = new Uint8Array(32).fill(1);

async function send(device: TpmDevice, code: number, parts: readonly Buffer[], tag = "8001"): Promise<Buffer> {
  const body = Buffer.concat(parts);
  for (;;) {
    const command = Buffer.concat([hex(tag), u32(10 + body.length), u32(code), body]);
    const answer = Buffer.from(await device.transmit(command));
    if (answer.readUInt32BE(6) !== 0x922) return answer; // busy with testing itself
  }
}

/** Handle of a new policy session. */
async function startPolicy(device: TpmDevice): Promise<Buffer> {
  const nonce = sized(Buffer.alloc(16, 1));
  return (await send(device, 0x176, [hex("40000007 40000007"), nonce, hex("0000 01 0010 000b")])).subarray(10, 14);
}

describe.skipIf(swtpmMissing !== undefined)("a key that the TPM only knows by its public area", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;
  let endorsement: EndorsementKey | undefined;

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
    endorsement = await withDevice(tpm, async (device) => (await endorsementKeys(device))[0]);
  }, 60_000);

  afterAll(() => maker?.close());

  /** @returns response of ActivateCredential */
  async function activate(area: Uint8Array, authorise: (device: TpmDevice) => Promise<Buffer>): Promise<Buffer> {
    return withDevice(tpm, async (device) => {
      await flushLeftovers(device);
      const loaded = await send(device, 0x167, [sized(Buffer.alloc(0)), sized(area), hex("40000001")]);
      expect(loaded.toString("hex", 6, 10)).toBe("00000000");
      if (endorsement === undefined) throw new Error("no endorsement key");
      const credential = makeCredential({
        endorsementKey: endorsement.area,
        name: nameOf(decodePublicArea(area)),
        secret,
      });
      return endorsement.load(device, async ({ handle }) => {
        const sessions = Buffer.concat([await authorise(device), passwordSession]);
        const parameters = [sized(credential.blob), sized(credential.encryptedSeed)];
        const handles = [loaded.subarray(10, 14), u32(handle)];
        return send(device, 0x147, [...handles, u32(sessions.length), sessions, ...parameters], "8002");
      });
    });
  }

  const byPolicy = async (device: TpmDevice): Promise<Buffer> => {
    const session = await startPolicy(device);
    await send(device, 0x16c, [session, activateCredential]);
    return policySession(session);
  };

  /** TPM_RC_AUTH_UNAVAILABLE: nobody can be entitled to use it. */
  const unavailable = 0x12f;

  test.each([
    ["its password, which is empty", async () => passwordSession, (key: SoftwareKey) => attestationArea(key)],
    ["a policy that everybody fulfils", byPolicy, withPolicy],
  ])("is not said to be in it, for %s", async (_what, authorise, areaOf) => {
    const answer = await activate(areaOf(softwareKey()), authorise);
    expect(answer.readUInt32BE(6)).toBe(unavailable);
  });

  test("is no attested key when it has a policy: not all TPMs need be as careful", () => {
    const key = softwareKey();
    const area = withPolicy(key);
    const quote = forgedQuote({ area, extraData: bindingOf(key), pcrValues });
    const item = forgedItem({ area, quote, signature: forgedSignature(key, quote), pcrValues });
    expect(tpm2.verify(inputFor(item)).verdict.signature).toEqual({ outcome: "fail", reason: "key-unusable" });
    expect(tpm2.residence?.(item, secret)).toBeUndefined();
  });
});

function withPolicy(key: SoftwareKey): Uint8Array {
  const plain = Buffer.from(attestationArea(key, goodAttributes | 0x80));
  return Buffer.concat([plain.subarray(0, 8), sized(policy), plain.subarray(10)]);
}

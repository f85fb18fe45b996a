/** A key in a real, certified TPM that signs anything, and a quote that its owner wrote by hand. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { activateCredential, signHashed, withPrimary } from "../../src/attest/collect/tpm/commands.ts";
import { makeCredential } from "../../src/attest/collect/tpm/credential.ts";
import { attestationTemplate, endorsementKeys } from "../../src/attest/collect/tpm/keys.ts";
import { attribute, decodePublicArea, nameOf, type PublicArea } from "../../src/attest/collect/tpm/structures.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { tpm2 } from "../../src/attest/kinds/tpm2.ts";
import { tierOf } from "../../src/attest/verdict.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { attestationArea, bindingOf, forgedItem, forgedQuote, inputFor, pcrValues } from "../support/tpm-forger.ts";
import { withDevice } from "../support/tpm-host.ts";

const unrestricted = { ...attestationTemplate, attributes: attestationTemplate.attributes & ~attribute.restricted };
const standing = { challenged: true, pin: "agrees" } as const;

describe.skipIf(swtpmMissing !== undefined)("a quote written by hand", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
  }, 60_000);

  afterAll(() => maker?.close());

  /**
   * Has the TPM sign a quote that it never made.
   *
   * @param claimed attributes that the evidence gives the key
   */
  async function forgedInTpm(claimed?: number): Promise<EvidenceItem> {
    return withDevice(tpm, async (device) => {
      const [endorsement] = await endorsementKeys(device);
      return withPrimary(device, unrestricted, async (key) => {
        const point = pointIn(key.area);
        const area = claimed === undefined ? key.area.bytes : attestationArea(point, claimed);
        const quote = forgedQuote({ area, extraData: bindingOf(point), pcrValues });
        return forgedItem({
          area,
          quote,
          signature: await signHashed(device, key, quote),
          pcrValues,
          endorsementArea: endorsement?.area.bytes ?? new Uint8Array(0),
          collateral: [endorsement?.certificate ?? new Uint8Array(0), maker.intermediate],
        });
      });
    });
  }

  test("is refused for what its key may do, and claims nothing", async () => {
    const item = await forgedInTpm();
    const { verdict, claims } = tpm2.verify(inputFor(item, { roots: [maker.root], nowMs: Date.now() }));
    expect(verdict.signature).toEqual({ outcome: "pass", reason: "signature-holds" });
    expect(verdict["key-residence"]).toEqual({ outcome: "fail", reason: "key-not-restricted" });
    expect(claims).toEqual({});
    expect(tierOf("tpm2", verdict, standing)).toBe("none");
    expect(tpm2.residence?.(item, new Uint8Array(32))).toBeUndefined();
  });

  test("whose key is said to be restricted is found out by the TPM: the key has another Name", async () => {
    const item = await forgedInTpm(attestationTemplate.attributes);
    const { verdict } = tpm2.verify(inputFor(item, { roots: [maker.root], nowMs: Date.now() }));
    // the lie itself is consistent: only asking the chip tells
    expect(verdict["key-residence"]).toEqual({ outcome: "unknown", reason: "not-activated" });

    const area = await withDevice(tpm, (device) => withPrimary(device, unrestricted, async (key) => key.area));
    const lie = decodePublicArea(attestationArea(pointIn(area), attestationTemplate.attributes));
    expect(await activate(nameOf(lie))).toBe(0x1df);
    expect(await activate(nameOf(area))).toEqual(new Uint8Array(32).fill(1));
  });

  async function activate(name: Uint8Array): Promise<Uint8Array | number> {
    return withDevice(tpm, async (device) => {
      const [endorsement] = await endorsementKeys(device);
      if (endorsement === undefined) throw new Error("no endorsement key");
      const secret = new Uint8Array(32).fill(1);
      const credential = makeCredential({ endorsementKey: endorsement.area, name, secret });
      return withPrimary(device, unrestricted, (attestationKey) =>
        endorsement.load(device, async (endorsementKey) => {
          const answer = await activateCredential(device, { attestationKey, endorsementKey, credential });
          return typeof answer === "number" ? answer : new Uint8Array(answer);
        }),
      );
    });
  }

  test("is not signed by the key that we use", async () => {
    await withDevice(tpm, (device) =>
      withPrimary(device, attestationTemplate, async (key) => {
        const quote = forgedQuote({ area: key.area.bytes, extraData: bindingOf(pointIn(key.area)), pcrValues });
        await expect(signHashed(device, key, quote)).rejects.toThrow("0x3e0");
      }),
    );
  });
});

function pointIn({ key }: PublicArea): { x: Uint8Array; y: Uint8Array } {
  if (key.kind !== "ec") throw new Error("not on a curve");
  return key;
}

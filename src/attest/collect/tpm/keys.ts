/**
 * The two keys of a TPM that evidence needs. The attestation key is made anew from the owner's seed whenever it is used:
 * it is the same key each time, until somebody clears the TPM, and nothing about it has to be stored. The endorsement key
 * is the one that the maker has certified.
 *
 * @see TCG EK Credential Profile 2.5, templates L-1, L-2, H-3 · attestation.md §3.2
 */
import { fromHex } from "../../../base/bytes.ts";
import { unlessMeshError } from "../../../base/errors.ts";
import { type Certificate, parseCertificate } from "../../../crypto/x509.ts";
import { type LoadedKey, readNv, readPublic, withPrimary } from "./commands.ts";
import type { TpmDevice } from "./device.ts";
import { attribute, hierarchy, keyObjectOf, type PublicArea, type Template } from "./structures.ts";

type PrimaryTemplate = Template & { readonly parent: number };

const { fixedTpm, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, decrypt, sign } = attribute;

/** Attributes 00050072: signs only what the TPM itself has made or hashed. */
export const attestationTemplate: PrimaryTemplate = {
  parent: hierarchy.owner,
  nameHash: "sha256",
  attributes: fixedTpm | fixedParent | sensitiveDataOrigin | userWithAuth | restricted | sign,
  policy: new Uint8Array(0),
  aesBits: undefined,
  scheme: "ecdsa-sha256",
  key: { kind: "ec", curve: "P-256", x: new Uint8Array(0), y: new Uint8Array(0) },
};

/** May be used by whoever fulfils the policy "knows the endorsement hierarchy's password", which is empty. */
const lowRange: Omit<PrimaryTemplate, "key"> = {
  parent: hierarchy.endorsement,
  nameHash: "sha256",
  attributes: fixedTpm | fixedParent | sensitiveDataOrigin | 0x80 | restricted | decrypt,
  policy: fromHex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"),
  aesBits: 128,
  scheme: undefined,
};

const p256Template: PrimaryTemplate = {
  ...lowRange,
  key: { kind: "ec", curve: "P-256", x: new Uint8Array(32), y: new Uint8Array(32) },
};
const rsaTemplate: PrimaryTemplate = { ...lowRange, key: { kind: "rsa", modulus: new Uint8Array(256) } };
const p384Template: PrimaryTemplate = {
  parent: hierarchy.endorsement,
  nameHash: "sha384",
  attributes: lowRange.attributes | userWithAuth,
  policy: fromHex("b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"),
  aesBits: 256,
  scheme: undefined,
  key: { kind: "ec", curve: "P-384", x: new Uint8Array(0), y: new Uint8Array(0) },
};

/** NV indices of certificates and the templates of their keys, the quickest key first. */
const certified: readonly (readonly [index: number, template: PrimaryTemplate])[] = [
  [0x01c0_000a, p256Template],
  [0x01c0_0016, p384Template],
  [0x01c0_0002, rsaTemplate],
];
/** Where makers and systems keep endorsement keys that are always there. */
const persistentHandles: readonly number[] = [0x8101_0001, 0x8101_0002, 0x8101_0016];
/** Certificates seen have 0.8 to 2 KiB, their NV indices up to twice that. */
const certificateBytes = 8_192;

/** An endorsement key and how to get it. */
export interface EndorsementKey {
  readonly area: PublicArea;
  /** DER; undefined when the TPM has none for it. */
  readonly certificate: Uint8Array | undefined;
  /** Runs `use` with the key inside the TPM. */
  load<T>(device: TpmDevice, use: (key: LoadedKey) => Promise<T>): Promise<T>;
}

/**
 * All endorsement keys that have a certificate; when none has one, the P-256 one without.
 *
 * @throws E_CONFIG the TPM makes none · as the device
 */
export async function endorsementKeys(device: TpmDevice): Promise<readonly EndorsementKey[]> {
  const found: EndorsementKey[] = [];
  for (const [index, template] of certified) {
    const content = await readNv(device, index, certificateBytes);
    const certificate = content && readCertificate(content);
    const key = certificate && (await keyOf(device, template, certificate));
    if (key) found.push(key);
  }
  if (found.length > 0) return found;
  return [fromTemplate(p256Template, await withPrimary(device, p256Template, async ({ area }) => area), undefined)];
}

/** The key of a certificate: kept in the TPM, or made from its template; undefined when neither is that key. */
async function keyOf(
  device: TpmDevice,
  template: PrimaryTemplate,
  { publicKey, der }: Certificate,
): Promise<EndorsementKey | undefined> {
  for (const handle of persistentHandles) {
    const area = await readPublic(device, handle);
    if (area && keyObjectOf(area.key)?.equals(publicKey)) {
      return { area, certificate: der, load: (_device, use) => use({ handle, area }) };
    }
  }
  const area = await withPrimary(device, template, async (key) => key.area);
  return keyObjectOf(area.key)?.equals(publicKey) ? fromTemplate(template, area, der) : undefined;
}

function fromTemplate(
  template: PrimaryTemplate,
  area: PublicArea,
  certificate: Uint8Array | undefined,
): EndorsementKey {
  return { area, certificate, load: (device, use) => withPrimary(device, template, use) };
}

/** A certificate from an NV index, which may be longer than it; undefined when there is none that can be read. */
function readCertificate(content: Uint8Array): Certificate | undefined {
  const [tag, form, high = 0, low = 0] = content;
  // a SEQUENCE with a length of two bytes: no certificate is shorter than 256
  if (tag !== 0x30 || form !== 0x82) return undefined;
  return unlessMeshError(() => parseCertificate(content.slice(0, 4 + high * 256 + low)));
}

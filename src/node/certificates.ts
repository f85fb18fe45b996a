/** Reads certificates from files, as DER: roots that an operator trusts, and certificates of a TPM's maker. */
import { X509Certificate } from "node:crypto";
import { fromUtf8 } from "../base/bytes.ts";
import { MeshError } from "../base/errors.ts";
import { readSmall, type SmallFile } from "./own-files.ts";

/** Certificates of all makers together are far smaller. */
const fileBytes = 1_048_576;

/**
 * @param file PEM with any number of certificates, or DER of one
 * @returns    DER, one at least
 * @throws     E_INPUT naming the file: missing, too large, or no certificate in it, or one that cannot be read
 */
export function readCertificates(file: string, options?: SmallFile): readonly Uint8Array[] {
  const bytes = readSmall(file, fileBytes, options);
  const begin = "-----BEGIN CERTIFICATE-----";
  try {
    // DER starts with the tag of a sequence, PEM never does
    if (bytes[0] === 0x30) return [Uint8Array.from(new X509Certificate(bytes).raw)];
    const certificates = fromUtf8(bytes).split(begin).slice(1);
    if (certificates.length === 0) throw new MeshError("E_INPUT", "it has no certificate");
    return certificates.map((text) => Uint8Array.from(new X509Certificate(begin + text).raw));
  } catch (cause) {
    throw new MeshError("E_INPUT", `${file} holds no certificates as PEM or DER`, { cause });
  }
}

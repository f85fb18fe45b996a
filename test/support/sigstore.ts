/**
 * A Sigstore of the test's own: certificate authority and transparency log of @sigstore/mock, a certificate log made here
 * (the mock's signs nothing with the packages that it gets), and bundles over messages as a workflow would make them. No
 * network.
 */
import { createHash, generateKeyPairSync, type KeyPairKeyObjectResult, sign } from "node:crypto";
import { initializeCA, initializeTLog } from "@sigstore/mock";
import { toBase64, utf8 } from "../../src/base/bytes.ts";

export const issuer = "https://token.actions.githubusercontent.com";
export const identity = "https://github.com/me/sealmesh/.github/workflows/release.yml@refs/tags/v1.0.0";

const rekorUrl = "https://rekor.example";
const issuerOid = "1.3.6.1.4.1.57264.1.8";
const start = { start: "2020-01-01T00:00:00Z" };

export interface SigstoreWorld {
  /** trusted_root.json */
  readonly root: string;
  /** JSON of a bundle over `message`. */
  bundle(message: Uint8Array, change?: BundleChange): Promise<Uint8Array>;
}

export interface BundleChange {
  readonly issuer?: string;
  readonly identity?: string;
  /** Changes the parsed JSON before it is written. */
  readonly edit?: (bundle: BundleJson) => void;
}

export interface BundleJson {
  verificationMaterial: {
    certificate?: { rawBytes: string };
    publicKey?: { hint: string };
    tlogEntries: {
      logIndex: string;
      logId: object;
      kindVersion: object;
      inclusionProof: object;
      integratedTime: string;
      inclusionPromise?: { signedEntryTimestamp: string };
      canonicalizedBody: string;
    }[];
  };
  messageSignature?: { messageDigest: { algorithm: string; digest: string }; signature: string };
  dsseEnvelope?: { payload: string; payloadType: string; signatures: { sig: string; keyid: string }[] };
}

const p256 = (): KeyPairKeyObjectResult => generateKeyPairSync("ec", { namedCurve: "P-256" });

type CertificateLog = Exclude<Parameters<typeof initializeCA>[1], undefined>;

/** As Rekor answers; the mock's own types come from a package that is not installed. */
interface LogEntry {
  readonly body: string;
  readonly integratedTime: number;
  /** Hex. */
  readonly logID: string;
  readonly logIndex: number;
  readonly verification: {
    readonly signedEntryTimestamp: string;
    readonly inclusionProof: {
      readonly logIndex: number;
      readonly treeSize: number;
      readonly checkpoint: string;
      readonly hashes: readonly string[];
      readonly rootHash: string;
    };
  };
}

/** Signs what it gets, as RFC 6962 §3.2 has it for a certificate before its issue. */
function certificateLog({ publicKey, privateKey }: KeyPairKeyObjectResult): CertificateLog {
  const spki = publicKey.export({ format: "der", type: "spki" });
  const logID = createHash("sha256").update(spki).digest();
  return {
    publicKey: spki,
    logID,
    log: (certificate, issuerID) => {
      const time = Buffer.alloc(8);
      time.writeBigUInt64BE(BigInt(Date.now()));
      const tbs = firstInside(Buffer.from(certificate));
      const length = Buffer.from([tbs.length >> 16, tbs.length >> 8, tbs.length].map((part) => part & 0xff));
      const parts = [
        Buffer.from([0, 0]),
        time,
        Buffer.from([0, 1]),
        Buffer.from(issuerID),
        length,
        tbs,
        Buffer.alloc(2),
      ];
      const signature = sign("sha256", Buffer.concat(parts), privateKey);
      const rest = [logID, time, Buffer.from([0, 0, 4, 3, 0, signature.length]), signature];
      const sct = Buffer.concat([Buffer.from([0]), ...rest]);
      return Promise.resolve(Uint8Array.from([0, sct.length, ...sct]).buffer);
    },
  };
}

/** The first element inside a DER sequence, with its head. */
function firstInside(der: Buffer): Buffer {
  const head = (at: number): { body: number; end: number } => {
    const first = der[at + 1] ?? 0;
    const count = first < 0x80 ? 0 : first & 0x7f;
    const body = at + 2 + count;
    const length = count === 0 ? first : der.readUIntBE(at + 2, count);
    return { body, end: body + length };
  };
  const { body } = head(0);
  return der.subarray(body, head(body).end);
}

/** @param withCertificateLog false: its certificates are in none */
export async function sigstoreWorld({ withCertificateLog = true } = {}): Promise<SigstoreWorld> {
  const ctlog = certificateLog(p256());
  const ca = await initializeCA(p256(), withCertificateLog ? ctlog : undefined);
  const tlog = await initializeTLog(rekorUrl, p256());
  const rawBytes = (bytes: ArrayBufferView): string =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  const log = (baseUrl: string, publicKey: Buffer): object => ({
    baseUrl,
    hashAlgorithm: "SHA2_256",
    publicKey: { rawBytes: rawBytes(publicKey), keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: start },
    logId: { keyId: createHash("sha256").update(publicKey).digest("base64") },
  });
  const root = JSON.stringify({
    mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    tlogs: [log(rekorUrl, tlog.publicKey)],
    certificateAuthorities: [
      {
        subject: { organization: "sigstore.mock", commonName: "sigstore" },
        uri: "https://fulcio.example",
        certChain: { certificates: [{ rawBytes: rawBytes(ca.rootCertificate) }] },
        validFor: start,
      },
    ],
    ctlogs: [log("https://ctfe.example", ctlog.publicKey)],
    timestampAuthorities: [],
  });
  return {
    root,
    async bundle(message, { issuer: iss = issuer, identity: san = identity, edit } = {}) {
      const { publicKey, privateKey } = p256();
      const certificate = await ca.issueCertificate({
        publicKey: publicKey.export({ format: "der", type: "spki" }),
        subjectAltName: san,
        extensions: [{ oid: issuerOid, value: iss }],
      });
      const digest = createHash("sha256").update(message).digest();
      const signature = sign("sha256", message, privateKey);
      const pem = `-----BEGIN CERTIFICATE-----\n${rawBytes(certificate).replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;
      const entries = await tlog.log({
        apiVersion: "0.0.1",
        kind: "hashedrekord",
        spec: {
          data: { hash: { algorithm: "sha256", value: digest.toString("hex") } },
          signature: { content: signature.toString("base64"), publicKey: { content: toBase64(utf8(pem)) } },
        },
      });
      const [entry] = Object.values(entries as Readonly<Record<string, LogEntry>>);
      const proof = entry?.verification.inclusionProof;
      if (!entry || !proof) throw new Error("the log gave no entry");
      const hex = (text: string): string => Buffer.from(text, "hex").toString("base64");
      const bundle: BundleJson = {
        verificationMaterial: {
          certificate: { rawBytes: rawBytes(certificate) },
          tlogEntries: [
            {
              logIndex: String(entry.logIndex),
              logId: { keyId: hex(entry.logID) },
              kindVersion: { kind: "hashedrekord", version: "0.0.1" },
              integratedTime: String(entry.integratedTime),
              inclusionPromise: { signedEntryTimestamp: entry.verification.signedEntryTimestamp },
              inclusionProof: {
                logIndex: String(proof.logIndex),
                rootHash: hex(proof.rootHash),
                treeSize: String(proof.treeSize),
                hashes: proof.hashes.map(hex),
                checkpoint: { envelope: proof.checkpoint },
              },
              canonicalizedBody: entry.body,
            },
          ],
        },
        messageSignature: {
          messageDigest: { algorithm: "SHA2_256", digest: digest.toString("base64") },
          signature: signature.toString("base64"),
        },
      };
      edit?.(bundle);
      return utf8(JSON.stringify({ mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", ...bundle }));
    },
  };
}

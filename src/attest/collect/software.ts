/**
 * Makes `software` evidence: a P-256 key of this process, for development. It goes the way of all other kinds and proves
 * nothing, and it is made only where somebody asked for it.
 */
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { concat } from "../../base/bytes.ts";
import type { EvidenceItem } from "../evidence.ts";
import { signSoftwareEvidence } from "../kinds/software.ts";
import type { Collector, CollectorKind, EvidenceRequest } from "./collector.ts";

export const softwareCollector: CollectorKind = {
  kind: "software",
  wanted: ({ software = false }) => software,
  create: () => new SoftwareCollector(),
};

class SoftwareCollector implements Collector {
  readonly kind = "software";
  readonly keyLife = "process";
  readonly #privateKey: KeyObject;
  /** SEC1, 65 bytes. */
  readonly #point: Uint8Array;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { x = "", y = "" } = publicKey.export({ format: "jwk" });
    const coordinates = [x, y].map((coordinate) => Uint8Array.from(Buffer.from(coordinate, "base64url")));
    this.#privateKey = privateKey;
    this.#point = concat([Uint8Array.of(4), ...coordinates]);
  }

  async collect(request: EvidenceRequest): Promise<EvidenceItem> {
    const { issuedAtMs } = request;
    const key = { key: this.#privateKey, dsaEncoding: "ieee-p1363" } as const;
    const evidence = signSoftwareEvidence({
      ...request,
      attestedKey: this.#point,
      sign: (message) => Uint8Array.from(sign("sha256", message, key)),
    });
    return { kind: this.kind, version: 1, evidence, collateral: [], issuedAtMs };
  }

  async sign(message: Uint8Array): Promise<Uint8Array> {
    return Uint8Array.from(sign("sha256", message, this.#privateKey));
  }
}

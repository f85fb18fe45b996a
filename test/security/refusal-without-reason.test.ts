/**
 * One boolean for all failures leaves people guessing, and makes them switch the demand off. Each cause has its own words:
 * the rule that is in force, the host, the factor that it fails, and one sentence.
 */
import { describe, expect, it } from "vitest";
import { reasons } from "../../src/attest/reasons.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { shortId } from "../../src/base/brand.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { generateKeyPair } from "../../src/crypto/box.ts";
import type { Flags } from "../../src/node/config.ts";
import {
  attestByHand,
  blobOf,
  demandingClient,
  demandsKey,
  freshKey,
  gotPrompt,
  refusesChallenge,
  shows,
} from "../support/attested-mesh.ts";
import type { TestKey } from "../support/evidence.ts";
import { attackedMesh, call, type RawPeer, type RawPeerOptions } from "../support/raw-peer.ts";

type BlobParts = Parameters<typeof blobOf>;

interface Cause {
  readonly rule: string;
  /** Factor and reason, as the message has them. */
  readonly factor?: string;
  readonly sentence?: string;
  readonly flags?: Flags;
  readonly options?: RawPeerOptions;
  readonly attest?: (host: RawPeer, key: TestKey) => void;
}

/** A host whose blob differs from a good one in what is given. */
const blobWith =
  (change: (host: RawPeer) => Partial<BlobParts[1]>, says: BlobParts[2] = {}) =>
  (host: RawPeer, key: TestKey): void => {
    const evidence = async (): Promise<EvidenceItem> => {
      const good = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
      return await blobOf(key, { ...good, ...change(host) }, says);
    };
    attestByHand(host, key, { evidence: async () => shows(await evidence()) });
  };

const other = generateKeyPair().publicKey;

const causes: Readonly<Record<string, Cause>> = {
  "no evidence": {
    rule: "no-evidence",
    attest: (host, key) => attestByHand(host, key, { evidence: () => shows() }),
  },
  "evidence that is none": {
    rule: "tier-not-reached",
    factor: "parse (malformed)",
    attest: (host, key) => {
      const item = { kind: "secure-enclave", version: 1, evidence: utf8("{}"), collateral: [], issuedAtMs: 0 };
      attestByHand(host, key, { evidence: () => shows(item) });
    },
  },
  "a kind that is not known": {
    rule: "tier-not-reached",
    factor: "parse (unknown-kind)",
    attest: (host, key) => {
      const item = { kind: "made-up", version: 1, evidence: utf8("{}"), collateral: [], issuedAtMs: 0 };
      attestByHand(host, key, { evidence: () => shows(item) });
    },
  },
  "a signature that does not hold": {
    rule: "tier-not-reached",
    factor: "signature (signature-wrong)",
    attest: (host, key) => {
      const evidence = async (): Promise<EvidenceItem> => {
        const request = { endpointId: host.id, inferenceKey: host.key.publicKey, issuedAtMs: Date.now() };
        const good = await blobOf(key, request);
        const text = Buffer.from(good.evidence).toString().replace("M4 Max", "M4 Mix");
        return { ...good, evidence: utf8(text) };
      };
      attestByHand(host, key, { evidence: async () => shows(await evidence()) });
    },
  },
  "another node": {
    rule: "tier-not-reached",
    factor: "binding (other-node)",
    attest: (host, key) => blobWith(() => ({ endpointId: differentFrom(host) }))(host, key),
  },
  "another inference key": {
    rule: "tier-not-reached",
    factor: "binding (other-inference-key)",
    attest: blobWith(() => ({ inferenceKey: other })),
  },
  "protection off": {
    rule: "tier-not-reached",
    factor: "device-state (sip-off)",
    attest: blobWith(() => ({}), { sip: false }),
  },
  "secure boot off": {
    rule: "tier-not-reached",
    factor: "device-state (secure-boot-off)",
    attest: blobWith(() => ({}), { secureBoot: false }),
  },
  "a clock ahead": {
    rule: "tier-not-reached",
    factor: "fresh (clock-ahead)",
    attest: blobWith(() => ({ issuedAtMs: Date.now() + 60_000 })),
  },
  "a time that is no time": {
    rule: "tier-not-reached",
    factor: "fresh (time-unreadable)",
    attest: blobWith(() => ({}), { timestamp: "yesterday" }),
  },
  "a time long past": {
    rule: "stale",
    sentence: reasons["too-old"],
    attest: blobWith(() => ({ issuedAtMs: Date.now() - 700_000 })),
  },
  "a challenge that is not answered": {
    rule: "challenge-unanswered",
    attest: (host, key) => attestByHand(host, key, { challenge: () => refusesChallenge }),
  },
  "a tier that this kind never reaches": {
    rule: "tier-not-reached",
    factor: "chain (not-shown)",
    flags: { requireAttestedHosts: "vendor" },
    attest: blobWith(() => ({})),
  },
  "no pin": {
    rule: "tier-not-reached",
    sentence: "pin",
    flags: { requireAttestedHosts: "pinned" },
    attest: blobWith(() => ({})),
  },
  "no key": { rule: "encryption-required", options: { kind: "old" } },
  "not on the list": { rule: "host-not-listed", flags: { allowHosts: ["ab".repeat(32)] } },
};

function differentFrom({ id }: RawPeer): RawPeer["id"] {
  return ((id.startsWith("0") ? "1" : "0") + id.slice(1)) as RawPeer["id"];
}

describe("A9: a refusal", () => {
  const told = new Map<string, string>();

  it.each(Object.entries(causes))(
    "A9: for %s is 503 with code, host, rule and the factor that it fails",
    async (name, cause) => {
      const mesh = attackedMesh();
      const host = await mesh.raw({ role: "host", models: ["scripted"], ...cause.options });
      const key = freshKey();
      cause.attest?.(host, key);
      const flags = cause.flags ?? demandsKey;
      const client = await demandingClient(mesh, [host], flags);
      const refused = await call(client);
      const { message = "" } = refused;
      expect([refused.status, refused.code]).toEqual([503, "refused"]);
      expect(message).toContain(`${shortId(host.id)} (`);
      expect(message).toContain(cause.rule);
      expect(message).toContain(cause.factor ?? "");
      expect(message).toContain(cause.sentence ?? "");
      if (flags.requireAttestedHosts)
        expect(message).toContain(`--require-attested-hosts=${flags.requireAttestedHosts}: `);
      expect(gotPrompt(host)).toBe(false);
      // what differs from one cause to the next is more than the id
      const words = message.replaceAll(shortId(host.id), "HOST");
      for (const [cause_, said] of told) expect(words, `${name} is told like ${cause_}`).not.toBe(said);
      told.set(name, words);
    },
  );

  it("A9: of several hosts says of each why", async () => {
    const mesh = attackedMesh();
    const hosts = await Promise.all([1, 2].map(() => mesh.raw({ role: "host", models: ["scripted"] })));
    const [first, second] = hosts;
    if (!first || !second) throw new Error("two were started");
    const [key, key2] = [freshKey(), freshKey()];
    blobWith(() => ({ inferenceKey: other }))(first, key);
    attestByHand(second, key2, { challenge: () => refusesChallenge });
    const client = await demandingClient(mesh, hosts);
    const { message = "" } = await call(client);
    const ofFirst = message.slice(message.indexOf(shortId(first.id)));
    const ofSecond = message.slice(message.indexOf(shortId(second.id)));
    expect(ofFirst.startsWith(`${shortId(first.id)} (--require-attested-hosts=key: tier-not-reached`)).toBe(true);
    expect(ofSecond.startsWith(`${shortId(second.id)} (--require-attested-hosts=key: challenge-unanswered`)).toBe(true);
  });

  it("A9: repeats nothing that the host has written", async () => {
    const mesh = attackedMesh();
    const host = await mesh.raw({ role: "host", models: ["scripted"] });
    const text = "PEER-TEXT\u001b[2J";
    const says = { chipName: text, hardwareModel: text, binaryHash: text, timestamp: text };
    blobWith(() => ({}), says)(host, freshKey());
    const client = await demandingClient(mesh, [host]);
    const refused = await call(client);
    expect(refused.status).toBe(503);
    expect(refused.text).not.toContain("PEER-TEXT");
  });
});

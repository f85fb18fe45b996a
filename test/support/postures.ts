/** Postures for tests: the best there is, with single things changed, and hosts by hand that tell them. */
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  closed,
  everyMachineDoor,
  everyProcessDoor,
  type HardeningReport,
  stepNames,
} from "../../src/harden/report.ts";
import type { EvidenceItem } from "../../src/attest/evidence.ts";
import { signSoftwareEvidence } from "../../src/attest/kinds/software.ts";
import type { PostureStatus } from "../../src/node/posture.ts";
import { SecurityPostureSchema } from "../../src/wire/gen/sealmesh_pb.ts";
import { type Door, encodePosture, everyDoor, type Posture } from "../../src/wire/posture.ts";
import { attestByHand, shows } from "./attested-mesh.ts";
import { signP1363, type TestKey } from "./evidence.ts";
import { answerSealed, chatResponse, openAsk, type RawPeer } from "./raw-peer.ts";

/** A Linux host with every door closed. */
export function closedPosture(change: Partial<Posture> = {}): Posture {
  return {
    platform: "linux",
    doors: everyDoor("closed"),
    hardening: true,
    engine: "none",
    scrubbed: [],
    confidentialVm: undefined,
    build: undefined,
    runtime: undefined,
    ...change,
  };
}

/** The same with some doors in another state. */
export function postureWith(doors: Partial<Posture["doors"]>, change: Partial<Posture> = {}): Posture {
  return closedPosture({ doors: { ...everyDoor("closed"), ...doors }, ...change });
}

/** As a version writes it that has no such door. */
export function withoutDoor(posture: Posture, door: Door): Uint8Array {
  const message = fromBinary(SecurityPostureSchema, encodePosture(posture));
  message.doors = message.doors.filter(({ name }) => name !== door);
  return toBinary(SecurityPostureSchema, message);
}

/** Of a host that says nothing. */
export const untold: PostureStatus = { standing: "none", said: null, text: null };

/** Of a process that has closed all of its doors. */
export function closedReport(change: Partial<HardeningReport> = {}): HardeningReport {
  return {
    platform: "linux",
    on: true,
    process: everyProcessDoor(closed("")),
    machine: everyMachineDoor(closed("")),
    scrubbed: [],
    confidentialVm: "none",
    steps: stepNames.map((name) => ({ name, applied: true, why: "" })),
    ...change,
  };
}

// ---- hosts by hand

/** What it says of itself in a record, in gossip (field 37) and in evidence; each is left out where it is undefined. */
export interface SaidByHand {
  readonly record?: Posture | Uint8Array | undefined;
  readonly gossip?: Posture | undefined;
  /** With the key that answers its challenges. */
  readonly evidence?: { readonly posture: Posture; readonly key: TestKey } | undefined;
}

/** Lets a peer answer prompts, and say this of itself from now on. */
export function tells(host: RawPeer, { record, gossip, evidence }: SaidByHand): void {
  const posture = record instanceof Uint8Array ? record : record && encodePosture(record);
  const change = posture ? { posture } : {};
  // one record until it says something else: a new one with every frame would be news for everybody
  const own = host.kind === "sealing" ? host.record(change).bytes : undefined;
  host.announcements = () => [host.own({ record: own, posture: gossip ? [encodePosture(gossip)] : [] })];
  host.handlers.http = async (stream, reader) => {
    await answerSealed(stream, await openAsk(reader, host.key), chatResponse("fine"));
  };
  if (!evidence) return;
  const { key } = evidence;
  attestByHand(host, key, {
    evidence: ({ nonce }) => shows(softwareEvidence(host, { ...evidence, nonce })),
  });
}

interface SoftwareParts {
  readonly posture: Posture;
  readonly key: TestKey;
  readonly nonce: Uint8Array | undefined;
}

function softwareEvidence(host: RawPeer, { posture, key, nonce }: SoftwareParts): EvidenceItem {
  const issuedAtMs = Date.now();
  const evidence = signSoftwareEvidence({
    endpointId: host.id,
    inferenceKey: host.key.publicKey,
    attestedKey: key.point,
    nonce,
    issuedAtMs,
    posture: encodePosture(posture),
    sign: (message) => signP1363(key, message),
  });
  return { kind: "software", version: 1, evidence, collateral: [], issuedAtMs };
}

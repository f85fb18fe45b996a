import { expect, it } from "vitest";
import { identityFrom, newIdentitySeed } from "../../../src/crypto/identity.ts";
import { InferenceKeys } from "../../../src/crypto/inference-keys.ts";
import { verifyRecord } from "../../../src/crypto/record.ts";
import { type RecordAdmission, RecordKeeper } from "../../../src/node/record-keeper.ts";
import { encodePosture } from "../../../src/wire/posture.ts";
import { closedPosture, postureWith } from "../../support/postures.ts";

it("signs the posture of now, and anew as soon as it has changed", () => {
  const clock = { now: (): number => 1_800_000_000_000 };
  const identity = identityFrom(newIdentitySeed());
  let posture = encodePosture(closedPosture());
  let seq = 0n;
  const records = new RecordKeeper({
    identity,
    keys: new InferenceKeys({ clock }),
    clock,
    capabilities: [],
    models: () => [],
    described: () => ({}),
    posture: () => posture,
    nextSeq: () => (seq += 1n),
    proven: () => true,
  });
  const told = (): Uint8Array | undefined =>
    verifyRecord(records.current.bytes, identity.id, clock.now()).fields.posture;
  expect(told()).toEqual(posture);
  const before = records.current;
  expect(records.advance()).toBeUndefined();
  expect(records.current).toBe(before);
  posture = encodePosture(postureWith({ debugger: "open" }));
  expect(records.advance()).toBe("renewed");
  expect(told()).toEqual(posture);
  expect(records.current.fields.seq).toBeGreaterThan(before.fields.seq);
});

it("tells how the node was admitted and what it has taken back, and signs anew as soon as that has changed", () => {
  const clock = { now: (): number => 1_800_000_000_000 };
  const identity = identityFrom(newIdentitySeed());
  let admission: RecordAdmission = { credential: undefined, revokedGrants: [] };
  let seq = 0n;
  const records = new RecordKeeper({
    identity,
    keys: new InferenceKeys({ clock }),
    clock,
    capabilities: [],
    models: () => [],
    posture: () => encodePosture(closedPosture()),
    admission: () => admission,
    nextSeq: () => (seq += 1n),
    proven: () => true,
  });
  const [credential, id] = [new Uint8Array(200).fill(1), new Uint8Array(16).fill(2)];
  expect(records.current.fields).not.toHaveProperty("credential");
  for (const next of [
    { credential, revokedGrants: [] },
    { credential, revokedGrants: [id] },
    { credential: credential.slice(1), revokedGrants: [id] },
  ]) {
    admission = next;
    expect(records.advance()).toBe("renewed");
    const { credential: shown, revokedGrants = [] } = verifyRecord(
      records.current.bytes,
      identity.id,
      clock.now(),
    ).fields;
    expect({ credential: shown, revokedGrants }).toEqual(next);
    expect(records.advance()).toBeUndefined();
  }
});

/** A node's own evidence: kept fresh, tied to the key of now, and honest about what could not be made. */
import { expect, it } from "vitest";
import type { Collector, EvidenceRequest } from "../../../src/attest/collect/collector.ts";
import { endpointId } from "../../../src/base/brand.ts";
import { MeshError } from "../../../src/base/errors.ts";
import type { LogEvent } from "../../../src/base/log.ts";
import { Attester } from "../../../src/node/attester.ts";

interface Scene {
  readonly attester: Attester;
  readonly asked: EvidenceRequest[];
  readonly events: LogEvent[];
  readonly clock: { ms: number };
  key: Uint8Array;
}

function scene(collect: (request: EvidenceRequest) => Promise<Uint8Array>): Scene {
  const asked: EvidenceRequest[] = [];
  const events: LogEvent[] = [];
  const clock = { ms: 1_000 };
  const collector: Collector = {
    kind: "made-up",
    available: () => Promise.resolve({ available: true }),
    sign: () => Promise.reject(new MeshError("E_BUG", "nobody asks for signatures here")),
    collect: async (request) => {
      asked.push(request);
      const { issuedAtMs } = request;
      return { kind: "made-up", version: 1, evidence: await collect(request), collateral: [], issuedAtMs };
    },
  };
  const made: Scene = {
    asked,
    events,
    clock,
    key: new Uint8Array(32).fill(1),
    attester: new Attester({
      collectors: [collector],
      endpointId: endpointId("aa".repeat(32)),
      inferenceKey: () => made.key,
      clock: { now: () => clock.ms },
      log: { write: (_level, event) => void events.push(event) },
      collectMs: 50,
    }),
  };
  return made;
}

it("makes evidence for the key of now, and anew when asked", async () => {
  const made = scene(({ inferenceKey }) => Promise.resolve(inferenceKey.slice()));
  expect(made.attester.states).toMatchObject([{ kind: "made-up", item: undefined, inferenceKey: undefined }]);
  await made.attester.refresh();
  made.clock.ms = 2_000;
  made.key = new Uint8Array(32).fill(2);
  await made.attester.refresh();
  expect(made.attester.states).toMatchObject([
    { item: { issuedAtMs: 2_000, evidence: made.key }, inferenceKey: made.key, why: undefined },
  ]);
  expect(made.asked.map(({ nonce }) => nonce)).toEqual([undefined, undefined]);
});

it("keeps what it has when the next cannot be made, says why, and says it once", async () => {
  let broken = false;
  const made = scene(() =>
    broken ? Promise.reject(new MeshError("E_LOST", "the chip is gone")) : Promise.resolve(new Uint8Array(3)),
  );
  await made.attester.refresh();
  broken = true;
  await made.attester.refresh();
  await made.attester.refresh();
  expect(made.attester.states).toMatchObject([{ item: { issuedAtMs: 1_000 }, why: "the chip is gone" }]);
  expect(made.events).toEqual([
    { event: "evidence-not-made", kind: "made-up", code: "E_LOST", what: "the chip is gone" },
  ]);
});

it("waits for hardware that hangs only so long, and ends when it is closed", async () => {
  const made = scene(() => new Promise(() => undefined));
  await made.attester.refresh();
  expect(made.attester.states[0]?.why).toMatch(/longer than 50 ms/);
  const hanging = made.attester.refresh();
  await made.attester.close();
  await hanging;
  expect(made.events).toHaveLength(1);
});

/** Whose turn a conversation's next one is: remembered for a time, in a bounded number. */
import { expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { Affinity } from "../../../src/mesh/affinity.ts";

const clock = { ms: 0, now: (): number => clock.ms };
const host = (digit: string): EndpointId => endpointId(digit.repeat(64));

it("knows the last host and model of a conversation, and nothing where there is none", () => {
  const affinity = new Affinity({ clock });
  affinity.remember("c", { model: "m", host: host("1") });
  affinity.remember("c", { model: "n", host: host("2") });
  affinity.remember(undefined, { model: "m", host: host("3") });
  expect(affinity.of("c")).toMatchObject({ model: "n", host: host("2") });
  expect([affinity.of("d"), affinity.of(undefined)]).toEqual([undefined, undefined]);
});

it("counts the time from the last turn", () => {
  const affinity = new Affinity({ clock, lifeMs: 1_000 });
  affinity.remember("c", { model: "m", host: host("1") });
  clock.ms += 800;
  affinity.remember("c", { model: "m", host: host("1") });
  clock.ms += 1_000;
  expect(affinity.of("c")?.host).toBe(host("1"));
  clock.ms += 1;
  expect(affinity.of("c")).toBeUndefined();
});

it("keeps 20 minutes and 4096 conversations unless told otherwise", () => {
  const affinity = new Affinity({ clock });
  for (let at = 0; at <= 4_096; at += 1) affinity.remember(`c${at}`, { model: "m", host: host("1") });
  expect([affinity.of("c0"), affinity.of("c1")?.model]).toEqual([undefined, "m"]);
  clock.ms += 20 * 60_000;
  expect(affinity.of("c4096")?.model).toBe("m");
  clock.ms += 1;
  expect(affinity.of("c4096")).toBeUndefined();
});

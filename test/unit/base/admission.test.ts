/** Running, waiting, sent away: bounds, order and fairness. */
import { describe, expect, it } from "vitest";
import { Admission, type AdmissionOptions } from "../../../src/base/admission.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { rejectsWith } from "../../support/expect-code.ts";

const roomy: AdmissionOptions = { running: 2, runningPerHolder: 2, queued: 3, queuedPerHolder: 2, waitMs: 5_000 };
const never = new AbortController().signal;
const tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Enters and notes when it got in. */
function enter(admission: Admission, holder: string, order: string[], name = holder): Promise<() => void> {
  return admission.enter(holder, never).then((leave) => {
    order.push(name);
    return leave;
  });
}

describe("admission", () => {
  it("lets as many in as there are places, the others in turn", async () => {
    const admission = new Admission(roomy);
    const order: string[] = [];
    const first = await enter(admission, "a", order, "1");
    await enter(admission, "b", order, "2");
    const third = enter(admission, "a", order, "3");
    await tick();
    expect({ order, running: admission.running, queued: admission.queued, busy: admission.busy }).toEqual({
      order: ["1", "2"],
      running: 2,
      queued: 1,
      busy: true,
    });
    first();
    first(); // given back once, whoever calls twice
    await third;
    expect({ order, running: admission.running, queued: admission.queued }).toEqual({
      order: ["1", "2", "3"],
      running: 2,
      queued: 0,
    });
  });

  it("sends away who finds the queue full, with a time to come back", async () => {
    const admission = new Admission({ ...roomy, running: 1, queued: 1 });
    await admission.enter("a", never);
    const waiting = admission.enter("a", never);
    waiting.catch(() => undefined);
    const refused = admission.enter("b", never).catch((thrown: unknown) => thrown);
    expect(await refused).toMatchObject({ code: "E_BUSY", retryAfterSeconds: 1 });
    admission.close(new MeshError("E_DRAINING", "stopping"));
    await rejectsWith("E_DRAINING", waiting);
  });

  it("bounds what one holder has, running and waiting, and lets others pass it", async () => {
    const admission = new Admission({ ...roomy, running: 3, runningPerHolder: 1, queued: 10, queuedPerHolder: 1 });
    const order: string[] = [];
    const first = await enter(admission, "a", order, "a1");
    const second = enter(admission, "a", order, "a2");
    await rejectsWith("E_BUSY", admission.enter("a", never));
    await enter(admission, "b", order, "b1"); // there is room, only not for a
    first();
    await second;
    expect(order).toEqual(["a1", "b1", "a2"]);
  });

  it("gives a free place to the holder that has the fewest", async () => {
    const admission = new Admission({ ...roomy, queued: 10, queuedPerHolder: 10 });
    const order: string[] = [];
    const first = await enter(admission, "a", order, "a1");
    await enter(admission, "a", order, "a2");
    const others = [enter(admission, "a", order, "a3"), enter(admission, "b", order, "b1")];
    first();
    const [, leave] = [await Promise.race(others), await others[1]];
    expect(order).toEqual(["a1", "a2", "b1"]);
    leave?.();
    await others[0];
    expect(order).toEqual(["a1", "a2", "b1", "a3"]);
  });

  it("takes turns between holders that have as few: a long queue of one holds up nobody", async () => {
    const admission = new Admission({ ...roomy, running: 1, queued: 10, queuedPerHolder: 10 });
    const order: string[] = [];
    const leave = await enter(admission, "a", order, "a1");
    const entering = ["a2", "a3", "a4", "b1", "b2"].map((name) => enter(admission, name.slice(0, 1), order, name));
    const left = entering.map((entered) => entered.then((leaveAgain) => leaveAgain()));
    leave();
    await Promise.all(left);
    expect(order).toEqual(["a1", "a2", "b1", "a3", "b2", "a4"]);
  });

  it("forgets who has gone, and who has waited too long", async () => {
    const admission = new Admission({ ...roomy, running: 1, waitMs: 20 });
    const leave = await admission.enter("a", never);
    const gone = new AbortController();
    const waiting = admission.enter("b", gone.signal);
    gone.abort();
    await rejectsWith("E_ABORTED", waiting);
    await rejectsWith("E_BUSY", admission.enter("b", never));
    expect(admission.queued).toBe(0);
    leave();
    expect(admission.running).toBe(0);
    await rejectsWith("E_ABORTED", admission.enter("b", gone.signal));
  });
});

/** What one try has come to, and whether another host may be asked after it. */
import { describe, expect, it } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { MeshError } from "../../../src/base/errors.ts";
import { AskError, type Attempt, attemptsOf, brokenOff, Trial } from "../../../src/mesh/attempt.ts";
import type { PlainRoute, SealedRoute } from "../../../src/policy/decide.ts";
import { bytesSource, type ByteSource } from "../../../src/tunnel/http.ts";
import { rejectsWith } from "../../support/expect-code.ts";

const host = endpointId("1".repeat(64));
const relays = ["2", "3", "4"].map((digit) => endpointId(digit.repeat(64)));
const [relay] = relays;
const routeOf = (kind: "sealed" | "plain"): SealedRoute | PlainRoute => ({ kind, host }) as SealedRoute | PlainRoute;
const failure = new MeshError("E_LOST", "gone");
const never = new AbortController().signal;
const failing = (error: MeshError): ByteSource => ({ read: () => Promise.reject(error) });

/** Far off: no test waits for it. */
const soon = performance.now() + 60_000;

describe("one try", () => {
  it.each<
    [string, Partial<Pick<Trial, "sent" | "sentBefore" | "answerBegan" | "refused">>, boolean, Attempt["processed"]]
  >([
    ["nothing was sent", {}, true, "no"],
    ["the request may have arrived", { sent: true }, true, "maybe"],
    ["a chunk was opened", { sent: true, answerBegan: true }, false, "yes"],
    ["the host said that it did nothing", { sent: true, answerBegan: true, refused: true }, true, "no"],
    [
      "it said so of the second envelope, and nothing of the first",
      { sent: true, sentBefore: true, answerBegan: true, refused: true },
      true,
      "maybe",
    ],
  ])("%s", (_name, state, mayMoveOn, processed) => {
    const trial = Object.assign(new Trial(routeOf("sealed"), soon), state);
    expect([trial.mayMoveOn, trial.report(failure).processed]).toEqual([mayMoveOn, processed]);
  });

  it("gives a way no more time than is left for all of them, but enough for a peer that lives", () => {
    const early = new Trial(routeOf("sealed"), soon);
    expect([early.late, early.within(3_000)]).toEqual([false, 3_000]);
    const late = new Trial(routeOf("sealed"), performance.now() - 1);
    expect([late.late, late.within(3_000), late.within(100)]).toEqual([true, 500, 100]);
    const between = new Trial(routeOf("sealed"), performance.now() + 1_000).within(3_000);
    expect(between).toBeGreaterThan(500);
    expect(between).toBeLessThanOrEqual(1_000);
  });

  it("begins anew behind a refusal: what comes then counts", () => {
    const trial = Object.assign(new Trial(routeOf("sealed"), soon), { sent: true, answerBegan: true, refused: true });
    trial.startAnew();
    trial.answerBegan = true;
    expect([trial.mayMoveOn, trial.report(failure).processed]).toEqual([false, "yes"]);
  });

  it("is reported with its way and its outcome", () => {
    const sealed = new Trial(routeOf("sealed"), soon);
    sealed.use(relay);
    expect(sealed.report()).toEqual({
      host,
      sealed: true,
      route: "relay",
      relay,
      outcome: "answered",
      processed: "yes",
      reason: null,
      failed_ways: [],
    });
    const plain = Object.assign(new Trial(routeOf("plain"), soon), { sent: true });
    expect(plain.report(failure)).toEqual({
      host,
      sealed: false,
      route: "direct",
      relay: undefined,
      outcome: "E_LOST",
      processed: "maybe",
      reason: "gone",
      failed_ways: [],
    });
  });

  it("is reported without a refusing host's own words, which might repeat the prompt", () => {
    const trial = Object.assign(new Trial(routeOf("sealed"), soon), { sent: true, refused: true });
    const { reason } = trial.report(new MeshError("E_BUSY", "not for 'my secret'"));
    expect(reason).toBe("the host has no free place");
  });

  it("takes relays that it has used last", () => {
    const trial = new Trial(routeOf("sealed"), soon);
    expect(trial.freshFirst(relays)).toEqual(relays);
    trial.use(relays[0]);
    trial.use(undefined);
    expect(trial.freshFirst(relays)).toEqual([relays[1], relays[2], relays[0]]);
    expect(trial.relay).toBeUndefined();
  });
});

describe("watching the answer", () => {
  it("notes the first byte, and not an end without any", async () => {
    const [some, none] = [new Trial(routeOf("plain"), soon), new Trial(routeOf("plain"), soon)];
    await some.watch(bytesSource(utf8("x")), never).read();
    await none.watch({ read: () => Promise.resolve(undefined) }, never).read();
    expect([some.answerBegan, none.answerBegan]).toEqual([true, false]);
  });

  it("tells the other side's abort from the caller's", async () => {
    const aborted = failing(new MeshError("E_ABORTED", "reset"));
    const trial = new Trial(routeOf("sealed"), soon);
    await rejectsWith("E_TRUNCATED", trial.watch(aborted, never).read());
    await rejectsWith("E_LOST", trial.watch(failing(failure), never).read());
    // whatever the stream says after the caller has gone
    await rejectsWith(
      "E_ABORTED",
      trial.watch(failing(new MeshError("E_CLOSED", "erased")), AbortSignal.abort()).read(),
    );
    expect(brokenOff(new MeshError("E_ABORTED", "reset"), "E_RELAY").code).toBe("E_RELAY");
    expect(brokenOff(failure, "E_RELAY")).toBe(failure);
  });
});

describe("the error of a search", () => {
  const attempt: Attempt = {
    host,
    sealed: true,
    route: "direct",
    relay: undefined,
    outcome: "E_BUSY",
    processed: "no",
    reason: "full",
    failed_ways: [],
  };

  it("keeps what the last host said: code, field, time to wait", () => {
    const last = new MeshError("E_OVERFLOW", "too long", { param: "messages", retryAfterSeconds: 4 });
    const error = new AskError(last, [attempt]);
    expect(error).toMatchObject({ code: "E_OVERFLOW", param: "messages", retryAfterSeconds: 4, cause: last });
    expect(new AskError(failure, [attempt])).toMatchObject({ param: undefined, retryAfterSeconds: undefined });
    expect([attemptsOf(error), attemptsOf(last)]).toEqual([[attempt], []]);
  });

  it("one refusal speaks for itself; of several tries, and of one that may have worked, all are told", () => {
    const maybe: Attempt = { ...attempt, route: "relay", relay, outcome: "E_LOST", processed: "maybe" };
    expect(new AskError(failure, [attempt]).message).toBe("gone.");
    expect(new AskError(failure, [maybe]).message).toBe("gone. Tried: 1111111111 (relay, E_LOST, maybe processed).");
    expect(new AskError(failure, [attempt, maybe]).message).toBe(
      "gone. Tried: 1111111111 (direct, E_BUSY, not processed); 1111111111 (relay, E_LOST, maybe processed).",
    );
  });
});

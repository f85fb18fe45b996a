/** The data directory: pins, what was forgotten, and the key that Apple's chip keeps. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { PinStore } from "../../../src/node/pin-store.ts";
import { carryOutForgotten, openState, type State } from "../../../src/node/state.ts";
import { withFirstContact, withoutPins } from "../../../src/policy/pins.ts";
import { expectCode } from "../../support/expect-code.ts";
import { eventually } from "../../support/mesh.ts";

const host: EndpointId = endpointId("ab".repeat(32));
const other: EndpointId = endpointId("cd".repeat(32));
const value = { kind: "tpm2", key: "0f".repeat(16), measurement: undefined };

/** As state.ts tells a process from a later one with its number. */
function startOfParent(): string {
  if (process.platform !== "linux") return "unknown";
  const fields = readFileSync(`/proc/${process.ppid}/stat`, "utf8").split(")").at(-1)?.trim().split(" ");
  return fields?.[19] ?? "unknown";
}

let directory: string;
let states: State[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "sealmesh-state-"));
});
afterEach(() => {
  for (const state of states) state.close();
  states = [];
  rmSync(directory, { recursive: true, force: true });
});

function opened(): State {
  const state = openState(directory);
  states.push(state);
  return state;
}

const inFile = (): unknown => JSON.parse(readFileSync(join(directory, "shown-keys.json"), "utf8"));

/** `sealmesh trust forget`, without what it does when no node runs. */
function recordForgotten(id: EndpointId): void {
  new PinStore(join(directory, "pins.json")).update((book) => withoutPins(book, id, 5));
}

describe("what peers have shown", () => {
  const shown = new Map([
    [host, "record"],
    [other, "key"],
  ] as const);

  it("outlives the process", () => {
    const state = opened();
    state.rememberShown(shown);
    state.close();
    expect(opened().shown).toEqual(shown);
  });

  it("is forgotten when the operator says so while the node runs", async () => {
    const state = opened();
    state.rememberShown(shown);
    expect(state.takeForgotten()).toEqual([]);
    recordForgotten(host);
    let taken: readonly EndpointId[] = [];
    await eventually("the list of the forgotten is looked at again", () => {
      taken = state.takeForgotten();
      return taken.length > 0;
    });
    expect(taken).toEqual([host]);
    expect(inFile()).toEqual({ [other]: "key" });
    expect(state.takeForgotten()).toEqual([]);
  });

  it("stays remembered when it is shown again after that", () => {
    const state = opened();
    state.rememberShown(shown);
    state.close();
    recordForgotten(host);
    const second = opened();
    expect(second.shown).toEqual(new Map([[other, "key"]]));
    second.rememberShown(new Map([[host, "key"]]));
    second.close();
    expect(opened().shown.get(host)).toBe("key");
  });
});

describe("carrying out what was forgotten", () => {
  it("is done at once when no node runs", () => {
    const state = opened();
    state.rememberShown(new Map([[host, "key"]]));
    state.close();
    recordForgotten(host);
    const pins = new PinStore(join(directory, "pins.json"));
    expect(carryOutForgotten(directory, pins)).toBe(true);
    expect(inFile()).toEqual({});
    expect(pins.book.forgotten.size).toBe(0);
    expect(existsSync(join(directory, "lock"))).toBe(false);
  });

  it("is left to a node that runs", () => {
    const state = opened();
    state.rememberShown(new Map([[host, "key"]]));
    recordForgotten(host);
    // of this process, which would count as our own: as if it were another one's
    writeFileSync(join(directory, "lock"), `${process.ppid} ${startOfParent()}\n`);
    expect(carryOutForgotten(directory, new PinStore(join(directory, "pins.json")))).toBe(false);
    expect(inFile()).toEqual({ [host]: "key" });
    expect(existsSync(join(directory, "lock"))).toBe(true);
  });
});

describe("pins", () => {
  it("outlive the process", () => {
    const state = opened();
    state.pins.update((book) => withFirstContact(book, host, value, 7));
    state.close();
    expect(opened().pins.book.pins).toMatchObject([{ endpointId: host, ...value, confirmed: false, pinnedAtMs: 7 }]);
  });

  it("that are damaged refuse the start, and leave the directory free", () => {
    writeFileSync(join(directory, "pins.json"), "[]", { mode: 0o600 });
    expectCode("E_STATE", opened);
    expect(existsSync(join(directory, "lock"))).toBe(false);
    expect(readFileSync(join(directory, "pins.json"), "utf8")).toBe("[]");
  });
});

describe("the key of Apple's chip", () => {
  it("is kept as it was written, for its owner alone", () => {
    const { enclaveKey } = opened();
    expect(enclaveKey.read()).toBeUndefined();
    const blob = Uint8Array.of(0, 255, 13, 10, 128);
    enclaveKey.write(blob);
    expect(enclaveKey.read()).toEqual(blob);
    if (process.platform !== "win32") expect(statSync(join(directory, "enclave-key")).mode & 0o777).toBe(0o600);
  });

  it.skipIf(process.platform === "win32")("is refused when others can read it", () => {
    const { enclaveKey } = opened();
    enclaveKey.write(Uint8Array.of(1));
    chmodSync(join(directory, "enclave-key"), 0o640);
    expectCode("E_STATE", () => enclaveKey.read());
    // to be pasted, also where the path has blanks
    expect(() => enclaveKey.read()).toThrow(`chmod 600 '${join(directory, "enclave-key")}'`);
  });
});

describe("the directory", () => {
  it("is taken over from a process that has gone", () => {
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(join(directory, "lock"), `${pid} 1\n`);
    expect(opened().directory).toBe(directory);
  });

  it.runIf(process.platform === "linux")("is taken over when the number of its process is another's by now", () => {
    writeFileSync(join(directory, "lock"), `${process.ppid} 1\n`);
    expect(opened().directory).toBe(directory);
  });

  it("is refused while another process uses it", () => {
    writeFileSync(join(directory, "lock"), `${process.ppid} ${startOfParent()}\n`);
    expectCode("E_STATE", opened);
  });
});

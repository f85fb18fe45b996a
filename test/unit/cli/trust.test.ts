/** `sealmesh trust`: what each word does to the pins of a directory, what it prints, and what it refuses. */
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { trust } from "../../../src/cli/commands/trust.ts";
import { PinStore } from "../../../src/node/pin-store.ts";
import { openState } from "../../../src/node/state.ts";
import { encodePinBook, type Pin, type PinBook, withConfirmed, withFirstContact } from "../../../src/policy/pins.ts";
import { jsonOf, type Printed, runGroup } from "../../support/run-group.ts";

const host: EndpointId = endpointId("ab".repeat(32));
const other: EndpointId = endpointId("cd".repeat(32));
const key = "0f".repeat(16);
const otherKey = "f0".repeat(16);
const build = "33".repeat(32);
const nowMs = Date.UTC(2026, 4, 5);
const first = { kind: "tpm2", key, measurement: undefined };

let folder: string;
let directory: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sealmesh-trust-"));
  directory = join(folder, "state");
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const run = (...words: readonly string[]): Promise<Printed> => runGroup(trust, [...words, "--data-dir", directory]);

async function json<T>(...words: readonly string[]): Promise<T> {
  return jsonOf<T>(await run(...words, "--json"));
}

async function refusal(...words: readonly string[]): Promise<MeshError> {
  try {
    await run(...words);
  } catch (thrown) {
    if (isMeshError(thrown)) return thrown;
    throw thrown;
  }
  throw new Error("nothing was thrown");
}

/** Pins of the directory, made by what a node or an operator did before. */
function given(...changes: readonly ((book: PinBook) => PinBook)[]): void {
  openState(directory).close();
  new PinStore(join(directory, "pins.json")).update((book) => changes.reduce((sum, change) => change(sum), book));
}
const met =
  (id = host, value = first) =>
  (book: PinBook): PinBook =>
    withFirstContact(book, id, value, nowMs);
const confirmed =
  (id = host, value: typeof first | { kind: string; key: string; measurement: string } = first) =>
  (book: PinBook): PinBook =>
    withConfirmed(book, id, value, nowMs);

const pins = (): readonly Pin[] => new PinStore(join(directory, "pins.json")).book.pins;

it("has its commands in the order in which they are needed", () => {
  expect(trust.commands.map(({ name }) => name)).toEqual(["list", "pin", "forget", "export", "import"]);
});

it.runIf(process.getuid?.() === 0)("nothing is written into a directory of another user", async () => {
  given(met());
  chownSync(directory, 4_711, 4_711);
  for (const words of [
    ["pin", host],
    ["pin", host, "--kind", "tpm2", "--key", key],
    ["forget", host],
  ]) {
    const error = await refusal(...words);
    expect(error.code).toBe("E_STATE");
    expect(error.message).toContain("run this as that user");
  }
  expect(pins()).toMatchObject([{ confirmed: false }]);
});

describe("list", () => {
  it("says so when there are none, also without a directory, which it does not make", async () => {
    const { code, out, notes } = await run("list");
    expect([code, out]).toEqual([0, ""]);
    expect(notes).toContain(`no pins in ${directory}`);
    expect(existsSync(directory)).toBe(false);
    expect(await json("list")).toEqual({ data_dir: directory, pins: [] });
  });

  it("shows each pin with its key, by whom, and since when", async () => {
    given(met(), confirmed(other, { kind: "secure-enclave", key: otherKey, measurement: build }));
    const { out } = await run("list");
    const [, mine = "", theirs = ""] = out.split("\n");
    for (const cell of [host, "tpm2", key, " - ", "first contact", "2026-05-05"]) expect(mine).toContain(cell);
    for (const cell of [other, "secure-enclave", otherKey, build, "confirmed"]) expect(theirs).toContain(cell);
  });

  it("gives programs one document", async () => {
    given(met());
    expect(await json("list")).toEqual({
      data_dir: directory,
      pins: [
        {
          endpoint_id: host,
          kind: "tpm2",
          key,
          measurement: null,
          confirmed: false,
          pinned_at: "2026-05-05T00:00:00.000Z",
        },
      ],
    });
  });

  it("refuses a damaged file, and leaves it as it is", async () => {
    given(met());
    writeFileSync(join(directory, "pins.json"), "{");
    expect((await refusal("list")).code).toBe("E_STATE");
    expect(readFileSync(join(directory, "pins.json"), "utf8")).toBe("{");
  });
});

describe("pin", () => {
  it("confirms what first contact pinned, of every kind or of one", async () => {
    const enclave = { kind: "secure-enclave", key: otherKey, measurement: undefined };
    given(met(), met(host, enclave), met(other));
    await run("pin", host, "--kind", "tpm2");
    expect(pins().filter((pin) => pin.confirmed)).toMatchObject([{ endpointId: host, ...first }]);
    const { out } = await run("pin", host);
    expect(out).toContain(`confirmed  ${host}  secure-enclave  ${otherKey}`);
    expect(out).toContain(`unchanged  ${host}  tpm2`);
    expect(pins().filter((pin) => !pin.confirmed)).toMatchObject([{ endpointId: other }]);
  });

  it("pins a key that is known otherwise", async () => {
    given();
    const { out, notes } = await run("pin", host, "--kind", "tpm2", "--key", key, "--measurement", build);
    expect(out).toContain(`pinned     ${host}  tpm2  ${key} with build ${build}`);
    expect(notes).toContain(directory);
    expect(pins()).toMatchObject([{ endpointId: host, kind: "tpm2", key, measurement: build, confirmed: true }]);
  });

  it("replaces what was pinned for that kind, and shows both", async () => {
    given(confirmed());
    const { out } = await run("pin", host, "--kind", "tpm2", "--key", otherKey);
    expect(out).toContain(`replaced   ${host}  tpm2  ${otherKey}, was ${key}`);
    expect(pins()).toMatchObject([{ endpointId: host, key: otherKey, confirmed: true }]);
  });

  it("keeps the build that was pinned with the same key", async () => {
    given(confirmed(host, { kind: "tpm2", key, measurement: build }));
    await run("pin", host, "--kind", "tpm2", "--key", key);
    expect(pins()).toMatchObject([{ key, measurement: build }]);
    await run("pin", host, "--kind", "tpm2", "--key", otherKey);
    expect(pins()).toMatchObject([{ key: otherKey, measurement: undefined }]);
  });

  it("tells programs what was and what is", async () => {
    given(met());
    const { before, pins: after } = await json<{ before: Json[]; pins: Json[] }>("pin", host);
    expect(before).toMatchObject([{ endpoint_id: host, key, confirmed: false }]);
    expect(after).toMatchObject([{ endpoint_id: host, key, confirmed: true }]);
  });

  it("has nothing to confirm where nothing is pinned", async () => {
    given(met(other));
    const error = await refusal("pin", host);
    expect(error.code).toBe("E_INPUT");
    for (const part of ["nothing is pinned", directory, "--key"]) expect(error.message).toContain(part);
    expect((await refusal("pin", other, "--kind", "software")).message).toContain("no key of kind software");
  });

  it("does not make a directory that was misspelt", async () => {
    for (const words of [[], ["--kind", "tpm2", "--key", key]]) {
      const error = await refusal("pin", host, ...words);
      expect(error.code).toBe("E_INPUT");
      expect(error.message).toContain("--data-dir");
    }
    expect(existsSync(directory)).toBe(false);
  });

  it.each([
    [["--key", key], "--key needs --kind"],
    [["--kind", "tpm2", "--measurement", build], "--measurement needs --key"],
    [["--kind", "tpm3", "--key", key], "--kind takes one of"],
    [["--kind", "tpm2", "--key", key.slice(1)], "32 lower-case hex digits"],
    [["--kind", "tpm2", "--key", key.toUpperCase()], "32 lower-case hex digits"],
    [["--kind", "tpm2", "--key", key, "--measurement", "x"], "--measurement takes"],
  ])("%j: %s", async (words, part) => {
    given(met());
    const error = await refusal("pin", host, ...words);
    expect(error.code).toBe("E_USAGE");
    expect(error.message).toContain(part);
    expect(pins()).toMatchObject([{ confirmed: false }]);
  });
});

describe("endpoint ids", () => {
  it.each(["pin", "forget"])("are given whole, and %s says why", async (word) => {
    given(met());
    for (const id of [host.slice(0, 10), host.toUpperCase(), `${host}0`]) {
      const error = await refusal(word, id);
      expect(error.code).toBe("E_USAGE");
      for (const part of ["64 lower-case hex digits", "anybody can make an identity"]) {
        expect(error.message).toContain(part);
      }
    }
    expect(pins()).toHaveLength(1);
  });
});

describe("forget", () => {
  const shownKeys = (): unknown => JSON.parse(readFileSync(join(directory, "shown-keys.json"), "utf8"));

  beforeEach(() => {
    given(met(), confirmed(host, { kind: "secure-enclave", key: otherKey, measurement: build }), met(other));
    const state = openState(directory);
    state.rememberShown(
      new Map([
        [host, "record"],
        [other, "key"],
      ]),
    );
    state.close();
  });

  it("removes all pins of a host, and that it has shown a key", async () => {
    const { out } = await run("forget", host);
    expect(out).toContain(key);
    expect(out).toContain(otherKey);
    expect(pins()).toMatchObject([{ endpointId: other }]);
    expect(shownKeys()).toEqual({ [other]: "key" });
  });

  it("removes one kind only, and then what the host has shown stays", async () => {
    await run("forget", host, "--kind", "tpm2");
    expect(pins().map(({ kind }) => kind)).toEqual(["secure-enclave", "tpm2"]);
    expect(shownKeys()).toEqual({ [host]: "record", [other]: "key" });
  });

  it("forgets what a host without pins has shown", async () => {
    await run("forget", host);
    const state = openState(directory);
    state.rememberShown(new Map([[host, "key"]]));
    state.close();
    expect((await run("forget", host)).out).toContain(`nothing was pinned for ${host}`);
    expect(shownKeys()).toEqual({ [other]: "key" });
  });

  it("tells programs what is gone, and whether a node has still to forget", async () => {
    const document = await json<{ removed: Json[]; node_running: boolean }>("forget", other);
    expect(document).toMatchObject({ removed: [{ endpoint_id: other, key }], node_running: false });
  });

  it("has nothing to remove of a kind that is not pinned", async () => {
    const error = await refusal("forget", other, "--kind", "secure-enclave");
    expect(error.code).toBe("E_INPUT");
    expect(pins()).toHaveLength(3);
  });
});

describe("export and import", () => {
  const exported = (): string => join(folder, "exported.json");

  it("carry confirmed pins to another directory, and nothing else", async () => {
    given(met(other), confirmed());
    const { notes } = await run("export", exported());
    expect(notes).toContain("1 confirmed pin ");
    if (process.platform !== "win32") expect(statSync(exported()).mode & 0o777).toBe(0o600);
    directory = join(folder, "second");
    const { out } = await run("import", exported());
    expect(out).toContain(`added      ${host}  tpm2  ${key}`);
    expect(pins()).toMatchObject([{ endpointId: host, ...first, confirmed: true, pinnedAtMs: nowMs }]);
  });

  it("export without a file is the same document on stdout", async () => {
    given(confirmed());
    await run("export", exported());
    expect((await run("export")).out).toBe(readFileSync(exported(), "utf8"));
  });

  it("export says when the file cannot be written", async () => {
    given(confirmed());
    expect((await refusal("export", join(folder, "none/pins.json"))).code).toBe("E_INPUT");
  });

  it("export replaces a file, and nothing that is none", async () => {
    given(confirmed());
    writeFileSync(exported(), "older");
    await run("export", exported());
    expect(readFileSync(exported(), "utf8")).toContain(key);
    const link = join(folder, "link");
    symlinkSync(exported(), link);
    for (const path of [folder, link]) {
      const error = await refusal("export", path);
      expect(error.code).toBe("E_INPUT");
      expect(error.message).toContain("no ordinary file");
    }
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
  });

  const importable = (...changes: readonly ((book: PinBook) => PinBook)[]): string => {
    const empty: PinBook = { pins: [], forgotten: new Map() };
    writeFileSync(exported(), encodePinBook(changes.reduce((sum, change) => change(sum), empty)));
    return exported();
  };

  it("import confirms what first contact pinned, and replaces it when it differs", async () => {
    given(met(), met(other));
    const { out, notes } = await run("import", importable(confirmed(), confirmed(other, { ...first, key: otherKey })));
    expect(out).toContain(`confirmed  ${host}`);
    expect(out).toContain(`replaced   ${other}  tpm2  ${otherKey}, was ${key}`);
    expect(notes).toContain("2 pins changed, 0 as before");
    expect(pins()).toMatchObject([
      { endpointId: host, key, confirmed: true },
      { endpointId: other, key: otherKey, confirmed: true },
    ]);
  });

  it("import twice changes nothing the second time", async () => {
    const file = importable(confirmed());
    await run("import", file);
    const before = readFileSync(join(directory, "pins.json"), "utf8");
    const { out, notes } = await run("import", file);
    expect(out).toBe("");
    expect(notes).toContain("0 pins changed, 1 as before");
    expect(readFileSync(join(directory, "pins.json"), "utf8")).toBe(before);
  });

  it("import leaves out what nobody has confirmed", async () => {
    const { changes, unconfirmed } = await json<{ changes: Json[]; unconfirmed: number }>("import", importable(met()));
    expect([changes, unconfirmed]).toEqual([[], 1]);
    expect(pins()).toEqual([]);
  });

  it("import takes nothing when a confirmed pin differs, and says which", async () => {
    given(confirmed());
    const file = importable(confirmed(host, { ...first, key: otherKey }), confirmed(other));
    const error = await refusal("import", file);
    expect(error.code).toBe("E_INPUT");
    for (const part of [host.slice(0, 10), key, otherKey, "Nothing was imported", "--replace"]) {
      expect(error.message).toContain(part);
    }
    expect(pins()).toMatchObject([{ endpointId: host, key }]);
  });

  it("import --replace takes it, and shows what was", async () => {
    given(confirmed());
    const file = importable(confirmed(host, { ...first, key: otherKey }));
    const { changes } = await json<{ changes: Json[] }>("import", file, "--replace");
    expect(changes).toMatchObject([{ change: "replaced", key: otherKey, before: { key, confirmed: true } }]);
    expect(pins()).toMatchObject([{ endpointId: host, key: otherKey, confirmed: true }]);
  });

  it.each(["", "{}", '{"version":2,"pins":[]}', '{"version":1,"pins":[{}]}', "\u0000"])(
    "import refuses %j, and writes nothing",
    async (text) => {
      writeFileSync(exported(), text);
      const error = await refusal("import", exported());
      expect(error.code).toBe("E_INPUT");
      for (const part of [exported(), "sealmesh trust export"]) expect(error.message).toContain(part);
      expect(existsSync(join(directory, "pins.json"))).toBe(false);
    },
  );

  it("import refuses what is no file", async () => {
    for (const file of [folder, join(folder, "none")]) expect((await refusal("import", file)).code).toBe("E_INPUT");
  });

  it("a time that no date can be does not keep the list from being shown", async () => {
    given((book) => withConfirmed(book, host, first, Number.MAX_SAFE_INTEGER));
    expect((await run("list")).out).toContain(`${Number.MAX_SAFE_INTEGER} ms after 1970`);
  });
});

type Json = Readonly<Record<string, unknown>>;

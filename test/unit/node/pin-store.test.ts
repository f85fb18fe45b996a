/** pins.json: shared by processes, never written from memory, never silently dropped. */
import { spawn, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { type EndpointId, endpointId } from "../../../src/base/brand.ts";
import { PinStore } from "../../../src/node/pin-store.ts";
import { emptyPinBook, encodePinBook, type PinBook, withConfirmed, withoutPins } from "../../../src/policy/pins.ts";
import { expectCode } from "../../support/expect-code.ts";

const folder = mkdtempSync(join(tmpdir(), "sealmesh-pins-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const host = (digits: string): EndpointId => endpointId(digits.repeat(32));
const value = { kind: "tpm2", key: "0f".repeat(16), measurement: undefined };
const pinning = (digits: string) => {
  return (book: PinBook): PinBook => withConfirmed(book, host(digits), value, 1_000);
};

let files = 0;
let path: string;
let lock: string;
beforeEach(() => {
  files += 1;
  path = join(folder, `${files}.json`);
  lock = `${path}.lock`;
});

const idsIn = ({ pins }: PinBook): readonly string[] => pins.map(({ endpointId: id }) => id.slice(0, 2));

/** A process id that nobody has any more. */
function deadPid(): number {
  return spawnSync(process.execPath, ["-e", ""]).pid;
}

it("without a file the book is empty, and nothing is written", () => {
  expect(new PinStore(path).book).toEqual(emptyPinBook);
  expect(existsSync(path)).toBe(false);
});

it("a change is on disk when it returns, for its owner alone, and the lock is gone", () => {
  const store = new PinStore(path);
  store.update(pinning("aa"));
  expect(idsIn(store.book)).toEqual(["aa"]);
  expect(readFileSync(path, "utf8")).toBe(encodePinBook(store.book));
  if (process.platform !== "win32") expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(existsSync(lock)).toBe(false);
});

it("a change starts from what is on disk, not from memory", () => {
  const [node, command] = [new PinStore(path, { lookMs: 60_000 }), new PinStore(path)];
  command.update(pinning("aa"));
  expect(idsIn(node.book)).toEqual([]); // looked at a moment ago
  node.update(pinning("bb"));
  expect(idsIn(node.book)).toEqual(["aa", "bb"]);
  command.update((book) => withoutPins(book, host("aa"), 5));
  expect(idsIn(new PinStore(path).book)).toEqual(["bb"]);
});

it("what another process wrote is seen at the next look", () => {
  const [node, command] = [new PinStore(path, { lookMs: 0 }), new PinStore(path)];
  command.update(pinning("aa"));
  expect(idsIn(node.book)).toEqual(["aa"]);
  rmSync(path);
  expect(node.book).toEqual(emptyPinBook);
});

it("a change that changes nothing writes nothing", () => {
  new PinStore(path).update((book) => book);
  expect(existsSync(path)).toBe(false);
});

it("a change that throws leaves everything as it was, and the lock free", () => {
  const store = new PinStore(path);
  store.update(pinning("aa"));
  const before = readFileSync(path, "utf8");
  expect(() =>
    store.update(() => {
      throw new Error("no");
    }),
  ).toThrow("no");
  expect(readFileSync(path, "utf8")).toBe(before);
  store.update(pinning("bb"));
  expect(idsIn(store.book)).toEqual(["aa", "bb"]);
});

it("a book that could not be read back is not written", () => {
  const store = new PinStore(path);
  store.update(pinning("aa"));
  expectCode("E_INPUT", () => store.update((book) => ({ ...book, pins: [...book.pins, ...book.pins] })));
  expect(idsIn(new PinStore(path).book)).toEqual(["aa"]);
});

describe("a damaged file", () => {
  it("refuses the start", () => {
    writeFileSync(path, "{", { mode: 0o600 });
    expectCode("E_STATE", () => new PinStore(path));
  });

  it("is not taken up by a node that runs, which says so once and goes by what stood there before", () => {
    const complaints: string[] = [];
    const store = new PinStore(path, { lookMs: 0, onDamaged: ({ code }) => complaints.push(code) });
    store.update(pinning("aa"));
    const good = readFileSync(path);
    writeFileSync(path, "damaged");
    for (let look = 0; look < 3; look += 1) expect(idsIn(store.book)).toEqual(["aa"]);
    expect(complaints).toEqual(["E_STATE"]);
    expectCode("E_STATE", () => store.update(pinning("bb")));
    expect(readFileSync(path, "utf8")).toBe("damaged");
    expect(existsSync(lock)).toBe(false);
    writeFileSync(path, good);
    store.update(pinning("bb"));
    expect(idsIn(store.book)).toEqual(["aa", "bb"]);
  });

  it.skipIf(process.platform === "win32")("is one that others can write to, too", () => {
    new PinStore(path).update(pinning("aa"));
    chmodSync(path, 0o666);
    expectCode("E_STATE", () => new PinStore(path));
  });
});

describe("the lock", () => {
  it("of a process that writes is waited for, then told of", () => {
    writeFileSync(lock, `${process.ppid} other\n`);
    const store = new PinStore(path, { lockMs: 50 });
    const started = performance.now();
    expectCode("E_STATE", () => store.update(pinning("aa")));
    expect(performance.now() - started).toBeGreaterThanOrEqual(50);
    expect(readFileSync(lock, "utf8")).toBe(`${process.ppid} other\n`);
    expect(existsSync(path)).toBe(false);
  });

  it("of a process that has gone is taken over", () => {
    writeFileSync(lock, `${deadPid()} other\n`);
    new PinStore(path, { lockMs: 200 }).update(pinning("aa"));
    expect(existsSync(lock)).toBe(false);
    expect(idsIn(new PinStore(path).book)).toEqual(["aa"]);
  });

  it("that an earlier process with our number left behind is taken over", () => {
    writeFileSync(lock, `${process.pid} other\n`);
    new PinStore(path, { lockMs: 200 }).update(pinning("aa"));
    expect(existsSync(lock)).toBe(false);
  });

  it("that is older than any write takes is taken over", () => {
    writeFileSync(lock, `${process.ppid} other\n`);
    const long = Date.now() / 1_000 - 11;
    utimesSync(lock, long, long);
    new PinStore(path, { lockMs: 200 }).update(pinning("aa"));
    expect(existsSync(lock)).toBe(false);
  });

  it("without content is being made, and left alone until it is old", () => {
    writeFileSync(lock, "");
    const store = new PinStore(path, { lockMs: 50 });
    expectCode("E_STATE", () => store.update(pinning("aa")));
    const long = Date.now() / 1_000 - 11;
    utimesSync(lock, long, long);
    store.update(pinning("aa"));
    expect(idsIn(store.book)).toEqual(["aa"]);
  });

  it("that is given back while we wait lets us go on", async () => {
    const holder = spawn(process.execPath, [
      "-e",
      `const fs = require("node:fs"); const lock = ${JSON.stringify(lock)};
       fs.writeFileSync(lock, process.pid + " held\\n"); console.log("held");
       setTimeout(() => fs.rmSync(lock), 200);`,
    ]);
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    const started = performance.now();
    new PinStore(path).update(pinning("aa"));
    expect(performance.now() - started).toBeGreaterThan(50);
    expect(idsIn(new PinStore(path).book)).toEqual(["aa"]);
  });

  it("that somebody else has taken over since is not given back", () => {
    new PinStore(path).update((book) => {
      writeFileSync(lock, `${process.ppid} other\n`);
      return pinning("aa")(book);
    });
    expect(readFileSync(lock, "utf8")).toBe(`${process.ppid} other\n`);
  });
});

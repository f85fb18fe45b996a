import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { concat, utf8 } from "../../../src/base/bytes.ts";
import type { ByteStream } from "../../../src/base/stream.ts";
import { memoryNetwork } from "../../../src/transport/memory.ts";
import { fileTap, type TapEntry, tapTransport } from "../../../src/transport/tap.ts";
import { connect, readTapFile, readToEnd, startOnLoopback } from "../../support/transport-pair.ts";

const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

test("every byte of every stream is recorded, both ways, with who opened it", async () => {
  const entries: TapEntry[] = [];
  const network = memoryNetwork();
  const dialer = tapTransport(await startOnLoopback(network), (entry) =>
    entries.push({ ...entry, bytes: entry.bytes.slice() }),
  );
  const acceptor = await startOnLoopback(network);
  const [near, far] = await connect(dialer, acceptor);

  const ours = await near.open();
  await exchange(ours, await sendAndTake(ours, "question", far.streams()), "answer");
  const theirs = await far.open();
  await exchange(theirs, await sendAndTake(theirs, "their question", near.streams()), "our answer");

  const recorded = (stream: number, direction: TapEntry["direction"]): Uint8Array =>
    concat(
      entries.filter((entry) => entry.stream === stream && entry.direction === direction).map(({ bytes }) => bytes),
    );
  expect(recorded(0, "out")).toEqual(utf8("question"));
  expect(recorded(0, "in")).toEqual(utf8("answer"));
  expect(recorded(1, "in")).toEqual(utf8("their question"));
  expect(recorded(1, "out")).toEqual(utf8("our answer"));
  expect(new Set(entries.map(({ stream, openedBy }) => `${stream} ${openedBy}`))).toEqual(new Set(["0 us", "1 peer"]));
  expect(
    entries.every(
      ({ peer, alpn, connection }) => peer === acceptor.id && alpn === "sealmesh/1" && connection === near.serial,
    ),
  ).toBe(true);
  await Promise.all([dialer.close(), acceptor.close()]);
});

test("the file is the owner's alone and holds one line per entry", async () => {
  const folder = mkdtempSync(join(tmpdir(), "sealmesh-tap-"));
  folders.push(folder);
  const path = join(folder, "tap.jsonl");
  const sink = fileTap(path, { now: () => 1_700_000_000_000 });
  const peer = "ab".repeat(32) as TapEntry["peer"];
  const entry: TapEntry = {
    connection: 3,
    peer,
    alpn: "mesh-llm/1",
    stream: 0,
    openedBy: "peer",
    direction: "in",
    bytes: Uint8Array.of(0, 255),
  };
  sink(entry);
  sink({ ...entry, direction: "out" });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readTapFile(path)).toEqual([
    { ...entry, t: 1_700_000_000_000 },
    { ...entry, direction: "out", t: 1_700_000_000_000 },
  ]);
});

/** Sends and finishes; the stream as the peer takes it. */
async function sendAndTake(stream: ByteStream, text: string, peers: AsyncIterable<ByteStream>): Promise<ByteStream> {
  await stream.write(utf8(text));
  await stream.finish();
  const { value } = await peers[Symbol.asyncIterator]().next();
  return value as ByteStream;
}

async function exchange(asking: ByteStream, answering: ByteStream, answer: string): Promise<void> {
  await readToEnd(answering);
  await answering.write(utf8(answer));
  await answering.finish();
  await readToEnd(asking);
}

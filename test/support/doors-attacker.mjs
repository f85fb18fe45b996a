// One attempt of a process of the same user to read another one: `node doors-attacker.mjs <way> <pid> <text>`. Prints what
// came of it as JSON: {"got":true} when the text was found in the other process, else {"got":false,"why":"EACCES"}.
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import koffi from "koffi";

const [way, pid, text] = process.argv.slice(2);
const needle = Buffer.from(text);
/** Read at a time; a text across two pieces is found by their overlap. */
const pieceBytes = 4_194_304;

const ways = {
  environ: () => readFileSync(`/proc/${pid}/environ`).includes(needle),
  mem: () => {
    const file = openSync(`/proc/${pid}/mem`, "r");
    try {
      return found((start, piece) => readSync(file, piece, 0, piece.length, start));
    } finally {
      closeSync(file);
    }
  },
  process_vm_readv: () => {
    const vector = koffi.struct("iovec", { base: "uint64_t", length: "uint64_t" });
    const call = koffi
      .load(null)
      .func("process_vm_readv", "long", [
        "int",
        koffi.pointer(vector),
        "ulong",
        koffi.pointer(vector),
        "ulong",
        "ulong",
      ]);
    const read = (start, piece) => {
      const here = { base: koffi.address(piece), length: piece.length };
      const length = Number(call(Number(pid), here, 1, { base: start, length: piece.length }, 1, 0));
      if (length === -1) throw Object.assign(new Error("process_vm_readv"), { code: errorName(koffi.errno()) });
      return length;
    };
    // asked for an address that need not exist: who may not read at all is told so first
    try {
      read(4096, Buffer.alloc(8));
    } catch (thrown) {
      if (thrown.code !== "EFAULT") throw thrown;
    }
    return found(read);
  },
};

function errorName(number) {
  return Object.entries(koffi.os.errno).find(([, value]) => value === number)?.[0] ?? String(number);
}

/** Looks through what the process has written to: where its heap and its stacks are. */
function found(read) {
  for (const line of readFileSync(`/proc/${pid}/maps`, "latin1").split("\n")) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (from === undefined || line.includes("[v")) continue;
    const end = Number.parseInt(to, 16);
    for (let start = Number.parseInt(from, 16); start < end;) {
      const piece = Buffer.alloc(Math.min(pieceBytes, end - start));
      let length = 0;
      try {
        length = read(start, piece);
      } catch {
        break; // reserved, and not there
      }
      if (piece.subarray(0, length).includes(needle)) return true;
      if (length <= needle.length) break;
      start += length === end - start ? length : length - needle.length;
    }
  }
  return false;
}

try {
  console.log(JSON.stringify({ got: ways[way](), why: "" }));
} catch (thrown) {
  console.log(JSON.stringify({ got: false, why: thrown.code ?? String(thrown) }));
}

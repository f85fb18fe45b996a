// TLS bulk between two bare Node processes: what the bytes of a sealed exchange are compared with. One connection of TLS 1.3,
// messages of a length and so many bytes, and nothing of HTTP or sealing.
//
//     node bench/tls-bulk.mjs      the far end; prints one line {"event":"ready","port":...}
//
// A request is 8 bytes: how many follow it (u32), how many are wanted back (u32). The near end is tlsBulk(), in the load generator.
import { once } from "node:events";
import { connect, createServer } from "node:tls";
import { sayReady } from "./ready.mjs";
import { selfSigned } from "./self-signed.mjs";

const headBytes = 8;

/** Sends `up` bytes and takes `down`, so many times, on one connection. @returns MB/s */
export async function tlsBulk({ port, up = 8, down = 8, count }) {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  await once(socket, "secureConnect");
  const sent = Buffer.alloc(up, "s");
  const started = performance.now();
  for (let index = 0; index < count; index += 1) {
    const head = Buffer.alloc(headBytes);
    head.writeUInt32LE(up, 0);
    head.writeUInt32LE(down, 4);
    const taken = take(socket, down);
    socket.write(head);
    socket.write(sent);
    await taken;
  }
  const seconds = (performance.now() - started) / 1_000;
  socket.destroy();
  return { count, perSecond: (Math.max(up, down) * count) / 1e6 / seconds };
}

function take(socket, bytes) {
  return new Promise((resolve, reject) => {
    let left = bytes;
    const onError = (error) => reject(error);
    const onData = (piece) => {
      left -= piece.length;
      if (left > 0) return;
      socket.off("data", onData);
      socket.off("error", onError);
      resolve();
    };
    socket.on("data", onData);
    socket.on("error", onError);
  });
}

function farEnd(socket) {
  let left = 0;
  let wanted = 0;
  socket.on("error", () => socket.destroy());
  socket.on("data", (piece) => {
    let rest = piece;
    if (left === 0) {
      // the near end writes its head alone, in one record
      left = piece.readUInt32LE(0);
      wanted = piece.readUInt32LE(4);
      rest = piece.subarray(headBytes);
    }
    left -= rest.length;
    if (left === 0) socket.write(answerOf(wanted));
  });
}

const answers = new Map();
function answerOf(bytes) {
  const made = answers.get(bytes) ?? Buffer.alloc(bytes, "r");
  answers.set(bytes, made);
  return made;
}

if (process.argv[1] === import.meta.filename) {
  await sayReady(createServer({ ...selfSigned(), minVersion: "TLSv1.3" }, farEnd));
}

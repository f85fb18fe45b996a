/**
 * Runs alone in a network namespace that has nothing but its loopback, and is all that leads out of it (see cells.ts):
 *
 *     node cell-porter.mjs SOCKET ADDRESS,ADDRESS,...
 *
 * SOCKET is a Unix socket that it listens on; who connects writes one line first:
 *
 *     tcp PORT                  the connection goes on to 127.0.0.1:PORT of the namespace
 *     udp ADDRESS:PORT          datagrams, each u16 LE length | u8 index in the list | bytes. What comes to the address at the
 *                               index, on this port, goes out; what comes in is sent from there to ADDRESS:PORT.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";

const [path, list] = process.argv.slice(2);
const outerPort = 4433;
let inner;
let outlet;

const sockets = list.split(",").map((address, index) => {
  const socket = createSocket("udp4");
  socket.on("message", (message) => {
    if (!outlet) return;
    const head = Buffer.alloc(3);
    head.writeUInt16LE(message.length);
    head[2] = index;
    outlet.write(Buffer.concat([head, message]));
  });
  socket.on("error", () => undefined); // the node is gone
  socket.bind(outerPort, address);
  return socket;
});
await Promise.all(sockets.map((socket) => once(socket, "listening")));

const server = createServer((caller) => {
  caller.on("error", () => undefined);
  let held = Buffer.alloc(0);
  const first = (bytes) => {
    held = Buffer.concat([held, bytes]);
    const end = held.indexOf("\n");
    if (end < 0) return;
    caller.off("data", first);
    const [kind, where] = held.toString("latin1", 0, end).split(" ");
    const rest = held.subarray(end + 1);
    if (kind === "udp") return datagrams(caller, where, rest);
    const onward = connect(Number(where), "127.0.0.1");
    onward.on("error", () => caller.destroy());
    caller.on("close", () => onward.destroy());
    onward.write(rest);
    caller.pipe(onward).pipe(caller);
  };
  caller.on("data", first);
});
server.listen(path, () => console.log("ready"));
process.stdin.on("end", () => process.exit()).resume();

function datagrams(caller, where, begun) {
  const [address, port] = where.split(":");
  inner = { address, port: Number(port) };
  outlet = caller;
  let held = Buffer.alloc(0);
  const take = (bytes) => {
    held = Buffer.concat([held, bytes]);
    while (held.length >= 3 && held.length >= 3 + held.readUInt16LE()) {
      const end = 3 + held.readUInt16LE();
      sockets[held[2]]?.send(held.subarray(3, end), inner.port, inner.address);
      held = held.subarray(end);
    }
  };
  caller.on("data", take);
  take(begun);
}

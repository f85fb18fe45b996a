// What the two bare proxies (bare.mjs) have between them, either way a link {write(bytes), onBytes(take)}: one connection of TLS over
// TCP, or one QUIC stream of iroh, whose binding takes and gives bytes as arrays of numbers.
//
//     listen: (onLink) → what the near one needs to connect, as JSON       connect: (that) → the link
import { once } from "node:events";
import { createRequire } from "node:module";
import { connect, createServer } from "node:tls";
import { selfSigned } from "./self-signed.mjs";

export const links = {
  tls: { listen: listenTls, connect: connectTls },
  iroh: { listen: listenIroh, connect: connectIroh },
};

async function listenTls(onLink) {
  const listening = createServer({ ...selfSigned(), minVersion: "TLSv1.3" }, (socket) => onLink(socketLink(socket)));
  listening.listen(0, "127.0.0.1");
  await once(listening, "listening");
  return listening.address().port;
}

async function connectTls(port) {
  const socket = connect({ host: "127.0.0.1", port, rejectUnauthorized: false, minVersion: "TLSv1.3" });
  await once(socket, "secureConnect");
  return socketLink(socket);
}

function socketLink(socket) {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  return { write: (bytes) => socket.write(bytes), onBytes: (take) => socket.on("data", take) };
}

const alpn = Array.from(Buffer.from("bare/1"));
const readBytes = 65_536;

async function irohEndpoint() {
  const iroh = createRequire(import.meta.url)("@number0/iroh/index.js"); // its package.json names a main file that is not there
  const builder = iroh.Endpoint.builder();
  iroh.presetMinimal(builder);
  builder.alpns([alpn]);
  builder.relayMode(iroh.RelayMode.disabled());
  for (const socket of ["127.0.0.1:0", "[::1]:0"]) builder.bindAddr(socket);
  return { iroh, endpoint: await builder.bind() };
}

async function listenIroh(onLink) {
  const { endpoint } = await irohEndpoint();
  const accept = async () => {
    const connection = await (await (await endpoint.acceptNext()).accept()).connect();
    onLink(streamLink(await connection.acceptBi(), [endpoint, connection]));
  };
  accept().catch(() => process.exit(1));
  return { id: Array.from(endpoint.id().toBytes()), direct: endpoint.addr().directAddresses() };
}

async function connectIroh({ id, direct }) {
  const { iroh, endpoint } = await irohEndpoint();
  const address = new iroh.EndpointAddr(iroh.EndpointId.fromBytes(id), undefined, direct);
  const connection = await endpoint.connect(address, alpn);
  return streamLink(await connection.openBi(), [endpoint, connection]);
}

/** What is written while a write is under way goes out with the next one. @param kept what would end if it were collected */
function streamLink({ send, recv }, kept) {
  let waiting = [];
  let writing = false;
  const flush = async () => {
    writing = true;
    while (waiting.length > 0) {
      const bytes = waiting.length === 1 ? waiting[0] : Buffer.concat(waiting);
      waiting = [];
      await send.writeAll(Array.from(bytes));
    }
    writing = false;
  };
  return {
    kept,
    write: (bytes) => {
      waiting.push(bytes);
      if (!writing) flush().catch(() => process.exit(1));
    },
    onBytes: async (take) => {
      for (;;) {
        const bytes = await recv.read(readBytes).catch(() => []);
        if (bytes.length === 0) return;
        take(Buffer.from(bytes));
      }
    },
  };
}

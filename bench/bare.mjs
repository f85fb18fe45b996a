// Two bare proxies with sealing between them: what a sealed exchange over two nodes cannot do without, on Node, and nothing else. It
// has no identities, no mesh, no policy, no bounds and no end that is authenticated; it shows how near to the floor a node
// of this kind could come at best.
//
//     node bench/bare.mjs far LINK PORT         of the engine; prints one line {"event":"ready","at":...,"key":...}
//     node bench/bare.mjs near LINK AT KEY      of the far one; prints one line {"event":"ready","url":...}
//
// One link between them (tls or iroh: bare-link.mjs), with frames both ways: u32 exchange | u32 length, 0 at the end | bytes. A
// request is one frame, ephemeral key[32] | nonce[24] | box; an answer is frames of nonce[24] | box, the first with status and headers as JSON.
import { Agent, createServer, request } from "node:http";
import sodium from "sodium-native";
import { links } from "./bare-link.mjs";
import { endWithParent, sayReady } from "./ready.mjs";

const headBytes = 8;
const keyBytes = 32;
const nonceBytes = 24;
const tagBytes = 16;

const [, , side, kind, at, farKey] = process.argv;
if (side === "far") await far(links[kind], Number(at));
else if (side === "near") await near(links[kind], JSON.parse(at), Buffer.from(farKey, "hex"));

async function near({ connect }, farAt, farPublicKey) {
  const link = await connect(farAt);
  const exchanges = new Map();
  let next = 0;
  onFrames(link, (id, sealed) => exchanges.get(id)?.(sealed));
  const listening = createServer((incoming, outgoing) => {
    const parts = [];
    incoming.on("data", (part) => parts.push(part));
    incoming.on("end", () => {
      const { method, url: path, headers } = incoming;
      const id = (next += 1);
      const ephemeral = { publicKey: Buffer.alloc(keyBytes), secretKey: Buffer.alloc(keyBytes) };
      sodium.crypto_box_keypair(ephemeral.publicKey, ephemeral.secretKey);
      const key = agreed(ephemeral.secretKey, farPublicKey);
      let begun = false;
      exchanges.set(id, (sealed) => {
        if (sealed === undefined) {
          exchanges.delete(id);
          return outgoing.end();
        }
        const bytes = opened(sealed, key);
        if (begun) return outgoing.write(bytes);
        begun = true;
        const answer = JSON.parse(bytes);
        outgoing.writeHead(answer.status, answer.headers);
      });
      const asked = Buffer.concat([Buffer.from(`${JSON.stringify({ method, path, headers })}\n`), ...parts]);
      link.write(framed(id, Buffer.concat([ephemeral.publicKey, sealed(asked, key)])));
    });
  });
  listening.keepAliveTimeout = 600_000;
  await sayReady(listening);
}

async function far({ listen }, enginePort) {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 1_024 });
  const own = { publicKey: Buffer.alloc(keyBytes), secretKey: Buffer.alloc(keyBytes) };
  sodium.crypto_box_keypair(own.publicKey, own.secretKey);
  const linkAt = await listen((link) => {
    onFrames(link, (id, bytes) => {
      const key = agreed(own.secretKey, bytes.subarray(0, keyBytes));
      const asked = opened(bytes.subarray(keyBytes), key);
      const end = asked.indexOf("\n");
      const { method, path, headers } = JSON.parse(asked.subarray(0, end));
      const asking = request({ host: "127.0.0.1", port: enginePort, method, path, headers, agent }, (answer) => {
        const { statusCode: status } = answer;
        link.write(framed(id, sealed(Buffer.from(JSON.stringify({ status, headers: answer.headers })), key)));
        answer.on("data", (piece) => link.write(framed(id, sealed(piece, key))));
        answer.on("end", () => link.write(framed(id, Buffer.alloc(0))));
      });
      asking.end(asked.subarray(end + 1));
    });
  });
  console.log(JSON.stringify({ event: "ready", at: linkAt, key: own.publicKey.toString("hex") }));
  endWithParent();
}

function agreed(secretKey, publicKey) {
  const key = Buffer.alloc(keyBytes);
  sodium.crypto_scalarmult(key, secretKey, publicKey);
  return key;
}

/** nonce | box */
function sealed(bytes, key) {
  const out = Buffer.allocUnsafe(nonceBytes + tagBytes + bytes.length);
  const nonce = out.subarray(0, nonceBytes);
  sodium.randombytes_buf(nonce);
  sodium.crypto_secretbox_easy(out.subarray(nonceBytes), bytes, nonce, key);
  return out;
}

function opened(bytes, key) {
  const out = Buffer.allocUnsafe(bytes.length - nonceBytes - tagBytes);
  const isWhole = sodium.crypto_secretbox_open_easy(
    out,
    bytes.subarray(nonceBytes),
    bytes.subarray(0, nonceBytes),
    key,
  );
  if (!isWhole) throw new Error("a box does not open");
  return out;
}

function framed(id, bytes) {
  const head = Buffer.allocUnsafe(headBytes);
  head.writeUInt32LE(id, 0);
  head.writeUInt32LE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

/** @param take (exchange, bytes): undefined at its end */
function onFrames(link, take) {
  let rest = Buffer.alloc(0);
  link.onBytes((piece) => {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    while (rest.length >= headBytes) {
      const length = rest.readUInt32LE(4);
      if (rest.length < headBytes + length) return;
      const bytes = rest.subarray(headBytes, headBytes + length);
      const id = rest.readUInt32LE(0);
      rest = rest.subarray(headBytes + length);
      take(id, length === 0 ? undefined : bytes);
    }
  });
}

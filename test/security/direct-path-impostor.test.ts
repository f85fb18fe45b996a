/** Direct path: whoever is at the address of a peer, or dials in its name, is nobody without its endpoint key. */
import { type AddressInfo, connect as connectTcp } from "node:net";
import { connect, createServer, type ConnectionOptions, type TLSSocket, type TlsOptions } from "node:tls";
import { afterEach, beforeEach, expect, it } from "vitest";
import { sleep } from "../../src/base/deadline.ts";
import { endpointCertificate } from "../../src/crypto/endpoint-certificate.ts";
import { newIdentitySeed } from "../../src/crypto/identity.ts";
import { type DirectPair, directPair, openDoor, untilPath } from "../support/direct-pair.ts";
import { certificate, certificateKey } from "../support/tls-files.ts";

const alpn = { ALPNProtocols: ["sealmesh-direct/1"] };
const onlyTls13 = { minVersion: "TLSv1.3", maxVersion: "TLSv1.3" } as const;

let pair: DirectPair;

beforeEach(async () => {
  pair = await directPair();
});

afterEach(() => pair.close());

it.each<readonly [who: string, options: () => TlsOptions]>([
  ["another endpoint's certificate", () => ({ ...endpointCertificate(newIdentitySeed()), ...alpn })],
  ["a certificate of another kind of key", () => ({ key: certificateKey, cert: certificate, ...alpn })],
  ["no protocol agreed on", () => endpointCertificate(newIdentitySeed())],
])("a listener with %s gets no hello, and the peer is reached by QUIC as before", async (_who, options) => {
  const got: Buffer[] = [];
  const listener = createServer({ ...options(), requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket.on("error", () => undefined);
    socket.on("data", (bytes: Buffer) => got.push(bytes));
  });
  let shaken = 0;
  listener.on("connection", () => (shaken += 1));
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve));
  pair.dialer.takeOffer?.(pair.acceptor.id, pair.offer((listener.address() as AddressInfo).port));
  await expect.poll(() => shaken, { timeout: 3_000 }).toBeGreaterThan(0);
  await sleep(300);
  expect(Buffer.concat(got)).toHaveLength(0);
  expect(pair.near.path()?.kind).toBe("quic");
  const stream = await pair.near.open();
  await stream.write(Uint8Array.of(1));
  expect(shaken).toBeLessThanOrEqual(2); // once for each of this machine's two names
  listener.close();
});

it("a hello is answered only to who is connected, under the key that it proves, and names a session of its own", async () => {
  const { port, acceptor, near, far } = pair;
  pair.dialer.takeOffer?.(acceptor.id, pair.offer(port));
  await untilPath("tls", near, far);
  const hello = Buffer.concat([Uint8Array.of(1, 1), Buffer.alloc(16, 7), Buffer.alloc(6), Buffer.alloc(8)]);
  // a stranger, with a certificate that holds: it is not connected
  expect(await answerTo(port, { ...endpointCertificate(newIdentitySeed()), ...alpn, ...onlyTls13 }, hello)).toBe(
    "closed",
  );
  // nobody at all
  expect(await answerTo(port, { ...alpn, ...onlyTls13 }, hello)).toBe("closed");
  // without the protocol, and by an older TLS
  expect(await answerTo(port, { ...endpointCertificate(newIdentitySeed()), ...onlyTls13 }, hello)).toBe("closed");
  expect(
    await answerTo(port, { ...endpointCertificate(newIdentitySeed()), ...alpn, maxVersion: "TLSv1.2" }, hello),
  ).toBe("closed");
  expect([near.path()?.kind, far.path()?.kind]).toEqual(["tls", "tls"]);
});

it("a handshake that is replayed, byte for byte, begins nothing", async () => {
  const door = await openDoor(pair.port);
  pair.dialer.takeOffer?.(pair.acceptor.id, pair.offer(door.port));
  await untilPath("tls", pair.near, pair.far);
  const stream = await pair.near.open();
  await stream.write(Buffer.from("once"));
  const arriving = pair.far.streams()[Symbol.asyncIterator]();
  const { value: arrived } = await arriving.next();
  expect(Buffer.from((await arrived?.read()) ?? []).toString()).toBe("once");
  const recorded = door.recorded;
  expect(recorded.length).toBeGreaterThan(500);
  const replayed = connectTcp({ port: pair.port, host: "127.0.0.1" });
  const answer: Buffer[] = [];
  replayed.on("data", (bytes: Buffer) => answer.push(bytes));
  replayed.on("error", () => undefined);
  replayed.write(recorded);
  await new Promise((resolve) => replayed.once("close", resolve));
  // what came back is the host's side of a handshake that this party could not finish, and an alert
  expect(Buffer.concat(answer).includes("once")).toBe(false);
  expect(await Promise.race([arriving.next(), sleep(200).then(() => "no further stream")])).toBe("no further stream");
  expect([pair.near.path()?.kind, stream.aborted.aborted]).toEqual(["tls", false]);
  door.close();
});

/** What a host does with a party that says `hello` behind its handshake: closes, or the bytes that it answers. */
function answerTo(port: number, options: ConnectionOptions, hello: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    const socket: TLSSocket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options });
    socket.on("secureConnect", () => socket.write(hello));
    socket.on("data", (bytes: Buffer) => resolve(bytes.toString("hex")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve("closed"));
  });
}

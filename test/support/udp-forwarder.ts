/**
 * A network between two nodes of one machine that can be cut: a UDP forwarder, and two ways to bind that leave it as the
 * only way. iroh tells the other side all its sockets and moves to any that answers as soon as the first way is bad, so
 * no socket of one node may be able to talk to one of the other:
 *
 *     host    --bind 127.255.255.255:0    a broadcast address, to which iroh's sockets may not send; and [::1]
 *     client  --bind [ff0e::5ea1]:0       a multicast address, at which no answer arrives; and 127.0.0.1
 *
 * So the client's 127.0.0.1 and the host's [::1] are left, and the forwarder leads from one to the other. Linux.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from "../../src/base/bytes.ts";

/** Values of --bind for the two ends of a forwarder. */
export const apart = { host: "127.255.255.255:0", client: "[ff0e::5ea1]:0" } as const;

export interface UdpForwarder {
  /** Where it listens: "127.0.0.1:PORT". */
  readonly address: string;
  /** Bytes that it has carried, both ways together. */
  readonly bytes: number;
  /** Drops everything from now on, as a cable that was pulled. */
  cut(): void;
  heal(): void;
  close(): void;
}

/** Forwards to the [::1] socket of a node that was started with {@link apart}. */
export async function forwardTo(pid: number): Promise<UdpForwarder> {
  const port = loopbackV6Port(pid);
  /** One socket for each client, as a router has one outer port for each inner one. */
  const outer = new Map<string, Socket>();
  let bytes = 0;
  let broken = false;
  const front = createSocket("udp4");
  const carry = (message: Uint8Array, send: () => void): void => {
    if (broken) return;
    bytes += message.length;
    send();
  };
  front.on("message", (message, from) => {
    const client = `${from.address}:${from.port}`;
    let back = outer.get(client);
    if (!back) {
      back = createSocket("udp6");
      back.bind(0, "::1");
      back.on("message", (answer) => carry(answer, () => front.send(answer, from.port, from.address)));
      back.on("error", () => undefined); // the host is gone
      outer.set(client, back);
    }
    const way = back;
    carry(message, () => way.send(message, port, "::1"));
  });
  front.bind(0, "127.0.0.1");
  await once(front, "listening");
  return {
    address: `127.0.0.1:${front.address().port}`,
    get bytes() {
      return bytes;
    },
    cut: () => void (broken = true),
    heal: () => void (broken = false),
    close: () => {
      for (const socket of [front, ...outer.values()]) socket.close();
    },
  };
}

/** The same invite, leading to another address. */
export function inviteVia(invite: string, address: string): string {
  const content = JSON.parse(fromUtf8(fromBase64Url(invite))) as object;
  return toBase64Url(utf8(JSON.stringify({ ...content, addrs: [{ Ip: address }] })));
}

/** Port of the process's only UDP socket on [::1]. */
function loopbackV6Port(pid: number): number {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => linkOf(`/proc/${pid}/fd/${fd}`));
  // "sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode ...", addresses as hex words in host order
  const rows = readFileSync(`/proc/${pid}/net/udp6`, "utf8").trim().split("\n").slice(1);
  const ports = rows.flatMap((row) => {
    const [, local = "", , , , , , , , inode] = row.trim().split(/\s+/);
    const [, port] = /^0{24}01000000:([0-9A-F]{4})$/.exec(local) ?? [];
    return port !== undefined && links.includes(`socket:[${inode}]`) ? [Number.parseInt(port, 16)] : [];
  });
  const [port] = ports;
  if (port === undefined || ports.length > 1) throw new Error(`process ${pid} has ${ports.length} sockets on [::1]`);
  return port;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return ""; // closed meanwhile
  }
}

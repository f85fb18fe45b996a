/**
 * Direct path: a peer that offers addresses of somebody else has them dialed once at the most, and never what is on this machine
 * or beside it. Addresses here are of documentation (RFC 5737, RFC 3849); the link that would dial them records it.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MeshError } from "../../src/base/errors.ts";
import { identityFrom, newIdentitySeed } from "../../src/crypto/identity.ts";
import { encodeOffer } from "../../src/transport/direct-offer.ts";
import { DirectPeer } from "../../src/transport/direct-peer.ts";
import type { TlsLink } from "../../src/transport/tls-link.ts";
import type { CloseReason, Connection } from "../../src/transport/transport.ts";

const peer = identityFrom(newIdentitySeed());
const hourMs = 3_600_000;

let dialed: string[];
let failWith: "E_UNREACHABLE" | "E_WIRE";

beforeEach(() => {
  vi.useFakeTimers();
  dialed = [];
  failWith = "E_UNREACHABLE";
});

afterEach(() => vi.useRealTimers());

const link: TlsLink = {
  port: undefined,
  dial(host, port) {
    dialed.push(`${host} ${port}`);
    return Promise.reject(new MeshError(failWith, "nobody of ours"));
  },
  close: () => undefined,
};

/** Connected by QUIC, whose packets come from `remote`. */
function connectedPeer(remote: string | undefined): DirectPeer {
  const direct = new DirectPeer({ id: peer.id, instance: "00".repeat(8), link, onGone: () => undefined });
  const base: Connection = {
    peer: peer.id,
    alpn: "mesh-llm/1",
    dialed: true,
    serial: 1,
    closed: new Promise<CloseReason>(() => undefined),
    open: () => Promise.reject(new MeshError("E_LOST", "not here")),
    streams: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => undefined) }) }),
    close: () => undefined,
    rttMs: () => 1,
    path: () => ({ kind: "quic", remote }),
  };
  direct.wrap(base);
  return direct;
}

let issuedAtMs = 1;
const offer = (port: number, ...addresses: readonly string[]): Uint8Array =>
  encodeOffer({ issuedAtMs: (issuedAtMs += 1), port, addresses }, peer);

describe("an offer", () => {
  it("is tried where the peer's packets come from, less and less often", async () => {
    connectedPeer("192.0.2.1:4433").takeOffer(offer(7_000));
    await vi.advanceTimersByTimeAsync(hourMs);
    expect(new Set(dialed)).toEqual(new Set(["192.0.2.1 7000"]));
    expect(dialed.length).toBeLessThan(130);
  });

  it("of somebody else is tried once in an hour, however many addresses, ports and offers there are", async () => {
    const direct = connectedPeer("192.0.2.1:4433");
    for (let count = 0; count < 200; count += 1) {
      direct.takeOffer(offer(80, `198.51.100.${count}`, `203.0.113.${count}`, "2001:db8::1"));
      await vi.advanceTimersByTimeAsync(15_000);
    }
    const others = dialed.filter((at) => !at.startsWith("192.0.2.1 "));
    expect(others).toEqual(["198.51.100.0 80"]);
  });

  it("at which somebody else answered is left alone for an hour", async () => {
    failWith = "E_WIRE";
    connectedPeer("192.0.2.1:4433").takeOffer(offer(22));
    await vi.advanceTimersByTimeAsync(hourMs - 60_000);
    expect(dialed).toEqual(["192.0.2.1 22"]);
  });

  it.each([
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "169.254.169.254",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
  ])("of %s leads nowhere", async (address) => {
    connectedPeer("192.0.2.1:4433").takeOffer(offer(80, address));
    connectedPeer(undefined).takeOffer(offer(80, address));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(dialed.filter((at) => at !== "192.0.2.1 80")).toEqual([]);
  });

  it("of a node on this machine is tried on this machine: its packets come from there", async () => {
    connectedPeer("127.0.0.1:4433").takeOffer(offer(7_000));
    await vi.advanceTimersByTimeAsync(100);
    expect(dialed).toEqual(["127.0.0.1 7000", "::1 7000"]);
  });

  it("that is older, signed by another, changed, cut or made up counts for nothing", async () => {
    const direct = connectedPeer("192.0.2.1:4433");
    const good = offer(7_000);
    const foreign = encodeOffer({ issuedAtMs: 99, port: 7_001, addresses: [] }, identityFrom(newIdentitySeed()));
    direct.takeOffer(foreign);
    for (let index = 0; index < good.length; index += 1) {
      const changed = good.slice();
      changed[index] = (changed[index] ?? 0) ^ 1;
      direct.takeOffer(changed);
      direct.takeOffer(good.subarray(0, index));
    }
    await vi.advanceTimersByTimeAsync(10_000);
    expect(dialed).toEqual([]);
    const newer = offer(7_002);
    direct.takeOffer(newer);
    direct.takeOffer(good);
    await vi.advanceTimersByTimeAsync(2_000);
    expect(new Set(dialed)).toEqual(new Set(["192.0.2.1 7002"]));
  });
});

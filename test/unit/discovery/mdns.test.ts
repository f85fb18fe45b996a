/** Multicast DNS between two nodes of this machine, over its loopback interface and a port of the test's own. */
import { createSocket } from "node:dgram";
import { afterEach, describe, expect, it } from "vitest";
import type { Discovery } from "../../../src/discovery/discovery.ts";
import { mdnsKind } from "../../../src/discovery/mdns.ts";
import { decodeText, encodeText } from "../../../src/discovery/mdns-text.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import type { ErrorCode } from "../../../src/base/errors.ts";
import { decodeInvite, encodeInvite } from "../../../src/wire/invite.ts";
import { limits } from "../../../src/wire/limits.ts";
import { expectCode, rejectsWith } from "../../support/expect-code.ts";
import { findAll, idOf, offerOf, partsFor, secretOf } from "../../support/listings.ts";

const port = 20_000 + (process.pid % 20_000);
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

function neighbour(): Discovery {
  const started = mdnsKind({ port, addresses: () => ["127.0.0.1"], answersMs: 300 }).start(
    partsFor([], secretOf(1), true),
  );
  closers.push(() => started.close());
  return started;
}

describe("mDNS", () => {
  it("finds a neighbour by asking, after the neighbour has spoken", async () => {
    await neighbour().announce(offerOf(idOf("1"), { meshName: "team", serving: ["a", "b"] }));
    const [found] = await findAll(neighbour(), "TEAM");
    expect(found).toMatchObject({
      endpointId: idOf("1"),
      meshName: "team",
      serving: ["a", "b"],
      source: "lan",
      publisher: idOf("1"),
    });
  });

  it("forgets a neighbour that withdraws", async () => {
    const one = neighbour();
    const other = neighbour();
    await one.announce(offerOf(idOf("1")));
    expect(await findAll(other)).toHaveLength(1);
    await one.withdraw();
    expect(await findAll(other)).toEqual([]);
  });

  it("survives datagrams that are no DNS, and records that are no listing", async () => {
    const one = neighbour();
    const other = neighbour();
    await one.announce(offerOf(idOf("1")));
    const socket = createSocket("udp4");
    const pointerLoop = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, 0, 0];
    for (const bytes of [[], [1, 2, 3], pointerLoop, Array.from({ length: 9_000 }, (_, at) => at % 251)]) {
      await new Promise((resolve) => socket.send(Uint8Array.from(bytes), port, "127.0.0.1", resolve));
    }
    socket.close();
    expect(await findAll(other)).toHaveLength(1);
  });

  it("says so on a machine without any network", async () => {
    const alone = mdnsKind({ port, addresses: () => [] }).start(partsFor([], secretOf(1), true));
    await rejectsWith("E_UNREACHABLE", alone.announce(offerOf(idOf("1"))));
    await rejectsWith("E_UNREACHABLE", findAll(alone));
    await alone.close();
  });

  it("goes on without an interface that has no multicast, and tells of it", async () => {
    const alone = mdnsKind({ port: 1, addresses: () => ["203.0.113.9"], answersMs: 30 }).start(
      partsFor([], secretOf(1), true),
    );
    await alone.announce(offerOf(idOf("1")));
    expect(await findAll(alone)).toEqual([]);
    await alone.close();
  });
});

describe("the TXT record", () => {
  const text = (offer = offerOf(idOf("1"))): string[] =>
    encodeText(offer).map((part) => new TextDecoder().decode(part));
  const read = (parts: readonly string[]): unknown => decodeText(parts.map(utf8), 120_000, 1_000);

  it("holds no invite, only its fingerprint and an address", () => {
    const offer = offerOf(idOf("1"));
    const parts = text(offer);
    expect(parts.some((part) => part.includes(offer.token) && !part.startsWith("ep_addr="))).toBe(false);
    expect(parts).toContainEqual(expect.stringMatching(/^tok_fp=[0-9a-f]{16}$/));
  });

  it("is read back as it was written", () => {
    const offer = offerOf(idOf("1"), {
      meshName: "team",
      region: "here",
      inviteOnly: true,
      meshId: "0".repeat(16),
      nodeCount: 4,
      wanted: ["x"],
    });
    expect(read(text(offer))).toMatchObject(offer);
  });

  it("keeps what the mesh demands of who joins", () => {
    const address = decodeInvite(offerOf(idOf("1")).token).address;
    const token = encodeInvite(address, { policy: { attested: "vendor", encryption: true } });
    expect(read(text(offerOf(idOf("1"), { token })))).toMatchObject({
      minimum: { attested: "vendor", encryption: true },
    });
  });

  it("has parts of 255 bytes at most, whatever a node has to tell", () => {
    const many = Array.from({ length: 30 }, (_, n) => `10.0.0.${n}:4433`);
    const token = encodeInvite({ id: idOf("1"), relays: ["https://relay.example.org./"], direct: many });
    const serving = Array.from({ length: 99 }, (_, n) => `some-model-with-a-name-${n}`);
    const parts = encodeText(offerOf(idOf("1"), { token, serving, region: "r".repeat(300) }));
    for (const part of parts) expect(part.length).toBeLessThanOrEqual(limits.mdnsPartBytes);
    expect(decodeText(parts, 1_000, 0)).toMatchObject({ endpointId: idOf("1"), region: undefined });
  });

  it.each<[string, (parts: string[]) => string[], ErrorCode]>([
    ["another service", (parts) => parts.map((part) => part.replace("svc=mesh-llm", "svc=printer")), "E_WIRE"],
    ["another schema", (parts) => parts.map((part) => part.replace("schema=1", "schema=2")), "E_WIRE"],
    ["no address", (parts) => parts.filter((part) => !part.startsWith("ep_addr=")), "E_WIRE"],
    ["an address that is none", (parts) => ["ep_addr=AAAA", ...parts], "E_INVITE"],
    ["a demand that nobody knows", (parts) => [...parts, 'sm_policy={"attested":"moon"}'], "E_INVITE"],
    ["a demand that is no JSON", (parts) => [...parts, "sm_policy={"], "E_WIRE"],
    [
      "more bytes than a record has",
      (parts) => [...parts, ...Array.from({ length: 30 }, () => `x=${"y".repeat(200)}`)],
      "E_WIRE",
    ],
    ["a part that is too long", (parts) => [...parts, `x=${"y".repeat(300)}`], "E_WIRE"],
  ])("is refused with %s", (_what, change, code) => {
    expectCode(code, () => read(change(text())));
  });

  it("has no absurd number", () => {
    const odd = ["nodes=-5", "vram=1e308", "clients=many", "max_clients=Infinity"];
    expect(read([...odd, ...text()])).toMatchObject({
      nodeCount: 1,
      totalVramBytes: limits.listingVramBytes,
      clientCount: 0,
      maxClients: limits.listingNodes,
    });
  });
});

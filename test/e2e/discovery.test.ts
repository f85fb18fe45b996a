/** Nodes that nobody gave an invite: real processes and a real Nostr relay of the tests. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Status } from "../../src/node/status.ts";
import { namedMeshId } from "../../src/wire/mesh-id.ts";
import { knowsModels, openAiFor, until } from "../support/e2e.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { eventOf, idOf, offerOf, secretOf } from "../support/listings.ts";
import { startNostrRelay, type TestRelay } from "../support/nostr-relay.ts";
import { launchProcess, type NodeProcess, runCommand, startProcess } from "../support/processes.ts";

const messages = [{ role: "user" as const, content: "Go on" }];
let engine: EngineProcess;
let relay: TestRelay;

beforeAll(async () => {
  engine = await startEngineProcess({ models: ["first"] });
  relay = await startNostrRelay();
});
afterAll(() => relay.close());

const places = (url = relay.url): string[] => ["--nostr-relay", url, "--no-lan"];
const serving = (...flags: string[]): string[] => ["serve", "--engine", engine.url, ...flags];

async function isWith(node: NodeProcess, other: NodeProcess): Promise<boolean> {
  const { peers } = (await node.status()) as Status;
  return peers.some(({ endpoint_id: id, connected }) => id === other.ready.endpoint_id && connected);
}

describe("--discover NAME on every node", () => {
  let host: NodeProcess;
  let second: NodeProcess;
  let client: NodeProcess;

  it("lets the first begin the mesh and list it, and says that whoever finds it is a member", async () => {
    host = await startProcess(serving("--discover", "poker night", ...places()));
    await host.waitForLine(({ event }) => event === "mesh-listed");
    expect(host.lines.map(({ event }) => event)).toContain("mesh-created");
    expect(host.lines).toContainEqual(
      expect.objectContaining({ event: "mesh-findable", mesh: namedMeshId("poker night"), level: "warn" }),
    );
    expect(await host.status()).toMatchObject({
      publication_state: "public",
      nostr_discovery: true,
      mesh_name: "poker night",
    });
  });

  it("lets the others join, and the client's chat is answered", async () => {
    [second, client] = await Promise.all([
      startProcess(serving("--discover", "Poker Night", ...places())),
      startProcess(["client", "--discover", "poker night", ...places()]),
    ]);
    for (const node of [second, client]) {
      expect(node.lines).toContainEqual(expect.objectContaining({ event: "mesh-found", source: "nostr" }));
      expect(node.lines.map(({ event }) => event)).not.toContain("mesh-created");
    }
    await knowsModels(client, "first");
    const answer = await openAiFor(client).chat.completions.create({ model: "first", messages });
    expect(answer.choices[0]?.message.content).not.toBe("");
    await until("the others know each other", () => isWith(second, host));
  });

  it("is listed by `sealmesh discover`, and no other name is", async () => {
    const found = await runCommand(["discover", "--name", "poker night", "--json", ...places()]);
    expect(found.code).toBe(0);
    const { meshes } = JSON.parse(found.stdout) as { meshes: Record<string, unknown>[] };
    expect(meshes.map(({ name }) => String(name).toLowerCase())).toContain("poker night");
    expect(meshes[0]).toMatchObject({ joined: "open", source: "nostr", serving: ["first"] });
    const table = await runCommand(["discover", "--name", "poker night", ...places()]);
    expect(table.stdout).toContain("poker night");
    const none = await runCommand(["discover", "--name", "bridge", ...places()]);
    expect(none.code).toBe(69);
  });

  it("lets a client that finds nothing look on, and join when somebody comes", async () => {
    const early = await startProcess(["client", "--discover", "bridge", ...places()]);
    expect(early.lines.map(({ event }) => event)).toContain("mesh-not-found");
    const late = await startProcess(serving("--discover", "bridge", ...places()));
    await until("it has joined", () => isWith(early, late), 40_000);
  }, 80_000);
});

describe("--auto", () => {
  it("brings two that start at once into one mesh", async () => {
    const quiet = await startNostrRelay();
    try {
      const flags = serving("--auto", ...places(quiet.url));
      const [one, other] = await Promise.all([startProcess(flags), startProcess(flags)]);
      const created = [one, other].filter(({ lines }) => lines.some(({ event }) => event === "mesh-created"));
      expect(created.length).toBeGreaterThan(0);
      await until("they are one mesh", async () => (await isWith(one, other)) && (await isWith(other, one)), 45_000);
    } finally {
      await quiet.close();
    }
  }, 90_000);
});

describe("--publish --invite-only", () => {
  it("is found by name, and not joined", async () => {
    const host = await startProcess(serving("--publish", "--mesh-name", "club", "--invite-only", ...places()));
    await host.waitForLine(({ event }) => event === "mesh-listed");
    expect(host.lines.map(({ event }) => event)).not.toContain("mesh-findable");
    const client = await startProcess(["client", "--discover", "club", ...places()]);
    expect(client.lines).toContainEqual(
      expect.objectContaining({ event: "mesh-not-joined", peer: host.ready.endpoint_id, why: "needs-invite" }),
    );
    expect((await client.status()).peers).toEqual([]);
    const found = await runCommand(["discover", "--name", "club", "--json", ...places()]);
    expect(JSON.parse(found.stdout)).toMatchObject({ meshes: [{ name: "club", joined: "by invite" }] });
  });
});

describe("twenty hostile listings", () => {
  it("change nothing: the right mesh is joined, and few dials go out", async () => {
    const busy = await startNostrRelay();
    const host = await startProcess(serving("--discover", "team", ...places(busy.url)));
    await host.waitForLine(({ event }) => event === "mesh-listed");
    const now = Math.floor(Date.now() / 1_000);
    const team = (digit: string, changes = {}): ReturnType<typeof offerOf> =>
      offerOf(idOf(digit), { meshName: "team", ...changes });
    const good = eventOf(secretOf(500), team("a"));
    const ended = {
      tags: [
        ["d", "mesh-llm"],
        ["k", "mesh-llm"],
        ["expiration", String(now - 1)],
      ],
    };
    const endless = {
      tags: [
        ["d", "mesh-llm"],
        ["k", "mesh-llm"],
        ["expiration", "999999999999"],
      ],
    };
    const other = {
      tags: [
        ["d", "mesh-llm"],
        ["k", "other"],
        ["expiration", String(now + 100)],
      ],
    };
    const hostile: unknown[] = [
      { ...good, sig: "0".repeat(128) }, // not signed by its key
      { ...good, content: good.content.replace("team", "TEAM") }, // changed after it was signed
      { ...good, id: "0".repeat(64) },
      { ...good, pubkey: eventOf(secretOf(501), "x").pubkey },
      { ...good, sig: "zz" },
      eventOf(secretOf(502), team("b"), ended),
      eventOf(secretOf(503), team("b"), endless),
      eventOf(secretOf(504), team("b"), { created_at: now + 9_999_999 }),
      eventOf(secretOf(505), team("b"), { created_at: now - 9_999, ...ended }),
      eventOf(secretOf(506), team("b"), other),
      eventOf(secretOf(507), team("b"), { kind: 1 }),
      eventOf(secretOf(508), "x".repeat(200_000)), // oversize
      eventOf(secretOf(509), "{"),
      eventOf(secretOf(510), JSON.stringify({ name: "team", invite_token: "AAAA" })),
      eventOf(secretOf(511), JSON.stringify({ name: "team", invite_token: { loop: true } })),
      eventOf(secretOf(512), { ...team("b"), token: host.ready.invite }), // an invite to one who is there already
      eventOf(secretOf(513), offerOf(idOf("c"), { meshName: "another" })), // wrong mesh
      eventOf(secretOf(514), team("c", { nodeCount: 1e300, totalVramBytes: 1e300, maxClients: -7 })),
      eventOf(secretOf(515), team("d", { serving: Array.from({ length: 500 }, () => "\u001b[2J\u202e") })),
      eventOf(secretOf(516), team("e", { inviteOnly: true, region: "\u0007\u001b]0;" })),
      ...Array.from({ length: 20 }, () => eventOf(secretOf(517), team("f"))),
      { id: "an event without anything", created_at: now },
    ];
    for (const event of hostile) busy.plant(event);
    const noise = eventOf(secretOf(518), offerOf(idOf("c"), { meshName: "noise" }));
    for (let n = 0; n < 1_000; n += 1)
      busy.plant({ ...noise, id: n.toString(16).padStart(64, "0"), created_at: now + 5 });
    try {
      const client = await startProcess(["client", "--discover", "team", ...places(busy.url)], { readyMs: 60_000 });
      await until("it is in the right mesh", () => isWith(client, host), 60_000);
      const { peers } = await client.status();
      expect(peers.map(({ endpoint_id: id }) => id)).toEqual([host.ready.endpoint_id]);
      const failures = client.lines.filter(({ event }) => event === "join-failed");
      expect(failures.length).toBeLessThanOrEqual(3); // c, d and f: well-formed, signed, and nobody there
      const listed = await runCommand(["discover", "--name", "team", ...places(busy.url)]);
      expect(listed.code).toBe(0);
      expect(listed.stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
    } finally {
      await busy.close();
    }
  }, 120_000);
});

it("a relay that is not there keeps no host from starting, and says so", async () => {
  const { process, ready } = launchProcess(serving("--discover", "alone", ...places("ws://127.0.0.1:1")));
  await ready;
  await process.waitForLine(({ event }) => event === "mesh-not-listed");
});

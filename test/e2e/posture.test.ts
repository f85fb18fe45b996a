/**
 * --require-hardened over real processes: an honest host, hardened as the product hardens itself, one that is not, and
 * peers driven by hand over real QUIC that say what they like of themselves.
 */
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { PeerStatus } from "../../src/node/status.ts";
import { irohTransport } from "../../src/transport/iroh.ts";
import { decodeInvite } from "../../src/wire/invite.ts";
import { encodePosture } from "../../src/wire/posture.ts";
import { decodeSignedRecord, encodeRecord, encodeSignedRecord } from "../../src/wire/record.ts";
import { askRaw, knowsModels, startHost, until } from "../support/e2e.ts";
import { testKey } from "../support/evidence.ts";
import { demoModel, type NodeProcess, runCommand, startProcess } from "../support/processes.ts";
import { closedPosture, postureWith, type SaidByHand, tells, withoutDoor } from "../support/postures.ts";
import { prompt, RawPeer, type RawPeerOptions, secret } from "../support/raw-peer.ts";

/** Only there is it known what a hardened host of this build looks like. */
const onLinux = process.platform === "linux";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

/** Starts a client that demands that hosts say that they are hardened, and has met these. */
async function clientOf(invites: readonly string[], ...more: readonly string[]): Promise<NodeProcess> {
  const joining = invites.flatMap((invite) => ["--join", invite]);
  const node = await startProcess(["client", "--require-hardened", ...joining, ...more]);
  closers.push(() => node.kill());
  await until("it has met them", async () => (await node.status()).peers.length >= invites.length);
  return node;
}

/** A host by hand that says this of itself, and a client that has met it. */
async function handMade(
  said: SaidByHand,
  kind: RawPeerOptions["kind"] = "sealing",
): Promise<{ host: RawPeer; client: NodeProcess }> {
  const host = await RawPeer.start(irohTransport, { role: "host", models: ["scripted"], kind });
  tells(host, said);
  return { host, client: await clientOf([host.invite]) };
}

async function ask(node: NodeProcess, model = "scripted"): Promise<{ status: number; text: string }> {
  const answer = await askRaw(node, prompt({ model, max_tokens: 4 }));
  return { status: answer.status, text: await answer.text() };
}

/** Asks, and expects that the rule refuses the host, which gets no byte of the prompt. @returns what the caller reads */
async function expectRefused(node: NodeProcess, host: RawPeer, rule: string): Promise<string> {
  const exchanges = (): number => host.opened.filter((stream) => stream === "mesh-llm/1 4").length;
  const before = exchanges();
  const { status, text } = await ask(node);
  expect([status, text]).toEqual([503, expect.stringContaining(`${rule}: `)]);
  expect(exchanges()).toBe(before);
  expect(host.couldRead(secret)).toBe(false);
  return text;
}

async function postureOf(node: NodeProcess, id: string): Promise<PeerStatus["posture"] | undefined> {
  return (await node.status()).peers.find(({ endpoint_id }) => endpoint_id === id)?.posture;
}

describe("a host by hand, with --require-hardened", () => {
  it("A7: forged: a made-up field 37 is shown as unsigned and counts for nothing", async () => {
    for (const kind of ["reference", "sealing"] as const) {
      const { host, client } = await handMade({ gossip: closedPosture() }, kind);
      await expectRefused(client, host, "--require-hardened: posture-unsigned");
      expect(await postureOf(client, host.id)).toMatchObject({ standing: "unsigned", said: { says_hardened: true } });
    }
  });

  it("forged: a record whose posture was changed after it was signed is no record", async () => {
    const host = await RawPeer.start(irohTransport, { role: "host", models: ["scripted"] });
    tells(host, {});
    const { fields, bytes } = host.record({ posture: encodePosture(postureWith({ debugger: "open" })) });
    const { signature } = decodeSignedRecord(bytes);
    const signed = encodeRecord({ ...fields, posture: encodePosture(closedPosture()) });
    host.announcements = () => [host.own({ record: encodeSignedRecord({ signed, signature }) })];
    await expectRefused(await clientOf([host.invite]), host, "key-withheld");
  });

  it("unsigned: a record that says nothing of it is not enough", async () => {
    const { host, client } = await handMade({});
    await expectRefused(client, host, "--require-hardened: posture-missing");
  });

  it("downgraded: a newer record without it is refused, and the older one cannot come back", async () => {
    const { host, client } = await handMade({ record: closedPosture() });
    expect(await ask(client)).toMatchObject({ status: 200, text: expect.stringContaining("fine") });
    const [before] = host.announcements(host.id);
    if (!before) throw new Error("it said nothing");
    const meetAgain = async (): Promise<void> => void (await host.meet(decodeInvite(client.ready.invite).address));
    tells(host, {});
    await meetAgain();
    await until("it is heard", async () => (await postureOf(client, host.id))?.standing === "none");
    const refused = async (): Promise<void> => {
      const { status, text } = await ask(client);
      expect([status, text]).toEqual([503, expect.stringContaining("--require-hardened: posture-missing: ")]);
    };
    await refused();
    host.announcements = () => [before];
    await meetAgain();
    await refused();
  });

  it("missing door: what is not told is unknown, and named in the refusal", async () => {
    const { host, client } = await handMade({ record: withoutDoor(closedPosture(), "inspector") });
    const text = await expectRefused(client, host, "--require-hardened: not-hardened");
    expect(text).toContain("The host says, signed, that it is not hardened: inspector (unknown).");
    const explained = await runCommand(["explain", "scripted", "--console", consoleOf(client)]);
    expect([explained.code, explained.stdout]).toEqual([77, expect.stringContaining("inspector (unknown)")]);
  });

  it("A7: disagreeing: a record and evidence that say different things are refused at the first prompt", async () => {
    const key = testKey(randomBytes(32).toString("hex"));
    const evidence = { posture: postureWith({ debugger: "open" }), key };
    const { host, client } = await handMade({ record: closedPosture(), evidence });
    await expectRefused(client, host, "--require-hardened: posture-disagrees");
  });
});

function consoleOf(node: NodeProcess): string {
  return new URL(node.ready.console_url ?? "").port;
}

describe("hosts as the product starts them", () => {
  it("H3: a Linux host with the embedded engine is hardened, says so for both processes, and is asked", async ({
    skip,
  }) => {
    skip(!onLinux, "needs Linux");
    await using host = await startProcess(["serve", "--model", demoModel]);
    const client = await clientOf([host.ready.invite]);
    await knowsModels(client, "demo");
    const { posture } = await host.status();
    expect(posture).toMatchObject({ platform: "linux", hardening: true, engine: "embedded", says_hardened: true });
    expect(await ask(client, "demo")).toMatchObject({ status: 200 });
    const seen = await postureOf(client, host.ready.endpoint_id);
    expect(seen).toMatchObject({ standing: "signed", said: { doors: posture.doors } });
    expect(seen?.text).toBe("The host says, signed, that it is hardened. This is said of the node and of its engine.");
  });

  it("H4: behind an external engine it speaks for the node alone, and is of tier `none` all the same", async ({
    skip,
  }) => {
    skip(!onLinux, "needs Linux");
    const { node: host, engine } = await startHost("scripted");
    const client = await clientOf([host.ready.invite]);
    await knowsModels(client, "scripted");
    const answer = await askRaw(client, prompt());
    expect([answer.status, answer.headers.get("x-sealmesh-attested")]).toEqual([200, "none"]);
    const explained = await runCommand(["explain", "scripted", "--console", consoleOf(client)]);
    expect(explained.stdout).toContain(
      "The host says, signed, that it is hardened. Its engine is another program, which sees the prompts and of which nothing is said.",
    );
    await host.kill();
    await engine.kill();
  });

  it("H2: one with --no-hardening says so and is refused, and a client without the demand asks it", async () => {
    await using host = await startProcess(["serve", "--model", demoModel, "--no-hardening"]);
    const client = await clientOf([host.ready.invite]);
    await knowsModels(client, "demo");
    const { status, text } = await ask(client, "demo");
    expect([status, text]).toEqual([503, expect.stringContaining("hardening (switched off, wholly or in part)")]);
    expect((await host.status()).posture).toMatchObject({ hardening: false, says_hardened: false });
    await using lax = await startProcess(["client", "--join", host.ready.invite]);
    await knowsModels(lax, "demo");
    expect(await ask(lax, "demo")).toMatchObject({ status: 200 });
  });

  it("what a mesh demands by its invite is demanded by who joins", async () => {
    await using host = await startProcess([
      "serve",
      "--model",
      demoModel,
      "--no-hardening",
      "--invite-requires",
      "hardened",
    ]);
    await using member = await startProcess(["client", "--join", host.ready.invite]);
    await knowsModels(member, "demo");
    expect((await member.status()).policy.require_hardened).toBe(true);
    expect((await ask(member, "demo")).text).toContain("--require-hardened: not-hardened: ");
  });
});

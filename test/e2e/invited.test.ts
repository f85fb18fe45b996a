/**
 * The life of an invite among real processes: made by the command, used once, refused a second time, listed, taken back; and
 * members that come back without it. No secret of it can be seen in the list of processes or in a log.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readInvite } from "../../src/crypto/invite.ts";
import { readSession } from "../../src/node/session.ts";
import { askRaw, knowsModels, until } from "../support/e2e.ts";
import { type EngineProcess, startEngineProcess } from "../support/engine-server.ts";
import { launchProcess, type NodeProcess, runCommand, startProcess, tempDir } from "../support/processes.ts";

const hostDir = tempDir();
let engine: EngineProcess;
let host: NodeProcess;

const serve = (): Promise<NodeProcess> => startProcess(["serve", "--engine", engine.url, "--data-dir", hostDir]);

beforeAll(async () => {
  engine = await startEngineProcess({ text: "in the reeds" });
  host = await serve();
});
afterAll(() => engine.kill());

const body = { model: "scripted", messages: [{ role: "user", content: "Where does the otter sleep?" }] };

async function answered(node: NodeProcess): Promise<boolean> {
  const answer = await askRaw(node, body);
  return answer.ok && (await answer.text()).includes("in the reeds");
}

const invite = (...words: readonly string[]): ReturnType<typeof runCommand> =>
  runCommand(["invite", ...words, "--data-dir", hostDir, "--url", String(host.ready.console_url)]);

it("serve, then client --join; both start again without a token, and are one mesh", async () => {
  const clientDir = tempDir();
  let client = await startProcess(["client", "--data-dir", clientDir, "--join", host.ready.invite]);
  await knowsModels(client, "scripted");
  expect(await answered(client)).toBe(true);
  const meshId = (await client.status()).mesh.id;
  await Promise.all([client.stop(), host.stop()]);
  host = await serve();
  client = await startProcess(["client", "--data-dir", clientDir]);
  await knowsModels(client, "scripted");
  expect(await answered(client)).toBe(true);
  expect((await client.status()).mesh).toMatchObject({ mode: "invite", id: meshId, role: "host", why: null });
  // and once more the host alone, while a client runs that was given no token
  await host.stop();
  host = await serve();
  await until("it has found its host again", async () => (await client.status()).models.includes("scripted"), 15_000);
  expect(await answered(client)).toBe(true);
  await client.stop();
});

it("an invite for one client admits one: the second is told so, and ends; revoked, the first is out", async () => {
  const made = await invite("--role", "client", "--uses", "1");
  expect(made.code).toBe(0);
  const token = made.stdout.trim();
  const id = readInvite(token).granted?.grant.id ?? "";
  const first = await startProcess(["client", "--join", token]);
  await knowsModels(first, "scripted");
  expect(await answered(first)).toBe(true);
  expect((await first.status()).mesh).toMatchObject({ role: "client" });

  const second = launchProcess(["client", "--join", token]);
  expect(await second.process.exited).toEqual({ code: 65, signal: null });
  expect(second.process.error).toMatchObject({ message: expect.stringContaining("used as often as it may be") });
  const listed = JSON.parse((await invite("list", "--json")).stdout) as { invites: { id: string }[] };
  expect(listed.invites.find((one) => one.id === id)).toMatchObject({
    state: "used-up",
    role: "client",
    used_by: [{ endpoint_id: first.ready.endpoint_id }],
  });

  expect((await invite("revoke", id)).code).toBe(0);
  await until(
    "it is dropped",
    async () => (await host.status()).peers.every((peer) => peer.endpoint_id !== first.ready.endpoint_id),
    5_000,
  );
  const refused = await askRaw(first, body);
  expect([refused.status, await refused.text()]).toEqual([
    503,
    expect.stringContaining("does not admit this node to its mesh; ask a member for an invite (sealmesh invite)"),
  ]);
  await first.waitForLine((line) => line.event === "join-failed" && line.what.includes("does not admit this node"));
  expect((await invite("list")).stdout).toContain("revoked");
  // not even with the invite, and not under its old name
  const again = launchProcess(["client", "--join", token]);
  expect((await again.process.exited).code).toBe(65);
  expect(again.process.error).toMatchObject({ message: expect.stringContaining("taken this invite back") });
});

it.skipIf(process.platform !== "linux")(
  "no secret stands in a command line, an environment or a log while one is made and used",
  async () => {
    const session = readSession(hostDir);
    if (!session) throw new Error("no session");
    const seen: string[] = [];
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        seen.push(...everyProcess());
        await new Promise((resolve) => setTimeout(resolve, 3));
      }
    })();
    const made = await invite("--note", "for the watcher");
    const member = await startProcess(["client"], { env: { SEALMESH_JOIN: made.stdout.trim() } });
    await knowsModels(member, "scripted");
    isOver = true;
    await watching;
    expect(seen.some((line) => line.includes("invite\0--note\0for the watcher"))).toBe(true);
    const token = made.stdout.trim();
    const { granted } = readInvite(token);
    if (!granted) throw new Error("no grant");
    const secrets = [
      token,
      session.token,
      ...[granted.bearerSeed, granted.bytes, readFileSync(join(hostDir, "mesh-authority"))].flatMap(forms),
    ];
    const { token: shown } = await host.status();
    expect(shown).toBeNull();
    const texts = [
      ...seen,
      host.stdout,
      host.stderr,
      member.stdout,
      member.stderr,
      JSON.stringify(await host.status()),
      JSON.stringify(await member.status()),
    ];
    // the ready line shows the node's own invite to whoever started it; this one is another
    for (const secret of secrets) expect(texts.filter((text) => text.includes(secret))).toEqual([]);
    await member.stop();
  },
);

function forms(bytes: Uint8Array): readonly string[] {
  const buffer = Buffer.from(bytes);
  const text = buffer.toString("latin1").trim();
  return [buffer.toString("hex"), buffer.toString("base64url"), buffer.toString("base64"), text].filter(
    ({ length }) => length >= 32,
  );
}

/** Command lines of all processes, as `ps` shows them. */
function everyProcess(): readonly string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        return [readFileSync(`/proc/${name}/cmdline`, "utf8")];
      } catch {
        return []; // it has gone
      }
    });
}

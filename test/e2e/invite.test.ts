/** `sealmesh invite` as a command, beside a node that runs. */
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readInvite } from "../../src/crypto/invite.ts";
import { readSession } from "../../src/node/session.ts";
import { type CommandResult, runCommand, startProcess, tempDir } from "../support/processes.ts";

const closed = { env: { SEALMESH_OPEN_MESH: "0" } };
const invite = (...words: readonly string[]): Promise<CommandResult> => runCommand(["invite", ...words]);
const document = ({ stdout }: CommandResult): unknown => JSON.parse(stdout);

it("makes invites, lists them without their secret, and takes them back", async () => {
  const dataDir = tempDir();
  await using node = await startProcess(["client", "--data-dir", dataDir, "--console", "0"], closed);
  const here = ["--data-dir", dataDir, "--url", String(node.ready.console_url)];
  const wish = ["--uses", "2", "--expires", "12h", "--role", "client", "--no-delegate", "--note", "Ada"];
  const made = await invite(...wish, ...here);
  expect(made).toMatchObject({ code: 0, stderr: expect.stringContaining("admits 2 nodes") });
  const token = made.stdout.trim();
  const grant = readInvite(token).granted?.grant;
  expect(grant).toMatchObject({ role: "client", delegable: false, uses: 2 });

  const listed = await invite("list", "--json", ...here);
  expect(document(listed)).toMatchObject({ invites: [{ id: grant?.id, note: "Ada" }, { standing: true }] });
  expect(listed.stdout).not.toContain(token);
  expect((await invite("list", ...here)).stdout).toContain("shown by the node itself");

  const taken = await invite("revoke", String(grant?.id.slice(0, 8)), ...here, "--json");
  expect(document(taken)).toMatchObject({ invite: { id: grant?.id, state: "revoked" } });
  expect((await invite("revoke", "0000", ...here)).code).toBe(65);

  const status = await runCommand(["status", "--json", ...here]);
  expect(document(status)).toMatchObject({ token: node.ready.invite, mesh: { mode: "invite", may_invite: true } });
  expect(await node.status()).toMatchObject({ token: null });
});

it("shows the session token to the node that it belongs to, and to no other port", async () => {
  const [one, two] = [tempDir(), tempDir()];
  await using first = await startProcess(["client", "--data-dir", one, "--console", "0"], closed);
  await using second = await startProcess(["client", "--data-dir", two, "--console", "0"], closed);
  const crossed = ["--data-dir", one, "--url", String(second.ready.console_url)];
  expect(await invite(...crossed)).toMatchObject({ code: 65, stdout: "" });
  expect(document(await runCommand(["status", "--json", ...crossed]))).toMatchObject({ token: null });
  const session = readSession(one);
  expect(session?.consoleUrl).toBe(first.ready.console_url);
  // whoever listens there now gets a token that its node does not take
  writeFileSync(join(one, "session"), `${session?.consoleUrl}\n${"A".repeat(43)}\n`);
  const stale = await invite("--data-dir", one, "--url", String(first.ready.console_url));
  expect(stale).toMatchObject({ code: 65, stderr: expect.stringContaining("session token") });
  chmodSync(join(one, "session"), 0o644);
  expect((await invite("--data-dir", one, "--url", String(first.ready.console_url))).code).toBe(78);
});

it("says at the start, and in its log, that a mesh is open", async () => {
  await using node = await startProcess(["client", "--open-mesh"]);
  expect(await node.waitForLine(({ event }) => event === "mesh-open")).toMatchObject({ level: "warn" });
  expect(readInvite(node.ready.invite).granted).toBeUndefined();
});

it("tells wrong use from bad input, and helps", async () => {
  for (const words of [["nonsense"], ["--role", "king"], ["--uses", "0"], ["--expires", "soon"], ["revoke", "../x"]]) {
    expect(await invite(...words), words.join(" ")).toMatchObject({ code: 64, stdout: "" });
  }
  expect((await invite("nonsense")).stderr).toContain("see `sealmesh help invite`");
  expect((await invite("--data-dir", tempDir())).code).toBe(65);
  const help = await invite("--help");
  for (const part of ["--no-delegate", "list", "revoke", "Examples:"]) expect(help.stdout).toContain(part);
});

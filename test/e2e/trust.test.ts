/** `sealmesh trust` as a command, beside a node that runs on the same directory. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type CommandResult, eventually, runCommand, startProcess, tempDir } from "../support/processes.ts";

const host = "ab".repeat(32);
const key = "0f".repeat(16);

const trust = (...words: readonly string[]): Promise<CommandResult> => runCommand(["trust", ...words]);
/** The only document that a command printed. */
const document = ({ stdout }: CommandResult): unknown => JSON.parse(stdout);

it("pins, lists, exports and forgets while a node runs, which then forgets what it remembers itself", async () => {
  const dataDir = tempDir();
  // a peer that has shown a key to an earlier run of the node
  writeFileSync(join(dataDir, "shown-keys.json"), JSON.stringify({ [host]: "key" }), { mode: 0o600 });
  await using node = await startProcess(["client", "--data-dir", dataDir]);
  const here = ["--data-dir", dataDir];

  const pinned = await trust("pin", host, "--kind", "tpm2", "--key", key, ...here);
  expect(pinned).toMatchObject({ code: 0 });
  expect(document(await trust("list", "--json", ...here))).toMatchObject({
    pins: [{ endpoint_id: host, kind: "tpm2", key, confirmed: true }],
  });
  const elsewhere = ["--data-dir", tempDir()];
  const file = join(tempDir(), "pins.json");
  expect(await trust("export", file, ...here)).toMatchObject({ code: 0 });
  expect((await trust("import", file, ...elsewhere)).stdout).toContain(host);

  const forgotten = await trust("forget", host, "--json", ...here);
  expect(document(forgotten)).toMatchObject({ removed: [{ endpoint_id: host }], node_running: true });
  await eventually(() => readFileSync(join(dataDir, "shown-keys.json"), "utf8") === "{}");
  expect((await trust("list", ...here)).stdout).toBe("");
  expect(await node.stop()).toEqual({ code: 0, signal: null });
});

it("tells wrong use from bad input, and helps with each of its words", async () => {
  const alone = await trust();
  expect(alone).toMatchObject({ code: 64, stdout: "" });
  for (const word of ["list", "pin", "forget", "export", "import"]) expect(alone.stderr).toContain(word);
  for (const part of ["Examples:", "$ sealmesh trust list"]) expect(alone.stderr).toContain(part);
  const misspelt = await trust("lst");
  expect(misspelt.code).toBe(64);
  expect((await trust("bogus")).stderr).toContain("see `sealmesh help trust`");
  expect(misspelt.stderr).toContain("Did you mean list?");
  const short = await trust("pin", host.slice(0, 10), "--json");
  expect(short.code).toBe(64);
  expect(document(short)).toMatchObject({ error: { code: "E_USAGE" } });
  expect((await trust("import", "/none")).code).toBe(65);
  const help = await trust("pin", "--help");
  expect(help).toMatchObject({ code: 0 });
  for (const part of ["--key", "Examples:"]) expect(help.stdout).toContain(part);
});

it("a configuration file that cannot be understood ends the start with its name", async () => {
  const file = join(tempDir(), "config.toml");
  writeFileSync(file, "[policy]\nrequire_attested_host = true\n", { mode: 0o600 });
  const { code, stderr } = await runCommand(["client", "--config", file]);
  expect(code).toBe(78);
  for (const part of [file, "did you mean require_attested_hosts?"]) expect(stderr).toContain(part);
});

/** `sealmesh doctor`, `sealmesh config` and a service, as they are run: beside a node, and on a machine without one. */
import { chmodSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startEngineServer } from "../support/engine-server.ts";
import { runCommand, startProcess, tempDir } from "../support/processes.ts";

interface Document {
  readonly ok: boolean;
  readonly checks: readonly {
    readonly name: string;
    readonly state: string;
    readonly seen: string;
    readonly code: string | null;
  }[];
}

/** Ports of the system's choice, so that what else runs on this machine is nothing to us. */
function quietSettings(more = ""): string {
  const path = join(tempDir(), "config.toml");
  writeFileSync(path, `[api]\nport = 0\n${more}`);
  return path;
}

const named = ({ checks }: Document, name: string): Document["checks"][number] | undefined =>
  checks.find((check) => check.name === name);

describe("sealmesh doctor", () => {
  it("beside a node: says that it is ready, what it serves, and nothing that is secret", async () => {
    const engine = await startEngineServer();
    const node = await startProcess(["serve", "--engine", engine.url]);
    const { code, stdout, stderr } = await runCommand(["doctor", "--json", "--data-dir", node.dataDir]);
    const document = JSON.parse(stdout) as Document;
    expect(document).toMatchObject({ ok: true });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(named(document, "node")).toMatchObject({
      state: "ok",
      seen: expect.stringContaining(`process ${node.pid}`),
    });
    expect(named(document, "engine")).toMatchObject({ state: "ok", seen: expect.stringContaining("1 model") });
    expect(named(document, "ports")?.seen).toContain("held by our node");
    for (const secret of [node.ready.invite, node.ready.endpoint_id]) expect(stdout).not.toContain(secret);
    const text = await runCommand(["doctor", "--data-dir", node.dataDir]);
    expect(text.stdout.split("\n").length).toBeLessThan(32);
    expect(text.stdout).toMatch(/ {2}ok {4}node +serve, process/);
    await node.stop();
    await engine.close();
  });

  it("without one: what fails ends it as its row says, and says what to do", async () => {
    const directory = tempDir();
    writeFileSync(join(directory, "key"), "", { mode: 0o600 });
    chmodSync(join(directory, "key"), 0o644);
    const { code, stdout } = await runCommand([
      "doctor",
      "--json",
      "--data-dir",
      directory,
      "--console",
      "1",
      "--config",
      quietSettings(),
    ]);
    const document = JSON.parse(stdout) as Document;
    expect(named(document, "node")).toMatchObject({ state: "skip" });
    expect(named(document, "data-directory")).toMatchObject({ state: "fail", code: "E_STATE" });
    expect({ code, ok: document.ok }).toEqual({ code: 78, ok: false });
  });

  it("names settings that would end a start, and a port that is taken", async () => {
    const config = quietSettings("[policy]\nrequire_encription = true\n");
    const bad = await runCommand(["doctor", "--data-dir", tempDir(), "--config", config]);
    expect(bad.stdout).toContain("did you mean require_encryption?");
    expect(bad.code).toBe(78);
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as { port: number };
    const flags = ["--data-dir", tempDir(), "--config", quietSettings(), "--console", `${port}`];
    const held = await runCommand(["doctor", ...flags]);
    taken.close();
    expect(held.stdout).toContain(`console port ${port}: another program has it`);
    expect(held.code).toBe(69);
  });
});

it("a node that a service manager starts finds its invite and its directories by itself", async () => {
  const host = await startProcess(["client"]);
  const credentials = tempDir();
  writeFileSync(join(credentials, "join"), `${host.ready.invite}\n`, { mode: 0o400 });
  const configuration = tempDir();
  writeFileSync(join(configuration, "config.toml"), '[node]\nname = "of the service"\n');
  const env = {
    CREDENTIALS_DIRECTORY: credentials,
    CONFIGURATION_DIRECTORY: configuration,
    SEALMESH_CONFIG: undefined,
  };
  const node = await startProcess(["client"], { env });
  const { name, peers } = await node.status();
  expect(name).toBe("of the service");
  expect(peers.map(({ endpoint_id }) => endpoint_id)).toEqual([host.ready.endpoint_id]);
  await Promise.all([node.stop(), host.stop()]);
});

describe("sealmesh config", () => {
  it("shows each value with its origin, a file's with its line, and no secret", async () => {
    const config = quietSettings('[network]\niroh_relays = "https://me:sesame@relay.example"\n');
    const env = { SEALMESH_JOIN: "a-secret-invite", SEALMESH_ROUTE: "relay" };
    const { code, stdout } = await runCommand(["config", "show", "--json", "--config", config, "--engine", "auto"], {
      env,
    });
    expect(code).toBe(0);
    const { settings, file } = JSON.parse(stdout) as { file: string; settings: readonly Record<string, unknown>[] };
    const row = (name: string): unknown => settings.find((one) => one["name"] === name);
    expect(file).toBe(config);
    expect(row("api.port")).toMatchObject({ value: 0, origin: { kind: "file", path: config, line: 2 } });
    expect(row("engine.urls")).toMatchObject({ value: ["auto"], origin: { kind: "flag", name: "--engine" } });
    expect(row("network.route")).toMatchObject({
      value: "relay",
      origin: { kind: "variable", name: "SEALMESH_ROUTE" },
    });
    expect(row("relay.rate")).toMatchObject({ value: "16", origin: { kind: "default" } });
    expect(row("--join")).toMatchObject({ value: null, secret: true, origin: { name: "SEALMESH_JOIN" } });
    const text = await runCommand(["config", "show", "--config", config], { env });
    expect(text.stdout).toMatch(/ {2}--join +set +SEALMESH_JOIN\n/);
    expect(text.stdout).toContain(`${config}:2`);
    for (const shown of [stdout, text.stdout]) expect(shown).not.toMatch(/a-secret-invite|sesame/);
  });

  it("says where the file is, or would be", async () => {
    const config = quietSettings();
    expect(await runCommand(["config", "path", "--config", config])).toMatchObject({ code: 0, stdout: `${config}\n` });
    const home = tempDir();
    const env = { SEALMESH_CONFIG: undefined, XDG_CONFIG_HOME: home };
    const { stdout, stderr } = await runCommand(["config", "path"], { env });
    expect(stdout).toBe(`${join(home, "sealmesh/config.toml")}\n`);
    expect(stderr).toContain("there is no such file yet");
    expect(await runCommand(["config", "path", "--config", "none"])).toMatchObject({ code: 78 });
  });
});

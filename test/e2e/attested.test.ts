/**
 * A client that demands proof, among real processes and with a TPM emulator: it gets its answers from the host that
 * proves enough, directly and through a relay, and from no other. Every byte above QUIC of the other host and of the relay
 * is recorded, to show what was not sent.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fromHex } from "../../src/base/bytes.ts";
import { sealStreams, meshStreams } from "../../src/wire/stream-types.ts";
import type { AttestationReport } from "../../src/node/attestation-report.ts";
import type { PeerStatus } from "../../src/node/status.ts";
import { askRaw, knowsModels, pause, reportOf, until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, runCommand, startProcess, tempDir } from "../support/processes.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";

const directory = tempDir();
const file = (name: string): string => join(directory, name);

describe.skipIf(swtpmMissing !== undefined)("a client that demands a maker's word", () => {
  let maker: TpmMaker;
  let tpm: Swtpm;
  const engines: ScriptedEngine[] = [];
  let relay: NodeProcess;
  let proven: NodeProcess;
  let unproven: NodeProcess;
  let roots: readonly string[];
  const demanding = (...flags: readonly string[]): readonly string[] => [
    "client",
    "--join",
    relay.ready.invite,
    ...flags,
    ...roots,
  ];
  const vendor = "--require-attested-hosts=vendor";

  beforeAll(async () => {
    maker = await startTpmMaker();
    tpm = await maker.makeTpm();
    writeFileSync(file("root.der"), maker.root);
    writeFileSync(file("maker.der"), maker.intermediate);
    roots = ["--trust-roots", file("root.der")];
    // the maker's intermediate certificate is not in the TPM: the host's operator has it
    writeFileSync(file("host.toml"), `[attest]\ntpm_certificates = ["maker.der"]\nrefresh = 2\n`, { mode: 0o600 });
    for (const model of ["proven", "unproven"]) engines.push(await startEngineServer({ models: [model] }));
    relay = await startProcess(["client", "--debug-tap", file("relay.jsonl")]);
    const serving = (index: number): string[] => [
      "serve",
      "--engine",
      engines[index]?.url ?? "",
      "--join",
      relay.ready.invite,
      // one relay, so that its tap has all that goes through one
      "--no-relay-traffic",
    ];
    proven = await startProcess([...serving(0), "--tpm", tpm.place, "--config", file("host.toml")]);
    unproven = await startProcess([...serving(1), "--debug-tap", file("unproven.jsonl")]);
  });

  afterAll(async () => {
    for (const engine of engines) await engine.close();
    await maker?.close();
  });

  const ask = (node: NodeProcess, model: string): Promise<Response> =>
    askRaw(node, { model, messages: [{ role: "user", content: "hello" }] });

  for (const route of ["direct", "relay"] as const) {
    it(`gets its answer from the host that proves it, ${route}, and header, report and status agree`, async () => {
      const client = await startProcess(demanding(vendor, "--route", route));
      await knowsModels(client, "proven", "unproven");
      const answer = await ask(client, "proven");
      expect(answer.status, await answer.clone().text()).toBe(200);
      const header = (name: string): string | null => answer.headers.get(`x-sealmesh-${name}`);
      expect([header("host"), header("route"), header("sealed")]).toEqual([proven.ready.endpoint_id, route, "true"]);
      expect([header("attested"), header("evidence")]).toEqual(["vendor", "tpm2"]);
      const key = header("attested-key");
      expect(key).toMatch(/^[0-9a-f]{32}$/);
      await answer.text();
      expect((await reportOf(client, answer)).attestation).toEqual({
        tier: "vendor",
        kind: "tpm2",
        key,
        unchallenged: false,
        at_end: "current",
      });
      expect((await peerOf(client, proven)).attestation).toMatchObject({
        tier: "vendor",
        kind: "tpm2",
        fingerprint: key,
        challenge: "answered",
        allowed: true,
      });
      await client.stop();
    });

    it(`refuses the host without evidence, ${route}: the error names rule and host, and no exchange was opened to it`, async () => {
      const client = await startProcess(demanding(vendor, "--route", route));
      await knowsModels(client, "proven", "unproven");
      const answer = await ask(client, "unproven");
      expect(answer.status).toBe(503);
      const { error } = (await answer.json()) as { error: { message: string; code: string } };
      expect(error.code).toBe("refused");
      expect(error.message).toContain(unproven.ready.endpoint_id.slice(0, 10));
      expect(error.message).toContain("--require-attested-hosts=vendor");
      expect((await peerOf(client, unproven)).attestation).toMatchObject({ tier: "none", allowed: false });
      // what it opens itself is sealed bytes of others, which it may carry as a relay
      const opened = tapped(file("unproven.jsonl")).filter(
        ({ alpn, first, openedBy }) =>
          openedBy === "peer" && (alpn === "mesh-llm/1" ? first === meshStreams.http : first === sealStreams.relayed),
      );
      expect(opened).toEqual([]);
      const asked = tapped(file("relay.jsonl")).filter(
        ({ alpn, first, hex }) =>
          alpn === "sealmesh/1" && first === sealStreams.relay && hex.includes(unproven.ready.endpoint_id),
      );
      expect(asked).toEqual([]);
      // the same look at the other host finds the exchange that there was
      if (route === "relay") {
        const carried = tapped(file("relay.jsonl")).filter(
          ({ alpn, first, hex }) =>
            alpn === "sealmesh/1" && first === sealStreams.relay && hex.includes(proven.ready.endpoint_id),
        );
        expect(carried.length).toBeGreaterThan(0);
      }
      await client.stop();
    });
  }

  it("gives a third party what it needs to check the proof again, offline", async () => {
    const client = await startProcess(demanding(vendor));
    await knowsModels(client, "proven");
    const url = `${client.ready.api_url}/v1/mesh/attestation/proven`;
    const document = (await (await fetch(url)).json()) as AttestationReport;
    const [host] = document.hosts;
    expect(host).toMatchObject({ endpoint_id: proven.ready.endpoint_id, tier: "vendor", allowed: true, refusal: null });
    writeFileSync(file("document.json"), JSON.stringify(document));
    for (const place of [file("document.json"), url]) {
      const { code, stdout } = await runCommand(["verify", place, "--json", "--roots", file("root.der")]);
      expect(code, stdout).toBe(0);
      expect(stdout).toContain('"chain"');
      expect(stdout).not.toContain('"outcome":"fail"');
    }
    // a year later nothing in it is wrong, but its time has passed
    const later = new Date(Date.now() + 365 * 86_400_000).toISOString();
    const old = await runCommand([
      "verify",
      file("document.json"),
      "--json",
      "--roots",
      file("root.der"),
      "--at",
      later,
    ]);
    expect(old.stdout).toContain('"outcome":"stale"');
    const explained = await runCommand(["explain", "unproven", ...consoleOf(client)]);
    expect(explained.stdout + explained.stderr).toContain("--require-attested-hosts=vendor");
    expect(explained.code).toBe(77);
    await client.stop();
  });

  it("refuses a host whose TPM has stopped as stale, then as untrusted after three challenges, and trusts it again", async () => {
    writeFileSync(file("client.toml"), `[policy]\nevidence_max_age = 6\n[challenge]\ninterval = 2\n`, { mode: 0o600 });
    const client = await startProcess(demanding(vendor, "--config", file("client.toml")));
    await knowsModels(client, "proven");
    const first = await ask(client, "proven");
    expect(first.status, await first.text()).toBe(200);
    process.kill(tpm.pid(), "SIGSTOP");
    try {
      let refusal = "";
      await until(
        "its evidence is too old",
        async () => {
          const answer = await ask(client, "proven");
          refusal = answer.status === 503 ? await answer.text() : "";
          return refusal !== "";
        },
        20_000,
      );
      expect(refusal).toContain("stale");
      await client.waitForLine(
        (line) => line.event === "host-distrusted" && line.reason === "challenge-missed",
        40_000,
      );
      const answer = await ask(client, "proven");
      expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining("challenge")]);
      expect((await peerOf(client, proven)).attestation).toMatchObject({ challenge: "missed", allowed: false });
      // it answers gossip all the while
      expect((await peerOf(client, proven)).connected).toBe(true);
    } finally {
      process.kill(tpm.pid(), "SIGCONT");
    }
    await until("it is trusted again", async () => (await ask(client, "proven")).status === 200, 30_000);
    await client.stop();
  });

  it("goes on for half a minute with evidence that lives 5 s, under one attested key", async () => {
    writeFileSync(file("short.toml"), `[policy]\nevidence_max_age = 5\n[challenge]\ninterval = 2\n`, { mode: 0o600 });
    const client = await startProcess(demanding(vendor, "--config", file("short.toml")));
    await knowsModels(client, "proven");
    const keys = new Set<string | null>();
    const statuses: number[] = [];
    const untilMs = performance.now() + 30_000;
    while (performance.now() < untilMs) {
      const answer = await ask(client, "proven");
      statuses.push(answer.status);
      keys.add(answer.headers.get("x-sealmesh-attested-key"));
      await answer.text();
      await pause(200);
    }
    expect(statuses.filter((status) => status !== 200)).toEqual([]);
    expect(statuses.length).toBeGreaterThan(50);
    expect(keys.size).toBe(1);
    await client.stop();
  });
});

async function peerOf(node: NodeProcess, peer: NodeProcess): Promise<PeerStatus> {
  const found = (await node.status()).peers.find(({ endpoint_id }) => endpoint_id === peer.ready.endpoint_id);
  if (!found) throw new Error("the peer is not known");
  return found;
}

function consoleOf(node: NodeProcess): readonly string[] {
  return ["--console", new URL(node.ready.console_url ?? "").port];
}

interface TappedStream {
  readonly alpn: string;
  readonly openedBy: string;
  /** Type of the stream. */
  readonly first: number;
  /** What was sent by the side that opened it. */
  readonly hex: string;
}

/** Streams as their openers wrote them. */
function tapped(path: string): readonly TappedStream[] {
  const streams = new Map<string, { alpn: string; openedBy: string; hex: string }>();
  for (const line of readFileSync(path, "utf8").trim().split("\n")) {
    const entry = JSON.parse(line) as Readonly<Record<string, string | number>>;
    const byOpener = (entry["opened_by"] === "us") === (entry["direction"] === "out");
    if (!byOpener) continue;
    const name = `${entry["connection"]} ${entry["stream"]}`;
    const stream = streams.get(name) ?? {
      alpn: String(entry["alpn"]),
      openedBy: String(entry["opened_by"]),
      hex: "",
    };
    stream.hex += String(entry["hex"]);
    streams.set(name, stream);
  }
  return [...streams.values()].map(({ hex, ...stream }) => ({
    ...stream,
    hex,
    first: fromHex(hex.slice(0, 2), 1)[0] ?? 0,
  }));
}

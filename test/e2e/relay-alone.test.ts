/**
 * A client and a host that cannot reach each other, and `sealmesh relay` between them, as processes of their own. Client and
 * host are kept apart as support/udp-forwarder.ts says; the forwarder is the relay's way to the host. The relay records
 * every byte above QUIC. Linux.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { concat, latin1 } from "../../src/base/bytes.ts";
import { askRaw, knowsModels, until } from "../support/e2e.ts";
import { type ScriptedEngine, startEngineServer } from "../support/engine-server.ts";
import { type NodeProcess, runCommand, startProcess, tempDir } from "../support/processes.ts";
import { findWords, plantedMisses, readTap } from "../support/tap-search.ts";
import { startTpmMaker, type Swtpm, swtpmMissing, type TpmMaker } from "../support/swtpm.ts";
import { apart, forwardTo, inviteVia, type UdpForwarder } from "../support/udp-forwarder.ts";

const directory = tempDir();
const file = (name: string): string => join(directory, name);
const words = ["Quastenflosser", "zephyr-0815-lagoon"] as const;

describe.skipIf(process.platform !== "linux")("a relay between two that cannot reach each other", () => {
  let engine: ScriptedEngine;
  let relay: NodeProcess;
  let host: NodeProcess;
  let client: NodeProcess;
  let maker: TpmMaker | undefined;
  let tpm: Swtpm | undefined;
  let forwarder: UdpForwarder | undefined;

  beforeAll(async () => {
    engine = await startEngineServer({ text: words[1] });
    const proof: string[] = [];
    if (swtpmMissing === undefined) {
      maker = await startTpmMaker();
      tpm = await maker.makeTpm();
      writeFileSync(file("root.der"), maker.root);
      writeFileSync(file("maker.der"), maker.intermediate);
      writeFileSync(file("host.toml"), `[attest]\ntpm_certificates = ["maker.der"]\n`, { mode: 0o600 });
      proof.push("--tpm", tpm.place, "--config", file("host.toml"));
    }
    // its sockets are looked up from outside, which a hardened process allows to nobody but root
    const apartHost = ["--bind", apart.host, "--no-hardening", ...proof];
    host = await startProcess(["serve", "--engine", engine.url, ...apartHost]);
    forwarder = await forwardTo(host.pid);
    const toHost = ["--join", inviteVia(host.ready.invite, forwarder.address)];
    relay = await startProcess(["relay", ...toHost, "--debug-tap", file("relay.jsonl"), "--relay-streams", "8"]);
    client = await startProcess(["client", "--join", relay.ready.invite, "--bind", apart.client]);
    await knowsModels(client, "scripted");
  });

  afterAll(async () => {
    forwarder?.close();
    await engine?.close();
    await maker?.close();
  });

  const ask = (node: NodeProcess): Promise<Response> =>
    askRaw(node, { model: "scripted", messages: [{ role: "user", content: words[0] }] });

  it("carries their chat: it is answered, and the relay has seen ciphertext alone", async () => {
    const answer = await ask(client);
    expect(await answer.text()).toContain(words[1]);
    expect(answer.headers.get("x-sealmesh-route")).toBe("relay");
    expect(answer.headers.get("x-sealmesh-sealed")).toBe("true");
    const isMet = async (node: NodeProcess, other: NodeProcess): Promise<boolean> =>
      (await node.status()).peers.some((peer) => peer.endpoint_id === other.ready.endpoint_id && peer.connected);
    expect([await isMet(client, host), await isMet(host, client)]).toEqual([false, false]);
    expect(forwarder?.bytes).toBeGreaterThan(0);
    expect([await isMet(client, relay), await isMet(host, relay)]).toEqual([true, true]);
    const streams = readTap(file("relay.jsonl"));
    const carried = concat(streams.map(({ bytes }) => bytes));
    // what the relay may know of the exchange is there, so the search is one; and it finds what is put there
    expect(latin1(carried)).toContain("ephemeral_public_key");
    expect(findWords(streams, words)).toEqual([]);
    expect(plantedMisses(carried, words)).toEqual([]);
  });

  it("has no API port, and says in its status what it carried", async () => {
    expect(relay.ready.api_url).toBeNull();
    await until("the exchange is counted", async () => (await relay.status()).relayed.streams >= 1);
    const { relayed, mode, api_port } = await relay.status();
    expect([mode, api_port, relayed.max_streams]).toEqual(["relay", null, 8]);
    const [from, to] = [client, host].map(({ ready }) => ready.endpoint_id.slice(0, 10));
    expect(relayed.peers.map(({ id }) => id).toSorted()).toEqual([from, to].toSorted());
    const port = new URL(relay.ready.console_url ?? "").port;
    const shown = await runCommand(["status", "--verbose", "--console", port]);
    expect(shown.code).toBe(0);
    expect(shown.stdout).toMatch(/relayed +[0-9]+ streams?, [0-9.]+ (bytes|kB); 0 running, 0 broken off, 0 refused/);
    expect(shown.stdout).toContain(`${from}: `);
    expect((await fetch(`${relay.ready.console_url}/readyz`)).status).toBe(200);
  });

  it.skipIf(swtpmMissing !== undefined)(
    "lets evidence and challenges through: a client that demands proof gets it",
    async () => {
      const trusting = ["--join", relay.ready.invite, "--bind", apart.client, "--trust-roots", file("root.der")];
      const demanding = await startProcess(["client", ...trusting, "--require-attested-hosts=vendor"]);
      await knowsModels(demanding, "scripted");
      const answer = await ask(demanding);
      expect(await answer.text()).toContain(words[1]);
      expect(answer.headers.get("x-sealmesh-attested")).toBe("vendor");
      const tooMuch = await startProcess(["client", ...trusting, "--require-attested-hosts=measured"]);
      await knowsModels(tooMuch, "scripted");
      const before = engine.requests.filter(({ inference }) => inference).length;
      const refused = await ask(tooMuch);
      expect([refused.status, await refused.json()]).toEqual([
        503,
        { error: expect.objectContaining({ code: "refused", message: expect.stringContaining("measured") }) },
      ]);
      expect(engine.requests.filter(({ inference }) => inference)).toHaveLength(before);
      // of the exchanges with proof the relay has seen no more than of others
      expect(findWords(readTap(file("relay.jsonl")), words)).toEqual([]);
    },
  );

  it("is hardened like every node, and leaves like one", async () => {
    const { hardening } = await relay.status();
    expect(hardening.on).toBe(true);
    expect(await relay.stop()).toEqual({ code: 0, signal: null });
  });
});

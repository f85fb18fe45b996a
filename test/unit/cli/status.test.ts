/** `sealmesh status` prints what a console says; what strangers put into it must not move the terminal. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { status } from "../../../src/cli/commands/status.ts";
import { statusText } from "../../../src/cli/status-text.ts";
import { textWidth } from "../../../src/cli/table.ts";
import { readDocument } from "../../../src/cli/local-node.ts";
import type { Status } from "../../../src/node/status.ts";
import { policyText } from "../../../src/cli/policy-text.ts";
import { rejectsWith } from "../../support/expect-code.ts";
import { untold } from "../../support/postures.ts";

afterEach(() => vi.restoreAllMocks());

const unclean = "\u001b]0;owned\u0007\u009b2J\u202e\nfake line";
const peer = {
  id: "aabbccddee",
  hostname: unclean,
  role: "Host",
  state: unclean,
  hosted_models: [unclean],
  rtt_ms: null,
  attestation: { tier: "none", kind: unclean, refusal: unclean },
  posture: untold,
  owner: { status: "verified", verified: true, owner_id: unclean, node_label: unclean },
};
const id = endpointId("ab".repeat(32));
const policy = {
  require_attested_hosts: null,
  require_encryption: false,
  require_hardened: false,
  accept_unchallenged: false,
  allow_hosts: null,
  owners: null,
  allow_builds: false,
};
const report = {
  id: unclean,
  time: "2026-01-02T03:04:05.678Z",
  path: "/v1/chat/completions",
  model: unclean,
  status: 503,
  code: unclean,
  host: "ab".repeat(32),
  sealed: "true",
  route: "direct",
  attempts: [],
  first_byte_ms: 80,
  first_token_ms: 90,
  ms: 1200,
  prompt_tokens: 11,
  completion_tokens: null,
  cached_tokens: null,
};
const totals = { requests: 9, prompt_tokens: 100, completion_tokens: 20 };
const measurement = {
  state: "measured",
  why: unclean,
  build: unclean,
  platform: unclean,
  problems: [unclean],
  changed_files: 4,
  changed: [unclean, "b", "c", "d"],
};
const document = {
  version: "1",
  measurement,
  hardening: { on: true, node: { debugger: { state: "open", why: unclean } }, engine: null, scrubbed: [unclean] },
  name: unclean,
  endpoint_id: "aa",
  node_state: "client",
  pid: 1,
  api_port: 1,
  models: [unclean],
  inference_key: "k",
  owner: { status: unclean, verified: false, owner_id: unclean, cert_id: unclean, expires_at_unix_ms: 1e300 },
  trust_policy: "prefer-owned",
  mesh_name: null,
  publication_state: "private",
  mesh: { mode: "invite", id: "cd".repeat(16), name: unclean, role: "host", may_invite: true, why: unclean },
  route: "auto",
  relayed: {
    streams: 2,
    onward: 1,
    broken: 0,
    refused: 3,
    running: 0,
    bytes: 4,
    max_streams: 5,
    max_bytes_per_second: 1e6,
    peers: [{ id: unclean, streams_from: 1, streams_to: 0, bytes_from: 2, bytes_to: 2, refused: 0 }],
  },
  relays_for_others: true,
  policy,
  admission: { running: 1, queued: 2, max_running: 3, max_queued: 4 },
  exchanges: { recent: [report], totals },
  evidence: [{ kind: unclean, issued_at: unclean, why: unclean, key_life: "process", note: unclean }],
  engines: [{ name: unclean, state: "down", why: unclean, models: [], running: 0, waiting: 0 }],
  peers: [{ ...peer, route: "direct", sealed: "sealed", inference_key: null }],
};

/** What `sealmesh status` prints for a console that answers `answer`. */
async function printed(answer: object, flags: object = {}): Promise<{ code: number; text: string }> {
  const server = createServer((_request, response) => response.end(JSON.stringify(answer)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let text = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  const { port } = server.address() as AddressInfo;
  try {
    return { code: await status.run({ ...flags, console: String(port) }), text };
  } finally {
    vi.restoreAllMocks();
    server.closeAllConnections();
    server.close();
  }
}

it.each([{}, { verbose: true }, { json: true }])("prints no control character of a document, %j", async (flags) => {
  const { code, text } = await printed(document, flags);
  expect(code).toBe(0);
  expect(text).toContain("\ufffd]0;owned\ufffd\ufffd2J\ufffd\ufffdfake line");
  expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
  expect(text).not.toMatch(/^fake line/m);
});

it("shows the last three exchanges, the newest first, and what they come to; with --verbose all", async () => {
  const recent = Array.from({ length: 8 }, (_, index) => ({ ...report, model: `m${index}`, status: 200, code: null }));
  const { text } = await printed({ ...document, exchanges: { recent, totals } });
  expect(text).toContain("last exchanges (9 in all, 100 tokens in, 20 out)");
  expect(text).toMatch(/03:04:05 +m0 +200 +ababababab +direct +sealed +90 ms +1200 ms +11 \/ -/);
  expect(text).toContain("m2");
  expect(text).not.toContain("m3");
  expect((await printed({ ...document, exchanges: { recent, totals } }, { verbose: true })).text).toContain("m7");
  expect(text).toMatch(/load +1 of 3 places taken, 2 of 4 waiting/);
});

it("shows no empty table, and says local and unanswered exchanges plainly", async () => {
  expect((await printed({ ...document, exchanges: { recent: [], totals } })).text).not.toContain("last exchanges");
  const local = { ...report, model: "m", code: null, status: 200, sealed: "local", route: "local" };
  const nobody = { ...report, model: "", code: "no_host", host: null, sealed: null, route: null, first_token_ms: null };
  const { text } = await printed({ ...document, exchanges: { recent: [local, nobody], totals } });
  expect(text).toMatch(/m +200 +this node +local +local/);
  expect(text).toMatch(/- +503 no_host +- +- +- +- +1200 ms/);
});

it("shows what was carried for others, and for whom; of a relay no base URL", async () => {
  const peers = Array.from({ length: 7 }, (_, index) => ({ ...document.relayed.peers[0], id: `peer${index}` }));
  const relay = { ...document, mode: "relay", api_port: null, relayed: { ...document.relayed, peers } };
  const { text } = await printed(relay, { verbose: true });
  expect(text).toMatch(/relay, sealmesh 1, process 1/);
  expect(text).toMatch(/OpenAI base URL +none: a relay asks nobody$/m);
  expect(text).toMatch(/2 streams \(1 through another relay\), 4 bytes; 0 running, 0 broken off, 3 refused$/m);
  expect(text).toMatch(/at most 5 at a time and 1 MB a second$/m);
  expect(text).toMatch(/peer0: 1 from it, 0 to it, 2 bytes out of it, 2 bytes into it$/m);
  expect((await printed(relay)).text).not.toContain("peer0");
  expect(text).toContain("peer4");
  expect(text).not.toContain("peer5");
  expect((await printed({ ...document, relays_for_others: false })).text).toMatch(/relayed +nothing, as asked$/m);
});

it("shows what each peer has proven, what this node demands, and why a peer is refused", async () => {
  const refusal = "It has answered no challenge.";
  const proven = {
    ...peer,
    sealed: "refused",
    inference_key: null,
    id: "aaaaaaaaaa",
    hostname: "a",
    state: "serving",
    hosted_models: ["m"],
    route: "direct",
  };
  const peers = [
    {
      ...proven,
      sealed: "sealed",
      inference_key: "k",
      attestation: { tier: "vendor", kind: "tpm2", allowed: true, refusal: null },
    },
    { ...proven, id: "bbbbbbbbbb", attestation: { tier: "none", kind: null, refusal } },
    { ...proven, id: "cccccccccc", hosted_models: [], attestation: { tier: "none", kind: null, refusal } },
  ];
  const demanding = { ...policy, require_attested_hosts: "vendor", require_encryption: true, allow_hosts: ["a", "b"] };
  const { text } = await printed({ ...document, peers, policy: demanding });
  expect(text).toMatch(/^3 peers, 2 of them hosts, 1 refused$/m);
  expect(text).toMatch(/aaaaaaaaaa +a +host +m +- +direct +sealed +vendor$/m);
  expect(text).toMatch(/bbbbbbbbbb +a +host +m +- +direct +refused +none$/m);
  expect(text).toMatch(/^ {2}bbbbbbbbbb is refused: It has answered no challenge\.$/m);
  expect(text).not.toContain("cccccccccc is refused");
  expect(text).toMatch(/demands +evidence of tier `vendor` or higher, sealed prompts only, one of 2 listed hosts$/m);
  expect((await printed(document)).text).toMatch(/demands +nothing of hosts$/m);
});

it("--json is the node's own document, whole", async () => {
  const clean = {
    ...document,
    name: "n",
    exchanges: { recent: [{ ...report, model: "m", code: null, id: "r" }], totals },
  };
  const { text } = await printed(clean, { json: true });
  expect((JSON.parse(text) as typeof clean).exchanges).toEqual(clean.exchanges);
});

it("does not take another program's document for a console's", async () => {
  await rejectsWith("E_UNREACHABLE", printed({ endpoint_id: "aa", peers: [], engines: [] }));
});

it("says of this machine's own evidence how long its key lives, and what one must know of its kind", async () => {
  const made = { kind: "tpm2", issued_at: "2026-01-02T03:04:05.678Z", why: null, key_life: "machine", note: null };
  const none = { kind: "software", issued_at: null, why: "it is being made", key_life: "process", note: "A note." };
  const { text } = await printed({ ...document, evidence: [made, none] }, { verbose: true });
  const short = (await printed({ ...document, evidence: [made, none] })).text;
  expect(short).toMatch(/^ +evidence +tpm2: made at 03:04:05 UTC$/m);
  expect(short).not.toContain("A note.");
  expect(text).toContain("tpm2: made at 03:04:05 UTC\n");
  expect(text).toContain("software: none so far (it is being made); its key ends with this process");
  expect(text).toContain("A note.");
  expect((await printed({ ...document, evidence: [] })).text).not.toContain("evidence  ");
});

it("policy is told in one line, one host as one", () => {
  const hosts = (count: number): string => policyText({ ...policy, allow_hosts: Array(count).fill(id), owners: null });
  expect([hosts(1), hosts(2)]).toEqual(["the one listed host", "one of 2 listed hosts"]);
  expect(policyText({ ...policy, owners: ["aa"] })).toBe("the one listed owner");
});

it("says what this node measured of itself, and what has changed on disk since", async () => {
  const measured = { ...measurement, build: "ab".repeat(32), platform: "linux-x64", problems: [] };
  const changed = { ...document, measurement: { ...measured, changed: ["a", "b", "c", "d"] } };
  const { text } = await printed(changed, { verbose: true });
  expect((await printed(changed)).text).toMatch(/build +4 changed on disk since: a, b, c, \.\.\.$/m);
  const whole = { ...changed.measurement, changed_files: 0, changed: [] };
  expect((await printed({ ...document, measurement: whole })).text).not.toMatch(/^ +build /m);
  expect(text).toMatch(/build +(ab){32} \(linux-x64\)/);
  expect(text).toContain("4 changed on disk since: a, b, c, ...");
  const unmeasured = { ...measured, state: "not-measured", build: null, why: "no build" };
  expect((await printed({ ...document, measurement: unmeasured }, { verbose: true })).text).toMatch(
    /build +not measured: no build/,
  );
  expect((await printed({ ...document, measurement: undefined })).text).not.toMatch(/^ +build /m);
});

it("says whose this node is", async () => {
  const owned = { status: "verified", verified: true, owner_id: id, expires_at_unix_ms: Date.UTC(2026, 4, 5) };
  const { text } = await printed({ ...document, owner: owned }, { verbose: true });
  expect(text).toMatch(new RegExp(`owner +${id} \\(verified, until 2026-05-05\\)\\n +asked of peers: prefer-owned`));
  expect((await printed({ ...document, owner: owned })).text).not.toContain("prefer-owned");
});

it("fits a screen of 40 lines by 100 columns, however large the mesh is", async () => {
  const [one] = document.peers;
  const peers = Array.from({ length: 300 }, (_, n) => ({
    ...one,
    id: `${n}`.padStart(10, "0"),
    role: "Host",
    state: "serving",
  }));
  const recent = Array.from({ length: 20 }, () => report);
  const text = statusText(
    readDocument(JSON.stringify({ ...document, peers, exchanges: { recent, totals } })) as Status,
    {
      verbose: false,
      paint: (_style, plain) => plain,
      width: 100,
    },
  );
  const lines = text.split("\n");
  expect(lines.length).toBeLessThanOrEqual(40);
  expect(Math.max(...lines.map(textWidth))).toBeLessThanOrEqual(100);
  expect(text).toContain("and 295 more: sealmesh peers");
});

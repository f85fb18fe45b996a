/** `sealmesh explain`: what it prints of a node's explanation, and the code that it ends with. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Command as Commander } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { endpointId } from "../../../src/base/brand.ts";
import { explain } from "../../../src/cli/commands/explain.ts";
import { type ExplainedHost, type ExplainReport, policyStatus } from "../../../src/node/attestation-report.ts";
import { openPolicy } from "../../../src/policy/policy.ts";
import { rejectsWith } from "../../support/expect-code.ts";

afterEach(() => vi.restoreAllMocks());

const good: ExplainedHost = {
  endpoint_id: endpointId("aa".repeat(32)),
  this_node: false,
  hostname: "alpha",
  models: ["org/m"],
  allowed: true,
  tier: "vendor",
  route: "sealed",
  text: "A prompt would go to it sealed.",
};
const refused: ExplainedHost = {
  ...good,
  endpoint_id: endpointId("bb".repeat(32)),
  hostname: "beta",
  allowed: false,
  tier: "none",
  route: null,
  text: "It has answered no challenge.",
};
const report: ExplainReport = {
  what: "org/m",
  kind: "model",
  policy: policyStatus({ ...openPolicy, attested: "vendor" }),
  hosts: [good, refused],
};

interface Printed {
  readonly code: number;
  readonly text: string;
  readonly path: string;
}

/** What the command prints when the console answers `answer`. */
async function printed(answer: unknown, words: readonly string[] = ["org/m"], status = 200): Promise<Printed> {
  let path = "";
  const server = createServer((request, response) => {
    path = request.url ?? "";
    response.writeHead(status).end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  let text = "";
  vi.spyOn(process.stdout, "write").mockImplementation((chunk) => {
    text += String(chunk);
    return true;
  });
  let code = -1;
  const program = new Commander().exitOverride();
  const sub = program.command("explain").action(async () => {
    code = await explain.run(sub.opts());
  });
  explain.addFlags(sub);
  try {
    await program.parseAsync(["explain", "--console", String(port), ...words], { from: "user" });
  } finally {
    vi.restoreAllMocks();
    server.closeAllConnections();
    server.close();
  }
  return { code, text, path };
}

it("has a paragraph for each host: who, whether, at which tier, and why", async () => {
  const { code, text, path } = await printed(report);
  expect([code, path]).toEqual([0, "/api/explain/org%2Fm"]);
  expect(text).toBe(`org/m: 1 of 2 hosts may be asked
this node demands evidence of tier \`vendor\` or higher

aaaaaaaaaa  alpha  may be asked, tier vendor
  A prompt would go to it sealed.

bbbbbbbbbb  beta  refused, tier none
  It has answered no challenge.
`);
});

it("says which one is this node, and nothing of its tier", async () => {
  const own: ExplainedHost = { ...good, this_node: true, tier: null, route: "local", text: "It stays here." };
  const { code, text } = await printed({ ...report, kind: "peer", what: own.endpoint_id, hosts: [own] });
  expect(code).toBe(0);
  expect(text).toMatch(/^aaaaaaaaaa {2}this node {2}may be asked$/m);
});

it("ends with 77 when all are refused", async () => {
  expect((await printed({ ...report, hosts: [refused] })).code).toBe(77);
});

it("--json is the node's own document", async () => {
  const { code, text } = await printed(report, ["org/m", "--json"]);
  expect(code).toBe(0);
  expect(JSON.parse(text)).toEqual(report);
});

it("prints no control character of a host's words", async () => {
  const unclean = "\u001b]0;owned\u0007\u009b2J\u202e\nfake line";
  const host = { ...good, hostname: unclean, text: unclean };
  for (const words of [["m"], ["m", "--json"]]) {
    const { text } = await printed({ ...report, what: unclean, hosts: [host] }, words);
    expect(text).toContain("\ufffd]0;owned");
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/u);
    expect(text).not.toMatch(/^fake line/m);
  }
});

describe("when there is nothing to explain", () => {
  const notFound = { error: { message: "nobody", code: "not_found" } };

  it("because nobody has the model: E_NO_HOST, which ends with 69", async () => {
    await rejectsWith("E_NO_HOST", printed(notFound, ["org/m"], 404));
    await rejectsWith("E_NO_HOST", printed({ ...report, hosts: [] }));
  });

  it("because several nodes are meant: E_INPUT, in the node's words", async () => {
    const ambiguous = { error: { message: "several nodes begin with \u001b it", code: "invalid_value" } };
    await rejectsWith("E_INPUT", printed(ambiguous, ["aabbccddee"], 400));
    await expect(printed(ambiguous, ["aabbccddee"], 400)).rejects.toThrow("several nodes begin with \ufffd it");
  });

  it.each([
    ["another document", { hosts: [] }, 200],
    ["hosts that are none", { ...report, hosts: ["x"] }, 200],
    ["a node that is still starting", { error: { message: "this node is still starting", code: "no_host" } }, 503],
    ["another program's 404", {}, 404],
  ])("because there is %s: E_UNREACHABLE", (_name, answer, status) =>
    rejectsWith("E_UNREACHABLE", printed(answer, ["org/m"], status)),
  );
});

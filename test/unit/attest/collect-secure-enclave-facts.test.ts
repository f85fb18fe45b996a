/** What a Mac's tools say of it, and that nothing but exactly the good answer counts as good. */
import { describe, expect, it } from "vitest";
import {
  parseRdma,
  parseSecureBoot,
  parseSip,
  readMachine,
  readPosture,
  runCommand,
} from "../../../src/attest/collect/apple/facts.ts";
import { fc } from "../../support/fast-check.ts";
import { macOutputs, recorded } from "../../support/security-framework/mac.ts";

const sip = "System Integrity Protection status:";
const customConfiguration = `

Configuration:
	Apple Internal: disabled
	Kext Signing: enabled
	Filesystem Protections: enabled
	Debugging Restrictions: disabled

This is an unsupported configuration, likely to break in the future and leave your machine in an unknown state.
`;
const bridge = (level: unknown): string => JSON.stringify({ SPiBridgeDataType: [{ ibridge_secure_boot: level }] });

describe("system integrity protection", () => {
  it.each([
    [`${sip} enabled.\n`, true],
    [`${sip} disabled.\n`, false],
    [`${sip} enabled (Custom Configuration).${customConfiguration}`, false],
    [`${sip} unknown (Custom Configuration).${customConfiguration}`, false],
    [`${sip} unknown.\n`, undefined],
    [`${sip} enabled.${customConfiguration}`, undefined],
    [`${sip} enabled\n`, undefined],
    [`${sip} ENABLED.\n`, undefined],
    [`${sip} not enabled.\n`, undefined],
    [`\n${sip} enabled.\n`, undefined],
    [`warning\n${sip} enabled.\n`, undefined],
    ["enabled\n", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%j is %s", (output, expected) => expect(parseSip(output)).toBe(expected));
});

describe("secure boot", () => {
  it.each([
    [bridge("Full Security"), true],
    [bridge("Reduced Security"), false],
    [bridge("Permissive Security"), false],
    [bridge("Medium Security"), false],
    [bridge("No Security"), false],
    [bridge("Sécurité maximale"), undefined],
    [bridge("full security"), undefined],
    [bridge("Full Security "), undefined],
    [bridge(["Full Security"]), undefined],
    [bridge(true), undefined],
    ['{"SPiBridgeDataType":[]}', undefined],
    ['{"SPiBridgeDataType":[{"ibridge_secure_boot":"Full Security"},{}]}', undefined],
    ['{"SPiBridgeDataType":{"ibridge_secure_boot":"Full Security"}}', undefined],
    ['[{"ibridge_secure_boot":"Full Security"}]', undefined],
    ["Secure Boot: Full Security", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%j is %s", (output, expected) => expect(parseSecureBoot(output)).toBe(expected));
});

describe("remote memory access", () => {
  it.each([
    ["disabled\n", true],
    ["enabled\n", false],
    ["RDMA is disabled\n", undefined],
    ["Disabled\n", undefined],
    ["", undefined],
    [undefined, undefined],
  ])("%j: that it is off is %s", (output, expected) => expect(parseRdma(output)).toBe(expected));
});

it("no other text is ever good", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json(),
        fc.constant(sip).map((text) => `${text} `),
      ),
      (text) => {
        expect([parseSip(text), parseSecureBoot(text), parseRdma(text)]).not.toContain(true);
      },
    ),
    { numRuns: Number(process.env["SEALMESH_FUZZ_RUNS"] ?? 300), examples: [["__proto__"], ["null"], ["[[]]"]] },
  );
});

it("posture and machine are read from the tools by their absolute paths", async () => {
  const { run, asked } = recorded();
  expect(await readPosture(run)).toEqual({ sip: true, secureBoot: true, rdmaDisabled: true });
  expect(await readMachine(run)).toEqual({ chip: "Apple M4 Max", model: "Mac16,5", memoryBytes: 68_719_476_736n });
  expect(asked.length).toBe(6);
  for (const command of asked) expect(command).toMatch(/^\/usr\/s?bin\//);
});

it("a machine whose tools say nothing has no chip, no model, and no memory", async () => {
  expect(await readMachine(async () => undefined)).toEqual({ chip: undefined, model: "", memoryBytes: 0n });
  expect(await readPosture(async () => undefined)).toEqual({
    sip: undefined,
    secureBoot: undefined,
    rdmaDisabled: undefined,
  });
});

it.each([
  ["hw.memsize", "64 GB\n"],
  ["hw.memsize", "-1\n"],
  ["hw.memsize", "9".repeat(40)],
  ["machdep.cpu.brand_string", "Apple\u0007\n"],
  ["machdep.cpu.brand_string", `Apple ${"M".repeat(300)}\n`],
  ["machdep.cpu.brand_string", "\n"],
])("%s that is %j was not said", async (name, output) => {
  const { run } = recorded({ ...macOutputs, [`/usr/sbin/sysctl -n ${name}`]: output });
  const { chip, memoryBytes } = await readMachine(run);
  expect(name === "hw.memsize" ? memoryBytes : chip).toBe(name === "hw.memsize" ? 0n : undefined);
});

describe("running a tool", () => {
  const node = (script: string): Promise<string | undefined> => runCommand(process.execPath, ["-e", script]);

  it("gives what it prints, and hands it nothing of our environment", async () => {
    expect(await node("console.log(JSON.stringify(Object.keys(process.env).sort()))")).toBe(
      '["LANG","LC_ALL","PATH"]\n',
    );
  });

  it.each([
    ["ends badly", "console.log('Apple'); process.exitCode = 1"],
    ["prints without end", "for (;;) console.log('x'.repeat(1000))"],
  ])("gives nothing when it %s", async (_name, script) => {
    expect(await node(script)).toBeUndefined();
  });

  it("gives nothing when it is not there", async () => {
    expect(await runCommand("/nowhere/tool", [])).toBeUndefined();
  });
});

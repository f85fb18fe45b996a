import { create, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex, utf8 } from "../../../src/base/bytes.ts";
import { PostureDoorState, type PostureEngine, SecurityPostureSchema } from "../../../src/wire/gen/sealmesh_pb.ts";
import { limits } from "../../../src/wire/limits.ts";
import {
  decodePosture,
  doors,
  type DoorState,
  encodePosture,
  everyDoor,
  machineDoors,
  type Posture,
  posturePlatforms,
  processDoors,
  worseState,
} from "../../../src/wire/posture.ts";
import { expectCode } from "../../support/expect-code.ts";
import { fc } from "../../support/fast-check.ts";
import { closedPosture, postureWith } from "../../support/postures.ts";
import vectors from "../../vectors/mesh-llm.json" with { type: "json" };

const { hardened_protobuf_hex: hardenedHex, linux_protobuf_hex: linuxHex, binary_hash_hex } = vectors.security_posture;
const hash = binary_hash_hex;

const anyPosture: fc.Arbitrary<Posture> = fc.record({
  platform: fc.constantFrom(...posturePlatforms),
  doors: fc
    .array(fc.constantFrom<DoorState>("closed", "open", "unknown"), {
      minLength: doors.length,
      maxLength: doors.length,
    })
    .map((states) => Object.fromEntries(doors.map((door, at) => [door, states[at]])) as Posture["doors"]),
  hardening: fc.boolean(),
  engine: fc.constantFrom("none", "embedded", "external"),
  scrubbed: fc
    .uniqueArray(fc.stringMatching(/^[A-Za-z0-9_-]{1,48}$/), { maxLength: 16 })
    .map((names) => names.toSorted()),
  confidentialVm: fc.constantFrom("sev-snp", "tdx", "none", undefined),
  build: fc.constantFrom(hash, undefined),
  runtime: fc.constantFrom(hash, undefined),
});

describe("a posture", () => {
  it("comes back as it was, from the same bytes each time", () => {
    fc.assert(
      fc.property(anyPosture, (posture) => {
        const bytes = encodePosture(posture);
        expect(bytes.length).toBeLessThanOrEqual(limits.postureBytes);
        expect(decodePosture(bytes)).toEqual(posture);
        expect(encodePosture(decodePosture(bytes))).toEqual(bytes);
      }),
    );
  });

  it("with every name at its bound fits where it is carried", () => {
    const scrubbed = Array.from({ length: 40 }, (_, at) => `${at}`.padEnd(48, "X"));
    const bytes = encodePosture(closedPosture({ scrubbed, build: hash, runtime: hash, confidentialVm: "sev-snp" }));
    expect(bytes.length).toBeLessThanOrEqual(limits.postureBytes);
    expect(decodePosture(bytes).scrubbed).toHaveLength(16);
  });

  it("leaves out what has not the form of a name or of a digest", () => {
    const unclean = closedPosture({ scrubbed: ["LD_PRELOAD", "\u001b[2J", ""], build: "AB", confidentialVm: "\u0007" });
    expect(decodePosture(encodePosture(unclean))).toMatchObject({
      scrubbed: ["LD_PRELOAD"],
      build: undefined,
      confidentialVm: undefined,
    });
  });
});

describe("the reference's posture", () => {
  it("reads as doors that are closed, or else unknown; what it does not tell is the least", () => {
    const doorsOf = (hex: string): readonly string[] => {
      const { doors: found } = decodePosture(fromHex(hex));
      return doors.filter((door) => found[door] === "closed");
    };
    expect(doorsOf(hardenedHex)).toEqual(["core-dumps", "debugger", "sip", "rdma"]);
    expect(doorsOf(linuxHex)).toEqual(["core-dumps", "rdma"]);
    expect(decodePosture(fromHex(linuxHex))).toMatchObject({
      platform: "other",
      hardening: false,
      engine: "external",
      build: hash,
    });
    expect(decodePosture(new Uint8Array()).doors).toEqual(everyDoor("unknown"));
  });

  it("is what ours begins with, byte for byte", () => {
    const mac = postureWith({}, { platform: "darwin", build: hash });
    expect(toHex(encodePosture(mac)).startsWith(hardenedHex)).toBe(true);
    const linux = postureWith({ sip: "unknown", debugger: "open" }, { build: hash });
    expect(toHex(encodePosture(linux)).startsWith(linuxHex)).toBe(true);
  });
});

describe("what is read", () => {
  const message = (fields: Parameters<typeof create<typeof SecurityPostureSchema>>[1]): Uint8Array =>
    toBinary(SecurityPostureSchema, create(SecurityPostureSchema, fields));
  const stateOf = (...told: readonly (readonly [string, number])[]): DoorState =>
    decodePosture(message({ doors: told.map(([name, state]) => ({ name, state: state as PostureDoorState })) })).doors
      .inspector;

  it("a door that is missing is unknown, also beside the reference's flags", () => {
    const { doors: found } = decodePosture(
      message({ debuggerBlocked: true, doors: [{ name: "inspector", state: 1 }] }),
    );
    expect(found).toEqual({ ...everyDoor("unknown"), inspector: "closed" });
  });

  it("of two that bear one name the worse counts", () => {
    expect(stateOf(["inspector", 1], ["inspector", 2])).toBe("open");
    expect(stateOf(["inspector", 1], ["inspector", 0])).toBe("unknown");
  });

  it("an unknown door is skipped, and an unknown state is unknown", () => {
    expect(stateOf(["inspector", 1], ["trap-door", 2])).toBe("closed");
    expect(stateOf(["inspector", 77])).toBe("unknown");
  });

  it("an unknown platform is none of ours, and an unknown engine one of which nothing is said", () => {
    expect(decodePosture(message({ platform: "plan9", engine: 9 as PostureEngine }))).toMatchObject({
      platform: "other",
      engine: "external",
    });
  });

  it.each<[string, Uint8Array]>([
    ["no protobuf", Uint8Array.of(0x0a, 0xff)],
    ["a subprotocol of a later mesh-llm", Uint8Array.of(0x0a, 1, 0x61, 0x10, 1)],
    ["a digest that is none", message({ binaryHash: "AB".repeat(32) })],
    ["a runtime that is none", message({ runtime: "0" })],
    ["a name that a terminal would act on", message({ scrubbed: ["\u001b[2J"] })],
    ["too many names", message({ scrubbed: Array<string>(17).fill("A") })],
    ["a kind of machine that is no word", message({ confidentialVm: "\u001b" })],
    ["too many doors", message({ doors: Array.from({ length: 65 }, () => ({ name: "x", state: 1 })) })],
    ["too long", concat([encodePosture(closedPosture()), new Uint8Array(limits.postureBytes)])],
    ["text", utf8('{"sip_enabled":true}')],
  ])("%s is refused", (_what, bytes) => expectCode("E_WIRE", () => decodePosture(bytes)));
});

it("open is worse than unknown, which is worse than closed", () => {
  const states = ["closed", "unknown", "open"] as const;
  for (const [a, first] of states.entries()) {
    for (const [b, second] of states.entries()) expect(worseState(first, second)).toBe(states[Math.max(a, b)]);
  }
  expect([...processDoors, ...machineDoors]).toEqual(doors);
});

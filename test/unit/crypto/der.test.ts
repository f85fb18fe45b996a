import { describe, expect, it } from "vitest";
import { concat, fromHex, toHex } from "../../../src/base/bytes.ts";
import {
  bitString,
  bitStringBytes,
  boolean,
  type Der,
  ecdsaFromDer,
  ecdsaToDer,
  explicit,
  expectTag,
  integerBytes,
  isContext,
  octetString,
  oid,
  readDer,
  sequence,
  set,
  smallInteger,
  time,
  unsigned,
} from "../../../src/crypto/der.ts";
import { der, derContext, derInteger, derOid, derSequence, derSet, derTime } from "../../support/certificates.ts";
import { expectCode } from "../../support/expect-code.ts";

const read = (hex: string): Der => readDer(fromHex(hex));
const ascii = (tag: string, text: string): string => {
  const hex = Buffer.from(text, "latin1").toString("hex");
  return `${tag}${(hex.length / 2).toString(16).padStart(2, "0")}${hex}`;
};

describe("element", () => {
  it("is read with all that is inside it", () => {
    const node = read("300a0201053105a003010100");
    expect(node.tag).toBe(0x30);
    expect(node.children.map(({ tag }) => tag)).toEqual([0x02, 0x31]);
    expect(toHex(node.children[1]?.bytes ?? fromHex(""))).toBe("3105a003010100");
    expect(toHex(node.children[1]?.children[0]?.contents ?? fromHex(""))).toBe("010100");
    expect(read("0500").contents.length).toBe(0);
  });

  it("has a length in its shortest definite form", () => {
    for (const size of [0, 1, 127, 128, 255, 256, 65_000]) {
      expect(readDer(der(0x04, new Uint8Array(size))).contents.length).toBe(size);
    }
    expect(readDer(der(0x04, new Uint8Array(70_000)), { maxBytes: 80_000 }).contents.length).toBe(70_000);
    for (const hex of [
      "30800201050000", // indefinite
      "0480",
      "048100",
      "0481017f",
      `04817f${"00".repeat(127)}`,
      `048200ff${"00".repeat(255)}`,
      `0483000100${"00".repeat(256)}`,
      "0484000000017f", // four octets
      `0485${"00".repeat(4)}0100`,
      "04ff",
    ]) {
      expectCode("E_WIRE", () => read(hex));
    }
  });

  it("ends where the bytes end", () => {
    for (const hex of [
      "",
      "30",
      "04",
      "0401",
      "0481",
      "0482",
      "048201",
      "040200",
      "05000500",
      "050000",
      "3003020105ff",
      "30020201",
    ]) {
      expectCode("E_WIRE", () => read(hex));
    }
  });

  it("has one tag octet, and the form of its type", () => {
    for (const hex of [
      "0000", // end of contents
      "2000",
      "1f2100", // a tag in several octets
      "1f00",
      "bf00",
      "bf8148020500",
      "1000", // a primitive SEQUENCE, SET
      "1100",
      "2403040100", // strings in pieces
      "2303030100",
      "2203020100",
      "2800", // EXTERNAL
    ]) {
      expectCode("E_WIRE", () => read(hex));
    }
    expect(read("8000").children).toEqual([]);
    expect(read("a0020500").children.length).toBe(1);
  });

  it("is bounded in size and depth", () => {
    const nested = (depth: number) => {
      let bytes = new Uint8Array(0);
      for (let i = 0; i < depth; i += 1) bytes = Uint8Array.from(derSequence(bytes));
      return bytes;
    };
    expect(readDer(nested(16)).tag).toBe(0x30);
    expectCode("E_WIRE", () => readDer(nested(17)));
    expect(readDer(nested(4), { maxDepth: 4 }).tag).toBe(0x30);
    expectCode("E_WIRE", () => readDer(nested(5), { maxDepth: 4 }));
    expectCode("E_WIRE", () => readDer(nested(3_000)));
    expect(readDer(der(0x04, new Uint8Array(65_532))).bytes.length).toBe(65_536);
    expectCode("E_WIRE", () => readDer(der(0x04, new Uint8Array(65_533))));
    expectCode("E_WIRE", () => readDer(fromHex("0500"), { maxBytes: 1 }));
  });
});

describe("types", () => {
  it("each helper takes its own tag, and nothing missing", () => {
    const helpers: readonly ((node: Der | undefined) => unknown)[] = [
      boolean,
      integerBytes,
      unsigned,
      smallInteger,
      bitString,
      bitStringBytes,
      octetString,
      oid,
      sequence,
      set,
      time,
      (node) => explicit(node, 3),
      (node) => expectTag(node, 0x05),
    ];
    const samples = [
      "0101ff",
      "020101",
      "030100",
      "0400",
      "0500",
      "060100",
      "3000",
      "3100",
      "a3020500",
      `${ascii("17", "250101000000Z")}`,
    ];
    const accepted = helpers.map((helper) =>
      samples.filter((hex) => {
        try {
          helper(read(hex));
          return true;
        } catch {
          return false;
        }
      }),
    );
    expect(accepted).toEqual([
      ["0101ff"],
      ["020101"],
      ["020101"],
      ["020101"],
      ["030100"],
      ["030100"],
      ["0400"],
      ["060100"],
      ["3000"],
      ["3100"],
      [ascii("17", "250101000000Z")],
      ["a3020500"],
      ["0500"],
    ]);
    for (const helper of helpers) expectCode("E_WIRE", () => helper(undefined));
  });

  it("INTEGER: shortest form, sign where it matters", () => {
    for (const [hex, value] of [
      ["020100", 0n],
      ["02017f", 127n],
      ["02020080", 128n],
      ["020200ff", 255n],
      ["02020100", 256n],
    ] as const) {
      expect(unsigned(read(hex))).toBe(value);
    }
    expect(toHex(integerBytes(read("0201ff")))).toBe("ff");
    expect(toHex(integerBytes(read("0202ff7f")))).toBe("ff7f");
    for (const hex of ["0200", "02020000", "0202007f", "0202ffff", "0202ff80"]) {
      expectCode("E_WIRE", () => integerBytes(read(hex)));
      expectCode("E_WIRE", () => unsigned(read(hex)));
    }
    for (const hex of ["0201ff", "020180", "0202ff7f"]) expectCode("E_WIRE", () => unsigned(read(hex)));
    expect(smallInteger(read("020200ff"))).toBe(255);
    expectCode("E_WIRE", () => smallInteger(read("02020100")));
    expect(unsigned(readDer(derInteger(2n ** 255n + 7n)))).toBe(2n ** 255n + 7n);
  });

  it("BOOLEAN: 00 or ff", () => {
    expect(boolean(read("010100"))).toBe(false);
    expect(boolean(read("0101ff"))).toBe(true);
    for (const hex of ["0100", "010101", "0101fe", "01020000", "0102ffff"])
      expectCode("E_WIRE", () => boolean(read(hex)));
  });

  it("BIT STRING: unused bits are counted, and zero", () => {
    expect(bitString(read("030205a0"))).toEqual({ bytes: fromHex("a0"), unused: 5 });
    expect(bitString(read("030100"))).toEqual({ bytes: fromHex(""), unused: 0 });
    expect(toHex(bitStringBytes(read("030300a001")))).toBe("a001");
    for (const hex of ["0300", "030101", "030208a0", "03020800", "0302ffa0", "030205b0", "03020701"]) {
      expectCode("E_WIRE", () => bitString(read(hex)));
    }
    expectCode("E_WIRE", () => bitStringBytes(read("030205a0")));
  });

  it("OBJECT IDENTIFIER: shortest form", () => {
    const names = [
      "0.0",
      "0.39",
      "1.0",
      "1.39.1",
      "2.0",
      "2.39",
      "2.40",
      "2.47",
      "2.48.5",
      "2.5.29.19",
      "2.23.133.8.1",
      "1.2.840.113635.100.8.2",
    ];
    // a UUID as an arc
    for (const name of [...names, "2.25.329800735698586629295641978511506172918"]) {
      expect(oid(readDer(derOid(name)))).toBe(name);
    }
    for (const hex of ["0600", "060180", "06022a80", "06022a81", "06032a8001", "0602802a", `0641${"2a".repeat(65)}`]) {
      expectCode("E_WIRE", () => oid(read(hex)));
    }
    expect(oid(read(`0640${"2a".repeat(64)}`)).split(".").length).toBe(65);
  });

  it("times: one form each, days of the calendar only", () => {
    for (const [hex, iso] of [
      [ascii("17", "491231235959Z"), "2049-12-31T23:59:59.000Z"],
      [ascii("17", "500101000000Z"), "1950-01-01T00:00:00.000Z"],
      [ascii("17", "240229120000Z"), "2024-02-29T12:00:00.000Z"],
      [ascii("18", "20500101000000Z"), "2050-01-01T00:00:00.000Z"],
      [ascii("18", "99991231235959Z"), "9999-12-31T23:59:59.000Z"],
    ] as const) {
      expect(new Date(time(read(hex))).toISOString()).toBe(iso);
    }
    for (const hex of [
      ascii("17", "2501010000Z"),
      ascii("17", "250101000000"),
      ascii("17", "250101000000+0000"),
      ascii("17", "250101000000z"),
      ascii("17", "250229000000Z"),
      ascii("17", "250431000000Z"),
      ascii("17", "251301000000Z"),
      ascii("17", "250100000000Z"),
      ascii("17", "250101240000Z"),
      ascii("17", "250101006000Z"),
      ascii("17", "250101000060Z"),
      ascii("17", "25010100000 Z"),
      ascii("17", "20250101000000Z"),
      ascii("17", "250101000000Z\0"),
      ascii("18", "250101000000Z"),
      ascii("18", "20250101000000.5Z"),
      ascii("18", "20250101000000"),
      ascii("18", "2025010100Z"),
      ascii("17", ""),
    ]) {
      expectCode("E_WIRE", () => time(read(hex)));
    }
    expect(time(readDer(derTime(Date.UTC(2026, 10, 21, 1, 2, 3))))).toBe(Date.UTC(2026, 10, 21, 1, 2, 3));
  });

  it("context tags: the number, and one element inside an explicit one", () => {
    const node = readDer(derContext(3, derSequence()));
    expect([isContext(node, 3), isContext(node, 2), isContext(undefined, 3), isContext(read("8300"), 3)]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect(explicit(node, 3).tag).toBe(0x30);
    expectCode("E_WIRE", () => explicit(node, 2));
    expectCode("E_WIRE", () => explicit(readDer(derContext(3)), 3));
    expectCode("E_WIRE", () => explicit(readDer(derContext(3, derSequence(), derSet())), 3));
  });
});

describe("ECDSA signature", () => {
  const pair = (r: bigint, s: bigint) => derSequence(derInteger(r), derInteger(s));
  const raw = (r: bigint, s: bigint, size: number) =>
    fromHex([r, s].map((part) => part.toString(16).padStart(size * 2, "0")).join(""));

  it("goes from DER to two numbers of fixed length and back, short and high ones too", () => {
    for (const size of [32, 48]) {
      const top = 2n ** BigInt(size * 8);
      for (const r of [0n, 1n, 127n, 128n, 255n, 2n ** 64n, top / 2n - 1n, top / 2n, top - 1n]) {
        for (const s of [0n, 1n, 128n, top / 2n, top - 1n]) {
          expect(ecdsaFromDer(pair(r, s), size)).toEqual(raw(r, s, size));
          expect(ecdsaToDer(raw(r, s, size))).toEqual(pair(r, s));
        }
      }
    }
  });

  it("refuses numbers that are longer or negative, one, three, and bytes around", () => {
    const good = pair(5n, 7n);
    for (const bytes of [
      pair(2n ** 256n, 7n),
      pair(5n, 2n ** 256n),
      fromHex("30060201ff020107"),
      fromHex("30060201050201ff"),
      fromHex("300702020005020107"),
      derSequence(derInteger(5n)),
      derSequence(derInteger(5n), derInteger(7n), derInteger(9n)),
      derSet(derInteger(5n), derInteger(7n)),
      concat([good, fromHex("00")]),
      concat([fromHex("00"), good]),
      derSequence(),
      fromHex(""),
    ]) {
      expectCode("E_WIRE", () => ecdsaFromDer(bytes, 32));
    }
    for (const size of [0, 1, 63, 120, 132]) expectCode("E_WIRE", () => ecdsaToDer(new Uint8Array(size)));
  });
});

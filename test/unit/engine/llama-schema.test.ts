/** Schemas become grammars that llama.cpp itself reads here: it says which texts each of them takes. */
import { getLlama, type Llama, LlamaLogLevel } from "node-llama-cpp";
import { beforeAll, describe, expect, test } from "vitest";
import { isMeshError, type MeshError } from "../../../src/base/errors.ts";
import { anyObjectGrammar, schemaGrammar } from "../../../src/engine/llama-schema.ts";
import { fc } from "../../support/fast-check.ts";

let llama: Llama;
beforeAll(async () => {
  llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: LlamaLogLevel.disabled });
}, 30_000);

/** What llama.cpp says of whole texts. */
async function takerOf(grammar: string): Promise<(text: string) => boolean> {
  const parsed = await llama.createGrammar({ grammar });
  // not in the types: the library's own test of a text
  const tester = parsed as unknown as { _testText(text: string): boolean };
  return (text) => tester._testText(text);
}

async function expectTexts(schema: object, fitting: readonly string[], others: readonly string[]): Promise<void> {
  const takes = await takerOf(schemaGrammar(schema, true));
  expect(fitting.filter((text) => !takes(text))).toEqual([]);
  expect(others.filter(takes)).toEqual([]);
}

function refusal(schema: unknown, strict = true): string {
  try {
    schemaGrammar(schema, strict);
  } catch (thrown) {
    const { code, param, message } = thrown as MeshError;
    expect({ code, param }).toEqual({ code: "E_UNSUPPORTED", param: "response_format.json_schema.schema" });
    return message;
  }
  return "not refused";
}

describe("what fits", () => {
  test("any object", async () => {
    const takes = await takerOf(anyObjectGrammar());
    const objects = ["{}", '{"a":1}', '{"a": [1, {"b":null}], "c":"x\\n\\u00e9\u00e9"}'];
    expect(objects.filter((text) => !takes(text))).toEqual([]);
    expect(["[]", '{"a":}', "{,}", '{"a":1,}', "{}\n", '{"a":01}', '{"a":"\n"}'].filter(takes)).toEqual([]);
    expect(takes(`${'{"a":'.repeat(13)}1${"}".repeat(13)}`)).toBe(false);
  });

  test("members: required, left out, none more", () =>
    expectTexts(
      { properties: { a: { type: "integer" }, b: { type: "boolean" }, c: { type: "null" } }, required: ["b"] },
      ['{"b":true}', '{"a":1,"b":false}', '{"a": 1, "b": false, "c": null}', '{"b":true,"c":null}'],
      ["{}", '{"a":1}', '{,"b":true}', '{"a":1"b":true}', '{"b":true,}', '{"b":true,"d":1}', '{"b":true,"a":1}'],
    ));

  test("members that all may be left out, none, any", async () => {
    await expectTexts({ properties: { a: {}, b: {} } }, ["{}", '{"a":[]}', '{"b":1}'], ['{"b":1,"a":1}']);
    await expectTexts({ type: "object", properties: {}, additionalProperties: false }, ["{}"], ['{"a":1}']);
    const map = { type: "object", additionalProperties: { type: "integer" } };
    await expectTexts(map, ["{}", '{"x":1, "y": 2}'], ['{"x":"s"}']);
    await expectTexts({ type: "object", required: ["a"] }, ['{"a":{"b":1}}'], ["{}"]);
  });

  test("strings by length and by format", async () => {
    const short = { type: "string", minLength: 1, maxLength: 3 };
    await expectTexts(short, ['"a"', '"\u00e9\\n\u{1F600}"'], ['""', '"abcd"', '"\\x"', '"\t"', '"a']);
    const date = { type: "string", format: "date" };
    await expectTexts(date, ['"2024-02-29"', '"1999-12-31"'], ['"2024-02-30"', '"2024-13-01"', '"2024-04-31"']);
    const instant = { type: "string", format: "date-time" };
    await expectTexts(instant, ['"2024-01-31T23:59:59.5Z"', '"2024-01-01T00:00:00+01:30"'], ['"2024-01-31"']);
    const uuid = { type: "string", format: "uuid" };
    await expectTexts(uuid, ['"01234567-89ab-cdef-0123-456789abcdef"'], ['"01234567"']);
    await expectTexts({ format: "email" }, ['"anything"'], ["1"]);
  });

  test.each<[object, string[], string[]]>([
    [{ type: "integer" }, ["0", "-12", "999999999999999"], ["1.0", "1e3", "01", "1234567890123456"]],
    [{ type: "number" }, ["0", "-1.5e-3", "0.25"], [".5", "1.", "+1", "00", "1e"]],
    [{ type: "integer", minimum: 0 }, ["0", "10"], ["-1"]],
    [{ type: "integer", exclusiveMinimum: 0 }, ["1", "20"], ["0", "-1"]],
    [{ type: "integer", minimum: -9007199254740991, maximum: 9007199254740991 }, ["-5"], ["0.5"]],
    [{ type: "integer", minimum: 1900, maximum: 2100 }, ["1900", "1999", "2100"], ["1899", "2101", "19"]],
    [{ type: "integer", minimum: -2, exclusiveMaximum: 2 }, ["-2", "0", "1"], ["-3", "2"]],
    [{ type: "number", minimum: 0 }, ["0", "0.5", "1e3"], ["-1"]],
    [{ type: "number", exclusiveMinimum: 0 }, ["0.001", "1.5", "10"], ["0", "0.0", "-1"]],
    [{ type: "number", minimum: 0, maximum: 1 }, ["0", "0.99", "1", "1.0"], ["1.1", "-0.1", "2"]],
    [{ type: "number", minimum: -90, maximum: 90 }, ["-90.0", "-0.5", "89.9", "90"], ["90.1", "-91", "-90.1"]],
    [{ type: "number", minimum: -5, maximum: -2 }, ["-2", "-4.9", "-5"], ["-5.1", "-1.9", "2"]],
    [{ type: "number", minimum: 2, maximum: 3 }, ["2.5", "3"], ["1", "3.5"]],
  ])("numbers: %j", (schema, fitting, others) => expectTexts(schema, fitting, others));

  test("lists", async () => {
    const some = { type: "array", items: { enum: ["a", "ab", 'b"q'] }, minItems: 1, maxItems: 2 };
    await expectTexts(some, ['["a"]', '["ab", "b\\"q"]'], ["[]", '["a","a","a"]', '["b"]', '["a",]']);
    await expectTexts({ items: {} }, ["[]", '[1,"x",{}]'], ["1"]);
    await expectTexts({ type: "array", maxItems: 0 }, ["[]"], ["[1]"]);
    const pair = { type: "array", prefixItems: [{ type: "integer" }, { type: "null" }] };
    await expectTexts(pair, ["[1,null]"], ["[1]", "[null,1]", "[1,null,2]"]);
    const open = { ...pair, items: { type: "boolean" }, minItems: 3, maxItems: 4 };
    await expectTexts(open, ["[1,null,true]", "[1,null,true,false]"], ["[1,null]", "[1,null,true,true,true]"]);
    await expectTexts({ items: [{ const: 1 }], additionalItems: false }, ["[1]"], ["[]", "[1,2]"]);
  });

  test("values that are named, also hostile ones", async () => {
    await expectTexts({ type: "string", enum: ["a", 1, null] }, ['"a"'], ["1", "null"]);
    const value = { a: [1, 'x\n"\\\u00e9'] };
    await expectTexts({ const: value }, [JSON.stringify(value)], ["{}"]);
    const name = 'a" "b\nroot ::= "x';
    const schema = { properties: { [name]: { const: '\\"\n\u0000\ud800' } }, required: [name] };
    await expectTexts(schema, [JSON.stringify({ [name]: '\\"\n\u0000\ud800' })], ["x", '"x"']);
  });

  test("choices and types", async () => {
    await expectTexts({ type: ["integer", "null"] }, ["1", "null"], ["true", '"1"']);
    const either = { anyOf: [{ type: "string" }, { const: 5 }, { enum: [true, 51] }, { items: { type: "null" } }] };
    await expectTexts(either, ['"x"', "5", "51", "true", "[null]"], ["52", "false", "[1]"]);
    await expectTexts({ allOf: [{ $ref: "#/$defs/a~1b" }], $defs: { "a/b": { type: "null" } } }, ["null"], ["1"]);
  });

  test("schemas that contain themselves", async () => {
    const list = {
      $ref: "#/definitions/node",
      definitions: {
        node: {
          type: "object",
          properties: { v: { type: "integer" }, next: { anyOf: [{ $ref: "#/definitions/node" }, { type: "null" }] } },
          required: ["v", "next"],
        },
      },
    };
    await expectTexts(list, ['{"v":1,"next":{"v":2,"next":null}}'], ['{"v":1}', '{"v":1,"next":{"v":2}}']);
    const leaf = { properties: { op: { const: "num" }, v: { type: "integer" } }, required: ["op", "v"] };
    const side = { $ref: "#/$defs/e" };
    const sum = { properties: { op: { enum: ["add", "mul"] }, l: side, r: side }, required: ["op", "l", "r"] };
    const tree = { ...side, $defs: { e: { anyOf: [leaf, sum] } } };
    await expectTexts(tree, ['{"op":"add","l":{"op":"num","v":1},"r":{"op":"num","v":2}}'], ['{"op":"num","l":1}']);
  });
});

describe("what cannot be held", () => {
  test.each([
    ["'pattern'", { type: "string", pattern: "^(a+)+$" }],
    ["'minItems beyond 1000'", { type: "array", minItems: 1e9 }],
    ["'maxLength beyond 1000'", { properties: { a: { type: "string", maxLength: 1e9 } } }],
    ["'multipleOf'", { type: "integer", multipleOf: 3 }],
    ["'minimum'", { type: "integer", minimum: 5 }],
    ["'uniqueItems'", { items: {}, uniqueItems: true }],
  ])("%s is refused when strict, and left to the model otherwise", async (what, schema) => {
    expect(refusal(schema)).toContain(what);
    await takerOf(schemaGrammar(schema, false));
  });

  test.each<[string, unknown]>([
    ["it uses 'not'", { not: {} }],
    ["it joins schemas by 'allOf'", { allOf: [{}, {}] }],
    ["'properties' stands beside 'anyOf'", { anyOf: [{}], properties: {} }],
    ["no schema that anything fits", { properties: { a: false }, required: ["a"] }],
    ["'type' names no type", { type: "wizard" }],
    ["no value of 'enum'", { enum: [] }],
    ["'maxItems' is less than 'minItems'", { type: "array", minItems: 3, maxItems: 2 }],
    ["refers to no part", { $ref: "https://example.com/schema" }],
    ["refers to no part", { $ref: "#/$defs/__proto__/constructor" }],
    ["refers to nothing but itself", { $ref: "#" }],
    ["refers to nothing but itself", { anyOf: [{ $ref: "#" }, { type: "null" }] }],
    [
      "refers to nothing but itself",
      { $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } } },
    ],
  ])("%s", (why, schema) => {
    expect(refusal(schema, false)).toContain(why);
  });
});

const keywords =
  "type properties required additionalProperties items prefixItems minItems maxItems enum const anyOf oneOf $ref $defs minimum maximum minLength maxLength format".split(
    " ",
  );

describe("hostile schemas", () => {
  const nested = (depth: number): object =>
    Array.from({ length: depth }).reduce<object>((items) => ({ type: "array", items }), { type: "null" });
  const named = (count: number, value: object): object =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, value]));
  /** Two readings a step: each schema is a list of the one before, in two ways. */
  const doubling = (steps: number): Record<string, object> => {
    const defs: Record<string, object> = { d0: { type: "null" } };
    for (let step = 1; step <= steps; step++) {
      const items = { $ref: `#/$defs/d${step - 1}` };
      defs[`d${step}`] = {
        anyOf: [
          { items, minItems: 1 },
          { items, maxItems: 5 },
        ],
      };
    }
    return defs;
  };
  const itself = { $ref: "#" };

  test.each<[string, unknown]>([
    ["more than 65536 bytes", { description: "x".repeat(70_000) }],
    ["more than 48 schemas deep", nested(2000)],
    ["more than 60 properties may be left out", { properties: named(61, { type: "null" }) }],
    ["counts to more than 8000", { properties: named(9, { type: "string", maxLength: 999 }), required: [] }],
    ["begin alike", { $ref: "#/$defs/d9", $defs: doubling(9) }],
    ["too many schemas", { anyOf: Array.from({ length: 200 }, (_, index) => ({ type: "array", maxItems: index })) }],
    // each bracket would double the readings of the text
    ["must differ in the value of their first member", { anyOf: [{ items: itself }, { items: itself, minItems: 1 }] }],
  ])("%s", (why, schema) => {
    const began = performance.now();
    expect(refusal(schema, false)).toContain(why);
    expect(performance.now() - began).toBeLessThan(500);
  });

  test.each<[string, unknown, string]>([
    ["a large enum", { enum: Array.from({ length: 7000 }, (_, index) => `v${index}`) }, '"v777"'],
    [
      "words that begin with one another",
      { enum: Array.from({ length: 340 }, (_, index) => "a".repeat(index)) },
      '"aaa"',
    ],
    [
      "long counts",
      { items: { items: { type: "string", maxLength: 1000 }, maxItems: 1000 }, maxItems: 1000 },
      '[["a"]]',
    ],
    ["many long counts", { properties: named(8, { type: "string", maxLength: 990 }), required: ["p7"] }, '{"p7":""}'],
    ["60 members that may be left out", { properties: named(60, { type: "null" }) }, '{"p59":null}'],
    ["64 readings", { $ref: "#/$defs/d6", $defs: doubling(6) }, "[[[[[[null,null]]]]]]"],
    ["brackets", nested(40), "[".repeat(40) + "]".repeat(40)],
  ])("%s: read by llama.cpp within a second", async (_, schema, text) => {
    const began = performance.now();
    const takes = await takerOf(schemaGrammar(schema, true));
    expect(takes(text)).toBe(true);
    expect(performance.now() - began).toBeLessThan(1000);
  });

  test("any JSON is a grammar that llama.cpp reads, or a MeshError", async () => {
    const keyword = fc.constantFrom(...keywords);
    const { schema } = fc.letrec<{ schema: unknown }>((tie) => ({
      schema: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        fc.constantFrom<unknown>(true, {}, { type: "string" }, { type: ["null", "integer"] }, { $ref: "#" }, 7),
        fc.record({ properties: fc.dictionary(fc.string(), tie("schema")), required: fc.array(fc.string()) }),
        fc.record({ anyOf: fc.array(tie("schema"), { maxLength: 4 }) }),
        fc.record({ items: tie("schema"), minItems: fc.nat(5), maxItems: fc.nat(2000) }),
        fc.record({ enum: fc.array(fc.jsonValue()) }),
        fc.dictionary(keyword, fc.oneof(fc.jsonValue(), tie("schema")), { maxKeys: 3 }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(schema, fc.boolean(), async (value, strict) => {
        let grammar: string;
        try {
          grammar = schemaGrammar(value, strict);
        } catch (thrown) {
          expect(isMeshError(thrown)).toBe(true);
          return;
        }
        await takerOf(grammar);
      }),
      { numRuns: 500 },
    );
  });
});

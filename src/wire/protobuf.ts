/**
 * The one way from foreign bytes to a protobuf message: shape and amount are checked on the bytes, before anything is
 * built from them. The library alone would read a field by its declared type whatever wire type it came with, let an
 * inner message run over the end of the outer one, and build an object for every two bytes.
 */
import { type DescField, type DescMessage, type MessageShape, ScalarType, fromBinary } from "@bufbuild/protobuf";
import { MeshError } from "../base/errors.ts";

// wire types of the protobuf encoding; 3 and 4 are groups, which nobody in this protocol uses
const varint = 0;
const fixed64 = 1;
const lengthDelimited = 2;
const fixed32 = 5;

/**
 * @param schema     a message of src/wire/gen; its fields are varints, strings, bytes and messages
 * @param fieldLimit most fields in the bytes, declared or not, those of inner messages included
 * @throws           E_WIRE truncated, wrong wire type of a declared field, group, text that is not UTF-8, too many fields
 */
export function decodeMessage<T extends DescMessage>(
  schema: T,
  bytes: Uint8Array,
  fieldLimit: number,
): MessageShape<T> {
  new ShapeCheck(bytes, fieldLimit).message(schema, bytes.length);
  try {
    return fromBinary(schema, bytes, { readUnknownFields: false });
  } catch (cause) {
    throw new MeshError("E_WIRE", `${schema.name} does not decode`, { cause });
  }
}

/** One walk over the tags of a message and of its declared inner messages. */
class ShapeCheck {
  readonly #bytes: Uint8Array;
  #position = 0;
  #fieldsLeft: number;

  constructor(bytes: Uint8Array, fieldLimit: number) {
    this.#bytes = bytes;
    this.#fieldsLeft = fieldLimit;
  }

  /** Depth is that of the schema, which has no recursive message. */
  message(schema: DescMessage, end: number): void {
    while (this.#position < end) {
      this.#fieldsLeft -= 1;
      if (this.#fieldsLeft < 0) throw new MeshError("E_WIRE", `${schema.name} has too many fields`);
      const tag = this.#varint(end);
      const number = Math.floor(tag / 8);
      const wireType = tag % 8;
      if (number < 1 || number > 0x1fff_ffff)
        throw new MeshError("E_WIRE", `${schema.name} has a field number ${number}`);
      const field = fieldsOf(schema).get(number);
      if (field !== undefined && field.wireType !== wireType) {
        throw new MeshError("E_WIRE", `field ${number} of ${schema.name} has wire type ${wireType}`);
      }
      this.#value(wireType, end, field?.inner);
    }
  }

  #value(wireType: number, end: number, inner: DescMessage | undefined): void {
    switch (wireType) {
      case varint:
        this.#varint(end);
        return;
      case fixed64:
        return this.#advance(8, end);
      case fixed32:
        return this.#advance(4, end);
      case lengthDelimited: {
        const length = this.#varint(end);
        if (length > end - this.#position) throw new MeshError("E_WIRE", "a field is longer than its message");
        if (inner === undefined) this.#position += length;
        else this.message(inner, this.#position + length);
        return;
      }
      default:
        throw new MeshError("E_WIRE", `wire type ${wireType} is not used here`);
    }
  }

  #advance(count: number, end: number): void {
    if (count > end - this.#position) throw new MeshError("E_WIRE", "a message ends inside a field");
    this.#position += count;
  }

  /** Value as a number: exact below 2^53, and never smaller than 2^53 when the true value is not. */
  #varint(end: number): number {
    let value = 0;
    let factor = 1;
    for (let count = 0; count < 10; count += 1) {
      const byte = this.#position < end ? this.#bytes[this.#position] : undefined;
      if (byte === undefined) throw new MeshError("E_WIRE", "a message ends inside a number");
      this.#position += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw new MeshError("E_WIRE", "a number is longer than 10 bytes");
  }
}

interface FieldShape {
  readonly wireType: number;
  readonly inner: DescMessage | undefined;
}

const shapes = new WeakMap<DescMessage, ReadonlyMap<number, FieldShape>>();

function fieldsOf(schema: DescMessage): ReadonlyMap<number, FieldShape> {
  let known = shapes.get(schema);
  if (known === undefined) {
    known = new Map(schema.fields.map((field) => [field.number, shapeOf(field)]));
    shapes.set(schema, known);
  }
  return known;
}

function shapeOf(field: DescField): FieldShape {
  if (field.message !== undefined) return { wireType: lengthDelimited, inner: field.message };
  const isBytes = field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES;
  return { wireType: isBytes ? lengthDelimited : varint, inner: undefined };
}

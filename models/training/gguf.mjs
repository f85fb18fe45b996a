// Writes a GGUF file, version 3: header, metadata, tensor list, tensor data. Only the types that the demo model needs.

const MAGIC = "GGUF";
const VERSION = 3;
const ALIGN_BYTES = 32;
const BLOCK = 32; // numbers that share one scale in Q8_0

const VALUE_TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };
const TENSOR_TYPES = { F32: 0, Q8_0: 8 };

/** @returns the bits of the nearest float16, ties to even; larger magnitudes become infinite */
function toHalf(value) {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // Below the smallest normal number the exponent stays at -14 and the bits count steps of 2^-24.
  const exponent = magnitude < 2 ** -14 ? -14 : Math.floor(Math.log2(magnitude));
  const steps = magnitude / 2 ** (exponent - 10);
  const floor = Math.floor(steps);
  const rest = steps - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  // Adding instead of joining the fields lets a carry run into the exponent. Normal numbers have their leading 1 in it.
  return sign + (rounded < 1024 && exponent === -14 ? rounded : ((exponent + 14) << 10) + rounded);
}

/** Q8_0: per 32 numbers a float16 scale, then 32 signed bytes. */
function quantise(values) {
  const bytes = Buffer.alloc((values.length / BLOCK) * (BLOCK + 2));
  for (let start = 0, at = 0; start < values.length; start += BLOCK, at += BLOCK + 2) {
    let largest = 0;
    for (let index = 0; index < BLOCK; index++) largest = Math.max(largest, Math.abs(values[start + index]));
    const scale = largest / 127;
    bytes.writeUInt16LE(toHalf(scale), at);
    for (let index = 0; index < BLOCK; index++) {
      bytes.writeInt8(scale === 0 ? 0 : Math.round(values[start + index] / scale), at + 2 + index);
    }
  }
  return bytes;
}

const little = (bytes, write) => {
  const buffer = Buffer.alloc(bytes);
  write(buffer);
  return buffer;
};
const u32 = (value) => little(4, (buffer) => buffer.writeUInt32LE(value));
const u64 = (value) => little(8, (buffer) => buffer.writeBigUInt64LE(BigInt(value)));
const string = (text) => Buffer.concat([u64(Buffer.byteLength(text)), Buffer.from(text)]);

function encodeValue(type, value) {
  switch (type) {
    case "u32":
      return u32(value);
    case "i32":
      return little(4, (buffer) => buffer.writeInt32LE(value));
    case "f32":
      return little(4, (buffer) => buffer.writeFloatLE(value));
    case "bool":
      return Buffer.of(value ? 1 : 0);
    case "string":
      return string(value);
    case "array": {
      const items = value.items.map((item) => encodeValue(value.type, item));
      return Buffer.concat([u32(VALUE_TYPES[value.type]), u64(items.length), ...items]);
    }
    default:
      throw new Error(`no such GGUF type: ${type}`);
  }
}

const padded = (bytes) => Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;
const pad = (buffer) => Buffer.concat([buffer, Buffer.alloc(padded(buffer.length) - buffer.length)]);

/**
 * @param metadata [key, type, value][]; the value of an array is { type, items }
 * @param tensors  { name, type: "F32" | "Q8_0", sizes: fastest first, values: Float32Array }[]; a row of Q8_0 is a
 *                 multiple of 32 numbers
 * @returns        the bytes of the file
 */
export function encodeGguf(metadata, tensors) {
  const bodies = tensors.map(({ type, values }) =>
    type === "Q8_0" ? quantise(values) : Buffer.from(values.buffer, values.byteOffset, values.byteLength),
  );
  let offset = 0;
  const entries = tensors.map(({ name, type, sizes }, index) => {
    const entry = [string(name), u32(sizes.length), ...sizes.map(u64), u32(TENSOR_TYPES[type]), u64(offset)];
    offset += padded(bodies[index].length);
    return Buffer.concat(entry);
  });
  const keys = metadata.map(([key, type, value]) =>
    Buffer.concat([string(key), u32(VALUE_TYPES[type]), encodeValue(type, value)]),
  );
  const head = [Buffer.from(MAGIC), u32(VERSION), u64(tensors.length), u64(metadata.length), ...keys, ...entries];
  return Buffer.concat([pad(Buffer.concat(head)), ...bodies.map(pad)]);
}

// One WebAssembly memory in which all arrays of the trainer lie, and the matrix product that works on it.

import { MATRIX_KERNEL } from "./matrix-kernel.mjs";

const PAGE_BYTES = 65536;
const ALIGN_BYTES = 64;

/** A matrix in the arena: rows are `row` floats apart, the numbers of a row `step` floats. */
export const matrix = (at, row) => ({ at, row, step: 1 });
export const transposed = ({ at, row, step }) => ({ at, row: step, step: row });

/**
 * @param bytes size of the memory; it does not grow, because growing would detach the views
 * @returns     allocate(floats) -> { at: byte address, values: Float32Array }, all zero, and
 *              multiply(size, a, b, c, { add }): c = a b, or c += a b; only `a` may be transposed
 */
export async function createArena(bytes) {
  const pages = Math.ceil(bytes / PAGE_BYTES);
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const abort = () => {
    throw new Error("the matrix kernel aborted");
  };
  const { instance } = await WebAssembly.instantiate(Buffer.from(MATRIX_KERNEL, "base64"), { env: { memory, abort } });
  let next = 1024; // leaves address 0 unused, so that a forgotten address fails visibly
  const allocate = (floats) => {
    const at = next;
    next += Math.ceil((floats * 4) / ALIGN_BYTES) * ALIGN_BYTES;
    if (next > memory.buffer.byteLength) throw new Error(`the arena of ${bytes} bytes is too small`);
    return { at, values: new Float32Array(memory.buffer, at, floats) };
  };
  const kernel = instance.exports.multiply;
  const multiply = ({ rows, columns, inner }, a, b, c, { add = false } = {}) =>
    kernel(rows, columns, inner, a.at, a.row, a.step, b.at, b.row, c.at, c.row, add);
  return { allocate, multiply };
}

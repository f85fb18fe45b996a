// The one matrix product of the trainer, in AssemblyScript with WASM SIMD; compiled by build-kernel.mjs.
//
//   C[i][j] = (accumulate ? C[i][j] : 0) + sum over k of A[i][k] * B[k][j]        all float32
//
// A has two free strides (row and step), so a transposed A needs no copy; rows of B and C are contiguous. Strides count
// floats, pointers are byte addresses. Multiply and add stay two operations: a fused one would round differently from
// processor to processor, and training would no longer be reproducible.

/** Four rows by eight columns, held in eight registers over the whole inner loop. */
// @ts-ignore: decorator of AssemblyScript
@inline
function tileOfFourRows(
  inner: i32, a: usize, aRow: usize, aStep: usize, b: usize, bRow: usize, c: usize, cRow: usize, accumulate: bool,
): void {
  const zero = f32x4.splat(0);
  const c1 = c + cRow;
  const c2 = c1 + cRow;
  const c3 = c2 + cRow;
  let left0 = accumulate ? v128.load(c) : zero;
  let left1 = accumulate ? v128.load(c1) : zero;
  let left2 = accumulate ? v128.load(c2) : zero;
  let left3 = accumulate ? v128.load(c3) : zero;
  let right0 = accumulate ? v128.load(c, 16) : zero;
  let right1 = accumulate ? v128.load(c1, 16) : zero;
  let right2 = accumulate ? v128.load(c2, 16) : zero;
  let right3 = accumulate ? v128.load(c3, 16) : zero;
  for (let k = 0; k < inner; k++) {
    const left = v128.load(b);
    const right = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    left0 = f32x4.add(left0, f32x4.mul(a0, left));
    right0 = f32x4.add(right0, f32x4.mul(a0, right));
    const a1 = v128.load32_splat(a + aRow);
    left1 = f32x4.add(left1, f32x4.mul(a1, left));
    right1 = f32x4.add(right1, f32x4.mul(a1, right));
    const a2 = v128.load32_splat(a + 2 * aRow);
    left2 = f32x4.add(left2, f32x4.mul(a2, left));
    right2 = f32x4.add(right2, f32x4.mul(a2, right));
    const a3 = v128.load32_splat(a + 3 * aRow);
    left3 = f32x4.add(left3, f32x4.mul(a3, left));
    right3 = f32x4.add(right3, f32x4.mul(a3, right));
    a += aStep;
    b += bRow;
  }
  v128.store(c, left0);
  v128.store(c, right0, 16);
  v128.store(c1, left1);
  v128.store(c1, right1, 16);
  v128.store(c2, left2);
  v128.store(c2, right2, 16);
  v128.store(c3, left3);
  v128.store(c3, right3, 16);
}

/** One row by eight columns: the rows left over when their number is not a multiple of four. */
// @ts-ignore: decorator of AssemblyScript
@inline
function tileOfOneRow(inner: i32, a: usize, aStep: usize, b: usize, bRow: usize, c: usize, accumulate: bool): void {
  let left = accumulate ? v128.load(c) : f32x4.splat(0);
  let right = accumulate ? v128.load(c, 16) : f32x4.splat(0);
  for (let k = 0; k < inner; k++) {
    const factor = v128.load32_splat(a);
    left = f32x4.add(left, f32x4.mul(factor, v128.load(b)));
    right = f32x4.add(right, f32x4.mul(factor, v128.load(b, 16)));
    a += aStep;
    b += bRow;
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

/** One number: the columns left over when their number is not a multiple of eight. */
// @ts-ignore: decorator of AssemblyScript
@inline
function oneCell(inner: i32, a: usize, aStep: usize, b: usize, bRow: usize, c: usize, accumulate: bool): void {
  let sum: f32 = accumulate ? load<f32>(c) : 0;
  for (let k = 0; k < inner; k++) {
    sum += load<f32>(a) * load<f32>(b);
    a += aStep;
    b += bRow;
  }
  store<f32>(c, sum);
}

export function multiply(
  rows: i32, columns: i32, inner: i32,
  a: usize, aRowStride: i32, aStepStride: i32,
  b: usize, bRowStride: i32,
  c: usize, cRowStride: i32,
  accumulate: bool,
): void {
  const aRow = <usize>aRowStride << 2;
  const aStep = <usize>aStepStride << 2;
  const bRow = <usize>bRowStride << 2;
  const cRow = <usize>cRowStride << 2;
  const tiledColumns = columns & ~7;
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    for (let column = 0; column < tiledColumns; column += 8) {
      const shift = <usize>column << 2;
      tileOfFourRows(inner, a, aRow, aStep, b + shift, bRow, c + shift, cRow, accumulate);
    }
    for (let column = tiledColumns; column < columns; column++) {
      const shift = <usize>column << 2;
      for (let offset = 0; offset < 4; offset++) {
        const down = <usize>offset;
        oneCell(inner, a + down * aRow, aStep, b + shift, bRow, c + down * cRow + shift, accumulate);
      }
    }
    a += 4 * aRow;
    c += 4 * cRow;
  }
  for (; row < rows; row++) {
    for (let column = 0; column < tiledColumns; column += 8) {
      const shift = <usize>column << 2;
      tileOfOneRow(inner, a, aStep, b + shift, bRow, c + shift, accumulate);
    }
    for (let column = tiledColumns; column < columns; column++) {
      const shift = <usize>column << 2;
      oneCell(inner, a, aStep, b + shift, bRow, c + shift, accumulate);
    }
    a += aRow;
    c += cRow;
  }
}

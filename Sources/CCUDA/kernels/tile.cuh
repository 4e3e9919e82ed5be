// Matrices of 16-bit elements in shared memory, and what the tensor cores take from them.
#pragma once
#include "device.cuh"

DEVICE int lane_index() { return threadIdx.x % 32; }

// ROWS rows of COLUMNS elements in chunks of 8 (16 bytes). The copies write neighbouring chunks of a row, ldmatrix
// reads the same chunk of 8 neighbouring rows; either must touch all 32 banks once. Rows of 8 chunks (or a multiple)
// would put a column of chunks into the same banks, so chunk c of row r lies at c ^ (r % 8). Other rows are made an odd
// number of chunks long, which spreads them by itself.
template <int ROWS, int COLUMNS> struct Tile {
  static constexpr int chunks = COLUMNS / 8;
  static constexpr bool swizzled = chunks % 8 == 0;
  static constexpr int pitch = swizzled ? chunks : chunks | 1;
  static constexpr int row_bytes = pitch * 16;
  static constexpr int bytes = ROWS * row_bytes;

  u8 *memory;

  // Bytes from the tile's begin.
  static DEVICE int place(int row, int column) { return (row * pitch + (swizzled ? column ^ (row & 7) : column)) * 16; }
  DEVICE u8 *chunk(int row, int column) const { return memory + place(row, column); }
  // Rows row...row+15 of chunks column, column+1 as `a` of mma_16x8x16.
  DEVICE void load_a(u32 *a, int row, int column) const {
    int lane = lane_index();
    load_matrix_x4(a, chunk(row + lane % 16, column + lane / 16));
  }
  // The same as `b`, twice: of rows row...row+7 in b[0], b[1], and of the next 8 in b[2], b[3].
  DEVICE void load_b(u32 *b, int row, int column) const {
    int lane = lane_index();
    load_matrix_x4(b, chunk(row + lane % 8 + lane / 16 * 8, column + lane / 8 % 2));
  }
  // `b` from a tile that has k in its rows: k row...row+15; chunk `column` in b[0], b[1], the next in b[2], b[3].
  DEVICE void load_b_transposed(u32 *b, int row, int column) const {
    int lane = lane_index();
    load_matrix_x4_transposed(b, chunk(row + lane % 16, column + lane / 16));
  }
};

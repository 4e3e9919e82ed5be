// From fragments of sums to rows of the result.
#pragma once
#include "epilogue.cuh"
#include "tile.cuh"

DEVICE void store_partial(const tc_cuda_product &p, long long row, int n, const float *values) {
  int count = min(8, p.filters - n);
  bool wide = count == 8 && p.filters % 4 == 0 && is_aligned(p.partial, 16);
  if (count > 0) store_elements<8>(p.partial, row * p.filters + n, TC_F32, values, count, wide);
}

// Fragments hold two neighbouring columns; memory wants 16 bytes. So each warp lays its part of the result into shared
// memory and takes it up again in rows of 8 columns. 8 floats between rows keep what is laid down from meeting in
// a bank; for what is taken up see `take`.
template <int ROWS, int COLUMNS> struct Staging {
  static constexpr int pitch = COLUMNS + 8, floats = ROWS * pitch;
  float *memory;

  // Sums of 16x8 each, as mma_16x8x16 has them.
  DEVICE void put(const float (&sums)[ROWS / 16][COLUMNS / 8][4]) const {
    int row = lane_index() / 4, column = lane_index() % 4 * 2;
#pragma unroll
    for (int i = 0; i < ROWS / 16; i++)
#pragma unroll
      for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
        for (int half = 0; half < 2; half++)
          store_floats<2>(memory + (row + 16 * i + 8 * half) * pitch + column + 8 * j, sums[i][j] + 2 * half);
    sync_warp();
  }

  // 8 floats. A warp reads 16 bytes of eight lanes at a time, and theirs begin 32 bytes apart: all in one half
  // of the banks. So four of them take their later 16 bytes first. Rows of 16 columns, and ends of rows of 80,
  // still meet by twos.
  static DEVICE void take(float *to, const float *from) {
    bool turns = (lane_index() & 4) != 0;
    float first[4], second[4];
    load_floats<4>(first, from + (turns ? 4 : 0));
    load_floats<4>(second, from + (turns ? 0 : 4));
#pragma unroll
    for (int i = 0; i < 4; i++) {
      to[i] = turns ? second[i] : first[i];
      to[4 + i] = turns ? first[i] : second[i];
    }
  }

  // Finishes and stores all rows, from column n0 of the result on. `place` tells which row of the result a row is, or -1
  // where it is none.
  template <class Place>
  DEVICE void store(const tc_cuda_product &p, int split, int n0, const Place &place) const {
    // A lane keeps to its 8 columns; those that no whole row is left for have nothing to do.
    constexpr int across = COLUMNS / 8, down = 32 / across;
    int column = lane_index() % across * 8, n = n0 + column;
    if (lane_index() >= across * down) return;
    Epilogue<8> epilogue(p, n);
#pragma unroll 1
    for (int row = lane_index() / across; row < ROWS; row += down) {
      int m = place(row);
      if (m < 0) continue;
      float values[8];
      take(values, memory + row * pitch + column);
      if (p.splits > 1) {
        store_partial(p, (long long)split * product_rows(p) + m, n, values);
      } else {
        epilogue.store(p, m, values);
      }
    }
  }
};

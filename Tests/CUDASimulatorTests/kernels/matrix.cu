// result [rows][columns] = x [rows][depth] weight [columns][depth]^T on tensor cores, as a product with a pipeline of
// asynchronous copies does it. Tests take lines out of it, so each step that matters is a line of its own.
//
// Grid: (ceil(rows / 32), ceil(columns / 32)). Block: 64. Shared: 3 * 4096 bytes. depth: a multiple of 32.
#include "device.cuh"

struct Matrix {
  tc_address x, weight, result;
  long long rows, columns, depth;
};

#define TILE 32
#define STAGES 3
#define TILE_BYTES (TILE * TILE * 2)
#define STAGE_BYTES (2 * TILE_BYTES)

// Chunks of 16 bytes of a row lie turned, as they would to keep clear of bank conflicts.
DEVICE u8 *chunk(u8 *tile, int row, int column) { return tile + row * 64 + (column ^ (row / 2 & 3)) * 16; }

DEVICE void load(const Matrix &p, u8 *stage, int step) {
  for (int i = threadIdx.x; i < TILE * 4; i += blockDim.x) {
    int row = i / 4, column = i % 4;
    long long m = blockIdx.x * TILE + row, n = blockIdx.y * TILE + row, k = step * TILE + column * 8;
    bool has_m = m < p.rows;
    bool has_n = n < p.columns;
    const f16 *x = (const f16 *)p.x + (has_m ? m * p.depth + k : 0);
    const f16 *weight = (const f16 *)p.weight + (has_n ? n * p.depth + k : 0);
    copy_async16(chunk(stage, row, column), x, has_m);
    copy_async16(chunk(stage + TILE_BYTES, row, column), weight, has_n);
  }
}

KERNEL(matrix, Matrix, 64) {
  SHARED(memory);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, steps = (int)(p.depth / TILE);
  float sums[4][4] = {};
  for (int step = 0; step < STAGES - 1; step++) {
    if (step < steps) load(p, memory + step * STAGE_BYTES, step);
    copy_commit();
  }
  for (int step = 0; step < steps; step++) {
    copy_wait<STAGES - 2>();
    sync_threads();
    int next = step + STAGES - 1;
    if (next < steps) load(p, memory + next % STAGES * STAGE_BYTES, next);
    copy_commit();
    u8 *x = memory + step % STAGES * STAGE_BYTES, *weight = x + TILE_BYTES;
    for (int k = 0; k < 2; k++) {
      u32 a[4], b[2][4];
      load_matrix_x4(a, chunk(x, warp * 16 + lane % 16, k * 2 + lane / 16));
      for (int j = 0; j < 2; j++)
        load_matrix_x4(b[j], chunk(weight, j * 16 + lane % 8 + lane / 16 * 8, k * 2 + lane / 8 % 2));
      for (int j = 0; j < 4; j++) mma_16x8x16<f16>(sums[j], a, &b[j / 2][j % 2 * 2]);
    }
  }
  for (int j = 0; j < 4; j++)
    for (int i = 0; i < 4; i++) {
      long long m = blockIdx.x * TILE + warp * 16 + lane / 4 + i / 2 * 8;
      long long n = blockIdx.y * TILE + j * 8 + lane % 4 * 2 + i % 2;
      if (m < p.rows && n < p.columns) ((float *)p.result)[m * p.columns + n] = sums[j][i];
    }
}

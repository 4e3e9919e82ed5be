// Products and convolutions of any size, alignment and element: what the tensor cores cannot take (3 or 4 channels,
// odd depths, f32 models). Sums of f32 in the plain order of k. See tc_cuda_product; splits must be 1.
//
// Defines: ELEMENT (TC_F32, TC_F16, TC_BF16), of x and weight.
// Grid: (ceil(M / 64), ceil(filters / 64)). Block: 256. Shared: 8704 bytes.
#include "elements.cuh"
#include "epilogue.cuh"
#include "gather.cuh"

// 64x64 of the result in a block, 4x4 in a thread, 16 of k at a time.
#define TILE 64
#define DEPTH 16
// Rows of k in shared memory; 68 keeps 16 bytes aligned. A warp puts 16 of k there at a time, which meet in a
// bank by twos: no multiple of 4 does better.
#define PITCH (TILE + 4)

// A thread brings one k of four rows of each tile: 16 threads beside each other bring neighbours in memory.
struct Loader {
  Tap tap;
  Corner corners[4];
  int k, first;

  DEVICE Loader(const tc_cuda_product &p, int m0)
      : tap(p, threadIdx.x % DEPTH), k(threadIdx.x % DEPTH), first(threadIdx.x / DEPTH) {
#pragma unroll
    for (int i = 0; i < 4; i++) corners[i] = Corner(p, m0 + first + 16 * i);
  }
  DEVICE void fetch(const tc_cuda_product &p, int n0, float *x, float *weight) const {
    Channels<element_t> channels(p, tap);
    const element_t *filters = (const element_t *)p.weight + k;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const element_t *address;
      x[i] = channels.find(p, corners[i], tap, &address) ? to_float(*address) : 0.0f;
      int n = n0 + first + 16 * i;
      bool exists = n < p.filters && tap.exists(p);
      weight[i] = exists ? to_float(filters[(long long)n * p.weight_stride]) : 0.0f;
    }
  }
  DEVICE void advance(const tc_cuda_product &p) {
    tap.advance(p, DEPTH);
    k += DEPTH;
  }
  DEVICE void put(float *tile, const float *values) const {
#pragma unroll
    for (int i = 0; i < 4; i++) tile[threadIdx.x % DEPTH * PITCH + first + 16 * i] = values[i];
  }
};

KERNEL(product_plain, tc_cuda_product, 256) {
  await_previous();
  SHARED(memory);
  float *x_tile = (float *)memory, *weight_tile = x_tile + DEPTH * PITCH;
  int m0 = blockIdx.x * TILE, n0 = blockIdx.y * TILE, depth = product_depth(p);
  int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;

  float sums[4][4];
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) sums[i][j] = 0.0f;

  Loader loader(p, m0);
  float x[4], weight[4];
  loader.fetch(p, n0, x, weight);
  for (int k = 0; k < depth; k += DEPTH) {
    sync_threads();  // the last round's tiles have been read
    loader.put(x_tile, x);
    loader.put(weight_tile, weight);
    sync_threads();
    // The next tiles are on their way while this one is multiplied.
    loader.advance(p);
    if (k + DEPTH < depth) loader.fetch(p, n0, x, weight);
#pragma unroll
    for (int d = 0; d < DEPTH; d++) {
      float a[4], b[4];
      load_floats<4>(a, x_tile + d * PITCH + row);
      load_floats<4>(b, weight_tile + d * PITCH + column);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) sums[i][j] += a[i] * b[j];
    }
  }

  Epilogue<4> epilogue(p, n0 + column);
#pragma unroll
  for (int i = 0; i < 4; i++) {
    int m = m0 + row + i;
    if (m < product_rows(p)) epilogue.store(p, m, sums[i]);
  }
}

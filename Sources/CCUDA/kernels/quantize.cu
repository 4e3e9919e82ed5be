// Operands of eight bits (e4m3) for Hopper's warpgroups: weights once, by one scale; what a layer norm gives in every
// frame, each row by its own.
//
// Defines: none.
// largest: Grid: 1. Block: 1024. Shared: 128. quantize: Grid: any. Block: 256. Shared: 0.
// quantize_rows: Grid: ceil(rows / 4). Block: 128. Shared: 0.
#include "device.cuh"
#include "moments.cuh"
#include "reduce.cuh"
#include "vectors.cuh"
#include "warpgroup.cuh"

#define LARGEST 448.0f

// Eight numbers, which are at most LARGEST after `scale`.
DEVICE void store_e4m3(tc_address to, const float *x, float scale) {
  together<unsigned short, 4> pairs;
#pragma unroll
  for (int i = 0; i < 4; i++) pairs.at[i] = to_e4m3x2(x[2 * i] * scale, x[2 * i + 1] * scale).bits;
  *(together<unsigned short, 4> *)to = pairs;
}

KERNEL(largest, tc_cuda_quantize, 1024) {
  await_previous();
  SHARED(memory);
  float *warps = (float *)memory, own = 0.0f;
  for (long long i = threadIdx.x * 8; i < p.count; i += 1024 * 8) {
    float x[8];
    load_floats<8>(x, (const f16 *)p.x + i);
#pragma unroll
    for (int j = 0; j < 8; j++) own = fmaxf(own, fabsf(x[j]));
  }
  own = maximum_of_warp(own);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = own;
  sync_threads();
  float all = maximum_of_warp(warps[threadIdx.x % 32]);
  if (threadIdx.x == 0) *(float *)p.scale = all / LARGEST;
}

KERNEL(quantize, tc_cuda_quantize, 256) {
  await_previous();
  float scale = *(const float *)p.scale, inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
  long long first = ((long long)blockIdx.x * 256 + threadIdx.x) * 8;
  for (long long i = first; i < p.count; i += (long long)gridDim.x * 256 * 8) {
    float x[8];
    load_floats<8>(x, (const f16 *)p.x + i);
    store_e4m3(p.result + i, x, inverse);
  }
}

// A warp's row.
KERNEL(quantize_rows, tc_cuda_quantize_rows, 128) {
  await_previous();
  int row = blockIdx.x * 4 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= p.rows) return;
  bool aligned = is_aligned(p.x, 16) && p.x_stride % 8 == 0;
  long long from = (long long)row * p.x_stride;
  Running sums;
  float low = 3.0e38f, high = -3.0e38f;
  for (int column = lane * 8; column < p.columns; column += 32 * 8) {
    float x[8];
    load_elements<8>(x, p.x, from + column, TC_F16, 8, aligned);
#pragma unroll
    for (int i = 0; i < 8; i++) {
      sums.add(x[i]);
      low = fminf(low, x[i]);
      high = fmaxf(high, x[i]);
    }
  }
  Moments all = of_warp(sums.moments());
  float furthest = fmaxf(maximum_of_warp(high) - all.mean, all.mean + maximum_of_warp(-low));
  float scale = furthest > 0.0f ? LARGEST / furthest : 0.0f;
  for (int column = lane * 8; column < p.columns; column += 32 * 8) {
    float x[8];
    load_elements<8>(x, p.x, from + column, TC_F16, 8, aligned);
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] -= all.mean;
    store_e4m3(p.result + (long long)row * p.columns + column, x, scale);
  }
  if (lane != 0) return;
  float *moments = (float *)p.moments + 2ll * row, deviation = sqrtf(all.squares / all.count + p.epsilon);
  moments[0] = 0.0f;
  moments[1] = furthest / (LARGEST * deviation) * *(const float *)p.weight_scale;
}

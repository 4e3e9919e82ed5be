// One number of many threads': the highest, or the sum.
#pragma once
#include "device.cuh"

DEVICE float maximum_of_warp(float own) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) own = fmaxf(own, shuffle_xor(own, mask));
  return own;
}
DEVICE float sum_of_warp(float own) {
#pragma unroll
  for (int mask = 16; mask > 0; mask /= 2) own += shuffle_xor(own, mask);
  return own;
}

// Of a block of four warps, to all threads; a barrier comes in between. `shared`: a float of every warp, that nobody
// reads any more.
DEVICE float maximum_of_block(float own, float *shared) {
  own = maximum_of_warp(own);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  sync_threads();
  return fmaxf(fmaxf(shared[0], shared[1]), fmaxf(shared[2], shared[3]));
}
DEVICE float sum_of_block(float own, float *shared) {
  own = sum_of_warp(own);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  sync_threads();
  return shared[0] + shared[1] + (shared[2] + shared[3]);
}

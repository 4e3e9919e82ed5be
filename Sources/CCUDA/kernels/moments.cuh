// Mean and variance that survive a mean far larger than the deviation: counts, means and squares about the mean are
// merged (Chan, Golub, LeVeque 1979), and a thread sums about a value of its own, never about zero.
#pragma once
#include "device.cuh"

struct Moments {
  float count, mean, squares;  // squares: sum of (x - mean)^2
};

DEVICE Moments merged(Moments a, Moments b) {
  float count = a.count + b.count;
  if (count == 0.0f) return a;
  float share = b.count / count, apart = b.mean - a.mean;
  Moments both;
  both.count = count;
  both.mean = a.mean + apart * share;
  both.squares = a.squares + b.squares + apart * apart * a.count * share;
  return both;
}

// What one thread sees, about the first value that it saw.
struct Running {
  float origin, count, sum, squares;
  DEVICE Running() : origin(0.0f), count(0.0f), sum(0.0f), squares(0.0f) {}
  DEVICE void add(float x) {
    if (count == 0.0f) origin = x;
    float apart = x - origin;
    count += 1.0f;
    sum += apart;
    squares += apart * apart;
  }
  DEVICE Moments moments() const {
    Moments all;
    float mean = count > 0.0f ? sum / count : 0.0f;
    all.count = count;
    all.mean = origin + mean;
    all.squares = fmaxf(squares - sum * mean, 0.0f);
    return all;
  }
};

// All lanes get the moments of the warp. The same tree whatever the values: the same result every time.
DEVICE Moments of_warp(Moments own) {
#pragma unroll
  for (int mask = 1; mask < 32; mask *= 2) {
    Moments other;
    other.count = shuffle_xor(own.count, mask);
    other.mean = shuffle_xor(own.mean, mask);
    other.squares = shuffle_xor(own.squares, mask);
    // Both lanes of a pair add in the same order, so that they agree to the last bit.
    own = threadIdx.x & mask ? merged(other, own) : merged(own, other);
  }
  return own;
}

// All threads get the moments of the block. `shared`: a place for a Moments of every warp, free to overwrite.
template <int THREADS> DEVICE Moments of_block(Moments own, Moments *shared) {
  own = of_warp(own);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = own;
  sync_threads();
  Moments all = shared[0];
#pragma unroll
  for (int warp = 1; warp < THREADS / 32; warp++) all = merged(all, shared[warp]);
  sync_threads();
  return all;
}

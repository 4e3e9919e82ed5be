// Each word of warpgroup.cuh by itself, and all of them in a pipeline. Only for Hopper.
//
// Boxes are of 64 elements, 64 rows, 1 plane. Matrices lie in rows of `depth` elements.
#define IN_PLACE __grid_constant__
#define SHARED_ALIGNMENT 1024
#include "warpgroup.cuh"

struct Boxes {
  tc_cuda_tensor_map first, second;
  tc_address result;
  long long x, y, z, steps;
  long long unused[3];
};

#define BOX_BYTES 8192

// Block: 32. Shared: 9216. result: the box at (x, y, z) of `first` as it lies in shared memory.
KERNEL(bring, Boxes, 32) {
  SHARED(memory);
  Barrier *barrier = (Barrier *)(memory + BOX_BYTES);
  if (threadIdx.x == 0) {
    barrier_make(barrier, 1);
    barriers_ready();
  }
  sync_threads();
  if (threadIdx.x == 0) {
    prefetch_map(&p.first);
    barrier_expect(barrier, BOX_BYTES);
    load_box(memory, &p.first, (int)p.x, (int)p.y, (int)p.z, barrier);
  }
  barrier_wait(barrier, 0);
  for (int i = threadIdx.x; i < BOX_BYTES; i += 32) ((u8 *)p.result)[i] = memory[i];
}

// Block: 32. Shared: 1024. result: u32 [3]: what lane 0 writes before it arrives, as lane 1 sees it after its wait, in
// three phases.
KERNEL(take_turns, Boxes, 32) {
  SHARED(memory);
  Barrier *ready = (Barrier *)memory, *taken = ready + 1;
  volatile u32 *number = (volatile u32 *)(memory + 16);
  if (threadIdx.x == 0) {
    barrier_make(ready, 1);
    barrier_make(taken, 2);
    barriers_ready();
  }
  sync_threads();
  for (int turn = 0; turn < 3; turn++) {
    if (threadIdx.x == 0) {
      if (turn > 0) barrier_wait(taken, turn - 1 & 1);
      *number = 7 + turn;
      barrier_arrive(ready);
    }
    if (threadIdx.x == 1 || threadIdx.x == 2) {
      barrier_wait(ready, turn & 1);
      if (threadIdx.x == 1) ((u32 *)p.result)[turn] = *number;
      barrier_arrive(taken);
    }
    sync_warp();
  }
}

// result [64][N] = first [64][64] second [N][64]^T + 1; of e4m3x2 twice as deep. Block: 128. Shared: 8192 + 128 N + 1024.
template <class T, int N> DEVICE void multiply_boxes(const Boxes &p, u8 *memory) {
  Barrier *barrier = (Barrier *)(memory + BOX_BYTES + N * 128);
  if (threadIdx.x == 0) {
    barrier_make(barrier, 1);
    barriers_ready();
  }
  sync_threads();
  if (threadIdx.x == 0) {
    barrier_expect(barrier, BOX_BYTES + N * 128);
    load_box(memory, &p.first, 0, 0, 0, barrier);
    load_box(memory + BOX_BYTES, &p.second, 0, 0, 0, barrier);
  }
  barrier_wait(barrier, 0);
  float sums[N / 2];
#pragma unroll
  for (int i = 0; i < N / 2; i++) sums[i] = 1.0f;
  warpgroup_begin();
#pragma unroll
  for (int k = 0; k < 4; k++) multiply_warpgroup<T, N>(sums, memory + 32 * k, memory + BOX_BYTES + 32 * k);
  warpgroup_commit();
  warpgroup_wait<0>();
  int lane = threadIdx.x % 32, row = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < N / 2; i++)
    ((float *)p.result)[(row + i / 2 % 2 * 8) * N + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
}
#define MULTIPLY(T, N)                  \
  KERNEL(multiply_##T##_##N, Boxes, 128) { \
    SHARED(memory);                     \
    multiply_boxes<T, N>(p, memory);    \
  }
MULTIPLY(f16, 64)
MULTIPLY(f16, 80)
MULTIPLY(f16, 128)
MULTIPLY(f16, 160)
MULTIPLY(f16, 256)
MULTIPLY(bf16, 64)
MULTIPLY(bf16, 80)
MULTIPLY(bf16, 128)
MULTIPLY(bf16, 160)
MULTIPLY(bf16, 256)
MULTIPLY(e4m3x2, 64)
MULTIPLY(e4m3x2, 80)
MULTIPLY(e4m3x2, 128)
MULTIPLY(e4m3x2, 160)
MULTIPLY(e4m3x2, 256)

// Block: 128. result: f32 [256], and becomes u16 [128]: pairs of them in e4m3.
KERNEL(eight_bits, Boxes, 128) {
  const float *x = (const float *)p.result + 2 * threadIdx.x;
  e4m3x2 pair = to_e4m3x2(x[0], x[1]);
  sync_threads();
  ((unsigned short *)p.result)[threadIdx.x] = pair.bits;
}

// result [64][64] = first [64][64 steps] second [64][64 steps]^T through two stages. Tests take lines out of it, so each
// step that matters is a line of its own. Block: 160. Shared: 4 * 8192 + 1024.
KERNEL(pipeline, Boxes, 160) {
  SHARED(memory);
  Barrier *full = (Barrier *)(memory + 4 * BOX_BYTES), *empty = full + 2;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < 2; stage++) {
      barrier_make(full + stage, 1);
      barrier_make(empty + stage, 4);
    }
    barriers_ready();
  }
  sync_threads();
  int steps = (int)p.steps, lane = threadIdx.x % 32;
  if (threadIdx.x >= 128) {
    for (int step = 0; step < steps && lane == 0; step++) {
      int stage = step % 2;
      u8 *to = memory + stage * 2 * BOX_BYTES;
      if (step >= 2) barrier_wait(empty + stage, step / 2 - 1 & 1);
      barrier_expect(full + stage, 2 * BOX_BYTES);
      load_box(to, &p.first, step * 64, 0, 0, full + stage);
      load_box(to + BOX_BYTES, &p.second, step * 64, 0, 0, full + stage);
    }
    return;
  }
  float sums[32];
#pragma unroll
  for (int i = 0; i < 32; i++) sums[i] = 0.0f;
#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    const u8 *at = memory + step % 2 * 2 * BOX_BYTES;
    barrier_wait(full + step % 2, step / 2 & 1);
    warpgroup_begin();
#pragma unroll
    for (int k = 0; k < 4; k++) multiply_warpgroup<f16, 64>(sums, at + 32 * k, at + BOX_BYTES + 32 * k);
    warpgroup_commit();
    warpgroup_wait<0>();
    if (lane == 0) barrier_arrive(empty + step % 2);
  }
  int row = threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
  for (int i = 0; i < 32; i++)
    ((float *)p.result)[(row + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

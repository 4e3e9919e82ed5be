// Each word of device.cuh that works on a warp or on shared memory, by itself. Block: 32, unless a comment says more.
#include "device.cuh"

struct Buffers {
  tc_address first, second, result;
  long long argument;
};

// first: u32 [32][4], second: u32 [32][2], result: f32 [32][4], which it adds to.
DEVICE void multiply_f16(float *c, const u32 *a, const u32 *b) { mma_16x8x16<f16>(c, a, b); }
KERNEL(multiply_half, Buffers, 32) {
  multiply_f16((float *)p.result + 4 * threadIdx.x, (const u32 *)p.first + 4 * threadIdx.x,
               (const u32 *)p.second + 2 * threadIdx.x);
}
// The same with sums of f16.
KERNEL(multiply_halves, Buffers, 32) {
  float *result = (float *)p.result + 4 * threadIdx.x;
  u32 sums[2] = {pack2<f16>(result[0], result[1]), pack2<f16>(result[2], result[3])};
  mma_16x8x16_halves(sums, (const u32 *)p.first + 4 * threadIdx.x, (const u32 *)p.second + 2 * threadIdx.x);
  unpack2(result, sums[0]);
  unpack2(result + 2, sums[1]);
}
#if __CUDA_ARCH__ >= 800
KERNEL(multiply_brain, Buffers, 32) {
  mma_16x8x16<bf16>((float *)p.result + 4 * threadIdx.x, (const u32 *)p.first + 4 * threadIdx.x,
                    (const u32 *)p.second + 2 * threadIdx.x);
}
#endif

// first: 512 bytes, result: u32 [32][4]; the lane's row is 13 * lane % 32.
KERNEL(load_rows, Buffers, 32) {
  SHARED(memory);
  for (int i = 0; i < 16; i++) memory[threadIdx.x * 16 + i] = ((const u8 *)p.first)[threadIdx.x * 16 + i];
  sync_warp();
  load_matrix_x4((u32 *)p.result + 4 * threadIdx.x, memory + threadIdx.x * 13 % 32 * 16);
}
KERNEL(load_columns, Buffers, 32) {
  SHARED(memory);
  for (int i = 0; i < 16; i++) memory[threadIdx.x * 16 + i] = ((const u8 *)p.first)[threadIdx.x * 16 + i];
  sync_warp();
  load_matrix_x4_transposed((u32 *)p.result + 4 * threadIdx.x, memory + threadIdx.x * 13 % 32 * 16);
}
// A row at `argument`, which may be misaligned or outside.
KERNEL(load_anywhere, Buffers, 32) {
  SHARED(memory);
  load_matrix_x4((u32 *)p.result + 4 * threadIdx.x, memory + p.argument);
}

// result: f32 [32]: the lane's number from lane ^ argument.
KERNEL(shuffle, Buffers, 32) { ((float *)p.result)[threadIdx.x] = shuffle_xor((float)threadIdx.x, (int)p.argument); }

// Block: 256. first: f32 [1024], result: f32 [2][1024]: shared memory before the wait and after it. Odd threads' copies
// bring zeros.
KERNEL(copy_late, Buffers, 256) {
  SHARED(memory);
  float *shared = (float *)memory + 4 * threadIdx.x, *result = (float *)p.result + 4 * threadIdx.x;
  copy_async16(shared, (const float *)p.first + 4 * threadIdx.x, threadIdx.x % 2 == 0);
  copy_commit();
  for (int i = 0; i < 4; i++) result[i] = shared[i];
  copy_wait<0>();
  for (int i = 0; i < 4; i++) result[1024 + i] = shared[i];
}
// Block: 1. Two groups; waits for all but the last. first: f32 [8], result: f32 [8].
KERNEL(copy_groups, Buffers, 1) {
  SHARED(memory);
  copy_async16(memory, (const float *)p.first, true);
  copy_commit();
  copy_async16(memory + 16, (const float *)p.first + 4, true);
  copy_commit();
  copy_wait<1>();
  for (int i = 0; i < 8; i++) ((float *)p.result)[i] = ((const float *)memory)[i];
}
// Block: 1. A copy from first + argument bytes.
KERNEL(copy_anywhere, Buffers, 1) {
  SHARED(memory);
  copy_async16(memory, (const u8 *)p.first + p.argument, true);
  copy_commit();
  copy_wait<0>();
}

// Block: up to 1024. Each thread's number, through a neighbour of another warp.
KERNEL(reverse, Buffers, 1024) {
  SHARED(memory);
  float *numbers = (float *)memory;
  numbers[threadIdx.x] = (float)threadIdx.x;
  sync_threads();
  ((float *)p.result)[blockIdx.x * blockDim.x + threadIdx.x] = numbers[blockDim.x - 1 - threadIdx.x];
}

// Block: 64. Some threads come to the barrier, others not; `argument` 1: they leave before.
KERNEL(diverge, Buffers, 64) {
  if (p.argument && threadIdx.x >= 40) return;
  if (threadIdx.x < 40) sync_threads();
  if (threadIdx.x >= 40) shuffle_xor(1.0f, 1);
}
// Block: 32. Half of a warp at one operation, half at another.
KERNEL(mix, Buffers, 32) {
  if (threadIdx.x < 16)
    sync_warp();
  else
    shuffle_xor(1.0f, 1);
}

KERNEL(store_far, Buffers, 1) { *(u8 *)(p.result + p.argument) = 1; }
KERNEL(load_far, Buffers, 1) { *(volatile u8 *)(p.result + p.argument); }
// Shared memory behind its end.
KERNEL(store_shared, Buffers, 1) {
  SHARED(memory);
  memory[p.argument] = 1;
}
KERNEL(add_one, Buffers, 1) { *(float *)p.result += 1; }
KERNEL(add_one_after, Buffers, 2) {
  if (threadIdx.x > 0 && p.argument) return;
  await_previous();
  if (threadIdx.x == 0) *(float *)p.result += 1;
}
KERNEL(overflow, Buffers, 1) {
  volatile u8 large[100000];
  for (int i = 99999; i >= 0; i--) large[i] = 1;
}
// result: f32 [6]: rounding and what lies at the ends of types. argument: 0.
KERNEL(convert, Buffers, 1) {
  float *result = (float *)p.result;
  result[0] = to_float(from_float<f16>(1.0f / 3));
  result[1] = to_float(from_float<bf16>(1.0f / 3));
  result[2] = to_float(from_float<f16>(70000.0f));
  // Of constants a compiler may make what it likes; only a GPU gives the end of the type.
  const float zero = (float)p.argument;
  result[3] = to_float(from_float<int>(1e20f + zero));
  result[4] = to_float(from_float<int>(zero / zero));
  result[5] = (float)pack2<f16>(1, 2);
}

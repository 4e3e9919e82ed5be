// What kernels are written in, on a processor: the simulator's side of Sources/CCUDA/kernels/device.cuh, word by word.
//
// A kernel is a function that runs once a thread, each thread on a stack of its own. Where CUDA would let threads meet
// (a barrier, a shuffle, a matrix instruction), the thread gives way to the others until all are there.
#pragma once
#include <math.h>
#include <string.h>

#include "machine.h"
#include "parameters.h"

typedef unsigned int u32;
typedef unsigned char u8;

#define DEVICE inline __attribute__((always_inline))
#define KERNEL(name, Parameters, threads)                                                                \
  static void name##_thread(const Parameters p);                                                         \
  extern "C" __attribute__((visibility("default"))) void name(const void *parameters) {                  \
    name##_thread(*(const Parameters *)parameters);                                                      \
  }                                                                                                      \
  extern "C" {                                                                                           \
  extern __attribute__((visibility("default"))) const simulator::Kernel name##_kernel;                   \
  const simulator::Kernel name##_kernel = {name, sizeof(Parameters), threads};                           \
  }                                                                                                      \
  static void name##_thread(const Parameters p)
// Its end lies at a page's: where its size is a multiple of an alignment, so is its begin.
#define SHARED(name) u8 *const name = simulator::current_block().shared

#define threadIdx (simulator::current_block().thread_index[simulator::current_thread()])
#define blockIdx (simulator::current_block().index)
#define blockDim (simulator::current_block().size)
#define gridDim (simulator::current_block().grid)

// CUDA's own functions that C has not.
DEVICE int min(int a, int b) { return a < b ? a : b; }
DEVICE int max(int a, int b) { return a > b ? a : b; }
DEVICE u32 min(u32 a, u32 b) { return a < b ? a : b; }
DEVICE u32 max(u32 a, u32 b) { return a > b ? a : b; }
DEVICE long long min(long long a, long long b) { return a < b ? a : b; }
DEVICE long long max(long long a, long long b) { return a > b ? a : b; }
DEVICE float min(float a, float b) { return fminf(a, b); }
DEVICE float max(float a, float b) { return fmaxf(a, b); }
DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }

// Kernels run one after the other here. Those that may be launched before their turn are refused where a thread ends
// without having come by this.
DEVICE void await_previous() {
  unsigned thread = simulator::current_thread();
  simulator::current_block().warps[thread / simulator::warp_size].awaited |= 1u << thread % simulator::warp_size;
}

DEVICE void sync_threads() {
  simulator::Block &block = simulator::current_block();
  block.machine->sync_threads(&block, simulator::current_thread());
}

// MARK: Elements

struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(int x) { return (float)x; }
DEVICE float to_float(u8 x) { return (float)x; }
DEVICE float to_float(f16 x) {
  _Float16 y;
  memcpy(&y, &x, sizeof y);
  return (float)y;
}
DEVICE float to_float(bf16 x) {
  u32 bits = (u32)x.bits << 16;
  float y;
  memcpy(&y, &bits, sizeof y);
  return y;
}

template <class T> DEVICE T from_float(float x);
template <> DEVICE float from_float<float>(float x) { return x; }
// A GPU's conversions stop at the ends of the range and make 0 of NaN; a processor's do not.
template <> DEVICE int from_float<int>(float x) {
  return x != x ? 0 : x >= 2147483648.0f ? 2147483647 : x < -2147483648.0f ? -2147483647 - 1 : (int)x;
}
template <> DEVICE u8 from_float<u8>(float x) {
  return x > 0 ? (u8)(x >= 4294967296.0f ? 4294967295u : (u32)x) : 0;
}
template <> DEVICE f16 from_float<f16>(float x) {
  _Float16 y = (_Float16)x;
  f16 result;
  memcpy(&result, &y, sizeof y);
  return result;
}
template <> DEVICE bf16 from_float<bf16>(float x) {
  u32 bits;
  memcpy(&bits, &x, sizeof bits);
  bf16 y;
  y.bits = x != x ? (unsigned short)((bits >> 16) | 0x40) : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  return y;
}

template <class T> DEVICE u32 pack2(float a, float b) {
  return (u32)from_float<T>(a).bits | (u32)from_float<T>(b).bits << 16;
}

DEVICE void unpack2(float *to, u32 pair) {
  f16 low, high;
  low.bits = (unsigned short)pair;
  high.bits = (unsigned short)(pair >> 16);
  to[0] = to_float(low);
  to[1] = to_float(high);
}

// MARK: Functions

DEVICE float power_of_2(float x) { return x < -126.0f ? 0.0f : exp2f(x); }

DEVICE float gated(float x, float y) { return x / (1.0f + expf(-y)); }

// MARK: Warps

namespace simulator {

struct Lane {
  Block &block;
  Warp &warp;
  unsigned thread, number;
};

DEVICE Lane current_lane() {
  Block &block = current_block();
  unsigned thread = current_thread();
  return {block, block.warps[thread / warp_size], thread, thread % warp_size};
}

// True for the lane that arrives last: it works for all, then calls `release`. For the others it returns after that.
DEVICE bool arrive(const Lane &lane, Operation operation) {
  Warp &warp = lane.warp;
  uint32_t bit = 1u << lane.number;
  if (warp.arrived != 0 && warp.operation != operation)
    lane.block.machine->fail(&lane.block, lane.thread, 719, "lanes of a warp are at different warp operations");
  warp.operation = operation;
  warp.arrived |= bit;
  if (warp.arrived == warp.members) return true;
  warp.ready &= ~bit;
  if (warp.ready) {
    // The next lane that is ready, counted from this one.
    unsigned turn = lane.number + 1;
    uint32_t turned = warp.ready >> (turn & 31) | warp.ready << (-turn & 31);
    unsigned next = (turn + (unsigned)__builtin_ctz(turned)) % warp_size;
    void **stacks = lane.block.stack_pointers + (lane.thread - lane.number);
    lane.block.machine->switch_fiber(&stacks[lane.number], stacks[next]);
  } else {
    lane.block.machine->wait(&lane.block, lane.thread);
  }
  return false;
}

DEVICE void release(Warp &warp) {
  warp.arrived = 0;
  warp.ready = warp.members;
}

DEVICE void check_row(const Lane &lane, const void *row) {
  uintptr_t offset = (uintptr_t)row - (uintptr_t)lane.block.shared;
  if (offset % 16 != 0) lane.block.machine->fail(&lane.block, lane.thread, 716, "a matrix row is not 16-byte aligned");
  if (offset + 16 > lane.block.shared_bytes || offset + 16 < offset)
    lane.block.machine->fail(&lane.block, lane.thread, 700, "a matrix row lies outside shared memory");
}

// Work of the lane that comes last: one copy for all the places that call it. GCC 12 takes calls of gather_rows for dead
// and drops them, so it gets to see nothing of what they do.
#ifdef __clang__
#define COLLECTIVE __attribute__((noinline)) inline
#else
#define COLLECTIVE __attribute__((noipa)) inline
#endif

typedef float Float8 __attribute__((vector_size(32)));
typedef uint16_t Short8 __attribute__((vector_size(16)));
typedef uint32_t Word8 __attribute__((vector_size(32)));
typedef _Float16 Half8 __attribute__((vector_size(16)));

template <class T> DEVICE Float8 widen(Short8 x);
template <> DEVICE Float8 widen<f16>(Short8 x) { return __builtin_convertvector((Half8)x, Float8); }
template <> DEVICE Float8 widen<bf16>(Short8 x) { return (Float8)(__builtin_convertvector(x, Word8) << 16); }

// c [8][8] += a [8][8] b [8][8]^T, all row by row; b comes transposed.
DEVICE void multiply_blocks(float *c, const float *a, const Float8 *columns) {
  for (int row = 0; row < 8; row++) {
    Float8 sum;
    memcpy(&sum, c + 8 * row, sizeof sum);
    for (int k = 0; k < 8; k++) sum += a[8 * row + k] * columns[k];
    memcpy(c + 8 * row, &sum, sizeof sum);
  }
}

DEVICE Short8 row_of(const uint32_t *block, int row) {
  Short8 x;
  memcpy(&x, block + 4 * row, sizeof x);
  return x;
}

template <class T> DEVICE void widen_block(float *to, const uint32_t *from) {
  for (int row = 0; row < 8; row++) {
    Float8 x = widen<T>(row_of(from, row));
    memcpy(to + 8 * row, &x, sizeof x);
  }
}

template <class T> COLLECTIVE void multiply(Warp &warp) {
  alignas(64) float a[4][64], b[2][64];
  for (int i = 0; i < 4; i++) widen_block<T>(a[i], warp.a[i]);
  for (int i = 0; i < 2; i++) widen_block<T>(b[i], warp.b[i]);
  for (int i = 0; i < 2; i++) {
    Float8 columns[8];
    for (int k = 0; k < 8; k++)
      columns[k] = Float8{b[i][k],      b[i][8 + k],  b[i][16 + k], b[i][24 + k],
                          b[i][32 + k], b[i][40 + k], b[i][48 + k], b[i][56 + k]};
    // Registers of a: rows 0-7 and 8-15 of columns 0-7, then of columns 8-15.
    multiply_blocks(warp.c[0], a[2 * i], columns);
    multiply_blocks(warp.c[1], a[2 * i + 1], columns);
  }
}

COLLECTIVE void gather_rows(Warp &warp) {
  for (int matrix = 0; matrix < 4; matrix++)
    for (int row = 0; row < 8; row++) memcpy(&warp.matrices[matrix][4 * row], warp.rows[8 * matrix + row], 16);
}

COLLECTIVE void gather_columns(Warp &warp) {
  for (int matrix = 0; matrix < 4; matrix++) {
    uint16_t *to = (uint16_t *)warp.matrices[matrix];
    for (int row = 0; row < 8; row++) {
      uint16_t from[8];
      memcpy(from, warp.rows[8 * matrix + row], sizeof from);
      for (int column = 0; column < 8; column++) to[8 * column + row] = from[column];
    }
  }
}

}  // namespace simulator

DEVICE void sync_warp() {
  simulator::Lane lane = simulator::current_lane();
  if (simulator::arrive(lane, simulator::Operation::sync)) simulator::release(lane.warp);
}

DEVICE float shuffle_xor(float x, int mask) {
  simulator::Lane lane = simulator::current_lane();
  lane.warp.given[lane.number] = x;
  lane.warp.masks[lane.number] = (u32)mask % 32;
  if (simulator::arrive(lane, simulator::Operation::shuffle)) {
    for (unsigned i = 0; i < 32; i++) {
      unsigned other = (i ^ lane.warp.masks[i]) % 32;
      // What a lane that is not there would give is anything.
      lane.warp.taken[i] = lane.warp.members >> other & 1 ? lane.warp.given[other] : NAN;
    }
    simulator::release(lane.warp);
  }
  return lane.warp.taken[lane.number];
}

#if __CUDA_ARCH__ >= 800
DEVICE void copy_async16(void *shared, const void *global, bool valid) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->copy_async16(&lane.block, lane.thread, shared, global, valid);
}
DEVICE void copy_commit() {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->copy_commit(&lane.block, lane.thread);
}
template <int N> DEVICE void copy_wait() {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->copy_wait(&lane.block, lane.thread, N);
}
#else
// Turing copies at once; the simulator checks the addresses all the same.
DEVICE void copy_async16(void *shared, const void *global, bool valid) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->copy_async16(&lane.block, lane.thread, shared, global, valid);
  lane.block.machine->copy_commit(&lane.block, lane.thread);
  lane.block.machine->copy_wait(&lane.block, lane.thread, 0);
}
DEVICE void copy_commit() {}
template <int N> DEVICE void copy_wait() {}
#endif

DEVICE void load_matrix_x4(u32 *r, const void *row) {
  simulator::Lane lane = simulator::current_lane();
  simulator::check_row(lane, row);
  lane.warp.rows[lane.number] = row;
  if (simulator::arrive(lane, simulator::Operation::load_matrix)) {
    simulator::gather_rows(lane.warp);
    simulator::release(lane.warp);
  }
  for (int i = 0; i < 4; i++) r[i] = lane.warp.matrices[i][lane.number];
}
DEVICE void load_matrix_x4_transposed(u32 *r, const void *row) {
  simulator::Lane lane = simulator::current_lane();
  simulator::check_row(lane, row);
  lane.warp.rows[lane.number] = row;
  if (simulator::arrive(lane, simulator::Operation::load_matrix)) {
    simulator::gather_columns(lane.warp);
    simulator::release(lane.warp);
  }
  for (int i = 0; i < 4; i++) r[i] = lane.warp.matrices[i][lane.number];
}

template <class T> DEVICE void mma_16x8x16(float *c, const u32 *a, const u32 *b) {
#if __CUDA_ARCH__ < 800
  static_assert(!__is_same(T, bf16), "Turing has no bf16");
#endif
  simulator::Lane lane = simulator::current_lane();
  simulator::Warp &warp = lane.warp;
  for (int i = 0; i < 4; i++) warp.a[i][lane.number] = a[i];
  for (int i = 0; i < 2; i++) warp.b[i][lane.number] = b[i];
  for (int i = 0; i < 2; i++) memcpy(&warp.c[i][2 * lane.number], c + 2 * i, 8);
  if (simulator::arrive(lane, simulator::Operation::multiply)) {
    simulator::multiply<T>(warp);
    simulator::release(warp);
  }
  for (int i = 0; i < 2; i++) memcpy(c + 2 * i, &warp.c[i][2 * lane.number], 8);
}

namespace simulator {

// Rounds once.
DEVICE void multiply_to_halves(u32 *c, const u32 *a, const u32 *b) {
  float sums[4];
  unpack2(sums, c[0]);
  unpack2(sums + 2, c[1]);
  mma_16x8x16<f16>(sums, a, b);
  c[0] = pack2<f16>(sums[0], sums[1]);
  c[1] = pack2<f16>(sums[2], sums[3]);
}

}  // namespace simulator

DEVICE void mma_16x8x16_halves(u32 *c, const u32 *a, const u32 *b) {
#if __CUDA_ARCH__ >= 800
  simulator::multiply_to_halves(c, a, b);
#else
  // Turing multiplies half as deep, and so rounds after 8 of k, too.
  for (int half = 0; half < 2; half++) {
    const u32 some[4] = {a[2 * half], a[2 * half + 1], 0, 0}, others[2] = {b[half], 0};
    simulator::multiply_to_halves(c, some, others);
  }
#endif
}

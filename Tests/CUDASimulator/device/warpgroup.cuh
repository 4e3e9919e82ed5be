// Hopper's own words on a processor: the simulator's side of Sources/CCUDA/kernels/warpgroup.cuh, word by word.
//
// Boxes and products are under way until somebody waits for them, and mostly come as late as can be. What is not seen
// here: a missing warpgroup_begin or barriers_ready, for a processor's memory has one order.
#pragma once
#include "device.cuh"

#if __CUDA_ARCH__ != 900
#error "only Hopper has warpgroups"
#endif

struct Barrier {
  unsigned long long state;
};

DEVICE void barrier_make(Barrier *barrier, int arrivals) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->barrier_make(&lane.block, lane.thread, barrier, arrivals);
}
DEVICE void barriers_ready() {}
DEVICE void barrier_arrive(Barrier *barrier) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->barrier_arrive(&lane.block, lane.thread, barrier, 0);
}
DEVICE void barrier_expect(Barrier *barrier, int bytes) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->barrier_arrive(&lane.block, lane.thread, barrier, bytes);
}
DEVICE void barrier_wait(Barrier *barrier, int parity) {
  simulator::Lane lane = simulator::current_lane();
  lane.block.machine->barrier_wait(&lane.block, lane.thread, barrier, parity);
}

DEVICE void load_box(void *shared, const tc_cuda_tensor_map *map, int x, int y, int z, Barrier *barrier) {
  simulator::Lane lane = simulator::current_lane();
  const int at[3] = {x, y, z};
  lane.block.machine->load_box(&lane.block, lane.thread, shared, map, at, barrier);
}
DEVICE void prefetch_map(const tc_cuda_tensor_map *) {}

// MARK: Eight bits

struct e4m3x2 { unsigned short bits; };

namespace simulator {

// Steps are eighths of a power of 2, and 2^-9 below 2^-6.
inline unsigned e4m3(float x) {
  unsigned sign = signbit(x) ? 0x80 : 0;
  float size = fabsf(x);
  if (x != x) return sign | 0x7f;
  if (size >= 448.0f) return sign | 0x7e;
  int exponent;
  frexpf(size, &exponent);
  exponent = size < ldexpf(1, -6) ? -6 : exponent - 1;
  unsigned steps = (unsigned)rintf(ldexpf(size, 3 - exponent));
  // 16 steps are 8 of the next power, and so in bits: one more above them.
  return sign | (steps < 8 ? steps : ((unsigned)(exponent + 7) << 3) + steps - 8);
}

inline float from_e4m3(unsigned bits) {
  unsigned exponent = bits >> 3 & 15, steps = bits & 7;
  if (exponent == 15 && steps == 7) return NAN;
  float size = exponent == 0 ? ldexpf((float)steps, -9) : ldexpf((float)(8 + steps), (int)exponent - 10);
  return bits & 0x80 ? -size : size;
}

}  // namespace simulator

DEVICE e4m3x2 to_e4m3x2(float first, float second) {
  e4m3x2 both;
  both.bits = (unsigned short)(simulator::e4m3(first) | simulator::e4m3(second) << 8);
  return both;
}

// MARK: Products

namespace simulator {

// Numbers in a step of 32 bytes.
template <class T> struct Step {
  static constexpr unsigned depth = 16;
};
template <> struct Step<e4m3x2> {
  static constexpr unsigned depth = 32;
};

// Rows of 128 bytes, and where in the first of them (a k step's 32 bytes).
DEVICE void check_matrix(const Lane &lane, const void *matrix, unsigned rows) {
  uintptr_t offset = (uintptr_t)matrix - (uintptr_t)lane.block.shared;
  if ((uintptr_t)matrix % 1024 > 96 || (uintptr_t)matrix % 32 != 0)
    lane.block.machine->fail(&lane.block, lane.thread, 716, "a warpgroup's matrix is not at a multiple of 1024 bytes");
  if (offset / 1024 * 1024 + rows * 128 > lane.block.shared_bytes)
    lane.block.machine->fail(&lane.block, lane.thread, 700, "a warpgroup's matrix lies outside shared memory");
}

// 16 bytes as numbers.
template <class T> DEVICE void widen_chunk(float *to, const void *from) {
  Short8 x;
  memcpy(&x, from, sizeof x);
  Float8 wide = widen<T>(x);
  memcpy(to, &wide, sizeof wide);
}
template <> DEVICE void widen_chunk<e4m3x2>(float *to, const void *from) {
  for (unsigned i = 0; i < 16; i++) to[i] = from_e4m3(((const unsigned char *)from)[i]);
}

// A step of a row, where the swizzle has put it: bits 4 to 6 of an address by bits 7 to 9.
template <class T> DEVICE void widen_row(float *to, const unsigned char *matrix, unsigned row) {
  for (unsigned half = 0; half < 2; half++) {
    uintptr_t address = (uintptr_t)matrix + row * 128 + 16 * half;
    widen_chunk<T>(to + Step<T>::depth / 2 * half, (const void *)(address ^ (address >> 7 & 7) << 4));
  }
}

// The 16 rows of a warp.
template <class T, int N> COLLECTIVE void multiply_rows(const WarpProduct &product, unsigned warp) {
  constexpr unsigned depth = Step<T>::depth;
  alignas(64) float columns[depth][N];
  for (unsigned n = 0; n < N; n++) {
    float row[depth];
    widen_row<T>(row, product.b, n);
    for (unsigned k = 0; k < depth; k++) columns[k][n] = row[k];
  }
  for (unsigned row = 0; row < 16; row++) {
    float a[depth];
    widen_row<T>(a, product.a, warp % 4 * 16 + row);
    for (unsigned n = 0; n < N; n += 8) {
      Float8 sum = {};
      for (unsigned k = 0; k < depth; k++) {
        Float8 b;
        memcpy(&b, &columns[k][n], sizeof b);
        sum += a[k] * b;
      }
      for (unsigned i = 0; i < 8; i++)
        product.sums[row % 8 * 4 + i / 2][n / 8 * 4 + row / 8 * 2 + i % 2] += sum[i];
    }
  }
}

// All four warps multiply the same.
DEVICE void compare_products(const Lane &lane, const WarpProduct &product) {
  WarpProducts &own = lane.block.products[lane.thread / warp_size];
  WarpgroupRecord &record = lane.block.records[lane.thread / 128];
  uint64_t number = own.issued++;
  uint64_t what = (uint64_t)(uintptr_t)product.a * 0x9e3779b97f4a7c15 ^ (uint64_t)(uintptr_t)product.b;
  uint64_t slot = number % WarpgroupRecord::size;
  if (record.number[slot] != number + 1) {
    record.number[slot] = number + 1;
    record.what[slot] = what;
  } else if (record.what[slot] != what) {
    lane.block.machine->fail(&lane.block, lane.thread, 719, "warps of a warpgroup multiply different matrices");
  }
}

DEVICE void check_warpgroup(const Lane &lane) {
  if (lane.thread / 128 * 128 + 128 > lane.block.threads)
    lane.block.machine->fail(&lane.block, lane.thread, 719, "a warpgroup has fewer than four warps");
}

}  // namespace simulator

DEVICE void warpgroup_begin() { simulator::check_warpgroup(simulator::current_lane()); }

template <class T, int N> DEVICE void multiply_warpgroup(float *c, const void *a, const void *b) {
  static_assert(N == 64 || N == 80 || N == 128 || N == 160 || N == 256, "the words that a GPU has here");
  simulator::Lane lane = simulator::current_lane();
  simulator::check_warpgroup(lane);
  simulator::check_matrix(lane, a, 64);
  simulator::check_matrix(lane, b, N);
  lane.warp.rows[lane.number] = c;
  if (simulator::arrive(lane, simulator::Operation::multiply_warpgroup)) {
    simulator::WarpProducts &all = lane.block.products[lane.thread / simulator::warp_size];
    if (all.count == simulator::WarpProducts::most)
      lane.block.machine->fail(&lane.block, lane.thread, 719, "too many products of a warpgroup are under way");
    simulator::WarpProduct &product = all.at[all.count++];
    for (unsigned i = 0; i < simulator::warp_size; i++) product.sums[i] = (float *)lane.warp.rows[i];
    product.a = (const unsigned char *)a;
    product.b = (const unsigned char *)b;
    product.run = simulator::multiply_rows<T, N>;
    simulator::compare_products(lane, product);
    simulator::release(lane.warp);
  }
}

DEVICE void warpgroup_commit() {
  simulator::Lane lane = simulator::current_lane();
  if (simulator::arrive(lane, simulator::Operation::commit_warpgroup)) {
    simulator::WarpProducts &all = lane.block.products[lane.thread / simulator::warp_size];
    if (all.groups == simulator::WarpProducts::most)
      lane.block.machine->fail(&lane.block, lane.thread, 719, "too many groups of a warpgroup are under way");
    all.ends[all.groups++] = all.count;
    simulator::release(lane.warp);
  }
}

template <int N> DEVICE void warpgroup_wait() {
  simulator::Lane lane = simulator::current_lane();
  if (simulator::arrive(lane, simulator::Operation::wait_warpgroup)) {
    simulator::WarpProducts &all = lane.block.products[lane.thread / simulator::warp_size];
    unsigned groups = all.groups > N ? all.groups - N : 0, end = groups ? all.ends[groups - 1] : 0;
    for (unsigned i = 0; i < end; i++) all.at[i].run(all.at[i], lane.thread / simulator::warp_size);
    for (unsigned i = end; i < all.count; i++) all.at[i - end] = all.at[i];
    for (unsigned i = groups; i < all.groups; i++) all.ends[i - groups] = all.ends[i] - end;
    all.count -= end;
    all.groups -= groups;
    simulator::release(lane.warp);
  }
}

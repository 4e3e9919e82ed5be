// Hopper's own words (sm_90a): barriers in shared memory, boxes of tensors that the tensor memory accelerator brings to
// them, and products of a warpgroup, four warps that multiply matrices where they lie in shared memory.
//
// The simulated driver has a header of the same name. PTX ISA: mbarrier, cp.async.bulk.tensor, wgmma.
#pragma once
#include "device.cuh"

// MARK: Barriers

// Phases follow each other; one ends when all have arrived whom it expects, and all bytes have come that it expects.
struct Barrier {
  unsigned long long state;
};

// By one thread, before barriers_ready and a barrier of all.
DEVICE void barrier_make(Barrier *barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// What was made is seen by those who bring boxes, too.
DEVICE void barriers_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
DEVICE void barrier_arrive(Barrier *barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives; the phase ends when so many bytes have come, too.
DEVICE void barrier_expect(Barrier *barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
// The GPU's clock, in steps of 2^30 ns.
DEVICE u32 seconds_now() {
  unsigned long long nanoseconds;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(nanoseconds));
  return (u32)(nanoseconds >> 30);
}
// Waits until the phase has ended whose number is odd (1) or even (0), counted from 0. A wait that never ends is a
// mistake, and a trap tells more than a GPU that hangs: after a minute, for kernels before this one, a debugger or a
// suspended machine may take their time. How long a try takes is the GPU's affair, so a clock is asked.
DEVICE void barrier_wait(Barrier *barrier, int parity) {
  u32 address = shared_address(barrier), ended = 0, start = 0;
  for (u32 tries = 1; !ended; tries++) {
    asm volatile(
        "{\n.reg .pred p;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        "selp.u32 %0, 1, 0, p;\n}"
        : "=r"(ended)
        : "r"(address), "r"(parity)
        : "memory");
    if (tries % 1024 != 0) continue;
    if (start == 0) start = seconds_now();
    if (seconds_now() - start > 60) __trap();
  }
}

// MARK: Boxes

// Brings a box of a tensor of three dimensions to shared memory (a multiple of 1024 bytes), swizzled as the map says:
// x counts innermost. What lies outside the tensor is 0, and counts among the bytes. The barrier expects the box's bytes.
DEVICE void load_box(void *shared, const tc_cuda_tensor_map *map, int x, int y, int z, Barrier *barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(
          shared_address(shared)),
      "l"(map), "r"(shared_address(barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
}
// Has the map at hand when the first box is asked for.
DEVICE void prefetch_map(const tc_cuda_tensor_map *map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// MARK: Eight bits

// Two numbers of e4m3 in the place of one of 16 bits.
struct e4m3x2 { unsigned short bits; };

// To the nearest, halves to even; what is larger than 448 becomes 448.
DEVICE e4m3x2 to_e4m3x2(float first, float second) {
  e4m3x2 both;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(both.bits) : "f"(second), "f"(first));
  return both;
}

// MARK: Products

// Before the first product after sums were written. Lanes that waited for a barrier each by itself come together first.
DEVICE void warpgroup_begin() {
  __syncwarp();
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Ends a group of products.
DEVICE void warpgroup_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits until at most N groups are under way; before, neither sums nor what was multiplied may be touched.
template <int N> DEVICE void warpgroup_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }

// A matrix of rows of 64 16-bit elements in shared memory, 8 rows (1024 bytes, at a multiple of it) swizzled over 128
// bytes. PTX ISA, "matrix descriptor": address, 1024 bytes from 8 rows to the next 8, swizzle mode 1.
DEVICE unsigned long long matrix_at(const void *p) {
  return (unsigned long long)(shared_address(p) >> 4 & 0x3fff) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

// The operands of wgmma: "%0, ...", of which there are N / 2, and their places.
#define WG_NAMES_32                                                                                     \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,"  \
  "%27,%28,%29,%30,%31"
#define WG_NAMES_40 WG_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define WG_NAMES_64                                                                                     \
  WG_NAMES_40 ",%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,"   \
              "%61,%62,%63"
#define WG_NAMES_80 WG_NAMES_64 ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define WG_NAMES_128                                                                                    \
  WG_NAMES_80 ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,"  \
              "%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,%112,%113,%114,%115,%116,%117,"   \
              "%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define WG_SUMS_8(i)                                                                                    \
  "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]),           \
      "+f"(c[i + 6]), "+f"(c[i + 7])
#define WG_SUMS_32(i) WG_SUMS_8(i), WG_SUMS_8(i + 8), WG_SUMS_8(i + 16), WG_SUMS_8(i + 24)
#define WG_SUMS_64 WG_SUMS_32(0), WG_SUMS_32(32)
#define WG_MULTIPLY(n, types, turns, names, a_name, b_name, ...)                                        \
  asm volatile("{\n.reg .pred adds;\nsetp.eq.u32 adds, 0, 0;\n"                                         \
               "wgmma.mma_async.sync.aligned.m64n" n types " {" names "}, " a_name ", " b_name          \
               ", adds, 1, 1" turns ";\n}"                                                              \
               : __VA_ARGS__                                                                            \
               : "l"(matrix_at(a)), "l"(matrix_at(b))                                                   \
               : "memory")
#define WG_PRODUCTS(T, types, turns)                                                                                       \
  template <> DEVICE void multiply_warpgroup<T, 64>(float *c, const void *a, const void *b) {                        \
    WG_MULTIPLY("64", types, turns, WG_NAMES_32, "%32", "%33", WG_SUMS_32(0));                                               \
  }                                                                                                                  \
  template <> DEVICE void multiply_warpgroup<T, 80>(float *c, const void *a, const void *b) {                        \
    WG_MULTIPLY("80", types, turns, WG_NAMES_40, "%40", "%41", WG_SUMS_32(0), WG_SUMS_8(32));                                \
  }                                                                                                                  \
  template <> DEVICE void multiply_warpgroup<T, 128>(float *c, const void *a, const void *b) {                       \
    WG_MULTIPLY("128", types, turns, WG_NAMES_64, "%64", "%65", WG_SUMS_64);                                                 \
  }                                                                                                                  \
  template <> DEVICE void multiply_warpgroup<T, 160>(float *c, const void *a, const void *b) {                       \
    WG_MULTIPLY("160", types, turns, WG_NAMES_80, "%80", "%81", WG_SUMS_64, WG_SUMS_8(64), WG_SUMS_8(72));                   \
  }                                                                                                                  \
  template <> DEVICE void multiply_warpgroup<T, 256>(float *c, const void *a, const void *b) {                       \
    WG_MULTIPLY("256", types, turns, WG_NAMES_128, "%128", "%129", WG_SUMS_64, WG_SUMS_32(64), WG_SUMS_32(96));              \
  }

// c [64][N] += a [64][16] b [N][16]^T by the four warps together, with sums in f32: warp w has rows 16 w...16 w + 15, in
// fragments of 16x8 as mma_16x8x16 has them, one after the other (N / 2 floats). a and b: 16 columns of matrices as
// matrix_at has them, so 32 bytes on for the next 16; 32 columns of e4m3. Not there before warpgroup_wait. Hopper adds
// products of e4m3 with about 13 bits of mantissa, so that long sums stray further than f32's would.
template <class T, int N> DEVICE void multiply_warpgroup(float *c, const void *a, const void *b);
WG_PRODUCTS(f16, "k16.f32.f16.f16", ", 0, 0")
WG_PRODUCTS(bf16, "k16.f32.bf16.bf16", ", 0, 0")
WG_PRODUCTS(e4m3x2, "k32.f32.e4m3.e4m3", "")

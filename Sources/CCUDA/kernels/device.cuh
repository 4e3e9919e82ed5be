// What kernels are written in: element types, tensor-core and copy instructions, and CUDA's own words.
//
// This is the GPU's side of it. The simulated driver has a header of the same name that runs the same kernels on a
// processor, so kernels use nothing of CUDA but what stands here, threadIdx, blockIdx, blockDim, gridDim, min, max and
// the float functions expf, exp2f, erff, tanhf, sinf, cosf, logf, sqrtf, rsqrtf, fmaxf, fminf, rintf.
// NVRTC has no headers with it: conversions are written as PTX.
#pragma once
#include "parameters.h"

typedef unsigned int u32;
typedef unsigned char u8;

#define DEVICE __device__ __forceinline__
// A kernel of one struct of parameters: KERNEL(map, tc_cuda_map, 256) { ... p.rows ... }
// In the simulator such a kernel is an exported function that takes a pointer to the struct.
// IN_PLACE, defined as __grid_constant__: the kernel takes addresses of its parameters, and no copy is made for that.
// BLOCKS, where it is defined, is how many of them a multiprocessor has to hold: it bounds the registers. Where it is
// not, the assembler sometimes spills a few bytes for the sake of one block more.
#ifndef IN_PLACE
#define IN_PLACE
#endif
#ifdef BLOCKS
#define KERNEL(name, Parameters, threads) \
  extern "C" __global__ void __launch_bounds__(threads, BLOCKS) name(const IN_PLACE Parameters p)
#else
#define KERNEL(name, Parameters, threads) \
  extern "C" __global__ void __launch_bounds__(threads) name(const IN_PLACE Parameters p)
#endif
// All of a block's dynamic shared memory, aligned to 128 bytes or what SHARED_ALIGNMENT says:
// SHARED(memory); float *sums = (float *)memory;
#ifndef SHARED_ALIGNMENT
#define SHARED_ALIGNMENT 128
#endif
#define SHARED(name) extern __shared__ __align__(SHARED_ALIGNMENT) u8 name[]

// Waits until the kernel before this one has finished and what it wrote is there. Where a launch allows it, a kernel is
// brought to the GPU before that (programmatic dependent launch; PTX ISA, griddepcontrol), and the one after it then as
// soon as every block of this one has come here. So this comes before the first access to memory, in every thread.
#if __CUDA_ARCH__ >= 900
DEVICE void await_previous() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
#else
DEVICE void await_previous() {}
#endif

DEVICE void sync_threads() { __syncthreads(); }
DEVICE void sync_warp() { __syncwarp(); }

// MARK: Elements

struct f16 { unsigned short bits; };
struct bf16 { unsigned short bits; };

DEVICE float to_float(float x) { return x; }
DEVICE float to_float(int x) { return (float)x; }
DEVICE float to_float(u8 x) { return (float)x; }
DEVICE float to_float(f16 x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}
DEVICE float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

template <class T> DEVICE T from_float(float x);
template <> DEVICE float from_float<float>(float x) { return x; }
template <> DEVICE int from_float<int>(float x) { return (int)x; }
template <> DEVICE u8 from_float<u8>(float x) { return (u8)x; }
template <> DEVICE f16 from_float<f16>(float x) {
  f16 y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
  return y;
}
// Round to nearest even; NaN stays NaN.
template <> DEVICE bf16 from_float<bf16>(float x) {
  u32 bits = __float_as_uint(x);
  bf16 y;
  y.bits = x != x ? (unsigned short)((bits >> 16) | 0x40)
                  : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  return y;
}

// Two elements in 32 bits, the first in the lower half.
template <class T> DEVICE u32 pack2(float a, float b) {
  return (u32)from_float<T>(a).bits | (u32)from_float<T>(b).bits << 16;
}
// The floats of such a pair of f16.
DEVICE void unpack2(float *to, u32 pair) {
  f16 low, high;
  low.bits = (unsigned short)pair;
  high.bits = (unsigned short)(pair >> 16);
  to[0] = to_float(low);
  to[1] = to_float(high);
}
#if __CUDA_ARCH__ >= 800
template <> DEVICE u32 pack2<f16>(float a, float b) {
  u32 both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
  return both;
}
template <> DEVICE u32 pack2<bf16>(float a, float b) {
  u32 both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(b), "f"(a));
  return both;
}
#endif

// MARK: Functions

// 2^x; results below 2^-126 are 0, for what exp2f does about them costs attention more than the rest of the function.
DEVICE float power_of_2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// x times the logistic function of y. The exact quotient would cost more than memory takes; __fdividef's two last bits
// do not matter, and that it gives 0 for divisors from 2^126 on is right here.
DEVICE float gated(float x, float y) { return __fdividef(x, 1.0f + expf(-y)); }

// MARK: Warps

DEVICE float shuffle_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }

DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }

// 16 bytes from global to shared memory, zeros where `valid` is false (then nothing is read). They are there after
// copy_wait and a barrier. Both addresses are multiples of 16.
#if __CUDA_ARCH__ >= 800
DEVICE void copy_async16(void *shared, const void *global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
// Ends a group of copies.
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N groups are under way.
template <int N> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
#else
DEVICE void copy_async16(void *shared, const void *global, bool valid) {
  uint4 x = make_uint4(0, 0, 0, 0);
  if (valid) x = *(const uint4 *)global;
  *(uint4 *)shared = x;
}
DEVICE void copy_commit() {}
template <int N> DEVICE void copy_wait() {}
#endif

// Four 8x8 matrices of 16-bit elements from shared memory: lane l names row l % 8 of matrix l / 8 (16 bytes, aligned)
// and gets elements 2 (l % 4), 2 (l % 4) + 1 of row l / 4 of each. PTX ISA, ldmatrix.
DEVICE void load_matrix_x4(u32 *r, const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
DEVICE void load_matrix_x4_transposed(u32 *r, const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}

// c [16][8] += a [16][16] b [8][16]^T, f32 sums. Fragments as PTX ISA has them for mma.m16n8k16.
template <class T> DEVICE void mma_16x8x16(float *c, const u32 *a, const u32 *b);
#if __CUDA_ARCH__ >= 800
template <> DEVICE void mma_16x8x16<f16>(float *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
template <> DEVICE void mma_16x8x16<bf16>(float *c, const u32 *a, const u32 *b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
// Turing multiplies half as deep, and has no bf16.
template <> DEVICE void mma_16x8x16<f16>(float *c, const u32 *a, const u32 *b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[2]), "r"(a[3]), "r"(b[1]));
}
#endif

// The same for f16, with sums of f16, two in 32 bits: rows l / 4 in c[0], l / 4 + 8 in c[1]. GeForce cards do it twice
// as fast. Rounds every time, so few should be summed so.
DEVICE void mma_16x8x16_halves(u32 *c, const u32 *a, const u32 *b) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3,%4,%5}, {%6,%7}, {%0,%1};"
               : "+r"(c[0]), "+r"(c[1])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%0,%1};"
               : "+r"(c[0]), "+r"(c[1])
               : "r"(a[0]), "r"(a[1]), "r"(b[0]));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0,%1}, {%2,%3}, {%4}, {%0,%1};"
               : "+r"(c[0]), "+r"(c[1])
               : "r"(a[2]), "r"(a[3]), "r"(b[1]));
#endif
}

// Neighbouring elements read and written together, in accesses of up to 16 bytes.
#pragma once
#include "elements.cuh"

// Where threads stride over what there is: this one's number among all of the grid, and how many they are.
DEVICE long long first_thread() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE long long all_threads() { return (long long)gridDim.x * blockDim.x; }

// N numbers in one access. An address must be a multiple of the whole.
template <class T, int N> struct alignas(sizeof(T) * N) together { T at[N]; };

DEVICE bool is_aligned(tc_address address, int bytes) { return (address & (tc_address)(bytes - 1)) == 0; }

// N elements, aligned to all of them (at most to 16 bytes), as floats.
template <class T, int N> struct Elements {
  static DEVICE void load(float *to, const T *from) {
    constexpr int words = N / 2 < 4 ? N / 2 : 4;
    if constexpr (N == 1) {
      to[0] = to_float(from[0]);
    } else {
#pragma unroll
      for (int first = 0; first < N; first += 2 * words) {
        together<u32, words> pairs = *(const together<u32, words> *)(from + first);
#pragma unroll
        for (int i = 0; i < words; i++) {
          T low, high;
          low.bits = (unsigned short)pairs.at[i];
          high.bits = (unsigned short)(pairs.at[i] >> 16);
          to[first + 2 * i] = to_float(low);
          to[first + 2 * i + 1] = to_float(high);
        }
      }
    }
  }
  static DEVICE void store(T *to, const float *from) {
    constexpr int words = N / 2 < 4 ? N / 2 : 4;
    if constexpr (N == 1) {
      to[0] = from_float<T>(from[0]);
    } else {
#pragma unroll
      for (int first = 0; first < N; first += 2 * words) {
        together<u32, words> pairs;
#pragma unroll
        for (int i = 0; i < words; i++) pairs.at[i] = pack2<T>(from[first + 2 * i], from[first + 2 * i + 1]);
        *(together<u32, words> *)(to + first) = pairs;
      }
    }
  }
};
template <int N> struct Elements<float, N> {
  static constexpr int width = N < 4 ? N : 4;
  static DEVICE void load(float *to, const float *from) {
#pragma unroll
    for (int first = 0; first < N; first += width) {
      together<float, width> some = *(const together<float, width> *)(from + first);
#pragma unroll
      for (int i = 0; i < width; i++) to[first + i] = some.at[i];
    }
  }
  static DEVICE void store(float *to, const float *from) {
#pragma unroll
    for (int first = 0; first < N; first += width) {
      together<float, width> some;
#pragma unroll
      for (int i = 0; i < width; i++) some.at[i] = from[first + i];
      *(together<float, width> *)(to + first) = some;
    }
  }
};

template <int N, class T> DEVICE void load_floats(float *to, const T *from) { Elements<T, N>::load(to, from); }
template <int N, class T> DEVICE void store_floats(T *to, const float *from) { Elements<T, N>::store(to, from); }

// N elements from `i` on of a type known at run time, of which `count` exist. `wide`: all do, and they are aligned.
template <int N> DEVICE void load_elements(float *to, tc_address base, long long i, int element, int count, bool wide) {
  if (wide && element == TC_F16) return load_floats<N>(to, (const f16 *)base + i);
  if (wide && element == TC_BF16) return load_floats<N>(to, (const bf16 *)base + i);
  if (wide && element == TC_F32) return load_floats<N>(to, (const float *)base + i);
#pragma unroll
  for (int j = 0; j < N; j++) to[j] = j < count ? load_element(base, i + j, element) : 0.0f;
}
template <int N>
DEVICE void store_elements(tc_address base, long long i, int element, const float *from, int count, bool wide) {
  if (wide && element == TC_F16) return store_floats<N>((f16 *)base + i, from);
  if (wide && element == TC_BF16) return store_floats<N>((bf16 *)base + i, from);
  if (wide && element == TC_F32) return store_floats<N>((float *)base + i, from);
#pragma unroll
  for (int j = 0; j < N; j++)
    if (j < count) store_element(base, i + j, element, from[j]);
}

// `apply` to N numbers; the usual functions decide once for all of them.
template <int N> DEVICE void apply_all(int function, float *x, float a = 0.0f, float b = 0.0f) {
  if (function == TC_IDENTITY) return;
  if (function == TC_SILU) {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = apply(TC_SILU, x[i], a, b);
  } else {
#pragma unroll
    for (int i = 0; i < N; i++) x[i] = apply(function, x[i], a, b);
  }
}

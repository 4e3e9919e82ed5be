// From sums to the stored result: scale, a layer norm folded in, bias, residual, activation, GEGLU, phases of an
// up-sampling. The same for every product kernel, N neighbouring columns of one row at a time.
#pragma once
#include "gather.cuh"
#include "vectors.cuh"

template <int N> struct Epilogue {
  int n, count;  // the first column; how many of the N exist
  bool wide;     // N columns exist, are one access in result and residual, and belong to one phase
  float bias[N];

  DEVICE Epilogue(const tc_cuda_product &p, int column) : n(column), count(min(N, p.filters - column)) {
    int strides = p.result_stride | (p.residual ? p.residual_stride : 0);
    int channels = p.joins_phases ? p.filters / 4 : p.filters;
    wide = count == N && strides % N == 0 && is_aligned(p.result | p.residual, 16) &&
           (p.joins_phases == 0 || channels % N == 0);
    bool wide_bias = count == N && is_aligned(p.bias, 16);
#pragma unroll
    for (int i = 0; i < N; i++) bias[i] = 0.0f;
    if (p.bias && count > 0) load_elements<N>(bias, p.bias, n, p.bias_element, count, wide_bias);
  }

  // Finishes and stores the sums of row m, which must exist; spoils them.
  DEVICE void store(const tc_cuda_product &p, int m, float *sums) const {
    if (count <= 0) return;
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] *= p.scale;
    if (p.moments) normalize(p, m, sums);
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] += bias[i];
    if (p.residual) add_residual(p, m, sums);
    if (p.geglu) return store_geglu(p, m, sums);
    apply_all<N>(p.activation, sums);
    if (p.joins_phases) return store_phases(p, m, sums);
    long long to = (long long)m * p.result_stride + n;
    store_elements<N>(p.result, to, p.result_element, sums, count, wide);
  }

 private:
  DEVICE void normalize(const tc_cuda_product &p, int m, float *sums) const {
    const float *moments = (const float *)p.moments + 2ll * m;
    float mean = moments[0], inverse = moments[1], weight_sums[N];
    load_elements<N>(weight_sums, p.weight_sums, n, TC_F32, count, count == N && is_aligned(p.weight_sums, 16));
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] = (sums[i] - mean * weight_sums[i]) * inverse;
  }

  DEVICE void add_residual(const tc_cuda_product &p, int m, float *sums) const {
    float residual[N];
    long long from = (long long)m * p.residual_stride + n;
    load_elements<N>(residual, p.residual, from, p.result_element, count, wide);
#pragma unroll
    for (int i = 0; i < N; i++) sums[i] += residual[i];
  }

  // Value and gate lie side by side, so a thread has both.
  DEVICE void store_geglu(const tc_cuda_product &p, int m, const float *sums) const {
    float values[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; i++) values[i] = sums[2 * i] * gelu(sums[2 * i + 1]);
    long long to = (long long)m * p.result_stride + n / 2;
    store_elements<N / 2>(p.result, to, p.result_element, values, count / 2, wide);
  }

  // Every phase has its own pixels of the doubled picture; positions at the border have no pixel for some.
  DEVICE void store_phases(const tc_cuda_product &p, int m, const float *sums) const {
    if (wide) return store_phase<N>(p, m, n, sums, true);
#pragma unroll
    for (int i = 0; i < N; i++)
      if (i < count) store_phase<1>(p, m, n + i, sums + i, false);
  }
  template <int SOME>
  DEVICE void store_phase(const tc_cuda_product &p, int m, int filter, const float *values, bool all) const {
    int channels = p.filters / 4, phase = filter / channels, a = phase / 2, b = phase % 2;
    int row = m / p.out_width, y = row - a, x = m - row * p.out_width - b;
    if (y < 0 || x < 0 || y >= p.out_height - 1 || x >= p.out_width - 1) return;
    long long pixel = (long long)(2 * y + a) * (2 * (p.out_width - 1)) + 2 * x + b;
    long long to = pixel * p.result_stride + filter - phase * channels;
    store_elements<SOME>(p.result, to, p.result_element, values, SOME, all);
  }
};

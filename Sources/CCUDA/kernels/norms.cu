// Group normalisation with an activation, layer normalisation, softmax. Sums in f32 that survive large means.
//
// Defines: ELEMENT, of x and result (of softmax: of the result; its x is f32).
// Any rows, columns, channels, groups (that divide the channels) and strides; rows that begin at multiples of 16 bytes
// are read 16 bytes at a time. The result may lie where x does (softmax: not).
//
// group_norm_sums: grid (blocks, groups), block 256, shared 96 bytes. partial: groups * blocks * 12 bytes.
//   blocks = clamp(rows * channels / groups / 4096, 1, 32) keeps a thread busy with 16 numbers.
// group_norm_apply: grid any up to ceil(rows * ceil(channels / 8) / 256), a quarter of it is good; block 256,
//   shared 8 * groups bytes.
// row_moments: grid ceil(rows / 4), block 128, shared 0.
// layer_norm: grid rows, block 128, shared 48 bytes.
// softmax: grid rows, block 128, shared 32 bytes.
#include "elements.cuh"
#include "moments.cuh"
#include "reduce.cuh"
#include "vectors.cuh"

// MARK: Group normalisation

// This block's share of a group: vectors of N neighbouring channels, dealt to the threads one after the other.
template <int N> DEVICE Moments group_moments(const element_t *x, int rows, int width, int stride) {
  int parts = width / N;
  int rows_apart = 256 / parts, parts_apart = 256 - rows_apart * parts;
  int row = (int)threadIdx.x / parts, part = (int)threadIdx.x - row * parts;
  Running sums;
  while (row < rows) {
    float some[N];
    load_floats<N>(some, x + (long long)row * stride + part * N);
#pragma unroll
    for (int i = 0; i < N; i++) sums.add(some[i]);
    row += rows_apart;
    part += parts_apart;
    if (part >= parts) {
      part -= parts;
      row++;
    }
  }
  return sums.moments();
}

KERNEL(group_norm_sums, tc_cuda_group_norm, 256) {
  await_previous();
  SHARED(memory);
  int block = blockIdx.x, group = blockIdx.y;
  int width = p.channels / p.groups;
  int rows_each = (p.rows + p.blocks - 1) / p.blocks;
  int first = min(block * rows_each, p.rows), rows = min(rows_each, p.rows - first);
  const element_t *x = (const element_t *)p.x + (long long)first * p.x_stride + group * width;

  // Widest access that every row of every group allows.
  u32 steps = (u32)width | (u32)p.x_stride | (u32)(p.x / sizeof(element_t));
  Moments own;
  if (steps % 8 == 0) {
    own = group_moments<8>(x, rows, width, p.x_stride);
  } else if (steps % 4 == 0) {
    own = group_moments<4>(x, rows, width, p.x_stride);
  } else if (steps % 2 == 0) {
    own = group_moments<2>(x, rows, width, p.x_stride);
  } else {
    own = group_moments<1>(x, rows, width, p.x_stride);
  }
  Moments all = of_block<256>(own, (Moments *)memory);
  if (threadIdx.x == 0) ((Moments *)p.partial)[(long long)group * p.blocks + block] = all;
}

// Mean and 1/deviation of every group, merged by one warp each, into shared memory.
DEVICE void merge_groups(const tc_cuda_group_norm &p, float *means, float *inverses) {
  int lane = threadIdx.x % 32;
  for (int group = threadIdx.x / 32; group < p.groups; group += 8) {
    const Moments *partial = (const Moments *)p.partial + (long long)group * p.blocks;
    Moments own = {0.0f, 0.0f, 0.0f};
    for (int block = lane; block < p.blocks; block += 32) own = merged(own, partial[block]);
    own = of_warp(own);
    if (lane == 0) {
      means[group] = own.mean;
      inverses[group] = 1.0f / sqrtf(own.squares / own.count + p.epsilon);
    }
  }
  sync_threads();
}

KERNEL(group_norm_apply, tc_cuda_group_norm, 256) {
  await_previous();
  SHARED(memory);
  float *means = (float *)memory, *inverses = means + p.groups;
  merge_groups(p, means, inverses);

  // A thread keeps to its 8 channels and walks down the rows.
  int chunks = (p.channels + 7) / 8, width = p.channels / p.groups;
  int threads = (int)(gridDim.x * blockDim.x), thread = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  int across = min(chunks, threads), rows_apart = threads / across;
  if (thread / across >= rows_apart) return;
  bool aligned = is_aligned(p.x | p.result, 16) && (p.x_stride | p.result_stride) % 8 == 0;
  int element = ELEMENT;
  for (int chunk = thread % across; chunk < chunks; chunk += across) {
    int channel = chunk * 8, count = min(8, p.channels - channel);
    bool wide = aligned && count == 8;
    float mean[8], gain[8], shift[8];
#pragma unroll
    for (int i = 0; i < 8; i++) {
      int own = min(channel + i, p.channels - 1), group = own / width;
      mean[i] = means[group];
      gain[i] = load_element(p.gain, own, p.gain_element) * inverses[group];
      shift[i] = load_element(p.shift, own, p.shift_element);
    }
    for (int row = thread / across; row < p.rows; row += rows_apart) {
      float x[8];
      load_elements<8>(x, p.x, (long long)row * p.x_stride + channel, element, count, wide);
      // The mean goes first: x * gain and mean * gain may both be far larger than their difference.
#pragma unroll
      for (int i = 0; i < 8; i++) x[i] = (x[i] - mean[i]) * gain[i] + shift[i];
      apply_all<8>(p.activation, x);
      store_elements<8>(p.result, (long long)row * p.result_stride + channel, element, x, count, wide);
    }
  }
}

// MARK: Rows

// A warp's row.
KERNEL(row_moments, tc_cuda_row_moments, 128) {
  await_previous();
  int row = blockIdx.x * 4 + threadIdx.x / 32;
  if (row >= p.rows) return;
  bool aligned = is_aligned(p.x, 16) && p.x_stride % 8 == 0;
  Running sums;
  for (int column = threadIdx.x % 32 * 8; column < p.columns; column += 32 * 8) {
    int count = min(8, p.columns - column);
    float x[8];
    load_elements<8>(x, p.x, (long long)row * p.x_stride + column, ELEMENT, count, aligned && count == 8);
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < count) sums.add(x[i]);
  }
  Moments all = of_warp(sums.moments());
  if (threadIdx.x % 32 != 0) return;
  float *result = (float *)p.result + 2ll * row;
  result[0] = all.mean;
  result[1] = 1.0f / sqrtf(all.squares / all.count + p.epsilon);
}

KERNEL(layer_norm, tc_cuda_layer_norm, 128) {
  await_previous();
  SHARED(memory);
  long long from = (long long)blockIdx.x * p.x_stride, to = (long long)blockIdx.x * p.result_stride;
  bool aligned = is_aligned(p.x | p.result, 16) && (p.x_stride | p.result_stride) % 8 == 0;
  int element = ELEMENT;

  Running sums;
  for (int column = threadIdx.x * 8; column < p.columns; column += 128 * 8) {
    int count = min(8, p.columns - column);
    float x[8];
    load_elements<8>(x, p.x, from + column, element, count, aligned && count == 8);
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < count) sums.add(x[i]);
  }
  Moments row = of_block<128>(sums.moments(), (Moments *)memory);
  float inverse = 1.0f / sqrtf(row.squares / row.count + p.epsilon);

  for (int column = threadIdx.x * 8; column < p.columns; column += 128 * 8) {
    int count = min(8, p.columns - column);
    bool wide = aligned && count == 8;
    bool wide_gain = count == 8 && is_aligned(p.gain | p.shift, 16);
    float x[8], gain[8], shift[8];
    load_elements<8>(x, p.x, from + column, element, count, wide);
    load_elements<8>(gain, p.gain, column, p.gain_element, count, wide_gain);
    load_elements<8>(shift, p.shift, column, p.shift_element, count, wide_gain);
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = (x[i] - row.mean) * inverse * gain[i] + shift[i];
    store_elements<8>(p.result, to + column, element, x, count, wide);
  }
}

KERNEL(softmax, tc_cuda_softmax, 128) {
  await_previous();
  SHARED(memory);
  float *highs = (float *)memory, *sums = highs + 4;
  const float *x = (const float *)p.x + (long long)blockIdx.x * p.x_stride;
  element_t *result = (element_t *)p.result + (long long)blockIdx.x * p.result_stride;

  float high = -3.0e38f;  // finite, for -inf - -inf would be no number
  for (int column = threadIdx.x; column < p.columns; column += 128) high = fmaxf(high, x[column]);
  high = maximum_of_block(high, highs);
  float sum = 0.0f;
  for (int column = threadIdx.x; column < p.columns; column += 128) sum += expf(x[column] - high);
  float inverse = 1.0f / fmaxf(sum_of_block(sum, sums), 1.0e-37f);
  for (int column = threadIdx.x; column < p.columns; column += 128)
    result[column] = from_float<element_t>(expf(x[column] - high) * inverse);
}

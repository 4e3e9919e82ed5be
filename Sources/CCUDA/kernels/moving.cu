// Elements moved, not changed (but for the sinusoid). Bound by memory.
//
// Grid: any, threads stride over all units; ceil(units / 256) up to some 8 blocks a multiprocessor is good.
// Block: 256. Shared: 0. A unit is a thread's one access: in copy `element_size` bytes (1, 2, 4, 8 or 16, to which
// addresses must be aligned and in which strides count: describe rows of aligned neighbours in wide elements); in
// upsample, join_phases and gather the widest of 16, 4, 2, 1 bytes that the sizes and addresses allow; in sinusoid one
// number of the result.
#include "device.cuh"
#include "vectors.cuh"

typedef together<u32, 4> u128;
typedef together<u32, 2> u64;

// MARK: Copy

template <class T> DEVICE void copy_box(const tc_cuda_copy &p) {
  const T *x = (const T *)p.x;
  T *result = (T *)p.result;
  long long count = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3] * p.shape[4];
  for (long long i = first_thread(); i < count; i += all_threads()) {
    long long rest = i, from = 0, to = 0;
#pragma unroll
    for (int axis = 4; axis >= 0; axis--) {
      if (p.shape[axis] == 1) continue;
      long long above = rest / p.shape[axis], position = rest - above * p.shape[axis];
      rest = above;
      from += position * p.x_strides[axis];
      to += position * p.result_strides[axis];
    }
    result[to] = x[from];
  }
}

KERNEL(copy, tc_cuda_copy, 256) {
  await_previous();
  switch (p.element_size) {
    case 1: return copy_box<u8>(p);
    case 2: return copy_box<unsigned short>(p);
    case 4: return copy_box<u32>(p);
    case 8: return copy_box<u64>(p);
    case 16: return copy_box<u128>(p);
  }
}

// MARK: Pixels and rows

// Runs body<T>(units of a pixel) with the widest unit.
#define WITH_WIDEST_UNIT(body, size, x, result, p)                                       \
  if ((size) % 16 == 0 && is_aligned((x) | (result), 16)) return body<u128>(p, (size) / 16); \
  if ((size) % 4 == 0 && is_aligned((x) | (result), 4)) return body<u32>(p, (size) / 4);     \
  if ((size) % 2 == 0 && is_aligned((x) | (result), 2)) return body<unsigned short>(p, (size) / 2); \
  return body<u8>(p, size);

template <class T> DEVICE void upsample_units(const tc_cuda_upsample &p, int pixel) {
  const T *x = (const T *)p.x;
  T *result = (T *)p.result;
  long long count = (long long)p.new_height * p.new_width * pixel;
  for (long long i = first_thread(); i < count; i += all_threads()) {
    int place = (int)(i / pixel), unit = (int)(i - (long long)place * pixel);
    int row = place / p.new_width, column = place - row * p.new_width;
    // Products of two sizes of a picture stay below 2^31.
    int source = row * p.height / p.new_height * p.width + column * p.width / p.new_width;
    result[i] = x[(long long)source * pixel + unit];
  }
}
KERNEL(upsample, tc_cuda_upsample, 256) {
  await_previous();
  WITH_WIDEST_UNIT(upsample_units, p.pixel_size, p.x, p.result, p)
}

template <class T> DEVICE void join_units(const tc_cuda_join_phases &p, int pixel) {
  const T *x = (const T *)p.x;
  T *result = (T *)p.result;
  long long count = 4ll * p.height * p.width * pixel;
  for (long long i = first_thread(); i < count; i += all_threads()) {
    int place = (int)(i / pixel), unit = (int)(i - (long long)place * pixel);
    int row = place / (2 * p.width), column = place - row * 2 * p.width;
    int a = row % 2, b = column % 2;
    long long position = (long long)(row / 2 + a) * (p.width + 1) + column / 2 + b;
    result[i] = x[(position * 4 + 2 * a + b) * pixel + unit];
  }
}
KERNEL(join_phases, tc_cuda_join_phases, 256) {
  await_previous();
  WITH_WIDEST_UNIT(join_units, p.pixel_size, p.x, p.result, p)
}

template <class T> DEVICE void gather_units(const tc_cuda_gather &p, int row) {
  const T *table = (const T *)p.table;
  const int *index = (const int *)p.index;
  T *result = (T *)p.result;
  long long count = (long long)p.count * row;
  for (long long i = first_thread(); i < count; i += all_threads()) {
    long long place = i / row;
    int source = index[place];
    if (source < 0 || source >= p.table_rows) source = 0;
    result[i] = table[(long long)source * row + (i - place * row)];
  }
}
KERNEL(gather, tc_cuda_gather, 256) {
  await_previous();
  WITH_WIDEST_UNIT(gather_units, p.row_size, p.table, p.result, p)
}

// MARK: Sinusoid

// sinf and cosf of CUDA keep a table for huge angles in local memory. Angles here are timesteps (to 1000 and some
// more), so: take off quarter turns in three exact pieces (Cody and Waite), then Cephes' polynomials for |r| <= pi/4.
DEVICE float sine(float x, bool cosine) {
  float quarters = rintf(x * 0.63661977f);
  float r = ((x - quarters * 1.5703125f) - quarters * 4.8375129699707031e-4f) - quarters * 7.5497899548918822e-8f;
  float z = r * r;
  float odd = ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
  float even =
      ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  int turn = (int)quarters + (cosine ? 1 : 0);
  float value = turn & 1 ? even : odd;
  return turn & 2 ? -value : value;
}

KERNEL(sinusoid, tc_cuda_sinusoid, 256) {
  await_previous();
  int half = p.dimension / 2;
  long long count = (long long)p.count * p.dimension;
  for (long long i = first_thread(); i < count; i += all_threads()) {
    int row = (int)(i / p.dimension), column = (int)(i - (long long)row * p.dimension);
    bool second = column >= half;
    // As the reference rounds it, step by step.
    float exponent = -9.2103404f * (float)(second ? column - half : column) / ((float)half - p.frequency_shift);
    float angle = expf(exponent) * ((const float *)p.t)[row];
    float value = column >= 2 * half ? 0.0f : sine(angle, second != (p.flip_sin_to_cos != 0));
    ((float *)p.result)[i] = value;
  }
}

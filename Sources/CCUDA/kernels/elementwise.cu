// Element by element: functions and conversions, two operands, GEGLU. Bound by memory; sums and functions in f32.
//
// Defines: none. Any sizes and strides; where rows begin at multiples of 16 bytes, 8 elements are one access or two.
// The result may lie where an operand does, element for element.
// Grid: any, threads stride over vectors of 8 of a row; ceil(elements / 2048) up to some 8 blocks a multiprocessor is
// good. Block: 256. Shared: 0.
#include "elements.cuh"
#include "vectors.cuh"

// A vector of up to 8 elements of a matrix.
struct Vector {
  long long row, column;
  int count;

  DEVICE Vector(long long i, long long columns) {
    long long across = (columns + 7) / 8;
    row = i / across;
    column = (i - row * across) * 8;
    count = (int)min(8ll, columns - column);
  }
};
DEVICE long long vectors(long long rows, long long columns) { return rows * ((columns + 7) / 8); }

KERNEL(map, tc_cuda_map, 256) {
  await_previous();
  bool aligned = is_aligned(p.x | p.result, 16) && (p.rows == 1 || (p.x_stride | p.result_stride) % 8 == 0);
  for (long long i = first_thread(); i < vectors(p.rows, p.columns); i += all_threads()) {
    Vector at(i, p.columns);
    bool wide = aligned && at.count == 8;
    float x[8];
    load_elements<8>(x, p.x, at.row * p.x_stride + at.column, p.x_element, at.count, wide);
    apply_all<8>(p.function, x, p.a, p.b);
    store_elements<8>(p.result, at.row * p.result_stride + at.column, p.result_element, x, at.count, wide);
  }
}

DEVICE float combined(int operation, float a, float b) {
  switch (operation) {
    case TC_ADD: return a + b;
    case TC_SUBTRACT: return a - b;
    case TC_MULTIPLY: return a * b;
    default: return a / b;
  }
}

// Where entry `i` of the first AXES axes lies in the result and its operands.
struct Places {
  long long x, y, result;

  template <int AXES> static DEVICE Places of(const tc_cuda_binary &p, long long i) {
    Places at = {0, 0, 0};
#pragma unroll
    for (int axis = AXES - 1; axis >= 0; axis--) {
      if (p.shape[axis] == 1) continue;
      long long above = i / p.shape[axis], position = i - above * p.shape[axis];
      i = above;
      at.x += position * p.x_strides[axis];
      at.y += position * p.y_strides[axis];
      at.result += position * p.result_strides[axis];
    }
    return at;
  }
};

// Elements of a row lie together; the second operand's may be one for all.
DEVICE void combine_rows(const tc_cuda_binary &p) {
  long long strides = 0, rows = p.shape[0] * p.shape[1] * p.shape[2], repeats = p.y_strides[3] == 0;
#pragma unroll
  for (int axis = 0; axis < 3; axis++)
    if (p.shape[axis] != 1) strides |= p.x_strides[axis] | p.result_strides[axis] | (repeats ? 0 : p.y_strides[axis]);
  bool aligned = strides % 8 == 0 && is_aligned(p.x | p.result | (repeats ? 0 : p.y), 16);
  for (long long i = first_thread(); i < vectors(rows, p.shape[3]); i += all_threads()) {
    Vector at(i, p.shape[3]);
    Places place = Places::of<3>(p, at.row);
    bool wide = aligned && at.count == 8;
    float x[8], y[8];
    load_elements<8>(x, p.x, place.x + at.column, p.element, at.count, wide);
    if (repeats) {
      y[0] = load_element(p.y, place.y, p.element);
#pragma unroll
      for (int j = 1; j < 8; j++) y[j] = y[0];
    } else {
      load_elements<8>(y, p.y, place.y + at.column, p.element, at.count, wide);
    }
#pragma unroll
    for (int j = 0; j < 8; j++) x[j] = combined(p.operation, x[j], y[j]);
    store_elements<8>(p.result, place.result + at.column, p.element, x, at.count, wide);
  }
}

KERNEL(binary, tc_cuda_binary, 256) {
  await_previous();
  if (p.x_strides[3] == 1 && p.result_strides[3] == 1 && (p.y_strides[3] | 1) == 1) return combine_rows(p);
  long long count = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3];
  for (long long i = first_thread(); i < count; i += all_threads()) {
    Places at = Places::of<4>(p, i);
    float x = load_element(p.x, at.x, p.element), y = load_element(p.y, at.y, p.element);
    store_element(p.result, at.result, p.element, combined(p.operation, x, y));
  }
}

KERNEL(geglu, tc_cuda_geglu, 256) {
  await_previous();
  bool aligned = is_aligned(p.x | p.result, 16) && (p.x_stride | p.result_stride | p.columns) % 8 == 0;
  for (long long i = first_thread(); i < vectors(p.rows, p.columns); i += all_threads()) {
    Vector at(i, p.columns);
    bool wide = aligned && at.count == 8;
    float value[8], gate[8];
    load_elements<8>(value, p.x, at.row * p.x_stride + at.column, p.element, at.count, wide);
    load_elements<8>(gate, p.x, at.row * p.x_stride + p.columns + at.column, p.element, at.count, wide);
#pragma unroll
    for (int j = 0; j < 8; j++) value[j] *= gelu(gate[j]);
    store_elements<8>(p.result, at.row * p.result_stride + at.column, p.element, value, at.count, wide);
  }
}

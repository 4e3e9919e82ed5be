// Element by element: functions and conversions, two operands, GEGLU. Bound by memory; sums and functions in f32.
#include "device.cuh"

// Grid: any; threads stride over all elements.
DEVICE long long first_element() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
DEVICE long long all_threads() { return (long long)gridDim.x * blockDim.x; }

KERNEL(map, tc_cuda_map, 256) {
  long long count = p.rows * p.columns;
  for (long long i = first_element(); i < count; i += all_threads()) {
    long long row = i / p.columns, column = i - row * p.columns;
    float x = load_element(p.x, row * p.x_stride + column, p.x_element);
    store_element(p.result, row * p.result_stride + column, p.result_element, apply(p.function, x, p.a, p.b));
  }
}

KERNEL(binary, tc_cuda_binary, 256) {
  long long count = p.shape[0] * p.shape[1] * p.shape[2] * p.shape[3];
  for (long long i = first_element(); i < count; i += all_threads()) {
    long long rest = i, x = 0, y = 0, result = 0;
    for (int axis = 3; axis >= 0; axis--) {
      long long position = rest % p.shape[axis];
      rest /= p.shape[axis];
      x += position * p.x_strides[axis];
      y += position * p.y_strides[axis];
      result += position * p.result_strides[axis];
    }
    float a = load_element(p.x, x, p.element), b = load_element(p.y, y, p.element), c;
    switch (p.operation) {
      case TC_ADD: c = a + b; break;
      case TC_SUBTRACT: c = a - b; break;
      case TC_MULTIPLY: c = a * b; break;
      default: c = a / b;
    }
    store_element(p.result, result, p.element, c);
  }
}

KERNEL(geglu, tc_cuda_geglu, 256) {
  long long count = p.rows * p.columns;
  for (long long i = first_element(); i < count; i += all_threads()) {
    long long row = i / p.columns, column = i - row * p.columns;
    float value = load_element(p.x, row * p.x_stride + column, p.element);
    float gate = load_element(p.x, row * p.x_stride + p.columns + column, p.element);
    store_element(p.result, row * p.result_stride + column, p.element, value * gelu(gate));
  }
}

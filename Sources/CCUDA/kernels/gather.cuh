// The two operands of a product as matrices with k in rows: a convolution's picture, gathered where it lies (implicit
// GEMM: no matrix of patches is ever in memory), and the filters. k counts (kernel row, kernel column, channel).
#pragma once
#include "device.cuh"

DEVICE int product_rows(const tc_cuda_product &p) { return p.out_height * p.out_width; }
DEVICE int product_depth(const tc_cuda_product &p) { return p.kernel_rows * p.kernel_columns * p.channels; }

// A place in k. Threads step through k, so they keep the place and do not divide.
struct Tap {
  int row, column, channel;

  DEVICE Tap(const tc_cuda_product &p, int k) {
    int place = k / p.channels;
    channel = k - place * p.channels;
    row = place / p.kernel_columns;
    column = place - row * p.kernel_columns;
  }
  DEVICE void advance(const tc_cuda_product &p, int by) {
    channel += by;
    while (channel >= p.channels) {
      channel -= p.channels;
      if (++column == p.kernel_columns) {
        column = 0;
        row++;
      }
    }
  }
  // False past the end of k.
  DEVICE bool exists(const tc_cuda_product &p) const { return row < p.kernel_rows; }
};

// The pixel of the picture under the kernel's upper left corner for one row of the result; may lie outside.
struct Corner {
  int y, x;

  DEVICE Corner() {}
  DEVICE Corner(const tc_cuda_product &p, int m) {
    int row = m / p.out_width;
    y = row * p.stride - p.pad_top;
    x = (m - row * p.out_width) * p.stride - p.pad_left;
    // Rows past the end are far above the picture: every tap reads a zero.
    if (m >= product_rows(p)) y = -(1 << 28);
  }
};

// The channels from a tap's on.
template <class T> struct Channels {
  const T *base;
  int stride;

  DEVICE Channels(const tc_cuda_product &p, const Tap &tap) : base((const T *)p.x + tap.channel), stride(p.x_stride) {}
  // Where the tap's channel of a row lies, or false: then it is zero (padding, or past an end).
  DEVICE bool find(const tc_cuda_product &p, const Corner &corner, const Tap &tap, const T **address) const {
    int y = corner.y + tap.row, x = corner.x + tap.column;
    bool inside = (u32)y < (u32)p.height && (u32)x < (u32)p.width && tap.exists(p);
    *address = inside ? base + (long long)(y * p.width + x) * stride : base;
    return inside;
  }
};

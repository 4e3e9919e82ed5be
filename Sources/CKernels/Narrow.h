// Convolutions to a few channels, a decoder's last: sums run along the input's channels, which lie together. A
// library that computes sixteen channels of a result at once spends most of its work on channels that are not there.

// Pixels whose sums are in registers at a time.
enum { narrow_pixels = TC_LANES == 16 ? 6 : 2 };

// sums[pixels][outputs] += the products of one tap: `x` has the first pixel's channels, `w` the tap's of the first
// output.
static inline __attribute__((always_inline)) void narrow_tap(lanes sums[][4], const tc_narrow_convolution *p,
                                                             const char *x, const char *w, int pixels, int outputs,
                                                             tc_element element) {
  size_t size = element_size(element), pixel = p->channels * size;
  size_t output = p->kernel_height * p->kernel_width * pixel;
#if defined(TC_BF16_DOT)
  if (element == tc_bf16) {
    for (size_t c = 0; c < pixel; c += 64) {
      __m512bh row[4];
#pragma unroll
      for (int k = 0; k < outputs; k++) row[k] = (__m512bh)_mm512_loadu_si512(w + k * output + c);
#pragma unroll
      for (int i = 0; i < pixels; i++) {
        __m512bh one = (__m512bh)_mm512_loadu_si512(x + i * pixel + c);
#pragma unroll
        for (int k = 0; k < outputs; k++) sums[i][k] = (lanes)_mm512_dpbf16_ps((__m512)sums[i][k], one, row[k]);
      }
    }
    return;
  }
#endif
  for (size_t c = 0; c < pixel; c += TC_LANES * size) {
    lanes row[4];
#pragma unroll
    for (int k = 0; k < outputs; k++) row[k] = load_lanes(w + k * output + c, element);
#pragma unroll
    for (int i = 0; i < pixels; i++) {
      lanes one = load_lanes(x + i * pixel + c, element);
#pragma unroll
      for (int k = 0; k < outputs; k++) sums[i][k] += one * row[k];
    }
  }
}

// Results `column`...`column + pixels` of a row. More than one pixel only where all taps see all of them.
static inline __attribute__((always_inline)) void narrow_results(const tc_narrow_convolution *p, size_t row,
                                                                 size_t column, int pixels, int outputs,
                                                                 tc_element element) {
  size_t pixel = p->channels * element_size(element);
  lanes sums[narrow_pixels][4] = {};
  for (size_t r = 0; r < p->kernel_height; r++) {
    size_t y = row + r - p->top;
    if (y >= p->height) continue;
    for (size_t s = 0; s < p->kernel_width; s++) {
      size_t x = column + s - p->left;
      if (x >= p->width) continue;
      narrow_tap(sums, p, (const char *)p->source + (y * p->width + x) * pixel,
                 (const char *)p->weights + (r * p->kernel_width + s) * pixel, pixels, outputs, element);
    }
  }
  float results[narrow_pixels * 4];
#pragma unroll
  for (int i = 0; i < pixels; i++)
#pragma unroll
    for (int k = 0; k < outputs; k++)
      results[i * outputs + k] = total(sums[i][k]) + (p->bias ? p->bias[k] : 0);
  apply_function(results, (size_t)(pixels * outputs), p->activation, 0, 0);
#pragma unroll
  for (int i = 0; i < pixels; i++)
    store_floats(at_mutable(p->destination, (row * p->result_width + column + i) * p->destination_stride,
                            p->destination_element),
                 results + i * outputs, p->destination_element, (size_t)outputs);
}

static inline __attribute__((always_inline)) void narrow_row(const tc_narrow_convolution *p, size_t row, int outputs,
                                                             tc_element element) {
  size_t column = 0, whole = p->left;
  // Where the last of several pixels has all taps inside.
  size_t end = p->width + p->left + 1 > p->kernel_width ? p->width + p->left + 1 - p->kernel_width : 0;
  for (; column < whole && column < p->result_width; column++) narrow_results(p, row, column, 1, outputs, element);
  for (; column + narrow_pixels <= end; column += narrow_pixels)
    narrow_results(p, row, column, narrow_pixels, outputs, element);
  for (; column < p->result_width; column++) narrow_results(p, row, column, 1, outputs, element);
}

static inline __attribute__((always_inline)) void narrow_rows(const tc_narrow_convolution *p, size_t begin,
                                                              size_t end, tc_element element) {
  for (size_t row = begin; row < end; row++) switch (p->outputs) {
    case 1: narrow_row(p, row, 1, element); break;
    case 2: narrow_row(p, row, 2, element); break;
    case 3: narrow_row(p, row, 3, element); break;
    default: narrow_row(p, row, 4, element); break;
    }
}

static void narrow_convolution_body(const void *parameters, size_t begin, size_t end, int thread) {
  const tc_narrow_convolution *p = parameters;
  if (p->element == tc_bf16)
    narrow_rows(p, begin, end, tc_bf16);
  else
    narrow_rows(p, begin, end, tc_f32);
}
